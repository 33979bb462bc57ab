"""
Sans-I/O cores: octets in, events out, replies in, octets out. Nothing here knows a socket or a clock.

signals, lines, stuffing, sasl; smtp/, imap/, pop3/.
"""

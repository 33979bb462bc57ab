"""
Twisted protocols: one driver for every core, a session for each protocol.

driver, sending, peer, admission, listener, login; smtp/, imap/, pop3/.
"""

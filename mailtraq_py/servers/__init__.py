"""
Twisted protocols: one driver for every core, a session for each protocol.

driver, ahead, sending, peer, admission, listener, login; smtp/, imap/, pop3/.
"""

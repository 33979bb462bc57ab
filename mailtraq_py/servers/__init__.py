"""
Twisted protocols: one driver for every core, a session for each protocol.

driver, ahead, sending, peer, admission, sharedcounts, sharedport, listener, login; smtp/, imap/, pop3/.
"""

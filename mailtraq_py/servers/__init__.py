"""
Twisted protocols: one driver for every core, a session for each protocol.

driver, login, cram; smtp/, imap/, pop3.
"""

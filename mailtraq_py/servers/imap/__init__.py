"""
The IMAP session, by state.

session, notauthenticated, authenticated, selected, fetch, idle.
"""

"""
The IMAP session, by state.

turns, settings, selection, dialogue (what all share), notauthenticated, authenticated, append, selected, fetch, idle,
session.
"""

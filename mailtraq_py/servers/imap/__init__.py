"""
The IMAP session, by state.

turns, settings, selection, dialogue (what all share), resync, notauthenticated, authenticated, append,
selected, plan, fetch, search, idle, session.
"""

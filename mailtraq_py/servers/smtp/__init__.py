"""
SMTP sessions, for every role: mx, submission, both.

settings, session, transaction, authentication, expansion, replies.
"""

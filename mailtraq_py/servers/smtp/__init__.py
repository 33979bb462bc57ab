"""
SMTP sessions.

session, mx, msa.
"""

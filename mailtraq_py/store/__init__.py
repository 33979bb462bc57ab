"""
Everything that is kept.

database, dialect, sqlite, migrate, sql/, mailboxes, queue, directory, passwords, logins, content, hub.
"""

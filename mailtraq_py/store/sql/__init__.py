"""
SQL as functions of a cursor: plain values in, plain values or `rows.Written` out, no effect outside the database.

rows, ledger, accounts, lists, content, acceptance, mailboxes, messages, staging, recoverable, flags, search, indexing,
queue, logins, failures, decisions, notices, verify, restoring.
"""

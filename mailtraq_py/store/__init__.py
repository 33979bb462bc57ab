"""
Everything that is kept: accounts, mailboxes, messages, contents, the outbound queue, recent logins.

store (opens all), opening, database, immediate, now, backlog, writer with writermetrics, writerprocess, remote,
frames, operations, sql/ (functions of a cursor), sqlite, turnstile, dialect, disk, migrate with conversions, schema/,
workers, acceptance, content, sortkeys, spool, deleted, mailboxes, flagchanges, searchindex, indexing, attachments,
narrowing, searching, sorting, queuelisting, queue, lookup, directory, listings, glance, resolution, hashing, heap,
passwords, logins, failures, decisions, administration, hub, rounds, undelete, verification, backup with packs, packvfs
and throttle, rollback, postgres/ (the same on a server).
"""

"""
Plain values that everything else speaks in; no I/O, no clock, no dice.

address, envelope, reply, flags, mailbox, uidset, search, changes, header, entity, trace, report, dates.
"""

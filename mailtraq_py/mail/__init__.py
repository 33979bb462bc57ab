"""
Plain values that everything else speaks in; no I/O, no clock, no dice.

address, envelope, reply, flags, mailbox, uidset, search, sorting, threads, changes, identifiers, dates,
charsets, header, addresslist, partmap, entity, text, trace, report, md5, addresspattern, aliasfile, domaintable.
"""

"""
The IMAP core and its pieces.

framing (octets to whole commands), tokens, sequence, mailboxname, fetchitems, searchkeys, commands (the values),
states (which command when), grammar (tokens to commands), responses, uidmap, view (one client's numbering), structure,
sections, server (the core).
"""

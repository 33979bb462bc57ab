"""
The IMAP core and its pieces.

framing, tokens, sequence, mailboxname, fetchitems, searchkeys, commands, responses, structure, sections, states,
view, server.
"""

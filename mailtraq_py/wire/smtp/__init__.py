"""
SMTP cores, server and client.

commands, grammar, extensions, states, body, server; clientevents, client.
"""

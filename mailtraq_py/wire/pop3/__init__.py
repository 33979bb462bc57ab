"""
The POP3 core.

commands, server.
"""

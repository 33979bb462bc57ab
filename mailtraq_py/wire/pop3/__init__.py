"""
POP3 without I/O.

commands (lines to values), server (the core: states, replies, multi-line responses).
"""

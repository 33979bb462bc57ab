"""
Tests of servers/imap.
"""

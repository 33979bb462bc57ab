"""
Tests of servers/smtp/.
"""

"""
Tests of wire/smtp/.
"""

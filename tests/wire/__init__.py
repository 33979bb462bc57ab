"""
Tests of wire/.
"""

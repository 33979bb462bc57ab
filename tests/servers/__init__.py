"""
Tests of servers/.
"""

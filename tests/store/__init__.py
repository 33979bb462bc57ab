"""
Tests of store/.
"""

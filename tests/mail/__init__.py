"""
Tests of mail/.
"""

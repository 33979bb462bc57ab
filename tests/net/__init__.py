"""Tests of mailtraq_py/net."""

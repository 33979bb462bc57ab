"""Tests of mailtraq_py/delivery."""

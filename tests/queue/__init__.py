"""Tests of mailtraq_py/queue."""

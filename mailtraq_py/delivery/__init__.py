"""
The one door by which mail enters.

routing, accept.
"""

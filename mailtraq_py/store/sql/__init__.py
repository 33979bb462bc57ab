"""
SQL as functions of a cursor.
"""

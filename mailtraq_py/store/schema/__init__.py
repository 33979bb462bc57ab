"""
Numbered schema steps, KIND_NNNN.sql, read by `store/migrate.py`.
"""

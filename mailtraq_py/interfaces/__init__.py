"""
Contracts between rooms, and the values that cross them. An interface's docstring is its specification.

failures, connection, directory, policy, store, delivery, queue, net.
"""

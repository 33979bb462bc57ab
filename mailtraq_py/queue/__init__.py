"""
The outbound queue: mail that leaves, again and again until it is gone or its sender knows.

settings, schedule (pure arithmetic), attempt (what came of one), nexthop (where to), tlspolicy (pure: how safely),
dialogue (one connection as a coroutine sees it), connections (opened, kept, used again), relay (one message to one
destination), capture (or into a mailbox of ours), bounce (reports), runner (the loop).
"""

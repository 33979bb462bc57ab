"""
Identifiers of messages: in the Received field, in the 250 reply, in every line of the log.

They rise with time, so that rows that are written together lie together, and nobody can guess one.
"""

from __future__ import annotations

RANDOM_OCTETS = 8


def make_identifier(seconds: float, random: bytes) -> str:
    """
    Make an identifier of 28 hexadecimal digits.

    Args:
        seconds: since the epoch, UTC; identifiers sort by its milliseconds.
        random: RANDOM_OCTETS fresh random octets.
    """
    return f"{int(seconds * 1000):012x}{random.hex()}"

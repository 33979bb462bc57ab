"""
Identifiers of messages: in the Received field, in the 250 reply, in every line of the log.

They rise with time, so that rows that are written together lie together, and nobody can guess one.
"""

from __future__ import annotations

from base64 import b32hexencode

RANDOM_OCTETS = 9


def make_identifier(seconds: float, random: bytes) -> str:
    """
    Make an identifier of 24 characters out of digits and lower-case letters.

    Args:
        seconds: since the epoch, UTC; identifiers sort by its milliseconds.
        random: RANDOM_OCTETS fresh random octets.
    """
    return b32hexencode(int(seconds * 1000).to_bytes(6, "big") + random).decode("ascii").lower()

"""
When to try again, when to say that it takes long, when to give up. Arithmetic only: time and chance come in.

RFC 5321 4.5.4.1
"""

from __future__ import annotations

from collections.abc import Sequence

# Attempts spread by this share of their delay, so that what failed together does not come back together.
JITTER = 0.2


def retry_delay(delays: Sequence[float], attempts: int, chance: float) -> float:
    """
    How long to wait before the next attempt.

    Args:
        delays: seconds between attempts; the last one is repeated.
        attempts: how many have been made, this one included, from 1.
        chance: a number from [0, 1).

    Returns:
        seconds, up to JITTER / 2 shorter or longer than the delay.
    """
    delay = delays[min(max(attempts, 1), len(delays)) - 1]
    return delay * (1.0 + JITTER * (chance - 0.5))


def next_attempt(now: float, delay: float, expires: float) -> float | None:
    """
    When to try again, seconds since the epoch; None when the time is over.

    The last attempt is made at `expires` itself, so that nobody is told "five days" after four.
    """
    return None if now >= expires else min(now + delay, expires)


def is_delay_report_due(now: float, received: float, after: float, already: bool) -> bool:
    """Whether the sender should hear that a message waits; `after` 0 switches such reports off."""
    return after > 0 and not already and now - received >= after

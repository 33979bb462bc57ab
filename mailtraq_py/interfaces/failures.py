"""
Failures that cross rooms. Any other exception is our bug and is caught in one place, `servers/driver.py`.
"""

from __future__ import annotations

from mailtraq_py.mail.reply import Reply


class TemporaryFailure(Exception):
    """
    The outside failed for now (DNS, disk, database, a full queue): 4xx, NO [UNAVAILABLE], next attempt.

    `reason` is for our log; a peer hears "try again later" only.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StorageFull(TemporaryFailure):
    """The disk or the server's allotment is full: 452 4.3.1, NO [OVERQUOTA]. Heals by itself."""


class OverQuota(Exception):
    """This account may not hold more: 552 5.2.2 or 452 4.2.2, NO [OVERQUOTA]."""


class PermanentFailure(Exception):
    """The outside said no for good; `reply` goes into the delivery status notification."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class NoSuchMailbox(Exception):
    """The named mailbox does not exist (or may not be seen)."""


class MailboxExists(Exception):
    """The name is taken."""


class MailboxNotAllowed(Exception):
    """INBOX cannot be deleted; a mailbox cannot be renamed into its own inferior; bad name."""

"""
Which messages had their flags changed of late, mailbox by mailbox.

Who follows a mailbox asks for what changed after a MODSEQ. The rows have no index by MODSEQ, which would make every
STORE dearer, so the answer costs a look at all of them; unless it is known here. What is kept are changes that this
process made, as long as they follow one another without a gap: one that came from elsewhere makes the earlier ones
useless, and they are dropped.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import NamedTuple

from mailtraq_py.mail.uidset import EMPTY, UIDSet

MAILBOXES_MAX = 1000
UIDS_MAX = 500


class _Change(NamedTuple):
    """`uids` changed, and nothing else but that new messages came, between two values of `changed_mod_seq`."""

    since: int
    until: int
    uids: UIDSet


class FlagChanges:
    """The last changes of at most MAILBOXES_MAX mailboxes, at most UIDS_MAX messages of each."""

    def __init__(self) -> None:
        self._mailboxes: OrderedDict[int, deque[_Change]] = OrderedDict()

    def note(self, mailbox_id: int, since: int, until: int, uids: UIDSet) -> None:
        """
        Flags were changed, and that is committed.

        Args:
            since: the mailbox's `changed_mod_seq` before.
            until: and after it.
            uids: whose.
        """
        changes = self._mailboxes.setdefault(mailbox_id, deque())
        self._mailboxes.move_to_end(mailbox_id)
        if changes and changes[-1].until != since:
            changes.clear()
        changes.append(_Change(since, until, uids))
        while sum(len(change.uids) for change in changes) > UIDS_MAX:
            changes.popleft()
        if not changes or len(self._mailboxes) > MAILBOXES_MAX:
            self._mailboxes.pop(mailbox_id if not changes else next(iter(self._mailboxes)))

    def changed_since(self, mailbox_id: int, since: int, until: int) -> UIDSet | None:
        """
        Whose flags changed after a MODSEQ.

        Args:
            until: the mailbox's `changed_mod_seq` now.

        Returns:
            all of them, perhaps with some that are gone; None where that is not known.
        """
        if since >= until:
            return EMPTY
        changes = self._mailboxes.get(mailbox_id)
        if changes is None or changes[-1].until != until or changes[0].since > since:
            return None
        return UIDSet.from_ranges(pair for change in changes if change.until > since for pair in change.uids.ranges)

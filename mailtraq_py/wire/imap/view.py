"""
One client's numbering of the selected mailbox, and what it may be told when.

The client counts messages 1 to n; the store knows UIDs. A `View` holds the UIDs in the client's order, and all that
the store said since and the client has not heard. `absorb` takes what changed; `tell` gives it out. Between the two,
numbers do not move: an EXPUNGE that may not be told yet leaves its message in its place.

    select    -> View(uids, ...)              changes(since=view.mod_seq) -> absorb(delta)
    command   -> uids_of_numbers, uids_of_uids, numbers_of ...
    its end   -> tell(expunges=...) -> octets for the client

RFC 3501 2.3.1, 5.5, 7.4.1; RFC 9051 5.5; RFC 7162 3.2
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mailtraq_py.mail.changes import MailboxDelta, MessageState, StateRun
from mailtraq_py.mail.uidset import EMPTY, Range, UIDSet

from . import responses
from .sequence import SequenceSet
from .tokens import BadCommand
from .uidmap import UIDMap


class View:
    """
    A client's view.

    Args:
        uids: as `IMailbox.select` gave them.
        mod_seq: up to which the view is all there is.
        first_recent: UIDs from here on are \\Recent in this session.
    """

    __slots__ = ("_changed", "_gone", "_heard", "_map", "_new", "_told", "first_recent", "mod_seq")

    def __init__(self, uids: UIDSet, mod_seq: int, first_recent: int) -> None:
        self._map = UIDMap.from_uids(uids).shared()
        self.mod_seq = self._heard = mod_seq
        self.first_recent = first_recent
        self._new: list[int] = []
        self._gone = EMPTY
        self._changed: dict[int, MessageState] = {}
        self._told: dict[int, int] = {}

    # -- numbers ---------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many messages the client knows of."""
        return self._map.count

    @property
    def last_uid(self) -> int:
        """The largest UID the client knows of, 0 without messages."""
        return self._map.last

    @property
    def recent_count(self) -> int:
        """How many of them are \\Recent."""
        return self._map.count - self._map.place_of(self.first_recent)

    def recent_uids(self) -> UIDSet:
        """UIDs of the \\Recent messages."""
        return self._between(self.first_recent, self._map.last)

    def all_uids(self) -> UIDSet:
        """One range over all messages."""
        return self._between(1, self._map.last)

    def known_uids(self) -> UIDSet:
        """The UIDs of all messages the client knows of."""
        return UIDSet(tuple(self._map.ranges()))

    def matching_uid(self, matches: Sequence[tuple[int, int]]) -> int:
        """The largest UID of (sequence number, UID) pairs, rising, that are as they are here; 0 without any."""
        count, uid_at = self._map.count, self._map.uid_at
        return max((uid for number, uid in matches if number <= count and uid_at(number - 1) == uid), default=0)

    def checked_uids(self, numbers: SequenceSet) -> UIDSet:
        """
        UIDs of messages given by sequence number.

        Raises:
            BadCommand: a number that does not exist, `*` in an empty mailbox too (RFC 3501 9, seq-number).
        """
        if not self._map.count or numbers.largest > self._map.count:
            raise BadCommand("no such message number")
        return self.uids_of_numbers(numbers)

    def uids_of_numbers(self, numbers: SequenceSet) -> UIDSet:
        """
        As `checked_uids`, but leaves out what does not exist.

        A range of numbers becomes the range from its first to its last UID. UIDs between them that the client does
        not know of were expunged: new ones come after all it knows.
        """
        count, uid_at = self._map.count, self._map.uid_at
        if not count:
            return EMPTY
        return UIDSet(
            tuple(
                (uid_at(low - 1), uid_at(min(high, count) - 1))
                for low, high in numbers.resolve(count).ranges
                if low <= count
            )
        )

    def uids_of_uids(self, uids: SequenceSet) -> UIDSet:
        """UIDs as given; `*` is the last one, and none is beyond what the client knows of."""
        last = self._map.last
        if not last:
            return EMPTY
        return uids.resolve(last).intersection(UIDSet(((1, last),)))

    def number_of(self, uid: int) -> int:
        """A message's sequence number, 0 when the client does not know of it."""
        return next(self._map.numbers_of((uid,)))

    def numbers_of(self, uids: Iterable[int]) -> Iterator[int]:
        """Sequence numbers, 0 for a UID that the client does not know of."""
        return self._map.numbers_of(uids)

    def number_ranges(self, uids: UIDSet) -> list[Range]:
        """Ranges of sequence numbers of those UIDs of a set that the client knows of."""
        return self._map.number_ranges(uids)

    def numbered(self, states: Sequence[MessageState]) -> list[tuple[int, MessageState]]:
        """States with their sequence numbers; those the client does not know of are left out."""
        numbers = self._map.numbers_of([state[0] for state in states])
        return [pair for pair in zip(numbers, states, strict=True) if pair[0]]

    def numbered_runs(self, runs: Iterable[StateRun], at_most: int) -> Iterator[tuple[int, StateRun]]:
        """Runs with the number of their first message, in pieces; what the client does not know of is left out."""
        for low, high, mod_seq, flags in runs:
            for first, last in self._map.number_ranges(UIDSet(((low, high),))):
                for number in range(first, last + 1, at_most):
                    uid = self._map.uid_at(number - 1)
                    count = min(at_most, last - number + 1)
                    yield number, StateRun(uid, uid + count - 1, mod_seq, flags)

    # -- news ------------------------------------------------------------------------------------------

    def absorb(self, delta: MailboxDelta) -> None:
        """Take what changed; what was absorbed before may come again."""
        self._heard = self.heard_mod_seq
        last = self._new[-1] if self._new else self._map.last
        told = self._told
        for state in delta.changed:
            uid, mod_seq, _ = state
            if uid > last:
                self._new.append(uid)
            elif told.get(uid) != mod_seq:
                self._changed[uid] = state
        if delta.vanished:
            vanished = delta.vanished
            if self._new:
                self._new = [uid for uid in self._new if uid not in vanished]
            self._gone = self._gone.union(vanished.intersection(self.all_uids()))
        self._move_to(delta.mod_seq)

    def _move_to(self, mod_seq: int) -> None:
        """The view is all there is up to this MODSEQ."""
        if mod_seq > self.mod_seq:
            self._heard = self.heard_mod_seq
            self.mod_seq = mod_seq
            if self._told:
                self._told = {uid: told for uid, told in self._told.items() if told > mod_seq}

    def mark_told(self, runs: Sequence[StateRun], since: int = 0, until: int = 0) -> None:
        """
        The client heard of these already, or asked not to (.SILENT).

        Args:
            since: where the view is all there is up to this MODSEQ, it now is so up to `until`.
        """
        follows = until > since == self.mod_seq
        if follows and not self._changed:
            self._move_to(until)
            return
        told = {uid: mod_seq for low, high, mod_seq, _ in runs for uid in range(low, high + 1)}
        if follows:
            self._move_to(until)
        else:
            self._told.update(told)
        if self._changed:
            self._changed = {
                uid: state for uid, state in self._changed.items() if told.get(uid, 0) < state.mod_seq
            }

    @property
    def heard_mod_seq(self) -> int:
        """Up to which MODSEQ the client has heard of everything: below what waits to be told (RFC 7162 3.2)."""
        return self._heard if self.has_news else self.mod_seq

    @property
    def has_news(self) -> bool:
        """Whether anything waits to be told, EXPUNGEs included."""
        return bool(self._new or self._changed or self._gone)

    def tell(
        self, expunges: bool, with_uid: bool = False, with_mod_seq: bool = False, by_vanished: bool = False
    ) -> bytes:
        """
        All that may be told now.

        Args:
            expunges: whether EXPUNGE may be among it: not while FETCH, STORE or SEARCH by number is answered, nor
                while no command is (RFC 3501 7.4.1).
            with_uid: name UIDs beside flags, as answers to UID commands do.
            with_mod_seq: name UIDs and MODSEQs (RFC 7162 3.2.4).
            by_vanished: VANISHED instead of EXPUNGE (RFC 7162 3.2.10).
        """
        if not self.has_news:
            return b""
        pieces: list[bytes] = []
        if expunges and self._gone:
            gone = self._gone.intersection(self.known_uids())
            numbers = self._expunge()
            pieces.append(responses.vanished(gone) if by_vanished else responses.expunges(numbers))
        if self._changed:
            changed = [self._changed[uid] for uid in sorted(self._changed)]
            self._changed = {}
            pieces.append(
                responses.flag_updates(self.numbered(changed), self.first_recent, with_uid, with_mod_seq)
            )
        if self._new:
            self._map = self._map.extended(self._new).shared()
            self._new = []
            pieces.append(responses.exists(self._map.count) + responses.recent(self.recent_count))
        return b"".join(pieces)

    def _expunge(self) -> list[int]:
        """Take the gone out of the numbering; their numbers, each as it is when those before it have gone."""
        numbers: list[int] = []
        for low, high in self._map.number_ranges(self._gone):
            numbers += [low - len(numbers)] * (high - low + 1)
        self._map = self._map.without(self._gone).shared()
        self._gone = EMPTY
        return numbers

    def _between(self, low: int, high: int) -> UIDSet:
        return UIDSet(((low, high),)) if low <= high else EMPTY

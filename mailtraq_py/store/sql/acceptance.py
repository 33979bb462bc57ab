"""
Acceptance: contents, local copies, queue rows and trace of many messages in few statements.

`accept_together` is what the writer calls with all that waits. Each entry stands or falls alone: what it needs is
looked up before anything of it is noted, so a failing one leaves no trace in the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mailtraq_py.interfaces.failures import NoSuchMailbox, OverQuota, TemporaryFailure
from mailtraq_py.mail.changes import Change, QueueGrew
from mailtraq_py.mail.mailbox import INBOX

from .content import insert_contents
from .ledger import AccountCounters, Ledger, MailboxCounters, take_numbers
from .rows import Cursor, Row, Written, insert, one, where_in

MESSAGE_COLUMNS = 10

_QUEUE_COLUMNS = (
    "id, acceptance_id, content_id, content_octets, head, domain, due, ready, received, expires, reverse_path,"
    " forward_path, notify, original, origin, ret, envid, body, smtputf8, granted_by, client, account"
)


class Copy(NamedTuple):
    """
    A copy into a mailbox. `head` is the head's number, `octets` head and content; `bits` the system flags; `counts`
    whether the quota is asked.
    """

    account_id: int
    mailbox: str
    head: int
    octets: int
    bits: int
    keywords: str
    internal_date: int
    counts: bool = True


class QueueRow(NamedTuple):
    """A recipient that leaves. `values` are the columns from `reverse_path` on; `counts` as in Copy."""

    head: int
    domain: str
    due: float
    expires: float
    values: Row
    counts: bool = True


class PreparedContent(NamedTuple):
    """
    A content as rows, of `contents` and of `sort_keys`. `octets` is None where they lie in a file already; `heads` are
    numbered from 1.
    """

    row: Row
    keys: Row
    octets: bytes | None
    content_octets: int
    heads: tuple[bytes, ...]
    copies: tuple[Copy, ...]
    outgoing: tuple[QueueRow, ...]

    @property
    def id(self) -> int:
        """The content's number."""
        return int(self.row[0])


class Entry(NamedTuple):
    """
    One acceptance, or one APPEND (`strict`: the mailbox must exist, the quota is kept, `id` is "").

    `saved` is the time of the writing, seconds since the epoch.
    """

    id: str
    received: float
    saved: int
    contents: tuple[PreparedContent, ...]
    trace: str = ""
    strict: bool = False


Place = tuple[int, int, int, int]  # account, mailbox, UID, UIDVALIDITY


@dataclass(slots=True)
class _Batch:
    contents: list[Row] = field(default_factory=list)
    keys: list[Row] = field(default_factory=list)
    octets: list[Row] = field(default_factory=list)
    heads: list[Row] = field(default_factory=list)
    shares: list[Row] = field(default_factory=list)
    messages: list[Row] = field(default_factory=list)
    acceptances: list[Row] = field(default_factory=list)
    queue: list[tuple[Entry, PreparedContent, QueueRow]] = field(default_factory=list)


def accept_together(cursor: Cursor, calls: Sequence[tuple[Entry]]) -> list[Written | Exception]:
    """
    Accept many entries in one go.

    Returns:
        for each call what it came to: `Written` with a tuple of `Place`, one a copy in the order given, or
        NoSuchMailbox, OverQuota, TemporaryFailure (an account has gone meanwhile).
    """
    entries = [call[0] for call in calls]
    known = _known(cursor, [entry.id for entry in entries if entry.id])
    ledger = Ledger(cursor)
    ledger.lock(copy.account_id for entry in entries for content in entry.contents for copy in content.copies)
    batch = _Batch()
    outcomes: list[Written | Exception] = []
    for entry in entries:
        if entry.id in known:
            outcomes.append(Written(known[entry.id]))
            continue
        try:
            places = _note(entry, ledger, batch)
        except (NoSuchMailbox, OverQuota, TemporaryFailure) as failure:
            outcomes.append(failure)
            continue
        if entry.id:
            known[entry.id] = places
        outcomes.append(Written(places))
    changes = _write(cursor, ledger, batch)
    for number, outcome in enumerate(outcomes):
        # The changes of the batch are told once, by whoever of it succeeded first.
        if isinstance(outcome, Written):
            outcomes[number] = Written(outcome.value, changes)
            break
    return outcomes


def accept(cursor: Cursor, entry: Entry) -> Written:
    """Accept one entry; raises what `accept_together` returns."""
    outcome = accept_together(cursor, [(entry,)])[0]
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _known(cursor: Cursor, ids: Sequence[str]) -> dict[str, tuple[Place, ...]]:
    """Acceptances that were committed before: the same id again is an answer that was lost."""
    rows = where_in(cursor, "SELECT id, delivered FROM acceptances WHERE id IN {keys}", ids)
    return {acceptance_id: _parse_places(delivered) for acceptance_id, delivered in rows}


def _note(entry: Entry, ledger: Ledger, batch: _Batch) -> tuple[Place, ...]:
    targets = _targets(entry, ledger)
    places: list[Place] = []
    turn = iter(targets)
    for content in entry.contents:
        batch.contents.append(content.row)
        batch.keys.append(content.keys)
        if content.octets is not None:
            batch.octets.append((content.id, content.octets))
        references = len(content.copies) + len(content.outgoing)
        if references > 1:
            batch.shares.append((content.id, references - 1))
        batch.heads.extend((content.id, number, head) for number, head in enumerate(content.heads, 1))
        for copy in content.copies:
            mailbox = next(turn)
            mod_seq = ledger.touch(mailbox, only_new=True)
            uid = ledger.add(mailbox, copy.bits, copy.octets)
            batch.messages.append(
                (
                    mailbox.id,
                    uid,
                    mod_seq,
                    copy.bits,
                    copy.keywords,
                    copy.internal_date,
                    entry.saved,
                    copy.octets,
                    content.id,
                    copy.head,
                )
            )
            places.append((mailbox.account_id, mailbox.id, uid, mailbox.uid_validity))
        batch.queue.extend((entry, content, row) for row in content.outgoing)
    if entry.id:
        batch.acceptances.append((entry.id, entry.received, _print_places(places), entry.trace))
    return tuple(places)


def _targets(entry: Entry, ledger: Ledger) -> list[MailboxCounters]:
    """
    The mailbox of each copy.

    An entry without `strict` is refused for quota only when none of its recipients has room and nothing leaves:
    250 is one answer for all, and a copy that is not made would be lost without a word.
    """
    targets: list[MailboxCounters] = []
    wanted: dict[int, tuple[AccountCounters, list[int]]] = {}
    for content in entry.contents:
        for copy in content.copies:
            account = ledger.account(copy.account_id)
            mailbox = ledger.find_mailbox(copy.account_id, copy.mailbox)
            if mailbox is None and not entry.strict:
                mailbox = ledger.find_mailbox_any_case(copy.account_id, copy.mailbox)
                mailbox = mailbox or ledger.find_mailbox(copy.account_id, INBOX)
            if mailbox is None or account is None:
                raise NoSuchMailbox(copy.mailbox) if entry.strict else TemporaryFailure("account has gone")
            targets.append(mailbox)
            if not copy.counts:
                continue
            wanted.setdefault(account.id, (account, []))[1].append(copy.octets)
    full = [account for account, octets in wanted.values() if not account.has_room(sum(octets), len(octets))]
    leaves = any(row.counts for content in entry.contents for row in content.outgoing)
    if full and (entry.strict or (len(full) == len(wanted) and not leaves)):
        raise OverQuota
    return targets


def _write(cursor: Cursor, ledger: Ledger, batch: _Batch) -> tuple[Change, ...]:
    insert_contents(cursor, batch.contents, batch.keys, batch.octets, batch.heads, batch.shares)
    insert(cursor, "messages", MESSAGE_COLUMNS, batch.messages)
    insert(cursor, "acceptances (id, received, delivered, trace)", 4, batch.acceptances)
    changes: tuple[Change, ...] = ledger.write()
    if batch.queue:
        first = take_numbers(cursor, "queue", len(batch.queue))
        insert(
            cursor,
            f"queue ({_QUEUE_COLUMNS})",
            22,
            [
                (
                    number,
                    entry.id,
                    content.id,
                    content.content_octets,
                    row.head,
                    row.domain,
                    row.due,
                    row.due,
                    entry.received,
                    row.expires,
                    *row.values,
                )
                for number, (entry, content, row) in enumerate(batch.queue, first)
            ],
        )
        changes += (QueueGrew(min(row.due for _, _, row in batch.queue)),)
    return changes


def acceptance_places(cursor: Cursor, acceptance_id: str) -> tuple[Place, ...] | None:
    """Where an acceptance was delivered, None where it did not come to its commit."""
    return _known(cursor, [acceptance_id]).get(acceptance_id)


def acceptance_trace(cursor: Cursor, acceptance_id: str) -> str | None:
    """The trace that was kept with an acceptance."""
    row = one(cursor, "SELECT trace FROM acceptances WHERE id = ?", (acceptance_id,))
    return None if row is None else str(row[0])


def expire_acceptances(cursor: Cursor, before: float, limit: int) -> Written:
    """Forget acceptances received before a time, at most `limit`; returns how many."""
    cursor.execute(
        "DELETE FROM acceptances WHERE number IN (SELECT number FROM acceptances ORDER BY number LIMIT ?)"
        " AND received < ? RETURNING number",
        (limit, before),
    )
    return Written(len(cursor.fetchall()))


def _print_places(places: Sequence[Place]) -> str:
    return ";".join(" ".join(map(str, place)) for place in places)


def _parse_places(text: str) -> tuple[Place, ...]:
    places: list[Place] = []
    for line in filter(None, text.split(";")):
        account_id, mailbox_id, uid, uid_validity = map(int, line.split(" "))
        places.append((account_id, mailbox_id, uid, uid_validity))
    return tuple(places)

"""
FETCH: rows read in batches, printed, sent.

    items -> Plan           which columns to read, how a row becomes a line (plan.py)
    plan  -> IMailbox.fetch in batches; no transaction stays open while the client is slow
    rows  -> lines, joined; bodies read and, when large, streamed behind their announced length

Bodies are read one after the other, at most PIECE_OCTETS at once.

RFC 3501 6.4.5, 7.4.2
"""

from __future__ import annotations

from collections.abc import Sequence

from mailtraq_py.interfaces.store import ContentRef
from mailtraq_py.mail.changes import MessageState
from mailtraq_py.mail.flags import SEEN, StoreOperation
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.wire.imap import commands, responses
from mailtraq_py.wire.imap.fetchitems import BodyItem, Item
from mailtraq_py.wire.imap.sections import OctetRange, are_usual, filter_fields, locate, usual_fields

from .dialogue import Dialogue
from .plan import FLAGS_OF, UID_OF, Plan, Row, make_plan
from .resync import NOT_ENABLED, changed_uids
from .selected import named_uids

PIECE_OCTETS = 256 * 1024
FLUSH_OCTETS = 64 * 1024
HEADER_MAX_OCTETS = 1024 * 1024


async def fetch(dialogue: Dialogue, command: commands.Fetch) -> None:
    """RFC 3501 6.4.5; messages that others expunged are passed over (RFC 2180 4.1.2, RFC 5530 3)."""
    if command.vanished and not dialogue.qresync:
        dialogue.core.bad(NOT_ENABLED)
        return
    uids = named_uids(dialogue, command.numbers, command.by_uid)
    if uids is None:
        return
    selection = dialogue.selected
    view = selection.view
    if command.changed_since is not None:
        uids = await changed_uids(dialogue, command, uids)
    elif Item.MODSEQ in command.items:
        dialogue.enable_condstore()
    plan = make_plan(command.items, command.by_uid, selection.read_only)
    limit = plan.first_rows
    named = 0 if command.by_uid else sum(high - low + 1 for low, high in view.number_ranges(uids))
    sent = 0
    while uids:
        rows: list[Row] = await selection.mailbox.fetch(uids, plan.columns, limit)
        if not rows:
            break
        if plan.lists_fields and not all(map(plan.fields_of, rows)):
            # Some header was too long to keep its fields, or has none of the usual ones: it has to be read.
            plan = make_plan(command.items, command.by_uid, selection.read_only, may_list_fields=False)
            limit = plan.first_rows
            continue
        last: int = UID_OF(rows[-1])
        numbers = list(view.numbers_of(map(UID_OF, rows)))
        if 0 in numbers:
            rows = [row for number, row in zip(numbers, rows, strict=True) if number]
            numbers = [number for number in numbers if number]
        if plan.bodies:
            await _send_with_bodies(dialogue, plan, rows, numbers)
        else:
            lines = plan.lines(rows, numbers, view.first_recent)
            dialogue.core.send(lines)
            limit = plan.next_rows(len(rows), len(lines))
        sent += len(rows)
        uids = uids.difference(UIDSet(((1, last),)))
        if uids:
            await dialogue.breathe()
    if sent < named:
        await dialogue.tell(expunges=False)
        dialogue.core.no("some messages are gone", "EXPUNGEISSUED")
        dialogue.end_if_gone()
        return
    await dialogue.done("fetched", expunges=command.by_uid, with_uid=command.by_uid)


async def _send_with_bodies(dialogue: Dialogue, plan: Plan, rows: list[Row], numbers: Sequence[int]) -> None:
    newly_seen = await _mark_seen(dialogue, rows) if plan.marks_seen else {}
    first_recent = dialogue.selected.view.first_recent
    if newly_seen:
        mailbox = dialogue.selected.mailbox
        again = {row[0]: row for row in await mailbox.fetch(UIDSet.from_numbers(newly_seen), plan.columns, len(rows))}
        rows = [again.get(row[0], row) for row in rows]
    waiting = 0
    for row, number in zip(rows, numbers, strict=True):
        pieces = [plan.beginning(row, number, first_recent)]
        for place, body in enumerate(plan.bodies):
            pieces.append((b" " if place else b"") + body.label + b" ")
            found = _find_body(plan, row, body)
            if isinstance(found, OctetRange):
                if found.octets > PIECE_OCTETS and not body.section.names:
                    pieces.append(b"{%d}\r\n" % found.octets)
                    dialogue.core.send(b"".join(pieces))
                    pieces.clear()
                    await _stream(dialogue, row[plan.content], found)
                    continue
                octets = await dialogue.around.content.read(row[plan.content], found.offset, found.octets)
                found = _printed(octets, body)
            pieces.append(found)
            if len(found) > FLUSH_OCTETS:
                dialogue.core.send(b"".join(pieces))
                pieces.clear()
                await dialogue.driver.drained()
        if row[0] in newly_seen:
            pieces.append(_untold(plan, newly_seen[row[0]], first_recent, dialogue.condstore))
        pieces.append(b")\r\n")
        octets = b"".join(pieces)
        dialogue.core.send(octets)
        waiting += len(octets)
        if waiting > FLUSH_OCTETS:
            waiting = 0
            await dialogue.driver.drained()


async def _mark_seen(dialogue: Dialogue, rows: Sequence[Row]) -> dict[int, MessageState]:
    """Set \\Seen where it is missing, in one call; the new states by UID."""
    unseen = [row[0] for row in rows if SEEN not in FLAGS_OF(row)]
    if not unseen:
        return {}
    selection = dialogue.selected
    stored = await selection.mailbox.store(UIDSet.from_numbers(unseen), StoreOperation.ADD, frozenset((SEEN,)))
    selection.view.mark_told(stored.runs, stored.since, stored.until)
    return {state.uid: state for state in stored.states}


def _untold(plan: Plan, state: MessageState, first_recent: int, condstore: bool) -> bytes:
    """What a message that became \\Seen tells beside what was asked for (RFC 3501 6.4.5, RFC 7162 3.2.4)."""
    pieces = []
    if condstore and not plan.tells_uid:
        pieces.append(b" UID %d" % state.uid)
    if condstore and not plan.tells_mod_seq:
        pieces.append(b" MODSEQ (%d)" % state.mod_seq)
    if not plan.tells_flags:
        pieces.append(b" FLAGS " + responses.flag_list(state.flags, state.uid >= first_recent))
    return b"".join(pieces)


def _find_body(plan: Plan, row: Row, body: BodyItem) -> bytes | OctetRange:
    """A section as the response has it, or the range that has to be read for it."""
    content: ContentRef = row[plan.content]
    section = body.section
    if plan.fields >= 0 and are_usual(section):
        octets = usual_fields(section, content.head, row[plan.fields])
        if octets is not None:
            return _literal(octets, body)
    place = locate(
        section,
        row[plan.parts] if plan.parts >= 0 else b"",
        head_octets=len(content.head),
        header_octets=row[plan.header_octets] if plan.header_octets >= 0 else 0,
        total_octets=content.total_octets,
    )
    if place is None:
        return b"NIL"
    if section.names:
        place = OctetRange(place.offset, min(place.octets, HEADER_MAX_OCTETS))
    elif body.partial is not None:
        place = place.partial(*body.partial)
    octets = content.read_at_hand(place.offset, place.octets)
    return place if octets is None else _printed(octets, body)


def _printed(octets: bytes, body: BodyItem) -> bytes:
    """The octets of the range that `_find_body` found, as the response has them."""
    section = body.section
    if section.names:
        return _literal(filter_fields(octets, section.names, section.kind == "HEADER.FIELDS"), body)
    return responses.literal(octets)


def _literal(octets: bytes, body: BodyItem) -> bytes:
    if body.partial is not None:
        start, count = body.partial
        octets = octets[start : start + count]
    return responses.literal(octets)


async def _stream(dialogue: Dialogue, content: ContentRef, place: OctetRange) -> None:
    """
    Send the octets of a literal that is announced. When they end too early, for whatever reason, so does the
    connection: whatever else were sent would be taken for them.
    """
    offset, end = place.offset, place.offset + place.octets
    try:
        while offset < end:
            octets = await dialogue.around.content.read(content, offset, min(PIECE_OCTETS, end - offset))
            if not octets:
                break
            dialogue.core.send(octets)
            offset += len(octets)
            await dialogue.driver.drained()
    finally:
        if offset < end:
            dialogue.driver.abort("a message could not be read to its end")
    dialogue.must_be_there()

"""
SEARCH, SORT, THREAD: what the store found, in the client's numbers and in the form it asked for.

RFC 3501 6.4.4, RFC 4731, RFC 5256, RFC 7162 3.1.5
"""

from __future__ import annotations

from mailtraq_py.mail.search import And, SearchKey, UIDs
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.wire.imap import commands, responses

from .dialogue import Dialogue


async def search(dialogue: Dialogue, command: commands.Search) -> None:
    """RFC 3501 6.4.4, 7.2.5"""
    selection = dialogue.selected
    if command.tells_mod_seq:
        dialogue.enable_condstore()
    found = await selection.mailbox.search(command.key, dialogue.around.now())
    found = found.intersection(selection.view.all_uids())
    if command.returns:
        await _send_extended(dialogue, command, found)
    else:
        ranges = found.ranges if command.by_uid else tuple(selection.view.number_ranges(found))
        mod_seq = await _highest_mod_seq(dialogue, found) if command.tells_mod_seq else 0
        dialogue.core.send(responses.search(ranges, mod_seq))
    await dialogue.done("found", expunges=command.by_uid)


async def sort(dialogue: Dialogue, command: commands.Sort) -> None:
    """RFC 5256 3, RFC 7162 3.1.9"""
    selection = dialogue.selected
    if command.tells_mod_seq:
        dialogue.enable_condstore()
    uids = await selection.mailbox.sort(_among_known(dialogue, command.key), command.criteria, dialogue.around.now())
    mod_seq = await _highest_mod_seq(dialogue, UIDSet.from_numbers(uids)) if command.tells_mod_seq else 0
    dialogue.core.send(responses.sort(uids if command.by_uid else selection.view.numbers_of(uids), mod_seq))
    await dialogue.done("sorted", expunges=command.by_uid)


async def thread(dialogue: Dialogue, command: commands.Thread) -> None:
    """RFC 5256 3"""
    selection = dialogue.selected
    if command.tells_mod_seq:
        dialogue.enable_condstore()
    found = await selection.mailbox.thread(
        _among_known(dialogue, command.key), command.algorithm, dialogue.around.now()
    )
    numbers = found.uids if command.by_uid else selection.view.numbers_of(found.uids)
    dialogue.core.send(responses.threads(zip(found.levels, numbers, found.answers, strict=True)))
    await dialogue.done("threaded", expunges=command.by_uid)


def _among_known(dialogue: Dialogue, key: SearchKey) -> SearchKey:
    """A key that finds nothing that the client does not know of yet."""
    return And((UIDs(dialogue.selected.view.all_uids()), key))


async def _send_extended(dialogue: Dialogue, command: commands.Search, found: UIDSet) -> None:
    """ESEARCH; what found nothing has no MIN, MAX or ALL (RFC 4731 3.1)."""
    view, returns = dialogue.selected.view, command.returns
    ranges = found.ranges if command.by_uid else tuple(view.number_ranges(found))
    results: list[tuple[str, object]] = []
    if ranges:
        for word, value in (("MIN", ranges[0][0]), ("MAX", ranges[-1][1]), ("ALL", UIDSet.from_ranges(ranges))):
            if word in returns:
                results.append((word, value))
    if "COUNT" in returns:
        results.append(("COUNT", len(UIDSet(ranges))))
    if ranges and command.tells_mod_seq:
        if returns <= {"MIN", "MAX"}:
            # Of the messages named, not of all that were found (RFC 4731 3.2).
            ends = {"MIN": found.ranges[0][0], "MAX": found.ranges[-1][1]}
            found = UIDSet.from_numbers({ends[word] for word in returns})
        results.append(("MODSEQ", await _highest_mod_seq(dialogue, found)))
    dialogue.core.send(responses.extended_search(dialogue.core.tag, command.by_uid, results))


async def _highest_mod_seq(dialogue: Dialogue, uids: UIDSet) -> int:
    """The highest MODSEQ of some messages."""
    return max((state.mod_seq for state in await dialogue.selected.mailbox.states(uids)), default=0)

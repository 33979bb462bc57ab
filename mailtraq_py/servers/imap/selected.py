"""
Commands on the selected mailbox: CLOSE, UNSELECT, EXPUNGE, SEARCH, STORE, COPY, MOVE. FETCH has a file of its own.

RFC 3501 6.4, RFC 3691, RFC 4315, RFC 6851
"""

from __future__ import annotations

from mailtraq_py.interfaces.failures import NoSuchMailbox
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.wire.imap import commands, responses
from mailtraq_py.wire.imap.sequence import SequenceSet
from mailtraq_py.wire.imap.tokens import BadCommand

from .dialogue import Dialogue

READ_ONLY = "the mailbox is selected read-only"
STATES_AT_ONCE = 2000


def named_uids(dialogue: Dialogue, numbers: SequenceSet, by_uid: bool) -> UIDSet | None:
    """The UIDs that a command names; None, and the command is answered, when it names a number that is not there."""
    view = dialogue.selected.view
    try:
        return view.uids_of_uids(numbers) if by_uid else view.checked_uids(numbers)
    except BadCommand as problem:
        dialogue.core.bad(str(problem))
        return None


async def close(dialogue: Dialogue, command: commands.Close) -> None:
    """CLOSE expunges without a word, unless read-only; UNSELECT only leaves."""
    selection = dialogue.selected
    if command.expunge and not selection.read_only:
        await selection.mailbox.expunge(None)
    dialogue.deselect()
    dialogue.core.ok("closed")


async def expunge(dialogue: Dialogue, command: commands.Expunge) -> None:
    """EXPUNGE, UID EXPUNGE (RFC 4315 2.1)."""
    selection = dialogue.selected
    if selection.read_only:
        dialogue.core.no(READ_ONLY)
        return
    # Without a set only what this client knows of goes: it has not seen what came since.
    uids = selection.view.all_uids() if command.uids is None else selection.view.uids_of_uids(command.uids)
    if uids:
        await selection.mailbox.expunge(uids)
    await dialogue.done("expunged")


async def search(dialogue: Dialogue, command: commands.Search) -> None:
    """RFC 3501 6.4.4, 7.2.5"""
    selection = dialogue.selected
    found = await selection.mailbox.search(command.key, dialogue.around.now())
    if command.by_uid:
        ranges = found.intersection(selection.view.all_uids()).ranges
    else:
        ranges = tuple(selection.view.number_ranges(found))
    dialogue.core.send(responses.search(ranges))
    await dialogue.done("found", expunges=command.by_uid)


async def store(dialogue: Dialogue, command: commands.Store) -> None:
    """RFC 3501 6.4.6"""
    selection = dialogue.selected
    uids = named_uids(dialogue, command.numbers, command.by_uid)
    if uids is None:
        return
    if selection.read_only:
        dialogue.core.no(READ_ONLY)
        return
    view = selection.view
    if uids:
        if selection.stale:
            # What others changed before is told, even with .SILENT.
            await selection.refresh()
        stored = await selection.mailbox.store(uids, command.operation, command.flags)
        view.mark_told(stored.states)
        if not command.silent:
            for start in range(0, len(stored.states), STATES_AT_ONCE):
                if start:
                    await dialogue.breathe()
                states = stored.states[start : start + STATES_AT_ONCE]
                numbers = view.numbers_of(state.uid for state in states)
                updates = [
                    (number, state.uid, state.flags) for number, state in zip(numbers, states, strict=True) if number
                ]
                dialogue.core.send(responses.flag_updates(updates, view.first_recent, command.by_uid))
    await dialogue.done("stored", expunges=command.by_uid, with_uid=command.by_uid)


async def copy(dialogue: Dialogue, command: commands.Copy) -> None:
    """
    COPY and MOVE. MOVE tells COPYUID before the EXPUNGEs (RFC 6851 4.3).

    RFC 3501 6.4.7, RFC 4315 3
    """
    selection = dialogue.selected
    uids = named_uids(dialogue, command.numbers, command.by_uid)
    if uids is None:
        return
    if command.move and selection.read_only:
        dialogue.core.no(READ_ONLY)
        return
    code = ""
    if uids:
        try:
            copied = await selection.mailbox.copy(uids, command.mailbox, command.move)
        except NoSuchMailbox:
            dialogue.core.no("no such mailbox", "TRYCREATE")
            return
        if copied.source:
            source, destination = UIDSet.from_numbers(copied.source), UIDSet.from_numbers(copied.destination)
            code = f"COPYUID {copied.uid_validity} {source} {destination}"
    if command.move:
        if code:
            dialogue.core.send(responses.untagged("OK", "moved", code))
        await dialogue.done("done")
    else:
        await dialogue.done("copied", code)

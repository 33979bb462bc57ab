"""
Commands on the selected mailbox: CLOSE, UNSELECT, EXPUNGE, STORE, COPY, MOVE. FETCH and SEARCH have files of their own.

RFC 3501 6.4, RFC 3691, RFC 4315, RFC 6851, RFC 7162
"""

from __future__ import annotations

from mailtraq_py.interfaces.failures import NoSuchMailbox
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.wire.imap import commands, responses
from mailtraq_py.wire.imap.sequence import SequenceSet
from mailtraq_py.wire.imap.tokens import BadCommand

from .dialogue import Dialogue
from .resync import send_runs

READ_ONLY = "the mailbox is selected read-only"
RECOVERABLE = "deleted messages can only be looked at, copied and moved to other mailboxes"


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
        _refuse(dialogue)
        return
    # Without a set only what this client knows of goes: it has not seen what came since.
    uids = selection.view.all_uids() if command.uids is None else selection.view.uids_of_uids(command.uids)
    if uids:
        await selection.mailbox.expunge(uids)
    await _removed(dialogue, "expunged")


def _refuse(dialogue: Dialogue) -> None:
    """Nothing is changed here."""
    if dialogue.selected.mailbox.read_only:
        dialogue.core.no(RECOVERABLE, "CANNOT")
    else:
        dialogue.core.no(READ_ONLY)


async def _removed(dialogue: Dialogue, words: str) -> None:
    """EXPUNGE and MOVE end with the MODSEQ up to which the client knows all (RFC 7162 3.2.7, 3.2.9)."""
    selection = dialogue.selected
    before = selection.view.mod_seq
    await dialogue.tell(expunges=True)
    heard = selection.view.heard_mod_seq
    dialogue.core.ok(words, f"HIGHESTMODSEQ {heard}" if dialogue.qresync and heard > before else "")
    dialogue.end_if_gone()


async def store(dialogue: Dialogue, command: commands.Store) -> None:
    """RFC 3501 6.4.6, RFC 7162 3.1.3"""
    selection = dialogue.selected
    uids = named_uids(dialogue, command.numbers, command.by_uid)
    if uids is None:
        return
    if selection.read_only:
        _refuse(dialogue)
        return
    view = selection.view
    code = ""
    if command.unchanged_since is not None:
        dialogue.enable_condstore()
    if uids:
        if selection.stale:
            # What others changed before is told, even with .SILENT.
            await selection.refresh()
        stored = await selection.mailbox.store(uids, command.operation, command.flags, command.unchanged_since)
        view.mark_told(stored.runs, stored.since, stored.until)
        await send_runs(dialogue, stored.runs, command.by_uid, command.silent)
        if stored.modified:
            failed = stored.modified if command.by_uid else UIDSet(tuple(view.number_ranges(stored.modified)))
            code = f"MODIFIED {failed}"
    await dialogue.done("stored", code, expunges=command.by_uid, with_uid=command.by_uid)


async def copy(dialogue: Dialogue, command: commands.Copy) -> None:
    """
    COPY and MOVE. MOVE tells COPYUID before the EXPUNGEs (RFC 6851 4.3). Deleted messages can be moved, too: they are
    undeleted so.

    RFC 3501 6.4.7, RFC 4315 3
    """
    selection = dialogue.selected
    uids = named_uids(dialogue, command.numbers, command.by_uid)
    if uids is None:
        return
    if command.move and selection.examined:
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
        await _removed(dialogue, "done")
    else:
        await dialogue.done("copied", code)

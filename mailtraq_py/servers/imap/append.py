"""
APPEND: a message comes in over IMAP.

    Append        -> a spool; a large message is first asked for its mailbox, so that nobody sends it in vain
    AppendOctets  -> written as they come
    AppendEnd     -> described once, then one transaction; OK is said after its commit

RFC 3501 6.3.11, RFC 4315 3, RFC 4469 4.2 (TOOBIG)
"""

from __future__ import annotations

from mailtraq_py.interfaces.failures import NoSuchMailbox, StorageFull
from mailtraq_py.interfaces.store import NewMessage
from mailtraq_py.wire.imap import commands
from mailtraq_py.wire.imap.structure import describe

from .dialogue import Appending, Dialogue

# Larger messages are worth a look at the mailbox first, and are described off the reactor thread.
LARGE_OCTETS = 64 * 1024


async def append(dialogue: Dialogue, command: commands.Append) -> None:
    """The command's beginning: let the message come, or refuse it."""
    if not command.octets:
        dialogue.core.no("an empty message is none", "CANNOT")
        return
    if command.octets > LARGE_OCTETS:
        try:
            await dialogue.mailboxes.status(command.mailbox)
        except NoSuchMailbox:
            _try_create(dialogue)
            return
        dialogue.must_be_there()
    dialogue.appending = Appending(command, dialogue.around.content.spool())
    dialogue.core.accept_message()


def append_octets(dialogue: Dialogue, event: commands.AppendOctets) -> None:
    """A piece of the message. After a failure the rest is only passed over."""
    appending = _under_way(dialogue)
    if appending.failure is None:
        try:
            appending.spool.write(event.piece)
        except StorageFull as failure:
            appending.failure = failure
            appending.spool.discard()


def append_broken(dialogue: Dialogue, event: commands.AppendBroken) -> None:
    """The command was malformed; the core has answered."""
    drop(dialogue)


async def append_end(dialogue: Dialogue, event: commands.AppendEnd) -> None:
    """The message is whole."""
    appending = _under_way(dialogue)
    # From here on the message is no longer the connection's: a client that leaves now takes nothing back.
    dialogue.appending = None
    command, spool = appending.command, appending.spool
    try:
        if appending.failure is not None:
            raise appending.failure
        if spool.octets > LARGE_OCTETS:
            facts = await dialogue.around.in_thread(describe, spool.chunks())
        else:
            facts = describe(spool.chunks())
        received = command.internal_date if command.internal_date is not None else int(dialogue.around.now())
        message = NewMessage(spool, facts, command.flags, received)
        appended = await dialogue.mailboxes.append(command.mailbox, [message])
    except NoSuchMailbox:
        _try_create(dialogue)
        return
    finally:
        spool.discard()
    dialogue.log.info(
        "appended",
        event="appended",
        session=dialogue.connection.session_id,
        mailbox=command.mailbox,
        uid=str(appended.uids),
        octets=command.octets,
    )
    await dialogue.done("appended", f"APPENDUID {appended.uid_validity} {appended.uids}")


def drop(dialogue: Dialogue) -> None:
    """Forget a message under way."""
    appending, dialogue.appending = dialogue.appending, None
    if appending is not None:
        appending.spool.discard()


def _try_create(dialogue: Dialogue) -> None:
    dialogue.core.no("no such mailbox", "TRYCREATE")


def _under_way(dialogue: Dialogue) -> Appending:
    if dialogue.appending is None:
        raise RuntimeError("no message is under way")
    return dialogue.appending

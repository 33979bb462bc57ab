"""
APPEND: messages come in over IMAP.

    Append        -> a spool; a large message is first asked for its mailbox, so that nobody sends it in vain
    AppendOctets  -> written as they come
    AppendNext    -> the message is described, the next one has a spool of its own
    AppendEnd     -> the last is described, then one transaction for all; OK is said after its commit

RFC 3501 6.3.11, RFC 3502, RFC 4315 3, RFC 4469 4.2 (TOOBIG)
"""

from __future__ import annotations

from mailtraq_py.interfaces.failures import NoSuchMailbox, StorageFull
from mailtraq_py.interfaces.store import NewMessage
from mailtraq_py.wire.imap import commands
from mailtraq_py.wire.imap.structure import describe

from .dialogue import Appending, Dialogue

# Larger messages are worth a look at the mailbox first, and are described off the reactor thread.
LARGE_OCTETS = 64 * 1024
# Of one APPEND: small messages lie in memory until the last is there.
MESSAGES_MAX = 1000


async def append(dialogue: Dialogue, command: commands.Append) -> None:
    """The command's beginning: let the message come, or refuse it."""
    if not command.octets:
        _refuse_empty(dialogue)
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


async def append_next(dialogue: Dialogue, command: commands.AppendNext) -> None:
    """One message is whole, another is announced: let it come, or refuse them all (RFC 3502)."""
    appending = _under_way(dialogue)
    if not command.octets:
        _refuse_empty(dialogue)
    elif len(appending.messages) + 1 >= MESSAGES_MAX:
        dialogue.core.no("too many messages at once", "LIMIT")
    elif appending.octets + command.octets > dialogue.settings.max_literal_octets:
        dialogue.core.no("messages too large together", "TOOBIG")
    elif appending.failure is not None:
        dialogue.refused(appending.failure)
    else:
        # While it is described in a thread it is not the connection's to drop.
        dialogue.appending = None
        try:
            await _describe(dialogue, appending)
            dialogue.must_be_there()
        except BaseException:
            appending.discard()
            raise
        dialogue.appending = appending
        appending.begin(command, dialogue.around.content.spool())
        dialogue.core.accept_message()
        return
    drop(dialogue)


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
    """All is there."""
    appending = _under_way(dialogue)
    # From here on the messages are no longer the connection's: a client that leaves now takes nothing back.
    dialogue.appending = None
    mailbox = appending.command.mailbox
    try:
        if appending.failure is not None:
            raise appending.failure
        await _describe(dialogue, appending)
        appended = await dialogue.mailboxes.append(mailbox, appending.messages)
    except NoSuchMailbox:
        _try_create(dialogue)
        return
    finally:
        appending.discard()
    dialogue.log.info(
        "appended",
        event="appended",
        session=dialogue.connection.session_id,
        mailbox=mailbox,
        uid=str(appended.uids),
        octets=appending.octets,
    )
    await dialogue.done("appended", f"APPENDUID {appended.uid_validity} {appended.uids}")


def drop(dialogue: Dialogue) -> None:
    """Forget messages under way."""
    appending, dialogue.appending = dialogue.appending, None
    if appending is not None:
        appending.discard()


async def _describe(dialogue: Dialogue, appending: Appending) -> None:
    """The message in the spool is whole."""
    spool, message = appending.spool, appending.message
    if spool.octets > LARGE_OCTETS:
        facts = await dialogue.around.in_thread(describe, spool.chunks())
    else:
        facts = describe(spool.chunks())
    received = message.internal_date if message.internal_date is not None else int(dialogue.around.now())
    appending.messages.append(NewMessage(spool, facts, message.flags, received))


def _refuse_empty(dialogue: Dialogue) -> None:
    """A client cancels so (RFC 3502)."""
    dialogue.core.no("an empty message is none", "CANNOT")


def _try_create(dialogue: Dialogue) -> None:
    dialogue.core.no("no such mailbox", "TRYCREATE")


def _under_way(dialogue: Dialogue) -> Appending:
    if dialogue.appending is None:
        raise RuntimeError("no message is under way")
    return dialogue.appending

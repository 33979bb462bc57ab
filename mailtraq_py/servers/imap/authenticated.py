"""
Commands about mailboxes: SELECT, EXAMINE, CREATE, DELETE, RENAME, SUBSCRIBE, LIST, LSUB, STATUS, NAMESPACE, ENABLE.

RFC 3501 6.3, RFC 2342, RFC 3348, RFC 5161, RFC 6154
"""

from __future__ import annotations

from mailtraq_py.interfaces.store import MailboxInfo, MailboxStatus
from mailtraq_py.mail.flags import SYSTEM_FLAGS
from mailtraq_py.mail.mailbox import parent_name
from mailtraq_py.wire.imap import commands, responses
from mailtraq_py.wire.imap.mailboxname import ListPattern
from mailtraq_py.wire.imap.states import State

from .dialogue import Dialogue
from .resync import NOT_ENABLED, resynchronise
from .selection import Selection

# Keywords that clients use everywhere; any other may be set too (\*).
_FLAGS = " ".join((*SYSTEM_FLAGS, "$Forwarded", "$MDNSent", "$Junk", "$NotJunk"))


async def select(dialogue: Dialogue, command: commands.Select) -> None:
    """
    SELECT and EXAMINE. Where it fails nothing is selected any more (RFC 3501 6.3.1).

    RFC 7162 3.1.2, 3.2.5, 3.2.11
    """
    if command.resync is not None and not dialogue.qresync:
        dialogue.core.bad(NOT_ENABLED)
        return
    if dialogue.selection is not None:
        dialogue.deselect()
        dialogue.core.send(responses.untagged("OK", "closed", "CLOSED"))
    if command.condstore:
        dialogue.enable_condstore()
    mailbox = await dialogue.mailboxes.open(command.mailbox)
    selection = Selection(mailbox, command.read_only, dialogue.news)
    status = await selection.open(dialogue.around.hub)
    try:
        first_unseen = await _first_unseen(selection, status)
        dialogue.must_be_there()
    except BaseException:
        selection.close()
        raise
    core, view = dialogue.core, selection.view
    dialogue.selection = selection
    core.view = view
    core.state = State.SELECTED
    permanent = "" if selection.read_only else f"{_FLAGS} \\*"
    core.send(
        b"".join(
            (
                b"* FLAGS (%b)\r\n" % _FLAGS.encode(),
                responses.exists(view.count),
                responses.recent(view.recent_count),
                responses.untagged("OK", "first unseen", f"UNSEEN {first_unseen}") if first_unseen else b"",
                responses.untagged("OK", "UIDs valid", f"UIDVALIDITY {status.uid_validity}"),
                responses.untagged("OK", "next UID", f"UIDNEXT {status.uid_next}"),
                responses.untagged("OK", "flags kept", f"PERMANENTFLAGS ({permanent})"),
                responses.untagged("OK", "newest change", f"HIGHESTMODSEQ {status.highest_mod_seq}"),
            )
        )
    )
    if command.resync is not None:
        await resynchronise(dialogue, command.resync, status)
    core.ok("selected", "READ-ONLY" if selection.read_only else "READ-WRITE")


async def _first_unseen(selection: Selection, status: MailboxStatus) -> int:
    """The number of the first message without \\Seen; 0 for none, or when it is far back (RFC 3501 6.3.1 allows it)."""
    if not status.unseen or not status.messages:
        return 0
    if status.unseen == status.messages:
        return 1
    return selection.view.number_of(await selection.mailbox.first_unseen())


async def create(dialogue: Dialogue, command: commands.Create) -> None:
    """RFC 3501 6.3.3, RFC 6154 3"""
    await dialogue.mailboxes.create(command.mailbox, command.special_use)
    await dialogue.done("created")


async def delete(dialogue: Dialogue, command: commands.Delete) -> None:
    """RFC 3501 6.3.4"""
    selection = dialogue.selection
    own = (
        selection is not None
        and (await dialogue.mailboxes.status(command.mailbox)).id == selection.mailbox.id
    )
    await dialogue.mailboxes.delete(command.mailbox)
    if own:
        # Its own client knows; others that have it selected are sent away (`end_if_gone`).
        dialogue.deselect()
    await dialogue.done("deleted")


async def rename(dialogue: Dialogue, command: commands.Rename) -> None:
    """RFC 3501 6.3.5"""
    await dialogue.mailboxes.rename(command.mailbox, command.new_name)
    await dialogue.done("renamed")


async def subscribe(dialogue: Dialogue, command: commands.Subscribe) -> None:
    """RFC 3501 6.3.6, 6.3.7"""
    await dialogue.mailboxes.subscribe(command.mailbox, command.subscribed)
    await dialogue.done("subscribed" if command.subscribed else "unsubscribed")


async def list_mailboxes(dialogue: Dialogue, command: commands.List) -> None:
    """RFC 3501 6.3.8; an empty pattern asks for the separator."""
    if not command.pattern:
        dialogue.core.send(b'* LIST (\\Noselect) "/" ""\r\n')
    else:
        pattern = ListPattern(command.pattern)
        dialogue.core.send(
            b"".join(
                [
                    responses.list_line("LIST", _attributes(info), info.name)
                    for info in await dialogue.mailboxes.list_mailboxes()
                    if pattern.matches(info.name) and (info.special_use or not command.special_use_only)
                ]
            )
        )
    await dialogue.done("listed")


def _attributes(info: MailboxInfo) -> list[str]:
    attributes = ["\\HasChildren" if info.has_children else "\\HasNoChildren"]
    if not info.id:
        attributes.append("\\Noselect")
    if info.is_recoverable:
        attributes.append("\\Noinferiors")
    if info.special_use:
        attributes.append(info.special_use)
    return attributes


async def list_subscriptions(dialogue: Dialogue, command: commands.Lsub) -> None:
    """
    LSUB. "foo" that is not subscribed is named, as \\Noselect, when the pattern ends at its level and "foo/bar" is.

    RFC 3501 6.3.9
    """
    names = await dialogue.mailboxes.list_subscriptions()
    pattern = ListPattern(command.pattern)
    found = {name: True for name in names if pattern.matches(name)}
    if command.pattern.endswith("%"):
        for name in names:
            level = parent_name(name)
            while level:
                if level not in found and pattern.matches(level):
                    found[level] = False
                level = parent_name(level)
    dialogue.core.send(
        b"".join(
            [
                responses.list_line("LSUB", () if subscribed else ("\\Noselect",), name)
                for name, subscribed in found.items()
            ]
        )
    )
    await dialogue.done("listed")


async def status(dialogue: Dialogue, command: commands.Status) -> None:
    """RFC 3501 6.3.10, RFC 8438. RECENT may count messages that are gone: what is kept is the first recent UID."""
    found = await dialogue.mailboxes.status(command.mailbox)
    counts = {
        "MESSAGES": found.messages,
        "RECENT": min(found.messages, max(0, found.uid_next - found.first_recent)),
        "UIDNEXT": found.uid_next,
        "UIDVALIDITY": found.uid_validity,
        "UNSEEN": found.unseen,
        "HIGHESTMODSEQ": found.highest_mod_seq,
        "SIZE": found.octets,
    }
    if "HIGHESTMODSEQ" in command.items:
        dialogue.enable_condstore()
    dialogue.core.send(responses.status(command.mailbox, [(item, counts[item]) for item in command.items]))
    await dialogue.done("done")


async def namespace(dialogue: Dialogue, command: commands.Namespace) -> None:
    """RFC 2342 5: one's own, at the top; nobody else's, none shared."""
    dialogue.core.send(b'* NAMESPACE (("" "/")) NIL NIL\r\n')
    await dialogue.done("done")


async def enable(dialogue: Dialogue, command: commands.Enable) -> None:
    """RFC 5161 3.1; QRESYNC brings CONDSTORE with it (RFC 7162 3.2.3)."""
    enabled = [name for name in ("CONDSTORE", "QRESYNC") if name in command.names]
    dialogue.core.send(" ".join(("* ENABLED", *enabled)).encode("ascii") + responses.CRLF)
    if enabled:
        dialogue.qresync = dialogue.qresync or "QRESYNC" in enabled
        dialogue.enable_condstore()
    await dialogue.done("done")


async def noop(dialogue: Dialogue, command: commands.Noop | commands.Check) -> None:
    """RFC 3501 6.1.2, 6.4.1"""
    await dialogue.done("done")

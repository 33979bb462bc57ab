"""
CONDSTORE and QRESYNC: what changed since a MODSEQ that a client names, and the states of many messages.

The store keeps the MODSEQ of every message and of every UID that is gone, for as long as the mailbox lives: no MODSEQ
is too old, and no mailbox is without (NOMODSEQ is never said).

RFC 7162
"""

from __future__ import annotations

from collections.abc import Sequence

from mailtraq_py.interfaces.store import MailboxStatus
from mailtraq_py.mail.changes import MessageState, StateRun
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.wire.imap import commands, responses
from mailtraq_py.wire.imap.tokens import NUMBER_MAX

from .dialogue import Dialogue

STATES_AT_ONCE = 2000
RUN_COSTS = 10  # as much as so many states
NOT_ENABLED = "enable QRESYNC first"


async def send_states(dialogue: Dialogue, states: Sequence[MessageState], by_uid: bool) -> None:
    """Tell states of messages, and let others have their turn in between."""
    view = dialogue.selected.view
    for start in range(0, len(states), STATES_AT_ONCE):
        if start:
            await dialogue.breathe()
        updates = view.numbered(states[start : start + STATES_AT_ONCE])
        dialogue.core.send(responses.flag_updates(updates, view.first_recent, by_uid, dialogue.condstore))


async def send_runs(dialogue: Dialogue, runs: Sequence[StateRun], by_uid: bool, silent: bool) -> None:
    """
    As `send_states`, for what a STORE did.

    Args:
        silent: no flags are asked for; MODSEQs are told to who has enabled them (RFC 7162 3.1.3, 3.2.4).
    """
    view, condstore = dialogue.selected.view, dialogue.condstore
    if silent and not condstore:
        return
    waiting = 0
    for number, run in view.numbered_runs(runs, STATES_AT_ONCE):
        for part, recent in _by_recency(run, view.first_recent):
            dialogue.core.send(
                responses.run_update(number + part.low - run.low, part, recent, by_uid, condstore, silent)
            )
        waiting += run.high - run.low + RUN_COSTS
        if waiting >= STATES_AT_ONCE:
            waiting = 0
            await dialogue.breathe()


def _by_recency(run: StateRun, first_recent: int) -> list[tuple[StateRun, bool]]:
    """A run, cut where messages begin to be \\Recent."""
    if not run.low < first_recent <= run.high:
        return [(run, run.low >= first_recent)]
    return [(run._replace(high=first_recent - 1), False), (run._replace(low=first_recent), True)]


async def changed_uids(dialogue: Dialogue, command: commands.Fetch, uids: UIDSet) -> UIDSet:
    """
    Which of a FETCH's messages changed after its CHANGEDSINCE. With VANISHED what is gone is told first.

    RFC 7162 3.1.4.1, 3.2.6
    """
    dialogue.enable_condstore()
    selection = dialogue.selected
    delta = await selection.mailbox.changes(command.changed_since or 0)
    if command.vanished:
        # `*` is the largest UID that is left, but who names 1:* asks for those behind it, too.
        gone = delta.vanished.intersection(command.numbers.resolve(NUMBER_MAX))
        # What the client still counts has to be told as VANISHED without EARLIER (RFC 7162 3.2.10.1).
        dialogue.core.send(responses.vanished(gone.difference(selection.view.known_uids()), earlier=True))
    return uids.intersection(UIDSet.from_numbers(state.uid for state in delta.changed))


async def resynchronise(dialogue: Dialogue, known: commands.Resync, status: MailboxStatus) -> None:
    """
    After the responses of a SELECT: what changed since the client was last here (RFC 7162 3.2.5).
    """
    if known.uid_validity != status.uid_validity:
        return
    selection = dialogue.selected
    view = selection.view
    delta = await selection.mailbox.changes(known.mod_seq)
    uids = known.uids if known.uids is not None else UIDSet(((1, NUMBER_MAX),))
    unknown = UIDSet(((view.matching_uid(known.matches) + 1, NUMBER_MAX),))
    gone = delta.vanished.intersection(uids).intersection(unknown).difference(view.known_uids())
    dialogue.core.send(responses.vanished(gone, earlier=True))
    await send_states(dialogue, [state for state in delta.changed if state.uid in uids], by_uid=True)

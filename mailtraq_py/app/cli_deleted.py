"""
`mailtraq restore` and `mailtraq purge`: deleted mail comes back, or goes for good.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from .cli_options import Refused, Unusable, config_option, json_option, parse_since, print_json, print_table
from .cli_progress import ProgressLine
from .cli_store import OpenStore, open_store

if TYPE_CHECKING:
    from mailtraq_py.store.undelete import Plan, Run, Undeletion

_mailbox_option = click.option("--mailbox", metavar="NAME", default=None, help="Only what was in this mailbox.")
_dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")


@click.command(
    epilog="\b\nExamples:\n  mailtraq restore alice@example.org --at 2h --dry-run"
    "\n  mailtraq restore alice@example.org --at 2026-01-31T12:00+01:00"
    "\n  mailtraq restore alice@example.org --at 3d --mailbox Work"
)
@click.argument("account", metavar="ADDRESS")
@click.option(
    "--at",
    required=True,
    metavar="TIME",
    help="A span before now such as 90m, 2h, 3d, or an instant such as 2026-01-31T12:00Z.",
)
@_mailbox_option
@_dry_run_option
@json_option
@config_option
def restore(account: str, at: str, mailbox: str | None, dry_run: bool, config: str | None, as_json: bool) -> None:
    """
    Bring back what ADDRESS had at TIME and has deleted since: messages into their mailboxes, and mailboxes.

    The server may run. What was moved since comes back where it was last; what was deleted before stays deleted.
    """
    instant = parse_since(at, time.time())
    with open_store(config) as store:
        undeletion = _undeletion(store, account)
        plan = store.run(undeletion.plan(instant, _canonical(mailbox)))
        if not plan.fits and not dry_run:
            raise Refused(
                f"there is no room for it in the quota of {account}: raise that (`mailtraq account set --quota`), or"
                " choose a --mailbox"
            )
        if not dry_run:
            _restore(store, undeletion, plan)
    incomplete = plan.purged_until > instant
    if as_json:
        print_json(
            {
                "at": _instant(instant),
                "mailboxes": [
                    {"mailbox": each.mailbox, "new": each.is_new, "messages": len(each.uids), "octets": each.octets}
                    for each in plan.mailboxes
                ],
                "fits": plan.fits,
                "purged_until": _instant(plan.purged_until) if incomplete else None,
            }
        )
        return
    if plan.mailboxes:
        rows = [(each.mailbox, len(each.uids), each.octets, "new" if each.is_new else "") for each in plan.mailboxes]
        print_table(("MAILBOX", "MESSAGES", "OCTETS", ""), rows)
    count = sum(len(each.uids) for each in plan.mailboxes)
    verb = "would come back" if dry_run else "came back"
    click.echo(f"{count} message{'' if count == 1 else 's'} {verb}.")
    if not plan.fits:
        click.echo("There is no room for it in the quota.")
    if incomplete:
        click.echo(f"Of what was deleted until {_instant(plan.purged_until)} something is gone for good.")


@click.command(
    epilog="\b\nExamples:\n  mailtraq purge alice@example.org --dry-run\n  mailtraq purge alice@example.org --lose 12"
)
@click.argument("account", metavar="ADDRESS")
@_mailbox_option
@click.option("--lose", type=click.IntRange(min=0), default=0, help="So many messages may go for good.")
@_dry_run_option
@json_option
@config_option
def purge(account: str, mailbox: str | None, lose: int, dry_run: bool, config: str | None, as_json: bool) -> None:
    """
    Let what ADDRESS has deleted go for good now: its octets are overwritten in the store, and its index made anew.

    With messages to lose it refuses, and says how many. The server may run. Copies in backups stay.
    """
    with open_store(config) as store:
        runs = store.run(_undeletion(store, account).runs(_canonical(mailbox)))
        count, octets = sum(run.messages for run in runs), sum(run.octets for run in runs)
        if not dry_run:
            if count > lose:
                raise Refused(f"{count} messages would be gone for good; --lose {count} says that they may")
            _purge(store, runs, count)
            store.store.indexes.discard(store.run(store.administration.find(account)).id)
    boxes = {run.mailbox: [0, 0] for run in runs}
    for run in runs:
        boxes[run.mailbox][0] += run.messages
        boxes[run.mailbox][1] += run.octets
    if as_json:
        mailboxes = [{"mailbox": name, "messages": held[0], "octets": held[1]} for name, held in sorted(boxes.items())]
        print_json({"mailboxes": mailboxes, "messages": count, "octets": octets})
        return
    if boxes:
        print_table(("MAILBOX", "MESSAGES", "OCTETS"), [(name, *held) for name, held in sorted(boxes.items())])
    verb = "would be" if dry_run else "is" if count == 1 else "are"
    click.echo(f"{count} message{'' if count == 1 else 's'} {verb} gone for good.")


def _undeletion(store: OpenStore, account: str) -> Undeletion:
    return store.store.undeletion(store.run(store.administration.find(account)).id)


def _restore(store: OpenStore, undeletion: Undeletion, plan: Plan) -> None:
    from mailtraq_py.interfaces.failures import MailboxNotAllowed, NoSuchMailbox, OverQuota

    progress = ProgressLine()
    try:
        store.run(undeletion.restore(plan, progress))
    except (OverQuota, NoSuchMailbox, MailboxNotAllowed):
        raise Refused("the account was changed meanwhile, and not all came back: try again") from None
    finally:
        progress.end()


def _purge(store: OpenStore, runs: list[Run], total: int) -> None:
    progress, done = ProgressLine(), 0

    def note(messages: int) -> None:
        nonlocal done
        done += messages
        progress("messages", done, total)

    try:
        store.run(store.store.deleted.purge(((run.recoverable_id, run.low) for run in runs), note))
    finally:
        progress.end()


def _canonical(mailbox: str | None) -> str | None:
    from mailtraq_py.mail.mailbox import canonical_name

    try:
        return None if mailbox is None else canonical_name(mailbox)
    except ValueError as error:
        raise Unusable(f'"{mailbox}" is no name of a mailbox: {error}') from None


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

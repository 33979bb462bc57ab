"""
`mailtraq verify`, `backup`, `restore-backup`, `upgrade` and `rollback`: what keeps the store whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .cli_options import Refused, config_option, find_location, json_option, print_json, print_table
from .cli_progress import ProgressLine
from .cli_store import open_store, store_file

if TYPE_CHECKING:
    from mailtraq_py.store.verification import Damage

    from .location import Location

# What takes the place of copies of a file.
_DUMP = "back it up with pg_dump --format=custom, or by base backups and the write-ahead log"
_RESTORE = "stop every server and put a dump back with pg_restore --clean --if-exists"
_COPY = "try it on a copy of the database, made with createdb --template"


@click.command(
    epilog="\b\nExamples:\n  mailtraq verify\n  mailtraq verify --repair\n  mailtraq verify --json | jq .damages"
)
@click.option("--repair", is_flag=True, help="Mend what can be mended: counts, references, orphan files.")
@json_option
@config_option
def verify(repair: bool, config: str | None, as_json: bool) -> None:
    """
    Hold everything in the store against everything else: octets, references, counts, UIDs, files.

    The server may run. Exit code 1 where damage is left.
    """
    with open_store(config) as store:
        progress = ProgressLine()
        looking = store.store.verification(progress)
        damages = []
        try:
            for damage in looking.damages():
                damages.append(damage)
                if repair and damage.is_repairable:
                    store.run(looking.repair(damage))
        finally:
            progress.end()
    left = sum(not damage.repaired for damage in damages)
    if as_json:
        print_json({"looked_at": looking.looked_at, "damages": [_shown(damage) for damage in damages], "left": left})
    else:
        _print(damages, looking.looked_at)
    if left:
        hint = "" if repair or not any(damage.is_repairable for damage in damages) else "; --repair mends what it can"
        raise Refused(f"{left} damage{'' if left == 1 else 's'} left{hint}")


@click.command(
    epilog="\b\nExamples:\n  mailtraq backup /backup/mail\n  mailtraq backup /backup/mail --json"
    "\nIts counterpart is `mailtraq restore-backup`."
)
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@json_option
@config_option
def backup(folder: Path, config: str | None, as_json: bool) -> None:
    """
    Copy the store into a new folder in DIR; what the last backup there has is linked, pages of the database too.

    The server may run. Exit code 1 where the store's own octets are damaged: see `mailtraq verify`.
    """
    from dataclasses import asdict

    from mailtraq_py.store.backup import make_backup

    location = find_location(config)
    progress = ProgressLine()
    with _failures():
        try:
            made = make_backup(store_file(location, _DUMP), location.data_dir, folder, time.time(), progress)
        finally:
            progress.end()
    if as_json:
        print_json(asdict(made))
    else:
        click.echo(
            f"{folder / made.name}: {made.messages} messages, {made.queued} in the queue; {made.copied} files copied,"
            f" {made.linked} linked, {made.octets / 1e6:.1f} MB written."
        )
    if made.damaged:
        raise Refused(f"damaged in the store already: {', '.join(made.damaged)}")


@click.command(
    "restore-backup",
    epilog="\b\nExamples:\n  mailtraq restore-backup /backup/mail\n"
    "  mailtraq restore-backup /backup/mail --at 20261122T060000Z",
)
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--at", metavar="NAME", default=None, help="This backup of DIR; the newest if not given.")
@click.option(
    "--same-uidvalidity",
    is_flag=True,
    help="Keep UIDVALIDITYs: only where nothing was changed since the backup, such as on a move to another host.",
)
@click.option("--without-queue", is_flag=True, help="What waited to leave then is not sent (again).")
@config_option
def restore_backup(
    folder: Path, at: str | None, same_uidvalidity: bool, without_queue: bool, config: str | None
) -> None:
    """
    Put a backup of DIR in the place of the store; the server must be stopped.

    The store that was there is kept in a folder of data_dir. Mail programs fetch everything anew.
    """
    from mailtraq_py.store import backup as backups

    location = find_location(config)
    _refuse_while_running(location)
    listed = backups.list_backups(folder)
    chosen = [each for each in listed if at in (None, each.name)]
    if not chosen:
        names = ", ".join(each.name for each in listed) or "none"
        raise Refused(f"no such backup in {folder}; there is {names}")
    progress = ProgressLine()
    with _failures():
        try:
            kept = backups.restore_backup(
                folder / chosen[-1].name,
                store_file(location, _RESTORE, must_exist=False),
                location.data_dir,
                time.time(),
                progress,
                renew_uids=not same_uidvalidity,
                keep_queue=not without_queue,
            )
        finally:
            progress.end()
    queue = chosen[-1].queued if not without_queue else 0
    click.echo(f"{chosen[-1].name} is restored: {chosen[-1].messages} messages, {queue} in the queue.")
    if kept is not None:
        click.echo(f"What was there before is in {kept}.")


@click.command(epilog="\b\nExamples:\n  mailtraq upgrade --dry-run\n  mailtraq upgrade")
@click.option("--dry-run", is_flag=True, help="On a copy that is thrown away; the server may run.")
@config_option
def upgrade(dry_run: bool, config: str | None) -> None:
    """
    Bring the store to the schema of this program, keeping a copy before each step.

    The server does the same when it starts; this says beforehand whether that works, and how long it takes.
    """
    from mailtraq_py.store.backup import RECENT, try_upgrade
    from mailtraq_py.store.migrate import schema_of

    location = find_location(config)
    if not dry_run and not location.is_file:
        with open_store(config):
            click.echo("The store has the schema of this program.")
        return
    file = store_file(location, _COPY)
    started = time.monotonic()
    with _failures():
        if dry_run:
            found = try_upgrade(file, location.data_dir, ProgressLine())
        else:
            pairs = ((file, "main"), (file.parent / RECENT, "recent"))
            found = [(path.name, *schema_of(str(path), kind)) for path, kind in pairs]
            with open_store(config):
                pass
    for name, before, after in found:
        if after == before:
            click.echo(f"{name}: up to date ({after}).")
        else:
            click.echo(f"{name}: schema {before} {'would be' if dry_run else 'is'} brought to {after}.")
    click.echo(f"{time.monotonic() - started:.1f} s.")


@click.command(epilog="\b\nExamples:\n  mailtraq rollback\n  mailtraq rollback --lose 12")
@click.option("--lose", type=click.IntRange(min=0), default=0, help="So many messages may be lost.")
@config_option
def rollback(lose: int, config: str | None) -> None:
    """
    Go back to the schema before the last step, for the older program; the server must be stopped.

    What came since that step is not in its copy: with messages to lose it refuses, and says how many.
    """
    from mailtraq_py.store.rollback import NoRollback, plan_rollback, roll_back

    location = find_location(config)
    _refuse_while_running(location)
    file = store_file(location, _RESTORE)
    with _failures():
        try:
            plan = plan_rollback(file, location.data_dir)
        except NoRollback as error:
            raise Refused(str(error)) from None
        if plan.lost > lose:
            raise Refused(f"{plan.lost} messages came since and would be lost; --lose {plan.lost} says that they may")
        kept = roll_back(plan, file, time.time())
    click.echo(
        f"{file} has schema {plan.schema} again: {plan.lost} messages lost, {plan.returning} that were deleted are"
        f" back, {plan.torn} without their files. What was there before is in {kept}; start the older program now."
    )


def _refuse_while_running(location: Location) -> None:
    from .pidfile import running_process

    process = running_process(location.data_dir)
    if process is not None:
        raise Refused(f"the server runs (process {process}): stop it first")


@contextmanager
def _failures() -> Iterator[None]:
    """What goes wrong with files and databases becomes exit code 1."""
    import apsw

    from mailtraq_py.store.backup import BackupFailed
    from mailtraq_py.store.migrate import StoreRefused
    from mailtraq_py.store.packs import DamagedPack

    try:
        yield
    except (BackupFailed, DamagedPack, StoreRefused, OSError, apsw.Error) as error:
        raise Refused(str(error)) from None


def _print(damages: list[Damage], looked_at: dict[str, int]) -> None:
    if damages:
        rows = [
            (
                damage.kind,
                damage.subject,
                "repaired" if damage.repaired else "can be repaired" if damage.is_repairable else "lost",
                damage.detail,
            )
            for damage in damages
        ]
        print_table(("DAMAGE", "OF", "STATE", "WHAT"), rows)
    counts = ", ".join(f"{count} {what}" for what, count in looked_at.items())
    click.echo(f"Looked at {counts}: {len(damages) or 'no'} damage{'' if len(damages) == 1 else 's'}.")


def _shown(damage: Damage) -> dict[str, object]:
    return {
        "kind": damage.kind,
        "subject": damage.subject,
        "detail": damage.detail,
        "repairable": damage.is_repairable,
        "repaired": damage.repaired,
    }

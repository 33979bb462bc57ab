"""
`mailtraq verify`, `backup` and `restore-backup`: what keeps the store whole. Only the last wants the server stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .cli_options import Refused, config_option, json_option, print_json, print_table
from .cli_progress import ProgressLine
from .cli_store import open_store

if TYPE_CHECKING:
    from mailtraq_py.store.verification import Damage


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

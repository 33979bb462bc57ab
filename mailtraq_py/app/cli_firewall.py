"""
`mailtraq firewall test`: what a list says of an address.
"""

from __future__ import annotations

from pathlib import Path

import click

from mailtraq_py.policy.firewall import FirewallList, parse_client, parse_rules
from mailtraq_py.policy.problems import Problems
from mailtraq_py.policy.settings import ListUnreadable

from .cli_options import CommandGroup, Unusable, json_option, print_json
from .listfiles import read_list_file


@click.group(cls=CommandGroup)
def firewall() -> None:
    """Firewall lists."""


@firewall.command("test", epilog="\b\nExample:\n  mailtraq firewall test --entries etc/lan.lst 192.168.1.13")
@click.option(
    "--entries",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A list: one entry a line, # comments.",
)
@click.argument("address")
@json_option
def firewall_test(entries: Path, address: str, as_json: bool) -> None:
    """
    Say whether a list admits ADDRESS, and which entry decided.

    Exit code 0: admitted; 1: denied; 2: an entry, or the address, is wrong.
    """
    try:
        _, listed = read_list_file(entries, "")
    except (OSError, ListUnreadable) as error:
        raise Unusable(f"{entries}: {getattr(error, 'strerror', None) or error}") from None
    problems = Problems(str(entries))
    compiled = FirewallList(parse_rules(listed, "", problems))
    if problems.errors:
        raise Unusable("\n".join(map(str, problems.errors)))
    if parse_client(address) is None:
        raise Unusable(f"{address} is no IP address")
    admitted, index = compiled.decide(address)
    entry = None if index is None else compiled.rules[index].entry
    if as_json:
        decided = None if entry is None else {"entry": entry.text, "line": entry.line}
        print_json({"address": address, "admitted": admitted, "decided_by": decided})
    elif entry is None:
        click.echo(f"{address} denied: no entry matches")
    else:
        click.echo(f"{address} {'admitted' if admitted else 'denied'}: line {entry.line}: {entry.text}")
    if not admitted:
        click.get_current_context().exit(1)

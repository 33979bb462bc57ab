"""
What the commands share: --config, --json, exit codes, lines and tables.

Exit codes: 0 done, 1 refused or not found, 2 usage or configuration error.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from .config import Configuration
    from .location import Location

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Refused(click.ClickException):
    """The command was understood and could not be done: exit code 1."""

    exit_code = 1

    def show(self, file: Any = None) -> None:
        """One line on standard error."""
        click.echo(f"mailtraq: {self.format_message()}", file=file or sys.stderr)


class Unusable(Refused):
    """The configuration, or what was given, cannot be used: exit code 2."""

    exit_code = 2


class CommandGroup(click.Group):
    """Commands of one matter; its help ends with the examples of all of them."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Gather them."""
        epilogs = [self.commands[name].epilog or "" for name in self.list_commands(ctx)]
        lines = [line for epilog in epilogs for line in epilog.splitlines() if line.startswith("  ")]
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text("\n".join(("\b", "Examples:", *lines)))


def config_option(command: _Command) -> _Command:
    """--config FILE, also after the arguments; without it, the one given before the command's name."""
    return click.option(
        "--config",
        "config",
        metavar="FILE",
        callback=lambda context, _, value: value or context.find_root().params.get("config"),
        help="The configuration file; ./mailtraq.toml or /etc/mailtraq/mailtraq.toml if not given.",
    )(command)


def json_option(command: _Command) -> _Command:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")(command)


def find_location(config: str | None) -> Location:
    """
    Where the store is; as root, become the owner of data_dir first, so that nothing in it ever belongs to root.

    Raises:
        Unusable: the configuration does not say.
    """
    from .location import NoConfiguration, locate

    try:
        location = locate(config)
    except NoConfiguration as error:
        raise Unusable(str(error)) from None
    become_owner(location)
    return location


def read_configuration(config: str | None) -> Configuration:
    """
    Read the whole configuration; as root, become the owner of data_dir first.

    Raises:
        Unusable: with every error in it.
    """
    configuration = look_at_configuration(config)
    if configuration.problems:
        raise Unusable("\n".join(map(str, configuration.problems)))
    return configuration


def look_at_configuration(config: str | None) -> Configuration:
    """
    The same, but what is wrong stands in `problems`.

    Raises:
        Unusable: there is nothing to read.
    """
    from .config import ConfigurationError, look_at_given

    try:
        configuration = look_at_given(config)
    except ConfigurationError as error:
        raise Unusable(str(error)) from None
    become_owner(configuration.location)
    return configuration


def become_owner(location: Location) -> None:
    """
    As root: make data_dir if it is missing, for `user`, and become whoever owns it.

    Raises:
        Unusable: there is no such user, or the folder cannot be made.
    """
    from .privileges import become, find_identity, is_root, make_private_folder, owner_of

    if not is_root():
        return
    try:
        make_private_folder(location.data_dir, find_identity(location.user, location.group) if location.user else None)
        owner = owner_of(location.data_dir)
        if owner is not None:
            from mailtraq_py.store.hashing import load_schemes

            load_schemes()
            become(owner)
    except (OSError, ValueError) as error:
        raise Unusable(f"{location.file}: {error}") from None


def print_json(value: Any) -> None:
    """One JSON text on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows under their heads, columns aligned; control characters shown as escapes, for a terminal obeys them."""
    table = [list(heads), *([_printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_span(seconds: float) -> str:
    """A span of time as `4m 20s`, `3h 5m`, `2d 4h`."""
    whole = max(0, int(seconds))
    for unit, size, smaller, smaller_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size}{unit} {rest}{smaller}" if rest else f"{whole // size}{unit}"
    return f"{whole}s"


_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_since(text: str, now: float) -> float:
    """
    When `--since` begins: a span before now (`90m`, `2h`, `7d`) or an instant (`2026-01-31`, `2026-01-31T12:00Z`).

    Returns:
        seconds since the epoch; an instant without a zone is UTC.

    Raises:
        Unusable: it is neither.
    """
    span = re.fullmatch(r"([0-9]{1,9})([smhdw])", text)
    if span is not None:
        return now - int(span[1]) * _UNIT_SECONDS[span[2]]
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        reason = "is neither a span such as 2h or 7d nor an instant such as 2026-01-31T12:00Z"
        raise Unusable(f'"{text}" {reason}') from None
    return (instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)).timestamp()


def _printable(cell: Any) -> str:
    text = "" if cell is None else str(cell)
    return text if text.isprintable() else text.encode("unicode_escape").decode()

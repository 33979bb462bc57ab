"""
`mailtraq init`, `mailtraq trial`, `mailtraq reload`.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import click

from .cli_options import Refused, Unusable, config_option, find_location, json_option, print_json
from .pidfile import last_reload, running_process
from .sample import PRESETS, sample_file

RELOAD_SECONDS = 15.0


@click.command(epilog="\b\nExample:\n  mailtraq init /etc/mailtraq --hostname mx.example.org --user mailtraq")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--preset", type=click.Choice(PRESETS), default="mailtraq", help="Whose relay rules to begin with.")
@click.option("--hostname", default=None, help="The name the server greets with; this machine's if not given.")
@click.option("--user", default="", help="The user it shall run as when root starts it; owns what is written.")
def init(directory: Path, preset: str, hostname: str | None, user: str) -> None:
    """Write a commented configuration, folders and a self-signed certificate into DIRECTORY."""
    from .installation import install
    from .privileges import find_identity

    hostname = hostname or socket.getfqdn()
    try:
        owner = find_identity(user) if user else None
        file = install(directory, sample_file(hostname, preset, user), hostname, owner)
    except FileExistsError as error:
        raise Refused(f"{error.filename} exists already") from None
    except ValueError as error:
        raise Unusable(str(error)) from None
    except OSError as error:
        raise Refused(f"{error.filename}: {error.strerror}") from None
    click.echo(f"Wrote {file}. The next steps:")
    click.echo(f"  mailtraq domain add DOMAIN --config {file}")
    click.echo(f"  mailtraq account add NAME@DOMAIN --config {file}")
    click.echo(f"  mailtraq check --config {file}")
    click.echo(f"  twistd -n mailtraq --config {file}")


@click.command(epilog="\b\nExample:\n  mailtraq trial\n  mailtraq trial --directory ~/mail-trial")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("var/trial"),
    help="Where it keeps its data; a second run goes on with them.",
)
def trial(directory: Path) -> None:
    """
    Run a server to try, in the foreground, on loopback ports.

    It hosts example.test with the accounts alice and bob; mail for elsewhere does not leave the machine.
    """
    from .config import ConfigurationError
    from .location import StoreUnusable
    from .service import CannotStart
    from .trial import run_trial

    try:
        run_trial(directory)
    except ConfigurationError as error:
        raise Unusable(str(error)) from None
    except (CannotStart, StoreUnusable) as error:
        raise Refused(str(error)) from None
    except OSError as error:
        raise Refused(f"{error.filename}: {error.strerror}") from None


@click.command(epilog="\b\nExample:\n  mailtraq reload --config /etc/mailtraq/mailtraq.toml")
@json_option
@config_option
def reload(config: str | None, as_json: bool) -> None:
    """
    Have the running server read its configuration again, and wait for the result.

    A file with errors leaves the running policy in force. Exit code 0: in force; 1: no server runs; 2: errors.
    """
    data_dir = find_location(config).data_dir
    process = running_process(data_dir)
    if process is None:
        raise Refused(f"no server runs on {data_dir}")
    before = last_reload(data_dir)
    try:
        os.kill(process, signal.SIGHUP)
    except PermissionError:
        raise Refused(f"this user may not signal process {process}") from None
    deadline = time.monotonic() + RELOAD_SECONDS
    while (result := last_reload(data_dir)) == before or result is None:
        if time.monotonic() > deadline:
            raise Refused(f"process {process} has not answered for {RELOAD_SECONDS:g} s")
        time.sleep(0.02)
    for warning in result["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        print_json(result)
    elif not result["errors"]:
        click.echo(f"In force: configuration number {result['number']}.")
        if result["restart"]:
            click.echo(f"Only a restart brings into force: {', '.join(result['restart'])}.")
    if result["errors"]:
        raise Unusable("\n".join([*result["errors"], "the running policy stays in force"]))



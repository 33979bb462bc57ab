"""
`mailtraq import-imap`: an account's mail out of another IMAP server.
"""

from __future__ import annotations

import ssl
import sys
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click

from mailtraq_py.interfaces.failures import OverQuota
from mailtraq_py.mail.mailbox import SEPARATOR

from .cli_options import Refused, Unusable, config_option, json_option, print_json, print_table
from .cli_progress import ProgressLine
from .cli_store import open_store
from .imapimport import IMAPImport, ImportMemory, Planned
from .imapsource import ConnectionLost, IMAPSource, RemoteMailbox, SourceRefused, parse_url
from .transfer import Importer


@click.command(
    "import-imap",
    epilog="\b\nExamples:\n  mailtraq import-imap alice@example.org imaps://alice@imap.old.example/ --dry-run"
    "\n  mailtraq import-imap alice@example.org imap://alice%40old.example@imap.old.example:143/"
    "\n  mailtraq import-imap alice@example.org imaps://alice@imap.old.example/ --mailbox INBOX --mailbox 'Lists*'"
    "\n  mailtraq import-imap alice@example.org imaps://alice@old.example/ --exclude Trash --password-stdin < secret",
)
@click.argument("account")
@click.argument("url")
@click.option(
    "--mailbox", "only", metavar="NAME", multiple=True, help="Only this mailbox there, and those beneath; * stands."
)
@click.option("--exclude", metavar="NAME", multiple=True, help="Not this mailbox there and those beneath; * stands.")
@click.option("--beneath", metavar="NAME", default="", help="INBOX into this mailbox, the others beneath it.")
@click.option("--dry-run", is_flag=True, help="Say what would be brought, and bring nothing.")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
@click.option("--oauth", is_flag=True, help="What is given is no password but an OAuth 2 access token.")
@click.option(
    "--ca", type=click.Path(exists=True, dir_okay=False), default=None, help="Believe these certificates (PEM) alone."
)
@click.option("--plaintext", is_flag=True, help="Without TLS: whoever listens reads password and mail.")
@json_option
@config_option
def import_imap(
    account: str,
    url: str,
    only: tuple[str, ...],
    exclude: tuple[str, ...],
    beneath: str,
    dry_run: bool,
    password_stdin: bool,
    oauth: bool,
    ca: str | None,
    plaintext: bool,
    config: str | None,
    as_json: bool,
) -> None:
    """
    Bring the mail of another server's account, imap(s)://USER@HOST[:PORT]/, into ACCOUNT. The server here may run.

    The connection is encrypted: imaps from its beginning, imap by STARTTLS. Flags, keywords, dates, subscriptions
    and the uses of mailboxes come along. Interrupted, it goes on where it was when it is run again; run again later it
    brings what is new. Exit code 1 where something could not be brought.
    """
    try:
        address = parse_url(url)
    except ValueError as error:
        raise click.UsageError(f"URL {error}") from None
    if plaintext and (ca or address.is_implicit):
        raise click.UsageError("--plaintext goes neither with imaps:// nor with --ca")
    context = None if plaintext else _tls(ca)
    with open_store(config) as store:
        account_id = store.run(store.administration.find(account)).id
        source = IMAPSource(address, _read_secret(password_stdin), context, oauth)
        where_from = f"{address.user}@{address.host} {beneath}"
        memory = ImportMemory(Path(store.location.data_dir, "imports"), account_id, where_from)
        progress = ProgressLine()
        importer = Importer(store.store, account_id)
        work = IMAPImport(
            source, importer, store.store.mailboxes(account_id), memory, store.run, progress, beneath
        )
        refusal = ""
        try:
            source.connect()
            chosen = [each for each in source.mailboxes() if _is_chosen(each, only, exclude)]
            if dry_run:
                planned = [plan for each in chosen if (plan := work.plan(each)) is not None]
                progress.end()
                _show_plan(planned, as_json)
            else:
                for each in chosen:
                    work.bring(each)
        except SourceRefused as error:
            raise Refused(f"{address}: {error}") from None
        except ConnectionLost as error:
            refusal = f"{address}: the connection is lost: {error}; run it again to go on"
        except OverQuota:
            refusal = "the account's quota is reached"
        finally:
            progress.end()
            source.close()
    _report(importer, work.failures, refusal, as_json, dry_run)


def _report(importer: Importer, failures: list[tuple[str, str]], refusal: str, as_json: bool, dry_run: bool) -> None:
    told = {"imported": importer.imported, "known_before": importer.known_before}
    if as_json and not dry_run:
        print_json({**told, "failures": [{"mailbox": name, "reason": reason} for name, reason in failures]})
    elif not dry_run:
        click.echo(f"{importer.imported} messages imported; {importer.known_before} were there already.")
    for name, reason in failures:
        click.echo(f"not brought: {name}: {reason}", err=True)
    if refusal:
        raise Refused(refusal)
    if failures:
        raise Refused(f"{len(failures)} not brought; run it again to try them again")


def _show_plan(planned: list[Planned], as_json: bool) -> None:
    if as_json:
        print_json([asdict(plan) for plan in planned])
    else:
        rows = [(plan.name, plan.target, plan.messages, plan.octets) for plan in planned]
        print_table(("MAILBOX THERE", "HERE", "NEW", "OCTETS"), rows)


def _is_chosen(mailbox: RemoteMailbox, only: tuple[str, ...], exclude: tuple[str, ...]) -> bool:
    return (not only or _fits(mailbox.name, only)) and not _fits(mailbox.name, exclude)


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, each) or name.startswith(f"{each}{SEPARATOR}") for each in patterns)


def _tls(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise Unusable(f"{ca}: {getattr(error, 'strerror', None) or error}") from None


def _read_secret(from_stdin: bool) -> str:
    """The first line of standard input, or asked for at the terminal; never an argument."""
    if from_stdin or not sys.stdin.isatty():
        secret: Any = sys.stdin.buffer.readline().rstrip(b"\r\n").decode("utf-8", "replace")
    else:
        secret = click.prompt("Password there", hide_input=True)
    if not secret:
        raise Unusable("no password given")
    return str(secret)

"""
`mailtraq import` and `mailtraq export`: an account's mail from and to Maildir and mbox.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .cli_options import Refused, Unusable, config_option, json_option, print_json
from .cli_progress import ProgressLine
from .cli_store import open_store

if TYPE_CHECKING:
    from .mailfolders import FoundMessage


@click.command(
    "import",
    epilog="\b\nExamples:\n  mailtraq import alice@example.org --maildir /home/alice/Maildir"
    "\n  mailtraq import alice@example.org --mbox old.mbox --mailbox Archive/2019",
)
@click.argument("account")
@click.option("--maildir", type=click.Path(exists=True, file_okay=False, path_type=Path), help="A Maildir(++) folder.")
@click.option("--mbox", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="An mbox file.")
@click.option("--mailbox", metavar="NAME", default=None, help="Into this mailbox, and beneath it; INBOX if not given.")
@json_option
@config_option
def import_mail(
    account: str, maildir: Path | None, mbox: Path | None, mailbox: str | None, config: str | None, as_json: bool
) -> None:
    """
    Bring mail into ACCOUNT. The server may run; what a mailbox has already, octet for octet, is not brought again.

    Interrupted, it goes on where it was when it is run again.
    """
    from mailtraq_py.interfaces.failures import MailboxNotAllowed, OverQuota

    from .transfer import Importer, import_all, renamed

    if (maildir is None) == (mbox is None):
        raise click.UsageError("give one of --maildir and --mbox")
    found = _found(maildir, mbox)
    with open_store(config) as store:
        importer = Importer(store.store, store.run(store.administration.find(account)).id)
        progress = ProgressLine()
        moved = renamed(found, lambda name: _beneath(mailbox, name))
        refusal = ""
        try:
            store.run(import_all(importer, moved, len(found), progress))
        except OverQuota:
            refusal = "the account's quota is reached"
        except MailboxNotAllowed as error:
            refusal = f"a mailbox cannot be named so: {error}"
        finally:
            progress.end()
    if as_json:
        print_json({"imported": importer.imported, "known_before": importer.known_before})
    else:
        click.echo(f"{importer.imported} messages imported; {importer.known_before} were there already.")
    if refusal:
        raise Refused(refusal)


@click.command(
    "export",
    epilog="\b\nExamples:\n  mailtraq export alice@example.org /backup/alice"
    "\n  mailtraq export alice@example.org /backup/alice --mbox --mailbox INBOX",
)
@click.argument("account")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--mbox", is_flag=True, help="One mbox file a mailbox, instead of a Maildir.")
@click.option("--mailbox", metavar="NAME", default=None, help="This mailbox alone.")
@json_option
@config_option
def export_mail(
    account: str, folder: Path, mbox: bool, mailbox: str | None, config: str | None, as_json: bool
) -> None:
    """
    Write the mail of ACCOUNT into DIR, as a Maildir with a folder for each mailbox. The server may run.

    Run again it adds what is new and brings flags up to date; what was deleted meanwhile stays in DIR.
    """
    from mailtraq_py.interfaces.failures import NoSuchMailbox

    from .transfer import Exporter

    with open_store(config) as store:
        exporter = Exporter(store.store, store.run(store.administration.find(account)).id, folder)
        names = store.run(exporter.mailboxes()) if mailbox is None else [mailbox]
        progress = ProgressLine()
        try:
            for name in names:
                store.run(exporter.to_mbox(name, progress) if mbox else exporter.to_maildir(name, progress))
        except NoSuchMailbox:
            raise Refused(f"{account} has no mailbox {mailbox}") from None
        except OSError as error:
            raise Refused(f"{folder}: {error.strerror}") from None
        finally:
            progress.end()
    if as_json:
        print_json({"written": exporter.written, "known_before": exporter.known_before})
    else:
        click.echo(f"{exporter.written} messages written; {exporter.known_before} were there already.")


def _found(maildir: Path | None, mbox: Path | None) -> list[FoundMessage]:
    from mailtraq_py.mail.mailbox import INBOX

    from .mailfolders import find_maildirs, maildir_messages, mbox_messages

    try:
        if mbox is not None:
            return list(mbox_messages(INBOX, mbox))
        if maildir is not None:
            folders = find_maildirs(maildir)
            if not folders:
                raise Unusable(f"{maildir} is no Maildir: there is no folder cur in it")
            return [message for name, folder in folders for message in maildir_messages(name, folder)]
    except (OSError, ValueError) as error:
        raise Unusable(str(error)) from None
    return []


def _beneath(mailbox: str | None, name: str) -> str:
    """Where a folder's messages go: INBOX to `mailbox` itself, others beneath it."""
    from mailtraq_py.mail.mailbox import INBOX, SEPARATOR

    if mailbox is None:
        return name
    return mailbox if name == INBOX else f"{mailbox}{SEPARATOR}{name}"

"""
`mailtraq list` and `mailtraq account lists`: distribution lists, and the black and white lists of accounts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from .cli_accounts import account
from .cli_options import CommandGroup, Unusable, config_option, json_option, print_json, print_table
from .cli_store import open_listings, open_store

if TYPE_CHECKING:
    from mailtraq_py.interfaces.directory import MailboxLists

_POSTING = ("anyone", "members", "insiders")


@click.group("list", cls=CommandGroup)
def distribution_list() -> None:
    """Distribution lists: one address for many."""


@distribution_list.command(
    "add",
    epilog="\b\nExamples:\n  mailtraq list add staff@example.org alice@example.org bob@example.org"
    "\n  mailtraq list add staff@example.org --owner alice@example.org --posting members"
    "\n  mailtraq list add news@example.org --from-stdin < subscribers.txt",
)
@click.argument("address", metavar="LIST")
@click.argument("members", nargs=-1, metavar="MEMBER...")
@click.option("--owner", default=None, metavar="ADDRESS", help="Who gets what comes back; the domain's postmaster.")
@click.option("--posting", type=click.Choice(_POSTING), default=None, help="Who may write to it; anyone.")
@click.option("--from-stdin", is_flag=True, help="Members on standard input too, one a line.")
@config_option
def list_add(
    address: str,
    members: tuple[str, ...],
    owner: str | None,
    posting: str | None,
    from_stdin: bool,
    config: str | None,
) -> None:
    """
    Make LIST if it is not there, and add each MEMBER.

    What comes back of its mail goes to LIST-owner, which leads to the owner. A list for members takes mail of their
    addresses only; one for insiders is there only for the LAN, this machine and who has logged in.
    """
    given = [*members, *(_lines() if from_stdin else ())]
    with open_store(config) as store:
        store.run(store.administration.set_list(address, owner, posting))
        added = store.run(store.administration.add_members(address, given)) if given else 0
    click.echo(f"{address}: {added} member{'' if added == 1 else 's'} added.")


@distribution_list.command("remove", epilog="\b\nExample:\n  mailtraq list remove staff@example.org bob@example.org")
@click.argument("address", metavar="LIST")
@click.argument("members", nargs=-1, required=True, metavar="MEMBER...")
@config_option
def list_remove(address: str, members: tuple[str, ...], config: str | None) -> None:
    """Take each MEMBER off LIST."""
    with open_store(config) as store:
        removed = store.run(store.administration.remove_members(address, members))
    click.echo(f"{address}: {removed} member{'' if removed == 1 else 's'} removed.")


@distribution_list.command("members", epilog="\b\nExample:\n  mailtraq list members staff@example.org")
@click.argument("address", metavar="LIST")
@json_option
@config_option
def list_members(address: str, config: str | None, as_json: bool) -> None:
    """Show who is on LIST, one a line."""
    with open_listings(config) as store:
        members = store.run(store.listings.members_of(address))
    if as_json:
        print_json(members)
    else:
        for member in members:
            click.echo(member)


@distribution_list.command("list", epilog="\b\nExample:\n  mailtraq list list --json")
@json_option
@config_option
def list_list(config: str | None, as_json: bool) -> None:
    """Show all lists."""
    with open_listings(config) as store:
        lists = store.run(store.listings.list_lists())
    if as_json:
        print_json(
            [
                {"address": each.address, "owner": each.owner, "posting": each.posting, "members": each.members}
                for each in lists
            ]
        )
    else:
        rows = [(each.address, each.owner or "(postmaster)", each.posting, each.members) for each in lists]
        print_table(("LIST", "OWNER", "POSTING", "MEMBERS"), rows)


@distribution_list.command("delete", epilog="\b\nExample:\n  mailtraq list delete staff@example.org")
@click.argument("address", metavar="LIST")
@config_option
def list_delete(address: str, config: str | None) -> None:
    """Delete LIST."""
    with open_store(config) as store:
        store.run(store.administration.delete_list(address))
    click.echo(f"{address} deleted.")


@account.command(
    "lists",
    epilog="\b\nExamples:\n  mailtraq account lists alice@example.org --black '*@spam.example' --white bob@spam.example"
    "\n  mailtraq account lists alice@example.org --black-folder Junk"
    "\n  mailtraq account lists alice@example.org --black-everyone --white-local-domains"
    "\n  mailtraq account lists alice@example.org --remove '*@spam.example'",
)
@click.argument("address")
@click.option("--white", multiple=True, metavar="PATTERN", help="Add welcome senders: user@host, *@host.")
@click.option("--black", multiple=True, metavar="PATTERN", help="Add senders that are not.")
@click.option("--remove", multiple=True, metavar="PATTERN", help="Take an entry out of both lists.")
@click.option("--black-everyone/--no-black-everyone", default=None, show_default=False, help="All but white senders.")
@click.option("--white-local-domains/--no-white-local-domains", default=None, show_default=False, help="Ours, too.")
@click.option("--black-folder", default=None, metavar="MAILBOX", help='File black mail there; "" refuses it.')
@click.option("--clear", is_flag=True, help="Begin with nothing.")
@json_option
@config_option
def account_lists(
    address: str,
    white: tuple[str, ...],
    black: tuple[str, ...],
    remove: tuple[str, ...],
    black_everyone: bool | None,
    white_local_domains: bool | None,
    black_folder: str | None,
    clear: bool,
    config: str | None,
    as_json: bool,
) -> None:
    """
    Show, or change, the black and white lists of the account ADDRESS.

    Patterns are read top to bottom and the last one that matches decides; "~" in front excludes. White wins over black.
    """
    from mailtraq_py.interfaces.directory import MailboxLists

    gone = {_pattern(text) for text in remove}
    with open_store(config) as store:
        before = store.run(store.administration.mailbox_lists(address))
        lists = MailboxLists() if clear else before
        changed = replace(
            lists,
            white=_with(lists.white, white, gone),
            black=_with(lists.black, black, gone),
            black_everyone=lists.black_everyone if black_everyone is None else black_everyone,
            white_local_domains=lists.white_local_domains if white_local_domains is None else white_local_domains,
            black_folder=lists.black_folder if black_folder is None else _folder(black_folder),
        )
        if changed != before:
            store.run(store.administration.set_mailbox_lists(address, changed))
    _show(changed, as_json)


def _lines() -> Iterator[str]:
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            text = line.decode().strip()
        except UnicodeDecodeError:
            raise Unusable(f"line {number} of standard input is not UTF-8") from None
        if text:
            yield text


def _with(texts: tuple[str, ...], added: tuple[str, ...], gone: set[str]) -> tuple[str, ...]:
    """A list with what is new at its end, each entry once."""
    fresh = [_pattern(text) for text in added]
    return (*(text for text in texts if text not in gone and text not in fresh), *dict.fromkeys(fresh))


def _pattern(text: str) -> str:
    """An entry, judged; `@host` is short for all of that host."""
    from mailtraq_py.policy.addresslist import parse_patterns
    from mailtraq_py.policy.problems import Problems
    from mailtraq_py.policy.settings import entries

    tilde, bare = ("~", text.strip()[1:]) if text.strip().startswith("~") else ("", text.strip())
    bare = f"*{bare}" if bare.startswith("@") else bare
    problems = Problems("")
    parse_patterns(entries([bare]), "", problems)
    if problems.errors or problems.warnings:
        raise Unusable(f'"{text}" is no pattern of addresses: user@host, *@host, *@*.host')
    return tilde + bare


def _folder(name: str) -> str:
    from mailtraq_py.mail.mailbox import canonical_name

    try:
        return canonical_name(name) if name else ""
    except ValueError as error:
        raise Unusable(f'"{name}" is no mailbox: {error}') from None


def _show(lists: MailboxLists, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "white": list(lists.white),
                "black": list(lists.black),
                "black_everyone": lists.black_everyone,
                "white_local_domains": lists.white_local_domains,
                "black_folder": lists.black_folder,
            }
        )
        return
    for colour, texts in (("white", lists.white), ("black", lists.black)):
        for text in texts:
            click.echo(f"{colour}  {text}")
    if lists.white_local_domains:
        click.echo("Senders of our domains are white.")
    if lists.black_everyone:
        click.echo("Everybody who is not white is black.")
    click.echo(f"Black mail is filed in {lists.black_folder}." if lists.black_folder else "Black mail is refused.")

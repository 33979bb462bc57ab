"""
`mailtraq domain`, `mailtraq account`, `mailtraq alias`: whom the server hosts.

Changes are in the store when the command ends, and a running server acts on them at once. No server needs to run; a
store that is missing is made.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import click

from .cli_options import CommandGroup, Unusable, config_option, json_option, print_json, print_table
from .cli_store import open_listings, open_store

# --- domains -------------------------------------------------------------------------------------------------


@click.group(cls=CommandGroup)
def domain() -> None:
    """Domains that are hosted here."""


@domain.command(
    "add",
    epilog="\b\nExamples:\n  mailtraq domain add example.org"
    "\n  mailtraq domain add example.net --alias-of example.org",
)
@click.argument("name", metavar="DOMAIN")
@click.option("--alias-of", metavar="DOMAIN", default=None, help="It stands for this domain, with all its addresses.")
@config_option
def domain_add(name: str, alias_of: str | None, config: str | None) -> None:
    """Host DOMAIN."""
    with open_store(config) as store:
        store.run(store.administration.add_domain(name, alias_of))
    click.echo(f"{name} is hosted.")


@domain.command("list", epilog="\b\nExample:\n  mailtraq domain list --json")
@json_option
@config_option
def domain_list(config: str | None, as_json: bool) -> None:
    """List the domains."""
    with open_listings(config) as store:
        domains = store.run(store.listings.list_domains())
    if as_json:
        print_json(
            [{"name": each.name, "alias_of": each.alias_of or None, "accounts": each.accounts} for each in domains]
        )
    else:
        print_table(("DOMAIN", "ALIAS OF", "ACCOUNTS"), [(each.name, each.alias_of, each.accounts) for each in domains])


@domain.command("delete", epilog="\b\nExample:\n  mailtraq domain delete example.net")
@click.argument("name", metavar="DOMAIN")
@config_option
def domain_delete(name: str, config: str | None) -> None:
    """Host DOMAIN no longer; its accounts must be deleted before."""
    with open_store(config) as store:
        store.run(store.administration.delete_domain(name))
    click.echo(f"{name} is hosted no longer.")


# --- accounts ------------------------------------------------------------------------------------------------


@click.group(cls=CommandGroup)
def account() -> None:
    """Accounts: who has a mailbox and a password."""


@account.command(
    "add",
    epilog="\b\nExamples:\n  mailtraq account add alice@example.org"
    "\n  mailtraq account add alice@example.org --password-stdin < password.txt"
    "\n  mailtraq account add --from-stdin < accounts.txt",
)
@click.argument("address", required=False)
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
@click.option("--from-stdin", is_flag=True, help='Add many: lines "ADDRESS PASSWORD" on standard input.')
@click.option("--no-relay", is_flag=True, help="Without the privilege to send to other servers.")
@click.option("--cram-md5", is_flag=True, help="May log in by CRAM-MD5 too (its secret is as good as the password).")
@config_option
def account_add(
    address: str | None, password_stdin: bool, from_stdin: bool, no_relay: bool, cram_md5: bool, config: str | None
) -> None:
    """Add the account ADDRESS; its password is asked for, or read from standard input."""
    if (address is None) != from_stdin:
        raise click.UsageError("give either an ADDRESS or --from-stdin")
    if from_stdin and (password_stdin or cram_md5):
        raise click.UsageError("--from-stdin goes with --no-relay only")
    if address is None:
        lines = list(_account_lines())
        with open_store(config) as store:
            added = store.run(store.administration.add_accounts(lines, relay=not no_relay))
        click.echo(f"{added} account{'' if added == 1 else 's'} added.")
        return
    password = _read_password(password_stdin)
    with open_store(config) as store:
        added_account = store.run(
            store.administration.add_account(address, password, relay=not no_relay, cram_md5=cram_md5)
        )
    click.echo(f"{added_account.address} added.")


@account.command("list", epilog="\b\nExamples:\n  mailtraq account list\n  mailtraq account list example.org --json")
@click.argument("domain_name", metavar="[DOMAIN]", required=False)
@json_option
@config_option
def account_list(domain_name: str | None, config: str | None, as_json: bool) -> None:
    """List the accounts, of one domain or of all."""
    with open_listings(config) as store:
        accounts = store.run(store.listings.list_accounts(domain_name))
    if as_json:
        print_json(
            [
                {
                    "address": each.account.address,
                    "enabled": each.account.enabled,
                    "relay": each.account.relay,
                    "cram_md5": each.cram_md5,
                    "messages": each.messages,
                    "octets": each.octets,
                    "recoverable_octets": each.recoverable_octets,
                    "quota_octets": each.account.quota_octets,
                    "quota_messages": each.account.quota_messages,
                }
                for each in accounts
            ]
        )
        return
    print_table(
        ("ADDRESS", "STATE", "RELAY", "MESSAGES", "OCTETS", "DELETED"),
        [
            (
                each.account.address,
                "enabled" if each.account.enabled else "disabled",
                "yes" if each.account.relay else "no",
                each.messages,
                each.octets,
                each.recoverable_octets,
            )
            for each in accounts
        ],
    )


@account.command(
    "set",
    epilog="\b\nExamples:\n  mailtraq account set bob@example.org --disable"
    "\n  mailtraq account set bob@example.org --no-relay"
    "\n  mailtraq account set bob@example.org --quota 1G --quota-messages 50000",
)
@click.argument("address")
@click.option("--relay/--no-relay", default=None, show_default=False, help="The privilege to send to other servers.")
@click.option("--enable/--disable", "enabled", default=None, show_default=False, help="Whether it may log in.")
@click.option("--cram-md5/--no-cram-md5", default=None, show_default=False, help="CRAM-MD5, from the next login on.")
@click.option(
    "--quota",
    "--quota-octets",
    metavar="SIZE",
    default=None,
    help="How much it may hold, as 500M or 2G; none for no limit.",
)
@click.option("--quota-messages", metavar="N", default=None, help="How many it may hold; none for no limit.")
@config_option
def account_set(
    address: str,
    relay: bool | None,
    enabled: bool | None,
    cram_md5: bool | None,
    quota: str | None,
    quota_messages: str | None,
    config: str | None,
) -> None:
    """Change ADDRESS; disabling ends its sessions and grants at once."""
    if all(option is None for option in (relay, enabled, cram_md5, quota, quota_messages)):
        raise click.UsageError("nothing to change: see --help")
    with open_store(config) as store:
        changed = store.run(
            store.administration.set_account(
                address, relay, enabled, cram_md5, _limit(quota, "KMGT"), _limit(quota_messages, "")
            )
        )
    state = "enabled" if changed.enabled else "disabled"
    click.echo(f"{changed.address}: {state}, {'may' if changed.relay else 'may not'} relay.")


@account.command("password", epilog="\b\nExample:\n  mailtraq account password alice@example.org")
@click.argument("address")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
@config_option
def account_password(address: str, password_stdin: bool, config: str | None) -> None:
    """Give ADDRESS a new password; sessions and grants of the old one end at once."""
    password = _read_password(password_stdin)
    with open_store(config) as store:
        store.run(store.administration.set_password(address, password))
    click.echo(f"{address} has a new password.")


@account.command("delete", epilog="\b\nExample:\n  mailtraq account delete bob@example.org")
@click.argument("address")
@config_option
def account_delete(address: str, config: str | None) -> None:
    """Delete ADDRESS with all its mail, for good: nothing of it can be restored. See `account set --disable`."""
    with open_store(config) as store:
        store.run(store.administration.delete_account(address))
    click.echo(f"{address} deleted.")


# --- aliases -------------------------------------------------------------------------------------------------


@click.group(cls=CommandGroup)
def alias() -> None:
    """Aliases: addresses that lead to others."""


@alias.command(
    "add",
    epilog="\b\nExamples:\n  mailtraq alias add postmaster@example.org alice@example.org"
    "\n  mailtraq alias add '*@example.org' alice@example.org      whatever nobody else takes",
)
@click.argument("address")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@config_option
def alias_add(address: str, targets: tuple[str, ...], config: str | None) -> None:
    """Let ADDRESS lead to each TARGET, here or elsewhere."""
    with open_store(config) as store:
        store.run(store.administration.add_alias(address, targets))
    click.echo(f"{address} leads to {', '.join(targets)}.")


@alias.command("list", epilog="\b\nExample:\n  mailtraq alias list --json")
@json_option
@config_option
def alias_list(config: str | None, as_json: bool) -> None:
    """List the aliases."""
    with open_listings(config) as store:
        aliases = store.run(store.listings.list_aliases())
    if as_json:
        print_json([{"address": each.address, "targets": list(each.targets)} for each in aliases])
    else:
        print_table(("ALIAS", "LEADS TO"), [(each.address, ", ".join(each.targets)) for each in aliases])


@alias.command("delete", epilog="\b\nExample:\n  mailtraq alias delete sales@example.org")
@click.argument("address")
@config_option
def alias_delete(address: str, config: str | None) -> None:
    """Delete an alias."""
    with open_store(config) as store:
        store.run(store.administration.delete_alias(address))
    click.echo(f"{address} leads nowhere now.")


# --- limits and passwords ------------------------------------------------------------------------------------


def _limit(text: str | None, units: str) -> int | None:
    """A limit as the store takes it: -1 for none; units are powers of 1024."""
    if text is None or text == "none":
        return None if text is None else -1
    match = re.fullmatch(r"([0-9]{1,15})([A-Z]?)(?:i?B)?", text, re.IGNORECASE)
    if match is None or match[2].upper() not in ("", *units):
        raise Unusable(f'"{text}" is no limit: {"such as 500M or 2G" if units else "a number"}, or none')
    unit = match[2].upper()
    return int(match[1]) << (10 * (units.index(unit) + 1) if unit else 0)


def _read_password(from_stdin: bool) -> bytes:
    """One line of standard input, or asked for twice at the terminal. Never an argument: `ps` shows those."""
    if from_stdin or not sys.stdin.isatty():
        line = sys.stdin.buffer.readline().rstrip(b"\r\n")
    else:
        line = str(click.prompt("Password", hide_input=True, confirmation_prompt=True)).encode()
    if not line:
        raise Unusable("no password given")
    return line


def _account_lines() -> Iterator[tuple[str, bytes]]:
    for number, line in enumerate(sys.stdin.buffer, 1):
        words = line.rstrip(b"\r\n").split(b" ", 1)
        if words == [b""]:
            continue
        if len(words) < 2 or not words[1]:
            raise Unusable(f'line {number} of standard input is not of the form "ADDRESS PASSWORD"')
        try:
            yield words[0].decode(), words[1]
        except UnicodeDecodeError:
            raise Unusable(f"the address in line {number} of standard input is not UTF-8") from None

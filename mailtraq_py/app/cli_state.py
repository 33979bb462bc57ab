"""
`mailtraq recent` and `mailtraq queue`: what the server keeps of logins and of mail that leaves.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click

from .cli_options import (
    CommandGroup,
    Refused,
    Unusable,
    config_option,
    json_option,
    parse_since,
    print_json,
    print_span,
    print_table,
)
from .cli_store import open_listings, open_store

# --- recent logins -------------------------------------------------------------------------------------------


@click.group(cls=CommandGroup)
def recent() -> None:
    """Recent logins: addresses that may pass and relay because somebody collected mail from there."""


@recent.command("list", epilog="\b\nExample:\n  mailtraq recent list --json")
@json_option
@config_option
def recent_list(config: str | None, as_json: bool) -> None:
    """Show who logged in from where, and how long that still counts."""
    with open_listings(config) as store:
        clocks = store.location
        now = time.time()
        rows = store.run(store.recent_rows.list_rows(now - max(clocks.access_seconds, clocks.relay_seconds)))
    shown = [
        {
            "address": row.address,
            "account": row.account.address,
            "protocol": row.protocol,
            "tls": row.tls,
            "first_login": _instant(row.first_login),
            "last_login": _instant(row.last_login),
            "access_seconds_left": max(0, int(row.last_login + clocks.access_seconds - now)),
            "relay_seconds_left": max(0, int(row.last_login + clocks.relay_seconds - now)),
        }
        for row in rows
        if row.last_login <= now
    ]
    if as_json:
        print_json(shown)
        return
    print_table(
        ("ADDRESS", "ACCOUNT", "BY", "TLS", "LAST LOGIN", "ACCESS FOR", "RELAY FOR"),
        [
            (
                row["address"],
                row["account"],
                row["protocol"],
                "yes" if row["tls"] else "no",
                row["last_login"],
                print_span(float(str(row["access_seconds_left"]))),
                print_span(float(str(row["relay_seconds_left"]))),
            )
            for row in shown
        ],
    )


@recent.command(
    "revoke",
    epilog="\b\nExamples:\n  mailtraq recent revoke 203.0.113.9\n  mailtraq recent revoke --account alice@example.org",
)
@click.argument("address", required=False)
@click.option("--account", metavar="ADDRESS", default=None, help="Of this account; with an address, both must match.")
@config_option
def recent_revoke(address: str | None, account: str | None, config: str | None) -> None:
    """End what was granted to the client ADDRESS; open sessions do not renew it."""
    if address is None and account is None:
        raise click.UsageError("give an ADDRESS, --account, or both")
    with open_store(config) as store:
        account_id = None if account is None else store.run(store.administration.find(account)).id
        prefix = store.location.ipv6_prefix
        row_address = None if address is None else _row_address(address, prefix)
        revoked = store.run(store.recent_rows.revoke(row_address, account_id, time.time()))
    if not revoked:
        raise Refused("no recent login matches")
    click.echo(f"{revoked} grant{'' if revoked == 1 else 's'} ended.")


def _row_address(client: str, ipv6_prefix: int) -> str:
    """The address under which a client's row is kept."""
    from mailtraq_py.policy.firewall import parse_client
    from mailtraq_py.policy.recentlogin import RecentLoginRules
    from mailtraq_py.policy.settings import RecentLoginSettings

    if parse_client(client) is None:
        raise Unusable(f"{client} is no IP address")
    return RecentLoginRules(RecentLoginSettings(ipv6_prefix=ipv6_prefix)).row_address(client)


# --- the queue -----------------------------------------------------------------------------------------------


@click.group(cls=CommandGroup)
def queue() -> None:
    """Mail that waits to leave."""


@queue.command("list", epilog="\b\nExamples:\n  mailtraq queue list\n  mailtraq queue list --limit 20 --json")
@click.option("--limit", type=click.IntRange(min=1), default=1000, help="At most so many rows, soonest due first.")
@json_option
@config_option
def queue_list(limit: int, config: str | None, as_json: bool) -> None:
    """Show what is queued, when it is tried next, and what the other side said last."""
    with open_listings(config) as store:
        entries = store.run(store.queue.list_entries(limit))
    now = time.time()
    shown = [
        {
            "id": entry.row.id,
            "message": entry.row.acceptance_id,
            "from": str(entry.row.outgoing.reverse_path),
            "to": str(entry.row.outgoing.recipient.path),
            "octets": entry.row.content.total_octets,
            "received": _instant(entry.row.received),
            "attempts": entry.row.attempts,
            "next_attempt": _instant(entry.due),
            "under_way": entry.leased,
            "last_reply": entry.row.last_reply,
            "granted_by": entry.row.outgoing.granted_by,
        }
        for entry in entries
    ]
    if as_json:
        print_json(shown)
        return
    print_table(
        ("MESSAGE", "FROM", "TO", "OCTETS", "ATTEMPTS", "NEXT", "LAST REPLY"),
        [
            (
                row["message"],
                row["from"],
                row["to"],
                row["octets"],
                row["attempts"],
                "now" if entry.leased or entry.due <= now else f"in {print_span(entry.due - now)}",
                row["last_reply"],
            )
            for row, entry in zip(shown, entries, strict=True)
        ],
    )


@queue.command(
    "delete",
    epilog="\b\nExample, after an open relay was closed:\n"
    '  mailtraq queue delete --granted-by outside_lan --since 2h',
)
@click.option(
    "--granted-by",
    required=True,
    metavar="GRANT",
    help="What let it in, as `queue list --json` and the log's `by` name it: lan, authenticated, recent login ...",
)
@click.option(
    "--since",
    required=True,
    metavar="TIME",
    help="Only what was received since: a span such as 90m, 2h, 7d, or an instant such as 2026-01-31T12:00Z.",
)
@config_option
def queue_delete(granted_by: str, since: str, config: str | None) -> None:
    """Delete what one grant of the relay check let in, and never send it; nobody gets a report."""
    earliest = parse_since(since, time.time())
    with open_store(config) as store:
        deleted = store.run(store.queue.delete_granted_by(granted_by, earliest))
    if not deleted:
        raise Refused(f'nothing waits that "{granted_by}" let in since then')
    click.echo(f"{deleted} recipient{'' if deleted == 1 else 's'} deleted from the queue.")


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

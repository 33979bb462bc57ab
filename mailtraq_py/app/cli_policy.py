"""
`mailtraq check`, `mailtraq explain`, `mailtraq firewall test`: what policy would do, without a connection.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .cli_options import Refused, Unusable, config_option, json_option, print_json, read_configuration


@click.group()
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
    from mailtraq_py.policy.firewall import FirewallList, parse_client, parse_rules
    from mailtraq_py.policy.problems import Problems
    from mailtraq_py.policy.settings import ListUnreadable

    from .listfiles import read_list_file

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


@click.command(epilog="\b\nExample:\n  mailtraq check --config /etc/mailtraq/mailtraq.toml")
@json_option
@config_option
def check(config: str | None, as_json: bool) -> None:
    """
    Read the configuration as a start would, with the open-relay proof, and say what is wrong or doubtful.

    Exit code 0: a server may start with it; 2: not.
    """
    from .certificates import read_certificates
    from .config import Configuration, ConfigurationError
    from .judging import hosted, judge
    from .offline import StoreUnusable

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    configuration: Configuration | None = None
    try:
        configuration = read_configuration(config)
        with hosted(configuration.location) as (directory, accounts):
            warnings = judge(configuration, directory, accounts)
        read_certificates(configuration)
    except ConfigurationError as error:
        errors = error.problems
    except (Unusable, StoreUnusable) as error:
        errors = tuple(str(error).splitlines())
    if as_json:
        print_json({"ok": not errors, "errors": errors, "warnings": warnings})
    else:
        for line in (*errors, *(f"warning: {warning}" for warning in warnings)):
            click.echo(line, err=True)
        if configuration is not None and not errors:
            click.echo(f"{configuration.file}: a server may start with it.")
    if errors:
        click.get_current_context().exit(2)


@click.command(
    epilog="\b\nExamples:\n  mailtraq explain '{\"service\": \"mx\", \"client\": \"203.0.113.9\","
    ' "mail_from": "a@b.example", "rcpt_to": ["x@elsewhere.example"]}\''
)
@click.argument("scenario", metavar="SCENARIO|-")
@json_option
@config_option
def explain(scenario: str, config: str | None, as_json: bool) -> None:
    """
    Say what policy would do with a session, without a connection.

    SCENARIO is a JSON object: service, client, own, recent_login {account, protocol, seconds_ago}, helo, auth,
    mail_from, rcpt_to. It may stand in a FILE, and "-" reads it from standard input. Accounts come from the store; no
    server needs to run.
    """
    import json
    import time

    from mailtraq_py.interfaces.failures import TemporaryFailure
    from mailtraq_py.policy.explain import BadScenario, render
    from mailtraq_py.policy.explain import explain as play
    from mailtraq_py.policy.problems import BadPolicy
    from mailtraq_py.store.immediate import run_now

    from .cli_resolver import BlockingResolver
    from .config import ConfigurationError
    from .judging import hosted, judge
    from .offline import StoreUnusable
    from .recipients import recipient_settings, ruled
    from .settings import nameservers, policy_settings

    try:
        given = json.loads(_scenario_text(scenario))
    except ValueError as error:
        raise Unusable(f"the scenario is no JSON: {error}") from None
    if not isinstance(given, dict):
        raise Unusable("the scenario is no JSON object")
    configuration = read_configuration(config)
    try:
        with hosted(configuration.location) as (directory, accounts):
            resolver = BlockingResolver(nameservers(configuration))
            recipients = recipient_settings(configuration)
            asked = ruled(directory, recipients.rules)
            told = run_now(play(policy_settings(configuration), given, asked, resolver, time.time()))
            try:
                judge(configuration, directory, accounts, recipients=recipients)
            except ConfigurationError as error:
                click.echo(f"warning: a server would not start with this configuration:\n{error}", err=True)
    except (BadScenario, BadPolicy, ConfigurationError) as error:
        raise Unusable(str(error)) from None
    except StoreUnusable as error:
        raise Refused(str(error)) from None
    except TemporaryFailure as failure:
        raise Refused(f"the store cannot say that now: {failure.reason}") from None
    if as_json:
        print_json(told)
    else:
        click.echo(render(told, given), nl=False)


def _scenario_text(given: str) -> str:
    """What stands in the argument, in the file it names, or on standard input."""
    if given == "-":
        return sys.stdin.read()
    if given.lstrip().startswith("{"):
        return given
    try:
        return Path(given).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise Unusable(f"{given} is neither a scenario in JSON nor a file that can be read: {reason}") from None

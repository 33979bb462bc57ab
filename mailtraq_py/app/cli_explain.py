"""
`mailtraq explain`: what policy would do with a session, without a connection.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.policy.explain import BadScenario, render
from mailtraq_py.policy.explain import explain as play
from mailtraq_py.policy.problems import BadPolicy
from mailtraq_py.store.now import run_now

from .cli_hosted import hosted
from .cli_options import Refused, Unusable, config_option, json_option, print_json, read_configuration
from .cli_resolver import BlockingResolver
from .config import ConfigurationError
from .judging import judge
from .listfiles import ListFiles
from .location import StoreUnusable
from .recipients import recipient_settings, ruled
from .settings import nameservers, policy_settings


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
    try:
        given = json.loads(_scenario_text(scenario))
    except ValueError as error:
        raise Unusable(f"the scenario is no JSON: {error}") from None
    except RecursionError:
        raise Unusable("the scenario is nested too deeply") from None
    if not isinstance(given, dict):
        raise Unusable("the scenario is no JSON object")
    configuration = read_configuration(config)
    try:
        with hosted(configuration.location) as (directory, accounts):
            resolver = BlockingResolver(nameservers(configuration))
            lists = ListFiles()
            recipients = recipient_settings(configuration, lists)
            asked = ruled(directory, recipients.rules)
            told = run_now(play(policy_settings(configuration, lists), given, asked, resolver, time.time()))
            try:
                judge(configuration, directory, accounts, lists, recipients)
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
    if given.lstrip()[:1] in ("{", "["):
        return given
    try:
        return Path(given).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise Unusable(f"{given} is neither a scenario in JSON nor a file that can be read: {reason}") from None

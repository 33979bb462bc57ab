"""
`mailtraq policy diff`: what another configuration would have decided.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from .cli_options import (
    CommandGroup,
    Refused,
    Unusable,
    config_option,
    json_option,
    parse_since,
    print_json,
    read_configuration,
)

if TYPE_CHECKING:
    from mailtraq_py.policy.whatif import Difference


@click.group(cls=CommandGroup)
def policy() -> None:
    """What policy decided, and what another one would have."""


@policy.command("diff", epilog="\b\nExample:\n  mailtraq policy diff --config new.toml --since 2d")
@click.option(
    "--since",
    default="7d",
    metavar="TIME",
    help="What was decided since: a span such as 90m, 2h, 7d, or an instant such as 2026-01-31T12:00Z.",
)
@click.option("--examples", type=click.IntRange(min=0), default=3, help="How many to show of each kind of change.")
@json_option
@config_option
def policy_diff(since: str, examples: int, config: str | None, as_json: bool) -> None:
    """
    Ask the configuration FILE about the sessions that the server has recorded, and say which decisions would change.

    FILE names the store as the running configuration does. Accounts are those of today; bans and DNS are of the
    moment and left out.
    """
    from mailtraq_py.interfaces.failures import TemporaryFailure
    from mailtraq_py.policy.problems import BadPolicy
    from mailtraq_py.policy.whatif import Replay
    from mailtraq_py.store.now import run_now

    from .config import ConfigurationError
    from .judging import judge
    from .location import StoreUnusable
    from .offline import offline_store
    from .recipients import recipient_settings, ruled
    from .settings import policy_settings

    configuration = read_configuration(config)
    earliest = parse_since(since, time.time())
    if not configuration.location.store_exists:
        raise Refused(f"there is no store at {configuration.location.store_url}, so nothing was recorded")
    try:
        with offline_store(configuration.location) as store:
            directory = ruled(store.directory, recipient_settings(configuration).rules)
            replay = Replay(policy_settings(configuration), directory, examples)
            for recorded in store.decisions.read(earliest):
                run_now(replay.ask(recorded))
            try:
                judge(configuration, store.directory)
            except ConfigurationError as error:
                click.echo(f"warning: a server would not start with this configuration:\n{error}", err=True)
    except (BadPolicy, ConfigurationError) as error:
        raise Unusable(str(error)) from None
    except StoreUnusable as error:
        raise Refused(str(error)) from None
    except TemporaryFailure as failure:
        raise Refused(f"the store cannot say that now: {failure.reason}") from None
    told = _told(replay.difference, earliest)
    if as_json:
        print_json(told)
    else:
        for line in _lines(told):
            click.echo(line)


def _told(difference: Difference, since: float) -> dict[str, Any]:
    kinds = sorted(difference.changes.items(), key=lambda item: -item[1].count)
    return {
        "since": _instant(since),
        "sessions": difference.sessions,
        "decisions": difference.decisions,
        "same": difference.same,
        "changed": difference.changed,
        "not_reached": difference.not_reached,
        "left_out": difference.left_out,
        "without_account": difference.without_account,
        "changes": [
            {
                "service": kind.service,
                "stage": kind.stage,
                "before": kind.before,
                "before_by": kind.before_by,
                "after": kind.after,
                "after_by": kind.after_by,
                "count": change.count,
                "examples": [{**example, "time": _instant(example["time"])} for example in change.examples],
            }
            for kind, change in kinds
        ],
    }


def _lines(told: dict[str, Any]) -> list[str]:
    """The same for a person."""
    lines = [f"{told['sessions']} sessions with {told['decisions']} decisions since {told['since']}."]
    if not told["changes"]:
        lines.append("None would change.")
    for change in told["changes"]:
        lines.append(
            f"{change['count']} x {change['service']} {change['stage']}: {change['before']} by {change['before_by']}"
            f" -> {change['after']} by {change['after_by']}"
        )
        for example in change["examples"]:
            said = " ".join(
                f"{word} {example[name]!r}"
                for word, name in (("helo", "helo"), ("as", "account"), ("from", "mail_from"), ("to", "rcpt_to"))
                if example[name] is not None
            )
            lines.append(f"    {example['time']} {example['client']} {said}".rstrip())
            lines.append(f"        now: {_outcome(example['before'])}")
            lines.append(f"        then: {_outcome(example['after'])}")
    lines += [
        f"{told[name]} {words}"
        for name, words in (
            ("not_reached", "would not be reached any more, behind a change."),
            ("left_out", "were decided by bans or DNS of the moment, and are left out."),
            ("without_account", "were of accounts that are gone, and are left out."),
        )
        if told[name]
    ]
    return lines


def _outcome(verdict: dict[str, Any]) -> str:
    reply = f' "{verdict["reply"]}"' if "reply" in verdict else ""
    return f"{verdict['opinion']}{reply} by {verdict['by']}: {verdict['reason']}"


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

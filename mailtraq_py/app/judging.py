"""
Judging a configuration before it comes into force: its lists compiled, the files it names read, the open-relay proof,
in the form of its errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from mailtraq_py.interfaces.directory import IDirectory
from mailtraq_py.policy.build import build_policy
from mailtraq_py.policy.memoryrows import MemoryRows
from mailtraq_py.policy.noanswers import NoAnswers
from mailtraq_py.policy.problems import BadPolicy
from mailtraq_py.policy.proof import prove
from mailtraq_py.policy.recentlogin import RecentLoginRules, RecentLogins
from mailtraq_py.store.now import run_now

from .config import Configuration, ConfigurationError, ConfigurationProblem, print_path
from .listfiles import ListFiles
from .nobody import NobodyHosted
from .privileges import closed_program
from .recipients import RecipientSettings, doubts, recipient_settings, ruled
from .settings import policy_settings
from .smarthost import smarthost_doubts, smarthost_password


def judge(
    configuration: Configuration,
    directory: IDirectory,
    local_addresses: Sequence[str] = (),
    lists: ListFiles | None = None,
    recipients: RecipientSettings | None = None,
) -> tuple[str, ...]:
    """
    Judge a configuration's policy, and what it says of recipients.

    Args:
        directory: whose domains are ours; its coroutines wait for nothing.
        local_addresses: some accounts, for scenarios with a sender of ours.
        lists: as `policy_settings` takes them.
        recipients: of this configuration, where they were read already.

    Returns:
        warnings, open relays that are declared as such among them.

    Raises:
        ConfigurationError: with all that is wrong, what was found while the file was read included; or, where nothing
            is, with every service that a stranger may relay through.
    """
    found: list[Any] = []
    settings = policy_settings(configuration, lists, found)
    recipients = recipients or recipient_settings(configuration, lists, found)
    smarthost_password(configuration, found)
    directory = ruled(directory, recipients.rules)
    recent = RecentLogins(MemoryRows(), RecentLoginRules(settings.recent_login), lambda: 0.0)
    try:
        policy = build_policy(settings, directory, NoAnswers(), recent, 0)
    except BadPolicy as error:
        found += error.errors
    if found or configuration.problems:
        raise ConfigurationError(_together(configuration, found))
    try:
        findings = run_now(prove(settings, directory, local_addresses))
    except BadPolicy as error:
        raise ConfigurationError(error.errors) from None
    doubted = (*policy.warnings, *smarthost_doubts(configuration), *_program_doubts(configuration))
    warnings = [str(warning) for warning in doubted]
    if not isinstance(directory, NobodyHosted):
        warnings += run_now(doubts(configuration, directory, recipients))
    problems = []
    for finding in findings:
        if finding.acknowledged:
            warnings.append(str(finding))
        else:
            name = next(path for path, service in configuration.services() if service.name == finding.service)
            scenario = json.dumps(finding.scenario)
            problems.append(
                configuration.problem(
                    f"{finding}. See it happen: mailtraq explain '{scenario}'. If that is meant, say"
                    " i_know_this_is_an_open_relay = true in this table",
                    *name,
                    "relay",
                )
            )
    if problems:
        raise ConfigurationError(problems)
    return tuple(warnings)


def nothing_to_serve(configuration: Configuration) -> list[ConfigurationProblem]:
    """A configuration without a service is enough for commands, not for a server."""
    if any(True for _ in configuration.services()):
        return []
    return [configuration.problem("no [[smtp]], [[pop3]] or [[imap]]: nothing to serve")]


def _program_doubts(configuration: Configuration) -> Iterator[ConfigurationProblem]:
    """The indexer begins after root was given up, as a program started anew."""
    path = closed_program()
    if path and configuration.keys.search.enabled:
        reason = (
            f"the server's user may not read {path}, so no full-text index can be kept up; put Python and"
            " mailtraq_py where that user may read them (README.md: /opt/mailtraq), or set enabled = false"
        )
        yield configuration.problem(reason, "search", "enabled")


def _together(configuration: Configuration, found: Iterable[Any]) -> list[Any]:
    """All problems in the order of the file, then of others; without what follows from one that is known already."""
    known = {problem.key for problem in configuration.problems}
    main = str(configuration.file)
    lines = {print_path(path): line for path, line in configuration.lines.items()}
    for path, service in configuration.services():
        # Policy knows a service by its name.
        lines |= {
            f"{path[0]}.{service.name}.{'.'.join(map(str, key[2:]))}": line
            for key, line in configuration.lines.items()
            if key[:2] == path
        }
    problems = list(configuration.problems)
    for problem in found:
        if getattr(problem, "key", "") in known:
            continue
        placed = problem.file == main and not problem.line and problem.key in lines
        problems.append(replace(problem, line=lines[problem.key]) if placed else problem)
    return sorted(problems, key=lambda problem: (problem.file != main, problem.file, problem.line))

"""
Judging a configuration before it comes into force: its lists compiled, the open-relay proof, in the form of its errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from zope.interface import implementer

from mailtraq_py.interfaces.directory import Account, CramSecret, Destination, IDirectory, MailboxLists, Remote
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.net import IResolver
from mailtraq_py.mail.envelope import ForwardPath
from mailtraq_py.policy.build import build_policy
from mailtraq_py.policy.memoryrows import MemoryRows
from mailtraq_py.policy.problems import BadPolicy
from mailtraq_py.policy.proof import prove
from mailtraq_py.policy.recentlogin import RecentLoginRules, RecentLogins
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.store import Store

from .config import Configuration, ConfigurationError
from .listfiles import ListFiles
from .location import Location
from .offline import offline_store
from .recipients import RecipientSettings, doubts, recipient_settings, ruled
from .settings import policy_settings

ACCOUNTS_LISTED_MAX = 1000


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
        ConfigurationError: with every bad entry, or every service that a stranger may relay through.
    """
    settings = policy_settings(configuration, lists)
    recipients = recipients or recipient_settings(configuration, lists)
    directory = ruled(directory, recipients.rules)
    recent = RecentLogins(MemoryRows(), RecentLoginRules(settings.recent_login), lambda: 0.0)
    try:
        policy = build_policy(settings, directory, NoAnswers(), recent, 0)
        findings = run_now(prove(settings, directory, local_addresses))
    except BadPolicy as error:
        raise ConfigurationError(error.errors) from None
    warnings = [str(warning) for warning in policy.warnings]
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


@contextmanager
def hosted(location: Location) -> Iterator[tuple[IDirectory, tuple[str, ...]]]:
    """
    Who is hosted: the store's directory and the address of some account; nobody where there is no store yet, which is
    not made for this.

    Raises:
        StoreUnusable: it cannot be opened.
    """
    if not location.store_exists:
        yield NobodyHosted(), ()
        return
    with offline_store(location) as store:
        yield store.directory, _some_account(store)


def _some_account(store: Store) -> tuple[str, ...]:
    for domain in run_now(store.administration.list_domains()):
        if 0 < domain.accounts <= ACCOUNTS_LISTED_MAX:
            return (run_now(store.administration.list_accounts(domain.name))[0].account.address,)
    return ()


@implementer(IDirectory)
class NobodyHosted:
    """The directory of a store that is not there yet: no domain is ours."""

    async def is_local_domain(self, domain: str) -> bool:
        """No."""
        return False

    async def find_account(self, address: str) -> Account | None:
        """None."""
        return None

    async def resolve(self, path: ForwardPath) -> Destination:
        """Everything leads elsewhere."""
        return Remote(path)

    async def mailbox_lists(self, account: Account) -> MailboxLists:
        """Empty ones."""
        return MailboxLists()

    async def has_room(self, account: Account) -> bool:
        """Yes."""
        return True

    async def verify_password(self, login: str, password: bytes, client: str) -> Account | None:
        """Nobody logs in."""
        return None

    async def find_cram_secret(self, login: str) -> CramSecret | None:
        """None."""
        return None

    async def offers_cram_md5(self) -> bool:
        """No."""
        return False


@implementer(IResolver)
class NoAnswers:
    """A resolver that reaches no nameserver."""

    async def mx(self, domain: str) -> list[tuple[int, str]]:
        """No answer."""
        raise TemporaryFailure("the DNS is not asked")

    async def addresses(self, host: str) -> list[str]:
        """No answer."""
        raise TemporaryFailure("the DNS is not asked")

    async def txt(self, name: str) -> list[bytes]:
        """No answer."""
        raise TemporaryFailure("the DNS is not asked")

    async def pointers(self, address: str) -> list[str]:
        """No answer."""
        raise TemporaryFailure("the DNS is not asked")

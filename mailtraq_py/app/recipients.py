"""
From `[recipients]` and `[journal]` to what directory, delivery and queue work by; every bad rule with its line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mailtraq_py.delivery.settings import JournalSettings
from mailtraq_py.interfaces.directory import Destination, Expansion, IDirectory, LocalMailbox, RecipientRules
from mailtraq_py.mail.address import Address, fold_domain, parse_address
from mailtraq_py.mail.addresspattern import ARROW, Rewriting, parse_rewriting, split_rule
from mailtraq_py.mail.aliasfile import AliasTable, BadAliases, parse_aliases
from mailtraq_py.mail.domaintable import DomainTable, fold_domain_entry
from mailtraq_py.mail.envelope import ForwardPath
from mailtraq_py.policy.settings import ListUnreadable
from mailtraq_py.store.lookup import Lookup

from .config import Configuration, ConfigurationError
from .listen import parse_listen
from .listfiles import ListFiles

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RecipientSettings:
    """
    `rules` for the directory, `senders` and `journal` for acceptance, `routes` ("host:port" by domain) for the queue.
    """

    rules: RecipientRules
    senders: Rewriting
    journal: JournalSettings
    routes: DomainTable[str]


def recipient_settings(
    configuration: Configuration, lists: ListFiles | None = None, problems: list[Any] | None = None
) -> RecipientSettings:
    """
    All that the configuration says of recipients.

    Args:
        lists: what was read of files already; takes what is read now.
        problems: takes what is wrong, which is then left out and not raised.

    Raises:
        ConfigurationError: with every bad rule, those of the alias file with its lines.
    """
    reader = _Reader(configuration, lists or ListFiles())
    settings = reader.read()
    if problems is not None:
        problems += reader.problems
    elif reader.problems:
        raise ConfigurationError(reader.problems)
    return settings


def ruled(directory: IDirectory, rules: RecipientRules) -> IDirectory:
    """The same directory under other rules; one that knows nobody stays as it is."""
    if not isinstance(directory, Lookup):
        return directory
    other: IDirectory = directory.with_rules(rules)
    return other


async def doubts(configuration: Configuration, directory: IDirectory, settings: RecipientSettings) -> list[str]:
    """Addresses that lead where they should not: warnings, because who is hosted changes without the configuration."""
    found = []
    hostname, domain = configuration.keys.hostname, configuration.keys.default_domain
    capture = configuration.keys.outbound.capture
    if hostname and "." not in hostname:
        found.append(str(configuration.problem(f"{hostname} is no full name, as other servers want it", "hostname")))
    if domain and not await directory.is_local_domain(domain.lower()):
        found.append(str(configuration.problem(f"{domain} is not hosted here", "default_domain")))
    named = (
        ("recipients", "catch_all", settings.rules.catch_all),
        ("journal", "copy_inbound", settings.journal.copy_inbound),
        ("journal", "copy_outbound", settings.journal.copy_outbound),
        ("outbound", "capture", _address(capture)),
    )
    for table, key, address in named:
        if address is None:
            continue
        destination: Destination = await directory.resolve(ForwardPath(address))
        members = destination.members if isinstance(destination, Expansion) else (destination,)
        here = all(isinstance(member, LocalMailbox) for member in members)
        if key == "capture" and not here:
            reason = f"{address} is no mailbox here: what would leave waits in the queue"
            found.append(str(configuration.problem(reason, table, key)))
        elif key == "copy_outbound" and not here:
            found.append(str(configuration.problem(f"{address} is no mailbox here: copies of it are lost", table, key)))
        elif not here and await directory.is_local_domain(address.domain_key):
            found.append(str(configuration.problem(f"{address} leads to nobody", table, key)))
    return found


class _Reader:
    def __init__(self, configuration: Configuration, lists: ListFiles) -> None:
        self._configuration = configuration
        self._lists = lists
        self.problems: list[Any] = []

    def read(self) -> RecipientSettings:
        """The whole."""
        keys = self._configuration.keys
        table = keys.recipients
        backup = self._rules("backup_domains", table.backup_domains, _backup_domain)
        rules = RecipientRules(
            Rewriting(tuple(self._rules("rewrite", table.rewrite, parse_rewriting))),
            DomainTable(self._rules("domain_maps", table.domain_maps, _domain_map)),
            DomainTable(backup),
            table.delimiters,
            self._aliases(table.aliases),
            _address(table.catch_all),
        )
        senders = Rewriting(tuple(self._rules("rewrite_senders", table.rewrite_senders, parse_rewriting)))
        journal = JournalSettings(_address(keys.journal.copy_inbound), _address(keys.journal.copy_outbound))
        return RecipientSettings(rules, senders, journal, DomainTable((name, host) for name, host in backup if host))

    def _rules(self, key: str, texts: Sequence[str], parse: Callable[[str], _T]) -> list[_T]:
        found = []
        for index, text in enumerate(texts):
            if self._configuration.is_wrong("recipients", key, index):
                continue
            try:
                found.append(parse(text))
            except ValueError as error:
                problem = self._configuration.problem(f'"{text}": {error}', "recipients", key, index)
                self.problems.append(problem)
        return found

    def _aliases(self, name: str) -> AliasTable:
        if not name or self._configuration.is_wrong("recipients", "aliases"):
            return AliasTable()
        try:
            return parse_aliases(str(self._configuration.path(name)), self._read_file)
        except BadAliases as error:
            self.problems.extend(error.problems)
            return AliasTable()

    def _read_file(self, name: str, named_by: str) -> tuple[str, str]:
        """(path, text) of an alias file or of one it includes."""
        path = self._configuration.path(named_by).parent / name
        try:
            return str(path), self._lists.text(path)
        except ListUnreadable as error:
            raise ValueError(f"{path} {error}") from None
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from None


def _address(text: str) -> Address | None:
    return parse_address(text) if text else None


def _domain_map(text: str) -> tuple[str, Address | str]:
    """`old.example -> new.example`, `*.old.example -> user@new.example`."""
    left, right = split_rule(text)
    return fold_domain_entry(left), parse_address(right) if "@" in right else fold_domain(right)


def _backup_domain(text: str) -> tuple[str, str]:
    """`other.example`, `other.example -> host:port`."""
    if ARROW not in text:
        return fold_domain_entry(text), ""
    left, right = split_rule(text)
    parse_listen(right)
    return fold_domain_entry(left), right

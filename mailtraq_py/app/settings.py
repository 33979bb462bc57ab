"""
From the tables of the file to the settings of policy and queue. Lists that lie in files of their own are read here;
what entries mean is judged by policy.

Tables and settings have the same names for the same things, so most of this is one loop; what differs is said in
`read` and `_service`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, TypeVar, get_type_hints

from mailtraq_py.interfaces.connection import Protocol, Role
from mailtraq_py.mail.address import fold_domain
from mailtraq_py.policy import settings as policy
from mailtraq_py.policy.settings import ROLES, Entries, Entry, ListUnreadable
from mailtraq_py.queue.settings import OutboundSettings
from mailtraq_py.queue.tlspolicy import TLSUse

from . import sections
from .config import Configuration, ConfigurationError, ConfigurationProblem, print_path
from .listen import parse_listen, parse_nameserver
from .listfiles import ENTRY_PREFIX, ListFiles
from .machine import gateways, own_addresses
from .smarthost import smarthost_password
from .tables import Table
from .tomllines import KeyPath

PROTOCOLS: Mapping[str, Protocol] = {"smtp": Protocol.SMTP, "pop3": Protocol.POP3, "imap": Protocol.IMAP}

_RELAYS = {
    kind.preset: kind
    for kind in (policy.MailtraqRelay, policy.AbilityRelay, policy.IMailRelay, policy.CustomRelay)
}
_Settings = TypeVar("_Settings")


def policy_settings(
    configuration: Configuration, lists: ListFiles | None = None, problems: list[Any] | None = None
) -> policy.PolicySettings:
    """
    All that policy is built from.

    Args:
        lists: what was read of list files already; takes what is read now.
        problems: takes what is wrong, which is then left out and not raised.

    Raises:
        ConfigurationError: list files that cannot be read.
    """
    reader = _PolicyReader(configuration, lists or ListFiles())
    settings = reader.read()
    if problems is not None:
        problems += reader.problems
    elif reader.problems:
        raise ConfigurationError(reader.problems)
    return settings


def outbound_settings(configuration: Configuration) -> OutboundSettings:
    """
    What the queue works by.

    Raises:
        ConfigurationError: the smarthost's password cannot be read.
    """
    keys, outbound = configuration.keys, configuration.keys.outbound
    return OutboundSettings(
        hostname=keys.hostname,
        smarthost=outbound.smarthost,
        smarthost_login=outbound.smarthost_login,
        smarthost_password=smarthost_password(configuration),
        port=outbound.port,
        tls=TLSUse(outbound.tls),
        own_names=frozenset({fold_domain(keys.hostname)}) if keys.hostname else frozenset(),
        own_addresses=frozenset(_own_addresses(configuration)),
        allow_private=outbound.allow_private,
        capture=outbound.capture,
        retry_seconds=tuple(map(float, outbound.retry_seconds)),
        delay_report_seconds=float(outbound.delay_report_seconds),
        max_connections=outbound.max_connections,
    )


def nameservers(configuration: Configuration) -> list[tuple[str, int]] | None:
    """(address, port) pairs; None for those of the system."""
    found = [parse_nameserver(text) for text in configuration.keys.outbound.nameservers]
    return [(each.host, each.port) for each in found] or None


class _PolicyReader:
    """Fills policy's settings; each entry keeps the file and line it stands in."""

    def __init__(self, configuration: Configuration, lists: ListFiles) -> None:
        self._configuration = configuration
        self._lists = lists
        self.problems: list[ConfigurationProblem] = []

    def read(self) -> policy.PolicySettings:
        """The whole."""
        keys = self._configuration.keys
        return self._fill(
            policy.PolicySettings,
            keys,
            (),
            lan=self._entries(keys.lan.addresses, ("lan", "addresses")),
            own_addresses=_own_addresses(self._configuration),
            gateways=gateways(),
            recent_login=self._fill(policy.RecentLoginSettings, keys.recent_login, ("recent_login",)),
            services=tuple(self._service(path, service) for path, service in self._configuration.services()),
            barring=self._fill(policy.BarringSettings, keys.barring, ("barring",)),
            lists_access=self._fill(policy.ListsAccessSettings, keys.lists_access, ("lists_access",)),
            journal=self._fill(policy.JournalSettings, keys.journal, ("journal",)),
            file=str(self._configuration.file),
        )

    def _service(self, path: KeyPath, service: sections.Service) -> policy.ServiceSettings:
        protocol = PROTOCOLS[str(path[0])]
        if not isinstance(service, sections.SMTPService):
            return self._fill(policy.ServiceSettings, service, path, protocol=protocol, role=Role.BOTH)
        return self._fill(
            policy.ServiceSettings,
            service,
            path,
            protocol=protocol,
            role=ROLES[service.role],
            relay=self._relay(service.relay, (*path, "relay")),
            senders=self._fill(
                policy.SendersSettings,
                service.senders,
                (*path, "senders"),
                kill=self._list_file(service.senders.kill_file, (*path, "senders", "kill_file")),
            ),
            helo=self._fill(policy.HeloSettings, service.helo, (*path, "helo")),
            lists=self._fill(policy.ListsSettings, service.lists, (*path, "lists")),
            tarpit=self._fill(policy.TarpitSettings, service.tarpit, (*path, "tarpit")),
            large_messages=self._fill(
                policy.LargeMessagesSettings, service.large_messages, (*path, "large_messages")
            ),
        )

    def _relay(self, relay: sections.Relay, path: KeyPath) -> policy.RelaySettings:
        given: dict[str, Any] = {}
        if isinstance(relay, sections.AbilityRelay) and relay.auth_only is not None:
            given["auth_only"] = policy.FixedLogin(relay.auth_only.login, relay.auth_only.password_hash)
        elif isinstance(relay, sections.CustomRelay):
            for word in ("require", "grant"):
                groups = getattr(relay, word)
                given[word] = tuple(
                    self._entries(group, (*path, word, index)) for index, group in enumerate(groups)
                )
            given["lists"] = {
                name: self._entries(texts, (*path, "lists", name)) for name, texts in relay.lists.items()
            }
        kind: Any = _RELAYS[relay.preset]
        filled: policy.RelaySettings = self._fill(kind, relay, path, **given)
        return filled

    def _fill(self, kind: type[_Settings], table: Table, path: KeyPath, **given: Any) -> _Settings:
        """An instance of `kind`: what is `given`, else the table's value of the same name, texts as entries."""
        hints = _hints(kind)  # type: ignore[arg-type]
        for field in dataclasses.fields(kind):  # type: ignore[arg-type]
            if field.name not in given and field.name in table.__struct_fields__:
                value = getattr(table, field.name)
                is_entries = hints[field.name] == Entries
                given[field.name] = self._entries(value, (*path, field.name)) if is_entries else value
        return kind(**given)

    def _entries(self, texts: Sequence[str], path: KeyPath) -> Entries:
        configuration, file, key = self._configuration, str(self._configuration.file), print_path(path)
        if path not in configuration.lines:  # the default, which stands in no line
            return tuple(Entry(text, file, key) for text in texts)
        entries: list[Entry] = []
        for index, text in enumerate(texts):
            if configuration.is_wrong(*path, index):
                continue
            if text.startswith(ENTRY_PREFIX):
                entries += self._list_file(text.removeprefix(ENTRY_PREFIX), (*path, index))
            else:
                entries.append(Entry(text, file, key, configuration.line(*path, index)))
        return tuple(entries)

    def _list_file(self, name: str, path: KeyPath) -> Entries:
        if not name:
            return ()
        file = self._configuration.path(name)
        try:
            return self._lists.entries(file, print_path(path))
        except ListUnreadable as error:
            reason = f"{file} {error}"
        except OSError as error:
            reason = f"{file}: {error.strerror}"
        self.problems.append(self._configuration.problem(reason, *path))
        return ()


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _own_addresses(configuration: Configuration) -> tuple[str, ...]:
    """The machine's, and those that services listen on (a host name there stands for the machine's own)."""
    listened = [parse_listen(text).host for _, service in configuration.services() for text in service.listen if text]
    bound = [host for host in listened if _is_address(host) and not ip_address(host).is_unspecified]
    return tuple(dict.fromkeys([*own_addresses(), *bound]))


def _is_address(host: str) -> bool:
    return ":" in host or host[-1].isdigit()

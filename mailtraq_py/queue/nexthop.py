"""
Where mail for a domain goes: its route, the smarthost, or the hosts that its MX records name.

    route           -> its addresses, whatever they are (a domain that we are the backup of)
    smarthost set       -> its addresses, whatever they are
    MX records          -> hosts by preference, equal ones in random order
    no MX record        -> the domain itself, by its addresses                (RFC 5321 5.1)
    null MX             -> 556: this domain takes no mail                     (RFC 7505 4.1)

What the DNS of a stranger says is not obeyed blindly: hosts that are ourselves and all that are not preferred to
them are left out (else mail would circle), addresses of this machine, of loopback and of private networks are not
connected to (else a stranger could make us talk to what only we can reach), and only so many hosts and addresses count.

RFC 5321 5.1, RFC 7505, RFC 6890
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mailtraq_py.interfaces.failures import PermanentFailure, TemporaryFailure
from mailtraq_py.interfaces.net import IResolver, NoSuchName
from mailtraq_py.mail.domaintable import DomainTable
from mailtraq_py.mail.reply import Reply

from .settings import OutboundSettings

HOSTS_MAX = 10
ADDRESSES_MAX = 10
ADDRESSES_PER_HOST_MAX = 4

NO_DOMAIN = Reply(550, "no such domain", "5.1.2")
NO_HOST = Reply(550, "the domain has no mail server", "5.1.2")
NULL_MX = Reply(556, "the domain does not accept mail", "5.1.10")
LOOP = Reply(554, "the domain's mail servers lead back here", "5.4.6")
UNREACHABLE = Reply(550, "the domain's mail servers have no address that may be used", "5.4.4")

Shuffle = Callable[[list[str]], None]


@dataclass(frozen=True, slots=True)
class Hop:
    """One address to try. `name` is the host's, for TLS and the log."""

    name: str
    address: str
    port: int
    is_smarthost: bool = False

    @property
    def implicit_tls(self) -> bool:
        """Port 465 speaks TLS from its first octet (RFC 8314 3.3)."""
        return self.port == 465


class NextHops:
    """
    Args:
        settings: see there.
        resolver: for MX and addresses.
        shuffle: puts a list into random order, in place.

    Attributes:
        routes: "host:port" by domain, stronger than the smarthost; replaced when the configuration changes.
    """

    def __init__(self, settings: OutboundSettings, resolver: IResolver, shuffle: Shuffle) -> None:
        self._settings = settings
        self._resolver = resolver
        self._shuffle = shuffle
        self.routes: DomainTable[str] = DomainTable()

    def route(self, domain: str) -> str:
        """What stands for a folded domain, so that mail for all it stands for goes together; the domain itself."""
        return self.routes.find(domain) or self._settings.smarthost or domain

    async def find(self, domain: str) -> list[Hop]:
        """
        The addresses to try, in this order; never empty.

        Args:
            domain: folded; or an address literal in brackets.

        Raises:
            TemporaryFailure: the DNS did not answer.
            PermanentFailure: the domain takes no mail, does not exist, or leads back here.
        """
        route = self.routes.find(domain)
        if route:
            return await self._find_named(route, is_smarthost=False)
        if self._settings.smarthost:
            return await self._find_named(self._settings.smarthost, is_smarthost=True)
        if domain.startswith("["):
            return self._hops([(domain, _literal(domain))])
        hosts = await self._find_hosts(domain)
        return self._hops(await self._find_addresses(hosts))

    async def _find_named(self, host: str, is_smarthost: bool) -> list[Hop]:
        name, _, port = host.rpartition(":")
        name = name.strip("[]")
        try:
            addresses = await self._resolver.addresses(name)
        except NoSuchName:
            addresses = []
        if not addresses:
            # The administrator's matter, not the sender's: mail waits until the name is there.
            raise TemporaryFailure(f"{'smarthost' if is_smarthost else 'route'} {name} has no address")
        return [Hop(name, address, int(port), is_smarthost) for address in addresses[:ADDRESSES_MAX]]

    async def _find_hosts(self, domain: str) -> list[list[str]]:
        """Host names in groups of equal preference, those of the best first, loops left out."""
        try:
            records = await self._resolver.mx(domain)
        except NoSuchName:
            raise PermanentFailure(NO_DOMAIN) from None
        if not records:
            return [[domain]]
        named = [(preference, host) for preference, host in records if host]
        if not named:
            raise PermanentFailure(NULL_MX)
        groups = drop_loop(group_by_preference(named), self._settings.own_names)
        if not groups:
            raise PermanentFailure(LOOP)
        for group in groups:
            self._shuffle(group)
        return groups

    async def _find_addresses(self, groups: list[list[str]]) -> list[tuple[str, list[str]]]:
        """Hosts with their addresses, until a group holds an address of ours: from there on it is a loop."""
        found: list[tuple[str, list[str]]] = []
        failure: TemporaryFailure | None = None
        refusal = NO_HOST
        tried = 0
        for group in groups:
            here: list[tuple[str, list[str]]] = []
            for host in group:
                tried += 1
                if tried > HOSTS_MAX:
                    break
                try:
                    addresses = await self._resolver.addresses(host)
                except NoSuchName:
                    continue
                except TemporaryFailure as error:
                    failure = error
                    continue
                if any(self._is_own(address) for address in addresses):
                    refusal = LOOP
                    break
                if addresses:
                    here.append((host, addresses))
            if refusal is LOOP:
                break
            found += here
        if not found:
            raise failure or PermanentFailure(refusal)
        return found

    def _hops(self, hosts: Iterable[tuple[str, list[str]]]) -> list[Hop]:
        hops = [
            Hop(host, _reduced(address), self._settings.port)
            for host, addresses in hosts
            for address in [each for each in addresses if self._may_connect(each)][:ADDRESSES_PER_HOST_MAX]
        ]
        if not hops:
            raise PermanentFailure(UNREACHABLE)
        return hops[:ADDRESSES_MAX]

    def _may_connect(self, address: str) -> bool:
        return not self._is_own(address) and (self._settings.allow_private or is_public(address))

    def _is_own(self, address: str) -> bool:
        address = _reduced(address)
        if self._settings.allow_private and ipaddress.ip_address(address).is_loopback:
            return False  # another server's port on this machine
        return address in self._settings.own_addresses


def group_by_preference(records: Iterable[tuple[int, str]]) -> list[list[str]]:
    """Host names in groups of equal preference, the best first, none twice."""
    groups: dict[int, list[str]] = {}
    seen: set[str] = set()
    for preference, host in sorted(records):
        if host not in seen:
            seen.add(host)
            groups.setdefault(preference, []).append(host)
    return list(groups.values())


def drop_loop(groups: list[list[str]], own_names: frozenset[str]) -> list[list[str]]:
    """Leave out the group in which one of our names stands, and all behind it (RFC 5321 5.1)."""
    kept = []
    for group in groups:
        if own_names.intersection(group):
            break
        kept.append(group)
    return kept


def is_public(address: str) -> bool:
    """
    Whether an address is one of the public network: not loopback, private, link-local, multicast, reserved, nor an
    IPv6 form that wraps such an IPv4 address.
    """
    parsed = ipaddress.ip_address(_reduced(address))
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if inner is None and parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None and not is_public(str(inner)):
            return False
    return parsed.is_global and not parsed.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 2.1


def _reduced(address: str) -> str:
    """IPv4-mapped IPv6 as IPv4, everything else in its shortest form."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(parsed)


def _literal(domain: str) -> list[str]:
    """The address inside an address literal, if it is one (RFC 5321 4.1.3)."""
    text = domain[1:-1]
    text = text[5:] if text.lower().startswith("ipv6:") else text
    try:
        return [str(ipaddress.ip_address(text))]
    except ValueError:
        return []

"""mailtraq_py/queue/nexthop.py: where mail goes, and where it never goes."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.failures import PermanentFailure, TemporaryFailure
from mailtraq_py.interfaces.net import NoSuchName
from mailtraq_py.mail.domaintable import DomainTable
from mailtraq_py.queue.nexthop import ADDRESSES_MAX, HOSTS_MAX, Hop, NextHops, group_by_preference, is_public
from mailtraq_py.queue.settings import OutboundSettings
from tests.queue.fakes import FakeResolver


class NextHopTests(SynchronousTestCase):
    """Domains in, hops out."""

    def setUp(self) -> None:
        self.resolver = FakeResolver()
        self.shuffled: list[list[str]] = []

    def shuffle(self, hosts: list[str]) -> None:
        """Turn the list round, as one chance of many."""
        self.shuffled.append(list(hosts))
        hosts.reverse()

    def asking(self, domain: str, **settings: Any) -> Deferred[list[Hop]]:
        """Ask for a domain's hops."""
        given = {
            "own_names": frozenset({"mx.here.example"}),
            "own_addresses": frozenset({"5.5.5.5", "127.0.0.1", "::1"}),
            **settings,
        }
        hops = NextHops(OutboundSettings("mx.here.example", **given), self.resolver, self.shuffle)
        return Deferred.fromCoroutine(hops.find(domain))

    def find(self, domain: str, **settings: Any) -> list[Hop]:
        """The hops."""
        return self.successResultOf(self.asking(domain, **settings))

    def addresses(self, domain: str, **settings: Any) -> list[str]:
        """The hops' addresses."""
        return [hop.address for hop in self.find(domain, **settings)]

    def refusal(self, domain: str, **settings: Any) -> str:
        """The enhanced code of a permanent failure."""
        failure = self.failureResultOf(self.asking(domain, **settings), PermanentFailure)
        return f"{failure.value.reply.code} {failure.value.reply.enhanced}"

    def test_routes(self) -> None:
        """A route is stronger than smarthost and MX records, may be private, and is not the smarthost."""
        settings = OutboundSettings("mx.here.example", smarthost="smart.example:587")
        hops = NextHops(settings, self.resolver, self.shuffle)
        hops.routes = DomainTable([("*.branch.example", "[fd00::7]:2525")])
        self.resolver.hosts |= {"fd00::7": ["fd00::7"], "smart.example": ["9.0.0.9"]}
        found = self.successResultOf(Deferred.fromCoroutine(hops.find("a.branch.example")))
        self.assertEqual(found, [Hop("fd00::7", "fd00::7", 2525)])
        self.assertEqual(hops.route("a.branch.example"), "[fd00::7]:2525")
        self.assertEqual(hops.route("far.example"), "smart.example:587")

    def test_mx(self) -> None:
        """Hosts by preference, equal ones as chance has them, each with its addresses."""
        self.resolver.mxs["far.example"] = [(10, "a"), (10, "b"), (20, "c")]
        self.resolver.hosts |= {"a": ["9.0.0.1"], "b": ["2a00::2", "9.0.0.2"], "c": ["9.0.0.3"]}
        self.assertEqual(
            self.find("far.example"),
            [Hop("b", "2a00::2", 25), Hop("b", "9.0.0.2", 25), Hop("a", "9.0.0.1", 25), Hop("c", "9.0.0.3", 25)],
        )
        self.assertEqual(self.shuffled, [["a", "b"], ["c"]])

    def test_no_mx(self) -> None:
        """Without MX the domain's own addresses count (RFC 5321 5.1)."""
        self.resolver.hosts["far.example"] = ["9.0.0.1"]
        self.assertEqual(self.find("far.example"), [Hop("far.example", "9.0.0.1", 25)])

    def test_null_mx(self) -> None:
        """A null MX bounces at once (RFC 7505 4.1)."""
        self.resolver.mxs["far.example"] = [(0, "")]
        self.assertEqual(self.refusal("far.example"), "556 5.1.10")

    def test_no_such_domain(self) -> None:
        """Neither MX nor address: bounce at once."""
        self.assertEqual(self.refusal("missing.example"), "550 5.1.2")

    def test_no_addresses(self) -> None:
        """MX hosts that do not exist bounce; a failing name service waits, unless another host has an address."""
        self.resolver.mxs["far.example"] = [(10, "a"), (20, "b")]
        self.assertEqual(self.refusal("far.example"), "550 5.1.2")
        self.resolver.hosts["a"] = TemporaryFailure("SERVFAIL")
        self.failureResultOf(self.asking("far.example"), TemporaryFailure)
        self.resolver.hosts["b"] = ["9.0.0.2"]
        self.assertEqual(self.addresses("far.example"), ["9.0.0.2"])

    def test_name_service_fails(self) -> None:
        """No answer for MX is a reason to wait, never to fall back to the address."""
        self.resolver.mxs["far.example"] = TemporaryFailure("time-out")
        self.resolver.hosts["far.example"] = ["9.0.0.1"]
        self.failureResultOf(self.asking("far.example"), TemporaryFailure)

    def test_loop_by_name(self) -> None:
        """Where we stand in the list, we and all behind us are left out (RFC 5321 5.1)."""
        self.resolver.mxs["far.example"] = [(10, "a"), (20, "mx.here.example"), (20, "b"), (30, "c")]
        self.resolver.hosts |= {"a": ["9.0.0.1"], "b": ["9.0.0.2"], "c": ["9.0.0.3"]}
        self.assertEqual(self.addresses("far.example"), ["9.0.0.1"])
        self.resolver.mxs["far.example"] = [(10, "mx.here.example"), (20, "a")]
        self.assertEqual(self.refusal("far.example"), "554 5.4.6")

    def test_loop_by_address(self) -> None:
        """A host with one of our addresses is ourselves under another name."""
        self.resolver.mxs["far.example"] = [(10, "a"), (20, "b"), (30, "c")]
        self.resolver.hosts |= {"a": ["9.0.0.1"], "b": ["::ffff:5.5.5.5"], "c": ["9.0.0.3"]}
        self.assertEqual(self.addresses("far.example"), ["9.0.0.1"])
        self.resolver.hosts["a"] = NoSuchName("a")
        self.assertEqual(self.refusal("far.example"), "554 5.4.6")

    def test_private_addresses(self) -> None:
        """D 55: never to loopback, private, link-local, unspecified or mapped addresses of a stranger's choosing."""
        hostile = [
            "127.0.0.2", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1",
            "224.0.0.1", "255.255.255.255", "::", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "2002:7f00:1::",
            "64:ff9b::10.0.0.1", "ff02::1",
        ]  # fmt: skip
        self.resolver.mxs["far.example"] = [(10, "a")]
        for address in hostile:
            self.assertFalse(is_public(address), address)
            self.resolver.hosts["a"] = [address]
            self.assertEqual(self.refusal("far.example"), "550 5.4.4", address)
        self.resolver.hosts["a"] = [*hostile, "9.0.0.1"]
        self.assertEqual(self.addresses("far.example"), ["9.0.0.1"])
        self.resolver.hosts["a"] = ["10.1.2.3", "127.0.0.1"]
        self.assertEqual(self.addresses("far.example", allow_private=True), ["10.1.2.3", "127.0.0.1"])

    def test_hostile_numbers(self) -> None:
        """D 55: of a thousand hosts or addresses only so many are looked up and tried."""
        self.resolver.mxs["far.example"] = [(n, f"h{n}") for n in range(1000)]
        self.resolver.hosts |= {f"h{n}": [f"9.0.{n % 250}.{k}" for k in range(1, 200)] for n in range(1000)}
        self.assertEqual(len(self.find("far.example")), ADDRESSES_MAX)
        self.assertEqual(len(self.resolver.asked), 1 + HOSTS_MAX)

    def test_address_literal(self) -> None:
        """A domain in brackets is its own address, under the same rules."""
        self.assertEqual(self.addresses("[9.0.0.1]"), ["9.0.0.1"])
        self.assertEqual(self.addresses("[ipv6:2a00::1]"), ["2a00::1"])
        for domain in ("[127.0.0.1]", "[ipv6:::1]", "[foo]", "[5.5.5.5]"):
            self.assertEqual(self.refusal(domain), "550 5.4.4", domain)

    def test_smarthost(self) -> None:
        """A smarthost takes everything, wherever it stands; without an address mail waits."""
        self.resolver.hosts |= {"relay.lan": ["10.0.0.9"], "::1": ["::1"]}
        self.assertEqual(
            self.find("any.example", smarthost="relay.lan:587"), [Hop("relay.lan", "10.0.0.9", 587, True)]
        )
        self.assertEqual(self.addresses("any.example", smarthost="[::1]:2525"), ["::1"])
        self.failureResultOf(self.asking("any.example", smarthost="missing.lan:25"), TemporaryFailure)

    def test_port_of_mx_hosts(self) -> None:
        """It can be set, for tests."""
        self.resolver.hosts["far.example"] = ["127.0.0.1"]
        (hop,) = self.find("far.example", port=2526, allow_private=True)
        self.assertEqual(hop.port, 2526)

    def test_groups(self) -> None:
        """A host that is named twice counts where it is preferred."""
        self.assertEqual(group_by_preference([(20, "a"), (10, "b"), (10, "a")]), [["a", "b"]])

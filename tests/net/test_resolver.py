"""mailtraq_py/net/resolver.py: what is asked, what is kept, what failures become. No sockets."""

from __future__ import annotations

import tempfile
from typing import Any

import dns.message
import dns.rcode
import dns.rrset
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.net import NoSuchName
from mailtraq_py.net.exchange import NoAnswer
from mailtraq_py.net.resolver import FAILURE_TTL, Resolver, system_nameservers
from tests.net.dnsserver import DNSServer


class Nameservers:
    """Stands for `exchange.ask`: answers out of a DNSServer's dictionary, late when held, or fails."""

    def __init__(self, records: dict[tuple[str, str], list[str]], ttl: int = 300) -> None:
        self.zone = DNSServer(records, ttl)
        self.failures: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.held: Deferred[None] | None = None

    async def __call__(self, reactor: Any, query: Any, server: tuple[str, int], seconds: float) -> Any:
        """One exchange."""
        self.asked.append((query.question[0].to_text(), server[0]))
        if self.held is not None:
            await self.held
        if server[0] in self.failures:
            if self.failures[server[0]] == "time-out":
                reactor.advance(seconds)
            raise NoAnswer(self.failures[server[0]])
        return dns.message.from_wire(self.zone.answer(query.to_wire(), "tcp") or b"")


class ResolverTests(SynchronousTestCase):
    """The resolver over a nameserver that is a dictionary."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.servers = Nameservers(
            {
                ("example.test.", "MX"): ["20 b.example.test.", "10 A.example.test."],
                ("null.test.", "MX"): ["0 ."],
                ("a.example.test.", "A"): ["192.0.2.1", "192.0.2.2"],
                ("a.example.test.", "AAAA"): ["2001:db8::1"],
                ("four.example.test.", "A"): ["192.0.2.4"],
                ("alias.test.", "CNAME"): ["a.example.test."],
                ("ring.test.", "CNAME"): ["ring.test."],
                ("text.test.", "TXT"): ['"v=spf1 " "-all"', '"other"'],
                ("9.113.0.203.in-addr.arpa.", "PTR"): ["Host.Example.test."],
                ("_label.test.", "TXT"): ['"underscore"'],
            }
        )
        self.resolver = Resolver(self.clock, [("10.0.0.1", 53)], self.servers)

    def ask(self, method: str, name: str) -> Any:
        """The answer of a method that need not wait."""
        return self.successResultOf(Deferred.fromCoroutine(getattr(self.resolver, method)(name)))

    def fail_to_ask(self, method: str, name: str, error: type[Exception]) -> None:
        """The method raises."""
        self.failureResultOf(Deferred.fromCoroutine(getattr(self.resolver, method)(name)), error)

    def test_mx_by_preference(self) -> None:
        """MX hosts come lowest preference first, in lower case, without the last dot."""
        self.assertEqual(self.ask("mx", "Example.TEST."), [(10, "a.example.test"), (20, "b.example.test")])

    def test_null_mx(self) -> None:
        """A null MX is a host without a name."""
        self.assertEqual(self.ask("mx", "null.test"), [(0, "")])

    def test_no_mx(self) -> None:
        """A name that has other records only has no MX; that is no failure."""
        self.assertEqual(self.ask("mx", "text.test"), [])

    def test_addresses_of_both_families(self) -> None:
        """IPv6 and IPv4 together, through an alias too."""
        expected = ["2001:db8::1", "192.0.2.1", "192.0.2.2"]
        self.assertCountEqual(self.ask("addresses", "a.example.test"), expected)
        self.assertCountEqual(self.ask("addresses", "alias.test"), expected)

    def test_addresses_of_one_family(self) -> None:
        """A host without IPv6 has its IPv4 addresses."""
        self.assertEqual(self.ask("addresses", "four.example.test"), ["192.0.2.4"])

    def test_addresses_that_are_not_asked(self) -> None:
        """A literal is its own address and localhost is loopback, whatever a nameserver would say."""
        self.assertEqual(self.ask("addresses", "192.0.2.7"), ["192.0.2.7"])
        self.assertEqual(self.ask("addresses", "x.LOCALHOST."), ["::1", "127.0.0.1"])
        self.assertEqual(self.servers.asked, [])

    def test_text_is_joined(self) -> None:
        """The strings of a TXT record are one text."""
        self.assertCountEqual(self.ask("txt", "text.test"), [b"v=spf1 -all", b"other"])
        self.assertEqual(self.ask("txt", "_label.test"), [b"underscore"])

    def test_pointers(self) -> None:
        """An address is turned into its name in in-addr.arpa."""
        self.assertEqual(self.ask("pointers", "203.0.113.9"), ["host.example.test"])
        self.fail_to_ask("pointers", "no address", NoSuchName)

    def test_no_such_name(self) -> None:
        """NXDOMAIN, and what cannot be a name, are gone for good."""
        for name in ("missing.test", "a..b", "x" * 64 + ".test"):
            self.fail_to_ask("mx", name, NoSuchName)
            self.fail_to_ask("addresses", name, NoSuchName)

    def test_ring_of_aliases(self) -> None:
        """A ring of CNAMEs is a temporary failure, not an endless walk."""
        self.fail_to_ask("addresses", "ring.test", TemporaryFailure)

    def test_answers_are_kept_for_their_ttl(self) -> None:
        """Asked once until the TTL is over, then again."""
        self.ask("mx", "example.test")
        self.clock.advance(299)
        self.ask("mx", "example.test")
        self.assertEqual(len(self.servers.asked), 1)
        self.clock.advance(1)
        self.ask("mx", "example.test")
        self.assertEqual(len(self.servers.asked), 2)

    def test_missing_names_are_kept(self) -> None:
        """A negative answer is kept too."""
        for _ in range(3):
            self.fail_to_ask("txt", "missing.test", NoSuchName)
        self.assertEqual(len(self.servers.asked), 1)

    def test_failures_are_kept_for_a_moment(self) -> None:
        """A dead zone is asked once in a few seconds, not for each recipient."""
        self.servers.zone.rcodes["example.test."] = dns.rcode.SERVFAIL
        self.fail_to_ask("mx", "example.test", TemporaryFailure)
        self.fail_to_ask("mx", "example.test", TemporaryFailure)
        self.assertEqual(len(self.servers.asked), 1)
        del self.servers.zone.rcodes["example.test."]
        self.clock.advance(FAILURE_TTL)
        self.assertEqual(len(self.ask("mx", "example.test")), 2)

    def test_equal_questions_are_asked_once(self) -> None:
        """Who asks what is under way waits for that answer, even when the first asker gives up."""
        self.servers.held = Deferred()
        waiting = [Deferred.fromCoroutine(self.resolver.mx("example.test")) for _ in range(3)]
        waiting[0].cancel()
        self.failureResultOf(waiting[0])
        self.servers.held.callback(None)
        for each in waiting[1:]:
            self.assertEqual(len(self.successResultOf(each)), 2)
        self.assertEqual(len(self.servers.asked), 1)

    def test_next_nameserver(self) -> None:
        """A nameserver that answers badly or not at all leaves the question to the next."""
        for failure in ("SERVFAIL", "time-out"):
            servers = Nameservers({("example.test.", "MX"): ["10 a.example.test."]})
            servers.failures["10.0.0.1"] = failure
            self.resolver = Resolver(self.clock, [("10.0.0.1", 53), ("10.0.0.2", 53)], servers)
            self.assertEqual(self.ask("mx", "example.test"), [(10, "a.example.test")])

    def test_five_seconds_in_all(self) -> None:
        """Nameservers that stay silent are a temporary failure after five seconds."""
        self.servers.failures["10.0.0.1"] = "time-out"
        before = self.clock.seconds()
        self.fail_to_ask("mx", "example.test", TemporaryFailure)
        self.assertAlmostEqual(self.clock.seconds() - before, 5.0, 1)

    def test_cache_is_bounded(self) -> None:
        """What was used least lately leaves first, and the octets kept stay below the bound."""
        self.resolver._cache._octets_max = 2000
        self.ask("mx", "example.test")
        for number in range(20):
            self.fail_to_ask("txt", f"n{number}.test", NoSuchName)
            self.ask("mx", "example.test")
        self.assertEqual([asked for asked, _ in self.servers.asked].count("example.test. IN MX"), 1)
        self.assertLessEqual(self.resolver._cache._octets, 2000)

    def test_many_records_are_cut(self) -> None:
        """Of a thousand MX hosts the most preferred are kept."""
        records = [f"{1000 - number} h{number}.test." for number in range(1000)]
        self.servers.zone.records["many.test.", "MX"] = records
        found = self.ask("mx", "many.test")
        self.assertEqual(len(found), 200)
        self.assertEqual(found[0], (1, "h999.test"))


class SystemNameserversTests(SynchronousTestCase):
    """What the machine is set up with."""

    def test_file(self) -> None:
        """The first three nameserver lines with an address count; without any the one on loopback does."""
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            file.write("# c\nsearch x\nnameserver 192.0.2.1\nnameserver bad\nnameserver ::1\n")
            file.flush()
            self.assertEqual(system_nameservers(file.name), [("192.0.2.1", 53), ("::1", 53)])
        self.assertEqual(system_nameservers("/nonexistent/resolv.conf"), [("127.0.0.1", 53)])

"""mailtraq_py/net/exchange.py on loopback sockets: this is the edge, there is nothing below it to stand in for."""

from __future__ import annotations

import dns.message
import dns.name
import dns.rdatatype
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.net.exchange import NoAnswer, ask
from mailtraq_py.net.resolver import Resolver
from tests.net.dnsserver import DNSServer


class ExchangeTests(TestCase):
    """Questions to a DNS server of our own."""

    def setUp(self) -> None:
        self.server = DNSServer({("example.test.", "MX"): ["10 a.example.test."]})
        self.server.start(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.stop()))

    async def ask(self, name: str = "example.test.", seconds: float = 2.0) -> dns.message.Message:
        """One question for MX."""
        query = dns.message.make_query(dns.name.from_text(name), dns.rdatatype.MX, use_edns=0)
        return await ask(reactor, query, ("127.0.0.1", self.server.port), seconds)

    async def test_udp(self) -> None:
        """A short answer comes by UDP."""
        response = await self.ask()
        self.assertIn("a.example.test.", response.answer[0].to_text())
        self.assertEqual([way for _, _, way in self.server.asked], ["udp"])

    async def test_truncated_answer_comes_by_tcp(self) -> None:
        """A cut answer is asked for again by TCP, and a long one is read in a thread."""
        hosts = [f"{number} host-{number}.mail.example.test." for number in range(300)]
        self.server.records["example.test.", "MX"] = hosts
        response = await self.ask()
        self.assertEqual(len(response.answer[0]), 300)
        self.assertEqual([way for _, _, way in self.server.asked], ["udp", "tcp"])

    async def test_forged_and_mangled_answers_are_passed_over(self) -> None:
        """D 55: a wrong identifier, a wrong question and noise are not heard; the right answer after them is."""

        def mangle(wire: bytes) -> list[bytes]:
            other = dns.message.make_query("other.test.", "MX", id=int.from_bytes(wire[:2], "big"))
            forged = dns.message.make_response(other).to_wire()
            flipped = bytes([wire[0] ^ 1]) + wire[1:]
            return [flipped, forged, wire[:20], wire[:2] + b"\xff" * 40, b"", wire]

        self.server.mangle = mangle
        response = await self.ask()
        self.assertEqual(len(response.answer), 1)

    async def test_silence(self) -> None:
        """No answer in time is no answer."""
        self.server.silent.add("example.test.")
        with self.assertRaises(NoAnswer):
            await self.ask(seconds=0.05)

    async def test_closed_port(self) -> None:
        """A nameserver that is not there is known at once."""
        await self.server.stop()
        port = self.server.port
        self.server.start(reactor)
        query = dns.message.make_query("example.test.", "MX")
        with self.assertRaises(NoAnswer):
            await ask(reactor, query, ("127.0.0.1", port), 5.0)

    async def test_resolver_over_sockets(self) -> None:
        """The resolver with real sockets, and its failure when nobody answers."""
        resolver = Resolver(reactor, [("127.0.0.1", self.server.port)])
        self.assertEqual(await resolver.mx("example.test"), [(10, "a.example.test")])
        self.server.rcodes["broken.test."] = 2
        with self.assertRaises(TemporaryFailure):
            await resolver.mx("broken.test")

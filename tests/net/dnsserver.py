"""
A small DNS server on loopback: answers by UDP and TCP out of a dictionary of resource records.

    server = DNSServer({("example.test.", "MX"): ["10 mx.example.test."]})
    server.start(reactor); ... Resolver(reactor, [("127.0.0.1", server.port)]) ...; await server.stop()
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.protocols.basic import Int16StringReceiver

Mangle = Callable[[bytes], list[bytes]]


class DNSServer:
    """
    Records by (name, type); a name without any record does not exist. CNAMEs are followed inside the dictionary.

    `asked` lists the questions. `udp_limit` cuts longer answers. `rcodes` gives a name an rcode instead; `silent` names
    get no answer; `mangle` turns each UDP answer's octets into the datagrams that are sent.
    """

    def __init__(self, records: dict[tuple[str, str], list[str]], ttl: int = 300) -> None:
        self.records = records
        self.ttl = ttl
        self.asked: list[tuple[str, str, str]] = []
        self.udp_limit = 1232
        self.rcodes: dict[str, int] = {}
        self.silent: set[str] = set()
        self.mangle: Mangle = lambda wire: [wire]

    def start(self, reactor: Any) -> None:
        """Listen by UDP and TCP on one free port."""
        self._udp = reactor.listenUDP(0, _Datagrams(self), interface="127.0.0.1")
        self.port = self._udp.getHost().port
        factory = Factory()
        factory.buildProtocol = lambda address: _Stream(self)  # type: ignore[method-assign]
        self._tcp = reactor.listenTCP(self.port, factory, interface="127.0.0.1")

    async def stop(self) -> None:
        """Close both."""
        await self._udp.stopListening()
        await self._tcp.stopListening()

    def answer(self, wire: bytes, way: str) -> bytes | None:
        """The answer's octets, None for silence."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, way))
        if name in self.silent:
            return None
        response = dns.message.make_response(query)
        response.set_rcode(self._fill(response, name, kind))
        octets = response.to_wire(max_size=65535)
        if way == "udp" and len(octets) > self.udp_limit:
            response.answer.clear()
            response.flags |= dns.flags.TC
            octets = response.to_wire()
        return octets

    def _fill(self, response: dns.message.Message, name: str, kind: str) -> int:
        if name in self.rcodes:
            return self.rcodes[name]
        for _ in range(20):
            if (name, kind) in self.records or (name, "CNAME") not in self.records:
                break
            target = self.records[name, "CNAME"][0]
            response.answer.append(dns.rrset.from_text(name, self.ttl, "IN", "CNAME", target))
            name = target
        texts = self.records.get((name, kind), [])
        if texts:
            response.answer.append(dns.rrset.from_text_list(name, self.ttl, "IN", kind, texts))
            return dns.rcode.NOERROR
        soa = f"ns.{name} admin.{name} 1 2 3 4 {self.ttl}"
        response.authority.append(dns.rrset.from_text(name, self.ttl, "IN", "SOA", soa))
        exists = any(owner == name for owner, _ in self.records)
        return dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN


class _Datagrams(DatagramProtocol):
    noisy = False

    def __init__(self, server: DNSServer) -> None:
        self._server = server

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        answer = self._server.answer(datagram, "udp")
        if answer is not None:
            for octets in self._server.mangle(answer):
                self.transport.write(octets, addr)


class _Stream(Int16StringReceiver):
    noisy = False

    def __init__(self, server: DNSServer) -> None:
        self._server = server

    def stringReceived(self, string: bytes) -> None:
        answer = self._server.answer(string, "tcp")
        if answer is not None:
            self.sendString(answer)

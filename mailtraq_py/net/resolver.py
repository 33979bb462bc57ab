"""
The resolver: IResolver over the nameservers of this machine.

    mx, addresses, txt, pointers -> _look_up -> cache
                                             -> or the question already under way
                                             -> or exchange.ask, server after server, five seconds in all

Answers are kept for their TTL, "there is no such name" for the zone's negative TTL, and a failure for a few seconds,
so that a dead zone is not asked again for each of its thousand recipients. The cache is bounded by octets; what
was used least lately goes first.

RFC 1035 7, RFC 2308 5, RFC 9520 3.2, RFC 6761 6.3
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename
from dns.rdatatype import RdataType
from twisted.internet.defer import Deferred, DeferredSemaphore
from zope.interface import implementer

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.net import IResolver, NoSuchName

from .exchange import UDP_PAYLOAD_OCTETS, Nameserver, NoAnswer, ask

LOOK_UP_SECONDS = 5.0
ATTEMPT_SECONDS = 2.0
CACHE_OCTETS = 16 * 1024 * 1024
POSITIVE_TTL_MAX = 86400
NEGATIVE_TTL_MAX = 900
FAILURE_TTL = 5
QUESTIONS_AT_ONCE = 256
# More records than this serve nobody; a hostile zone may send thousands.
RECORDS_MAX = 200

_ENTRY_OCTETS = 300  # what a cached answer weighs besides its records

_EXTRACT: Mapping[RdataType, Callable[[Any], Any]] = {
    dns.rdatatype.MX: lambda record: (record.preference, _host(record.exchange)),
    dns.rdatatype.A: lambda record: record.address,
    dns.rdatatype.AAAA: lambda record: record.address,
    dns.rdatatype.TXT: lambda record: b"".join(record.strings),
    dns.rdatatype.PTR: lambda record: _host(record.target),
}


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of a question: records, or no such name, or `failure` with its reason. `expires` as the clock tells."""

    expires: float
    records: tuple[Any, ...] = ()
    exists: bool = True
    failure: str = ""
    octets: int = _ENTRY_OCTETS


_Question = tuple[str, RdataType]


def system_nameservers(path: str = "/etc/resolv.conf") -> list[Nameserver]:
    """What resolv.conf(5) names, at most three; one on loopback when it names none."""
    try:
        lines = Path(path).read_text("ascii", "replace").splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines]
    servers = [(line[1], 53) for line in words if len(line) > 1 and line[0] == "nameserver" and _is_address(line[1])]
    return servers[:3] or [("127.0.0.1", 53)]


@implementer(IResolver)
class Resolver:
    """
    A stub resolver with a cache.

    Args:
        reactor: for sockets and time.
        nameservers: (IP address, port) pairs, asked in this order; None for the machine's own.
        put: puts one question to one nameserver, as `exchange.ask`.
    """

    def __init__(
        self, reactor: Any, nameservers: Sequence[Nameserver] | None = None, put: Callable[..., Any] = ask
    ) -> None:
        self._reactor = reactor
        self._put = put
        self._nameservers = list(system_nameservers() if nameservers is None else nameservers)
        self._cache = _Cache(CACHE_OCTETS)
        self._under_way: dict[_Question, list[Deferred[_Answer]]] = {}
        self._places = DeferredSemaphore(QUESTIONS_AT_ONCE)

    async def mx(self, domain: str) -> list[tuple[int, str]]:
        """MX records by preference; a null MX is `[(0, "")]` (RFC 7505 3)."""
        return await self._look_up(domain, dns.rdatatype.MX)

    async def addresses(self, host: str) -> list[str]:
        """IPv6 addresses, then IPv4 addresses. One family's failure does not hide what the other has."""
        if _is_address(host):
            return [host]
        if f".{host.lower().rstrip('.')}".endswith(".localhost"):
            return ["::1", "127.0.0.1"]  # RFC 6761 6.3: never asked of a nameserver
        # Both questions leave before either answer is waited for.
        six = Deferred.fromCoroutine(self._find(host, dns.rdatatype.AAAA))
        four = Deferred.fromCoroutine(self._find(host, dns.rdatatype.A))
        answers = [await six, await four]
        found = [address for answer in answers for address in answer.records]
        if found:
            return found
        if not all(answer.exists for answer in answers):
            raise NoSuchName(host)
        for answer in answers:
            if answer.failure:
                raise TemporaryFailure(f"{host}: {answer.failure}")
        return []

    async def txt(self, name: str) -> list[bytes]:
        """TXT records, the strings of each joined."""
        return await self._look_up(name, dns.rdatatype.TXT)

    async def pointers(self, address: str) -> list[str]:
        """PTR names of an IP address."""
        try:
            name = dns.reversename.from_address(address).to_text()
        except (dns.exception.SyntaxError, ValueError):
            raise NoSuchName(address) from None
        return await self._look_up(name, dns.rdatatype.PTR)

    async def _look_up(self, name: str, kind: RdataType) -> list[Any]:
        answer = await self._find(name, kind)
        if answer.failure:
            raise TemporaryFailure(f"{name} {kind.name}: {answer.failure}")
        if not answer.exists:
            raise NoSuchName(name)
        return list(answer.records)

    async def _find(self, name: str, kind: RdataType) -> _Answer:
        question = (name.lower().rstrip("."), kind)
        answer = self._cache.get(question, self._reactor.seconds())
        if answer is not None:
            return answer
        waiting: Deferred[_Answer] = Deferred()
        if question in self._under_way:
            self._under_way[question].append(waiting)
        else:
            # Who asks first waits like the others, so that his giving up does not end the question for them.
            self._under_way[question] = [waiting]
            asking = Deferred.fromCoroutine(self._ask(question))
            asking.addBoth(self._tell, question)
        return await waiting

    def _tell(self, answer: Any, question: _Question) -> None:
        for waiting in self._under_way.pop(question):
            waiting.callback(answer)

    async def _ask(self, question: _Question) -> _Answer:
        try:
            name = dns.name.from_text(question[0] + ".", idna_codec=dns.name.IDNA_2008_Practical)
        except (dns.exception.DNSException, UnicodeError):
            return _Answer(0.0, exists=False)
        await self._places.acquire()
        try:
            answer = await self._ask_servers(name, question[1])
        finally:
            self._places.release()
        self._cache.put(question, answer)
        return answer

    async def _ask_servers(self, name: dns.name.Name, kind: RdataType) -> _Answer:
        """Go round the nameservers until one answers; one that answers badly is not asked again."""
        now = self._reactor.seconds
        deadline = now() + LOOK_UP_SECONDS
        servers = list(self._nameservers)
        reason = "no nameserver"
        while servers:
            for server in tuple(servers):
                seconds = min(ATTEMPT_SECONDS, deadline - now())
                if seconds < 0.05:
                    return _Answer(now() + FAILURE_TTL, failure=reason)
                query = dns.message.make_query(name, kind, use_edns=0, payload=UDP_PAYLOAD_OCTETS)
                try:
                    response = await self._put(self._reactor, query, server, seconds)
                    return _read(response, kind, now())
                except NoAnswer as error:
                    reason = str(error)
                    if reason != "time-out":
                        servers.remove(server)
                except dns.exception.DNSException:
                    reason = "malformed answer"
                    servers.remove(server)
        return _Answer(now() + FAILURE_TTL, failure=reason)


def _read(response: dns.message.Message, kind: RdataType, now: float) -> _Answer:
    """
    Turn a response into an answer, along its CNAMEs.

    Raises:
        NoAnswer: SERVFAIL, REFUSED and their like.
        DNSException: a ring or an endless chain of CNAMEs, an answer beside NXDOMAIN.
    """
    code = response.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise NoAnswer(dns.rcode.to_text(code))
    chain = response.resolve_chaining()  # type: ignore[attr-defined]
    if chain.answer is None:
        expires = now + min(chain.minimum_ttl, NEGATIVE_TTL_MAX)
        return _Answer(expires, exists=code == dns.rcode.NOERROR)
    extract = _EXTRACT[kind]
    records = [extract(record) for record in chain.answer]
    if kind is dns.rdatatype.MX:
        records.sort()  # so that the cut takes the least preferred
    records = records[:RECORDS_MAX]
    octets = _ENTRY_OCTETS + sum(_weight(record) for record in records)
    return _Answer(now + min(chain.minimum_ttl, POSITIVE_TTL_MAX), tuple(records), octets=octets)


class _Cache:
    """Answers by question, bounded by octets, the least lately used going first."""

    def __init__(self, octets_max: int) -> None:
        self._octets_max = octets_max
        self._octets = 0
        self._answers: OrderedDict[_Question, _Answer] = OrderedDict()

    def get(self, question: _Question, now: float) -> _Answer | None:
        answer = self._answers.get(question)
        if answer is None:
            return None
        if answer.expires <= now:
            self._drop(question)
            return None
        self._answers.move_to_end(question)
        return answer

    def put(self, question: _Question, answer: _Answer) -> None:
        self._drop(question)
        self._answers[question] = answer
        self._octets += answer.octets
        while self._octets > self._octets_max:
            self._drop(next(iter(self._answers)))

    def _drop(self, question: _Question) -> None:
        answer = self._answers.pop(question, None)
        if answer is not None:
            self._octets -= answer.octets


def _host(name: dns.name.Name) -> str:
    """A host name in lower case without its last dot; "" for the root."""
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True).lower()


def _weight(record: Any) -> int:
    return 60 + (len(record) if isinstance(record, (str, bytes)) else 100)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True

"""
Connections to hosts: opened the way that policy asks for, kept a few seconds for the next message, then ended.

    lend     a kept one to the same address, or a new one: greeting, EHLO, STARTTLS and EHLO again, AUTH
    take_back  after a message; the next `lend` within seconds gets it

A host that does not want to talk (a greeting or EHLO that is no 2xx, no TLS where it must be) has refused all
messages, not one: `HostRefused`, and its reply counts as temporary.

RFC 5321 3.1, 4.5.4.2, RFC 3207 4
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from mailtraq_py.interfaces.net import ITLSContexts
from mailtraq_py.mail.reply import Reply
from mailtraq_py.wire.smtp.client import ClientCore
from mailtraq_py.wire.smtp.clientevents import Authenticated, Extensions, Goodbye, Greeted, StartTLSAnswered
from mailtraq_py.wire.smtp.extensions import STARTTLS

from .dialogue import ConnectionFailed, Dialogue, HandshakeFailed
from .nexthop import Hop
from .settings import OutboundSettings
from .tlspolicy import Way, plan_ways

CONNECT_SECONDS = 30.0
KEEP_SECONDS = 5.0
MESSAGES_MAX = 100
GOODBYE_SECONDS = 5.0

_NO_TLS = Reply(454, "TLS is required here, and the host does not offer it", "4.7.4")
_NO_MECHANISM = Reply(454, "the host offers no mechanism to log in with that we have", "4.7.0")


class HostRefused(Exception):
    """The host takes no mail from us now, whatever the message; `reply` is its word, or ours where not `said`."""

    def __init__(self, reply: Reply, said: bool = True) -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.said = said


@dataclass(slots=True)
class _Kept:
    dialogue: Dialogue
    end: IDelayedCall = field(repr=False)


class _One(Factory):
    """Gives its one protocol to its one connection."""

    noisy = False

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue

    def buildProtocol(self, addr: Any) -> Any:
        return self._dialogue


class Connections:
    """
    Args:
        reactor: for sockets and time.
        settings: see there.
        tls: contexts towards hosts.
        endpoint: where to connect to for a hop; None for its address by TCP.
    """

    def __init__(
        self,
        reactor: Any,
        settings: OutboundSettings,
        tls: ITLSContexts,
        endpoint: Callable[[Hop], IStreamClientEndpoint] | None = None,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._tls = tls
        self._endpoint = endpoint or self._tcp
        self._kept: dict[Hop, list[_Kept]] = {}
        self._partings: set[Deferred[None]] = set()

    async def lend(self, hop: Hop, fresh: bool = False) -> Dialogue:
        """
        A connection that is ready for a message.

        Args:
            hop: to whom.
            fresh: not a kept one.

        Raises:
            HostRefused: it does not want us.
            ConnectionFailed: it is not there, or went away.
        """
        if not fresh:
            dialogue = self._take_kept(hop)
            if dialogue is not None:
                return dialogue
        ways = plan_ways(
            self._settings.tls,
            is_smarthost=hop.is_smarthost,
            has_login=self._has_login(hop),
            address=hop.address,
        )
        for way in ways[:-1]:
            try:
                return await self._open(hop, way)
            except HandshakeFailed:
                continue
        return await self._open(hop, ways[-1])

    def take_back(self, hop: Hop, dialogue: Dialogue) -> None:
        """Keep it for the next message, or end it."""
        if not dialogue.is_usable:
            dialogue.drop()
        elif dialogue.messages >= MESSAGES_MAX:
            self._part(dialogue)
        else:
            kept = self._kept.setdefault(hop, [])
            end = self._reactor.callLater(KEEP_SECONDS, self._let_go, hop, dialogue)
            kept.append(_Kept(dialogue, end))

    def _take_kept(self, hop: Hop) -> Dialogue | None:
        kept = self._kept.pop(hop, [])
        while kept:
            one = kept.pop()
            one.end.cancel()
            if one.dialogue.is_usable:
                if kept:
                    self._kept[hop] = kept
                return one.dialogue
            one.dialogue.drop()
        return None

    async def stop(self) -> None:
        """End all that are kept."""
        for hop in list(self._kept):
            for one in self._kept.pop(hop):
                one.end.cancel()
                self._part(one.dialogue)
        await gatherResults(list(self._partings))

    def _has_login(self, hop: Hop) -> bool:
        return hop.is_smarthost and bool(self._settings.smarthost_login)

    def _tcp(self, hop: Hop) -> IStreamClientEndpoint:
        kind = TCP6ClientEndpoint if ":" in hop.address else TCP4ClientEndpoint
        endpoint: IStreamClientEndpoint = kind(self._reactor, hop.address, hop.port, timeout=CONNECT_SECONDS)
        return endpoint

    async def _open(self, hop: Hop, way: Way) -> Dialogue:
        dialogue = Dialogue(ClientCore(self._settings.hostname), self._reactor)
        endpoint = self._endpoint(hop)
        if hop.implicit_tls:
            endpoint = wrapClientTLS(self._tls.for_client(hop.name, way.verify), endpoint)
        try:
            await endpoint.connect(_One(dialogue))
        except (ConnectError, ConnectTimeout, ConnectingCancelledError) as error:
            raise ConnectionFailed(f"no connection: {type(error).__name__}") from error
        try:
            await self._begin(dialogue, hop, way)
        except BaseException:
            dialogue.drop()
            raise
        return dialogue

    async def _begin(self, dialogue: Dialogue, hop: Hop, way: Way) -> None:
        """From the greeting to where a message can be sent."""
        await dialogue.handshake()
        _expect_success((await dialogue.answer(Greeted))[0].reply)
        await self._say_hello(dialogue)
        if way.starttls and not hop.implicit_tls:
            await self._start_tls(dialogue, hop, way)
        if self._has_login(hop):
            if not dialogue.core.can_authenticate:
                raise HostRefused(_NO_MECHANISM, said=False)
            dialogue.core.authenticate(self._settings.smarthost_login, self._settings.smarthost_password)
            _expect_success((await dialogue.answer(Authenticated))[0].reply)

    async def _start_tls(self, dialogue: Dialogue, hop: Hop, way: Way) -> None:
        if STARTTLS in dialogue.core.extensions:
            dialogue.core.start_tls()
            try:
                answer, _ = await dialogue.answer(StartTLSAnswered)
            except ConnectionFailed as failure:
                # A host that offers TLS and falls over it is no better than one whose handshake fails.
                raise HandshakeFailed(str(failure)) from failure
            if answer.reply.code == 220:
                await dialogue.start_tls(self._tls.for_client(hop.name, way.verify))
                await self._say_hello(dialogue)
                return
        if way.must:
            raise HostRefused(_NO_TLS, said=False)

    async def _say_hello(self, dialogue: Dialogue) -> None:
        dialogue.core.hello()
        _expect_success((await dialogue.answer(Extensions))[0].reply)

    def _let_go(self, hop: Hop, dialogue: Dialogue) -> None:
        kept = [one for one in self._kept.get(hop, []) if one.dialogue is not dialogue]
        if kept:
            self._kept[hop] = kept
        else:
            self._kept.pop(hop, None)
        self._part(dialogue)

    def _part(self, dialogue: Dialogue) -> None:
        """Say QUIT and wait a little for the answer (RFC 5321 4.1.1.10)."""
        if not dialogue.is_usable:
            dialogue.drop()
            return
        parting = Deferred.fromCoroutine(self._say_goodbye(dialogue))
        self._partings.add(parting)
        parting.addBoth(lambda _: self._partings.discard(parting))

    async def _say_goodbye(self, dialogue: Dialogue) -> None:
        late = self._reactor.callLater(GOODBYE_SECONDS, dialogue.drop)
        dialogue.core.quit()
        try:
            await dialogue.answer(Goodbye)
        except ConnectionFailed:
            pass  # gone is gone
        finally:
            if late.active():
                late.cancel()
            dialogue.drop()


def _expect_success(reply: Reply) -> None:
    if not 200 <= reply.code < 300:
        raise HostRefused(reply)

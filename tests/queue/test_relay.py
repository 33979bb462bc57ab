"""mailtraq_py/queue/relay.py, connections.py and dialogue.py: a message to hosts that speak SMTP from a script."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.envelope import Notify
from mailtraq_py.mail.reply import Reply
from mailtraq_py.queue.attempt import Attempt
from mailtraq_py.queue.connections import KEEP_SECONDS, Connections
from mailtraq_py.queue.nexthop import NextHops
from mailtraq_py.queue.relay import DEAD_SECONDS, Relay
from mailtraq_py.queue.settings import OutboundSettings
from mailtraq_py.queue.tlspolicy import TLSUse
from tests.delivery.fakes import FakeContent
from tests.fakes import FakeTLSContexts
from tests.queue.fakes import FakeResolver, Host, Hosts, make_row, turn

MESSAGE = b"Subject: hi\r\n\r\n.dot\r\nbody\r\n"


class RelayTests(SynchronousTestCase):
    """far.example has the hosts a (9.0.0.1) and b (9.0.0.2)."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hosts = Hosts(self.clock)
        self.a = self.hosts.by_address["9.0.0.1"] = Host(self.clock)
        self.b = self.hosts.by_address["9.0.0.2"] = Host(self.clock)
        self.resolver = FakeResolver()
        self.resolver.mxs["far.example"] = [(10, "a.far.example"), (20, "b.far.example")]
        self.resolver.hosts |= {
            "a.far.example": ["9.0.0.1"],
            "b.far.example": ["9.0.0.2"],
            "smart.example": ["10.0.0.1"],
        }
        self.content = FakeContent()
        self.ref = self.content.put(MESSAGE)
        self.configure()

    def configure(self, **settings: Any) -> None:
        """A relay with these settings."""
        given = OutboundSettings("mx.here.example", **settings)
        self.connections = Connections(self.clock, given, FakeTLSContexts(), self.hosts)
        self.relay = Relay(
            given,
            NextHops(given, self.resolver, lambda hosts: None),
            self.connections,
            self.content,
            self.clock.seconds,
        )

    def begin(self, *rows: Any) -> Deferred[list[Attempt]]:
        """Carry rows as far as it goes without time passing."""
        carrying = Deferred.fromCoroutine(self.relay.carry(rows))
        turn(self.clock)
        return carrying

    def carry(self, *rows: Any) -> list[Attempt]:
        """Carry rows to their answers."""
        return self.successResultOf(self.begin(*rows))

    def one(self, **more: Any) -> Attempt:
        """The answer for one row."""
        (attempt,) = self.carry(make_row(1, "x@far.example", self.ref, **more))
        return attempt

    def test_a_message_goes_out(self) -> None:
        """Greeting, EHLO, the envelope, the message dot-stuffed; the reply to its end is the answer."""
        attempt = self.one()
        self.assertEqual((attempt.reply.code, attempt.host, attempt.tls), (250, "a.far.example", ""))
        self.assertEqual(
            self.a.commands,
            [
                "EHLO mx.here.example",
                f"MAIL FROM:<s@here.example> SIZE={len(MESSAGE)}",
                "RCPT TO:<x@far.example>",
                "DATA",
            ],
        )
        self.assertEqual(self.a.messages, [b"Subject: hi\r\n\r\n..dot\r\nbody\r\n"])
        self.assertEqual(self.b.commands, [])

    def test_head_and_large_content(self) -> None:
        """The row's head goes in front; a large message is read and sent in pieces."""
        octets = b"Subject: big\r\n\r\n" + b"line of text\r\n" * 20_000
        self.ref = self.content.put(octets, b"X-Head: 1\r\n")
        self.one()
        self.assertEqual(self.a.messages, [b"X-Head: 1\r\n" + octets])

    def test_recipients_share_a_transaction(self) -> None:
        """Each recipient has its own answer: accepted, refused for good, refused for now."""
        self.a.replies |= {"RCPT TO:<no@": "550 5.1.1 no", "RCPT TO:<later@": "451 4.2.1 later"}
        self.b.replies |= {"RCPT TO:<later@": "451 4.2.1 still later"}
        rows = [make_row(n, f"{name}@far.example", self.ref) for n, name in enumerate(("yes", "no", "later"))]
        attempts = self.carry(*rows)
        self.assertEqual([attempt.row.id for attempt in attempts], [0, 1, 2])
        self.assertEqual([attempt.reply.code for attempt in attempts], [250, 550, 451])
        self.assertEqual(attempts[2].reply.text, "still later")
        self.assertEqual(len(self.a.messages), 1)

    def test_different_senders_get_their_own_transactions(self) -> None:
        """Rows with another reverse-path or head go over the same connection, one after the other."""
        first, second = make_row(1, "x@far.example", self.ref), make_row(2, "y@far.example", self.ref, sender="")
        self.assertEqual([attempt.reply.code for attempt in self.carry(first, second)], [250, 250])
        self.assertEqual(len(self.a.messages), 2)
        self.assertEqual(len(self.a.transports), 1)
        self.assertIn(f"MAIL FROM:<> SIZE={len(MESSAGE)}", self.a.commands)

    def test_too_many_recipients(self) -> None:
        """Those that were one too many (452) go in a further transaction at once (RFC 5321 4.5.3.1.10)."""
        limit = iter([True, False, True])
        usual = self.a.reply

        def reply(line: str, secure: bool) -> str | None:
            if line.startswith("RCPT"):
                return "250 ok" if next(limit) else "452 4.5.3 too many"
            return usual(line, secure)

        self.a.reply = reply  # type: ignore[method-assign]
        rows = [make_row(n, f"u{n}@far.example", self.ref) for n in range(2)]
        self.assertEqual([attempt.reply.code for attempt in self.carry(*rows)], [250, 250])
        self.assertEqual(len(self.a.messages), 2)

    def test_next_host(self) -> None:
        """A host that is not there, greets badly, or refuses for now leaves the message to the next."""
        for name, trouble in (
            ("refuses_connection", True),
            ("replies", {"greeting": "554 no mail here"}),
            ("replies", {"greeting": "421 too busy"}),
            ("replies", {"greeting": "drop"}),
            ("replies", {"EHLO": "451 no"}),
            ("replies", {"MAIL": "451 no"}),
            ("replies", {"DATA": "451 no"}),
            ("replies", {"end": "451 no"}),
            ("replies", {"end": "drop"}),
            ("replies", {"greeting": "nonsense"}),
        ):
            self.setUp()
            setattr(self.a, name, trouble)
            attempt = self.one()
            self.assertEqual((attempt.reply.code, attempt.host), (250, "b.far.example"), trouble)

    def test_permanent_refusal_is_final(self) -> None:
        """A 5xx to the sender, a recipient or the message ends it; no other host is asked."""
        for command in ("MAIL", "RCPT", "DATA", "end"):
            self.setUp()
            self.a.replies[command] = "554 5.7.1 no"
            attempt = self.one()
            self.assertEqual((attempt.reply.code, attempt.host), (554, "a.far.example"), command)
            self.assertEqual(self.b.commands, [])

    def test_no_host(self) -> None:
        """When nobody is there it waits; a host that wants no mail at all is a reason to wait, too."""
        self.a.refuses_connection = True
        self.b.replies["greeting"] = "554 no mail here"
        attempt = self.one()
        self.assertTrue(attempt.reply.is_temporary)
        self.assertIn("no mail here", attempt.reply.text)

    def test_dead_destination(self) -> None:
        """After nobody was there the next messages do not try in vain at once; a moment later they try again."""
        for host in (self.a, self.b):
            host.refuses_connection = True
        self.assertTrue(self.one().reply.is_temporary)
        for host in (self.a, self.b):
            host.refuses_connection = False
        self.assertTrue(self.one().reply.is_temporary)
        self.assertEqual(len(self.hosts.tried), 2)
        self.clock.advance(DEAD_SECONDS)
        self.assertTrue(self.one().reply.is_positive)

    def test_domain_takes_no_mail(self) -> None:
        """What the name service says for good is the answer for all rows."""
        self.resolver.mxs["far.example"] = [(0, "")]
        self.assertEqual(self.one().reply.code, 556)

    def test_silence(self) -> None:
        """A host that stops talking is given up after RFC 5321 4.5.3.2's time, and the next one is asked."""
        self.a.replies["RCPT"] = None
        carrying = self.begin(make_row(1, "x@far.example", self.ref))
        self.assertNoResult(carrying)
        self.clock.advance(300)
        turn(self.clock)
        # Too long for another host in this attempt.
        self.assertTrue(self.successResultOf(carrying)[0].reply.is_temporary)

    def test_connections_are_used_again(self) -> None:
        """The next message within seconds goes over the same connection; then QUIT."""
        self.one()
        self.one()
        self.assertEqual(len(self.a.transports), 1)
        self.clock.advance(KEEP_SECONDS)
        turn(self.clock)
        self.assertEqual(self.a.commands[-1], "QUIT")
        self.assertTrue(self.a.transports[0].disconnected)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_kept_connection_that_is_gone(self) -> None:
        """A kept connection that the host has ended, or ends upon MAIL, is replaced; the host is not blamed."""
        self.one()
        self.a.transports[0].end(ConnectionDone())
        turn(self.clock)
        self.assertEqual(self.one().host, "a.far.example")
        usual = self.a.reply
        ending = iter(["drop"])

        def reply(line: str, secure: bool) -> str | None:
            return next(ending, usual(line, secure)) if line.startswith("MAIL") else usual(line, secure)

        self.a.reply = reply  # type: ignore[method-assign]
        attempt = self.one()
        self.assertEqual((attempt.reply.code, attempt.host), (250, "a.far.example"))
        self.assertEqual(len(self.a.transports), 3)

    def test_stop(self) -> None:
        """Kept connections end with QUIT when the relay stops."""
        self.one()
        stopping = Deferred.fromCoroutine(self.relay.stop())
        turn(self.clock)
        self.successResultOf(stopping)
        self.assertEqual(self.a.commands[-1], "QUIT")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_the_host_said(self) -> None:
        """A host's own words are kept apart from what we make of them; our refusals are not put into its mouth."""
        self.a.replies["RCPT"] = "550 5.1.1 no such user"
        attempt = self.one()
        self.assertEqual((attempt.reply, attempt.said), (attempt.said, Reply(550, "no such user", "5.1.1")))
        self.setUp()
        for host in (self.a, self.b):
            host.replies["greeting"] = "554 5.3.2 no mail here"
        attempt = self.one()
        self.assertEqual(attempt.reply.enhanced, "4.3.2")
        self.assertEqual(attempt.said, Reply(554, "no mail here", "5.3.2"))
        self.setUp()
        self.a.extensions[:] = ["SIZE 10"]
        attempt = self.one()
        self.assertEqual((attempt.reply.enhanced, attempt.host, attempt.said), ("5.3.4", "a.far.example", None))
        self.assertNotIn("RCPT TO:<x@far.example>", self.a.commands)
        for host in (self.a, self.b):
            host.refuses_connection = True
        self.configure()
        self.assertIs(self.one().said, None)

    def test_content_cannot_be_read(self) -> None:
        """A store in trouble: before MAIL nothing is said; in the middle the connection is cut, never the message."""
        self.content.failing_from = 0
        self.assertEqual(self.one().reply.enhanced, "4.3.0")
        self.assertEqual(self.a.messages + self.b.messages, [])
        self.setUp()
        self.ref = self.content.put(b"x" * 200_000)
        self.content.failing_from = 65536
        self.assertTrue(self.one().reply.is_temporary)
        self.assertEqual(self.a.messages + self.b.messages, [])
        self.assertTrue(self.a.transports[0].disconnected)

    def test_early_refusal(self) -> None:
        """A host that refuses in the middle of the message is heard, and not sent the rest."""
        self.ref = self.content.put(b"x" * 1_000_000)
        usual = self.a.reply

        def reply(line: str, secure: bool) -> str | None:
            if line == "DATA":
                self.clock.callLater(0, self.a.transports[0].say, b"552 5.3.4 too much\r\n")
            return usual(line, secure)

        self.a.reply = reply  # type: ignore[method-assign]
        original = self.content.read

        async def slow_read(*arguments: Any) -> bytes:
            waiting: Deferred[None] = Deferred()
            self.clock.callLater(0, waiting.callback, None)
            await waiting
            return await original(*arguments)

        self.content.read = slow_read  # type: ignore[method-assign]
        attempt = self.one()
        self.assertEqual((attempt.reply.code, attempt.reply.enhanced), (552, "5.3.4"))

    def test_back_pressure(self) -> None:
        """While the transport is full the message waits; a host that never reads is given up."""
        self.ref = self.content.put(b"x" * 200_000)
        usual = self.a.reply

        def reply(line: str, secure: bool) -> str | None:
            if line == "DATA":
                self.a.transports[0].producer.pauseProducing()
            return usual(line, secure)

        self.a.reply = reply  # type: ignore[method-assign]
        carrying = self.begin(make_row(1, "x@far.example", self.ref))
        self.assertNoResult(carrying)
        self.a.transports[0].producer.resumeProducing()
        turn(self.clock)
        self.assertEqual(self.successResultOf(carrying)[0].host, "a.far.example")

    def test_dsn(self) -> None:
        """A host with DSN takes the parameters and the duty over; without it the answer says so."""
        self.assertFalse(self.one(notify=Notify(success=True)).dsn)
        self.clock.advance(KEEP_SECONDS)
        turn(self.clock)
        self.a.extensions.append("DSN")
        self.assertTrue(self.one(notify=Notify(success=True), envid="e 1").dsn)
        self.assertIn("RCPT TO:<x@far.example> NOTIFY=SUCCESS,FAILURE,DELAY", self.a.commands)


class TLSTests(RelayTests):
    """The same hosts offering STARTTLS; every dialogue above works under it, too."""

    def setUp(self) -> None:
        super().setUp()
        for host in (self.a, self.b):
            host.extensions.insert(0, "STARTTLS")

    def test_a_message_goes_out(self) -> None:
        """STARTTLS, EHLO again, and the message under TLS."""
        attempt = self.one()
        self.assertEqual((attempt.reply.code, attempt.tls), (250, "TLSv1.3"))
        self.assertEqual(self.a.commands[:3], ["EHLO mx.here.example", "STARTTLS", "EHLO mx.here.example"])
        self.assertEqual(self.a.transports[0].contexts, ["client context for a.far.example"])

    def test_handshake_fails(self) -> None:
        """Opportunistic TLS tries the same host in clear."""
        self.a.handshake_fails = True
        attempt = self.one()
        self.assertEqual((attempt.reply.code, attempt.host, attempt.tls), (250, "a.far.example", ""))
        self.assertEqual(len(self.a.transports), 2)

    def test_handshake_hangs(self) -> None:
        """A handshake that does not end is a failed one."""
        usual = self.a.connect

        def connect(factory: Any) -> Any:
            connecting = usual(factory)
            self.a.transports[-1]._shake = lambda: None  # type: ignore[method-assign]
            return connecting

        self.a.connect = connect  # type: ignore[method-assign]
        carrying = self.begin(make_row(1, "x@far.example", self.ref))
        self.assertNoResult(carrying)
        self.clock.advance(60)
        turn(self.clock)
        (attempt,) = self.successResultOf(carrying)
        self.assertEqual((attempt.reply.code, attempt.tls), (250, ""))

    def test_starttls_refused(self) -> None:
        """454 to STARTTLS: the message goes in clear over the same connection."""
        self.a.replies["STARTTLS"] = "454 4.7.0 not now"
        attempt = self.one()
        self.assertEqual((attempt.reply.code, attempt.host, attempt.tls), (250, "a.far.example", ""))
        self.assertEqual(len(self.a.transports), 1)

    def test_falls_over_starttls(self) -> None:
        """A host that ends the connection upon STARTTLS gets the message in clear."""
        self.a.replies["STARTTLS"] = "drop"
        attempt = self.one()
        self.assertEqual((attempt.reply.code, attempt.host, attempt.tls), (250, "a.far.example", ""))

    def test_required(self) -> None:
        """Where TLS is required nothing goes in clear: not without the offer, not after a failed handshake."""
        for trouble in ("no offer", "handshake"):
            self.setUp()
            self.configure(tls=TLSUse.REQUIRED)
            for host in (self.a, self.b):
                if trouble == "no offer":
                    host.extensions.remove("STARTTLS")
                host.handshake_fails = True
            self.assertTrue(self.one().reply.is_temporary)
            self.assertEqual(self.a.messages + self.b.messages, [])

    def test_forged_replies_before_the_handshake(self) -> None:
        """S 11: what a host, or somebody between us, says in clear behind its 220 is never taken for an answer."""
        for host in (self.a, self.b):
            host.replies["STARTTLS"] = "\r\n".join(["220 go", *["250 forged"] * 3, "354 forged", "250 forged"])
            host.replies["MAIL"] = "451 4.3.0 the truth"
        attempt = self.one()
        self.assertEqual(attempt.reply.text, "the truth")
        self.assertEqual(attempt.tls, "TLSv1.3")
        self.assertEqual(self.a.messages + self.b.messages, [])

    def test_password_under_tls(self) -> None:
        """A smarthost's password is sent under TLS, and never in clear."""
        smart = self.hosts.by_address["10.0.0.1"] = Host(self.clock, ("STARTTLS", "AUTH PLAIN LOGIN"))
        login = {"smarthost": "smart.example:587", "smarthost_login": "me", "smarthost_password": b"secret"}
        smart.replies["AUTH"] = "235 2.7.0 welcome"
        self.configure(**login)
        self.assertEqual(self.one().reply.code, 250)
        self.assertLess(smart.commands.index("STARTTLS"), smart.commands.index("AUTH PLAIN AG1lAHNlY3JldA=="))
        smart.extensions.remove("STARTTLS")
        smart.commands.clear()
        self.configure(**login)
        attempt = self.one()
        self.assertTrue(attempt.reply.is_temporary)
        self.assertFalse(any(command.startswith("AUTH") for command in smart.commands))

    def test_wrong_password(self) -> None:
        """A smarthost that refuses our login is the administrator's matter: mail waits."""
        smart = self.hosts.by_address["10.0.0.1"] = Host(self.clock, ("STARTTLS", "AUTH PLAIN"))
        smart.replies["AUTH"] = "535 5.7.8 no"
        self.configure(smarthost="smart.example:587", smarthost_login="me", smarthost_password=b"wrong")
        self.assertTrue(self.one().reply.is_temporary)

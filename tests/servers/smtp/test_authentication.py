"""
AUTH, played.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.policy import Stage
from tests.fakes import FakeDirectory, refuse
from tests.play import Play

from .service import Service


def b64(octets: bytes) -> str:
    """As it goes over the wire."""
    return b64encode(octets).decode()


def plain(login: str, password: str, identity: str = "") -> str:
    """A PLAIN response."""
    return b64(f"{identity}\0{login}\0{password}".encode())


class Logins(SynchronousTestCase):
    """The mechanisms, on loopback unless said otherwise."""

    def greeted(self, service: Service | None = None) -> Play:
        """A connection from loopback, where AUTH in clear is allowed."""
        return (service or Service()).greeted("127.0.0.1")

    def test_plain(self) -> None:
        """With and without initial response; the account is in later facts and with the message."""
        service = Service()
        play = self.greeted(service) << f"AUTH PLAIN {plain('u@here.example', 'secret')}" >> "235 2.7.0"
        play << "MAIL FROM:<u@here.example>" >> 250
        account = service.policy.facts(Stage.SENDER).account
        assert account is not None
        self.assertEqual(account.address, "u@here.example")
        play << "AUTH PLAIN" >> 503 << "RSET" >> 250 << "AUTH PLAIN" >> 503
        play = self.greeted() << "auth plain" >> "334" << plain("u", "secret") >> 235
        play << "EHLO c.example"
        self.assertNotIn("AUTH", play.take())

    def test_login(self) -> None:
        """Two prompts; or the name as initial response."""
        play = self.greeted() << "AUTH LOGIN" >> f"334 {b64(b'Username:')}" << b64(b"u@here.example")
        play >> f"334 {b64(b'Password:')}" << b64(b"secret") >> 235
        self.greeted() << f"AUTH LOGIN {b64(b'u')}" >> 334 << b64(b"secret") >> 235

    def test_cram_md5(self) -> None:
        """Offered and taken only while some account has opted in; every challenge is new."""
        service = Service()
        self.greeted(service) << "AUTH CRAM-MD5" >> 504
        service.directory = FakeDirectory({"u@here.example": b"secret"}, frozenset({"u@here.example"}))
        challenges = set()
        for password, code in ((b"secret", 235), (b"wrong", 535)):
            play = service.play("203.0.113.9") >> 220 << "EHLO c.example"
            self.assertIn("AUTH CRAM-MD5", play.take())
            play << "AUTH CRAM-MD5"
            challenge = b64decode(play.take()[4:])
            challenges.add(challenge)
            digest = hmac.new(password, challenge, "md5").hexdigest()
            play << b64(f"u@here.example {digest}".encode())
            play.clock.advance(1)
            play >> code
        self.assertEqual(len(challenges), 2)

    def test_not_in_clear(self) -> None:
        """S 10: from elsewhere it is not offered; the password is neither checked nor logged."""
        service = Service()
        play = service.play() >> 220 << "EHLO c.example"
        self.assertNotIn("AUTH", play.take())
        play << f"AUTH PLAIN {plain('u@here.example', 'secret')}" >> "538 5.7.11"
        play << "AUTH LOGIN" >> 538
        self.assertEqual(service.directory.checked, [])
        play << "STARTTLS" >> 220
        play.handshake()
        play << "EHLO c.example"
        self.assertIn("250-AUTH PLAIN LOGIN", play.take())
        play << f"AUTH PLAIN {plain('u@here.example', 'secret')}" >> 235

    def test_where_plaintext_works(self) -> None:
        """Without TLS it is offered where policy says so of the client."""
        service = Service(plaintext_from="192.0.2.7".__eq__)
        for client, allowed in (("192.0.2.7", True), ("203.0.113.9", False)):
            play = service.play(client) >> 220 << "EHLO c.example"
            self.assertIs("AUTH PLAIN" in play.take(), allowed, client)

    def test_failures_are_alike_late_and_counted(self) -> None:
        """A 30: the same words for a wrong password and for nobody; the third ends the session."""
        play = self.greeted()
        replies = []
        for number, (login, password) in enumerate((("u@here.example", "wrong"), ("nobody@here.example", "secret"))):
            play << f"AUTH PLAIN {plain(login, password)}"
            self.assertEqual(play.rest(), b"")
            play.clock.advance(2.0**number)
            replies.append(play.take())
        self.assertEqual(replies, ["535 5.7.8 authentication credentials invalid"] * 2)
        play << f"AUTH PLAIN {plain('u', 'wrong')}"
        play.clock.advance(4)
        play >> "421 4.7.0"
        self.assertTrue(play.closed)

    def test_malformed(self) -> None:
        """A 26: 501 each, and the session goes on."""
        play = self.greeted(Service(max_errors=30))
        for line in (
            *("AUTH", "AUTH PLAIN =", "AUTH PLAIN AAAA", "AUTH PLAIN !", f"AUTH PLAIN {b64(bytes(2) + b'x')}"),
            *(f"AUTH PLAIN {b64(b'a' + bytes(3) + b'b')}", f"AUTH PLAIN {b64(b'a')}", f"AUTH PLAIN {'A' * 11000}"),
            *(f"AUTH PLAIN {plain('u', '')}", f"AUTH PLAIN {plain('u' * 1025, 'x')}"),
        ):
            play << line >> 501
        play << "AUTH SCRAM-SHA-256" >> 504 << "AUTH LOGIN" >> 334 << "*" >> 501 << b64(b"secret") >> 500
        play << f"AUTH PLAIN {plain('u', 'secret')}" >> 235

    def test_authorisation_identity(self) -> None:
        """A 27: oneself, or refused."""
        self.greeted() << f"AUTH PLAIN {plain('u', 'secret', 'u@here.example')}" >> 235
        play = self.greeted() << f"AUTH PLAIN {plain('u', 'secret', 'v@here.example')}"
        play.clock.advance(1)
        play >> 535

    def test_policy_refuses(self) -> None:
        """The peer hears what it hears of a wrong password."""
        service = Service()
        service.policy.says[Stage.LOGIN] = refuse("554 5.7.1 banned")
        self.greeted(service) << f"AUTH PLAIN {plain('u', 'secret')}" >> "535 5.7.8"
        self.assertEqual(service.directory.checked, [])

    def test_the_store_fails(self) -> None:
        """454: try again; it does not count."""
        service = Service()
        play = self.greeted(service)
        service.directory.failure = TemporaryFailure("gone")
        for _ in range(5):
            play << f"AUTH PLAIN {plain('u', 'secret')}" >> "454 4.7.0"

    def test_tls_forgets_a_login(self) -> None:
        """RFC 3207 4.2: a login in clear does not last into TLS."""
        service = Service()
        play = self.greeted(service) << f"AUTH PLAIN {plain('u', 'secret')}" >> 235 << "STARTTLS" >> 220
        play.handshake()
        play << "EHLO c.example" >> 250 << "MAIL FROM:<a@b.example>" >> 250
        self.assertIsNone(service.policy.facts(Stage.SENDER).account)

    def test_no_secret_in_the_log(self) -> None:
        """Neither passwords nor exchanges, right or wrong."""
        logged: list[str] = []
        observer = lambda event: logged.append(repr(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        response = plain("u@here.example", "hunter2")
        play = self.greeted() << f"AUTH PLAIN {response}"
        play.clock.advance(1)
        play >> 535 << "AUTH LOGIN" >> 334 << b64(b"u") >> 334 << b64(b"secret") >> 235
        text = "\n".join(logged)
        self.assertIn("login-failed", text)
        for secret in ("hunter2", response, "secret", b64(b"secret")):
            self.assertNotIn(secret, text)

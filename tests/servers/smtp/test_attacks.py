"""
Attack cases of strangers at the SMTP port, through the session. (S 1-3, 5 and 14-18 are the core's:
tests/wire/smtp/test_server.py.)
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.policy import Stage

from .service import Service

GROUP = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<u@here.example>\r\nDATA\r\n"


class Attacks(SynchronousTestCase):
    """What must happen instead."""

    def test_smuggling(self) -> None:
        """S 1-3: the message is refused, nothing is kept, no second one begins."""
        for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r\r\n", b"\r\n\x00.\r\n"):
            service = Service()
            play = service.greeted() << GROUP >> [250, 250, 354]
            play << b"x" + end + GROUP + b"y\r\n.\r\n" >> "550 5.6.0" << "NOOP" >> 250
            self.assertEqual(play.rest(), b"")
            self.assertEqual((len(service.accept.begun), service.accept.accepted), (1, []))

    def test_starttls_injection(self) -> None:
        """S 7: nothing behind STARTTLS runs; after the handshake there is no unasked reply."""
        service = Service()
        play = service.greeted() << b"STARTTLS\r\nNOOP\r\nMAIL FROM:<a@b.example>\r\n" >> "220 2.0.0"
        self.assertEqual(play.rest(), b"")
        self.assertEqual(play.transport.tls_context, "server context")
        play.handshake()
        self.assertEqual(play.rest(), b"")
        play << "MAIL FROM:<a@b.example>" >> 503 << "EHLO c.example" >> 250
        self.assertIsNotNone(service.policy.facts(Stage.HELLO).tls)

    def test_starttls_again_and_where_there_is_none(self) -> None:
        """S 10: 503 inside TLS, where it is not offered; 454 without a certificate; 502 where it is off."""
        service = Service()
        play = service.greeted() << "STARTTLS" >> 220
        play.handshake()
        play << "EHLO c.example"
        self.assertNotIn("STARTTLS", play.take())
        play << "STARTTLS" >> 503
        service.tls.has_certificate = False
        play = service.play() >> 220 << "EHLO c.example"
        self.assertNotIn("STARTTLS", play.take())
        play << "STARTTLS" >> 454
        Service(tls="none").greeted() << "STARTTLS" >> 502

    def test_implicit_tls(self) -> None:
        """The greeting waits for the handshake; STARTTLS is not offered; AUTH is."""
        play = Service(tls="implicit").play(implicit_tls=True)
        self.assertEqual(play.rest(), b"")
        play.handshake()
        play >> 220 << "EHLO c.example"
        reply = play.take()
        self.assertNotIn("STARTTLS", reply)
        self.assertIn("250-AUTH PLAIN LOGIN\n", reply)

    def test_early_talker(self) -> None:
        """S 13: commands before the greeting: one 554, and the end."""
        service = Service()
        service.policy.hold(Stage.CONNECT)
        play = service.play()
        play << "EHLO c.example"
        service.policy.release(Stage.CONNECT)
        play.turn()
        play >> "554 5.5.0"
        self.assertTrue(play.closed)
        self.assertEqual(play.rest(), b"")

    def test_early_talker_during_the_greeting_delay(self) -> None:
        """S 13: the same within the delay."""
        play = Service(greeting_delay_seconds=0.5).play()
        self.assertEqual(play.rest(), b"")
        play << "EHLO c.example"
        play.clock.advance(0.5)
        play.turn()
        play >> 554

    def test_everything_in_one_packet(self) -> None:
        """S 13: without PIPELINING agreed nothing of it is kept."""
        service = Service()
        for hello in (b"", b"HELO c.example\r\n", b"EHLO c.example\r\n"):
            play = service.play() >> 220 << hello + GROUP + b"Subject: x\r\n\r\nx\r\n.\r\nQUIT\r\n"
            self.assertTrue(play.closed)
            self.assertNotIn(b"354", play.rest())
        self.assertEqual(service.accept.begun, [])

    def test_open_relay_forms(self) -> None:
        """S 19: what does not lead here is not permitted, however it is written."""
        service = Service()
        play = service.greeted() << "MAIL FROM:<a@b.example>" >> 250
        for path in (
            *("x@elsewhere.example", "X@ELSEWHERE.EXAMPLE", "@here.example:x@elsewhere.example", "x@[127.0.0.1]"),
            *("x@elsewhere.example.", "x@xn--bcher-kva.example", "u@here.example.elsewhere.example"),
        ):
            play << f"RCPT TO:<{path}>" >> "550 5.7.1"
        for path in ("x%elsewhere.example@here.example", '"x@elsewhere.example"@here.example', "e!x@here.example"):
            play << f"RCPT TO:<{path}>" >> "550 5.1.1"
        for path in ("u@here.example.", "U@HERE.example", "@a.example,@b.example:u@here.example"):
            play << f"RCPT TO:<{path}>" >> 250

    def test_noop_flood(self) -> None:
        """S 15: in turns; the output does not gather."""
        play = Service().greeted()
        play.driver.dataReceived(b"NOOP\r\n" * 10_000)
        answered = 0
        for _ in range(1000):
            play.turn()
            answered += play.rest().count(b"250")
        self.assertEqual(answered, 10_000)

    def test_verify_tells_nothing(self) -> None:
        """S 22: the same for the one who is there and the one who is not."""
        play = Service().greeted()
        play << "VRFY u@here.example"
        there = play.take()
        play << "VRFY nobody@here.example"
        self.assertEqual(play.take(), there)

"""
SASL mechanisms as steps.
"""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.wire import sasl
from mailtraq_py.wire.sasl import Challenge, CramResponse, Malformed, PasswordCredentials


def start(name: str, initial: bytes | None = None) -> tuple[sasl.Mechanism, sasl.Step]:
    """An exchange and its first step."""
    mechanism = sasl.begin(name, lambda: b"<1896.697170952@postoffice.example>")
    assert mechanism is not None
    return mechanism, mechanism.start(initial)


class Mechanisms(SynchronousTestCase):
    """PLAIN, LOGIN, CRAM-MD5."""

    def test_plain(self) -> None:
        """At once, or after an empty challenge; with an identity to act as."""
        self.assertEqual(start("PLAIN", b"\0u\0p")[1], PasswordCredentials("u", b"p"))
        self.assertEqual(start("plain", b"v\0u\0p")[1], PasswordCredentials("u", b"p", "v"))
        mechanism, step = start("PLAIN")
        self.assertEqual(step, Challenge(b""))
        step = mechanism.respond("\0jürgen\0pässword".encode())
        self.assertEqual(step, PasswordCredentials("jürgen", "pässword".encode()))

    def test_malformed_plain(self) -> None:
        """A 26: other than two NULs, empty name or password, not UTF-8, too long."""
        for response in (
            *(b"", b"u", b"\0u", b"\0u\0p\0", b"\0\0p", b"\0u\0", b"\0\xff\0p", b"\xff\0u\0p"),
            *(b"\0" + b"u" * 1025 + b"\0p", b"\0u\0" + b"p" * 1025),
        ):
            self.assertIsInstance(start("PLAIN", response)[1], Malformed, response[:10])

    def test_login(self) -> None:
        """Two prompts; an initial response is the name."""
        mechanism, step = start("LOGIN")
        self.assertEqual(step, Challenge(b"Username:"))
        self.assertEqual(mechanism.respond(b"u"), Challenge(b"Password:"))
        self.assertEqual(mechanism.respond(b"p"), PasswordCredentials("u", b"p"))
        mechanism, step = start("LOGIN", b"u")
        self.assertEqual(step, Challenge(b"Password:"))
        self.assertIsInstance(mechanism.respond(b""), Malformed)

    def test_cram_md5(self) -> None:
        """The challenge, and RFC 2195 2's answer; the digest is 32 digits; the server speaks first."""
        mechanism, step = start("CRAM-MD5")
        challenge = b"<1896.697170952@postoffice.example>"
        self.assertEqual(step, Challenge(challenge))
        digest = b"b913a602c7eda7a495b4e6e7334d3890"
        self.assertEqual(mechanism.respond(b"tim " + digest), CramResponse("tim", challenge, digest))
        self.assertEqual(mechanism.respond(b"tim o " + digest), CramResponse("tim o", challenge, digest))
        for response in (b"", b"tim", b" " + digest, b"tim " + digest[1:], b"\xff " + digest):
            self.assertIsInstance(mechanism.respond(response), Malformed, response)
        self.assertIsInstance(start("CRAM-MD5", b"tim " + digest)[1], Malformed)

    def test_unknown(self) -> None:
        """None."""
        self.assertIsNone(sasl.begin("GSSAPI", bytes))

    def test_base64(self) -> None:
        """A 26: canonical, or nothing."""
        self.assertEqual(sasl.decode_response(b""), b"")
        self.assertEqual(sasl.decode_response(b64encode(b"\0u\0p")), b"\0u\0p")
        for octets in (b"YQ", b"YQ=", b"Y Q==", b"YQ==YQ==", b"=", b"Y===", b"*", b"YQ==\r", b"\xff==", b"A" * 12292):
            self.assertIsNone(sasl.decode_response(octets), octets[:10])

    def test_nothing_in_a_repr(self) -> None:
        """Neither passwords nor digests."""
        mechanism, _ = start("CRAM-MD5")
        for step in (start("PLAIN", b"\0u\0secret")[1], mechanism.respond(b"tim " + b"5ec" * 10 + b"re")):
            self.assertNotIn("secret", repr(step))
            self.assertNotIn("5ec5ec", repr(step))

    @given(st.binary(max_size=40), st.sampled_from(["PLAIN", "LOGIN", "CRAM-MD5"]))
    @settings(max_examples=300, deadline=None)
    def test_no_exception_ever(self, response: bytes, name: str) -> None:
        """Whatever the client sends is a step."""
        mechanism, _ = start(name)
        step = mechanism.respond(response)
        self.assertIsInstance(step, (Challenge, PasswordCredentials, CramResponse, Malformed))
        sasl.decode_response(response)

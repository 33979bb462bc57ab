"""Tests of trace fields."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.header import fields
from mailtraq_py.mail.trace import (
    count_received,
    delivered_to_field,
    received_field,
    return_path_field,
    transmission_type,
    was_delivered_to,
)


@dataclass(frozen=True)
class TLS:
    """A session's TLS."""

    version: str = "TLSv1.3"
    cipher: str = "TLS_AES_256_GCM_SHA384"
    bits: int = 256


def received(helo: str = "client.example", client: str = "192.0.2.1", recipient: str | None = None) -> bytes:
    """A Received field with one thing changed."""
    return received_field(
        helo=helo, client=client, by="mx.example.org", protocol="ESMTPS", id="01HZ", tls=TLS(), recipient=recipient,
        seconds=0,
    )  # fmt: skip


class ReceivedTests(SynchronousTestCase):
    """The Received field."""

    def test_whole(self) -> None:
        """All clauses in their order (RFC 5321 4.4), folded."""
        self.assertEqual(
            b"Received: from client.example ([192.0.2.1]) by mx.example.org with ESMTPS\r\n"
            b"\t(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256) id 01HZ\r\n"
            b"\tfor <user@example.org>; Thu, 1 Jan 1970 00:00:00 +0000\r\n",
            received(recipient="user@example.org"),
        )

    def test_plain(self) -> None:
        """Without TLS and with many recipients those clauses are not there."""
        self.assertEqual(
            b"Received: from [192.0.2.9] ([IPv6:2001:db8::1]) by mx.example.org with ESMTP\r\n"
            b"\tid 01HZ; Thu, 1 Jan 1970 00:00:00 +0000\r\n",
            received_field(
                helo="[192.0.2.9]", client="2001:db8::1", by="mx.example.org", protocol="ESMTP", id="01HZ", tls=None,
                recipient=None, seconds=0,
            ),
        )  # fmt: skip

    def test_hostile_helo(self) -> None:
        """Nothing a client calls itself ends a line, a comment or a clause."""
        octets = received("x\r\nBcc: y (by evil) ; \u2028 \x00")
        self.assertEqual(1, len(fields(octets)))
        self.assertIn(b"from x??Bcc:?y??by?evil??????? (", octets)
        self.assertIn(b"from unknown ([", received(""))
        self.assertLess(max(map(len, received("a" * 100_000).split(b"\r\n"))), 998)

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=40), st.text(max_size=40))
    def test_one_field(self, helo: str, recipient: str) -> None:
        """Whatever came in, it is one field with lines that begin right."""
        octets = received(helo=helo, recipient=recipient)
        self.assertEqual([b"Received"], [name for name, _ in fields(octets)])
        self.assertTrue(octets.endswith(b" +0000\r\n"))
        lines = octets[:-2].split(b"\r\n")
        self.assertTrue(all(line.startswith(b"\t") for line in lines[1:]))
        self.assertFalse(any(set(line) & set(b"\r\n\0") for line in lines))

    def test_lines(self) -> None:
        """Usual fields have no line above 78 columns."""
        for line in received(recipient="somebody.with.a.long.name@department.example.org").split(b"\r\n"):
            self.assertLessEqual(len(line.expandtabs(8)), 78)

    def test_transmission_types(self) -> None:
        """The keywords of RFC 3848 and RFC 6531."""
        self.assertEqual("SMTP", transmission_type(extended=False))
        self.assertEqual("ESMTP", transmission_type(extended=True))
        self.assertEqual("ESMTPS", transmission_type(extended=True, tls=True))
        self.assertEqual("ESMTPA", transmission_type(extended=True, authenticated=True))
        self.assertEqual("ESMTPSA", transmission_type(extended=True, tls=True, authenticated=True))
        self.assertEqual("LMTPS", transmission_type(extended=True, tls=True, lmtp=True))
        self.assertEqual("UTF8SMTPSA", transmission_type(extended=True, tls=True, authenticated=True, smtputf8=True))
        self.assertEqual("UTF8LMTP", transmission_type(extended=True, lmtp=True, smtputf8=True))


class OtherTraceTests(SynchronousTestCase):
    """Return-Path, Delivered-To, hops."""

    def test_return_path(self) -> None:
        """The null path is shown as such; no line end comes through."""
        self.assertEqual(b"Return-Path: <>\r\n", return_path_field(""))
        self.assertEqual("Return-Path: <jürgen@example.org>\r\n".encode(), return_path_field("jürgen@example.org"))
        self.assertEqual(b"Return-Path: <a??b>\r\n", return_path_field("a\r\nb"))

    def test_count_received(self) -> None:
        """Fields are counted, folds and bodies are not."""
        header = b"Received: x\r\n received: y\r\nRECEIVED : z\r\nX-Received: no\r\n\r\nReceived: body\r\n"
        self.assertEqual(2, count_received(header))
        self.assertEqual(1, count_received(b"Received: x\n\nReceived: body"))
        self.assertEqual(0, count_received(b"\r\nReceived: body"))

    def test_delivered_to(self) -> None:
        """An address is found again whatever its case, in the header only."""
        header = b"A: b\r\n" + delivered_to_field("User@example.org") + b"\r\nDelivered-To: other@example.org\r\n"
        self.assertTrue(was_delivered_to(header, "user@EXAMPLE.org"))
        self.assertFalse(was_delivered_to(header, "other@example.org"))
        self.assertFalse(was_delivered_to(header, "ser@example.org"))

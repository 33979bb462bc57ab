"""Examples of ENVELOPE, BODY and part numbers out of RFC 3501 and RFC 9051."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.wire.imap.sections import Section, locate
from mailtraq_py.wire.imap.structure import describe

HEADER = b"""Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r
From: Terry Gray <gray@cac.washington.edu>\r
Subject: IMAP4rev1 WG mtg summary and minutes\r
To: imap@cac.washington.edu\r
cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r
Message-Id: <B27397-0100000@cac.washington.edu>\r
MIME-Version: 1.0\r
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r
\r
"""


class SampleConnectionTests(SynchronousTestCase):
    """RFC 3501 8."""

    def test_full(self) -> None:
        """The answer to `FETCH 12 FULL`."""
        # 92 lines in 3028 octets.
        facts = describe([HEADER + b"x" * 2844 + b"\r\n" * 92])
        self.assertEqual(342, facts.header_octets)
        self.assertEqual(
            b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes" '
            b'(("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) '
            b'(("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) '
            b'((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL '
            b'"<B27397-0100000@cac.washington.edu>")',
            facts.envelope,
        )
        self.assertEqual(
            b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3028 92)', facts.body.upper()
        )


# The message of RFC 9051 6.4.5.1 with each part's number in its text.
COMPLEX = b"""Subject: HEADER\r
Content-Type: multipart/mixed; boundary=a\r
\r
--a\r
Content-Type: text/plain\r
\r
1\r
--a\r
Content-Type: application/octet-stream\r
\r
2\r
--a\r
Content-Type: message/rfc822\r
\r
Subject: 3.HEADER\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
Content-Type: text/plain\r
\r
3.1\r
--b\r
Content-Type: application/octet-stream\r
\r
3.2\r
--b--\r
\r
--a\r
Content-Type: multipart/mixed; boundary=c\r
\r
--c\r
Content-Type: image/gif\r
\r
4.1\r
--c\r
Content-Type: message/rfc822\r
\r
Subject: 4.2.HEADER\r
Content-Type: multipart/mixed; boundary=d\r
\r
--d\r
Content-Type: text/plain\r
\r
4.2.1\r
--d\r
Content-Type: multipart/alternative; boundary=e\r
\r
--e\r
Content-Type: text/plain\r
\r
4.2.2.1\r
--e\r
Content-Type: text/richtext\r
\r
4.2.2.2\r
--e--\r
--d--\r
--c--\r
--a--\r
"""


class PartNumberTests(SynchronousTestCase):
    """RFC 9051 6.4.5.1."""

    def section(self, *part: int, kind: str = "") -> bytes | None:
        """A section's octets, None for NIL."""
        facts = describe([COMPLEX])
        found = locate(
            Section(part, kind),
            facts.parts,
            head_octets=0,
            header_octets=facts.header_octets,
            total_octets=facts.octets,
        )
        return None if found is None else COMPLEX[found.offset : found.offset + found.octets]

    def test_leaves(self) -> None:
        """Each part is found by its number."""
        for number in ("1", "2", "3.1", "3.2", "4.1", "4.2.1", "4.2.2.1", "4.2.2.2"):
            self.assertEqual(number.encode(), self.section(*map(int, number.split("."))))

    def test_headers(self) -> None:
        """HEADER and MIME of the message and its parts."""
        self.assertEqual(
            b"Subject: HEADER\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n", self.section(kind="HEADER")
        )
        self.assertTrue((self.section(3, kind="HEADER") or b"").startswith(b"Subject: 3.HEADER\r\n"))
        self.assertTrue((self.section(4, 2, kind="HEADER") or b"").startswith(b"Subject: 4.2.HEADER\r\n"))
        self.assertEqual(b"Content-Type: image/gif\r\n\r\n", self.section(4, 1, kind="MIME"))

    def test_texts(self) -> None:
        """TEXT is the body of the message or of one inside."""
        self.assertTrue((self.section(kind="TEXT") or b"").startswith(b"--a\r\n"))
        self.assertTrue((self.section(3, kind="TEXT") or b"").startswith(b"--b\r\n"))
        self.assertTrue((self.section(4, 2, kind="TEXT") or b"").endswith(b"--d--"))

    def test_none(self) -> None:
        """What is not there is NIL."""
        for part in ((5,), (1, 1), (3, 3), (4, 1, 1), (4, 2, 2, 3), (1,) * 50):
            self.assertIsNone(self.section(*part))
        for part in ((1,), (4,), (4, 1)):
            self.assertIsNone(self.section(*part, kind="HEADER"))
            self.assertIsNone(self.section(*part, kind="TEXT"))

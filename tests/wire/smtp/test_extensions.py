"""
The lines of an EHLO reply.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.wire.smtp.extensions import Offer, ehlo_reply, read_extensions

_ALL = Offer(1000, True, ("PLAIN", "LOGIN"), True, True)


class EhloReplies(SynchronousTestCase):
    """Printed and read."""

    def test_all_that_can_be_offered(self) -> None:
        """In one reply without enhanced codes; what is printed is read again."""
        octets = ehlo_reply("mx.example", "[192.0.2.1]", _ALL).octets()
        lines = octets.decode().split("\r\n")
        self.assertEqual(lines[0], "250-mx.example greets [192.0.2.1]")
        self.assertEqual(lines[-2:], ["250 HELP", ""])
        self.assertEqual(
            read_extensions([line[4:] for line in lines[1:-1]]),
            {
                "PIPELINING": "",
                "SIZE": "1000",
                "8BITMIME": "",
                "ENHANCEDSTATUSCODES": "",
                "DSN": "",
                "STARTTLS": "",
                "AUTH": "PLAIN LOGIN",
                "SMTPUTF8": "",
                "EXPN": "",
                "HELP": "",
            },
        )

    def test_what_may_not_be_used_is_not_offered(self) -> None:
        """No STARTTLS inside TLS, no AUTH without a mechanism, no EXPN where lists are not shown."""
        text = ehlo_reply("mx.example", "[192.0.2.1]", Offer()).text
        self.assertNotIn("STARTTLS", text)
        self.assertNotIn("AUTH", text)
        self.assertNotIn("EXPN", text)

    def test_odd_lines(self) -> None:
        """Lower case, the old AUTH=, empty lines, a keyword twice."""
        self.assertEqual(
            read_extensions(["size 5", "AUTH=LOGIN PLAIN", "", "SIZE 6", "AUTH CRAM-MD5"]),
            {"SIZE": "5", "AUTH": "LOGIN PLAIN"},
        )

"""`mail/md5.py` against `hashlib` and the examples of the RFCs."""

from __future__ import annotations

import hashlib
import hmac

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.md5 import START, finish, md5_block_states, resumed_hmac


class MD5Tests(SynchronousTestCase):
    """Digests, whole and resumed."""

    def test_every_length_around_a_block(self) -> None:
        """Padding is right for every length up to three blocks."""
        for length in range(200):
            octets = bytes(number * 7 % 251 for number in range(length))
            self.assertEqual(finish(START, 0, octets), hashlib.md5(octets, usedforsecurity=False).digest())

    def test_hmac_of_many_keys(self) -> None:
        """The states stand for the password, also for one longer than a block."""
        for length in (0, 1, 16, 63, 64, 65, 200):
            password = b"p" * length
            challenge = b"<1896.697170952@postoffice.example>"
            expected = hmac.new(password, challenge, "md5").digest()
            self.assertEqual(resumed_hmac(*md5_block_states(password), challenge), expected)

    def test_example_of_the_rfc(self) -> None:
        """Tim's answer (RFC 2195 2)."""
        states = md5_block_states(b"tanstaaftanstaaf")
        digest = resumed_hmac(*states, b"<1896.697170952@postoffice.reston.mci.net>")
        self.assertEqual(digest.hex(), "b913a602c7eda7a495b4e6e7334d3890")

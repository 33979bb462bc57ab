"""Tests of charsets."""

from __future__ import annotations

from encodings.aliases import aliases

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.charsets import decode_unlabelled, decoder


class CharsetTests(SynchronousTestCase):
    """Names and what they decode."""

    def decoded(self, charset: str, octets: bytes) -> str:
        """What a known charset makes of octets."""
        decode = decoder(charset)
        assert decode
        return decode(octets)

    def test_names(self) -> None:
        """Names as senders write them, with the reading that they mean."""
        for charset, octets, text in (
            ("UTF-8", b"\xc3\xa4", "ä"),
            ("utf8", b"\xc3\xa4", "ä"),
            ("ISO-8859-1", b"\x80\xe4", "€ä"),
            ("iso8859-15", b"\xa4", "€"),
            ("windows-1252", b"\x80", "€"),
            ("us-ascii", b"a\xc3\xa4", "aä"),
            ("GB2312", b"\x81\x30\x81\x30", "\x80"),
            ("ks_c_5601-1987", b"\xb0\xa1", "가"),
            ("shift_jis", b"\x82\xa0", "あ"),
            ("iso-2022-jp", b"\x1b$B$\"\x1b(B", "あ"),
            ("koi8-r", b"\xc1", "а"),
            (" KOI8-U ", b"\xa4", "є"),
            ("iso-8859-8-i", b"\xe0", "א"),
        ):
            self.assertEqual(text, self.decoded(charset, octets), charset)

    def test_unknown(self) -> None:
        """Other names, and Python's codecs that are no charsets, are nobody's."""
        for charset in ("", "x-unknown", "idna", "punycode", "rot13", "base64", "unicode-escape", "..", "\0", "mbcs"):
            self.assertIsNone(decoder(charset), charset)

    def test_unlabelled(self) -> None:
        """UTF-8 where it is that, else Windows-1252, holes and all."""
        self.assertEqual("ä", decode_unlabelled(b"\xc3\xa4"))
        self.assertEqual("ä\ufffd", decode_unlabelled(b"\xe4\x81"))

    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from(sorted(aliases)) | st.text(max_size=20), st.binary(max_size=40))
    def test_anything(self, charset: str, octets: bytes) -> None:
        """No name and no octets make it raise."""
        decode = decoder(charset)
        if decode is not None:
            self.assertIsInstance(decode(octets), str)

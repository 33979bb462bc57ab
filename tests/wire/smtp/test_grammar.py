"""
The grammar of SMTP's commands.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.envelope import NOTIFY_NEVER, Notify
from mailtraq_py.wire.smtp import grammar
from mailtraq_py.wire.smtp.grammar import Refused

TEXT = st.text(alphabet=st.sampled_from(list('<>@,:;"\\ .abc=+-[]1é')), max_size=40)


class Paths(SynchronousTestCase):
    """Reverse-paths and forward-paths."""

    def refused(self, take: Callable[[], object]) -> str:
        """The refusal's code and enhanced code."""
        refusal = self.assertRaises(Refused, take).reply
        return f"{refusal.code} {refusal.enhanced}"

    def test_reverse_paths(self) -> None:
        """The null path, usual ones, quoted ones, literals; parameters are left."""
        for text, printed, rest in (
            ("<>", "", ""),
            ("<> SIZE=1", "", "SIZE=1"),
            ("<a@b.example>", "a@b.example", ""),
            ("<a.b+c@b.example>  SIZE=1 BODY=7BIT", "a.b+c@b.example", "SIZE=1 BODY=7BIT"),
            ('<"a b>c"@b.example> X', '"a b>c"@b.example', "X"),
            ('<"a\\"b"@b.example>', '"a\\"b"@b.example', ""),
            ('<"ab"@b.example>', "ab@b.example", ""),
            ("<a@[192.0.2.1]>", "a@[192.0.2.1]", ""),
            ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", ""),
            ("<a@b>", "a@b", ""),
        ):
            path, parameters = grammar.take_reverse_path(text)
            self.assertEqual((str(path), parameters), (printed, rest), text)

    def test_source_routes_are_dropped(self) -> None:
        """RFC 5321 4.1.1.3, S 19: the mailbox at the end counts, and nothing else."""
        for text in ("<@a.example:x@c.example>", "<@a.example,@b.example:x@c.example>"):
            self.assertEqual(str(grammar.take_forward_path(text, "d.example")[0]), "x@c.example")

    def test_content_is_not_routed(self) -> None:
        """S 19: percent, bang and quoted @ are local parts."""
        for text, local_part, domain in (
            ("<a%b@here.example>", "a%b", "here.example"),
            ("<a!b@here.example>", "a!b", "here.example"),
            ('<"a@b"@here.example>', "a@b", "here.example"),
            ("<a@here.example.>", "a", "here.example."),
            ("<a@[127.0.0.1]>", "a", "[127.0.0.1]"),
        ):
            address = grammar.take_forward_path(text, "d.example")[0].address
            self.assertEqual((address.local_part, address.domain), (local_part, domain))

    def test_malformed_paths(self) -> None:
        """501, with the enhanced code of sender or recipient."""
        for text in (
            *("", "a@b.example", "<a@b.example", "a@b.example>", "<a@b.example>SIZE=1", "<@b.example>", "<a@>"),
            *("<a@b@c.example>", "<a b@c.example>", '<"a@c.example>', "<a..b@c.example>", "<.a@c.example>"),
            *("<a@-b.example>", "<a@b..example>", "<@a.example:>", "<<a@b.example>>", "<" + "a" * 65 + "@b.example>"),
            *("<a@" + "b." * 130 + "c>", "<a@[1.2.3.4>", '<"a\x00"@b.example>'),
        ):
            self.assertEqual(self.refused(lambda text=text: grammar.take_reverse_path(text)), "501 5.1.7", text)
            self.assertEqual(self.refused(lambda text=text: grammar.take_forward_path(text, "d")), "501 5.1.3", text)
        self.assertEqual(self.refused(lambda: grammar.take_forward_path("<>", "d.example")), "501 5.1.3")

    @given(TEXT)
    @settings(max_examples=300, deadline=None)
    def test_nothing_else_is_raised(self, text: str) -> None:
        """Every text gives a path or a refusal, and what was taken prints as something that is taken again."""
        try:
            path, _ = grammar.take_forward_path("<" + text, "d.example")
        except Refused:
            return
        self.assertEqual(grammar.take_forward_path(f"<{path}>", "d.example")[0], path)


class Parameters(SynchronousTestCase):
    """The ESMTP parameters."""

    def test_split(self) -> None:
        """By keyword, in any case."""
        known = frozenset({"SIZE", "X-Y", "FLAG"})
        self.assertEqual(
            grammar.split_parameters("size=1 x-y=a+b  FLAG", known | {"X-Y"}), {"SIZE": "1", "X-Y": "a+b", "FLAG": None}
        )

    def test_refused(self) -> None:
        """S 18: unknown 555; twice or malformed 501."""
        for text, code in (
            *(("FOO", 555), ("FOO=1", 555), ("SIZE=1 SIZE=1", 501), ("SIZE=", 501), ("=1", 501), ("SI_ZE=1", 501)),
            *(("SIZE=1=2", 501), ("-SIZE=1", 501)),
        ):
            refusal = self.assertRaises(Refused, grammar.split_parameters, text, frozenset({"SIZE"})).reply
            self.assertEqual((refusal.code, refusal.enhanced), (code, "5.5.4"), text)

    def test_values(self) -> None:
        """Each parameter's own syntax."""
        self.assertEqual(grammar.read_size("99999999999999999999"), 99999999999999999999)
        self.assertEqual(grammar.read_body("8bitmime"), "8BITMIME")
        self.assertEqual(grammar.read_ret("hdrs"), "HDRS")
        self.assertEqual(grammar.read_envid("QQ+2B1"), "QQ+1")
        self.assertEqual(grammar.read_notify("never"), NOTIFY_NEVER)
        self.assertEqual(grammar.read_notify("Success,FAILURE"), Notify(True, True, False))
        self.assertEqual(grammar.read_original_recipient("rfc822;a+2Bb@c.example"), "rfc822;a+b@c.example")
        self.assertEqual(grammar.read_original_recipient("utf-8;m\\x{FC}ller@c.example"), "utf-8;müller@c.example")
        self.assertEqual(grammar.read_auth("<>"), "")
        self.assertEqual(grammar.read_auth("a+2Bb@c.example"), "a+b@c.example")

    def test_bad_values(self) -> None:
        """All of them are 501."""
        for read, values in (
            (grammar.read_size, (None, "", "x", "-1", "1" * 21, "1.5", "１")),
            (grammar.read_body, (None, "", "FOO", "BINARYMIME")),
            (grammar.read_ret, (None, "BODY")),
            (grammar.read_envid, (None, "+", "+2", "+2b", "a b", "+0D+0A", "+80", "a" * 101)),
            (grammar.read_notify, (None, "", "NEVER,FAILURE", "SOMETIMES", "FAILURE,")),
            (
                grammar.read_original_recipient,
                (None, "a@b.example", ";a", "rfc822;", "r_;a", "rfc822;+0A", "utf-8;\\x{0A}", "utf-8;\\x{110000}"),
            ),
            (grammar.read_auth, (None, "+")),
        ):
            for value in values:
                refusal = self.assertRaises(Refused, read, value).reply
                self.assertEqual((refusal.code, refusal.enhanced), (501, "5.5.4"), f"{read} {value!r}")

    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
    @settings(max_examples=200, deadline=None)
    def test_xtext_comes_back(self, text: str) -> None:
        """What is encoded is decoded to the same."""
        self.assertEqual(grammar.decode_xtext(grammar.encode_xtext(text), "text"), text)

    @given(TEXT)
    @settings(max_examples=300, deadline=None)
    def test_nothing_else_is_raised(self, text: str) -> None:
        """Every text is split or refused, every value read or refused."""
        readers = (grammar.read_size, grammar.read_body, grammar.read_ret, grammar.read_envid, grammar.read_notify)
        for read in (*readers, grammar.read_original_recipient, grammar.read_auth):
            try:
                read(text)
            except Refused as refused:
                self.assertEqual(refused.reply.code, 501)
        try:
            grammar.split_parameters(text, frozenset({"A", "ABC"}))
        except Refused as refused:
            self.assertIn(refused.reply.code, (501, 555))

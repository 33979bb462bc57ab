"""
Where keys stand in a file.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.tomllines import find_lines, line_of

FILE = """\
top = "a # no comment"   # a comment with [brackets] = and "quotes"
[lan]
addresses = [
  "127.0.0.1", "::1",
  # a comment between
  "192.168.1.*",
]

[[smtp]]
name = "one"
relay.auth = true
[smtp.senders]
'odd key' = '''
x = 1
[nothing]
'''
refuse_null = false
[[smtp]]
[smtp.relay]
inline = { deep = [1, 2], other = "}" }
preset = "imail"
[[tls.names]]
certificate = "a"
"""


class FindLinesTests(SynchronousTestCase):
    """Each kind of key has its line."""

    def setUp(self) -> None:
        self.lines = find_lines(FILE)

    def test_keys_of_tables(self) -> None:
        """Keys at the top, in tables and in arrays of tables are found, dotted and quoted ones too."""
        expected = {
            ("top",): 1,
            ("lan",): 2,
            ("lan", "addresses"): 3,
            ("smtp", 0): 9,
            ("smtp", 0, "name"): 10,
            ("smtp", 0, "relay", "auth"): 11,
            ("smtp", 0, "senders", "odd key"): 13,
            ("smtp", 0, "senders", "refuse_null"): 17,
            ("smtp", 1): 18,
            ("smtp", 1, "relay", "preset"): 21,
            ("tls", "names", 0, "certificate"): 23,
        }
        self.assertEqual({path: self.lines.get(path) for path in expected}, expected)

    def test_entries_of_arrays(self) -> None:
        """Each entry of an array over several lines has its own line."""
        self.assertEqual([self.lines["lan", "addresses", index] for index in range(3)], [4, 4, 6])

    def test_inline_tables(self) -> None:
        """Keys of inline tables stand where they are written, and what follows is not mistaken for one."""
        lines = find_lines('a = [{ b = 1, c.d = [2,\n 3] },\n { "b" = {} }]\ne = 1.5\n')
        self.assertEqual(lines["a", 0, "c", "d", 1], 2)
        self.assertEqual(lines["a", 1, "b"], 3)
        self.assertEqual(lines["e",], 4)
        self.assertEqual(len([path for path in lines if len(path) == 1]), 2)

    def test_text_is_no_table(self) -> None:
        """What looks like keys inside a text over several lines is not taken for keys."""
        self.assertNotIn(("nothing",), self.lines)

    def test_nearest(self) -> None:
        """A path without a line gets that of what is around it."""
        self.assertEqual(line_of(("smtp", 1, "relay", "inline", "deep", 1), self.lines), 20)
        self.assertEqual(line_of(("smtp", 1, "helo", "x"), self.lines), 18)
        self.assertEqual(line_of(("unknown",), self.lines), 1)

"""
Lists in files of their own: what is taken, what is refused, and how a change shows.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.config import ConfigurationError, parse
from mailtraq_py.app.listfiles import ListFiles, read_list_file
from mailtraq_py.app.settings import policy_settings
from mailtraq_py.policy.settings import LIST_MAX_LINES, LIST_MAX_OCTETS, ListUnreadable

CONFIGURATION = """\
hostname = "mx.here.example"
[lan]
addresses = ["10.0.0.1", "file:lan.lst", "~10.0.0.9"]
[[smtp]]
name = "mx"
tls = "none"
[smtp.senders]
kill_file = "kill.lst"
[smtp.relay]
preset = "imail"
mode = "local_users"
accept = ["file:accept.txt"]
"""


class FolderTestCase(SynchronousTestCase):
    """`folder` is gone after the test."""

    def setUp(self) -> None:
        """Make it."""
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def written(self, name: str, text: str, age_seconds: float = 60.0) -> Path:
        """A file that was changed some time ago."""
        path = self.folder / name
        path.write_text(text)
        changed = path.stat().st_mtime - age_seconds
        os.utime(path, (changed, changed))
        return path


class ReadingTests(FolderTestCase):
    """One file."""

    def refusal(self, path: Path) -> str:
        """Why it is no list."""
        return str(self.assertRaises(ListUnreadable, read_list_file, path, "kill_file"))

    def test_lines(self) -> None:
        """Comments and blank lines are skipped, a byte order mark and CRs too; each entry knows its line."""
        path = self.written("a.lst", "\ufeff# who we do not want\r\n\r\n  spammer@x.example \n@*.bad.example\n")
        entries = read_list_file(path, "kill_file")[1]
        self.assertEqual(
            [(entry.text, entry.line, entry.file) for entry in entries],
            [("spammer@x.example", 3, str(path)), ("@*.bad.example", 4, str(path))],
        )

    def test_no_list(self) -> None:
        """NULs, other encodings, endless lines, too much of anything, and what is no file: refused, with the reason."""
        self.assertIn("NUL octets, the first in line 2", self.refusal(self.written("nul", "a@b.example\na\0b\n")))
        latin = self.folder / "latin"
        latin.write_bytes(b"a\xe9\n")
        self.assertIn("not UTF-8 at octet 1", self.refusal(latin))
        self.assertIn("in line 3", self.refusal(self.written("long", "a\nb\n" + "x" * 1001)))
        self.assertIn("a million lines", self.refusal(self.written("lines", "\n" * LIST_MAX_LINES)))
        large = self.folder / "large"
        with large.open("wb") as file:
            file.truncate(LIST_MAX_OCTETS + 1)
        self.assertIn("64 MiB", self.refusal(large))
        os.mkfifo(self.folder / "fifo")
        self.assertIn("regular", self.refusal(self.folder / "fifo"))
        self.assertIn("regular", self.refusal(self.folder))
        self.assertRaises(FileNotFoundError, read_list_file, self.folder / "nothing", "")


class ChangeTests(FolderTestCase):
    """Looking at files."""

    def setUp(self) -> None:
        """Two files, read."""
        super().setUp()
        self.one, self.two = self.written("one", "a@b.example\n"), self.written("two", "c@d.example\n")
        self.lists = ListFiles()
        for path in (self.one, self.two):
            self.lists.entries(path, "key")

    def test_a_change_shows_once_it_is_refused(self) -> None:
        """A changed file shows at each look until it is read anew or refused; a later change shows again."""
        self.assertEqual(self.lists.changed(), [])
        self.written("one", "x\n", 50)
        self.assertEqual(self.lists.changed(), [self.one])
        self.assertEqual(self.lists.changed(), [self.one])
        self.lists.note_refused(self.one)
        self.assertEqual(self.lists.changed(), [])
        self.assertEqual(str(self.lists.entries(self.one, "key")[0]), "a@b.example")
        self.written("one", "z@b.example\n", 40)
        self.assertEqual(self.lists.changed(), [self.one])
        renewed = self.lists.without(self.one)
        self.assertEqual(str(renewed.entries(self.one, "key")[0]), "z@b.example")
        self.assertEqual(renewed.changed(), [])

    def test_a_file_that_is_gone(self) -> None:
        """Shows as a change, once; the old list is still held."""
        self.one.unlink()
        self.assertEqual(self.lists.changed(), [self.one])
        self.lists.note_refused(self.one)
        self.assertEqual(self.lists.changed(), [])
        self.written("one", "a@b.example\n", 30)
        self.assertEqual(self.lists.changed(), [self.one])

    def test_a_young_file_is_looked_into(self) -> None:
        """Two changes within the same tick of the file system's clock differ in nothing but what is written."""
        young = self.written("young", "a@b.example\n", 0)
        lists = ListFiles()
        lists.entries(young, "key")
        before = young.stat()
        self.assertEqual(lists.changed(), [])
        with young.open("r+") as file:
            file.write("x")
        os.utime(young, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.assertEqual(lists.changed(), [young])


class SettingsTests(FolderTestCase):
    """Files named by a configuration."""

    def test_entries_of_a_file_stand_where_it_is_named(self) -> None:
        """In their order among the others, each with its own file and line."""
        self.written("lan.lst", "# the house\n192.168.1.*\n~192.168.1.13\n")
        self.written("kill.lst", "bad@x.example\n")
        self.written("accept.txt", "friend@y.example\n")
        settings = policy_settings(parse(CONFIGURATION, self.folder / "mailtraq.toml"))
        texts = [entry.text for entry in settings.lan]
        self.assertEqual(texts, ["10.0.0.1", "192.168.1.*", "~192.168.1.13", "~10.0.0.9"])
        self.assertEqual(settings.lan[2].line, 3)
        self.assertEqual([entry.text for entry in settings.services[0].senders.kill], ["bad@x.example"])

    def test_a_file_that_cannot_be_read(self) -> None:
        """Is an error of the key that names it."""
        self.written("kill.lst", "")
        self.written("accept.txt", "")
        (self.folder / "lan.lst").mkdir()
        configuration = parse(CONFIGURATION, self.folder / "mailtraq.toml")
        (problem,) = self.assertRaises(ConfigurationError, policy_settings, configuration).problems
        self.assertIn("mailtraq.toml:3: lan.addresses[2]", problem)
        self.assertIn("is no regular file", problem)

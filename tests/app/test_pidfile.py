"""
The files by which the command line finds the running server.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.pidfile import AlreadyRunning, PidFile, last_reload, running_process


class PidFileTests(SynchronousTestCase):
    """One server works on a data_dir."""

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def test_taken_and_released(self) -> None:
        """While it is held the process is known and nobody else gets it; afterwards nobody runs."""
        self.assertIs(running_process(self.folder), None)
        held = PidFile(self.folder)
        held.take()
        self.assertEqual(running_process(self.folder), os.getpid())
        self.assertEqual(self.assertRaises(AlreadyRunning, PidFile(self.folder).take).process, os.getpid())
        held.release()
        held.release()
        self.assertIs(running_process(self.folder), None)

    def test_left_behind(self) -> None:
        """A number that a crash left behind is nobody's."""
        (self.folder / "mailtraq.pid").write_text("1\n")
        self.assertIs(running_process(self.folder), None)

    def test_reload_result(self) -> None:
        """The result of a reload is read back; a half-written file is none."""
        self.assertIs(last_reload(self.folder), None)
        PidFile(self.folder).tell_reload({"number": 2, "errors": ("a",)})
        self.assertEqual(last_reload(self.folder), {"number": 2, "errors": ["a"]})
        (self.folder / "reload.json").write_text("{")
        self.assertIs(last_reload(self.folder), None)

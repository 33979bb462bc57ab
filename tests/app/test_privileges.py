"""
Whom the process runs as; giving root up is shown end to end.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app import judging
from mailtraq_py.app.config import parse
from mailtraq_py.app.nobody import NobodyHosted
from mailtraq_py.app.privileges import closed_program


class ClosedProgramTests(SynchronousTestCase):
    """A program that its user may not start anew."""

    def test_found(self) -> None:
        """The first file that cannot be used is named; an interpreter must be executable, the rest readable."""
        with tempfile.TemporaryDirectory() as folder:
            gone = f"{os.path.realpath(folder)}/gone.py"
            self.assertEqual(closed_program(()), "")
            self.assertEqual(closed_program((sys.executable, __file__)), "")
            self.assertEqual(closed_program((sys.executable, gone, __file__)), gone)

    def test_warned_of(self) -> None:
        """Where full-text indexes are wanted, a check and a start say so beforehand."""
        for line, warned in (("", True), ("[search]\nenabled = false\n", False)):
            configuration = parse(line, Path("/etc/mailtraq/mailtraq.toml"))
            with patch.object(judging, "closed_program", lambda: "/root/bin/python"):
                warnings = judging.judge(configuration, NobodyHosted())
            self.assertIs(any("may not read /root/bin/python" in warning for warning in warnings), warned)

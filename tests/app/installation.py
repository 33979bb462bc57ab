"""
An installation in a folder of its own, and the command line on it.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.cli import main

SERVICES = """\
hostname = "mx.here.example"

[[smtp]]
name = "mx"
tls = "none"
listen = ["127.0.0.1:0"]
[smtp.relay]
auth = true
recent_login = true

[[pop3]]
tls = "none"
listen = ["127.0.0.1:0"]
"""


class InstallationTestCase(SynchronousTestCase):
    """`folder` holds `mailtraq.toml`; `mailtraq` runs a command on it."""

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.file = self.folder / "mailtraq.toml"
        self.file.write_text(SERVICES)

    def mailtraq(self, *arguments: str, stdin: str = "", code: int = 0) -> Result:
        """Run a command; its exit code must be `code`."""
        result = CliRunner().invoke(main, [*arguments, "--config", str(self.file)], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.assertEqual(result.exit_code, code, result.output)
        return result

    def answer(self, *arguments: str, stdin: str = "", code: int = 0) -> Any:
        """What a command prints with --json."""
        return json.loads(self.mailtraq(*arguments, "--json", stdin=stdin, code=code).stdout)

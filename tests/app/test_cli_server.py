"""
`mailtraq init`, `reload`, and the command line as a whole.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py import __version__
from mailtraq_py.app.cli import main
from mailtraq_py.app.config import load
from mailtraq_py.app.sample import PRESETS

from .installation import InstallationTestCase


class InitTests(SynchronousTestCase):
    """`mailtraq init`."""

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name) / "new"

    def init(self, *arguments: str) -> int:
        """Run it on `folder`; returns the exit code."""
        return CliRunner().invoke(main, ["init", str(self.folder), *arguments]).exit_code

    def test_every_preset_may_serve(self) -> None:
        """What is written is right as it stands, for each preset, and passes the check."""
        for preset in PRESETS:
            self.folder = self.folder.with_name(preset)
            self.assertEqual(self.init("--preset", preset, "--hostname", "mx.here.example"), 0)
            file = self.folder / "mailtraq.toml"
            self.assertEqual(load(file).keys.smtp[0].relay.preset, preset)
            self.assertEqual(CliRunner().invoke(main, ["check", "--config", str(file)]).exit_code, 0)

    def test_modes(self) -> None:
        """The key and the data are their owner's alone."""
        self.assertEqual(self.init("--hostname", "mx.here.example"), 0)
        modes = {name: (self.folder / name).stat().st_mode & 0o777 for name in ("tls/key.pem", "var", "mailtraq.toml")}
        self.assertEqual(modes, {"tls/key.pem": 0o600, "var": 0o700, "mailtraq.toml": 0o640})

    def test_refusals(self) -> None:
        """Nothing is overwritten; a host name must be one; a user must exist."""
        self.assertEqual(self.init("--hostname", "mx.here.example"), 0)
        self.assertEqual(self.init("--hostname", "mx.here.example"), 1)
        self.folder = self.folder.with_name("other")
        self.assertEqual(self.init("--hostname", "no..name"), 2)
        self.assertEqual(self.init("--hostname", "mx.here.example", "--user", "no-such-user"), 2)
        self.assertFalse(self.folder.exists())


class ReloadTests(InstallationTestCase):
    """`mailtraq reload` without a server; with one see tests/app/test_service.py."""

    def test_nobody_runs(self) -> None:
        """No server is a refusal, also where a pid file was left behind."""
        self.mailtraq("reload", code=1)
        (self.folder / "var").mkdir(exist_ok=True)
        (self.folder / "var" / "mailtraq.pid").write_text("1\n")
        self.mailtraq("reload", code=1)


class CommandLineTests(InstallationTestCase):
    """What all commands have in common."""

    def test_version(self) -> None:
        """--version."""
        self.assertIn(__version__, CliRunner().invoke(main, ["--version"]).output)

    def test_every_command_takes_config(self) -> None:
        """--config is an option of every command that looks at a configuration, and all have help."""
        without = {"init", "trial", "test"}

        def walk(command: click.Command) -> None:
            if isinstance(command, click.Group):
                for inner in command.commands.values():
                    walk(inner)
                return
            options = {name for parameter in command.params for name in parameter.opts}
            self.assertEqual("--config" in options, command.name not in without, command.name)
            self.assertTrue(command.help, command.name)

        walk(main)

    def test_config_before_the_command(self) -> None:
        """--config may stand before the command, too."""
        result = CliRunner().invoke(main, ["--config", str(self.file), "domain", "list", "--json"])
        self.assertEqual((result.exit_code, result.output), (0, "[]\n"))

    def test_no_configuration(self) -> None:
        """A file that is not there, or no TOML, ends with 2."""
        self.file.write_text("[[[")
        self.mailtraq("account", "list", code=2)
        self.file.unlink()
        self.mailtraq("account", "list", code=2)
        self.mailtraq("check", code=2)

"""
The command line as a whole: help and exit codes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.cli import main

from .installation import InstallationTestCase


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of each command and group."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


class HelpTests(SynchronousTestCase):
    """What a person sees who asks."""

    def test_examples(self) -> None:
        """The help of each command and group ends with an example of it, which begins as one types it."""
        paths = list(commands(main))
        self.assertGreater(len(paths), 30)
        for path in paths:
            result = CliRunner().invoke(main, [*path, "--help"])
            self.assertEqual(result.exit_code, 0)
            self.assertIn(f"\n    mailtraq {' '.join(path)}", result.output.partition("\n  Example")[2], path)

    def test_overview(self) -> None:
        """`mailtraq --help` names each command in one line."""
        lines = CliRunner().invoke(main, ["--help"], terminal_width=100).output.splitlines()
        for name in main.list_commands(click.Context(main)):
            self.assertTrue(any(re.fullmatch(rf"  {name}  +[A-Z].*[.]", line) for line in lines), name)

    def test_usage(self) -> None:
        """An unknown command, option or a missing argument ends with 2, and without a traceback."""
        for words in (["nothing"], ["account", "add", "--nothing"], ["domain", "add"], ["firewall", "test", "1.2.3.4"]):
            result = CliRunner().invoke(main, words)
            self.assertEqual(result.exit_code, 2)
            self.assertIn("Usage: ", result.output)


class LoadingTests(InstallationTestCase):
    """What a call costs before it does anything."""

    def test_lists(self) -> None:
        """A list of what is in a store that is there opens no more of it than that takes."""
        self.mailtraq("domain", "add", "here.example")
        program = "\n".join(
            [
                "import sys",
                "from mailtraq_py.app.cli import main",
                "for words in sys.argv[2:]:",
                "    main([*words.split(), '--config', sys.argv[1]], standalone_mode=False)",
                "print(sorted({'twisted', 'passlib', 'mailtraq_py.store.store'} & sys.modules.keys()))",
            ]
        )
        lists = [f"{what} list" for what in ("domain", "account", "alias", "list", "recent", "queue")]
        command = [sys.executable, "-c", program, str(self.file), *lists]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        self.assertIn("here.example", done.stdout)
        self.assertEqual(done.stdout.splitlines()[-1], "[]")

    def test_commands_that_only_ask(self) -> None:
        """They load neither a reactor nor what hashes passwords, which would take half of half a second."""
        names = ("check", "explain", "firewall", "hosted", "status")
        program = "; ".join(
            [
                "import sys",
                *(f"import mailtraq_py.app.cli_{name}" for name in names),
                "print(sorted({'twisted', 'passlib', 'OpenSSL', 'email'} & sys.modules.keys()))",
            ]
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout, "[]\n")

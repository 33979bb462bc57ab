"""
The command line: `mailtraq`. Groups of commands live in cli_*.py; the file of a command is loaded when it is called, so
that a call takes under half a second.
"""

from __future__ import annotations

from importlib import import_module

import click

from mailtraq_py import __version__

EXAMPLES = """\b
Examples:
  mailtraq trial                                a server to try, on loopback
  mailtraq init /etc/mailtraq --hostname mx.example.org
  mailtraq check                                what is wrong with the configuration
  mailtraq domain add example.org
  mailtraq account add alice@example.org
  twistd -n mailtraq --config /etc/mailtraq/mailtraq.toml

Exit codes: 0 done, 1 refused or not found, 2 usage or configuration error.
"""


_COMMANDS = {
    "init": "cli_server:init",
    "trial": "cli_server:trial",
    "check": "cli_check:check",
    "account": "cli_recipients:account",
    "domain": "cli_accounts:domain",
    "alias": "cli_accounts:alias",
    "list": "cli_recipients:distribution_list",
    "recent": "cli_state:recent",
    "explain": "cli_explain:explain",
    "firewall": "cli_firewall:firewall",
    "policy": "cli_history:policy",
    "reload": "cli_server:reload",
    "queue": "cli_state:queue",
    "status": "cli_status:status",
    "index": "cli_index:index",
    "verify": "cli_upkeep:verify",
    "backup": "cli_upkeep:backup",
    "restore": "cli_deleted:restore",
    "purge": "cli_deleted:purge",
    "restore-backup": "cli_upkeep:restore_backup",
    "import": "cli_transfer:import_mail",
    "import-imap": "cli_imap:import_imap",
    "export": "cli_transfer:export_mail",
    "upgrade": "cli_upkeep:upgrade",
    "rollback": "cli_upkeep:rollback",
}
"""Where each command is, as file:name."""


class Commands(click.Group):
    """Commands that are loaded when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of help."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one."""
        if cmd_name not in _COMMANDS:
            return None
        file, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f".{file}", __package__), name)
        return command


@click.group(
    cls=Commands,
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(__version__, prog_name="mailtraq")
@click.option("--config", metavar="FILE", help="The configuration file; every command takes this option too.")
def main(config: str | None) -> None:
    """A mail server: SMTP, POP3 and IMAP over one store, with one policy for access and relaying."""


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
    "init": ("cli_server:init", "Write a configuration, folders and a self-signed certificate."),
    "trial": ("cli_server:trial", "Run a server to try, on loopback ports."),
    "check": ("cli_check:check", "Say what is wrong with the configuration."),
    "account": ("cli_recipients:account", "Accounts: who has a mailbox and a password."),
    "domain": ("cli_accounts:domain", "Domains that are hosted here."),
    "alias": ("cli_accounts:alias", "Addresses that lead to others."),
    "list": ("cli_recipients:distribution_list", "Distribution lists: one address for many."),
    "recent": ("cli_state:recent", "Recent logins: who may pass and relay because mail was collected."),
    "explain": ("cli_explain:explain", "Say what policy would do with a session."),
    "firewall": ("cli_firewall:firewall", "Try a firewall list on an address."),
    "policy": ("cli_history:policy", "What policy decided, and what another one would have."),
    "reload": ("cli_server:reload", "Have the running server read its configuration again."),
    "queue": ("cli_state:queue", "Mail that waits to leave."),
    "status": ("cli_status:status", "Show how the running server is."),
    "index": ("cli_index:index", "The full-text indexes."),
    "verify": ("cli_upkeep:verify", "Hold everything in the store against everything else."),
    "backup": ("cli_upkeep:backup", "Copy the store, or what changed since the last copy."),
    "restore": ("cli_deleted:restore", "Bring back mail that was deleted."),
    "purge": ("cli_deleted:purge", "Let what was deleted go for good now."),
    "restore-backup": ("cli_upkeep:restore_backup", "Put a backup in the place of the store."),
    "import": ("cli_transfer:import_mail", "Bring mail in from Maildir or mbox."),
    "import-imap": ("cli_imap:import_imap", "Bring mail in from another IMAP server."),
    "export": ("cli_transfer:export_mail", "Write mail out as Maildir or mbox."),
    "upgrade": ("cli_upkeep:upgrade", "Bring the store to the schema of this program."),
    "rollback": ("cli_upkeep:rollback", "Go back to the schema before, for the older program."),
}
"""Where each command is, as file:name, and what `mailtraq --help` says of it without loading it."""


class Commands(click.Group):
    """Commands that are loaded when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of help."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one."""
        if cmd_name not in _COMMANDS:
            return None
        file, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f".{file}", __package__), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Name all, and load none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(
    cls=Commands,
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(__version__, prog_name="mailtraq")
@click.option("--config", metavar="FILE", help="The configuration file; every command takes this option too.")
def main(config: str | None) -> None:
    """A mail server: SMTP, POP3 and IMAP over one store, with one policy for access and relaying."""


"""
The command line: `mailtraq`. Groups of commands live in cli_*.py; each command imports what it needs when it runs, so
that a call takes under half a second.
"""

from __future__ import annotations

import click

from mailtraq_py import __version__

from .cli_accounts import account, alias, domain
from .cli_history import policy
from .cli_policy import check, explain, firewall
from .cli_recipients import distribution_list
from .cli_server import init, reload, trial
from .cli_state import queue, recent
from .cli_transfer import export_mail, import_mail
from .cli_upkeep import backup, restore_backup, rollback, upgrade, verify

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


@click.group(
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(__version__, prog_name="mailtraq")
@click.option("--config", metavar="FILE", help="The configuration file; every command takes this option too.")
def main(config: str | None) -> None:
    """A mail server: SMTP, POP3 and IMAP over one store, with one policy for access and relaying."""


_UPKEEP = (verify, backup, restore_backup, import_mail, export_mail, upgrade, rollback)
_HOSTED = (account, domain, alias, distribution_list)

for _command in (init, trial, check, *_HOSTED, recent, explain, firewall, policy, reload, queue, *_UPKEEP):
    main.add_command(_command)

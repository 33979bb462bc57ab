"""
`mailtraq check`: what is wrong with a configuration, all of it at once.
"""

from __future__ import annotations

from dataclasses import replace

import click

from .certificatecheck import check_certificates
from .cli_hosted import hosted
from .cli_options import Unusable, config_option, json_option, look_at_configuration, print_json
from .config import ConfigurationError, ConfigurationProblem
from .judging import judge, nothing_to_serve
from .location import StoreUnusable


@click.command(epilog="\b\nExample:\n  mailtraq check --config /etc/mailtraq/mailtraq.toml")
@json_option
@config_option
def check(config: str | None, as_json: bool) -> None:
    """
    Read the configuration as a start would, with the open-relay proof, and say what is wrong or doubtful.

    Exit code 0: a server may start with it; 2: not.
    """
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    known: tuple[ConfigurationProblem, ...] = ()
    file = ""
    try:
        configuration = look_at_configuration(config)
        file = str(configuration.file)
        known = (*configuration.problems, *check_certificates(configuration), *nothing_to_serve(configuration))
        if configuration.is_wrong("store", "url"):
            raise ConfigurationError(known)
        with hosted(configuration.location) as (directory, accounts):
            warnings = judge(replace(configuration, problems=known), directory, accounts)
    except ConfigurationError as error:
        errors = error.problems
    except (Unusable, StoreUnusable) as error:
        errors = (*map(str, known), *str(error).splitlines())
    if as_json:
        print_json({"ok": not errors, "errors": errors, "warnings": warnings})
    else:
        for line in (*errors, *(f"warning: {warning}" for warning in warnings)):
            click.echo(line, err=True)
        if not errors:
            click.echo(f"{file}: a server may start with it.")
    if errors:
        click.get_current_context().exit(2)

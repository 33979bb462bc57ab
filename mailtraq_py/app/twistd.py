"""
`twistd mailtraq`: options, and the service they make.

    makeService   reads the file, proves the policy, binds the ports: whatever speaks against starting is said here, in
                  plain lines and with an exit code, before twistd goes into the background
    twistd        opens the log, perhaps forks and writes its pid file
    service.py    gives up root, opens the store, serves
"""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from twisted.application.service import IService
from twisted.internet import reactor
from twisted.python import usage

from .config import ConfigurationError, look_at_given
from .service import CannotStart, MailService


class Options(usage.Options):
    """What stands behind `mailtraq` on twistd's command line."""

    optParameters = [  # noqa: RUF012 - Twisted's own form
        ["config", "c", None, "The configuration file; ./mailtraq.toml or /etc/mailtraq/mailtraq.toml if not given."],
    ]


def makeService(options: Options) -> IService:
    """
    The whole server, its ports bound.

    Raises:
        SystemExit: 2 for an error in the configuration, 1 for anything else that is in the way.
    """
    parent: Any = options.parent or {}
    try:
        configuration = look_at_given(options["config"])
        service = MailService(configuration, reactor, foreground=bool(parent.get("nodaemon", True)))
        service.prepare()
    except ConfigurationError as error:
        _refuse(error, 2)
    except CannotStart as error:
        _refuse(error, 1)
    for warning in service.warnings:
        print(f"mailtraq: warning: {warning}", file=sys.stderr)
    return service


def _refuse(error: Exception, code: int) -> NoReturn:
    print(f"mailtraq: {error}", file=sys.stderr)
    raise SystemExit(code)


__all__ = ["Options", "makeService"]

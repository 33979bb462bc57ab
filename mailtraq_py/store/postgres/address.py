"""
Where the database is: the `[store] url` of the configuration, as libpq takes it.

    postgresql://mail@db.example.com/mail?sslmode=verify-full
    postgresql:///mail?host=/run/postgresql
    postgresql:service=mail

What is not given comes from libpq's own environment, service file and password file. A password may stand in the URL,
and is shown nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ..migrate import StoreRefused

SCHEME = "postgresql:"

# How soon a host that is away is noticed, in seconds and milliseconds; what the URL says goes before.
_DEFAULTS = {
    "application_name": "mailtraq",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
_SHOWN = ("service", "user", "host", "port", "dbname")


@dataclass(frozen=True, slots=True)
class Address:
    """
    A database. `conninfo` may hold a password; `shown` is for people.
    """

    conninfo: str = field(repr=False)
    shown: str


def parse_address(url: str) -> Address:
    """
    Understand a URL.

    Raises:
        StoreRefused: libpq would not; the message does not repeat it.
    """
    conninfo = url if url.startswith(f"{SCHEME}//") else url.removeprefix(SCHEME)
    try:
        options = conninfo_to_dict(conninfo)
        given = {name: str(value) for name, value in options.items()}
        whole = make_conninfo(**{**_DEFAULTS, **given, "client_encoding": "UTF8"})
    except psycopg.Error:
        raise StoreRefused("[store] url is none that libpq understands: postgresql://user@host/database") from None
    shown = " ".join(f"{name}={options[name]}" for name in _SHOWN if options.get(name))
    return Address(whole, f"{SCHEME}{shown}")

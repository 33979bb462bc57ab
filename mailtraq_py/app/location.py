"""
Where an installation's store is, out of its configuration file and without judging the rest of it.

Commands that only look into the store use this: they start in half the time, and a mistake in some relay table does not
keep an administrator from disabling an account.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEFAULT_FILES = (Path("mailtraq.toml"), Path("/etc/mailtraq/mailtraq.toml"))
DEFAULT_DATA_DIR = "var"
SQLITE = "sqlite"
POSTGRESQL = "postgresql"
DEFAULT_STORE_URL = "sqlite:var/mailtraq.db"
DEFAULT_ACCESS_SECONDS = 1200
DEFAULT_RELAY_SECONDS = 300
DEFAULT_IPV6_PREFIX = 128


class NoConfiguration(Exception):
    """There is no file, or it says nothing usable of where the store is; the message says which and why."""


class StoreUnusable(Exception):
    """The store cannot be opened; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Location:
    """
    Where a store is, whose, and by which clocks its recent logins count.

    `store_url` has an absolute path. `user` and `group` are "" where the file names none.
    """

    file: Path
    data_dir: Path
    store_url: str = field(repr=False)  # may hold a password
    default_domain: str = ""
    user: str = ""
    group: str = ""
    access_seconds: int = DEFAULT_ACCESS_SECONDS
    relay_seconds: int = DEFAULT_RELAY_SECONDS
    ipv6_prefix: int = DEFAULT_IPV6_PREFIX

    @property
    def store_exists(self) -> bool:
        """Whether the store has been made already."""
        scheme, _, path = self.store_url.partition(":")
        return scheme != SQLITE or Path(path).exists()

    @property
    def is_file(self) -> bool:
        """Whether it is SQLite's file, rather than a database on a server."""
        return self.store_url.startswith(f"{SQLITE}:")

    @property
    def shown_store(self) -> str:
        """The store for people."""
        return self.store_url if self.is_file else f"the {self.store_url.partition(':')[0]} store"


def find_file(given: str | None) -> Path:
    """
    The file to read: the one given, else the first of DEFAULT_FILES that exists.

    Raises:
        NoConfiguration: there is none.
    """
    if given is not None:
        return Path(given)
    for candidate in DEFAULT_FILES:
        if candidate.exists():
            return candidate
    names = " nor ".join(map(str, DEFAULT_FILES))
    raise NoConfiguration(f"no configuration: neither {names} exists; name one with --config FILE")


def locate(given: str | None) -> Location:
    """
    Read where the store is.

    Raises:
        NoConfiguration: the file cannot be read, is no TOML, or has another type where one of these keys stands.
    """
    file = find_file(given).absolute()
    try:
        raw = read_toml(file.read_text("utf-8"))
    except OSError as error:
        raise NoConfiguration(f"{file}: {error.strerror or error}") from None
    except ValueError as error:
        raise NoConfiguration(f"{file}: {error}") from None
    reader = _Reader(file, raw)
    recent = reader.table("recent_login")
    return Location(
        file=file,
        data_dir=file.parent / reader.value("data_dir", DEFAULT_DATA_DIR),
        store_url=absolute_store_url(reader.table("store").value("url", DEFAULT_STORE_URL), file.parent),
        default_domain=reader.value("default_domain", ""),
        user=reader.value("user", ""),
        group=reader.value("group", ""),
        access_seconds=recent.value("access_seconds", DEFAULT_ACCESS_SECONDS),
        relay_seconds=recent.value("relay_seconds", DEFAULT_RELAY_SECONDS),
        ipv6_prefix=recent.value("ipv6_prefix", DEFAULT_IPV6_PREFIX),
    )


def read_toml(text: str) -> dict[str, Any]:
    """
    Parse TOML.

    Raises:
        ValueError: it is none, or is nested deeper than anybody means.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("arrays or tables are nested too deeply") from None


def absolute_store_url(url: str, folder: Path) -> str:
    """A store's URL, the path of an SQLite file made absolute: relative ones begin in `folder`."""
    scheme, _, path = url.partition(":")
    return f"{SQLITE}:{folder / path}" if scheme == SQLITE else url


@dataclass(frozen=True, slots=True)
class _Reader:
    """A table of the file and what is taken out of it."""

    file: Path
    raw: dict[str, Any]

    def value(self, key: str, default: Any) -> Any:
        value = self.raw.get(key, default)
        if type(value) is not type(default):
            raise NoConfiguration(f"{self.file}: {key} has the wrong type: `mailtraq check` says more")
        return value

    def table(self, key: str) -> _Reader:
        return _Reader(self.file, self.value(key, {}))

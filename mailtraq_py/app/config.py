"""
Reads the configuration file: all its errors at once, each with file, line, key and reason.

    text -> tomllib -> sections.Keys by tables.py (types, bounds, unknown keys) -> what keys mean together
         -> Configuration: the tables, paths made absolute, the line of each key

What lists and patterns mean is judged by policy, which reports in the same form.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from .listen import parse_listen
from .location import POSTGRESQL, SQLITE, Location, NoConfiguration, absolute_store_url, find_file, read_toml
from .sections import TLS, IMAPService, Keys, POP3Service, Service, SMTPService, TLSName
from .tables import TableReader
from .tomllines import KeyPath, find_lines, line_of


@dataclass(frozen=True, slots=True)
class ConfigurationProblem:
    """One thing wrong with a file; printed as `file:line: key: reason`."""

    file: str
    line: int
    key: str
    reason: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (f"{self.file}:{self.line}", self.key, self.reason)))


class ConfigurationError(Exception):
    """The configuration cannot be used; `problems` holds all that is wrong, in the order of the file."""

    def __init__(self, problems: Iterable[object]) -> None:
        self.problems = tuple(map(str, problems))
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Configuration:
    """
    A configuration that has been read. `file` is absolute; `lines` knows where each key stands.

    `problems` is all that is wrong so far, empty unless the file was read by `look_at`; a key among them has its
    default in `keys`.
    """

    file: Path
    keys: Keys
    lines: Mapping[KeyPath, int]
    problems: tuple[ConfigurationProblem, ...] = ()

    @property
    def location(self) -> Location:
        """Where the store is."""
        keys = self.keys
        return Location(
            file=self.file,
            data_dir=self.path(keys.data_dir),
            store_url=absolute_store_url(keys.store.url, self.file.parent),
            default_domain=keys.default_domain,
            user=keys.user,
            group=keys.group,
            access_seconds=keys.recent_login.access_seconds,
            relay_seconds=keys.recent_login.relay_seconds,
            ipv6_prefix=keys.recent_login.ipv6_prefix,
        )

    @property
    def data_dir(self) -> Path:
        """Where everything lies that the server writes."""
        return self.location.data_dir

    def path(self, text: str) -> Path:
        """A path as the file writes it: relative ones begin in the file's folder."""
        return self.file.parent / text

    def line(self, *path: str | int) -> int:
        """The line where a key stands, or the nearest table around it."""
        return line_of(path, self.lines)

    def problem(self, reason: str, *path: str | int) -> ConfigurationProblem:
        """Something wrong with this key."""
        return ConfigurationProblem(str(self.file), self.line(*path), print_path(path), reason)

    def is_wrong(self, *path: str | int) -> bool:
        """Whether this key is among the problems."""
        return bool(self.problems) and print_path(path) in {problem.key for problem in self.problems}

    @property
    def workers(self) -> int:
        """How many processes serve; 0 where the server is one process, which does everything."""
        if self.keys.one_process:
            return 0
        cores = len(os.sched_getaffinity(0))
        return self.keys.workers or (cores if cores > 1 else 0)

    def services(self) -> Iterator[tuple[KeyPath, Service]]:
        """Every service with the path of its table."""
        for word in ("smtp", "pop3", "imap"):
            for index, service in enumerate(getattr(self.keys, word)):
                yield (word, index), service


def load(file: Path) -> Configuration:
    """
    Read and check a file.

    Raises:
        ConfigurationError: with everything that is wrong with it.
    """
    return _faultless(look_at(file))


def look_at(file: Path) -> Configuration:
    """
    Read a file; what is wrong stands in the configuration's `problems`, so that the rest can be judged too.

    Raises:
        ConfigurationError: it cannot be read, or it is no TOML.
    """
    file = file.absolute()
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError as error:
        problem = ConfigurationProblem(str(file), 1, "", f"not UTF-8 at octet {error.start}")
        raise ConfigurationError([problem]) from None
    except OSError as error:
        raise ConfigurationError([f"{file}: {error.strerror or error}"]) from None
    return _examine(text, file)


def look_at_given(given: str | None) -> Configuration:
    """
    As `look_at`, of the file given or the first of the default ones.

    Raises:
        ConfigurationError: there is none, it cannot be read, or it is no TOML.
    """
    try:
        return look_at(find_file(given))
    except NoConfiguration as error:
        raise ConfigurationError([error]) from None


def parse(text: str, file: Path) -> Configuration:
    """As `load`, with the text at hand."""
    return _faultless(_examine(text, file))


def _faultless(configuration: Configuration) -> Configuration:
    if configuration.problems:
        raise ConfigurationError(configuration.problems)
    return configuration


def _examine(text: str, file: Path) -> Configuration:
    try:
        raw = read_toml(text)
    except ValueError as error:
        raise ConfigurationError([_no_toml(str(error), text, file)]) from None
    reader = TableReader(Keys)
    configuration = Configuration(file, _with_defaults(reader.table(Keys, raw)), find_lines(text))
    found = [configuration.problem(sentence, *path) for path, sentence in reader.problems]
    # What follows from a key that is wrong already would only confuse.
    wrong = {path for path, _ in reader.problems}
    found += [problem for keys, problem in _contradictions(configuration) if wrong.isdisjoint(keys)]
    found.sort(key=lambda problem: (problem.line, problem.key))
    return dataclasses.replace(configuration, problems=tuple(found))


def _no_toml(said: str, text: str, file: Path) -> ConfigurationProblem:
    """What tomllib said, with the key that begins in the line where it stopped, if one does."""
    where = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", said)
    if where is None:
        return ConfigurationProblem(str(file), 1, "", said)
    lines = text.split("\n")
    line = int(where[1]) if where[1] else len(lines)
    key = re.match(r"\s*([A-Za-z0-9_.-]+)\s*=", lines[line - 1])
    return ConfigurationProblem(str(file), line, key[1] if key else "", said[: where.start()])


def print_path(path: KeyPath) -> str:
    """A key's path as an administrator says it: `smtp[2].relay.auth`, array entries counted from 1."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


_Service = TypeVar("_Service", bound=Service)

# --- what is left out, and what does not go together ---------------------------------------------------------

_PORTS = {"pop3": {"implicit": 995, "": 110}, "imap": {"implicit": 993, "": 143}}


def _with_defaults(keys: Keys) -> Keys:
    """Fill in what follows from other keys: the names of services and where they listen."""
    return replace(
        keys,
        smtp=tuple(_with_listen(service, service.role, _smtp_port(service)) for service in keys.smtp),
        pop3=tuple(_with_listen(service, "pop3", _port(service, "pop3")) for service in keys.pop3),
        imap=tuple(_with_listen(service, "imap", _port(service, "imap")) for service in keys.imap),
    )


def _with_listen(service: _Service, name: str, port: int) -> _Service:
    return replace(
        service, name=service.name or name, listen=service.listen or (f"0.0.0.0:{port}", f"[::]:{port}")
    )


def _smtp_port(service: SMTPService) -> int:
    if service.tls == "implicit":
        return 465
    return 587 if service.role in ("submission", "out") else 25


def _port(service: POP3Service | IMAPService, protocol: str) -> int:
    ports = _PORTS[protocol]
    return ports.get(service.tls, ports[""])


_Contradiction = tuple[set[KeyPath], ConfigurationProblem]
"""The keys that do not go together, and how it is said."""


def _contradictions(configuration: Configuration) -> Iterator[_Contradiction]:
    keys = configuration.keys
    names: dict[str, KeyPath] = {}
    listening: dict[str, KeyPath] = {}

    def problem(reason: str, *path: str | int, also: Iterable[KeyPath] = ()) -> _Contradiction:
        return {path, *also}, configuration.problem(reason, *path)

    for path, service in configuration.services():
        if service.name in names:
            other = configuration.line(*names[service.name])
            reason = f'the service in line {other} is called "{service.name}" too; give each a name'
            yield problem(reason, *path, "name", also=[(*names[service.name], "name"), (*path, "role")])
        names.setdefault(service.name, path)
        for index, text in enumerate(service.listen):
            if not text:
                continue
            address = str(parse_listen(text))
            if address in listening and not address.endswith(":0"):
                other = configuration.line(*listening[address])
                reason = f"{address} is taken by the service in line {other}"
                follows_from = [(*each, word) for each in (path, listening[address]) for word in ("role", "tls")]
                yield problem(reason, *path, "listen", index, also=[(*path, "listen"), *follows_from])
            listening.setdefault(address, path)
        if service.tls != "none" and not keys.tls.certificate:
            reason = f'tls = "{service.tls}" needs a certificate in [tls], or say tls = "none"'
            yield problem(reason, *path, "tls", also=[("tls",), ("tls", "certificate")])
    if keys.log.file and not configuration.path(keys.log.file).parent.is_dir():
        yield problem(f"there is no folder {configuration.path(keys.log.file).parent}", "log", "file")
    if names and not keys.hostname:
        yield problem("hostname is needed: the name by which this server greets", "hostname")
    for key, file in _named_files(configuration):
        if not file.is_file():
            yield problem(f"there is no file {file}", *key)
    if not keys.store.url.startswith((f"{SQLITE}:", f"{POSTGRESQL}:")):
        yield problem('must begin with "sqlite:" or "postgresql:"', "store", "url")
    if (keys.unknown_recipient == "deliver") != bool(keys.recipients.catch_all):
        reason = 'unknown_recipient = "deliver" and catch_all go together'
        yield problem(reason, "recipients", "catch_all", also=[("unknown_recipient",), ("recipients",)])
    yield from _smarthost_contradictions(configuration)
    if keys.group and not keys.user:
        yield problem("group needs user", "group", also=[("user",)])


def _smarthost_contradictions(configuration: Configuration) -> Iterator[_Contradiction]:
    outbound = configuration.keys.outbound
    smarthost, login, file = (("outbound", key) for key in ("smarthost", "smarthost_login", "smarthost_password_file"))
    if bool(outbound.smarthost_login) != bool(outbound.smarthost_password_file):
        reason = "smarthost_login and smarthost_password_file go together"
        yield {login, file}, configuration.problem(reason, *(login if outbound.smarthost_login else file))
    elif outbound.smarthost_login and not outbound.smarthost:
        yield {login, smarthost}, configuration.problem("there is no smarthost to log in to", *login)
    if outbound.smarthost_login and outbound.smarthost and outbound.tls == "none":
        address = parse_listen(outbound.smarthost)
        if not address.is_loopback:
            reason = f'the password for {address.host} is not sent without TLS; leave out tls = "none"'
            yield {("outbound", "tls"), smarthost, login}, configuration.problem(reason, "outbound", "tls")


def _named_files(configuration: Configuration) -> Iterator[tuple[KeyPath, Path]]:
    keys = configuration.keys
    certificates: list[tuple[KeyPath, TLS | TLSName]] = [(("tls",), keys.tls)]
    certificates += [(("tls", "names", index), name) for index, name in enumerate(keys.tls.names)]
    for path, table in certificates:
        for word in ("certificate", "key"):
            if getattr(table, word):
                yield (*path, word), configuration.path(getattr(table, word))
    if keys.outbound.smarthost_password_file:
        yield ("outbound", "smarthost_password_file"), configuration.path(keys.outbound.smarthost_password_file)
    if keys.recipients.aliases:
        yield ("recipients", "aliases"), configuration.path(keys.recipients.aliases)
    for index, service in enumerate(keys.smtp):
        if service.senders.kill_file:
            yield ("smtp", index, "senders", "kill_file"), configuration.path(service.senders.kill_file)

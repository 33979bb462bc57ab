"""
Reads the configuration file: all its errors at once, each with file, line, key and reason.

    text -> tomllib -> sections.Keys (pydantic: types, bounds, unknown keys) -> what keys mean together
         -> Configuration: the tables, paths made absolute, the line of each key

What lists and patterns mean is judged by policy, which reports in the same form.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .listen import parse_listen
from .location import Location, NoConfiguration, absolute_store_url, find_file
from .sections import IMAPService, Keys, POP3Service, Service, SMTPService
from .tomllines import KeyPath, find_lines, line_of

_SENTENCES = {
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be a text in quotes",
    "tuple_type": "must be an array: [ ... ]",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "missing": "is needed here",
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be more than {gt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be one of {expected}",
    "union_tag_invalid": "preset must be one of {expected_tags}",
    "string_pattern_mismatch": "may hold letters, digits and _ . - only",
}


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
    """

    file: Path
    keys: Keys
    lines: Mapping[KeyPath, int]

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

    def services(self) -> Iterator[tuple[KeyPath, Service]]:
        """Every service with the path of its table."""
        for word in ("smtp", "pop3", "imap"):
            for index, service in enumerate(getattr(self.keys, word)):
                yield (word, index), service


def load_given(given: str | None) -> Configuration:
    """
    Read and check the file given, or the first of the default ones that exists.

    Raises:
        ConfigurationError: with everything that is wrong with it, or that there is none.
    """
    try:
        return load(find_file(given))
    except NoConfiguration as error:
        raise ConfigurationError([error]) from None


def load(file: Path) -> Configuration:
    """
    Read and check a file.

    Raises:
        ConfigurationError: with everything that is wrong with it.
    """
    file = file.absolute()
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError as error:
        problem = ConfigurationProblem(str(file), 1, "", f"not UTF-8 at octet {error.start}")
        raise ConfigurationError([problem]) from None
    except OSError as error:
        raise ConfigurationError([f"{file}: {error.strerror or error}"]) from None
    return parse(text, file)


def parse(text: str, file: Path) -> Configuration:
    """As `load`, with the text at hand."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", str(error))
        line = int(where[1]) if where and where[1] else text.count("\n") + 1
        reason = str(error)[: where.start()] if where else str(error)
        raise ConfigurationError([ConfigurationProblem(str(file), line, "", reason)]) from None
    lines = find_lines(text)
    try:
        keys = Keys.model_validate(_with_tuples(raw))
    except ValidationError as error:
        found = []
        for detail in error.errors(include_url=False, include_input=False):
            path = _path_in(raw, detail["loc"])
            found.append(
                ConfigurationProblem(str(file), line_of(path, lines), print_path(path), _sentence(detail, path))
            )
        raise ConfigurationError(_in_order(found)) from None
    configuration = Configuration(file, _with_defaults(keys), lines)
    problems = list(_contradictions(configuration))
    if problems:
        raise ConfigurationError(_in_order(problems))
    return configuration


def print_path(path: KeyPath) -> str:
    """A key's path as an administrator says it: `smtp[2].relay.auth`, array entries counted from 1."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _in_order(problems: list[ConfigurationProblem]) -> list[ConfigurationProblem]:
    return sorted(problems, key=lambda problem: problem.line)


# --- what stands in the file ---------------------------------------------------------------------------------


def _with_tuples(value: Any) -> Any:
    """Arrays as tuples, which strict models take for their frozen fields."""
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(map(_with_tuples, value))
    return value


def _path_in(raw: Any, location: Sequence[str | int]) -> KeyPath:
    """An error's location as a path in the file, without the words by which the models tell presets apart."""
    path: list[str | int] = []
    for position, part in enumerate(location):
        if isinstance(raw, dict) and part not in raw and position < len(location) - 1:
            continue
        path.append(part)
        if isinstance(raw, dict):
            raw = raw.get(str(part))
        elif isinstance(raw, list) and isinstance(part, int) and part < len(raw):
            raw = raw[part]
        else:
            raw = None
    return tuple(path)


def _sentence(detail: ErrorDetails, path: KeyPath) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        if path[-1] in (known := _all_names()):
            return "this key does not belong in this table"
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.75)
        return f"unknown key (did you mean {near[0]}?)" if near else "unknown key"
    if kind == "value_error":
        return str(context["error"])
    if kind in _SENTENCES:
        return _SENTENCES[kind].format(**context)
    return detail["msg"]


def _all_names(model: type[BaseModel] = Keys) -> set[str]:
    """The names of all keys, for "did you mean"."""
    names = set(model.model_fields)
    for field in model.model_fields.values():
        for inner in _models_in(field.annotation):
            names |= _all_names(inner)
    return names


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


# --- what is left out, and what does not go together ---------------------------------------------------------

_PORTS = {"pop3": {"implicit": 995, "": 110}, "imap": {"implicit": 993, "": 143}}


def _with_defaults(keys: Keys) -> Keys:
    """Fill in what follows from other keys: the names of services and where they listen."""
    return keys.model_copy(
        update={
            "smtp": tuple(_with_listen(service, service.role, _smtp_port(service)) for service in keys.smtp),
            "pop3": tuple(_with_listen(service, "pop3", _port(service, "pop3")) for service in keys.pop3),
            "imap": tuple(_with_listen(service, "imap", _port(service, "imap")) for service in keys.imap),
        }
    )


def _with_listen(service: Service, name: str, port: int) -> Service:
    return service.model_copy(
        update={
            "name": service.name or name,
            "listen": service.listen or (f"0.0.0.0:{port}", f"[::]:{port}"),
        }
    )


def _smtp_port(service: SMTPService) -> int:
    if service.tls == "implicit":
        return 465
    return 587 if service.role in ("submission", "out") else 25


def _port(service: POP3Service | IMAPService, protocol: str) -> int:
    ports = _PORTS[protocol]
    return ports.get(service.tls, ports[""])


def _contradictions(configuration: Configuration) -> Iterator[ConfigurationProblem]:
    keys = configuration.keys
    names: dict[str, KeyPath] = {}
    listening: dict[str, KeyPath] = {}
    for path, service in configuration.services():
        if service.name in names:
            other = configuration.line(*names[service.name])
            yield configuration.problem(
                f'the service in line {other} is called "{service.name}" too; give each a name', *path, "name"
            )
        names.setdefault(service.name, path)
        for index, text in enumerate(service.listen):
            address = str(parse_listen(text))
            if address in listening and not address.endswith(":0"):
                other = configuration.line(*listening[address])
                reason = f"{address} is taken by the service in line {other}"
                yield configuration.problem(reason, *path, "listen", index)
            listening.setdefault(address, path)
        if service.tls != "none" and not keys.tls.certificate:
            yield configuration.problem(
                f'tls = "{service.tls}" needs a certificate in [tls], or say tls = "none"', *path, "tls"
            )
    if names and not keys.hostname:
        yield configuration.problem("hostname is needed: the name by which this server greets", "hostname")
    for key, file in _named_files(configuration):
        if not file.is_file():
            yield configuration.problem(f"there is no file {file}", *key)
    if not keys.store.url.startswith("sqlite:"):
        yield configuration.problem('must begin with "sqlite:"', "store", "url")
    if (keys.unknown_recipient == "deliver") != bool(keys.recipients.catch_all):
        reason = 'unknown_recipient = "deliver" and catch_all go together'
        yield configuration.problem(reason, "recipients", "catch_all")
    if keys.group and not keys.user:
        yield configuration.problem("group needs user", "group")


def _named_files(configuration: Configuration) -> Iterator[tuple[KeyPath, Path]]:
    keys = configuration.keys
    certificates: list[tuple[KeyPath, Any]] = [(("tls",), keys.tls)]
    certificates += [(("tls", "names", index), name) for index, name in enumerate(keys.tls.names)]
    for path, table in certificates:
        for word in ("certificate", "key"):
            if getattr(table, word):
                yield (*path, word), configuration.path(getattr(table, word))
    if keys.recipients.aliases:
        yield ("recipients", "aliases"), configuration.path(keys.recipients.aliases)
    for index, service in enumerate(keys.smtp):
        if service.senders.kill_file:
            yield ("smtp", index, "senders", "kill_file"), configuration.path(service.senders.kill_file)

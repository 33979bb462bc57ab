"""
Alias files: who takes mail for names that are no accounts.

    # comment
    postmaster: alice@here.example                     in every domain of ours
    sales@shop.example: bob@here.example, carol        carol: in the domain that the mail is for
    info-*: office@here.example                        * any run, ? one character; in the domain too
    support: :include:support.txt                      addresses out of a file, by lines or commas
    :include:more-aliases                              rules out of another file, in this place

The first rule that matches decides. A line that begins with white space goes on with the one before. Files are UTF-8;
names of files are relative to the file that names them. Programs and files are no targets.

Reading files is the caller's: `parse_aliases` is handed a function for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .address import fold_local_part, parse_address
from .addresspattern import WILD_MAX, AddressPattern, PatternTable, parse_pattern

INCLUDE = ":include:"
RULES_MAX = 100_000
TARGETS_MAX = 10_000
DEPTH_MAX = 10
FILES_MAX = 200
PROBLEMS_MAX = 50

Targets = tuple[str, ...]
Read = Callable[[str, str], tuple[str, str]]
"""(name as it stands there, file that names it or "") -> (path, text); raises ValueError with the reason."""

_BETWEEN_COMMAS = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*+"|")++')  # a quoted local part may hold commas


@dataclass(frozen=True, slots=True)
class AliasProblem:
    """What is wrong with one line, from 1; 0 is the file as a whole."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class BadAliases(ValueError):
    """An alias file cannot be used; `problems` are the first PROBLEMS_MAX."""

    def __init__(self, problems: tuple[AliasProblem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class AliasTable(PatternTable[Targets]):
    """
    Targets by pattern: addresses, and local parts without a domain for the domain the mail is for.
    """

    __slots__ = ()


def parse_aliases(name: str, read: Read) -> AliasTable:
    """
    Read an alias file with all it includes.

    Raises:
        BadAliases: with everything that is wrong, nothing of it is used then.
    """
    reader = _Reader(read)
    rows = list(reader.rules(name, "", 0))
    if reader.problems:
        raise BadAliases(tuple(reader.problems[:PROBLEMS_MAX]))
    return AliasTable(rows)


class _Reader:
    def __init__(self, read: Read) -> None:
        self.problems: list[AliasProblem] = []
        self._read = read
        self._files = 0
        self._rules = 0
        self._wild = 0

    def rules(self, name: str, named_by: str, line: int, depth: int = 0) -> Iterator[tuple[AddressPattern, Targets]]:
        """The rules of a file, those it includes in their place."""
        opened = self._open(name, named_by, line, depth)
        if opened is None:
            return
        path, text = opened
        for number, rule in _joined(text):
            if rule.startswith(INCLUDE):
                yield from self.rules(rule[len(INCLUDE) :].strip(), path, number, depth + 1)
                continue
            left, colon, right = rule.partition(":")
            try:
                if not colon:
                    raise ValueError('is no rule of the form "name: target, target"')
                pattern = parse_pattern(left)
                targets = tuple(self._targets(right, path, number, depth))
            except ValueError as error:
                self._note(path, number, str(error))
                continue
            self._rules += 1
            if self._rules > RULES_MAX:
                self._note(path, number, f"one rule more than {RULES_MAX}")
                return
            self._wild += not pattern.is_exact
            if self._wild > WILD_MAX:
                self._note(path, number, f"one rule with wildcards more than {WILD_MAX}")
                return
            yield pattern, targets

    def _targets(self, text: str, path: str, line: int, depth: int) -> Iterator[str]:
        found = 0
        for word in _listed(text):
            for target in self._included(word, path, line, depth) if word.startswith(INCLUDE) else (word,):
                found += 1
                if found > TARGETS_MAX:
                    raise ValueError(f"more than {TARGETS_MAX} targets")
                yield _target(target)
        if not found:
            raise ValueError("leads nowhere")

    def _included(self, word: str, path: str, line: int, depth: int) -> Iterator[str]:
        """The targets in a file that a rule names; what is wrong in it is told with its own line."""
        opened = self._open(word[len(INCLUDE) :].strip(), path, line, depth + 1)
        if opened is None:
            return
        inner, text = opened
        for number, listed in _joined(text):
            for target in _listed(listed):
                try:
                    yield _target(target)
                except ValueError as error:
                    self._note(inner, number, str(error))

    def _open(self, name: str, named_by: str, line: int, depth: int) -> tuple[str, str] | None:
        self._files += 1
        try:
            if depth > DEPTH_MAX:
                raise ValueError(f"files include each other more than {DEPTH_MAX} deep")
            if self._files > FILES_MAX:
                raise ValueError(f"more than {FILES_MAX} files")
            if not name:
                raise ValueError(f"no file behind {INCLUDE}")
            return self._read(name, named_by)
        except ValueError as error:
            self._note(named_by or name, line, str(error))
            return None

    def _note(self, file: str, line: int, reason: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(AliasProblem(file, line, reason))


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) of what is no comment, with the lines that go on with it."""
    begun, parts = 0, [""]
    for number, line in enumerate(text.split("\n"), 1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        if line[0] in " \t" and begun:
            parts.append(content)
            continue
        if begun:
            yield begun, " ".join(parts)
        begun, parts = number, [content]
    if begun:
        yield begun, " ".join(parts)


def _listed(text: str) -> Iterator[str]:
    """What stands between commas."""
    return filter(None, map(str.strip, _BETWEEN_COMMAS.findall(text)))


def _target(text: str) -> str:
    """An address or a local part, folded where it stands for one of ours."""
    if text.startswith(("|", "/", ":")):
        raise ValueError(f'"{text}" is no target: programs, files and commands are not run')
    try:
        if "@" in text:
            return str(parse_address(text))
        parse_address(f"{text}@x")
    except ValueError as error:
        raise ValueError(f'"{text}" is no address: {error}') from None
    return fold_local_part(text)

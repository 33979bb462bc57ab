"""
Where each key of a TOML file stands, for messages that name a line: `tomllib` keeps no positions.

Reads only what `tomllib` has accepted already, so it checks nothing.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping

KeyPath = tuple[str | int, ...]
"""Names of tables and keys, and positions in arrays from 0: `("smtp", 0, "firewall", 2)`."""

_Words = Iterator[tuple[str, int]]

_WORD = re.compile(
    r'(?P<text>"""(?:\\.|[^\\])*?"""+|\'\'\'.*?\'\'\'+|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\')'
    r"|(?P<end>\n)|(?P<mark>[][{}=,.])|(?P<bare>[^][{}=,.\s#\"']+)|#[^\n]*|\s",
    re.DOTALL,
)


def find_lines(text: str) -> dict[KeyPath, int]:
    """Map the path of every table, key and array entry to its line, counted from 1."""
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    entries: dict[KeyPath, int] = {}
    words = _words(text)
    for word, line in words:
        if word == "\n":
            continue
        path = table
        if word == "[":
            doubled, path = False, ()
            for word, _ in words:
                if word == "\n":
                    break
                if word == "[":
                    doubled = True
                elif word not in ("]", "."):
                    path = _into_array((*path, _name(word)), entries)
            if doubled:
                name = path[:-1] if isinstance(path[-1], int) else path
                entries[name] = entries.get(name, -1) + 1
                lines.setdefault(name, line)
                path = (*name, entries[name])
            table = path
            lines.setdefault(table, line)
        else:
            _read_key(words, word, line, path, lines)
    return lines


def line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int:
    """The line of a path, or of the nearest table or key around it; 1 where nothing is known."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _words(text: str) -> _Words:
    """Words with their lines; a line end is one, blanks and comments are none."""
    line = 1
    for match in _WORD.finditer(text):
        if match.lastgroup:
            yield match[0], line
        line += match[0].count("\n")
    yield "\n", line


def _read_key(words: _Words, word: str, line: int, path: KeyPath, lines: dict[KeyPath, int]) -> str:
    """Read `key = value`, the key's first word read already; returns the mark behind the value."""
    while word != "=":
        if word != ".":
            path = (*path, _name(word))
        word, _ = next(words)
    lines[path] = line
    return _read_value(words, path, lines, inside=False)


def _read_value(words: _Words, path: KeyPath, lines: dict[KeyPath, int], *, inside: bool) -> str:
    """Read a value and the mark behind it, which is returned; `inside` brackets a line end is none."""
    for word, line in words:
        if word == "\n" and inside:
            continue
        if word in ("\n", ",", "]", "}"):
            return word
        lines.setdefault(path, line)
        if word == "[":
            entry = 0
            while _read_value(words, (*path, entry), lines, inside=True) != "]":
                entry += 1
        elif word == "{":
            while _read_pair(words, path, lines) != "}":
                pass
    return "\n"


def _read_pair(words: _Words, path: KeyPath, lines: dict[KeyPath, int]) -> str:
    for word, line in words:
        if word == "}":
            return word
        if word not in ("\n", ","):
            return _read_key(words, word, line, path, lines)
    return "}"


def _into_array(path: KeyPath, entries: Mapping[KeyPath, int]) -> KeyPath:
    return (*path, entries[path]) if path in entries else path


def _name(word: str) -> str:
    return next(iter(tomllib.loads(f"{word} = 0"))) if word[0] in "\"'" else word

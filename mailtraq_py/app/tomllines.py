"""
Where each key of a TOML file stands, for messages that name a line: `tomllib` keeps no positions.

Reads only what `tomllib` has accepted already, so it checks nothing. Keys inside inline tables have no line of their
own; `line_of` then answers with that of the key that holds the table.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping

KeyPath = tuple[str | int, ...]
"""Names of tables and keys, and positions in arrays from 0: `("smtp", 0, "firewall", 2)`."""

_TOKEN = re.compile(
    r'(?P<text>"""(?:\\.|[^\\])*?"""+|\'\'\'.*?\'\'\'+|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\')'
    r"|(?P<end>\n)|(?P<mark>[][{}=,.])|(?P<bare>[^][{}=,.\s#\"']+)|#[^\n]*|\s",
    re.DOTALL,
)


def find_lines(text: str) -> dict[KeyPath, int]:
    """Map the path of every table, key and array entry to its line, counted from 1."""
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    entries: dict[KeyPath, int] = {}
    tokens = _tokens(text)
    for word, line in tokens:
        if word == "\n":
            continue
        path = table
        if word == "[":
            doubled, path = False, ()
            for word, _ in tokens:
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
            while word != "=":
                if word != ".":
                    path = (*path, _name(word))
                word, _ = next(tokens)
            lines[path] = line
            _read_value(tokens, path, lines)
    return lines


def line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int:
    """The line of a path, or of the nearest table or key around it; 1 where nothing is known."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """Tokens with their lines; a line end is one, blanks and comments are none."""
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup:
            yield match[0], line
        line += match[0].count("\n")
    yield "\n", line


def _read_value(tokens: Iterator[tuple[str, int]], path: KeyPath, lines: dict[KeyPath, int]) -> None:
    """Read to the end of a value; in an array, note the line of each entry."""
    depth = entry = 0
    for word, line in tokens:
        if word == "\n":
            if depth == 0:
                return
        elif word in "]}":
            depth -= 1
        else:
            if depth == 1 and word != ",":
                lines.setdefault((*path, entry), line)
            if word in "[{":
                depth += 1
            elif word == "," and depth == 1:
                entry += 1


def _into_array(path: KeyPath, entries: Mapping[KeyPath, int]) -> KeyPath:
    return (*path, entries[path]) if path in entries else path


def _name(word: str) -> str:
    return next(iter(tomllib.loads(f"{word} = 0"))) if word[0] in "\"'" else word

"""A small reader of IMAP's parenthesised lists, to see what a client would: lists, strings, numbers, NIL."""

from __future__ import annotations

import re
from typing import Any

_TOKEN = re.compile(
    rb"( )|(\()|(\))|NIL(?=[ )])()|([0-9]+)"  # blank, opening, closing, NIL, number
    rb'|"((?:[^"\\\r\n\x80-\xff\0]|\\["\\])*)"|\{([0-9]+)\}\r\n'  # quoted, literal
)


def read_list(octets: bytes) -> list[Any]:
    """
    Read one list that is all of the octets; strings as bytes, numbers as int, NIL as None.

    Raises:
        ValueError: it is not one well-formed list.
    """
    stack: list[list[Any]] = [[]]
    position = 0
    while position < len(octets):
        match = _TOKEN.match(octets, position)
        if match is None:
            raise ValueError(f"bad token at {position}: {octets[position : position + 40]!r}")
        position = match.end()
        if match[2]:
            stack.append([])
        elif match[3]:
            done = stack.pop()
            stack[-1].append(done)
        elif match[4] is not None:
            stack[-1].append(None)
        elif match[5]:
            stack[-1].append(int(match[5]))
        elif match[6] is not None:
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", match[6]))
        elif match[7]:
            end = position + int(match[7])
            if end > len(octets) or 0 in octets[position:end]:
                raise ValueError("bad literal")
            stack[-1].append(octets[position:end])
            position = end
    if len(stack) != 1 or len(stack[0]) != 1 or not isinstance(stack[0][0], list):
        raise ValueError("not one list")
    found: list[Any] = stack[0][0]
    return found

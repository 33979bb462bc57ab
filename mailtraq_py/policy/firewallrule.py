"""
What a firewall list's entry may be, and which addresses it means.

    entry     = [ "~" ] pattern
    pattern   = octets / short / ip "/" prefixlen / ip "/" netmask / ip "-" ip / ip "-" lastoctet / ipv6 forms
              / hostname
    octets    = part "." part "." part "." part      part = 1*3( DIGIT / "*" / "?" / "%" )
    short     = pattern with "*" and fewer than three dots           ; "*", "10.*"
    hostname  = dotted name with at least one letter

Every pattern becomes spans (first and last address) or, where that would be too many spans, a grid: for each of the
four octets the set of its values. IPv4-mapped IPv6 addresses are IPv4.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from mailtraq_py.mail.address import fold_domain

from .settings import Entry

IPV4_LAST = (1 << 32) - 1
IPV6_LAST = (1 << 128) - 1
_ALL_VALUES = (1 << 256) - 1
_SPANS_MAX = 16  # a pattern that needs more spans than this is kept as a grid

_OCTETS = re.compile(r"[0-9*?%]{1,3}(?:\.[0-9*?%]{1,3}){3}\Z")
_LITERAL = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\Z")
_SHORT = re.compile(r"[0-9.*?%]{1,15}\Z")
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,2})\Z")
_LETTER = re.compile(r"[a-z]")

Grid = tuple[int, int, int, int]
"""For each octet a set of values: bit v is set where v belongs to it."""


@dataclass(frozen=True, slots=True)
class Span:
    """The addresses from `first` to `last`, both included."""

    first: int
    last: int
    ipv6: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry, read: whether it excludes, and which addresses it means (none, for a host name)."""

    entry: Entry
    excludes: bool
    spans: tuple[Span, ...] = ()
    grids: tuple[Grid, ...] = ()


def parse_rule(entry: Entry) -> Rule:
    """
    Read one entry.

    Raises:
        ValueError: it is none of the forms; the message is the reason, for the administrator.
    """
    text = entry.text.strip()
    excludes = text.startswith("~")
    spans, grids = _parse_pattern(text[1:] if excludes else text)
    return Rule(entry, excludes, spans, grids)


def _parse_pattern(text: str) -> tuple[tuple[Span, ...], tuple[Grid, ...]]:
    if _LITERAL.match(text):
        return (_parse_literal(text),), ()
    if not text:
        raise ValueError("names no address")
    if any(character.isspace() for character in text):
        raise ValueError("has a space inside")
    if text in ("*", "*.*.*.*"):
        return (Span(0, IPV4_LAST), Span(0, IPV6_LAST, True)), ()
    if _is_hostname(text):
        return (), ()
    if "/" in text:
        return (_parse_network(text),), ()
    if "-" in text:
        return (_parse_range(text),), ()
    if ":" in text:
        return (_parse_literal(text),), ()
    return _parse_octets(text)


def _is_hostname(text: str) -> bool:
    if "." not in text or ":" in text or "/" in text or "[" in text:
        return False
    try:
        folded = fold_domain(text)
    except ValueError:
        return False
    return "." in folded and _LETTER.search(folded) is not None


def _parse_literal(text: str) -> Span:
    """One address, as a span of itself."""
    if ":" not in text:
        value = 0
        parts = text.split(".")
        if len(parts) != 4:
            raise ValueError("is not an address: an IPv4 address has four parts")
        for part in parts:
            value = value << 8 | _parse_number(part, 255, "octet")
        return Span(value, value)
    if "%" in text:
        raise ValueError("has a zone index; entries are without")
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise ValueError("is not an IPv6 address") from None
    mapped = address.ipv4_mapped
    value = int(address if mapped is None else mapped)
    return Span(value, value, mapped is None)


def _parse_number(text: str, highest: int, what: str) -> int:
    if not _NUMBER.match(text):
        if text.isascii() and text.isdigit() and text.startswith("0"):
            raise ValueError(f"has the {what} {text} with a leading zero")
        raise ValueError(f'has "{text}" where a {what} belongs')
    if int(text) > highest:
        raise ValueError(f"has the {what} {text}, and {highest} is the highest")
    return int(text)


def _parse_network(text: str) -> Span:
    start, _, mask = text.partition("/")
    if ":" in start:
        address = _parse_literal(start)
        length = _parse_number(mask, 128, "prefix length")
        if not address.ipv6:
            if length < 96:
                raise ValueError("is a mapped IPv4 address with a prefix wider than ::ffff:0:0/96")
            return _network(address.first, length - 96, 32)
        return _network(address.first, length, 128)
    address = _parse_literal(start)
    if "." not in mask:
        return _network(address.first, _parse_number(mask, 32, "prefix length"), 32)
    bits = _parse_literal(mask).first
    holes = ~bits & IPV4_LAST
    if holes & (holes + 1):
        raise ValueError("has a netmask whose ones are not all on the left")
    return _network(address.first, 32 - holes.bit_length(), 32)


def _network(value: int, length: int, width: int) -> Span:
    host_bits = width - length
    first = value >> host_bits << host_bits
    return Span(first, first | ((1 << host_bits) - 1), width == 128)


def _parse_range(text: str) -> Span:
    start, _, end = text.partition("-")
    first = _parse_literal(start)
    if ":" not in end and "." not in end:
        if first.ipv6 or ":" in start:
            raise ValueError("is an IPv6 range whose end is not an address")
        last = first.first & ~0xFF | _parse_number(end, 255, "last octet")
    else:
        other = _parse_literal(end)
        if first.ipv6 != other.ipv6:
            raise ValueError("is a range from one address family to the other")
        last = other.first
    if last < first.first:
        raise ValueError("is a reversed range")
    return Span(first.first, last, first.ipv6)


def _parse_octets(text: str) -> tuple[tuple[Span, ...], tuple[Grid, ...]]:
    if text.count(".") == 3:
        if not _OCTETS.match(text):
            raise ValueError("is not four octets of one to three digits or wildcards")
        forms = [text.split(".")]
    elif _SHORT.match(text) and "*" in text and text.count(".") < 3:
        forms = _spread(text)
    elif _SHORT.match(text) and "*" not in text:
        raise ValueError('has not four parts, and no "*"')
    else:
        raise ValueError("is no address, no pattern and no host name")
    spans: list[Span] = []
    grids: list[Grid] = []
    for parts in forms:
        sets = [_octet_values(part) for part in parts]
        if len(forms) == 1:
            for part, values in zip(parts, sets, strict=True):
                if not values:
                    raise ValueError(f'has "{part}", which no octet is like')
        if all(sets):
            grid: Grid = (sets[0], sets[1], sets[2], sets[3])
            found = _grid_spans(grid)
            if found is None:
                grids.append(grid)
            else:
                spans.extend(found)
    if not spans and not grids:
        raise ValueError("is like no address")
    return tuple(spans), tuple(grids)


def _spread(text: str) -> list[list[str]]:
    """
    Give a short pattern its missing dots: each "*" may cross dots, so each way to share them out is one form.
    """
    pieces = re.sub(r"\*+", "*", text).split("*")
    missing = 3 - text.count(".")
    forms = []
    for crossed in product(range(missing + 1), repeat=len(pieces) - 1):
        if sum(crossed) == missing:
            whole = pieces[0]
            for dots, piece in zip(crossed, pieces[1:], strict=True):
                whole += "*" + ".*" * dots + piece
            forms.append(whole.split("."))
    return forms


@lru_cache(maxsize=4096)
def _octet_values(part: str) -> int:
    """The octets, as decimal text without leading zeros, that are like this part: a set in the bits of an integer."""
    if part == "*":
        return _ALL_VALUES
    digit = "[0-9]"
    like = re.compile("".join({"*": "[0-9]*", "?": digit, "%": digit}.get(sign, sign) for sign in part))
    found = sum(1 << value for value in range(256) if like.fullmatch(str(value)))
    if not found and part.isdigit():
        _parse_number(part, 255, "octet")
    return found


@lru_cache(maxsize=4096)
def _runs(values: int) -> tuple[tuple[int, int], ...]:
    """A set of octet values as (first, last) pairs."""
    runs: list[tuple[int, int]] = []
    for value in range(256):
        if values >> value & 1:
            if runs and runs[-1][1] == value - 1:
                runs[-1] = (runs[-1][0], value)
            else:
                runs.append((value, value))
    return tuple(runs)


def _grid_spans(grid: Grid) -> list[Span] | None:
    """The spans a grid is made of, or None where they are too many."""
    depth = 4
    while depth > 1 and grid[depth - 1] == _ALL_VALUES:
        depth -= 1
    runs = _runs(grid[depth - 1])
    count = len(runs)
    for values in grid[: depth - 1]:
        count *= values.bit_count()
    if count > _SPANS_MAX:
        return None
    shift = 8 * (4 - depth)
    before = [
        [value for first, last in _runs(values) for value in range(first, last + 1)] for values in grid[: depth - 1]
    ]
    host_bits = (1 << shift) - 1
    spans: list[Span] = []
    for leading in product(*before):
        base = 0
        for value in leading:
            base = base << 8 | value
        spans.extend(
            Span((base << 8 | first) << shift, ((base << 8 | last) << shift) | host_bits) for first, last in runs
        )
    return spans


def _lowest(values: int) -> int:
    return (values & -values).bit_length() - 1


def next_in_grid(grid: Grid, address: int) -> int | None:
    """The lowest address of a grid at or after this one."""
    octets = address.to_bytes(4, "big")
    agreeing = 0
    while agreeing < 4 and grid[agreeing] >> octets[agreeing] & 1:
        agreeing += 1
    if agreeing == 4:
        return address
    for place in range(agreeing, -1, -1):
        above = grid[place] >> (octets[place] + 1)
        if above:
            step = octets[place] + 1 + _lowest(above)
            return int.from_bytes(bytes([*octets[:place], step, *map(_lowest, grid[place + 1 :])]), "big")
    return None

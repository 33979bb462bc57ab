"""
Firewall lists: entries that admit or exclude client addresses; the last one that matches decides.

    entry     = [ "~" ] pattern
    pattern   = octets / short / ip "/" prefixlen / ip "/" netmask / ip "-" ip / ip "-" lastoctet / ipv6 forms
              / hostname
    octets    = part "." part "." part "." part      part = 1*3( DIGIT / "*" / "?" / "%" )
    short     = pattern with "*" and fewer than three dots           ; "*", "10.*"
    hostname  = dotted name with at least one letter

Every pattern becomes spans (first and last address) or, where that would be too many spans, a grid: for each of the
four octets the set of its values. A list is compiled once. Its spans are flattened into disjoint stretches, each
knowing the last entry that covers it, found by bisection; its grids are turned on their side: for each octet and value
one integer whose bits are the grids that allow it, so that four look-ups and three ANDs answer for thousands.
"""

from __future__ import annotations

import heapq
import ipaddress
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from mailtraq_py.mail.address import fold_domain

from .problems import Problems
from .settings import Entries, Entry

IPV4_LAST = (1 << 32) - 1
IPV6_LAST = (1 << 128) - 1
_ALL_VALUES = (1 << 256) - 1
_SPANS_MAX = 16  # a pattern that needs more spans than this is kept as a grid
_MAPPED = 0xFFFF << 32

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


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """An address as lists compare it: IPv4-mapped IPv6 is IPv4."""

    value: int
    ipv6: bool


@lru_cache(maxsize=16384)
def parse_client(text: str) -> ClientAddress | None:
    """Read a client's address, zone index or not; None where there is no IP address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return ClientAddress(int(address), False)
    mapped = address.ipv4_mapped
    return ClientAddress(int(address), True) if mapped is None else ClientAddress(int(mapped), False)


def is_loopback(client: str) -> bool:
    """127.0.0.0/8 and ::1."""
    address = parse_client(client)
    if address is None:
        return False
    return address.value == 1 if address.ipv6 else address.value >> 24 == 127


# --- reading entries -------------------------------------------------------------------------------------------


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


def parse_rules(entries: Entries, key: str, problems: Problems) -> tuple[Rule, ...]:
    """Read a list's entries; what cannot be read is an error in `problems`."""
    rules = []
    for entry in entries:
        try:
            rules.append(parse_rule(entry))
        except ValueError as error:
            problems.error(key, entry, str(error))
    return tuple(rules)


def _parse_pattern(text: str) -> tuple[tuple[Span, ...], tuple[Grid, ...]]:
    if _LITERAL.match(text):
        value = _parse_literal(text).value
        return (Span(value, value),), ()
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
        address = _parse_literal(text)
        return (Span(address.value, address.value, address.ipv6),), ()
    return _parse_octets(text)


def _is_hostname(text: str) -> bool:
    if "." not in text or ":" in text or "/" in text or "[" in text:
        return False
    try:
        folded = fold_domain(text)
    except ValueError:
        return False
    return "." in folded and _LETTER.search(folded) is not None


def _parse_literal(text: str) -> ClientAddress:
    if ":" not in text:
        value = 0
        parts = text.split(".")
        if len(parts) != 4:
            raise ValueError("is not an address: an IPv4 address has four parts")
        for part in parts:
            value = value << 8 | _parse_number(part, 255, "octet")
        return ClientAddress(value, False)
    if "%" in text:
        raise ValueError("has a zone index; entries are without")
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        raise ValueError("is not an IPv6 address") from None
    address = parse_client(text)
    assert address is not None  # noqa: S101 - it was one on the line before
    return address


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
            return _network(address.value, length - 96, 32)
        return _network(address.value, length, 128)
    address = _parse_literal(start)
    if "." not in mask:
        return _network(address.value, _parse_number(mask, 32, "prefix length"), 32)
    bits = _parse_literal(mask).value
    holes = ~bits & IPV4_LAST
    if holes & (holes + 1):
        raise ValueError("has a netmask whose ones are not all on the left")
    return _network(address.value, 32 - holes.bit_length(), 32)


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
        last = ClientAddress(first.value & ~0xFF | _parse_number(end, 255, "last octet"), False)
    else:
        last = _parse_literal(end)
    if first.ipv6 != last.ipv6:
        raise ValueError("is a range from one address family to the other")
    if last.value < first.value:
        raise ValueError("is a reversed range")
    return Span(first.value, last.value, first.ipv6)


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


# --- the compiled list -----------------------------------------------------------------------------------------


class FirewallList:
    """
    A list, compiled.

    Args:
        rules: from top to bottom; several lists one after the other make one list.

    `grid_bits` holds for each octet, for each of its values, the grids that allow it as bits; () without grids.
    """

    __slots__ = ("_grid_owners", "_v4_owners", "_v4_starts", "_v6_owners", "_v6_starts", "grid_bits", "rules")

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._v4_starts, self._v4_owners = _flatten(_owned_spans(rules, ipv6=False))
        self._v6_starts, self._v6_owners = _flatten(_owned_spans(rules, ipv6=True))
        grids = [(index, grid) for index, rule in enumerate(rules) for grid in rule.grids]
        self._grid_owners = [index for index, _ in grids]
        self.grid_bits = tuple(_grid_column([grid[place] for _, grid in grids]) for place in range(4)) if grids else ()

    def __len__(self) -> int:
        return len(self.rules)

    def decide(self, client: str) -> tuple[bool, int | None]:
        """Whether this address is admitted, and the index of the entry that decided (None: none matched)."""
        index = self.last_match(parse_client(client))
        if index < 0:
            return False, None
        return not self.rules[index].excludes, index

    def admits(self, client: str) -> bool:
        """Whether this address is admitted."""
        index = self.last_match(parse_client(client))
        return index >= 0 and not self.rules[index].excludes

    def last_match(self, address: ClientAddress | None) -> int:
        """The index of the last rule that matches, -1 for none."""
        if address is None:
            return -1
        value = address.value
        if address.ipv6:
            return self._v6_owners[bisect_right(self._v6_starts, value)]
        best = self._v4_owners[bisect_right(self._v4_starts, value)]
        if self.grid_bits:
            first, second, third, fourth = self.grid_bits
            hits = first[value >> 24] & second[value >> 16 & 255] & third[value >> 8 & 255] & fourth[value & 255]
            if hits:
                best = max(best, self._grid_owners[hits.bit_length() - 1])
        return best

    def first_admitted(self, rule: Rule) -> tuple[str, int] | None:
        """An address that this rule means and this list admits, as text, with the index of the entry that admits it."""
        for span in rule.spans:
            for address in self._candidates(span):
                index = self.last_match(ClientAddress(address, span.ipv6))
                if index >= 0 and not self.rules[index].excludes:
                    return _print(address, span.ipv6), index
        for grid in rule.grids:
            for address in self._grid_candidates(grid):
                index = self.last_match(ClientAddress(address, False))
                if index >= 0 and not self.rules[index].excludes:
                    return _print(address, False), index
        return None

    def _candidates(self, span: Span) -> Iterator[int]:
        """One address of each stretch and each grid of this list that a span meets."""
        starts = self._v6_starts if span.ipv6 else self._v4_starts
        yield span.first
        yield from starts[bisect_right(starts, span.first) : bisect_right(starts, span.last)]
        if not span.ipv6:
            for index in self._grid_owners:
                for grid in self.rules[index].grids:
                    address = next_in_grid(grid, span.first)
                    if address is not None and address <= span.last:
                        yield address

    def _grid_candidates(self, grid: Grid) -> Iterator[int]:
        """One address of each stretch and each grid of this list that a grid meets."""
        for start, _ in self.stretches(ipv6=False):
            address = next_in_grid(grid, start)
            if address is not None:
                yield address
        for index in self._grid_owners:
            for other in self.rules[index].grids:
                both = tuple(mine & yours for mine, yours in zip(grid, other, strict=True))
                if all(both):
                    yield next_in_grid((both[0], both[1], both[2], both[3]), 0) or 0

    def stretches(self, *, ipv6: bool) -> list[tuple[int, int]]:
        """The flattened spans as (first address, index of the last entry over it or -1), in rising order from 0."""
        starts, owners = (self._v6_starts, self._v6_owners) if ipv6 else (self._v4_starts, self._v4_owners)
        whole = list(zip(starts, owners[1:], strict=True))
        return whole if starts and starts[0] == 0 else [(0, -1), *whole]


def _print(address: int, ipv6: bool) -> str:
    return str(ipaddress.IPv6Address(address) if ipv6 else ipaddress.IPv4Address(address))


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


def _owned_spans(rules: Sequence[Rule], *, ipv6: bool) -> list[tuple[int, int, int]]:
    return [
        (span.first, span.last, index) for index, rule in enumerate(rules) for span in rule.spans if span.ipv6 is ipv6
    ]


def _flatten(spans: Iterable[tuple[int, int, int]]) -> tuple[list[int], list[int]]:
    """
    Cut overlapping spans into disjoint stretches.

    Args:
        spans: (first, last, index) with the higher index winning.

    Returns:
        the stretches' first addresses in rising order, and the winning indexes: `owners[i]` belongs to the addresses
        before `starts[i]`, the last one to all from the last start on; -1 where no span covers.
    """
    waiting = sorted(spans)
    edges = sorted({edge for first, last, _ in waiting for edge in (first, last + 1)})
    starts: list[int] = []
    owners = [-1]
    covering: list[tuple[int, int]] = []
    position = 0
    for edge in edges:
        while position < len(waiting) and waiting[position][0] == edge:
            heapq.heappush(covering, (-waiting[position][2], waiting[position][1]))
            position += 1
        while covering and covering[0][1] < edge:
            heapq.heappop(covering)
        owner = -covering[0][0] if covering else -1
        if owner != owners[-1]:
            starts.append(edge)
            owners.append(owner)
    return starts, owners


def _grid_column(sets: Sequence[int]) -> tuple[int, ...]:
    """For each value of one octet: the grids, as bits, that allow it."""
    members: dict[int, bytearray] = {}
    for number, values in enumerate(sets):
        bits = members.setdefault(values, bytearray(len(sets) // 8 + 1))
        bits[number >> 3] |= 1 << (number & 7)
    distinct = [(values, int.from_bytes(bits, "little")) for values, bits in members.items()]
    column = []
    for value in range(256):
        allowed = 0
        for values, bits_of in distinct:
            if values >> value & 1:
                allowed |= bits_of
        column.append(allowed)
    return tuple(column)


EMPTY_LIST = FirewallList(())

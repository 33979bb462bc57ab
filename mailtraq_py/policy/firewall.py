"""
Firewall lists: entries that admit or exclude client addresses; the last one that matches decides.

A list is compiled once. Its spans are flattened into disjoint stretches, each knowing the last entry that covers it,
found by bisection; its grids are turned on their side: for each octet and value one integer whose bits are the grids
that allow it, so that four look-ups and three ANDs answer for thousands. What an entry may be is in `firewallrule.py`.
"""

from __future__ import annotations

import heapq
import ipaddress
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .firewallrule import Grid, Rule, Span, next_in_grid, parse_rule
from .problems import Problems
from .settings import Entries


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


def parse_rules(entries: Entries, key: str, problems: Problems) -> tuple[Rule, ...]:
    """Read a list's entries; what cannot be read is an error in `problems`."""
    rules = []
    for entry in entries:
        try:
            rules.append(parse_rule(entry))
        except ValueError as error:
            problems.error(key, entry, str(error))
    return tuple(rules)


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

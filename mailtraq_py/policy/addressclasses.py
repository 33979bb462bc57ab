"""
All client addresses, sorted by what a set of firewall lists says of them.

The open-relay proof asks for every kind of address once, instead of for every address: two addresses that each list
admits or denies alike are of one class. Classes are counted exactly, in public address space, by cutting it at every
stretch of every list; where lists hold grids, the space is cut into boxes (products of octet sets) as well. Only lists
whose boxes are too many are measured by evenly spread samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from .firewall import ClientAddress, FirewallList
from .firewallrule import IPV4_LAST, IPV6_LAST, Grid, next_in_grid, parse_rule
from .settings import entries

_BOXES_MAX = 1024
_CUTS_MAX = 200_000
_SAMPLES = 1 << 15
_GOLDEN = 2654435769  # 2**32 divided by the golden ratio: successive multiples are spread evenly

# What nobody on the Internet has (RFC 6890); documentation networks stay in, for examples.
_PUBLIC = FirewallList(
    [
        parse_rule(entry)
        for entry in entries(
            (
                "0.0.0.0-223.255.255.255",
                *("~0.0.0.0/8", "~10.0.0.0/8", "~100.64.0.0/10", "~127.0.0.0/8", "~169.254.0.0/16"),
                *("~172.16.0.0/12", "~192.168.0.0/16", "~198.18.0.0/15"),
                "2000::/3",
            )
        )
    ]
)
_EXAMPLES = ("203.0.113.9", "198.51.100.7", "8.8.8.8", "2001:db8::9")


@dataclass(frozen=True, slots=True)
class AddressClass:
    """
    Addresses that the lists agree on: `admitted` runs parallel to them; `count` is how many public addresses there are,
    `example` one of them as text.
    """

    admitted: tuple[bool, ...]
    count: int
    example: str
    ipv6: bool


def address_classes(lists: Sequence[FirewallList], avoid: frozenset[ClientAddress]) -> list[AddressClass]:
    """The classes of public addresses, largest first; an example is none of `avoid` if the class has another."""
    classes = []
    for ipv6 in (False, True):
        found: dict[tuple[bool, ...], _Tally] = {}
        for first, count in _cells(lists, ipv6=ipv6):
            client = ClientAddress(first, ipv6)
            if not _admits(_PUBLIC, client):
                continue
            vector = tuple(_admits(listed, client) for listed in lists)
            found.setdefault(vector, _Tally()).add(first, count)
        preferred = _preferred_examples(lists, avoid, ipv6)
        for vector, tally in found.items():
            example = preferred.get(vector) or tally.example(avoid, ipv6)
            classes.append(AddressClass(vector, tally.count, example, ipv6))
    return sorted(classes, key=lambda one: (one.ipv6, -one.count))


class _Tally:
    """Counts a class and keeps its largest cell's beginning."""

    def __init__(self) -> None:
        self.count = 0
        self._first = 0
        self._largest = 0

    def add(self, first: int, count: int) -> None:
        self.count += count
        if count > self._largest:
            self._first, self._largest = first, count

    def example(self, avoid: frozenset[ClientAddress], ipv6: bool) -> str:
        address = self._first
        while ClientAddress(address, ipv6) in avoid and address + 1 < self._first + self._largest:
            address += 1
        return str(IPv6Address(address) if ipv6 else IPv4Address(address))


def _admits(listed: FirewallList, client: ClientAddress) -> bool:
    index = listed.last_match(client)
    return index >= 0 and not listed.rules[index].excludes


def _preferred_examples(
    lists: Sequence[FirewallList], avoid: frozenset[ClientAddress], ipv6: bool
) -> dict[tuple[bool, ...], str]:
    """Addresses that a reader knows for examples, where a class has one."""
    preferred: dict[tuple[bool, ...], str] = {}
    for text in _EXAMPLES:
        if (":" in text) is ipv6:
            value = int(IPv6Address(text) if ipv6 else IPv4Address(text))
            client = ClientAddress(value, ipv6)
            if client not in avoid:
                preferred.setdefault(tuple(_admits(listed, client) for listed in lists), text)
    return preferred


def _cells(lists: Sequence[FirewallList], *, ipv6: bool) -> Iterator[tuple[int, int]]:
    """(first address, how many) of pieces that lie on one side of every list."""
    starts = sorted({start for listed in (*lists, _PUBLIC) for start, _ in listed.stretches(ipv6=ipv6)})
    last = IPV6_LAST if ipv6 else IPV4_LAST
    ends = [*starts[1:], last + 1]
    if ipv6 or not any(listed.grid_bits for listed in lists):
        for first, end in zip(starts, ends, strict=True):
            yield first, end - first
        return
    boxes = _boxes(lists)
    if boxes is None or len(boxes) * len(starts) > _CUTS_MAX:
        for number in range(_SAMPLES):
            yield number * _GOLDEN & IPV4_LAST, (IPV4_LAST + 1) // _SAMPLES
        return
    for box in boxes:
        for first, end in zip(starts, ends, strict=True):
            count = _below(box, end) - _below(box, first)
            if count:
                address = next_in_grid(box, first)
                assert address is not None  # noqa: S101 - there is one, it has been counted
                yield address, count


def _boxes(lists: Sequence[FirewallList]) -> list[Grid] | None:
    """Products of octet sets, disjoint and covering all, inside which each list's grids all match or all do not."""
    columns = [listed.grid_bits for listed in lists if listed.grid_bits]
    everything = tuple(-1 for _ in columns)
    partial: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((), everything)]
    for place in range(4):
        grown: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        for octets, active in partial:
            groups: dict[tuple[int, ...], int] = {}
            for value in range(256):
                left = tuple(bits & column[place][value] for bits, column in zip(active, columns, strict=True))
                groups[left] = groups.get(left, 0) | 1 << value
            grown.extend(((*octets, values), left) for left, values in groups.items())
            if len(grown) > _BOXES_MAX:
                return None
        partial = grown
    return [(octets[0], octets[1], octets[2], octets[3]) for octets, _ in partial]


def _below(box: Grid, address: int) -> int:
    """How many addresses of a box are lower than this one."""
    if address > IPV4_LAST:
        address, extra = IPV4_LAST, 1
    else:
        extra = 0
    count = 0
    for place, octet in enumerate(address.to_bytes(4, "big")):
        inside = (box[place] & ((1 << octet) - 1)).bit_count()
        for values in box[place + 1 :]:
            inside *= values.bit_count()
        count += inside
        if not box[place] >> octet & 1:
            return count
    return count + extra

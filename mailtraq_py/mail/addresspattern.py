"""
Address patterns that take an address apart, and rules that put another one together.

    *     any run of characters, also none        ?    exactly one character
    "sales-*@shop.example"      local part and domain, either may hold wildcards; neither crosses the "@"
    "sales-*"                   the same local part in every domain

Patterns have no regard for case. Each piece between stars takes the leftmost place where it fits, so matching is
linear in the address, whatever a sender makes up. (Barring, black and white lists are another matter:
`policy/addresslist.py`.)
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .address import Address, fold_domain, fold_local_part, parse_address

T = TypeVar("T")

_WILD = re.compile(r"[*?]")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")
_STANDS_FOR_STAR = "x"
_END = r"\Z"

WILD_MAX = 1000


@dataclass(frozen=True, slots=True)
class AddressPattern:
    """
    A pattern, compiled. `local_part` and `domain` are folded; `domain` is "" where every domain will do.

    Made by `parse_pattern`.
    """

    local_part: str
    domain: str
    _local: re.Pattern[str] | None = field(default=None, repr=False, compare=False)
    _domain: re.Pattern[str] | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.local_part}@{self.domain}" if self.domain else self.local_part

    @property
    def is_exact(self) -> bool:
        """Without any wildcard."""
        return self._local is None and self._domain is None

    def match(self, local_part: str, domain: str) -> tuple[str, ...] | None:
        """
        Match a local part as it was written and a folded domain.

        Returns:
            what each star stood for, from left to right; None where the pattern does not match.
        """
        stars = _match(self._local, self.local_part, unicodedata.normalize("NFC", local_part))
        if stars is None or not self.domain:
            return stars
        more = _match(self._domain, self.domain, domain)
        return None if more is None else stars + more


def _match(expression: re.Pattern[str] | None, text: str, given: str) -> tuple[str, ...] | None:
    """What stars stood for, () where there are none; None for no match."""
    if expression is None:
        return () if fold_local_part(given) == text else None
    found = expression.match(given)
    return None if found is None else found.groups()


def parse_pattern(text: str) -> AddressPattern:
    """
    Read a pattern.

    Raises:
        ValueError: it has no local part, or no domain behind its "@", or a control character or space.
    """
    text = text.strip()
    if _UNPRINTABLE.search(text):
        raise ValueError("holds a space or control character")
    local_part, at, domain = text.rpartition("@") if "@" in text else (text, "", "")
    if not local_part or (at and not domain):
        raise ValueError("is no pattern: local-part, or local-part@domain")
    local_part = fold_local_part(local_part)
    domain = fold_domain_pattern(domain) if at else ""
    return AddressPattern(local_part, domain, _compile(local_part), _compile(domain))


def fold_domain_pattern(domain: str) -> str:
    """
    Give a domain with wildcards the form of `fold_domain`.

    Raises:
        ValueError: it can be no domain whatever its wildcards stand for.
    """
    if not _WILD.search(domain):
        return fold_domain(domain)
    if not domain.isascii():
        raise ValueError("a domain with wildcards is written in ASCII (xn--)")
    fold_domain(_WILD.sub(_STANDS_FOR_STAR, domain))
    return domain.removesuffix(".").lower()


def _compile(text: str) -> re.Pattern[str] | None:
    if not _WILD.search(text):
        return None
    return re.compile(_expression(text, "(", ")"), re.IGNORECASE | re.DOTALL)


def _expression(text: str, begin: str, end: str) -> str:
    """One group a star; all but the last are atomic with the piece behind them, so none is tried a second time."""
    pieces = [re.escape(piece).replace(r"\?", ".") for piece in text.split("*")]
    if len(pieces) == 1:
        return pieces[0] + _END
    middle = "".join(f"(?>{begin}.*?{end}{piece})" for piece in pieces[1:-1])
    return f"{pieces[0]}{middle}{begin}.*{end}{pieces[-1]}{_END}"


def _together(pattern: AddressPattern) -> str:
    """An expression for folded local part, "@" and domain, without groups."""
    domain = _expression(pattern.domain, "(?:", ")") if pattern.domain else r"[^@]*\Z"
    return f"(?:{_expression(pattern.local_part, '(?:', ')').removesuffix(_END)}@{domain})"


class PatternTable(Generic[T]):
    """
    Values by pattern; the first pattern that matches decides.

    Exact patterns are found in dictionaries. Those with wildcards are tried one by one only where one search says that
    any of them matches.

    Args:
        rows: (pattern, value) from top to bottom; at most WILD_MAX with wildcards.
    """

    __slots__ = ("_any_wild", "_exact", "_values", "_wild")

    def __init__(self, rows: Iterable[tuple[AddressPattern, T]] = ()) -> None:
        self._values: list[T] = []
        self._exact: dict[tuple[str, str], int] = {}
        self._wild: list[tuple[int, AddressPattern]] = []
        for index, (pattern, value) in enumerate(rows):
            self._values.append(value)
            if pattern.is_exact:
                self._exact.setdefault((pattern.local_part, pattern.domain), index)
            else:
                self._wild.append((index, pattern))
        self._any_wild = re.compile("|".join(_together(pattern) for _, pattern in self._wild), re.DOTALL)

    def __len__(self) -> int:
        return len(self._values)

    def find(self, local_parts: Sequence[str], domains: Sequence[str]) -> T | None:
        """
        The value of the first pattern that matches any of these local parts in any of these domains.

        Args:
            local_parts: folded.
            domains: folded.
        """
        pairs = [(local_part, domain) for local_part in local_parts for domain in domains]
        anywhere = [(local_part, "") for local_part in local_parts]
        size = len(self._values)
        best = min((self._exact.get(pair, size) for pair in (*pairs, *anywhere)), default=size)
        wild = [pair for pair in pairs if self._any_wild.match("@".join(pair))] if self._wild else ()
        if wild:
            for index, pattern in self._wild:
                if index > best:
                    break
                if any(pattern.match(*pair) is not None for pair in wild):
                    best = index
                    break
        return self._values[best] if best < size else None


@dataclass(frozen=True, slots=True)
class Rewriting:
    """
    Rules `pattern -> replacement`; the first that matches is applied, once.

    The stars of a replacement stand, from left to right, for what the stars of its pattern stood for.
    """

    rules: tuple[tuple[AddressPattern, str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rules)

    def rewrite(self, address: Address) -> Address:
        """
        The address that takes its place; the same where no rule matches, or where what came out is no address.
        """
        domain = address.domain_key
        for pattern, local_part, to_domain in self.rules:
            pieces = pattern.match(address.local_part, domain)
            if pieces is not None:
                whole, stars = local_part.split("*"), iter(pieces)
                new_local_part = whole[0] + "".join(next(stars) + piece for piece in whole[1:])
                whole = to_domain.split("*")
                new_domain = whole[0] + "".join(next(stars) + piece for piece in whole[1:])
                rewritten = Address(new_local_part, new_domain or address.domain)
                try:
                    parse_address(str(rewritten))
                except ValueError:
                    return address
                return rewritten
        return address


ARROW = "->"


def parse_rewriting(text: str) -> tuple[AddressPattern, str, str]:
    """
    Read one rule, `old-*@shop.example -> *@shop.example`; a replacement without "@" keeps the domain.

    Raises:
        ValueError: either side is nothing of the kind, or the replacement has more stars than the pattern.
    """
    left, right = split_rule(text)
    pattern = parse_pattern(left)
    local_part, at, domain = right.rpartition("@") if "@" in right else (right, "", "")
    if not local_part or (at and not domain) or "?" in right:
        raise ValueError(f'"{right}" is no replacement: local-part, or local-part@domain, with stars at most')
    stars = sum(part.count("*") for part in (pattern.local_part, pattern.domain))
    if right.count("*") > stars:
        raise ValueError(f'"{right}" has more stars than "{left}"')
    parse_address(f"{local_part.replace('*', _STANDS_FOR_STAR)}@{domain.replace('*', _STANDS_FOR_STAR) or 'x'}")
    return pattern, local_part, domain


def split_rule(text: str) -> tuple[str, str]:
    """
    Both sides of `left -> right`.

    Raises:
        ValueError: one of them, or the arrow, is missing.
    """
    left, arrow, right = (part.strip() for part in text.partition(ARROW))
    if not arrow or not left or not right:
        raise ValueError(f'is no rule of the form "this {ARROW} that"')
    return left, right

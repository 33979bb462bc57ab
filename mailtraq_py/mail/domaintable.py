"""
Values by domain: `shop.example` is that domain, `*.shop.example` all below it. The longest entry decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from .address import fold_domain

T = TypeVar("T")

_BELOW = "*."


def fold_domain_entry(text: str) -> str:
    """
    Give an entry its one form.

    Raises:
        ValueError: it is neither a domain nor "*." before one of at least two labels, so that no entry ever names
            half the world.
    """
    domain = fold_domain(text.strip().removeprefix(_BELOW))
    if not text.strip().startswith(_BELOW):
        return domain
    if "." not in domain or domain.startswith("["):
        raise ValueError("behind *. stands a domain of at least two labels")
    return _BELOW + domain


class DomainTable(Generic[T]):
    """
    Args:
        rows: (entry in the form of `fold_domain_entry`, value); of the same entry twice the first counts.
    """

    __slots__ = ("_exact", "_has_below", "rows")

    def __init__(self, rows: Iterable[tuple[str, T]] = ()) -> None:
        self.rows = tuple(rows)
        self._exact: dict[str, T] = {}
        for entry, value in self.rows:
            self._exact.setdefault(entry, value)
        self._has_below = any(entry.startswith(_BELOW) for entry in self._exact)

    def __len__(self) -> int:
        return len(self._exact)

    def find(self, domain: str) -> T | None:
        """The value for a folded domain, None where no entry names it."""
        value = self._exact.get(domain)
        if value is not None or not self._has_below:
            return value
        rest = domain
        while "." in rest:
            rest = rest.partition(".")[2]
            value = self._exact.get(_BELOW + rest)
            if value is not None:
                return value
        return None

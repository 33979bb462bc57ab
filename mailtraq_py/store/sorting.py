"""
SORT: rows to keys. The rows hold what was kept at acceptance, so no message is read.

RFC 5256 3
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mailtraq_py.mail.addresslist import Allowance, parse_addresses
from mailtraq_py.mail.header import field_values
from mailtraq_py.mail.sorting import SortCriterion, SortKey

from .content import fold
from .sql.rows import Row

_ADDRESS_OCTETS = 1000
_ADDRESS_STEPS = 100


def _first_mailbox(name: bytes) -> Callable[[bytes], str]:
    """The local part of a field's first address, out of the usual header fields."""

    def first_mailbox(fields: bytes) -> str:
        for value in field_values(fields, name):
            for address in parse_addresses(value[:_ADDRESS_OCTETS], Allowance(_ADDRESS_STEPS)):
                return fold((address.local_part or b"").decode("utf-8", "replace"))
        return ""

    return first_mailbox


# The column of each key, and what is compared where that is not its value.
_KEYS: dict[SortKey, tuple[str, Callable[[Any], Any] | None]] = {
    SortKey.ARRIVAL: ("internal_date", None),
    SortKey.CC: ("fields", _first_mailbox(b"cc")),
    SortKey.DATE: ("sent", None),
    SortKey.FROM: ("fields", _first_mailbox(b"from")),
    SortKey.SIZE: ("octets", None),
    SortKey.SUBJECT: ("subject", None),
    SortKey.TO: ("fields", _first_mailbox(b"to")),
}


def sort_columns(criteria: Sequence[SortCriterion]) -> tuple[str, ...]:
    """The columns that `sort_rows` wants after the UID."""
    return tuple(dict.fromkeys(_KEYS[criterion.key][0] for criterion in criteria))


def sort_rows(rows: Sequence[Row], criteria: Sequence[SortCriterion]) -> list[int]:
    """
    UIDs of rows, sorted.

    Args:
        rows: UID and `sort_columns`, in rising UID order. What is equal stays so, reversed or not.
    """
    columns = sort_columns(criteria)
    order = list(range(len(rows)))
    for criterion in reversed(criteria):
        column, make = _KEYS[criterion.key]
        place = columns.index(column) + 1
        keys = [row[place] for row in rows] if make is None else [make(row[place]) for row in rows]
        order.sort(key=keys.__getitem__, reverse=criterion.reverse)
    return [rows[number][0] for number in order]

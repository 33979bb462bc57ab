"""
What a step of the schema does beside its SQL, in the same transaction: functions of a cursor, for both engines.
"""

from __future__ import annotations

from collections.abc import Callable

from .sortkeys import sort_keys
from .sql.content import SORT_KEY_COLUMNS
from .sql.rows import Cursor, every, insert

_SLICE = 1000


def _keep_sort_keys(cursor: Cursor) -> None:
    """Out of the columns that `contents` had for it."""
    after = -1
    while rows := every(
        cursor,
        "SELECT id, sent, subject, message_id, in_reply_to, reference_ids FROM contents WHERE id > ?"
        " ORDER BY id LIMIT ?",
        (after, _SLICE),
    ):
        insert(cursor, "sort_keys", SORT_KEY_COLUMNS, [sort_keys(*row) for row in rows])
        after = rows[-1][0]
    for column in ("sent", "message_id", "in_reply_to", "reference_ids"):
        cursor.execute(f"ALTER TABLE contents DROP COLUMN {column}")


# By kind and number of the step.
CONVERSIONS: dict[tuple[str, int], Callable[[Cursor], None]] = {("main", 5): _keep_sort_keys}

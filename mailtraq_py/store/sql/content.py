"""
Contents: rows, octets, heads, and their end with the last reference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .rows import Cursor, Row, Written, insert, one, where_in

PLACE_INLINE = 0
PLACE_FILE = 1

COMPRESSION_NONE = 0
COMPRESSION_ZSTD = 1

CONTENT_COLUMNS = 24


def insert_contents(cursor: Cursor, rows: Sequence[Row], octets: Sequence[Row], heads: Sequence[Row]) -> None:
    """
    Insert new contents.

    Args:
        rows: whole rows of `contents`.
        octets: (content id, octets) of those that lie inline.
        heads: (content id, number, head).
    """
    insert(cursor, "contents", CONTENT_COLUMNS, rows)
    insert(cursor, "content_octets", 2, octets)
    insert(cursor, "heads", 3, heads)


def add_references(cursor: Cursor, content_ids: Iterable[int]) -> None:
    """Count references in; an id that comes twice counts twice."""
    for count, ids in _by_count(content_ids).items():
        where_in(cursor, "UPDATE contents SET refs = refs + ? WHERE id IN {keys}", ids, (count,))


def release(cursor: Cursor, content_ids: Iterable[int]) -> tuple[int, ...]:
    """
    Count references out and delete what nobody points at any more.

    Returns:
        ids of the deleted contents that lie in files.
    """
    ended: list[int] = []
    files: list[int] = []
    for count, ids in _by_count(content_ids).items():
        for content_id, refs, place in where_in(
            cursor, "UPDATE contents SET refs = refs - ? WHERE id IN {keys} RETURNING id, refs, place", ids, (count,)
        ):
            if refs <= 0:
                ended.append(content_id)
                if place == PLACE_FILE:
                    files.append(content_id)
    where_in(cursor, "DELETE FROM contents WHERE id IN {keys}", ended)
    where_in(cursor, "DELETE FROM content_octets WHERE content_id IN {keys}", ended)
    where_in(cursor, "DELETE FROM heads WHERE content_id IN {keys}", ended)
    return tuple(files)


def _by_count(content_ids: Iterable[int]) -> dict[int, list[int]]:
    by_count: dict[int, list[int]] = {}
    for content_id, count in Counter(content_ids).items():
        by_count.setdefault(count, []).append(content_id)
    return by_count


def content_place(cursor: Cursor, content_id: int) -> Row | None:
    """(place, compression, octets or None where they lie in a file) of a content."""
    return one(
        cursor,
        "SELECT c.place, c.compression, o.octets FROM contents c"
        " LEFT JOIN content_octets o ON o.content_id = c.id WHERE c.id = ?",
        (content_id,),
    )


def known_contents(cursor: Cursor, content_ids: Sequence[int]) -> list[int]:
    """Which of the ids have a row."""
    return [row[0] for row in where_in(cursor, "SELECT id FROM contents WHERE id IN {keys}", content_ids)]


def nothing(cursor: Cursor) -> Written:
    """Change nothing: what went before it in the writer's queue is committed when it returns."""
    return Written()

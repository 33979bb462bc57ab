"""
Contents: rows, octets, heads, and their end with the last reference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .rows import Cursor, Row, Written, insert, lock_rows, one, where_in

PLACE_INLINE = 0
PLACE_FILE = 1
PLACE_ROWS = 2

CHUNK_OCTETS = 256 * 1024

COMPRESSION_NONE = 0
COMPRESSION_ZSTD = 1

CONTENT_COLUMNS = 19
SORT_KEY_COLUMNS = 7


def insert_contents(
    cursor: Cursor,
    rows: Sequence[Row],
    keys: Sequence[Row],
    octets: Sequence[Row],
    heads: Sequence[Row],
    shares: Sequence[Row],
) -> None:
    """
    Insert new contents.

    Args:
        rows: whole rows of `contents`.
        keys: whole rows of `sort_keys`, one for each.
        octets: (content id, octets) of those that lie inline.
        heads: (content id, number, head).
        shares: (content id, references beyond the first) of those that have such.
    """
    insert(cursor, "contents", CONTENT_COLUMNS, rows)
    insert(cursor, "sort_keys", SORT_KEY_COLUMNS, keys)
    insert(cursor, "content_octets", 2, octets)
    insert(cursor, "heads", 3, heads)
    insert(cursor, "content_shares", 2, shares)


def add_references(cursor: Cursor, content_ids: Iterable[int]) -> None:
    """Count further references in; an id that comes twice counts twice."""
    counts = Counter(content_ids)
    lock_rows(cursor, "contents", "id", counts)
    known = where_in(
        cursor, "SELECT content_id, further FROM content_shares WHERE content_id IN {keys}", counts
    )
    where_in(cursor, "DELETE FROM content_shares WHERE content_id IN {keys}", [row[0] for row in known])
    counts.update(dict(known))
    insert(cursor, "content_shares", 2, list(counts.items()))


def release(cursor: Cursor, content_ids: Iterable[int]) -> tuple[int, ...]:
    """
    Count references out and delete what nobody points at any more.

    Returns:
        ids of the deleted contents that lie in files.
    """
    counts = Counter(content_ids)
    lock_rows(cursor, "contents", "id", counts)
    shares = where_in(
        cursor, "DELETE FROM content_shares WHERE content_id IN {keys} RETURNING content_id, further", counts
    )
    # What is left beyond the first reference: below 0 the first is gone as well.
    left = {content_id: further - counts[content_id] for content_id, further in shares}
    insert(cursor, "content_shares", 2, [(content_id, further) for content_id, further in left.items() if further > 0])
    ended = [content_id for content_id in counts if left.get(content_id, -1) < 0]
    rows = where_in(cursor, "DELETE FROM contents WHERE id IN {keys} RETURNING id, place", ended)
    where_in(cursor, "DELETE FROM sort_keys WHERE content_id IN {keys}", ended)
    where_in(cursor, "DELETE FROM content_octets WHERE content_id IN {keys}", ended)
    where_in(cursor, "DELETE FROM heads WHERE content_id IN {keys}", ended)
    in_rows = [content_id for content_id, place in rows if place == PLACE_ROWS]
    where_in(cursor, "DELETE FROM content_chunks WHERE content_id IN {keys}", in_rows)
    return tuple(content_id for content_id, place in rows if place == PLACE_FILE)


def content_place(cursor: Cursor, content_id: int) -> Row | None:
    """(place, compression, octets or None where they lie in a file) of a content."""
    return one(
        cursor,
        "SELECT c.place, c.compression, o.octets FROM contents c"
        " LEFT JOIN content_octets o ON o.content_id = c.id WHERE c.id = ?",
        (content_id,),
    )


def content_places(cursor: Cursor, content_ids: Sequence[int]) -> list[Row]:
    """(id, then as `content_place`) of those contents that are there."""
    return where_in(
        cursor,
        "SELECT c.id, c.place, c.compression, o.octets FROM contents c"
        " LEFT JOIN content_octets o ON o.content_id = c.id WHERE c.id IN {keys}",
        content_ids,
    )


def known_contents(cursor: Cursor, content_ids: Sequence[int]) -> list[int]:
    """Which of the ids have a row."""
    return [row[0] for row in where_in(cursor, "SELECT id FROM contents WHERE id IN {keys}", content_ids)]


# --- contents in rows, where there are no files that all hosts see -------------------------------------------------


def write_chunk(cursor: Cursor, content_id: int, number: int, octets: bytes) -> Written:
    """Write the chunk with this number, from 0, of a content whose row comes later; all but the last are full."""
    cursor.execute(
        "INSERT INTO content_chunks (content_id, number, octets) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (content_id, number, octets),
    )
    return Written()


def read_chunks(cursor: Cursor, content_id: int, start: int, stop: int) -> bytes:
    """Octets [start, stop) of a content in rows, cut where a chunk is missing."""
    pieces = []
    while start < stop:
        number, offset = divmod(start, CHUNK_OCTETS)
        length = min(stop - start, CHUNK_OCTETS - offset)
        row = one(
            cursor,
            "SELECT substr(octets, CAST(? AS INTEGER), CAST(? AS INTEGER)) FROM content_chunks"
            " WHERE content_id = ? AND number = ?",
            (offset + 1, length, content_id, number),
        )
        if row is None:
            break
        pieces.append(row[0])
        start += length
    return b"".join(pieces)


def sweep_chunks(cursor: Cursor, first: int, bound: int) -> Written:
    """Remove chunks with ids in [first, bound) whose content never came; returns how many."""
    cursor.execute(
        "DELETE FROM content_chunks WHERE content_id >= ? AND content_id < ?"
        " AND NOT EXISTS (SELECT 1 FROM contents c WHERE c.id = content_chunks.content_id) RETURNING number",
        (first, bound),
    )
    return Written(len(cursor.fetchall()))

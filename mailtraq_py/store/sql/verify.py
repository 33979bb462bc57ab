"""
What is counted and pointed at, held against what is there: the questions of `mailtraq verify`, and their repairs.

Each question is one statement, so it sees one instant, however much is written meanwhile. Each repair looks again
inside its own transaction and makes right what it finds then.
"""

from __future__ import annotations

from mailtraq_py.interfaces.failures import NoSuchMailbox
from mailtraq_py.mail.changes import MailboxChanged
from mailtraq_py.mail.uidset import UIDSet

from .content import SORT_KEY_COLUMNS, release
from .ledger import DELETED_BIT, SEEN_BIT
from .rows import Cursor, Row, SharedCursor, Written, every, insert, lock_rows, one

# What is kept of a mailbox beside what its rows say: messages, unseen, deleted, octets, the highest UID and MODSEQ.
_KEPT = "b.messages, b.unseen, b.deleted, b.octets, b.uid_next - 1, b.highest_mod_seq"
_COUNTED = (
    f"count(m.uid), count(CASE WHEN m.flags & {SEEN_BIT} = 0 THEN 1 END),"
    f" count(CASE WHEN m.flags & {DELETED_BIT} <> 0 THEN 1 END),"
    " coalesce(sum(m.octets), 0), coalesce(max(m.uid), 0), coalesce(max(m.mod_seq), 0)"
)

# Mailboxes with messages that stay: those that are listed, which the quota counts, and those of deleted messages.
_IS_THERE = "b.state IN ('open', 'recoverable')"
_SUMS = (
    "coalesce(sum(CASE WHEN b.state = 'open' THEN b.octets END), 0) AS box_octets,"
    " coalesce(sum(CASE WHEN b.state = 'open' THEN b.messages END), 0) AS box_messages"
)

_REFERENCES = (
    "SELECT content_id, count(*) AS found FROM"
    " (SELECT content_id FROM messages UNION ALL SELECT content_id FROM queue) AS all_of_them GROUP BY content_id"
)

# Counters beside the tables whose keys they give.
_KEYED = {"domain": "domains", "account": "accounts", "mailbox": "mailboxes", "queue": "queue", "notice": "notices"}

_OF_NO_RUN = (
    "NOT EXISTS (SELECT 1 FROM deletions d WHERE d.mailbox_id = m.mailbox_id AND m.uid BETWEEN d.low AND d.high)"
)

_HANGERS_ON = ("content_octets", "heads", "content_shares", "sort_keys")  # content_chunks come before their content


# --- questions -------------------------------------------------------------------------------------------------


def list_tables(cursor: Cursor) -> list[str]:
    """All tables."""
    return [row[0] for row in every(cursor, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]


def check_table(cursor: Cursor, table: str) -> list[str]:
    """What the database says of the pages of a table and its indexes; [] where all is well."""
    rows = every(cursor, f'PRAGMA quick_check("{table}")')
    return [row[0] for row in rows if row[0] != "ok"]


def count_contents(cursor: Cursor) -> int:
    """How many contents there are."""
    row = one(cursor, "SELECT count(*) FROM contents")
    return int(row[0]) if row else 0


def contents_after(cursor: Cursor, after: int, limit: int) -> list[Row]:
    """
    (id, place, compression, octets, SHA-256, header octets, parts, inline octets or None, whether it has sort keys) by
    rising id.
    """
    return every(
        cursor,
        "SELECT c.id, c.place, c.compression, c.octets, c.sha256, c.header_octets, c.parts, o.octets,"
        " k.content_id IS NOT NULL FROM contents c LEFT JOIN content_octets o ON o.content_id = c.id"
        " LEFT JOIN sort_keys k ON k.content_id = c.id WHERE c.id > ? ORDER BY c.id LIMIT ?",
        (after, limit),
    )


def file_contents(cursor: Cursor) -> list[Row]:
    """(id, octets, SHA-256) of contents that lie in files, by rising id."""
    return every(cursor, "SELECT id, octets, sha256 FROM contents WHERE place = 1 ORDER BY id")


def wrong_references(cursor: Cursor) -> list[Row]:
    """(content id, references kept, references found) where they differ; the content is there."""
    return every(
        cursor,
        f"SELECT c.id, 1 + coalesce(s.further, 0), coalesce(r.found, 0) FROM contents c LEFT JOIN ({_REFERENCES}) AS r"
        " ON r.content_id = c.id LEFT JOIN content_shares s ON s.content_id = c.id"
        " WHERE 1 + coalesce(s.further, 0) <> coalesce(r.found, 0) ORDER BY c.id",
    )


def stray_rows(cursor: Cursor) -> list[Row]:
    """(table, content id) of rows that belong to a content that is not there."""
    found: list[Row] = []
    for table in _HANGERS_ON:
        found += every(
            cursor,
            f"SELECT DISTINCT '{table}', content_id FROM {table} t"
            " WHERE NOT EXISTS (SELECT 1 FROM contents c WHERE c.id = t.content_id)",
        )
    return found


def list_all_mailboxes(cursor: Cursor) -> list[Row]:
    """(id, messages) of every mailbox, those of deleted messages included."""
    return every(cursor, f"SELECT id, messages FROM mailboxes b WHERE {_IS_THERE} ORDER BY id")


def mailbox_counts(cursor: Cursor, mailbox_id: int) -> tuple[Row, Row] | None:
    """What is kept of a mailbox, and what its rows say; None when it is gone."""
    row = one(
        cursor,
        f"SELECT {_KEPT}, {_COUNTED} FROM mailboxes b LEFT JOIN messages m ON m.mailbox_id = b.id"
        f" WHERE b.id = ? AND {_IS_THERE} GROUP BY b.id",
        (mailbox_id,),
    )
    return None if row is None else (row[:6], row[6:])


def wrong_messages(cursor: Cursor, mailbox_id: int, after: int, until: int) -> list[Row]:
    """
    Messages with UIDs in (after, until] whose content or head is not there, or whose size is another.

    Returns:
        (uid, content id, octets kept, octets found or None without the content, whether the head is there).
    """
    return every(
        cursor,
        "SELECT * FROM (SELECT m.uid, m.content_id, m.octets AS kept, c.octets + coalesce(length(h.head), 0) AS found,"
        " m.head = 0 OR h.head IS NOT NULL AS is_whole FROM messages m LEFT JOIN contents c ON c.id = m.content_id"
        " LEFT JOIN heads h ON h.content_id = m.content_id AND h.number = m.head"
        " WHERE m.mailbox_id = ? AND m.uid > ? AND m.uid <= ?) AS looked_at"
        " WHERE found IS NULL OR found <> kept OR NOT is_whole ORDER BY uid",
        (mailbox_id, after, until),
    )


def homeless_messages(cursor: Cursor) -> list[Row]:
    """(mailbox id, messages) of mailboxes that have messages and no row."""
    return every(
        cursor,
        "SELECT mailbox_id, count(*) FROM messages m"
        " WHERE NOT EXISTS (SELECT 1 FROM mailboxes b WHERE b.id = m.mailbox_id) GROUP BY mailbox_id",
    )


def wrong_accounts(cursor: Cursor) -> list[Row]:
    """(account id, what, kept, found) where an account's counters do not fit its mailboxes."""
    return every(
        cursor,
        "WITH found AS (SELECT a.account_id, a.octets, a.messages, a.next_mod_seq, a.next_uid_validity,"
        f" {_SUMS}, coalesce(max(b.highest_mod_seq), 0) AS mod_seq, coalesce(max(b.uid_validity), 0) AS uid_validity"
        f" FROM account_counters a LEFT JOIN mailboxes b ON b.account_id = a.account_id AND {_IS_THERE}"
        " GROUP BY a.account_id)"
        " SELECT account_id, 'octets', octets, box_octets FROM found WHERE octets <> box_octets"
        " UNION ALL SELECT account_id, 'messages', messages, box_messages FROM found WHERE messages <> box_messages"
        " UNION ALL SELECT account_id, 'next MODSEQ', next_mod_seq, mod_seq FROM found WHERE next_mod_seq <= mod_seq"
        " UNION ALL SELECT account_id, 'next UIDVALIDITY', next_uid_validity, uid_validity FROM found"
        " WHERE next_uid_validity <= uid_validity",
    )


def wrong_counters(cursor: Cursor) -> list[Row]:
    """(counter, next, highest key) where a counter would give a key again."""
    found: list[Row] = []
    for name, table in _KEYED.items():
        if name == "notice" and isinstance(cursor, SharedCursor):
            continue  # there they are numbered by the clock
        found += every(
            cursor,
            "SELECT * FROM (SELECT ? AS counter, coalesce((SELECT next FROM counters WHERE name = ?), 1) AS due,"
            f" (SELECT max(id) FROM {table}) AS high) AS found WHERE high >= due",
            (name, name),
        )
    return found


def without_recoverable(cursor: Cursor) -> list[int]:
    """Accounts that have no mailbox for deleted messages."""
    rows = every(
        cursor,
        "SELECT a.id FROM accounts a WHERE NOT EXISTS (SELECT 1 FROM recoverable r JOIN mailboxes b"
        " ON b.id = r.mailbox_id AND b.state = 'recoverable' WHERE r.account_id = a.id)",
    )
    return [row[0] for row in rows]


def without_deletion(cursor: Cursor) -> list[Row]:
    """(recoverable mailbox, messages) where messages belong to no run, so that no purge would find them."""
    return every(
        cursor,
        "SELECT m.mailbox_id, count(*) FROM recoverable r JOIN messages m ON m.mailbox_id = r.mailbox_id"
        f" WHERE {_OF_NO_RUN} GROUP BY m.mailbox_id",
    )


def queue_without_content(cursor: Cursor) -> list[Row]:
    """(queue id, content id) of rows whose content is not there."""
    return every(
        cursor,
        "SELECT id, content_id FROM queue q WHERE NOT EXISTS (SELECT 1 FROM contents c WHERE c.id = q.content_id)",
    )


def message_digests(cursor: Cursor, mailbox_id: int, after: int, limit: int) -> list[Row]:
    """(uid, octets with head, content id, SHA-256 of the content, head or None) by rising UID, for `import`."""
    return every(
        cursor,
        "SELECT m.uid, m.octets, c.id, c.sha256, h.head FROM messages m JOIN contents c ON c.id = m.content_id"
        " LEFT JOIN heads h ON h.content_id = m.content_id AND h.number = m.head"
        " WHERE m.mailbox_id = ? AND m.uid > ? ORDER BY m.uid LIMIT ?",
        (mailbox_id, after, limit),
    )


# --- repairs ---------------------------------------------------------------------------------------------------


def recount_references(cursor: Cursor, content_id: int) -> Written:
    """Count who points at a content, and delete it where nobody does."""
    lock_rows(cursor, "contents", "id", [content_id])
    row = one(
        cursor,
        "SELECT (SELECT count(*) FROM messages WHERE content_id = ?)"
        " + (SELECT count(*) FROM queue WHERE content_id = ?)",
        (content_id, content_id),
    )
    found = int(row[0]) if row else 0
    cursor.execute("DELETE FROM content_shares WHERE content_id = ?", (content_id,))
    if found == 0:
        return Written(purged=release(cursor, [content_id]))
    if found > 1:
        cursor.execute("INSERT INTO content_shares (content_id, further) VALUES (?, ?)", (content_id, found - 1))
    return Written()


def delete_strays(cursor: Cursor, content_id: int) -> Written:
    """Delete what belongs to a content that is not there."""
    if one(cursor, "SELECT 1 FROM contents WHERE id = ?", (content_id,)) is None:
        for table in _HANGERS_ON:
            cursor.execute(f"DELETE FROM {table} WHERE content_id = ?", (content_id,))
    return Written()


def recount_mailbox(cursor: Cursor, mailbox_id: int) -> Written:
    """
    Count a mailbox, and lift its next UID and MODSEQ above all there is.

    Raises:
        NoSuchMailbox: it is gone meanwhile.
    """
    account = one(cursor, "SELECT account_id FROM mailboxes WHERE id = ?", (mailbox_id,)) or (0,)
    lock_rows(cursor, "account_counters", "account_id", account)
    row = one(
        cursor,
        f"SELECT b.account_id, b.uid_next, b.highest_mod_seq, {_COUNTED} FROM mailboxes b"
        f" LEFT JOIN messages m ON m.mailbox_id = b.id WHERE b.id = ? AND {_IS_THERE} GROUP BY b.id",
        (mailbox_id,),
    )
    if row is None:
        raise NoSuchMailbox(str(mailbox_id))
    account_id, uid_next, mod_seq, messages, unseen, deleted, octets, last_uid, last_mod_seq = row
    mod_seq = max(mod_seq, last_mod_seq)
    cursor.execute(
        "UPDATE mailboxes SET messages = ?, unseen = ?, deleted = ?, octets = ?, uid_next = ?, highest_mod_seq = ?,"
        " changed_mod_seq = ? WHERE id = ?",
        (messages, unseen, deleted, octets, max(uid_next, last_uid + 1), mod_seq, mod_seq, mailbox_id),
    )
    recount_account(cursor, account_id)
    return Written(None, (MailboxChanged(mailbox_id, mod_seq),))


def recount_account(cursor: Cursor, account_id: int) -> Written:
    """Count an account from its mailboxes, and lift its next MODSEQ and UIDVALIDITY above theirs."""
    lock_rows(cursor, "account_counters", "account_id", [account_id])
    row = one(
        cursor,
        f"SELECT {_SUMS}, coalesce(max(b.highest_mod_seq), 0), coalesce(max(b.uid_validity), 0) FROM mailboxes b"
        f" WHERE b.account_id = ? AND {_IS_THERE}",
        (account_id,),
    )
    octets, messages, mod_seq, uid_validity = row or (0, 0, 0, 0)
    cursor.execute(
        "UPDATE account_counters SET octets = ?, messages = ?,"
        " next_mod_seq = CASE WHEN next_mod_seq <= ? THEN ? ELSE next_mod_seq END,"
        " next_uid_validity = CASE WHEN next_uid_validity <= ? THEN ? ELSE next_uid_validity END WHERE account_id = ?",
        (octets, messages, mod_seq, mod_seq + 1, uid_validity, uid_validity + 1, account_id),
    )
    return Written()


def mend_message(cursor: Cursor, mailbox_id: int, uid: int) -> Written:
    """Give a message the size it has; a head that is not there is forgotten."""
    row = one(
        cursor,
        "SELECT c.octets + coalesce(length(h.head), 0), CASE WHEN h.head IS NULL THEN 0 ELSE m.head END"
        " FROM messages m JOIN contents c ON c.id = m.content_id"
        " LEFT JOIN heads h ON h.content_id = m.content_id AND h.number = m.head WHERE m.mailbox_id = ? AND m.uid = ?",
        (mailbox_id, uid),
    )
    if row is not None:
        cursor.execute(
            "UPDATE messages SET octets = ?, head = ? WHERE mailbox_id = ? AND uid = ?", (*row, mailbox_id, uid)
        )
        return recount_mailbox(cursor, mailbox_id)
    return Written()


def delete_homeless(cursor: Cursor, mailbox_id: int) -> Written:
    """Delete the messages of a mailbox that is not there."""
    if one(cursor, "SELECT 1 FROM mailboxes WHERE id = ?", (mailbox_id,)) is not None:
        return Written()
    cursor.execute("DELETE FROM messages WHERE mailbox_id = ? RETURNING content_id", (mailbox_id,))
    return Written(purged=release(cursor, [row[0] for row in cursor.fetchall()]))


def cover_deleted(cursor: Cursor, mailbox_id: int, now: float) -> Written:
    """Take messages of a recoverable mailbox that belong to no run for deleted now."""
    rows = every(cursor, f"SELECT m.uid FROM messages m WHERE m.mailbox_id = ? AND {_OF_NO_RUN}", (mailbox_id,))
    runs = UIDSet.from_numbers(row[0] for row in rows).ranges
    insert(cursor, "deletions", 5, [(mailbox_id, low, high, now, 0) for low, high in runs])
    return Written()


def raise_counter(cursor: Cursor, name: str, above: int) -> Written:
    """Let a counter go on above a key."""
    cursor.execute(
        "INSERT INTO counters (name, next) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET"
        " next = CASE WHEN counters.next < excluded.next THEN excluded.next ELSE counters.next END",
        (name, above + 1),
    )
    return Written()


def set_parts(cursor: Cursor, content_id: int, header_octets: int, parts: bytes) -> Written:
    """Give a content its map of MIME parts anew."""
    cursor.execute("UPDATE contents SET header_octets = ?, parts = ? WHERE id = ?", (header_octets, parts, content_id))
    return Written()


def set_sort_keys(cursor: Cursor, keys: Row) -> Written:
    """Give a content its row of `sort_keys` anew, if it is still there."""
    lock_rows(cursor, "contents", "id", [keys[0]])
    cursor.execute("DELETE FROM sort_keys WHERE content_id = ?", (keys[0],))
    if one(cursor, "SELECT 1 FROM contents WHERE id = ?", (keys[0],)) is not None:
        insert(cursor, "sort_keys", SORT_KEY_COLUMNS, [keys])
    return Written()

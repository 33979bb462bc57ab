"""
What the full-text index is made of: mailboxes with what is new in them, messages with all that SEARCH reads.
"""

from __future__ import annotations

from .rows import Cursor, Row, every


def indexable_mailboxes(cursor: Cursor) -> list[Row]:
    """(account id, mailbox id, UIDVALIDITY, next UID, messages) of all mailboxes, by account."""
    return every(
        cursor,
        "SELECT account_id, id, uid_validity, uid_next, messages FROM mailboxes"
        " WHERE state IN ('open', 'recoverable') ORDER BY account_id, id",
    )


def messages_to_index(cursor: Cursor, mailbox_id: int, after: int, limit: int) -> list[Row]:
    """
    Messages behind a UID, in rising order.

    Returns:
        (uid, content id, head's number, head or None, octets with head, header octets, parts, and the texts of
        Subject, From, To and Cc as they are compared).
    """
    return every(
        cursor,
        "SELECT m.uid, m.content_id, m.head, h.head, m.octets, c.header_octets, c.parts, c.subject, c.sender,"
        " c.to_text, c.cc_text FROM messages m JOIN contents c ON c.id = m.content_id"
        " LEFT JOIN heads h ON h.content_id = m.content_id AND h.number = m.head"
        " WHERE m.mailbox_id = ? AND m.uid > ? ORDER BY m.uid LIMIT ?",
        (mailbox_id, after, limit),
    )

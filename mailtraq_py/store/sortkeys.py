"""
What is kept of a content for SORT and THREAD: a narrow row beside the wide one, made once.

RFC 5256 2.1, 3
"""

from __future__ import annotations

from mailtraq_py.mail.sorting import base_subject
from mailtraq_py.mail.threads import thread_keys

from .sql.rows import Row


def sort_keys(
    content_id: int, sent: int | None, subject: str, message_id: str, in_reply_to: str, references: str
) -> Row:
    """
    A row of the table of this name.

    Args:
        sent: seconds since the epoch, None without a Date.
        subject: folded.
        message_id: msg-ids with their brackets, separated by a space, as the others.
    """
    base, is_reply = base_subject(subject)
    return content_id, sent, base, int(is_reply), *thread_keys(message_id, in_reply_to, references)

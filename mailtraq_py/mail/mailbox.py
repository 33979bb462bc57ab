"""
Mailbox names and attributes as the store knows them: UTF-8, NFC, `/` between levels, INBOX in capitals.

Modified UTF-7 is the wire's matter (`wire/imap/mailboxname.py`).

RFC 9051 5.1, RFC 6154, RFC 8474
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

SEPARATOR = "/"
INBOX = "INBOX"
NAME_MAX_OCTETS = 1000
LEVELS_MAX = 20

# Special uses with the name under which a new account finds each (RFC 6154 2).
SPECIAL_USES = {
    "\\Drafts": "Drafts",
    "\\Sent": "Sent",
    "\\Junk": "Junk",
    "\\Trash": "Trash",
    "\\Archive": "Archive",
}


@lru_cache(maxsize=1024)
def canonical_name(name: str) -> str:
    """
    Give a mailbox name its one form.

    Returns:
        NFC, without a trailing separator, its first level "INBOX" in capitals where it is that in any case.

    Raises:
        ValueError: an empty level, a control character, too long, too many levels.

    RFC 9051 5.1
    """
    name = unicodedata.normalize("NFC", name)
    if name.endswith(SEPARATOR):
        name = name[:-1]
    if len(name.encode("utf-8", "surrogatepass")) > NAME_MAX_OCTETS:
        raise ValueError("mailbox name too long")
    levels = name.split(SEPARATOR)
    if len(levels) > LEVELS_MAX:
        raise ValueError("too many levels in the mailbox name")
    for level in levels:
        if not level or level in (".", "..") or level != level.strip():
            raise ValueError("bad level in the mailbox name")
        if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in level):
            raise ValueError("control character in the mailbox name")
        if "%" in level or "*" in level:
            raise ValueError("wildcard in the mailbox name")
    if levels[0].upper() == INBOX:
        levels[0] = INBOX
    return SEPARATOR.join(levels)


def parent_name(name: str) -> str:
    """The name one level up, "" at the top."""
    return name.rpartition(SEPARATOR)[0]

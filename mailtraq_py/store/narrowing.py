"""
What the full-text index says of a search key before any message is asked.

Of each leaf that has a text it tells which messages may match; of the whole tree follows which messages are worth a
look. It never rules out a message that matches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mailtraq_py.mail.search import And, Contains, HeaderContains, Not, Or, SearchKey, TextField, leaves

from .searchindex import IndexUnavailable, SearchIndexes, match_expression


@dataclass(frozen=True, slots=True)
class IndexedMailbox:
    """Which mailbox is searched: whose, its number and its UIDVALIDITY."""

    account_id: int
    mailbox_id: int
    uid_validity: int


@dataclass(frozen=True, slots=True)
class Narrowed:
    """
    What the index knows. Messages above `last_uid` are not in it.

    `worthwhile` are the UIDs up to there that may match the whole key, None for all; `possible` those that may match
    a leaf; `extracted` those of which the index has the text of attachments.
    """

    last_uid: int = 0
    worthwhile: list[int] | None = None
    possible: dict[SearchKey, set[int]] = field(default_factory=dict)
    extracted: set[int] = field(default_factory=set)

    def rules_out(self, leaf: SearchKey, uid: int) -> bool:
        """Whether a message cannot match a leaf."""
        return uid <= self.last_uid and leaf in self.possible and uid not in self.possible[leaf]

    def rules_out_all(self, uid: int) -> bool:
        """Whether a message can match none of the leaves that the index knows of."""
        return uid <= self.last_uid and not any(uid in found for found in self.possible.values())


def expressions(key: SearchKey) -> dict[SearchKey, str]:
    """What the index is asked for each leaf that it can tell something of."""
    return {leaf: expression for leaf in leaves(key) if (expression := _expression(leaf)) is not None}


def narrow(
    indexes: SearchIndexes, mailbox: IndexedMailbox, key: SearchKey, expressions: dict[SearchKey, str]
) -> Narrowed:
    """Ask the index of a mailbox's account. Without an index that can be used nothing is narrowed."""
    try:
        with indexes.reading(mailbox.account_id) as index:
            if index is None or not (last_uid := index.last_uid(mailbox.mailbox_id, mailbox.uid_validity)):
                return Narrowed()
            possible = {leaf: index.find(mailbox.mailbox_id, text) for leaf, text in expressions.items()}
            extracted = index.extracted(mailbox.mailbox_id)
    except IndexUnavailable:
        return Narrowed()
    worthwhile = _worthwhile(key, possible.get)
    return Narrowed(last_uid, None if worthwhile is None else sorted(worthwhile), possible, extracted)


def _expression(leaf: SearchKey) -> str | None:
    match leaf:
        case Contains(TextField.TEXT | TextField.BODY, text):
            return match_expression(text.casefold())
        case Contains(TextField.BCC, text):
            return _expression(HeaderContains("bcc", text))
        case Contains(_, text):
            return match_expression(text)
        case HeaderContains(name, text) if name.isascii():
            # As `header_text` prints a field.
            asked = match_expression(f"{name.lower()}: "), match_expression(text)
            return " AND ".join(filter(None, asked)) or None
    return None


def _worthwhile(key: SearchKey, possible: Callable[[SearchKey], set[int] | None]) -> set[int] | None:
    """All that may match a tree, None for everything."""
    match key:
        case And(keys):
            sets = [found for inner in keys if (found := _worthwhile(inner, possible)) is not None]
            return set.intersection(*sets) if sets else None
        case Or(left, right):
            one, other = _worthwhile(left, possible), _worthwhile(right, possible)
            return None if one is None or other is None else one | other
        case Not():
            return None
    return possible(key)

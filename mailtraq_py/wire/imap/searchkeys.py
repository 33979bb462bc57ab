"""
SEARCH keys from the wire to the tree of `mail/search.py`.

One loop and a stack of open operators: NOT waits for one key, OR for two, a parenthesis for its end. Nothing
recurses, so depth costs nothing but the limit. Message numbers become UIDs at once, in the numbering of the client
that asks (`Numbering`, its view).

RFC 3501 6.4.4, RFC 9051 6.4.4
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from mailtraq_py.mail import dates, flags, search
from mailtraq_py.mail.search import Comparison, DateField, SearchKey, TextField
from mailtraq_py.mail.uidset import UIDSet

from .sequence import SequenceSet, parse_sequence_set
from .tokens import BadCommand, Refusal, Tokens

DEPTH_MAX = 50
TERMS_MAX = 500
CHARSETS = ("US-ASCII", "UTF-8")


class Numbering(Protocol):
    """What a search needs of the client's view."""

    def uids_of_numbers(self, numbers: SequenceSet) -> UIDSet:
        """UIDs of messages given by sequence number; numbers that do not exist are left out."""
        ...

    def uids_of_uids(self, uids: SequenceSet) -> UIDSet:
        """UIDs as given, `*` put in, cut at what the client knows of."""
        ...

    def recent_uids(self) -> UIDSet:
        """UIDs of the messages that are \\Recent in this session."""
        ...


_WORDS: dict[str, SearchKey] = {
    "ALL": search.All(),
    "ANSWERED": search.HasFlag(flags.ANSWERED),
    "DELETED": search.HasFlag(flags.DELETED),
    "DRAFT": search.HasFlag(flags.DRAFT),
    "FLAGGED": search.HasFlag(flags.FLAGGED),
    "SEEN": search.HasFlag(flags.SEEN),
    "UNANSWERED": search.Not(search.HasFlag(flags.ANSWERED)),
    "UNDELETED": search.Not(search.HasFlag(flags.DELETED)),
    "UNDRAFT": search.Not(search.HasFlag(flags.DRAFT)),
    "UNFLAGGED": search.Not(search.HasFlag(flags.FLAGGED)),
    "UNSEEN": search.Not(search.HasFlag(flags.SEEN)),
}
_TEXTS = {field.name: field for field in TextField}
_DATES = {
    prefix + comparison.name: (which, comparison)
    for prefix, which in (("", DateField.INTERNAL), ("SENT", DateField.SENT))
    for comparison in Comparison
}


@dataclass(slots=True)
class _Open:
    """An operator that waits for keys: `wanted` of them, or a closing parenthesis where that is 0."""

    wanted: int
    make: Callable[[list[SearchKey]], SearchKey]
    keys: list[SearchKey] = field(default_factory=list)


def parse_search(tokens: Tokens, numbering: Numbering, with_charset: bool = False) -> SearchKey:
    """
    Read SEARCH's arguments to the command's end.

        search = [SP "CHARSET" SP astring] 1*(SP search-key)

    Args:
        tokens: after the word SEARCH.
        numbering: the client's view.
        with_charset: a charset comes first, without the word (SORT and THREAD, RFC 5256 5).

    Raises:
        BadCommand: bad syntax, deeper than DEPTH_MAX, more than TERMS_MAX keys.
        Refusal: a charset that we do not know (BADCHARSET).
    """
    charset = _charset(tokens) if with_charset else "UTF-8"
    if not with_charset:
        tokens.space()
    stack = [_Open(0, _all_of)]
    terms = 0
    while True:
        if tokens.take(b"("):
            _push(stack, _Open(0, _all_of))
            continue
        if tokens.next_is_number():
            key: SearchKey = search.UIDs(numbering.uids_of_numbers(parse_sequence_set(tokens.sequence_set())))
        else:
            word = tokens.word()
            if word == "CHARSET" and terms == 0 and len(stack) == 1:
                charset = _charset(tokens)
                continue
            if word == "NOT":
                _push(stack, _Open(1, lambda keys: search.Not(keys[0])))
                tokens.space()
                continue
            if word == "OR":
                _push(stack, _Open(2, lambda keys: search.Or(keys[0], keys[1])))
                tokens.space()
                continue
            key = _key(tokens, word, charset, numbering)
        terms += 1
        if terms > TERMS_MAX:
            raise BadCommand("too many search keys")
        _close(tokens, stack, key)
        if tokens.at_end:
            break
        tokens.space()
    if len(stack) != 1:
        raise BadCommand("missing search key")
    return _all_of(stack[0].keys)


def _push(stack: list[_Open], operator: _Open) -> None:
    if len(stack) >= DEPTH_MAX:
        raise BadCommand("search nested too deep")
    stack.append(operator)


def _close(tokens: Tokens, stack: list[_Open], key: SearchKey) -> None:
    """Give a key to the operator that waits for it, and each completed operator to the one around it."""
    while True:
        top = stack[-1]
        top.keys.append(key)
        if top.wanted:
            if len(top.keys) < top.wanted:
                return
        elif len(stack) == 1 or not tokens.take(b")"):
            return
        key = stack.pop().make(top.keys)


def _all_of(keys: list[SearchKey]) -> SearchKey:
    return keys[0] if len(keys) == 1 else search.And(tuple(keys))


def _charset(tokens: Tokens) -> str:
    tokens.space()
    name = tokens.astring().upper().decode("ascii", "replace")
    if name not in CHARSETS:
        raise Refusal("charset not known", f"BADCHARSET ({' '.join(CHARSETS)})")
    tokens.space()
    return name


def _key(tokens: Tokens, word: str, charset: str, numbering: Numbering) -> SearchKey:
    simple = _WORDS.get(word)
    if simple is not None:
        return simple
    if word in _TEXTS:
        return search.Contains(_TEXTS[word], _text(tokens, charset))
    if word in _DATES:
        return search.DateIs(*_DATES[word], _day(tokens))
    match word:
        case "KEYWORD" | "UNKEYWORD":
            tokens.space()
            has = search.HasFlag(tokens.atom().decode("ascii"))
            return has if word == "KEYWORD" else search.Not(has)
        case "LARGER":
            tokens.space()
            return search.Larger(tokens.number())
        case "SMALLER":
            tokens.space()
            return search.Smaller(tokens.number())
        case "UID":
            tokens.space()
            return search.UIDs(numbering.uids_of_uids(parse_sequence_set(tokens.sequence_set())))
        case "MODSEQ":
            return search.ModSeqSince(_mod_seq(tokens))
        case "HEADER":
            name = _text(tokens, charset)
            return search.HeaderContains(name, _text(tokens, charset))
        case "RECENT":
            return search.UIDs(numbering.recent_uids())
        case "OLD":
            return search.Not(search.UIDs(numbering.recent_uids()))
        case "NEW":
            return search.And((search.UIDs(numbering.recent_uids()), _WORDS["UNSEEN"]))
    raise BadCommand("unknown search key")


def _mod_seq(tokens: Tokens) -> int:
    """
    `[SP entry-name SP entry-type-req] SP mod-sequence-valzer`. There is one MODSEQ for all that belongs to a message,
    so the entry is passed over (RFC 7162 3.1.5).
    """
    tokens.space()
    if tokens.next_is(b'"'):
        tokens.string()
        tokens.space()
        if tokens.word() not in ("ALL", "PRIV", "SHARED"):
            raise BadCommand("unknown entry type")
        tokens.space()
    return tokens.mod_seq()


def _text(tokens: Tokens, charset: str) -> str:
    tokens.space()
    try:
        return tokens.astring().decode(charset)
    except UnicodeDecodeError:
        raise BadCommand("the string is not in its charset") from None


def _day(tokens: Tokens) -> date:
    """`date-text / DQUOTE date-text DQUOTE`"""
    tokens.space()
    try:
        return dates.parse_day(tokens.astring().decode("ascii"))
    except ValueError:
        raise BadCommand("bad date") from None

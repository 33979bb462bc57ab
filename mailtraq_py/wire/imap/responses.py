"""
Responses as octets.

Whatever a string holds, it goes out as an atom, quoted or as a literal, so that nothing breaks out of it. Text for
people (`text`) is cut down to printable ASCII. What is sent for many messages at once is built from cached pieces and
joined once.

RFC 3501 7, 9; RFC 9051 7
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain

from mailtraq_py.mail.changes import MessageState, StateRun
from mailtraq_py.mail.flags import RECENT, SYSTEM_FLAGS
from mailtraq_py.mail.uidset import Range, UIDSet

from . import mailboxname

CRLF = b"\r\n"
QUOTED_MAX_OCTETS = 1024
_RANGES_IN_A_LINE = 500
_ATOM = re.compile(rb'[^(){ \x00-\x1f\x7f-\xff%*"\\\]]+\Z')
_QUOTABLE = re.compile(rb"[\x20-\x7e]*\Z")
_TO_ESCAPE = re.compile(rb'(["\\])')
_NOT_TEXT = re.compile(r"[^\x20-\x7e]+")


def literal(octets: bytes) -> bytes:
    """`"{" number "}" CRLF *CHAR8`"""
    return b"{%d}\r\n%b" % (len(octets), octets)


def string(octets: bytes) -> bytes:
    """Quoted where that can hold it, else a literal."""
    if len(octets) <= QUOTED_MAX_OCTETS and _QUOTABLE.match(octets):
        return b'"%b"' % _TO_ESCAPE.sub(rb"\\\1", octets)
    return literal(octets)


def nstring(octets: bytes | None) -> bytes:
    """A string, NIL for None."""
    return b"NIL" if octets is None else string(octets)


def astring(octets: bytes) -> bytes:
    """An atom where that can hold it and nobody can take it for NIL, else a string."""
    if _ATOM.match(octets) and octets.upper() != b"NIL":
        return octets
    return string(octets)


@lru_cache(maxsize=1024)
def mailbox(name: str) -> bytes:
    """A mailbox name in modified UTF-7."""
    return string(mailboxname.encode(name))


def text(words: str) -> bytes:
    """Human-readable text: one line of printable ASCII, never empty (RFC 3501 9, resp-text)."""
    return _NOT_TEXT.sub("?", words).encode("ascii") or b"."


def condition(status: str, words: str, code: str = "") -> bytes:
    """`OK [code] words`, without tag and line end; ours are the codes, so they hold no bracket."""
    if code:
        return b"%b [%b] %b" % (status.encode("ascii"), text(code), text(words))
    return b"%b %b" % (status.encode("ascii"), text(words))


def untagged(status: str, words: str, code: str = "") -> bytes:
    """`* OK [code] words`"""
    return b"* " + condition(status, words, code) + CRLF


@lru_cache(maxsize=4096)
def flag_list(flags: frozenset[str], recent: bool = False) -> bytes:
    """`"(" [flag *(SP flag)] ")"`: system flags in their usual order, keywords by name."""
    names = [flag for flag in SYSTEM_FLAGS if flag in flags]
    names += sorted(flag for flag in flags if flag[:1] != "\\")
    if recent:
        names.append(RECENT)
    return b"(" + " ".join(names).encode("ascii", "replace") + b")"


def flag_lists(uids: Sequence[int], flags: Sequence[frozenset[str]], first_recent: int) -> Iterator[bytes]:
    """
    `flag_list` of many messages, which share few sets.

    Args:
        uids: in rising order.
        flags: of each.
        first_recent: UIDs from here on are \\Recent.
    """
    place = bisect_left(uids, first_recent)
    old, new = ({kind: flag_list(kind, recent) for kind in set(flags)} for recent in (False, True))
    return chain(map(old.__getitem__, flags[:place]), map(new.__getitem__, flags[place:]))


def exists(count: int) -> bytes:
    """`* 23 EXISTS`"""
    return b"* %d EXISTS\r\n" % count


def recent(count: int) -> bytes:
    """`* 5 RECENT`"""
    return b"* %d RECENT\r\n" % count


def expunges(numbers: Iterable[int]) -> bytes:
    """`* 3 EXPUNGE` for each, in the order given, each number as it is when its turn comes (RFC 3501 7.4.1)."""
    return b"".join([b"* %d EXPUNGE\r\n" % number for number in numbers])


def vanished(uids: UIDSet, earlier: bool = False) -> bytes:
    """
    `* VANISHED 405,407`; with `earlier` what was gone before the client counted (RFC 7162 3.2.10).

    Many ranges become several responses, so that none is longer than a client reads.
    """
    start = b"* VANISHED (EARLIER) " if earlier else b"* VANISHED "
    parts = [uids.ranges[place : place + _RANGES_IN_A_LINE] for place in range(0, len(uids.ranges), _RANGES_IN_A_LINE)]
    return b"".join([start + str(UIDSet(part)).encode("ascii") + CRLF for part in parts])


def flag_updates(
    updates: Sequence[tuple[int, MessageState]], first_recent: int, with_uid: bool, with_mod_seq: bool = False
) -> bytes:
    """
    FETCH responses with FLAGS.

    Args:
        updates: sequence numbers and states, in rising order.
        first_recent: UIDs from here on are \\Recent.
        with_uid: name the UID too, as UID commands do (RFC 3501 6.4.8).
        with_mod_seq: name UID and MODSEQ (RFC 7162 3.2.4).
    """
    if not updates:
        return b""
    numbers, states = zip(*updates, strict=True)
    uids, mod_seqs, flags = zip(*states, strict=True)
    lists = flag_lists(uids, flags, first_recent)
    line, columns = b"* %d FETCH (FLAGS %b)\r\n", [numbers, lists]
    if with_mod_seq:
        line, columns = b"* %d FETCH (UID %d MODSEQ (%d) FLAGS %b)\r\n", [numbers, uids, mod_seqs, lists]
    elif with_uid:
        line, columns = b"* %d FETCH (UID %d FLAGS %b)\r\n", [numbers, uids, lists]
    return b"".join(map(line.__mod__, zip(*columns, strict=True)))


def run_update(number: int, run: StateRun, recent: bool, with_uid: bool, with_mod_seq: bool, silent: bool) -> bytes:
    """
    FETCH responses of neighbours.

    Args:
        number: of the first one.
        recent: whether they are \\Recent.
        with_uid: see `flag_updates`, as for `with_mod_seq`.
        silent: no flags are asked for (RFC 7162 3.1.3).
    """
    items = [b"UID %d"] if with_uid or with_mod_seq else []
    if with_mod_seq:
        items.append(b"MODSEQ (%d)" % run.mod_seq)
    if not silent:
        items.append(b"FLAGS " + flag_list(run.flags, recent).replace(b"%", b"%%"))
    line = b"* %d FETCH (" + b" ".join(items) + b")\r\n"
    numbers: Iterable[int] = range(number, number + run.high - run.low + 1)
    if not (with_uid or with_mod_seq):
        return b"".join(map(line.__mod__, numbers))
    return b"".join(map(line.__mod__, zip(numbers, range(run.low, run.high + 1), strict=True)))


def list_line(word: str, attributes: Sequence[str], name: str) -> bytes:
    """`* LIST (\\HasNoChildren) "/" "name"`; `word` is LIST or LSUB."""
    return b'* %b (%b) "/" %b\r\n' % (word.encode("ascii"), " ".join(attributes).encode("ascii"), mailbox(name))


def status(name: str, counts: Collection[tuple[str, int]]) -> bytes:
    """`* STATUS "name" (MESSAGES 231 UIDNEXT 44292)`"""
    inside = " ".join(f"{word} {count}" for word, count in counts).encode("ascii")
    return b"* STATUS %b (%b)\r\n" % (mailbox(name), inside)


def extended_search(tag: bytes, by_uid: bool, results: Collection[tuple[str, object]]) -> bytes:
    """`* ESEARCH (TAG "A285") UID MIN 7 MAX 3800` (RFC 4466 2.6.2)"""
    words = [f"{word} {value}" for word, value in results]
    if by_uid:
        words.insert(0, "UID")
    return b'* ESEARCH (TAG "%b")%b\r\n' % (tag, "".join(f" {word}" for word in words).encode("ascii"))


def search(ranges: Iterable[Range], mod_seq: int = 0) -> bytes:
    """`* SEARCH 2 84 882`; with the highest MODSEQ of what was found where that is asked (RFC 7162 3.1.6)."""
    numbers = [str(number) for low, high in ranges for number in range(low, high + 1)]
    if numbers and mod_seq:
        numbers.append(f"(MODSEQ {mod_seq})")
    return f"* SEARCH {' '.join(numbers)}\r\n".encode("ascii") if numbers else b"* SEARCH\r\n"


def sort(numbers: Iterable[int], mod_seq: int = 0) -> bytes:
    """`* SORT 5 3 4 1 2`, with the highest MODSEQ of what was found where that is asked (RFC 7162 3.1.9)."""
    words = list(map(str, numbers))
    if words and mod_seq:
        words.append(f"(MODSEQ {mod_seq})")
    return " ".join(("* SORT", *words)).encode("ascii") + CRLF


def threads(rows: Iterable[tuple[int, int, int]]) -> bytes:
    """
    `* THREAD (2)(3 6 (4 23)(44 7 96))`

    Args:
        rows: (level, number, how many rows lie right beneath), each followed by what lies beneath it; the number is 0
            where nothing is to be named.

    RFC 5256 4
    """
    pieces: list[str] = []
    # Levels of the parentheses that are open.
    opened: list[int] = []
    above = 0
    for level, number, beneath in rows:
        if above == 1:
            # The only one beneath the row before it.
            pieces.append(f" {number}")
        else:
            while opened and opened[-1] >= level:
                opened.pop()
                pieces.append(")")
            opened.append(level)
            pieces.append(f"({number}" if number else "(")
        if beneath > 1 and number:
            pieces.append(" ")
        above = beneath
    pieces.append(")" * len(opened))
    return ("* THREAD " + "".join(pieces)).rstrip().encode("ascii") + CRLF

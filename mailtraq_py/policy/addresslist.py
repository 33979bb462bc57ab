"""
Lists of mail addresses: patterns (barring, black, white, always), IMail's kill file and its accept list.

Patterns match the whole folded address without regard to case: `*` any run, also none; `?` one character; `%` one
digit; `$` one letter; `~` in front excludes. The last entry that matches decides, as in firewall lists. The null
reverse-path is the empty text. Exact entries and entries with one leading or trailing `*` are found in dictionaries;
only what is left is tried one by one, in expressions that match in linear time whatever a sender makes up.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

from mailtraq_py.mail.address import fold_domain, fold_local_part

from .problems import Problems
from .settings import Entries, Entry

_WILD = re.compile(r"[*?%$]")
_ONE = {"?": ".", "%": "[0-9]", "$": r"[^\W\d_]"}
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


class AddressList:
    """
    Patterns, compiled.

    Args:
        entries: from top to bottom; each must have passed `check_pattern`.
    """

    __slots__ = ("_cached", "_exact", "_free", "_heads", "_some_literal", "_tails", "entries")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = tuple(entries)
        self._exact: dict[str, int] = {}
        self._tails = _Affixes()
        self._heads = _Affixes()
        free: list[tuple[int, str]] = []
        for index, entry in enumerate(entries):
            text = fold_pattern(_without_tilde(entry.text))
            wild = _WILD.findall(text)
            if not wild:
                self._exact[text] = index
            elif wild == ["*"] and text.startswith("*"):
                self._tails.add(text[1:], index)
            elif wild == ["*"] and text.endswith("*"):
                self._heads.add(text[:-1], index)
            else:
                free.append((index, text))
        self._free = _telling_pieces(reversed(free))
        literals = [re.escape(literal) for _, literal, _ in self._free]
        self._some_literal = re.compile("|".join(literals)) if literals else None
        self._cached = lru_cache(maxsize=1024)(self._last_match)

    def __len__(self) -> int:
        return len(self.entries)

    def last_match(self, address: str) -> int:
        """The index of the last entry that matches this folded address ("" for the null path), -1 for none."""
        return self._cached(address) if self.entries else -1

    def matches(self, address: str) -> bool:
        """Whether the last entry that matches is no exclusion."""
        return self.find(address) is not None

    def find(self, address: str) -> Entry | None:
        """The entry that names this address, None where none does or the last one excludes it."""
        index = self.last_match(address)
        if index < 0:
            return None
        entry = self.entries[index]
        return None if entry.text.lstrip().startswith("~") else entry

    def _last_match(self, address: str) -> int:
        best = max(
            self._exact.get(address, -1),
            self._tails.find(address, at_end=True),
            self._heads.find(address, at_end=False),
        )
        # Looking for each pattern's longest literal piece, all in one search, costs a fraction of trying expressions.
        if self._some_literal is None or not self._some_literal.search(address):
            return best
        for index, literal, pattern in self._free:
            if index < best:
                break
            if literal in address and pattern.match(address):
                return index
        return best


def _telling_pieces(free: Iterable[tuple[int, str]]) -> list[tuple[int, str, re.Pattern[str]]]:
    """
    Each pattern with the piece by which it is looked for: the one that the fewest patterns of the list have, of several
    the longest. ".example" would be found in every address.
    """
    pieces = [(index, text, _WILD.split(text)) for index, text in free]
    shared = Counter(piece for _, _, parts in pieces for piece in set(parts) if piece)
    return [
        (
            index,
            min(parts, key=lambda piece: (not piece, shared[piece], -len(piece))),
            re.compile(_expression(text), re.DOTALL),
        )
        for index, text, parts in pieces
    ]


class _Affixes:
    """Texts that addresses may end (or begin) with, by their lengths."""

    __slots__ = ("_by_length",)

    def __init__(self) -> None:
        self._by_length: dict[int, dict[str, int]] = {}

    def add(self, affix: str, index: int) -> None:
        """Add one; the same affix again takes the later index."""
        self._by_length.setdefault(len(affix), {})[affix] = index

    def find(self, text: str, *, at_end: bool) -> int:
        """The highest index whose affix fits, -1 for none."""
        best = -1
        size = len(text)
        for length, indexes in self._by_length.items():
            if length <= size:
                found = indexes.get(text[size - length :] if at_end else text[:length], -1)
                best = max(best, found)
        return best


def parse_patterns(entries: Entries, key: str, problems: Problems) -> AddressList:
    """Compile a list of patterns; what is none becomes an error in `problems`."""
    good = []
    for entry in entries:
        text = _without_tilde(entry.text)
        reason = _pattern_fault(text)
        if reason:
            problems.error(key, entry, reason)
            continue
        if "@" not in text and "*" not in text:
            problems.warn(key, entry, 'is compared with whole addresses, has no "@" and so never matches')
        good.append(entry)
    return AddressList(good)


def _pattern_fault(text: str) -> str:
    if not text:
        return "names no address"
    if _UNPRINTABLE.search(text):
        return "contains a control character"
    try:
        fold_pattern(text)
    except ValueError as error:
        return f"is no address pattern: {error}"
    return ""


def _without_tilde(text: str) -> str:
    text = text.strip()
    return text[1:] if text.startswith("~") else text


def fold_pattern(text: str) -> str:
    """
    Give a pattern the form of `Address.key`: lower case, A-labels, no trailing dot.

    Raises:
        ValueError: the part after the "@" can be no domain.
    """
    local_part, at, domain = text.rpartition("@")
    if not at:
        return fold_local_part(text)
    return f"{fold_local_part(local_part)}@{_fold_domain_pattern(domain)}"


def _fold_domain_pattern(domain: str) -> str:
    if not _WILD.search(domain):
        return fold_domain(domain)
    labels = domain.removesuffix(".").split(".")
    return ".".join(label.lower() if label.isascii() or _WILD.search(label) else fold_domain(label) for label in labels)


def _expression(pattern: str) -> str:
    """
    A pattern as an expression that takes the leftmost place for each piece between stars and never tries another.

    As `*` alone is variable, the leftmost place is always as good as any later one; so the groups may be atomic, and
    matching is linear in the address for each piece.
    """
    pieces = ["".join(_ONE.get(sign) or re.escape(sign) for sign in piece) for piece in pattern.split("*")]
    if len(pieces) == 1:
        return pieces[0] + r"\Z"
    middle = "".join(f"(?>.*?{piece})" for piece in pieces[1:-1] if piece)
    return f"{pieces[0]}{middle}.*{pieces[-1]}\\Z" if pieces[-1] else f"{pieces[0]}{middle}"


# --- IMail's two lists ---------------------------------------------------------------------------------------------


class KillList:
    """
    IMail's kill file: `user@host` exact, `@host` all of that host, `@*tail` all hosts that end so.

    Args:
        entries: each must have passed `parse_kill_list`.
    """

    __slots__ = ("_exact", "_tails", "entries")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = tuple(entries)
        self._exact: dict[str, int] = {}
        self._tails = _Affixes()
        for index, entry in enumerate(entries):
            text = entry.text.strip()
            if text.startswith("@*"):
                self._tails.add(_fold_domain_pattern(text[1:])[1:], index)
            else:
                self._exact[_fold_kill(text)] = index

    def find(self, address: str, domain: str) -> Entry | None:
        """The entry that names this folded address or its folded domain."""
        for form in (address, "@" + domain):
            if form in self._exact:
                return self.entries[self._exact[form]]
        index = self._tails.find(domain, at_end=True)
        return self.entries[index] if index >= 0 else None


def _fold_kill(text: str) -> str:
    local_part, _, domain = text.rpartition("@")
    return f"{fold_local_part(local_part)}@{fold_domain(domain)}"


def parse_kill_list(entries: Entries, key: str, problems: Problems) -> KillList:
    """Compile a kill file; what is none of its three forms becomes an error in `problems`."""
    good = []
    for entry in entries:
        text = entry.text.strip()
        try:
            if text.startswith("@*"):
                if "*" in text[2:] or not text[2:]:
                    raise ValueError("the tail after @* is empty or has another star")
                _fold_domain_pattern(text[1:])
            elif "@" not in text:
                raise ValueError("a line is user@host, @host or @*tail")
            else:
                _fold_kill(text)
        except ValueError as error:
            problems.error(key, entry, f"is no kill entry: {error}")
            continue
        good.append(entry)
    return KillList(good)


class AcceptList:
    """
    IMail's accept list: exact addresses and exact hosts.

    Args:
        entries: `user@host`, `host` or `@host`.
    """

    __slots__ = ("_texts", "entries")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = tuple(entries)
        self._texts = {_fold_accept(entry.text.strip()): entry for entry in entries}

    def find(self, address: str, domain: str) -> Entry | None:
        """The entry that names this folded address or its folded domain; the null path is never named."""
        if not address:
            return None
        return self._texts.get(address) or self._texts.get(domain)


def _fold_accept(text: str) -> str:
    local_part, at, domain = text.rpartition("@")
    if not at or not local_part:
        return fold_domain(domain)
    return f"{fold_local_part(local_part)}@{fold_domain(domain)}"


def parse_accept_list(entries: Entries, key: str, problems: Problems) -> AcceptList:
    """Compile an accept list; what is neither address nor host becomes an error in `problems`."""
    good = []
    for entry in entries:
        try:
            _fold_accept(entry.text.strip())
        except ValueError as error:
            problems.error(key, entry, f"is neither an address nor a host: {error}")
            continue
        good.append(entry)
    return AcceptList(good)

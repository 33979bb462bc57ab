"""
The grammar of commands: from tokens to the values of `commands.py`.

One function a command, in a table by the command's word. `parse_command` reads a whole command; `parse_append` reads
APPEND's beginning while its message is still on its way.

RFC 3501 9 (command), RFC 9051 9
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mailtraq_py.mail import dates
from mailtraq_py.mail.flags import StoreOperation
from mailtraq_py.mail.mailbox import INBOX, SEPARATOR, SPECIAL_USES, canonical_name
from mailtraq_py.mail.search import ModSeqSince, SearchKey, leaves
from mailtraq_py.mail.sorting import SortCriterion, SortKey
from mailtraq_py.mail.threads import ThreadAlgorithm
from mailtraq_py.mail.uidset import UIDSet

from . import commands, mailboxname
from .fetchitems import Item, parse_fetch_items
from .searchkeys import Numbering, parse_search
from .sequence import STAR, SequenceSet, parse_sequence_set
from .states import ALLOWED, State
from .tokens import BadCommand, Refusal, Tokens

PATTERN_MAX_CHARACTERS = 1000
ID_FIELDS_MAX = 30
ENABLE_NAMES_MAX = 50
MATCHES_MAX = 1000
SORT_CRITERIA_MAX = 20
_STATUS_ITEMS = ("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ", "SIZE")
_STORE_OPERATIONS = {b"": StoreOperation.REPLACE, b"+": StoreOperation.ADD, b"-": StoreOperation.REMOVE}
_SPECIAL_USES = {attribute.lower(): attribute for attribute in SPECIAL_USES}
_RETURN = re.compile(rb" RETURN (?=\()", re.IGNORECASE)
_RETURN_OPTIONS = frozenset(("MIN", "MAX", "ALL", "COUNT"))
_RETURN_ALL = frozenset(("ALL",))
_LIST_RETURN_OPTIONS = ("SPECIAL-USE", "CHILDREN")


def command_word(tokens: Tokens) -> str:
    """
    Read the command's word, in capitals; "UID FETCH" is one.

    Raises:
        BadCommand: no atom there.
    """
    word = tokens.word()
    if word == "UID":
        tokens.space()
        word = f"UID {tokens.word()}"
    return word


def check_allowed(word: str, state: State) -> None:
    """
    Whether a command exists and is allowed in a state.

    Raises:
        BadCommand: it does not, or is not.
    """
    allowed = ALLOWED.get(word)
    if allowed is None:
        raise BadCommand("unknown command")
    if state not in allowed:
        raise BadCommand(f"not allowed while {state.value}")


def parse_command(word: str, tokens: Tokens, numbering: Numbering | None) -> object:
    """
    Read a command's arguments to its end.

    Args:
        word: the command's, from `command_word`, allowed in the state.
        tokens: behind the word.
        numbering: the client's view, in the selected state.

    Raises:
        BadCommand: bad syntax.
        Refusal: what is asked for cannot be.
    """
    find = _FINDERS.get(word.removeprefix("UID "))
    if find is not None:
        if numbering is None:
            raise BadCommand("no mailbox is selected")
        return find(tokens, numbering, word.startswith("UID "))
    command = _PARSERS[word](tokens)
    tokens.end()
    return command


def parse_append(tokens: Tokens, octets: int) -> commands.Append | None:
    """
    Read APPEND up to its message.

        append = "APPEND" SP mailbox 1*append-message
        append-message = [SP flag-list] [SP date-time] SP literal

    Args:
        tokens: behind the word; its last segment ends with the count of a literal that has not come.
        octets: that count.

    Returns:
        None when the literal that has not come is the mailbox's name.

    Raises:
        BadCommand: bad syntax.
        Refusal: the name cannot be a mailbox's.

    RFC 3501 9, RFC 3502
    """
    tokens.space()
    if tokens.at_open_literal:
        return None
    mailbox = _mailbox_name(tokens.astring())
    return commands.Append(mailbox, *_append_message(tokens), octets)


def parse_append_next(tokens: Tokens, octets: int) -> commands.AppendNext:
    """
    Read what stands behind one message of an APPEND and announces the next; arguments as for `parse_append`.

    Raises:
        BadCommand: bad syntax.
    """
    return commands.AppendNext(*_append_message(tokens), octets)


def _append_message(tokens: Tokens) -> tuple[frozenset[str], int | None]:
    """Flags and date, up to the literal."""
    tokens.space()
    flags: frozenset[str] = frozenset()
    if tokens.next_is(b"("):
        flags = tokens.flag_list()
        tokens.space()
    internal_date = None
    if tokens.next_is(b'"'):
        try:
            internal_date = dates.parse_internal_date(tokens.string().decode("ascii"))
        except ValueError:
            raise BadCommand("bad date-time") from None
        tokens.space()
    if not tokens.at_open_literal:
        raise BadCommand("expected a literal")
    return flags, internal_date


def _mailbox(tokens: Tokens) -> str:
    tokens.space()
    return _mailbox_name(tokens.astring())


def _mailbox_name(octets: bytes) -> str:
    if octets.upper() == b"INBOX":
        return INBOX
    try:
        return canonical_name(mailboxname.decode(octets))
    except ValueError:
        raise Refusal("no such name can be a mailbox", "CANNOT") from None


def _numbers(tokens: Tokens) -> SequenceSet:
    tokens.space()
    return parse_sequence_set(tokens.sequence_set())


def _options(tokens: Tokens) -> list[str]:
    """`"(" [option *(SP option)] ")"`, in capitals."""
    tokens.expect(b"(")
    options: list[str] = []
    while not tokens.take(b")"):
        if options:
            tokens.space()
        options.append(tokens.word())
        if len(options) > len(_STATUS_ITEMS) + ENABLE_NAMES_MAX:
            raise BadCommand("too many options")
    return options


def _identify(tokens: Tokens) -> commands.Identify:
    """`id = "ID" SP ( "(" [string SP nstring *(SP string SP nstring)] ")" / nil )`"""
    tokens.space()
    if not tokens.take(b"("):
        if tokens.nstring() is not None:
            raise BadCommand("expected a list or NIL")
        return commands.Identify(())
    fields: list[tuple[str, str]] = []
    while not tokens.take(b")"):
        if fields:
            tokens.space()
        name = tokens.string()
        tokens.space()
        value = tokens.nstring() or b""
        fields.append((name.decode("utf-8", "replace"), value.decode("utf-8", "replace")))
        if len(fields) > ID_FIELDS_MAX:
            raise BadCommand("too many fields")
    return commands.Identify(tuple(fields))


def _authenticate(tokens: Tokens) -> commands.Authenticate:
    """`"AUTHENTICATE" SP auth-type [SP initial-resp]`"""
    tokens.space()
    mechanism = tokens.word()
    return commands.Authenticate(mechanism, tokens.rest() if tokens.take(b" ") else None)


def _login(tokens: Tokens) -> commands.Login:
    tokens.space()
    user = tokens.astring()
    tokens.space()
    return commands.Login(user, tokens.astring())


def _create(tokens: Tokens) -> commands.Create:
    """`"CREATE" SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]`"""
    mailbox = _mailbox(tokens)
    if not tokens.take(b" "):
        return commands.Create(mailbox)
    tokens.expect(b"(")
    if tokens.word() != "USE":
        raise BadCommand("unknown CREATE parameter")
    tokens.space()
    tokens.expect(b"(")
    uses: list[str] = []
    while not tokens.take(b")"):
        if uses:
            tokens.space()
        uses.append(tokens.use_attribute())
        if len(uses) > len(SPECIAL_USES):
            raise BadCommand("too many special uses")
    tokens.expect(b")")
    if not uses:
        return commands.Create(mailbox)
    if len(uses) > 1 or uses[0].lower() not in _SPECIAL_USES:
        raise Refusal("no such special use for one mailbox", "USEATTR")
    return commands.Create(mailbox, _SPECIAL_USES[uses[0].lower()])


def _rename(tokens: Tokens) -> commands.Rename:
    mailbox = _mailbox(tokens)
    return commands.Rename(mailbox, _mailbox(tokens))


def _pattern(tokens: Tokens) -> str:
    """`SP mailbox SP list-mailbox`, joined: a pattern that begins with the separator stands for itself."""
    tokens.space()
    reference = tokens.astring()
    tokens.space()
    pattern = tokens.list_mailbox()
    if not pattern:
        return ""
    try:
        name = mailboxname.decode(pattern)
        if not name.startswith(SEPARATOR):
            name = mailboxname.decode(reference) + name
    except ValueError:
        raise Refusal("no such name can be a mailbox", "CANNOT") from None
    if len(name) > PATTERN_MAX_CHARACTERS:
        raise BadCommand("pattern too long")
    return name


def _list(tokens: Tokens) -> commands.List:
    """`"LIST" [SP list-select-opts] SP mailbox SP list-mailbox [SP "RETURN" SP "(" options ")"]` (RFC 6154 6)"""
    special_use_only = False
    if tokens.next_is(b" ("):
        tokens.space()
        selection = _options(tokens)
        if selection not in ([], ["SPECIAL-USE"]):
            raise BadCommand("unknown LIST option")
        special_use_only = bool(selection)
    pattern = _pattern(tokens)
    if tokens.take(b" "):
        if tokens.word() != "RETURN":
            raise BadCommand("unexpected argument")
        tokens.space()
        if any(option not in _LIST_RETURN_OPTIONS for option in _options(tokens)):
            raise BadCommand("unknown LIST option")
    return commands.List(pattern, special_use_only)


def _status(tokens: Tokens) -> commands.Status:
    mailbox = _mailbox(tokens)
    tokens.space()
    items = tuple(dict.fromkeys(_options(tokens)))
    if not items or any(item not in _STATUS_ITEMS for item in items):
        raise BadCommand("unknown STATUS item")
    return commands.Status(mailbox, items)


def _enable(tokens: Tokens) -> commands.Enable:
    names: list[str] = []
    while not names or tokens.take(b" "):
        if not names:
            tokens.space()
        names.append(tokens.word())
        if len(names) > ENABLE_NAMES_MAX:
            raise BadCommand("too many capabilities")
    return commands.Enable(tuple(names))


def _select(tokens: Tokens, read_only: bool) -> commands.Select:
    """
    A mailbox and what the client wants of CONDSTORE and QRESYNC.

        "SELECT" SP mailbox [SP "(" select-param *(SP select-param) ")"]
        select-param = "CONDSTORE" / "QRESYNC" SP "(" uidvalidity SP mod-sequence-value [SP known-uids]
                       [SP "(" known-sequence-set SP known-uid-set ")"] ")"

    RFC 4466 2.1, RFC 7162 7
    """
    mailbox = _mailbox(tokens)
    condstore, resync = False, None
    if tokens.take(b" "):
        tokens.expect(b"(")
        while True:
            word = tokens.word()
            if word == "CONDSTORE" and not condstore:
                condstore = True
            elif word == "QRESYNC" and resync is None:
                resync = _resync(tokens)
            else:
                raise BadCommand("unknown SELECT parameter")
            if not tokens.take(b" "):
                break
        tokens.expect(b")")
    return commands.Select(mailbox, read_only, condstore, resync)


def _resync(tokens: Tokens) -> commands.Resync:
    tokens.space()
    tokens.expect(b"(")
    uid_validity = tokens.nz_number()
    tokens.space()
    mod_seq = tokens.mod_seq()
    uids: UIDSet | None = None
    matches: tuple[tuple[int, int], ...] = ()
    if tokens.next_is(b" ") and not tokens.next_is(b" ("):
        uids = _known_set(tokens)
    if tokens.take(b" "):
        tokens.expect(b"(")
        numbers = parse_sequence_set(tokens.sequence_set()).numbers
        matching = _known_set(tokens)
        tokens.expect(b")")
        if numbers.ranges[-1][1] >= STAR or len(numbers) != len(matching):
            raise BadCommand("bad message sequence match data")
        # A small sample is meant (RFC 7162 3.2.5.2); who sends a whole mailbox gets by without.
        if len(numbers) <= MATCHES_MAX:
            matches = tuple(zip(numbers, matching, strict=True))
    tokens.expect(b")")
    return commands.Resync(uid_validity, mod_seq, uids, matches)


def _known_set(tokens: Tokens) -> UIDSet:
    """A sequence-set without `*`, after a space."""
    numbers = _numbers(tokens).numbers
    if numbers.ranges[-1][1] >= STAR:
        raise BadCommand("expected a set of numbers")
    return numbers


def _fetch(tokens: Tokens, by_uid: bool) -> commands.Fetch:
    """`"FETCH" SP sequence-set SP items [SP "(" fetch-modifier *(SP fetch-modifier) ")"]` (RFC 4466 2.4, RFC 7162 7)"""
    numbers = _numbers(tokens)
    tokens.space()
    items = parse_fetch_items(tokens)
    changed_since, vanished = None, False
    if tokens.take(b" "):
        tokens.expect(b"(")
        while True:
            word = tokens.word()
            if word == "CHANGEDSINCE" and changed_since is None:
                tokens.space()
                changed_since = tokens.mod_seq()
            elif word == "VANISHED" and by_uid and not vanished:
                vanished = True
            else:
                raise BadCommand("unknown FETCH modifier")
            if not tokens.take(b" "):
                break
        tokens.expect(b")")
        if changed_since is None:
            raise BadCommand("VANISHED needs CHANGEDSINCE")
        if Item.MODSEQ not in items:
            items = (*items, Item.MODSEQ)
    return commands.Fetch(numbers, items, by_uid, changed_since, vanished)


def _store(tokens: Tokens, by_uid: bool) -> commands.Store:
    """
    Flags to set, and from which MODSEQ on not to.

        store = "STORE" SP sequence-set [SP "(" "UNCHANGEDSINCE" SP mod-sequence-valzer ")"] SP store-att-flags
        store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))

    RFC 3501 9, RFC 7162 7
    """
    numbers = _numbers(tokens)
    tokens.space()
    unchanged_since = None
    if tokens.take(b"("):
        if tokens.word() != "UNCHANGEDSINCE":
            raise BadCommand("unknown STORE modifier")
        tokens.space()
        unchanged_since = tokens.mod_seq()
        tokens.expect(b")")
        tokens.space()
    sign = b"+" if tokens.take(b"+") else b"-" if tokens.take(b"-") else b""
    word = tokens.word()
    if word not in ("FLAGS", "FLAGS.SILENT"):
        raise BadCommand("unknown STORE item")
    tokens.space()
    operation, silent = _STORE_OPERATIONS[sign], word != "FLAGS"
    return commands.Store(numbers, operation, silent, tokens.store_flags(), by_uid, unchanged_since)


def _search(tokens: Tokens, numbering: Numbering, by_uid: bool) -> commands.Search:
    """`"SEARCH" [SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")"] ...` (RFC 4466 2.6.1)"""
    returns: frozenset[str] = frozenset()
    if tokens.take_match(_RETURN) is not None:
        returns = frozenset(_options(tokens)) or _RETURN_ALL
        if not returns <= _RETURN_OPTIONS:
            raise BadCommand("unknown result option")
    key = parse_search(tokens, numbering)
    return commands.Search(key, by_uid, _asks_mod_seq(key), returns)


def _sort(tokens: Tokens, numbering: Numbering, by_uid: bool) -> commands.Sort:
    """`"SORT" SP "(" ["REVERSE" SP] sort-key *(SP ...) ")" SP charset 1*(SP search-key)` (RFC 5256 5)"""
    tokens.space()
    tokens.expect(b"(")
    criteria: list[SortCriterion] = []
    while not criteria or tokens.take(b" "):
        word = tokens.word()
        reverse = word == "REVERSE"
        if reverse:
            tokens.space()
            word = tokens.word()
        if word not in SortKey.__members__ or len(criteria) >= SORT_CRITERIA_MAX:
            raise BadCommand("unknown sort criterion")
        criteria.append(SortCriterion(SortKey[word], reverse))
    tokens.expect(b")")
    key = parse_search(tokens, numbering, with_charset=True)
    return commands.Sort(tuple(criteria), key, by_uid, _asks_mod_seq(key))


def _thread(tokens: Tokens, numbering: Numbering, by_uid: bool) -> commands.Thread:
    """`"THREAD" SP thread-alg SP charset 1*(SP search-key)` (RFC 5256 5)"""
    tokens.space()
    word = tokens.word()
    if word not in ThreadAlgorithm.__members__:
        raise BadCommand("unknown threading algorithm")
    key = parse_search(tokens, numbering, with_charset=True)
    return commands.Thread(ThreadAlgorithm[word], key, by_uid, _asks_mod_seq(key))


_FINDERS: dict[str, Callable[[Tokens, Numbering, bool], object]] = {
    "SEARCH": _search,
    "SORT": _sort,
    "THREAD": _thread,
}


def _asks_mod_seq(key: SearchKey) -> bool:
    return any(isinstance(leaf, ModSeqSince) for leaf in leaves(key))


def _copy(tokens: Tokens, by_uid: bool, move: bool = False) -> commands.Copy:
    numbers = _numbers(tokens)
    return commands.Copy(numbers, _mailbox(tokens), by_uid, move)


def _append(tokens: Tokens) -> object:
    """A whole APPEND comes here only without the literal of its message."""
    raise BadCommand("expected a literal")


_PARSERS: dict[str, Callable[[Tokens], object]] = {
    "CAPABILITY": lambda tokens: commands.Capability(),
    "NOOP": lambda tokens: commands.Noop(),
    "LOGOUT": lambda tokens: commands.Logout(),
    "ID": _identify,
    "STARTTLS": lambda tokens: commands.StartTLS(),
    "AUTHENTICATE": _authenticate,
    "LOGIN": _login,
    "SELECT": lambda tokens: _select(tokens, read_only=False),
    "EXAMINE": lambda tokens: _select(tokens, read_only=True),
    "CREATE": _create,
    "DELETE": lambda tokens: commands.Delete(_mailbox(tokens)),
    "RENAME": _rename,
    "SUBSCRIBE": lambda tokens: commands.Subscribe(_mailbox(tokens), True),
    "UNSUBSCRIBE": lambda tokens: commands.Subscribe(_mailbox(tokens), False),
    "LIST": _list,
    "LSUB": lambda tokens: commands.Lsub(_pattern(tokens)),
    "STATUS": _status,
    "APPEND": _append,
    "NAMESPACE": lambda tokens: commands.Namespace(),
    "ENABLE": _enable,
    "IDLE": lambda tokens: commands.Idle(),
    "CHECK": lambda tokens: commands.Check(),
    "CLOSE": lambda tokens: commands.Close(expunge=True),
    "UNSELECT": lambda tokens: commands.Close(expunge=False),
    "EXPUNGE": lambda tokens: commands.Expunge(),
    "FETCH": lambda tokens: _fetch(tokens, by_uid=False),
    "STORE": lambda tokens: _store(tokens, by_uid=False),
    "COPY": lambda tokens: _copy(tokens, by_uid=False),
    "MOVE": lambda tokens: _copy(tokens, by_uid=False, move=True),
    "UID EXPUNGE": lambda tokens: commands.Expunge(_numbers(tokens)),
    "UID FETCH": lambda tokens: _fetch(tokens, by_uid=True),
    "UID STORE": lambda tokens: _store(tokens, by_uid=True),
    "UID COPY": lambda tokens: _copy(tokens, by_uid=True),
    "UID MOVE": lambda tokens: _copy(tokens, by_uid=True, move=True),
}

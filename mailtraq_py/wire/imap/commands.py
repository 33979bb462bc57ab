"""
Commands as values: what a client asked for, with every argument decoded and checked.

Mailbox names are in the canonical form of `mail/mailbox.py`. `by_uid` tells UID FETCH from FETCH, and so on. The
tag stays with the core.

RFC 3501 6, and the extension named at each
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mailtraq_py.mail.flags import StoreOperation
from mailtraq_py.mail.search import SearchKey
from mailtraq_py.mail.sorting import SortCriterion
from mailtraq_py.mail.threads import ThreadAlgorithm
from mailtraq_py.mail.uidset import UIDSet

from .fetchitems import FetchItem
from .sequence import SequenceSet

# --- any state -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Capability:
    """RFC 3501 6.1.1"""


@dataclass(frozen=True, slots=True)
class Noop:
    """RFC 3501 6.1.2"""


@dataclass(frozen=True, slots=True)
class Logout:
    """RFC 3501 6.1.3"""


@dataclass(frozen=True, slots=True)
class Identify:
    """ID: what the client says of itself (RFC 2971 3.1)."""

    fields: tuple[tuple[str, str], ...]


# --- not authenticated -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartTLS:
    """RFC 3501 6.2.1"""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """
    `mechanism` in capitals; `initial` as it came, base64 or "=", None without one (RFC 3501 6.2.2, RFC 4959 3).
    """

    mechanism: str
    initial: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """RFC 3501 6.2.3"""

    user: bytes
    password: bytes = field(repr=False)


# --- authenticated ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Resync:
    """
    What a client knows of a mailbox (RFC 7162 3.2.5). `uids` is None where it names none; `matches` are pairs of a
    sequence number and the UID it had, rising.
    """

    uid_validity: int
    mod_seq: int
    uids: UIDSet | None = None
    matches: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Select:
    """SELECT, or EXAMINE where `read_only` (RFC 3501 6.3.1, 6.3.2; RFC 7162 3.1.8, 3.2.5)."""

    mailbox: str
    read_only: bool = False
    condstore: bool = False
    resync: Resync | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """`special_use` is "" or one attribute (RFC 3501 6.3.3, RFC 6154 3)."""

    mailbox: str
    special_use: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """RFC 3501 6.3.4"""

    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename:
    """RFC 3501 6.3.5"""

    mailbox: str
    new_name: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE, or UNSUBSCRIBE (RFC 3501 6.3.6, 6.3.7)."""

    mailbox: str
    subscribed: bool


@dataclass(frozen=True, slots=True)
class List:
    """
    LIST. `pattern` is reference and pattern in one, decoded, "" where the client asks for the separator only;
    `special_use_only` is RFC 6154's selection option (RFC 3501 6.3.8).
    """

    pattern: str
    special_use_only: bool = False


@dataclass(frozen=True, slots=True)
class Lsub:
    """LSUB (RFC 3501 6.3.9)."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Status:
    """STATUS with its items in capitals (RFC 3501 6.3.10)."""

    mailbox: str
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Append:
    """
    The beginning of APPEND, up to its message of `octets` octets. `internal_date` in seconds since the epoch. What
    follows are `AppendOctets` and `AppendEnd`, once the session has let the core go on (RFC 3501 6.3.11).
    """

    mailbox: str
    flags: frozenset[str]
    internal_date: int | None
    octets: int


@dataclass(frozen=True, slots=True)
class AppendNext:
    """A further message of the same APPEND is announced; to be let in or refused like the first (RFC 3502)."""

    flags: frozenset[str]
    internal_date: int | None
    octets: int


@dataclass(frozen=True, slots=True)
class AppendOctets:
    """A piece of the message; wants no reply."""

    piece: bytes


@dataclass(frozen=True, slots=True)
class AppendEnd:
    """The command is whole."""


@dataclass(frozen=True, slots=True)
class AppendBroken:
    """The command was malformed behind its message, and is answered; forget the message. Wants no reply."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """RFC 2342 5"""


@dataclass(frozen=True, slots=True)
class Enable:
    """Names in capitals (RFC 5161 3.1)."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Idle:
    """RFC 2177 3"""


@dataclass(frozen=True, slots=True)
class Continuation:
    """A line that the session's continuation asked for: a SASL response, DONE. Without its line end."""

    line: bytes = field(repr=False)


# --- selected --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Check:
    """RFC 3501 6.4.1"""


@dataclass(frozen=True, slots=True)
class Close:
    """CLOSE, or UNSELECT where nothing is to be expunged (RFC 3501 6.4.2, RFC 3691 2)."""

    expunge: bool


@dataclass(frozen=True, slots=True)
class Expunge:
    """EXPUNGE, or UID EXPUNGE of a set (RFC 3501 6.4.3, RFC 4315 2.1)."""

    uids: SequenceSet | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """
    SEARCH; numbers in the key are UIDs already (RFC 3501 6.4.4). `tells_mod_seq`: MODSEQ is among the keys.
    `returns` are result options in capitals, empty for the plain response (RFC 4731 3.1).
    """

    key: SearchKey
    by_uid: bool
    tells_mod_seq: bool = False
    returns: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sort:
    """SORT (RFC 5256 3); otherwise as `Search`."""

    criteria: tuple[SortCriterion, ...]
    key: SearchKey
    by_uid: bool
    tells_mod_seq: bool = False


@dataclass(frozen=True, slots=True)
class Thread:
    """THREAD (RFC 5256 3); otherwise as `Search`."""

    algorithm: ThreadAlgorithm
    key: SearchKey
    by_uid: bool
    tells_mod_seq: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """RFC 3501 6.4.5; CHANGEDSINCE and VANISHED: RFC 7162 3.1.4.1, 3.2.6."""

    numbers: SequenceSet
    items: tuple[FetchItem, ...]
    by_uid: bool
    changed_since: int | None = None
    vanished: bool = False


@dataclass(frozen=True, slots=True)
class Store:
    """RFC 3501 6.4.6; UNCHANGEDSINCE: RFC 7162 3.1.3."""

    numbers: SequenceSet
    operation: StoreOperation
    silent: bool
    flags: frozenset[str]
    by_uid: bool
    unchanged_since: int | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY, or MOVE (RFC 3501 6.4.7, RFC 6851 3.1)."""

    numbers: SequenceSet
    mailbox: str
    by_uid: bool
    move: bool = False

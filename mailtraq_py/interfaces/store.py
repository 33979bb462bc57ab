"""
The store's contracts: mailboxes, content, acceptance, changes, recent-login rows, what policy decided.

Every `async` method may raise TemporaryFailure (and StorageFull where it writes). What a writing method did is
durable when it returns, and its changes have been told to the hub. Values are plain, so that they can cross to
another process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from zope.interface import Attribute, Interface

from mailtraq_py.mail.changes import Change, MailboxDelta, MessageState, StateRun
from mailtraq_py.mail.flags import StoreOperation
from mailtraq_py.mail.search import SearchKey
from mailtraq_py.mail.sorting import SortCriterion
from mailtraq_py.mail.threads import ThreadAlgorithm, Threads
from mailtraq_py.mail.uidset import UIDSet

from .policy import RecentLogin
from .queue import Outgoing

# --- content ---------------------------------------------------------------------------------------------


class ContentFacts(NamedTuple):
    """
    What one pass over a message found, kept ready to send.

    `octets` and `lines` of the whole content; `header_octets` with the blank line; `envelope`, `body`
    and `body_structure` are IMAP's data items as they go over the wire, without their names (RFC 9051
    7.5.2); `parts` is the packed map of MIME parts (`mail/entity.py`); `fields` the usual header fields as raw
    lines, for a client's message list; `sent` is the Date field in seconds since the epoch and `sent_day` its
    calendar day as written (days since the epoch), None where there is none; the texts are decoded, for SEARCH
    and SORT. `message_id`, `in_reply_to` and `references` hold msg-ids with their brackets, separated by a space.
    """

    octets: int
    lines: int
    header_octets: int
    envelope: bytes
    body: bytes
    body_structure: bytes
    parts: bytes
    fields: bytes
    sent: int | None
    sent_day: int | None
    subject: str
    sender: str
    to: str
    cc: str
    message_id: str
    in_reply_to: str
    references: str


@dataclass(frozen=True, slots=True)
class ContentRef:
    """
    Where a message's octets are: `head` (the recipient's own) followed by `octets` of shared content.

    Offsets count from the head's first octet. `at_hand` is the shared content itself, where it is small and came along.
    """

    id: int
    octets: int
    head: bytes = b""
    at_hand: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def total_octets(self) -> int:
        """RFC822.SIZE."""
        return len(self.head) + self.octets

    def read_at_hand(self, offset: int = 0, length: int | None = None) -> bytes | None:
        """What `IContent.read` gives, without waiting; None where it is not at hand."""
        if self.at_hand is None:
            return None
        whole = self.head + self.at_hand if self.head else self.at_hand
        return whole[offset : None if length is None else offset + length]


class ISpool(Interface):
    """
    A message while it arrives: small ones in memory, larger ones in a file of their own (mode 0600,
    exclusive, inside data_dir), so that memory does not grow with the message.
    """

    octets = Attribute("how many have been written")

    def write(octets: bytes) -> None:
        """Add octets. Raises StorageFull when the disk is full; the spool is then good for `discard` only."""

    def chunks() -> Iterable[bytes]:
        """Iterate over all that was written, in pieces of at most 64 KiB; may be called off the reactor thread."""

    def discard() -> None:
        """Forget it. Idempotent; does nothing once the content is stored."""


class IContent(Interface):
    """The octets of messages."""

    def spool() -> ISpool:
        """A fresh, empty spool."""

    async def read(content: ContentRef, offset: int = 0, length: int | None = None) -> bytes:
        """
        Read octets [offset, offset + length) of head and content, cut at the end.

        Callers ask for at most 1 MiB at once and go on from there for larger messages.
        """


# --- acceptance ------------------------------------------------------------------------------------------


class LocalDelivery(NamedTuple):
    """
    One copy into a mailbox of an account. `mailbox` is a name ("INBOX"); where it does not exist the
    copy goes to one whose name differs in case alone, else to INBOX. `head` is put before the content.
    `counts`: whether the account's quota is asked for room; what is not counted has no say in whether the message is
    accepted.
    """

    account_id: int
    mailbox: str
    head: bytes = b""
    flags: frozenset[str] = frozenset()
    counts: bool = True


class NewContent(NamedTuple):
    """One content with all that becomes of it. `spool` is stored; its owner forgets it afterwards."""

    spool: ISpool
    facts: ContentFacts
    local: tuple[LocalDelivery, ...] = ()
    outgoing: tuple[Outgoing, ...] = ()


class Acceptance(NamedTuple):
    """
    What one 250 promises. `id` is in the Received field and every log line; `received` is the internal date, seconds
    since the epoch; `trace` the policy's reasons as one JSON text, kept with the message for `explain`.
    """

    id: str
    received: float
    contents: tuple[NewContent, ...]
    trace: str = ""


class Delivered(NamedTuple):
    """Where a LocalDelivery ended."""

    account_id: int
    mailbox_id: int
    uid: int


class IAcceptance(Interface):
    """The one write by which mail enters."""

    def check_room() -> None:
        """Raise TemporaryFailure while so much waits to be written that no further message should be begun."""

    async def commit(acceptance: Acceptance) -> tuple[Delivered, ...]:
        """
        Put contents, mailbox rows, queue rows and trace into one transaction and wait for it.

        Repeating an acceptance with the same id (after a lost answer) changes nothing.
        """


# --- mailboxes -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MailboxInfo:
    """
    One line of LIST. `special_use` is "" or one of mail.mailbox.SPECIAL_USES. A level that only has inferiors
    has id 0. `is_recoverable`: the mailbox of deleted messages.
    """

    id: int
    name: str
    special_use: str
    subscribed: bool
    has_children: bool
    is_recoverable: bool = False


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """
    Counts that are kept, not counted. UIDs from `first_recent` on are \\Recent to the session that
    claimed them (RFC 3501 2.3.2).
    """

    id: int
    name: str
    uid_validity: int
    uid_next: int
    highest_mod_seq: int
    messages: int
    unseen: int
    deleted: int
    octets: int
    first_recent: int


class Column(Enum):
    """What `IMailbox.fetch` can bring of a message; the comment is the value's type."""

    UID = "uid"  # int
    MOD_SEQ = "mod_seq"  # int
    FLAGS = "flags"  # frozenset[str]
    INTERNAL_DATE = "internal_date"  # int, seconds since the epoch
    SAVE_DATE = "save_date"  # int, seconds since the epoch
    OCTETS = "octets"  # int, head included
    CONTENT = "content"  # ContentRef
    ENVELOPE = "envelope"  # bytes
    BODY = "body"  # bytes
    BODY_STRUCTURE = "body_structure"  # bytes
    HEADER_OCTETS = "header_octets"  # int, of the content, without the head
    FIELDS = "fields"  # bytes
    PARTS = "parts"  # bytes
    EMAIL_ID = "email_id"  # str
    THREAD_ID = "thread_id"  # str


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message for APPEND. `internal_date` in seconds since the epoch."""

    spool: ISpool
    facts: ContentFacts
    flags: frozenset[str]
    internal_date: int


@dataclass(frozen=True, slots=True)
class Appended:
    """APPENDUID (RFC 4315 3)."""

    uid_validity: int
    uids: UIDSet


@dataclass(frozen=True, slots=True)
class Copied:
    """COPYUID (RFC 4315 3): `source[i]` became `destination[i]`, both in rising order."""

    uid_validity: int
    source: tuple[int, ...]
    destination: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """
    What STORE did: the states as they are now, and the UIDs whose MODSEQ was above UNCHANGEDSINCE. States come in runs,
    rising, because most often a whole mailbox is a few of them.

    Who knew all of the mailbox up to the MODSEQ `since` knows all up to `until` with these states: nothing else changed
    in between. Where something did, the two are the same.
    """

    runs: tuple[StateRun, ...]
    modified: UIDSet
    since: int = 0
    until: int = 0

    @property
    def states(self) -> tuple[MessageState, ...]:
        """The states one by one."""
        return tuple(
            MessageState(uid, mod_seq, flags)
            for low, high, mod_seq, flags in self.runs
            for uid in range(low, high + 1)
        )


class IMailboxes(Interface):
    """
    The mailboxes of one account. Names are in the canonical form of `mail/mailbox.py`; INBOX always exists.

    What is deleted may stay for a while in a mailbox that is listed as `is_recoverable`: it can be opened, and nothing
    else be done to it. No quota counts it.

    Raises NoSuchMailbox, MailboxExists and MailboxNotAllowed (`interfaces/failures.py`).
    """

    account_id = Attribute("whose")

    async def list_mailboxes() -> list[MailboxInfo]:
        """All, in order of their names, INBOX first; levels that are only named by inferiors included."""

    async def list_subscriptions() -> list[str]:
        """Subscribed names, also of mailboxes that are gone (RFC 3501 6.3.6)."""

    async def status(name: str) -> MailboxStatus:
        """Counts of one mailbox."""

    async def create(name: str, special_use: str = "") -> MailboxStatus:
        """Create it and the levels above that are missing."""

    async def delete(name: str) -> None:
        """Delete it with its messages; inferiors stay and keep the name as a level (RFC 3501 6.3.4)."""

    async def rename(name: str, new_name: str) -> None:
        """
        Rename it and its inferiors. Renaming INBOX moves its messages to a new mailbox and leaves INBOX
        empty (RFC 3501 6.3.5).
        """

    async def subscribe(name: str, subscribed: bool) -> None:
        """Change the subscription; the name need not exist when unsubscribing."""

    async def open(name: str) -> IMailbox:
        """The mailbox, for selecting."""

    async def append(name: str, messages: Sequence[NewMessage]) -> Appended:
        """Append all or none. Raises OverQuota."""


class IMailbox(Interface):
    """
    One mailbox as sessions work on it. Sets of UIDs may name messages that are gone; those are passed over.

    Long sets are worked in slices, so that other writers are served in between; each slice is atomic.
    """

    id = Attribute("its number, never used again")
    name = Attribute("its name when it was opened")
    uid_validity = Attribute("UIDVALIDITY")
    read_only = Attribute("whether it holds deleted messages: they can be looked at, copied and moved to others")

    async def select(claim_recent: bool) -> tuple[MailboxStatus, UIDSet]:
        """
        Status and all UIDs, of one instant. With `claim_recent` later callers see the
        messages as no longer recent (SELECT does, EXAMINE and STATUS do not).
        """

    async def first_unseen() -> int:
        """UID of the first message without \\Seen; 0 where there is none, or it is far behind the first of all."""

    async def states(uids: UIDSet) -> list[MessageState]:
        """Flags and MODSEQs in rising UID order."""

    async def changes(since: int) -> MailboxDelta:
        """All that changed after the MODSEQ `since`. Raises NoSuchMailbox when it was deleted."""

    async def fetch(uids: UIDSet, columns: Sequence[Column], limit: int) -> list[tuple[object, ...]]:
        """
        The first `limit` messages of the set in rising UID order, each a tuple in the order of `columns`.

        Ask again for the rest: no read transaction stays open while a client is waited for.
        """

    async def store(
        uids: UIDSet, operation: StoreOperation, flags: frozenset[str], unchanged_since: int | None = None
    ) -> Stored:
        """Change flags."""

    async def expunge(uids: UIDSet | None) -> UIDSet:
        """Remove messages with \\Deleted, of the set if one is given; returns what is gone."""

    async def remove(uids: UIDSet) -> UIDSet:
        """Remove messages whatever their flags (POP3); returns what is gone now."""

    async def copy(uids: UIDSet, destination: str, move: bool = False) -> Copied:
        """
        Copy, or move (RFC 6851), to another mailbox of the account; flags and internal dates are kept.

        Copies appear in one instant or, on failure, none does. A move of many goes on in slices: a message is in one of
        the two mailboxes at any instant, and where it fails half-way what was moved stays moved (RFC 6851 3.3). Raises
        NoSuchMailbox, OverQuota.
        """

    async def search(key: SearchKey, now: float) -> UIDSet:
        """UIDs that match."""

    async def sort(key: SearchKey, criteria: Sequence[SortCriterion], now: float) -> list[int]:
        """UIDs that match, sorted (RFC 5256 3)."""

    async def thread(key: SearchKey, algorithm: ThreadAlgorithm, now: float) -> Threads:
        """Messages that match in their threads (RFC 5256 3)."""


# --- changes ---------------------------------------------------------------------------------------------


class IChangeHub(Interface):
    """
    One stream of changes out of the store, after commit, in the order of commits.

    Listeners are called on the reactor thread, must not raise, and get hints (`mail/changes.py`). Each
    `watch_*` returns a function that ends the watching.
    """

    def watch_mailbox(mailbox_id: int, listener: Callable[[Change], None]) -> Callable[[], None]:
        """MailboxChanged and MailboxGone of one mailbox."""

    def watch_account(account_id: int, listener: Callable[[Change], None]) -> Callable[[], None]:
        """MailboxesChanged and AccountRevoked of one account."""

    def watch_queue(listener: Callable[[Change], None]) -> Callable[[], None]:
        """QueueGrew."""


# --- recent logins ---------------------------------------------------------------------------------------


class IRecentLoginRows(Interface):
    """
    Rows of the recent-login whitelist, keyed by (address, account). Shared by all processes; survive a
    restart. `address` is the client's, or its IPv6 prefix as policy wrote it. Times are seconds since the epoch.
    """

    async def write(
        address: str, account_id: int, protocol: str, tls: bool, now: float, logged_in: float
    ) -> bool:
        """
        Insert a row or move its `last_login` to `now`.

        Returns False, and writes nothing, when the account or address was revoked after `logged_in`, or the
        account is disabled or gone.
        """

    async def find(address: str, since: float) -> list[RecentLogin]:
        """
        Committed rows of this address whose last login is at or after `since`.

        Each has its account as it is now (its `relay` privilege is to be checked at use). Rows of disabled or deleted
        accounts and revoked rows are not there. Fast: an inline read.
        """

    async def find_near(prefix: str, since: float) -> list[RecentLogin]:
        """Rows whose address text begins with `prefix`, at most 20; for `explain`'s near misses."""

    async def list_rows(since: float) -> list[RecentLogin]:
        """All rows with a last login at or after `since`, newest first."""

    async def revoke(address: str | None, account_id: int | None, now: float) -> int:
        """Remove rows that match all that is given, and keep sessions logged in before `now` from renewing them."""

    async def expire(before: float, limit: int) -> int:
        """Remove at most `limit` rows with a last login before `before`, by index; returns how many."""


# --- what policy decided ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """
    What was decided for one session within a moment. `decided` is the time of the first decision, `address` that of
    its rows in the recent-login whitelist, `record` facts and verdicts as JSON (`policy/history.py`).
    """

    decided: float
    session: str
    service: str
    client: str
    address: str
    record: str


@dataclass(frozen=True, slots=True)
class RecordedSession:
    """
    A `DecisionRow` as it is read back. `logins` are the recent logins from its address when it was written, each with
    its account as it is now; their `address` is empty.
    """

    decided: float
    session: str
    service: str
    client: str
    logins: tuple[RecentLogin, ...]
    record: Mapping[str, Any]


class IDecisionRows(Interface):
    """What policy decided, for `mailtraq policy diff`. It may be lost in a power cut."""

    async def write(rows: Sequence[DecisionRow]) -> None:
        """Add rows, with the recent logins of their addresses as they are now, in one transaction."""

    async def expire(before: float, most_octets: int) -> bool:
        """
        Remove some rows from before a time, or the oldest while all together weigh more than `most_octets`.

        Returns whether more may have to go.
        """

    def read(since: float) -> Iterator[RecordedSession]:
        """What was decided since a time, in the order of time; page by page, so nothing is held open."""

"""
Somebody's account on a running IMAP server, to be read: mailboxes with their uses, new UIDs, messages.

Built on IMAPClient. What it and the network raise becomes one of two failures: `ConnectionLost`, after which one may
connect again, and `SourceRefused`, what the server does not want to do. A message above `_PART_OCTETS` comes in parts.

RFC 3501; RFC 2342 (NAMESPACE), RFC 6154 (special use)
"""

from __future__ import annotations

import re
import ssl
import time
from ast import literal_eval
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from imapclient import IMAPClient, SocketTimeout
from imapclient.exceptions import IMAPClientAbortError, IMAPClientError

from mailtraq_py.mail.flags import canonical
from mailtraq_py.mail.mailbox import INBOX, SEPARATOR, SPECIAL_USES
from mailtraq_py.wire.imap import mailboxname

from .mailfolders import FoundMessage, with_cr

CONNECT_SECONDS = 30.0
READ_SECONDS = 180.0

_PORTS = {"imap": 143, "imaps": 993}
_PART_OCTETS = 1 << 20
_GROUP_MESSAGES = 50
_GROUP_OCTETS = 2 << 20
# A line of an answer has at most 1,000,000 octets for imaplib, and SEARCH answers in one.
_UIDS_AT_ONCE = 100_000
_SEARCHES_MAX = 1000
_ALL = b"\\all"
# Views of what is in other mailboxes (RFC 6154 2); those of Gmail are told by names of their own.
_VIEWS = {_ALL, b"\\flagged", b"\\important"}
_NO_MAILBOX = {b"\\noselect", b"\\nonexistent"}
# An atom, perhaps of a system flag (RFC 3501 9, flag).
_FLAG = re.compile(r"\\?[^\x00-\x20(){%*\"\\\]\x7f]+")
_GMAIL = b"X-GM-EXT-1"
_GMAIL_ID = b"X-GM-MSGID"


class ConnectionLost(Exception):
    """The server cannot be reached, or is gone."""


class SourceRefused(Exception):
    """The server does not do what it was asked for; the message is its own, or says what it is that it lacks."""


@dataclass(frozen=True, slots=True)
class Address:
    """Whose account on which server; `is_implicit` is TLS from the first octet on."""

    user: str
    host: str
    port: int
    is_implicit: bool

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


def parse_url(url: str) -> Address:
    """
    Read `imap://user@host[:port]/` or `imaps://...`; an "@" in the user's name may stand as it is.

    Raises:
        ValueError: it is none, or holds a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or not parts.username or parts.path not in ("", "/"):
        raise ValueError("is not of the form imap://user@host/ or imaps://user@host/")
    if parts.password is not None:
        raise ValueError("holds a password, which everybody on this machine can read there; it is asked for")
    return Address(
        unquote(parts.username), parts.hostname, parts.port or _PORTS[parts.scheme], parts.scheme == "imaps"
    )


@dataclass(frozen=True, slots=True)
class RemoteMailbox:
    """A mailbox there: `raw` as the server names it, `name` in our form, without the namespace's prefix."""

    raw: bytes
    name: str
    special_use: str = ""
    subscribed: bool = False
    is_all: bool = False


class IMAPSource:
    """
    A connection to the account.

    Args:
        address: of the account.
        secret: the password, or with `is_token` an OAuth 2 access token.
        context: for TLS; None asks for none.
    """

    def __init__(self, address: Address, secret: str, context: ssl.SSLContext | None, is_token: bool = False) -> None:
        self._address = address
        self._secret = secret
        self._context = context
        self._is_token = is_token
        self._client: Any = None

    @property
    def is_gmail(self) -> bool:
        """Whether messages have an identifier of Gmail's, by which those of "All Mail" are known elsewhere."""
        return bool(self._client.has_capability(_GMAIL))

    def connect(self) -> None:
        """
        Connect and log in.

        Raises:
            ConnectionLost, SourceRefused: without TLS, certificate or login included.
        """
        address = self._address
        self.close()
        with _talking():
            implicit = self._context is not None and address.is_implicit
            self._client = IMAPClient(
                address.host,
                address.port,
                ssl=implicit,
                ssl_context=self._context if implicit else None,
                timeout=SocketTimeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            )
            self._client.folder_encode = False
            self._client.normalise_times = False
            if self._context is not None and not implicit:
                if not self._client.has_capability("STARTTLS"):
                    raise SourceRefused("the server offers no TLS")
                self._client.starttls(self._context)
            if self._is_token:
                self._client.oauth2_login(address.user, self._secret)
            else:
                self._client.login(address.user, self._secret)

    def close(self) -> None:
        """End it, politely where that is possible."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(IMAPClientError, OSError):
                client.logout()

    def mailboxes(self) -> list[RemoteMailbox]:
        """The user's own that can be selected, INBOX first, views of others left out; Gmail's "All Mail" comes last."""
        with _talking():
            prefixes, foreign = self._namespaces()
            subscribed = {_octets(raw) for _, _, raw in self._client.list_sub_folders()}
            listed = [
                ({flag.lower() for flag in flags}, (delimiter or b"").decode("ascii", "replace"), _octets(raw))
                for flags, delimiter, raw in self._client.list_folders()
            ]
        found = []
        for flags, delimiter, raw in listed:
            is_all = _ALL in flags
            if flags & _NO_MAILBOX or (flags & _VIEWS and not (is_all and self.is_gmail)):
                continue
            if any(raw.startswith(prefix) for prefix in foreign):
                continue
            uses = [use for use in SPECIAL_USES if use.lower().encode() in flags]
            found.append(
                RemoteMailbox(raw, _our_name(raw, delimiter, prefixes), "".join(uses[:1]), raw in subscribed, is_all)
            )
        return sorted(found, key=lambda each: (each.is_all, each.name != INBOX, each.name))

    def examine(self, mailbox: RemoteMailbox) -> tuple[int, int]:
        """Select a mailbox for reading only; returns UIDVALIDITY, and UIDNEXT or 0 where it is not told."""
        if not mailbox.raw.isascii():
            raise SourceRefused("its name is not in ASCII, as RFC 3501 wants it")
        with _talking():
            told = self._client.select_folder(mailbox.raw, readonly=True)
        return int(told.get(b"UIDVALIDITY", 0)), int(told.get(b"UIDNEXT", 0))

    def new_uids(self, first: int, uid_next: int) -> list[int]:
        """The UIDs from `first` on, in rising order."""
        spans = [f"{first}:*"]
        if 0 < uid_next <= first:
            return []
        if uid_next and uid_next - first <= _UIDS_AT_ONCE * _SEARCHES_MAX:
            starts = range(first, uid_next, _UIDS_AT_ONCE)
            spans = [f"{start}:{min(start + _UIDS_AT_ONCE, uid_next) - 1}" for start in starts]
        with _talking():
            found = {uid for span in spans for uid in self._client.search(["UID", span])}
        # "*" names the last message, whatever its UID.
        return sorted(uid for uid in found if uid >= first)

    def gmail_ids(self, uids: Sequence[int]) -> dict[int, int]:
        """Gmail's identifiers of messages by UID."""
        found: dict[int, int] = {}
        with _talking():
            for group in _groups(uids, _GROUP_MESSAGES * 10):
                told = self._client.fetch(group, [_GMAIL_ID])
                found.update({uid: data[_GMAIL_ID] for uid, data in told.items() if _GMAIL_ID in data})
        return found

    def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        """The octets of messages by UID, those that are gone left out."""
        found: dict[int, int] = {}
        with _talking():
            for group in _groups(uids, _GROUP_MESSAGES * 10):
                told = self._client.fetch(group, ["RFC822.SIZE"])
                found.update({uid: int(data[b"RFC822.SIZE"]) for uid, data in told.items() if b"RFC822.SIZE" in data})
        return found

    def messages(self, uids: Sequence[int], target: str) -> Iterator[tuple[int, FoundMessage | str]]:
        """
        Messages of the mailbox that is examined: (UID, message), or the reason why it cannot be had.

        What is gone meanwhile is left out. The octets of a message are to be taken before the next one is asked for.

        Raises:
            ConnectionLost: from the octets too, which may also raise SourceRefused.
        """
        for batch in _groups(uids, _GROUP_MESSAGES):
            try:
                sizes = self.sizes(batch)
            except SourceRefused:
                sizes = dict.fromkeys(batch, 0)
            for group in _by_octets(sizes):
                yield from self._fetch(group, sizes, target)

    def _fetch(self, group: list[int], sizes: dict[int, int], target: str) -> Iterator[tuple[int, FoundMessage | str]]:
        is_large = len(group) == 1 and sizes[group[0]] > _PART_OCTETS
        body = [] if is_large else ["BODY.PEEK[]"]
        try:
            with _talking():
                told = self._client.fetch(group, ["FLAGS", "INTERNALDATE", *body])
        except SourceRefused as refusal:
            if len(group) == 1:
                yield group[0], str(refusal)
                return
            for uid in group:
                yield from self._fetch([uid], sizes, target)
            return
        for uid in group:
            data = told.get(uid, {})
            octets = data.get(b"BODY[]")
            if is_large and data:
                chunks = partial(self._parts, uid)
            elif isinstance(octets, bytes):
                chunks = partial(with_cr, [octets])
            else:
                if data:
                    yield uid, "the server gives no octets of it"
                continue
            yield uid, FoundMessage(target, _flags(data.get(b"FLAGS", ())), _date(data.get(b"INTERNALDATE")), chunks)

    def _parts(self, uid: int) -> Iterator[bytes]:
        return with_cr(self._raw_parts(uid))

    def _raw_parts(self, uid: int) -> Iterator[bytes]:
        place = 0
        while True:
            with _talking():
                told = self._client.fetch([uid], [f"BODY.PEEK[]<{place}.{_PART_OCTETS}>"])
            octets = told.get(uid, {}).get(b"BODY[]<%d>" % place)
            if not isinstance(octets, bytes):
                raise SourceRefused("the server gives no parts of a message")
            yield octets
            place += len(octets)
            # RFC822.SIZE is not always true; a part that is not full is the last one.
            if len(octets) < _PART_OCTETS:
                return

    def _namespaces(self) -> tuple[list[bytes], list[bytes]]:
        """The prefixes of the user's own mailboxes, and those of other users' and shared ones."""
        if not self._client.has_capability("NAMESPACE"):
            return [], []
        personal, *foreign = self._client.namespace()
        return (
            [_octets(prefix) for prefix, _ in personal or () if prefix],
            [_octets(prefix) for each in foreign for prefix, _ in each or () if prefix],
        )


@contextmanager
def _talking() -> Iterator[None]:
    """What goes wrong in a talk with the server, as one of our failures."""
    try:
        yield
    except IMAPClientAbortError as error:
        raise ConnectionLost(_text(error)) from error
    except ssl.SSLCertVerificationError as error:
        raise SourceRefused(f"its certificate: {error.verify_message}") from error
    except OSError as error:
        raise ConnectionLost(error.strerror or _text(error)) from error
    except (IMAPClientError, ValueError, KeyError, IndexError, TypeError) as error:
        # Answers that cannot be read come as any of these.
        raise SourceRefused(_text(error) or type(error).__name__) from error


def _text(error: Exception) -> str:
    told = error.args[0] if error.args and isinstance(error, IMAPClientError) else str(error)
    if isinstance(told, str) and told.startswith(("b'", 'b"')):
        # What the server said, as imaplib prints octets.
        with suppress(ValueError, SyntaxError):
            told = literal_eval(told)
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:200]


def _octets(name: object) -> bytes:
    return name if isinstance(name, bytes) else str(name).encode()


def _our_name(raw: bytes, delimiter: str, prefixes: Iterable[bytes]) -> str:
    """A mailbox's name with our separator, and without what no name of ours may hold."""
    if raw.upper() == INBOX.encode():
        return INBOX
    for prefix in prefixes:
        if raw.startswith(prefix) and len(raw) > len(prefix):
            raw = raw[len(prefix) :]
            break
    try:
        name = mailboxname.decode(raw)
    except ValueError:
        name = raw.decode("utf-8", "replace")
    levels = name.split(delimiter) if delimiter else [name]
    return SEPARATOR.join(filter(None, map(_our_level, levels))) or "_"


def _our_level(level: str) -> str:
    level = "".join("_" if sign in "/%*" or not sign.isprintable() else sign for sign in level).strip()
    return "_" * len(level) if level in (".", "..") else level


def _flags(told: Iterable[object]) -> frozenset[str]:
    flags = set()
    for flag in told:
        with suppress(ValueError):
            name = _octets(flag).decode("ascii")
            if _FLAG.fullmatch(name):
                flags.add(canonical(name))
    return frozenset(flags)


def _date(told: object) -> int:
    return max(0, int(told.timestamp())) if isinstance(told, datetime) else int(time.time())


def _groups(uids: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(uids), size):
        yield list(uids[start : start + size])


def _by_octets(sizes: dict[int, int]) -> Iterator[list[int]]:
    """Messages to ask for at once: as many as fit, a large one alone."""
    group: list[int] = []
    octets = 0
    for uid, size in sorted(sizes.items()):
        if group and octets + size > _GROUP_OCTETS:
            yield group
            group, octets = [], 0
        if size > _PART_OCTETS:
            if group:
                yield group
                group, octets = [], 0
            yield [uid]
            continue
        group.append(uid)
        octets += size
    if group:
        yield group

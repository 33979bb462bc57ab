"""
Stand-ins for the store on the other side of delivery and queue: spools, contents, acceptance. All in memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from zope.interface import implementer

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.store import (
    Acceptance,
    ContentRef,
    Delivered,
    IAcceptance,
    IContent,
    ISpool,
)


@implementer(ISpool)
class FakeSpool:
    """Octets in a list; `state` is "open", "kept" or "discarded"."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.octets = 0
        self.state = "open"

    @property
    def whole(self) -> bytes:
        """All octets."""
        return b"".join(self.pieces)

    def write(self, octets: bytes) -> None:
        """Keep them."""
        self.pieces.append(octets)
        self.octets += len(octets)

    def chunks(self) -> Iterator[bytes]:
        """Pieces of 64 KiB."""
        whole = self.whole
        return (whole[start : start + 65536] for start in range(0, len(whole), 65536))

    def discard(self) -> None:
        """Forget, unless kept."""
        if self.state == "open":
            self.state = "discarded"


@implementer(IContent)
class FakeContent:
    """Contents by number. `failing_from` makes reads from that offset on fail."""

    def __init__(self) -> None:
        self.contents: dict[int, bytes] = {}
        self.spools: list[FakeSpool] = []
        self.failing_from: int | None = None

    def spool(self) -> FakeSpool:
        """A fresh one."""
        self.spools.append(FakeSpool())
        return self.spools[-1]

    def put(self, octets: bytes, head: bytes = b"") -> ContentRef:
        """Store octets."""
        number = len(self.contents) + 1
        self.contents[number] = octets
        return ContentRef(number, len(octets), head)

    async def read(self, content: ContentRef, offset: int = 0, length: int | None = None) -> bytes:
        """Head and content, cut."""
        if self.failing_from is not None and offset >= self.failing_from:
            raise TemporaryFailure("disk")
        whole = content.head + self.contents[content.id]
        return whole[offset:] if length is None else whole[offset : offset + length]


@implementer(IAcceptance)
class FakeAcceptance:
    """Keeps acceptances; the same identifier twice is one. `failure` is raised, `room` says whether there is any."""

    def __init__(self) -> None:
        self.accepted: dict[str, Acceptance] = {}
        self.failure: Exception | None = None
        self.room = True

    @property
    def only(self) -> Acceptance:
        """The one that was committed."""
        (acceptance,) = self.accepted.values()
        return acceptance

    def check_room(self) -> None:
        """Whether more may come."""
        if not self.room:
            raise TemporaryFailure("too much waits")

    async def commit(self, acceptance: Acceptance) -> tuple[Delivered, ...]:
        """Keep it and its spools."""
        if self.failure is not None:
            raise self.failure
        self.accepted[acceptance.id] = acceptance
        for content in acceptance.contents:
            content.spool.state = "kept"
        copies = [local for content in acceptance.contents for local in content.local]
        return tuple(Delivered(local.account_id, 10 + local.account_id, uid) for uid, local in enumerate(copies, 1))

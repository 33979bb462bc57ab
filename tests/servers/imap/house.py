"""
IMAP sessions over the real store in memory, everything at once, with fakes for policy and passwords.

    house = House()
    play = house.connect()          a Play, greeted
    play = house.log_in("INBOX")    logged in, INBOX selected
    ask(play, "FETCH 1 FLAGS")      the untagged lines and the tagged one, without its tag
"""

from __future__ import annotations

import tempfile
from typing import Any

from twisted.internet.task import Clock

from mailtraq_py.interfaces.connection import Connection, Protocol
from mailtraq_py.servers.imap.session import IMAPSession
from mailtraq_py.servers.imap.settings import IMAPServiceSettings, IMAPSurroundings
from mailtraq_py.servers.login import Logins
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.store import Store
from tests.fakes import FakeDirectory, FakePolicy, FakeRecentLogins, FakeTLSContexts, make_account, make_connection
from tests.play import Play

ALICE = "alice@example.test"
NOW = 1_000_000.0
MESSAGE = (
    b"From: Fred <fred@example.test>\r\nTo: alice@example.test\r\nSubject: lunch\r\n"
    b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nX-Other: y\r\n\r\nHello Joe\r\n"
)


class House:
    """
    A store with one account, and what sessions need.

    Args:
        settings: of the service, beside name and hostname.
    """

    def __init__(self, **settings: Any) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="imap-")
        self.store = Store("sqlite::memory:", self.folder.name, clock=lambda: NOW)
        run_now(self.store.start())
        run_now(self.store.administration.add_domain("example.test"))
        self.account = run_now(self.store.administration.add_account(ALICE, b"right password"))
        self.policy = FakePolicy()
        self.directory = FakeDirectory({make_account(ALICE, self.account.id): b"right"})
        self.recent = FakeRecentLogins()
        self.tls = FakeTLSContexts()
        given = {"plaintext_from": lambda client: True, **settings}
        self.settings = IMAPServiceSettings("imap", "mx.example.test", **given)
        self.threads: list[Any] = []

    def close(self) -> None:
        """Close the store."""
        run_now(self.store.close())
        self.folder.cleanup()

    @property
    def mailboxes(self) -> Any:
        """The account's."""
        return self.store.mailboxes(self.account.id)

    def around(self, clock: Clock) -> IMAPSurroundings:
        """What sessions ask."""
        return IMAPSurroundings(
            mailboxes=self.store.mailboxes,
            content=self.store.content,
            hub=self.store.hub,
            policy=lambda: self.policy,
            directory=self.directory,
            logins=Logins(lambda: self.policy, self.directory, self.recent),
            recent=self.recent,
            tls=self.tls,
            reactor=clock,
            now=lambda: NOW + clock.seconds(),
            in_thread=self._in_thread,
        )

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        self.threads.append(function)
        return function(*arguments)

    def connect(self, **facts: Any) -> Play:
        """A connection, whatever it is told first."""

        def make_session(clock: Clock, connection: Connection) -> IMAPSession:
            return IMAPSession(self.settings, self.around(clock), connection)

        return Play(make_session, connection=make_connection(Protocol.IMAP, **facts))

    def log_in(self, mailbox: str = "", read_only: bool = False) -> Play:
        """A session after login, with a mailbox selected where one is named."""
        play = self.connect()
        play >> "* OK "
        ask(play, f"LOGIN {ALICE} right")
        if mailbox:
            ask(play, f"{'EXAMINE' if read_only else 'SELECT'} {mailbox}")
        return play

    def deliver(self, *messages: bytes, mailbox: str = "INBOX") -> None:
        """Messages come in from elsewhere."""
        play = self.log_in()
        for octets in messages:
            send(play, b"APPEND %b {%d+}\r\n%b" % (mailbox.encode(), len(octets), octets))
        play.end()


def send(play: Play, command: bytes | str) -> list[str]:
    """Send a command with the tag "t"; the lines that come."""
    octets = command.encode() if isinstance(command, str) else command
    play << b"t " + octets + b"\r\n"
    return heard(play)


def heard(play: Play) -> list[str]:
    """The lines that came, once everybody has had a turn."""
    for _ in range(20):
        play.turn()
    return play.rest().decode("utf-8", "backslashreplace").removesuffix("\r\n").split("\r\n")


def ask(play: Play, command: bytes | str) -> list[str]:
    """As `send`; fails unless the last line is a tagged OK, whose tag is taken off."""
    lines = send(play, command)
    if not lines[-1].startswith("t OK"):
        raise AssertionError(f"{command!r}: {lines}")
    return [*lines[:-1], lines[-1][2:]]

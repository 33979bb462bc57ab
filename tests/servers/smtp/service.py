"""
An SMTP service on fakes, for plays.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from mailtraq_py.interfaces.connection import Connection, Role
from mailtraq_py.servers.login import Logins
from mailtraq_py.servers.smtp.session import SMTPSession
from mailtraq_py.servers.smtp.settings import SMTPServiceSettings, SMTPSurroundings
from mailtraq_py.store.hub import ChangeHub
from tests.fakes import FakeAccept, FakeDirectory, FakePolicy, FakeRecentLogins, FakeTLSContexts, make_connection
from tests.play import Play

EPOCH = 1_000_000.0


class Service:
    """
    A service for `here.example` with the account u@here.example, password "secret", which 127.0.0.1 may send in clear;
    its fakes can be set before and looked at after a play.
    """

    def __init__(self, policy: FakePolicy | None = None, **settings: Any) -> None:
        given = {"plaintext_from": "127.0.0.1".__eq__, **settings}
        self.settings = SMTPServiceSettings("test", "mx.here.example", **given)
        self.policy = policy or FakePolicy()
        self.directory = FakeDirectory({"u@here.example": b"secret", "v@here.example": b"other"})
        self.accept = FakeAccept()
        self.tls = FakeTLSContexts()
        self.hub = ChangeHub()
        self.session: SMTPSession

    def play(self, client: str = "203.0.113.9", implicit_tls: bool = False) -> Play:
        """A connection, not yet looked at."""
        connection = make_connection(client=client, role=Role.BOTH)
        return Play(self.make_session, connection=connection, implicit_tls=implicit_tls)

    def greeted(self, client: str = "203.0.113.9") -> Play:
        """A connection after EHLO."""
        return self.play(client) >> 220 << "EHLO c.example" >> 250

    def make_session(self, clock: Clock, connection: Connection) -> SMTPSession:
        """The session of a connection."""
        around = SMTPSurroundings(
            lambda: self.policy,
            self.directory,
            self.accept,
            Logins(lambda: self.policy, self.directory, FakeRecentLogins(), clock),
            self.tls,
            clock,
            lambda: EPOCH + clock.seconds(),
            self.hub.watch_account,
        )
        self.session = SMTPSession(self.settings, around, connection)
        return self.session

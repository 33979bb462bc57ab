"""
One IMAP session: which function answers which command, and what the driver asks.

    CONNECT verdict -> greeting
    not authenticated, authenticated, selected: the core lets each command through in its states only
    every command -> one function of (dialogue, command) in the file of its state

RFC 3501 3
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred

from mailtraq_py.interfaces.policy import Stage
from mailtraq_py.wire.imap import commands, responses

from ..driver import Driver
from . import append, authenticated, idle, notauthenticated, selected
from .dialogue import EXPECTED_FAILURES, Dialogue
from .fetch import fetch
from .search import search, sort, thread


def _continue(dialogue: Dialogue, event: commands.Continuation) -> Awaitable[None]:
    """The line that AUTHENTICATE or IDLE waits for."""
    if dialogue.mechanism is not None:
        return notauthenticated.respond(dialogue, event.line)
    return idle.end_idle(dialogue, event.line)


ANSWERS: dict[type, Callable[[Dialogue, Any], Awaitable[None] | None]] = {
    commands.Capability: notauthenticated.capability,
    commands.Identify: notauthenticated.identify,
    commands.Logout: notauthenticated.logout,
    commands.StartTLS: notauthenticated.start_tls,
    commands.Login: notauthenticated.login,
    commands.Authenticate: notauthenticated.authenticate,
    commands.Continuation: _continue,
    commands.Noop: authenticated.noop,
    commands.Check: authenticated.noop,
    commands.Select: authenticated.select,
    commands.Create: authenticated.create,
    commands.Delete: authenticated.delete,
    commands.Rename: authenticated.rename,
    commands.Subscribe: authenticated.subscribe,
    commands.List: authenticated.list_mailboxes,
    commands.Lsub: authenticated.list_subscriptions,
    commands.Status: authenticated.status,
    commands.Namespace: authenticated.namespace,
    commands.Enable: authenticated.enable,
    commands.Append: append.append,
    commands.AppendNext: append.append_next,
    commands.AppendOctets: append.append_octets,
    commands.AppendEnd: append.append_end,
    commands.AppendBroken: append.append_broken,
    commands.Idle: idle.idle,
    commands.Close: selected.close,
    commands.Expunge: selected.expunge,
    commands.Search: search,
    commands.Sort: sort,
    commands.Thread: thread,
    commands.Fetch: fetch,
    commands.Store: selected.store,
    commands.Copy: selected.copy,
}


class IMAPSession(Dialogue):
    """
    One connection.

    Args:
        settings: of the service.
        around: what the session asks.
        connection: its facts.
    """

    __slots__ = ()

    def begin(self, driver: Driver) -> Awaitable[None] | None:
        """Decide CONNECT, greet."""
        self.driver = driver
        driver.set_idle_time(self.settings.login_seconds)
        return self._greet()

    def handle(self, event: Any) -> Awaitable[None] | None:
        """Answer one event."""
        if self.account is not None:
            self.renew()
        elif self.counts_as_too_many():
            return None
        waiting = ANSWERS[type(event)](self, event)
        return None if waiting is None else self._answered(waiting)

    @property
    def in_message(self) -> bool:
        """Between APPEND's literals and its end."""
        return self.appending is not None

    def tls_started(self) -> None:
        """Nothing of what was said in clear is kept (RFC 3501 6.2.1): there is nothing but failed logins."""

    def timed_out(self) -> None:
        """RFC 3501 5.4"""
        self.core.bye("idle for too long", reason="timed out")

    def stopping(self) -> None:
        """RFC 3501 7.1.5"""
        self.core.bye("the server stops", "UNAVAILABLE", "server stops")

    def local_error(self, reference: str) -> None:
        """NO to the command under way, with the reference to the log (RFC 5530 3)."""
        self.mechanism = None
        idle.end(self)
        in_message = self.appending is not None
        append.drop(self)
        if self.core.is_answering:
            self.core.no(f"local error, reference {reference}", "SERVERBUG")
        if in_message:
            self.core.bye("local error")

    def ended(self, reason: str) -> None:
        """The connection is gone."""
        idle.end(self)
        append.drop(self)
        self.deselect()
        if self.unwatch_account is not None:
            unwatch, self.unwatch_account = self.unwatch_account, None
            unwatch()

    async def _answered(self, waiting: Awaitable[None]) -> None:
        try:
            await waiting
        except EXPECTED_FAILURES as failure:
            self.refused(failure)

    async def _greet(self) -> None:
        verdict = await self.around.policy().decide(Stage.CONNECT, self.facts())
        if verdict.delay_seconds:
            over: Deferred[None] = Deferred()
            self.around.reactor.callLater(verdict.delay_seconds, over.callback, None)
            await over
        if not verdict.is_permit:
            self.log.info(
                "refused",
                event="refused",
                session=self.connection.session_id,
                service=self.connection.service,
                client=self.connection.client,
                stage=Stage.CONNECT.value,
                by=verdict.check,
                reason=verdict.reason,
                number=verdict.number,
            )
            if verdict.close and verdict.reply is None:
                self.driver.abort(verdict.reason)
            else:
                self.core.bye(verdict.reply.text if verdict.reply is not None else "access denied", reason="refused")
            return
        greeting = f"CAPABILITY {await notauthenticated.capabilities(self)}"
        self.core.send(responses.untagged("OK", f"{self.settings.hostname} ready", greeting))



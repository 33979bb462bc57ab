"""
One POP3 session: the greeting, the login, the end. What lies between is `transaction.py`.

The row of the recent-login whitelist is committed before the +OK of PASS or AUTH: `Logins.check` returns only then. A
login that fails is told late and with the same words whatever failed; FAILED_LOGINS_MAX of them end the connection. A
revoked account ends its sessions at once, in the middle of a response too, without deleting anything.

RFC 1939 3, 4, RFC 2449 5, 6, 8, RFC 2595 4, RFC 3206, RFC 5034
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailtraq_py.interfaces.connection import Connection
from mailtraq_py.interfaces.directory import Account
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.policy import Facts, Opinion, Stage, Verdict
from mailtraq_py.mail.changes import AccountRevoked, Change
from mailtraq_py.servers.driver import Driver
from mailtraq_py.servers.login import Credentials, cram_challenge
from mailtraq_py.wire import sasl
from mailtraq_py.wire.pop3.commands import Auth, AuthResponse, Pass, Plain, User
from mailtraq_py.wire.pop3.server import POP3Server

from .maildrop import open_maildrop
from .service import FAILED_LOGINS_MAX, POP3Service
from .transaction import Transaction

LOGIN_FAILED = "Login failed"
TRY_AGAIN = "Try again later"


class POP3Session:
    """
    The session of one connection; an `ISession`.

    Args:
        service: what it shares with others.
        connection: its facts.
    """

    log = Logger()

    in_message = False

    def __init__(self, service: POP3Service, connection: Connection) -> None:
        self.core = POP3Server()
        self._service = service
        self._connection = connection
        self._driver: Driver
        self._marks: frozenset[str] = frozenset()
        self._user = ""
        self._exchange: sasl.Mechanism | None = None
        self._failed_logins = 0
        self._account: Account | None = None
        self._locked: int | None = None
        self._stop_watching: list[Callable[[], None]] = []
        self._transaction: Transaction | None = None
        self._over = False

    # -- the driver calls these ------------------------------------------------------------------------

    async def begin(self, driver: Driver) -> None:
        """Ask whether this client may speak to us (CONNECT), and greet."""
        self._driver = driver
        driver.set_idle_time(self._service.settings.login_seconds)
        verdict = await self._service.policy().decide(Stage.CONNECT, self._facts())
        self._marks = verdict.marks
        self._log_decision(verdict)
        if verdict.delay_seconds > 0:
            await self._wait(verdict.delay_seconds)
        if verdict.is_permit:
            self.core.say(True, f"{self._service.settings.hostname} POP3 ready")
        elif verdict.close and verdict.reply is None:
            driver.abort("refused")
        else:
            self.core.say(False, _verdict_text(verdict, "Access denied"), _failure_code(verdict, ""))
            driver.close("refused")

    def handle(self, event: Any) -> Awaitable[None] | None:
        """Answer a command."""
        answer = _ANSWERS.get(event if type(event) is Plain else type(event))
        if answer is not None:
            return answer(self, event)
        if self._transaction is None:
            raise RuntimeError("the core let a command pass before the login")
        return self._transaction.handle(event)

    def tls_started(self) -> None:
        """What the client said before in clear does not count (RFC 2595 4)."""
        self._user = ""
        self._exchange = None

    def timed_out(self) -> None:
        """RFC 1939 3: "without ... sending any response to the client"."""

    def stopping(self) -> None:
        """The client hears it as the answer to what it asks next."""
        self.core.say(False, "The server stops, try again later", "SYS/TEMP")

    def local_error(self, reference: str) -> None:
        """A temporary failure; in the middle of a response nothing can be said, only ended."""
        if self.core.mid_response:
            self._driver.close("local error")
        else:
            self.core.error(f"Local error, reference {reference}", "SYS/TEMP")

    def ended(self, reason: str) -> None:
        """Free lock and watches. Marks go with the session: nothing is deleted without QUIT (RFC 1939 6)."""
        self._over = True
        self._free()
        if self._transaction is not None and self._account is not None:
            self.log.info(
                "pop3-session",
                event="pop3-session",
                session=self._connection.session_id,
                account=self._account.address,
                retrieved=self._transaction.retrieved,
                removed=self._transaction.removed,
                reason=reason,
            )

    # -- commands of both states, and the login --------------------------------------------------------

    async def _capa(self, _: Plain) -> None:
        lines = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER"]
        try:
            mechanisms = await self._service.logins.mechanisms(self._plaintext_allowed())
        except TemporaryFailure as failure:
            self._log_failure(failure)
            self.core.error(TRY_AGAIN, "SYS/TEMP")
            return
        if self._plaintext_allowed():
            lines.append("USER")
        if mechanisms:
            lines.append("SASL " + " ".join(mechanisms))
        if self._tls_context() is not None:
            lines.append("STLS")
        lines.append("IMPLEMENTATION mailtraq_py")
        self.core.begin_lines("Capabilities follow")
        self.core.add_lines("".join(line + "\r\n" for line in lines).encode("ascii"))
        self.core.end_lines()

    async def _quit(self, _: Plain) -> None:
        done = self._transaction is None or await self._transaction.update()
        # Freed before the reply: a client that reads it may log in again at once.
        self._free()
        if done:
            self.core.ok("Bye")
        else:
            self.core.error("Some messages were not removed", "SYS/TEMP")
        self._driver.close("quit")

    def _stls(self, _: Plain) -> None:
        context = self._tls_context()
        if context is None:
            self.core.error("TLS is active" if self._driver.tls is not None else "No TLS here")
            return
        self.core.ok("Begin TLS")
        self._driver.start_tls(context)

    def _take_user(self, command: User) -> None:
        if not self._plaintext_allowed():
            self.core.error("Passwords only after STLS", "AUTH")
            return
        self._user = command.name
        self.core.ok("Password?")

    def _take_pass(self, command: Pass) -> Awaitable[None] | None:
        name, self._user = self._user, ""
        if not name:
            self.core.error("USER first")
            return None
        return self._log_in("USER", sasl.PasswordCredentials(name, command.password))

    def _auth(self, command: Auth) -> Awaitable[None] | None:
        if command.mechanism in sasl.PLAINTEXT_MECHANISMS and not self._plaintext_allowed():
            self.core.error("Passwords only after STLS", "AUTH")
            return None
        mechanism = sasl.begin(
            command.mechanism, lambda: cram_challenge(self._service.settings.hostname, self._service.clock())
        )
        if mechanism is None:
            self.core.error("Unknown mechanism")
            return None
        return self._go_on(mechanism, mechanism.start(command.initial))

    def _auth_response(self, response: AuthResponse) -> Awaitable[None] | None:
        mechanism, self._exchange = self._exchange, None
        if mechanism is None or response.octets is None:
            self._fail("Cancelled, or no base64", "")
            return None
        return self._go_on(mechanism, mechanism.respond(response.octets))

    def _go_on(self, mechanism: sasl.Mechanism, step: sasl.Step) -> Awaitable[None] | None:
        if isinstance(step, sasl.Challenge):
            self._exchange = mechanism
            self.core.challenge(step.octets)
            return None
        if isinstance(step, sasl.Malformed):
            self._fail(LOGIN_FAILED)
            return None
        return self._log_in(mechanism.name, step)

    async def _log_in(self, mechanism: str, credentials: Credentials) -> None:
        try:
            outcome = await self._service.logins.check(self._facts(), mechanism, credentials)
            if outcome.account is None:
                self._refuse(outcome.verdict)
            elif not self._over:
                await self._open(outcome.account)
        except TemporaryFailure as failure:
            self._log_failure(failure)
            self.core.error(TRY_AGAIN, "SYS/TEMP")
        finally:
            if self._transaction is None:
                self._free()

    async def _open(self, account: Account) -> None:
        service = self._service
        if service.settings.exclusive:
            if not service.locks.take(account.id):
                self.core.error("Another session has the maildrop", "IN-USE")
                return
            self._locked = account.id
        self._stop_watching.append(service.hub.watch_account(account.id, self._hear_of_account))
        maildrop = await open_maildrop(service.mailboxes(account.id), self._driver.let_others_go)
        if self._over:
            return
        self._account = account
        self._transaction = Transaction(self.core, self._driver, maildrop, service.content)
        self._stop_watching.append(
            service.hub.watch_mailbox(maildrop.mailbox_id, lambda change: maildrop.forget_contents())
        )
        self._driver.set_idle_time(service.settings.idle_seconds)
        self.core.enter_transaction()
        self.core.ok(f"{maildrop.count} messages, {maildrop.total_octets} octets")

    def _refuse(self, verdict: Verdict | None) -> None:
        """A login failed: say so, and end the connection when it was one too many or policy wants it."""
        if verdict is None:
            self._fail(LOGIN_FAILED)
        elif verdict.close and verdict.reply is None:
            self._driver.abort("refused")
        else:
            self._fail(_verdict_text(verdict, LOGIN_FAILED), _failure_code(verdict, "AUTH"), verdict.close)

    def _fail(self, text: str, code: str = "AUTH", close: bool = False) -> None:
        self._failed_logins += 1
        self.core.error(text, code)
        if close or self._failed_logins >= FAILED_LOGINS_MAX:
            self._driver.close("failed logins")

    # -- what these need -------------------------------------------------------------------------------

    def _facts(self) -> Facts:
        return Facts(self._connection, self._service.clock(), tls=self._driver.tls, marks=self._marks)

    def _plaintext_allowed(self) -> bool:
        return self._driver.tls is not None or self._service.allows_plaintext(self._connection.client)

    def _tls_context(self) -> Any | None:
        """What STLS begins with; None where it is not on offer."""
        if not self._service.settings.starttls or self._driver.tls is not None:
            return None
        return self._service.tls.for_server()

    def _hear_of_account(self, change: Change) -> None:
        if isinstance(change, AccountRevoked):
            self._driver.close("account revoked")

    def _free(self) -> None:
        for stop in self._stop_watching:
            stop()
        self._stop_watching.clear()
        if self._locked is not None:
            self._service.locks.release(self._locked)
            self._locked = None

    def _wait(self, seconds: float) -> Deferred[None]:
        over: Deferred[None] = Deferred()
        self._driver.reactor.callLater(seconds, over.callback, None)
        return over

    def _log_decision(self, verdict: Verdict) -> None:
        self.log.info(
            "decision",
            event="decision",
            session=self._connection.session_id,
            service=self._connection.service,
            client=self._connection.client,
            stage=Stage.CONNECT.value,
            opinion=verdict.opinion.value,
            by=verdict.check,
            reason=verdict.reason,
            number=verdict.number,
        )

    def _log_failure(self, failure: TemporaryFailure) -> None:
        session = self._connection.session_id
        self.log.warn("pop3-failure", event="pop3-failure", session=session, reason=failure.reason)


def _verdict_text(verdict: Verdict, ordinary: str) -> str:
    return verdict.reply.text.partition("\n")[0] if verdict.reply is not None else ordinary


def _failure_code(verdict: Verdict, ordinary: str) -> str:
    return "SYS/TEMP" if verdict.opinion is Opinion.DEFER else ordinary


_ANSWERS: dict[Any, Callable[[POP3Session, Any], Awaitable[None] | None]] = {
    Plain.CAPA: POP3Session._capa,
    Plain.QUIT: POP3Session._quit,
    Plain.STLS: POP3Session._stls,
    User: POP3Session._take_user,
    Pass: POP3Session._take_pass,
    Auth: POP3Session._auth,
    AuthResponse: POP3Session._auth_response,
}

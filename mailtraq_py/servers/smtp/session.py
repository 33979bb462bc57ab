"""
One SMTP session: the core's commands on one side, policy, directory and the door of acceptance on the other.

    CONNECT verdict  -> greeting; whoever spoke before it is cut off
    EHLO             -> HELLO verdict, extensions
    MAIL             -> SENDER verdict
    RCPT             -> directory: what does it lead to? -> RECIPIENT verdict, which names the grant
    DATA             -> IAccept.begin -> 354 -> octets written as they come
    end of message   -> MESSAGE verdict -> commit -> 250: the message is on disk

Service roles (mx, submission, both) differ in their policy alone, so there is one session for all.

Replies to a pipelined group leave in one write, and nothing is awaited that need not be: with a policy that answers at
once, a group is worked through in one go.

RFC 5321, RFC 1870, RFC 2920, RFC 3207, RFC 3461, RFC 4954, RFC 6152
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from mailtraq_py.interfaces.connection import Connection
from mailtraq_py.interfaces.delivery import MailTransaction
from mailtraq_py.interfaces.failures import OverQuota, PermanentFailure, StorageFull, TemporaryFailure
from mailtraq_py.interfaces.policy import Facts, Opinion, Stage, Verdict
from mailtraq_py.mail.changes import AccountRevoked, Change
from mailtraq_py.mail.reply import Reply
from mailtraq_py.wire.smtp import commands
from mailtraq_py.wire.smtp.extensions import Offer, ehlo_reply
from mailtraq_py.wire.smtp.server import ServerCore

from ..driver import ConnectionEnded, Driver
from . import replies
from .authentication import Authentication
from .expansion import expand
from .settings import SMTPServiceSettings, SMTPSurroundings
from .transaction import Transaction

SLOW_SECONDS = 1.0


class SMTPSession:
    """
    One connection.

    Args:
        settings: of the service.
        around: what the session asks.
        connection: its facts.
    """

    log = Logger()

    def __init__(self, settings: SMTPServiceSettings, around: SMTPSurroundings, connection: Connection) -> None:
        self.core = ServerCore(settings.default_domain or settings.hostname, settings.max_errors)
        self._settings = settings
        self._around = around
        self._connection = connection
        self._tell = self.log.info  # a class's Logger is made anew at each access
        self._authentication = Authentication(settings, around, connection)
        self._unwatch_account: Callable[[], None] | None = None
        self._revoked = False
        self._driver: Driver
        self._helo: str | None = None
        self._extended = False
        self._marks: frozenset[str] = frozenset()
        self._opening: tuple[Verdict, ...] = ()
        self._discards = False
        self._refused_recipients = 0
        self._transaction: Transaction | None = None
        self._sleep: tuple[Deferred[None], IDelayedCall] | None = None

    # -- the driver calls these ------------------------------------------------------------------------

    def begin(self, driver: Driver) -> Awaitable[None] | None:
        """Decide CONNECT, greet."""
        self._driver = driver
        driver.set_idle_time(self._settings.command_seconds)
        return self._greet()

    @property
    def in_message(self) -> bool:
        """Between 354 and the end of data."""
        return self.core.in_data

    def handle(self, event: Any) -> Awaitable[None] | None:
        """Answer one event."""
        if self._revoked:
            self._say_revoked()
            return None
        return self._answers[type(event)](self, event)

    def tls_started(self) -> None:
        """Forget all that the client said in clear (RFC 3207 4.2)."""
        self.core.tls_started()
        self._drop_transaction()
        self._helo = None
        self._extended = False
        self._forget_account()
        self._authentication = Authentication(self._settings, self._around, self._connection)

    def timed_out(self) -> None:
        """RFC 5321 4.5.3.2, 3.8."""
        self.core.close(replies.TIMED_OUT, "timed out")

    def stopping(self) -> None:
        """RFC 5321 3.8."""
        self.core.close(replies.STOPPING, "server stops")

    def local_error(self, reference: str) -> None:
        """451 to the command under way; in a message, to its end."""
        reply = Reply(451, f"local error, reference {reference}", "4.3.0")
        if self._transaction is not None:
            self._transaction.abort()
            self._transaction.failure = reply
        if self.core.awaits_reply:
            self.core.reply(reply)

    def ended(self, reason: str) -> None:
        """The connection is gone."""
        self._drop_transaction()
        self._forget_account()
        if self._sleep is not None:
            (over, call), self._sleep = self._sleep, None
            call.cancel()
            over.errback(ConnectionEnded())

    # -- connect and hello -----------------------------------------------------------------------------

    async def _greet(self) -> None:
        verdict = await self._decide(Stage.CONNECT, self._facts())
        self._note_opening(verdict)
        if _refuses(verdict):
            if verdict.reply is None and verdict.close:
                self._driver.abort(verdict.reason)
            elif verdict.opinion is Opinion.DEFER:
                self.core.greet(verdict.reply or replies.NOT_NOW)
            else:
                self.core.greet(verdict.reply or replies.NOT_HERE)
            return
        await self._wait(self._settings.greeting_delay_seconds)
        if self.core.buffered_octets:
            self._log("refused", replies.TOO_EARLY, None, by="core", reason="spoke before the greeting")
            self.core.greet(replies.TOO_EARLY)
            return
        # RFC 5321 3.1, 4.2: no enhanced code in the greeting.
        self.core.greet(Reply(220, f"{self._settings.hostname} ESMTP {self._settings.software}"))

    async def _hello(self, event: commands.Hello) -> None:
        facts = self._facts(helo=event.name)
        verdict = await self._decide(Stage.HELLO, facts)
        if _refuses(verdict):
            self._refuse(verdict)
            return
        # RFC 5321 4.1.4: a later EHLO does what RSET does.
        self._drop_transaction()
        self._note_opening(verdict)
        self._helo = event.name
        self._extended = event.extended
        if event.extended:
            self.core.reply(await self._ehlo_reply())
        else:
            self.core.reply(Reply(250, self._settings.hostname))

    async def _ehlo_reply(self) -> Reply:
        encrypted = self._driver.tls is not None
        offer = Offer(
            self._settings.max_message_octets,
            not encrypted and self._settings.tls == "starttls" and self._around.tls.for_server() is not None,
            await self._authentication.offered(encrypted),
            expn=await self._around.policy().would_pass(Stage.EXPAND, self._facts()),
        )
        return ehlo_reply(self._settings.hostname, f"[{self._connection.client}]", offer)

    # -- a transaction ---------------------------------------------------------------------------------

    async def _mail(self, event: commands.Mail) -> None:
        limit = self._settings.max_message_octets
        if limit and event.declared_octets is not None and event.declared_octets > limit:
            self.core.reply(replies.TOO_LARGE)
            return
        if not await self._account_still_counts():
            self._say_revoked()
            return
        facts = self._facts(reverse_path=event.reverse_path, message_octets=event.declared_octets)
        verdict = await self._decide(Stage.SENDER, facts)
        if _refuses(verdict):
            self._refuse(verdict)
            return
        self._transaction = transaction = Transaction(event, facts.now)
        transaction.discarded = self._discards or verdict.opinion is Opinion.DISCARD
        for opening in self._opening:
            transaction.add(opening)
        transaction.add(verdict)
        self.core.reply(replies.SENDER_OK)

    async def _rcpt(self, event: commands.Rcpt) -> None:
        transaction = self._open_transaction
        recipient = event.recipient
        path = recipient.path
        if path.key in transaction.keys:
            self.core.reply(replies.RECIPIENT_OK)
            return
        if len(transaction.keys) >= self._settings.max_recipients:
            self.core.reply(replies.TOO_MANY_RECIPIENTS)
            return
        try:
            destination = await self._around.directory.resolve(path)
        except TemporaryFailure as failure:
            reply = replies.FAILED_FOR_NOW
            self._log("refused", reply, transaction, rcpt_to=[str(path)], by="directory", reason=failure.reason)
            self.core.reply(reply)
            return
        facts = self._facts(
            reverse_path=transaction.mail.reverse_path,
            forward_path=path,
            destination=destination,
            recipients=len(transaction.keys),
        )
        verdict = await self._decide(Stage.RECIPIENT, facts)
        if _refuses(verdict):
            await self._refuse_recipient(verdict)
            return
        transaction.add(verdict)
        transaction.keys.add(path.key)
        if verdict.opinion is not Opinion.DISCARD:
            transaction.recipients.append(recipient)
            transaction.destinations.append(verdict.destination or destination)
            transaction.grants.append(_grant(verdict))
        self.core.reply(replies.RECIPIENT_OK)

    async def _refuse_recipient(self, verdict: Verdict) -> None:
        """Refusals get slow, then too many: a dictionary must not be tried through."""
        if verdict.opinion is Opinion.DEFER:
            self._refuse(verdict)
            return
        self._refused_recipients += 1
        if self._refused_recipients >= self._settings.max_refused_recipients:
            self.core.reply(replies.TOO_MANY_REFUSED)
            return
        if self._refused_recipients > self._settings.slow_refused_recipients:
            await self._wait(SLOW_SECONDS)
        self._refuse(verdict)

    def _data(self, event: commands.Data) -> None:
        transaction = self._open_transaction
        transaction.octets, transaction.failure = 0, None
        if transaction.recipients and not transaction.discarded:
            try:
                transaction.incoming = self._around.accept.begin(self._mail_transaction(transaction))
            except TemporaryFailure as failure:
                reply = _reply_to(failure)
                self._log("refused", reply, transaction, by="accept", reason=failure.reason)
                self.core.reply(reply)
                return
        if self._settings.data_seconds != self._settings.command_seconds:
            self._driver.set_idle_time(self._settings.data_seconds)
        self.core.reply(replies.START_DATA)

    def _octets(self, event: commands.Octets) -> None:
        transaction = self._open_transaction
        transaction.octets += len(event.piece)
        limit = self._settings.max_message_octets
        if limit and transaction.octets > limit and transaction.failure is None:
            transaction.failure = replies.TOO_LARGE
            transaction.abort()
        if transaction.incoming is None:
            return
        try:
            transaction.incoming.write(event.piece)
        except TemporaryFailure as failure:
            transaction.failure = _reply_to(failure)
            transaction.abort()

    async def _end_of_message(self, event: commands.EndOfMessage) -> None:
        if self._settings.data_seconds != self._settings.command_seconds:
            self._driver.set_idle_time(self._settings.command_seconds)
        transaction = self._open_transaction
        refusal = event.refusal or transaction.failure
        if refusal is not None:
            self._log("refused", refusal, transaction, by="data", reason=refusal.text)
            self._drop_transaction()
            self.core.reply(refusal)
            return
        facts = self._facts(
            reverse_path=transaction.mail.reverse_path,
            recipients=len(transaction.keys),
            message_octets=transaction.octets,
        )
        verdict = await self._decide(Stage.MESSAGE, facts)
        if self._transaction is not transaction:
            return  # the connection ended meanwhile, and the message with it
        if _refuses(verdict):
            self._drop_transaction()
            self._refuse(verdict)
            return
        transaction.add(verdict)
        if verdict.opinion is Opinion.DISCARD:
            transaction.abort()
        # From here on the message is no longer the connection's: a peer that leaves now does not take it back.
        self._transaction = None
        reply = await self._commit(transaction)
        self.core.reply(reply)

    async def _commit(self, transaction: Transaction) -> Reply:
        incoming = transaction.incoming
        if incoming is None:
            self._log("discarded", None, transaction)
            return Reply(250, f"{token_hex(8)} accepted", "2.0.0")
        try:
            await incoming.commit(tuple(transaction.headers), tuple(transaction.trace))
        except TemporaryFailure as failure:
            reply, reason = _reply_to(failure), failure.reason
        except OverQuota:
            reply, reason = replies.MAILBOX_FULL, "over quota"
        except PermanentFailure as failure:
            reply, reason = failure.reply, failure.reply.text
        else:
            reply = Reply(250, f"{incoming.id} accepted", "2.0.0")
            self._log("accepted", reply, transaction, by=transaction.grants, message_id=incoming.id)
            return reply
        incoming.abort()
        self._log("refused", reply, transaction, by="accept", reason=reason, message_id=incoming.id)
        return reply

    @property
    def _open_transaction(self) -> Transaction:
        """The core hands out RCPT, DATA and what follows only inside one."""
        if self._transaction is None:
            raise RuntimeError("no transaction")
        return self._transaction

    def _mail_transaction(self, transaction: Transaction) -> MailTransaction:
        return MailTransaction(
            self._connection,
            transaction.envelope(),
            tuple(transaction.destinations),
            tuple(transaction.grants),
            self._helo or "",
            self._extended,
            self._driver.tls,
            self._authentication.account,
            transaction.started,
        )

    def _drop_transaction(self) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            transaction.abort()

    # -- the other commands ----------------------------------------------------------------------------

    async def _auth(self, event: commands.Auth) -> None:
        self._authenticated(await self._authentication.start(event, self._facts()))

    async def _auth_response(self, event: commands.AuthResponse) -> None:
        self._authenticated(await self._authentication.respond(event.octets, self._facts()))

    def _authenticated(self, reply: Reply) -> None:
        """Answer a step of AUTH; once there is an account, hear of what happens to it."""
        account = self._authentication.account
        if account is not None and self._unwatch_account is None and not self._driver.closing:
            self._unwatch_account = self._around.watch_account(account.id, self._account_changed)
        self.core.reply(reply)

    def _account_changed(self, change: Change) -> None:
        """Disabled, deleted, or a new password: nothing more is taken; a message that is being stored is finished."""
        if isinstance(change, AccountRevoked):
            self._revoked = True
            if not self.core.awaits_reply:
                self._say_revoked()

    def _say_revoked(self) -> None:
        self._drop_transaction()
        self.core.close(replies.REVOKED, "account revoked")
        self._driver.close("account revoked")

    async def _account_still_counts(self) -> bool:
        """Look the account up anew, so that a privilege taken away is gone with the next message."""
        account = self._authentication.account
        if account is None or account.id == 0:  # 0: a service's fixed login, which is no account
            return True
        try:
            account = await self._around.directory.find_account(account.address)
        except TemporaryFailure:
            return True
        self._authentication.account = account
        return account is not None and account.enabled

    def _forget_account(self) -> None:
        unwatch, self._unwatch_account = self._unwatch_account, None
        if unwatch is not None:
            unwatch()

    def _auth_aborted(self, event: commands.AuthAborted) -> None:
        self._authentication.forget()
        self.core.reply(event.reply)

    def _start_tls(self, event: commands.StartTLS) -> None:
        if self._driver.tls is not None:
            self.core.reply(replies.TLS_IS_UP)
        elif self._settings.tls != "starttls":
            self.core.reply(replies.NO_TLS)
        elif (context := self._around.tls.for_server()) is None:
            self.core.reply(replies.TLS_BROKEN)
        else:
            self.core.reply(replies.START_TLS)
            self._driver.start_tls(context)

    def _reset(self, event: commands.Reset) -> None:
        self._drop_transaction()
        self.core.reply(replies.RESET)

    def _noop(self, event: commands.Noop) -> None:
        self.core.reply(replies.RESET)

    def _quit(self, event: commands.Quit) -> None:
        self.core.reply(replies.BYE)

    def _help(self, event: commands.Help) -> None:
        self.core.reply(replies.HELP)

    def _verify(self, event: commands.Verify) -> None:
        # RFC 5321 7.3: sites that hide who is here answer 252 to everything.
        self.core.reply(replies.CANNOT_VERIFY)

    async def _expand(self, event: commands.Expand) -> None:
        verdict = await self._decide(Stage.EXPAND, self._facts())
        if _refuses(verdict):
            await self._refuse_recipient(verdict)
            return
        domain = self._settings.default_domain or self._settings.hostname
        try:
            self.core.reply(await expand(self._around.directory, event.text, domain))
        except TemporaryFailure:
            self.core.reply(replies.FAILED_FOR_NOW)

    _answers: ClassVar[dict[type, Callable[[SMTPSession, Any], Awaitable[None] | None]]] = {
        commands.Hello: _hello,
        commands.Mail: _mail,
        commands.Rcpt: _rcpt,
        commands.Data: _data,
        commands.Octets: _octets,
        commands.EndOfMessage: _end_of_message,
        commands.Reset: _reset,
        commands.Noop: _noop,
        commands.Quit: _quit,
        commands.Help: _help,
        commands.Verify: _verify,
        commands.Expand: _expand,
        commands.StartTLS: _start_tls,
        commands.Auth: _auth,
        commands.AuthResponse: _auth_response,
        commands.AuthAborted: _auth_aborted,
    }

    # -- policy ----------------------------------------------------------------------------------------

    def _facts(self, helo: str | None = None, **stage: Any) -> Facts:
        return Facts(
            self._connection,
            self._around.now(),
            self._driver.tls,
            self._helo if helo is None else helo,
            account=self._authentication.account,
            failed_recipients=self._refused_recipients,
            marks=self._marks,
            **stage,
        )

    async def _decide(self, stage: Stage, facts: Facts) -> Verdict:
        """Ask, log, take over the marks, wait as the verdict says."""
        verdict = await self._around.policy().decide(stage, facts)
        if verdict.marks:
            self._marks |= verdict.marks
        # That nobody refused is no line of its own at the other stages; their trace is kept with the message.
        if verdict.opinion is not Opinion.PERMIT or stage is Stage.RECIPIENT or stage is Stage.CONNECT:
            self._log_decision(stage, facts, verdict)
        if verdict.delay_seconds > 0:
            await self._wait(verdict.delay_seconds)
        return verdict

    def _note_opening(self, verdict: Verdict) -> None:
        """What CONNECT and the HELLOs said goes with every message of the session."""
        if verdict.opinion is Opinion.DISCARD:
            self._discards = True
        self._opening = (*self._opening[:1], verdict)

    def _refuse(self, verdict: Verdict) -> None:
        """Answer the command under way with a refusal."""
        if verdict.close and verdict.reply is None:
            self._driver.abort(verdict.reason)
            return
        self.core.reply(_refusal(verdict))
        if verdict.close:
            self._driver.close(verdict.reason)

    async def _wait(self, seconds: float) -> None:
        """
        Let time pass, and a turn of the reactor: what the client has sent already has then been read. The end of the
        connection ends it too.
        """
        self._driver.flush()
        over: Deferred[None] = Deferred()
        later = self._around.reactor.callLater

        def turn() -> None:
            self._sleep = over, later(0.0, over.callback, None)

        self._sleep = over, later(seconds, turn)
        await over
        self._sleep = None

    # -- the log ---------------------------------------------------------------------------------------

    def _log_decision(self, stage: Stage, facts: Facts, verdict: Verdict) -> None:
        connection = self._connection
        refusal = _refusal(verdict) if _refuses(verdict) else None
        self._tell(
            "decision",
            event="decision",
            stage=stage.value,
            session=connection.session_id,
            service=connection.service,
            client=connection.client,
            helo=facts.helo,
            mail_from=None if facts.reverse_path is None else str(facts.reverse_path),
            rcpt_to=None if facts.forward_path is None else str(facts.forward_path),
            account=None if facts.account is None else facts.account.address,
            opinion=verdict.opinion.value,
            by=verdict.check,
            reason=verdict.reason,
            reply=None if refusal is None else str(refusal),
            number=verdict.number,
        )

    def _log(self, event: str, reply: Reply | None, transaction: Transaction | None, **more: object) -> None:
        connection = self._connection
        account = self._authentication.account
        fields: dict[str, object] = {
            "session": connection.session_id,
            "service": connection.service,
            "client": connection.client,
            "helo": self._helo,
            "account": None if account is None else account.address,
            "reply": None if reply is None else str(reply),
        }
        if transaction is not None:
            fields["mail_from"] = str(transaction.mail.reverse_path)
            fields["rcpt_to"] = [str(recipient.path) for recipient in transaction.recipients]
            fields["octets"] = transaction.octets
        fields.update(more)
        self._tell(event, event=event, **fields)


def _refuses(verdict: Verdict) -> bool:
    """Refuse or defer; a discard goes on, to nowhere."""
    return verdict.opinion is Opinion.REFUSE or verdict.opinion is Opinion.DEFER


def _grant(verdict: Verdict) -> str:
    """By what a recipient was permitted: "our domain", or the relay check's ground, as "recent login"."""
    return verdict.reason if verdict.check == "relay" else verdict.check


def _refusal(verdict: Verdict) -> Reply:
    return verdict.reply or (replies.LATER if verdict.opinion is Opinion.DEFER else replies.REFUSED)


def _reply_to(failure: TemporaryFailure) -> Reply:
    return replies.STORAGE_FULL if isinstance(failure, StorageFull) else replies.FAILED_FOR_NOW

"""
Commands before login, and those of any state: CAPABILITY, ID, LOGOUT, STARTTLS, LOGIN, AUTHENTICATE.

A plaintext password where the connection is not fit for one is refused before it is looked at. The text of a
failure is the same whatever failed; `servers/login.py` makes it late, and the third ends the connection.

RFC 3501 6.1, 6.2; RFC 4959; RFC 2971
"""

from __future__ import annotations

from base64 import b64encode
from secrets import token_hex

from mailtraq_py.interfaces.directory import Account
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.policy import Opinion
from mailtraq_py.mail.changes import AccountRevoked, Change
from mailtraq_py.wire import sasl
from mailtraq_py.wire.imap import commands, responses
from mailtraq_py.wire.imap.states import State

from .dialogue import Dialogue

CRAM_MD5 = "CRAM-MD5"
_CAPABILITIES = (
    "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE NAMESPACE IDLE UIDPLUS MOVE UNSELECT CHILDREN SPECIAL-USE CREATE-SPECIAL-USE"
    " MULTIAPPEND CONDSTORE QRESYNC ESEARCH STATUS=SIZE SORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES"
)


async def capabilities(dialogue: Dialogue) -> str:
    """
    What this session can do now.

    RFC 3501 7.2.1; LOGINDISABLED: 6.2.3; AUTH=CRAM-MD5 only while some account has opted in.
    """
    words = [_CAPABILITIES]
    if dialogue.core.state is State.NOT_AUTHENTICATED:
        encrypted = dialogue.driver.tls is not None
        if not encrypted and dialogue.settings.tls == "starttls" and dialogue.around.tls.for_server() is not None:
            words.append("STARTTLS")
        if dialogue.settings.allows_plaintext(dialogue.connection.client, encrypted):
            words.extend(f"AUTH={mechanism}" for mechanism in sasl.PLAINTEXT_MECHANISMS)
        else:
            words.append("LOGINDISABLED")
        if await _offers_cram(dialogue):
            words.append(f"AUTH={CRAM_MD5}")
    return " ".join(words)


async def capability(dialogue: Dialogue, command: commands.Capability) -> None:
    """RFC 3501 6.1.1"""
    dialogue.core.send(b"* CAPABILITY " + responses.text(await capabilities(dialogue)) + responses.CRLF)
    await dialogue.done("done")


def identify(dialogue: Dialogue, command: commands.Identify) -> None:
    """RFC 2971 3.1. Strangers are not told the version (RFC 2971 4)."""
    dialogue.core.send(b'* ID ("name" %b)\r\n' % responses.string(dialogue.settings.software.encode()))
    dialogue.core.ok("done")


def logout(dialogue: Dialogue, command: commands.Logout) -> None:
    """RFC 3501 6.1.3"""
    dialogue.deselect()
    dialogue.core.bye("goodbye", reason="logout")
    dialogue.core.ok("done")


def start_tls(dialogue: Dialogue, command: commands.StartTLS) -> None:
    """RFC 3501 6.2.1"""
    if dialogue.driver.tls is not None:
        dialogue.core.bad("TLS is up already")
    elif dialogue.settings.tls != "starttls":
        dialogue.core.bad("not offered here")
    elif (context := dialogue.around.tls.for_server()) is None:
        dialogue.core.no("TLS is not available", "UNAVAILABLE")
    else:
        dialogue.core.ok("begin TLS now")
        dialogue.driver.start_tls(context)


async def login(dialogue: Dialogue, command: commands.Login) -> None:
    """RFC 3501 6.2.3"""
    if not _fit_for_plaintext(dialogue):
        dialogue.core.no("encryption is required", "PRIVACYREQUIRED")
        return
    await _check(
        dialogue, "LOGIN", sasl.PasswordCredentials(command.user.decode("utf-8", "replace"), command.password)
    )


async def authenticate(dialogue: Dialogue, command: commands.Authenticate) -> None:
    """RFC 3501 6.2.2, RFC 4959 3"""
    mechanism = sasl.begin(command.mechanism, lambda: _cram_challenge(dialogue))
    if mechanism is None or (mechanism.name == CRAM_MD5 and not await _offers_cram(dialogue)):
        dialogue.core.no("mechanism not offered", "CANNOT")
        return
    if mechanism.name in sasl.PLAINTEXT_MECHANISMS and not _fit_for_plaintext(dialogue):
        dialogue.core.no("encryption is required for this mechanism", "PRIVACYREQUIRED")
        return
    initial: bytes | None = None
    if command.initial is not None:
        initial = b"" if command.initial == b"=" else sasl.decode_response(command.initial)
        if initial is None:
            dialogue.core.bad("bad initial response")
            return
    dialogue.mechanism = mechanism
    await _follow(dialogue, mechanism.start(initial))


async def respond(dialogue: Dialogue, line: bytes) -> None:
    """Take the client's line to a challenge; `*` cancels."""
    mechanism = dialogue.mechanism
    response = None if line == b"*" else sasl.decode_response(line)
    if mechanism is None or response is None:
        dialogue.mechanism = None
        dialogue.core.bad("cancelled" if line == b"*" else "bad response")
        return
    await _follow(dialogue, mechanism.respond(response))


async def _follow(dialogue: Dialogue, step: sasl.Step) -> None:
    if isinstance(step, sasl.Challenge):
        dialogue.core.continue_with(b64encode(step.octets))
        return
    mechanism, dialogue.mechanism = dialogue.mechanism, None
    if isinstance(step, sasl.Malformed) or mechanism is None:
        dialogue.core.bad("malformed response")
        return
    await _check(dialogue, mechanism.name, step)


async def _check(
    dialogue: Dialogue, mechanism: str, credentials: sasl.PasswordCredentials | sasl.CramResponse
) -> None:
    core = dialogue.core
    outcome = await dialogue.around.logins.check(dialogue.facts(), mechanism, credentials)
    if outcome.account is not None and await _enter(dialogue, outcome.account):
        core.ok("logged in", f"CAPABILITY {await capabilities(dialogue)}")
        return
    verdict = outcome.verdict
    if verdict is not None and verdict.opinion is Opinion.DEFER:
        core.no("try again later", "UNAVAILABLE")
        return
    dialogue.failed_logins += 1
    core.no("authentication failed", "AUTHENTICATIONFAILED")
    if dialogue.failed_logins >= dialogue.settings.max_failed_logins or (verdict is not None and verdict.close):
        core.bye("too many failed logins")


async def _enter(dialogue: Dialogue, account: Account) -> bool:
    """Become the account's session; False when it was revoked while the password was checked."""
    unwatch = dialogue.around.hub.watch_account(account.id, lambda change: _account_changed(dialogue, change))
    current = None
    try:
        current = await dialogue.around.directory.find_account(account.address)
        dialogue.must_be_there()
    finally:
        if current is None or not current.enabled or current.credential_number != account.credential_number:
            unwatch()
            current = None
    if current is None:
        return False
    dialogue.unwatch_account = unwatch
    dialogue.account = account
    dialogue.logged_in = dialogue.around.now()
    dialogue.renew_at = dialogue.logged_in + dialogue.settings.renew_seconds
    dialogue.own_mailboxes = dialogue.around.mailboxes(account.id)
    dialogue.core.state = State.AUTHENTICATED
    dialogue.driver.set_idle_time(dialogue.settings.idle_seconds)
    return True


def _account_changed(dialogue: Dialogue, change: Change) -> None:
    if isinstance(change, AccountRevoked) and dialogue.account is not None:
        dialogue.farewell("your account was changed, log in again", "UNAVAILABLE", "account revoked")


def _fit_for_plaintext(dialogue: Dialogue) -> bool:
    return dialogue.settings.allows_plaintext(dialogue.connection.client, dialogue.driver.tls is not None)


async def _offers_cram(dialogue: Dialogue) -> bool:
    try:
        return await dialogue.around.directory.offers_cram_md5()
    except TemporaryFailure:
        return False


def _cram_challenge(dialogue: Dialogue) -> bytes:
    host = dialogue.settings.hostname
    return f"<{token_hex(12)}.{int(dialogue.around.now())}@{host}>".encode("ascii", "replace")

"""
Which command is allowed when: one table.

    WAITING   connected, not greeted: nothing is read
    FRESH     greeted, no HELO or EHLO yet (and again after a TLS handshake, RFC 3207 4.2)
    READY     said hello, no transaction
    MAIL      MAIL accepted, no recipient yet
    RCPT      at least one recipient accepted
    DATA      354 sent: all that comes is the message
    SASL      334 sent: the next line is a response
    TLS       220 to STARTTLS sent: nothing is read before the handshake is done

RFC 5321 4.1.4, RFC 3207 4, RFC 4954 4
"""

from __future__ import annotations

from enum import Enum

from mailtraq_py.mail.reply import Reply


class State(Enum):
    """Where a connection is."""

    __hash__ = object.__hash__  # Enum's own is written in Python

    WAITING = "waiting"
    FRESH = "fresh"
    READY = "ready"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    SASL = "sasl"
    TLS = "tls"


_ANY = frozenset({State.FRESH, State.READY, State.MAIL, State.RCPT})

ALLOWED: dict[bytes, frozenset[State]] = {
    b"HELO": _ANY,
    b"EHLO": _ANY,
    b"MAIL": frozenset({State.READY}),
    b"RCPT": frozenset({State.MAIL, State.RCPT}),
    b"DATA": frozenset({State.RCPT}),
    b"RSET": _ANY,
    b"NOOP": _ANY,
    b"QUIT": _ANY,
    b"HELP": _ANY,
    b"VRFY": _ANY,
    b"EXPN": _ANY,
    b"STARTTLS": frozenset({State.READY}),
    b"AUTH": frozenset({State.READY}),
}

_HELLO_FIRST = Reply(503, "say EHLO or HELO first", "5.5.1")
_MAIL_FIRST = Reply(503, "MAIL first", "5.5.1")
_IN_TRANSACTION = Reply(503, "not during a mail transaction", "5.5.1")
# RFC 5321 3.3: "If there was no MAIL, or no RCPT, command, or all such commands were rejected, the server MAY return
# a "command out of sequence" (503) or "no valid recipients" (554) reply".
_NO_RECIPIENTS = Reply(554, "no valid recipients", "5.5.1")

OUT_OF_SEQUENCE: dict[tuple[bytes, State], Reply] = {
    (b"MAIL", State.FRESH): _HELLO_FIRST,
    (b"MAIL", State.MAIL): Reply(503, "sender already given", "5.5.1"),
    (b"MAIL", State.RCPT): Reply(503, "sender already given", "5.5.1"),
    (b"RCPT", State.FRESH): _HELLO_FIRST,
    (b"RCPT", State.READY): _MAIL_FIRST,
    (b"DATA", State.FRESH): _HELLO_FIRST,
    (b"DATA", State.READY): _MAIL_FIRST,
    (b"DATA", State.MAIL): _NO_RECIPIENTS,
    (b"STARTTLS", State.FRESH): _HELLO_FIRST,
    (b"STARTTLS", State.MAIL): _IN_TRANSACTION,
    (b"STARTTLS", State.RCPT): _IN_TRANSACTION,
    (b"AUTH", State.FRESH): _HELLO_FIRST,
    (b"AUTH", State.MAIL): _IN_TRANSACTION,
    (b"AUTH", State.RCPT): _IN_TRANSACTION,
}

# Without PIPELINING agreed on, these must have their reply before anything else is sent (RFC 5321 2.1, 4.1.1); with
# it, these still are the last of their group (RFC 2920 3.1). What stands behind them was injected, or is a robot's.
ALONE = frozenset({b"HELO", b"EHLO", b"MAIL", b"RCPT", b"DATA"})
ALONE_IN_EXTENDED = frozenset({b"HELO", b"EHLO", b"DATA"})

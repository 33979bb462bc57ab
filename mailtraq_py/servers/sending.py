"""
Sending without a turn of the reactor.

Twisted's `transport.write` keeps the octets, asks the reactor to watch for room, is called back, sends, and asks it to
watch no more: two system calls and a turn beyond the send itself, a third of the CPU time of a short command.
A socket with nothing waiting before it almost always has room, so it is asked first.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.tcp import Server


def may_send_at_once(transport: Any) -> bool:
    """
    Whether a transport is a plain TCP socket. A TLS layer is none, though it answers for the socket below it, and a
    socket after `startTLS` is none any more.
    """
    return type(transport) is Server and not transport.TLS


def send_at_once(transport: Server, octets: bytes) -> bytes:
    """
    Send what the socket takes now.

    Args:
        transport: one that `may_send_at_once`.

    Returns:
        what is left for `transport.write`: everything, where something waits already or the connection is broken,
        which `write` then finds out.
    """
    if transport.dataBuffer or transport._tempDataBuffer:
        return octets
    sent = transport.writeSomeData(octets)
    return octets[sent:] if isinstance(sent, int) else octets

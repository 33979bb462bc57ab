"""
Sockets for the services: bound before root is given up, listening from then on, handed to the reactor when it runs.

A wildcard IPv6 socket takes IPv6 alone, so that "0.0.0.0:25" and "[::]:25" stand side by side. On a machine without
IPv6 a wildcard IPv6 address is passed over; any other address that cannot be bound stops the start.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from .config import Configuration
from .listen import ListenAddress, parse_listen
from .machine import PROCESS_PREFIX, holder_of

BACKLOG = 1024


class CannotBind(Exception):
    """
    An address cannot be listened on; the message says which, why, and who has it. `is_leftover`: a worker of ours has
    it, whose end cannot be far when its supervisor is gone.
    """

    is_leftover = False


@dataclass(frozen=True, slots=True)
class BoundSocket:
    """A listening socket and the service it belongs to."""

    service: str
    socket: socket.socket

    @property
    def address(self) -> ListenAddress:
        """Where it listens; the port that the system chose, where port 0 was asked for."""
        host, port = self.socket.getsockname()[:2]
        return ListenAddress(host, port)


def bind_all(configuration: Configuration) -> list[BoundSocket]:
    """
    Bind every address of every service, all or none.

    Raises:
        CannotBind: for the first address that cannot be had.
    """
    bound: list[BoundSocket] = []
    try:
        for _, service in configuration.services():
            for text in service.listen:
                bound += (BoundSocket(service.name, each) for each in _bind(text, service.name))
    except CannotBind:
        close_all(bound)
        raise
    return bound


def close_all(bound: list[BoundSocket]) -> None:
    """Close them."""
    for each in bound:
        each.socket.close()


def _bind(text: str, service: str) -> Iterator[socket.socket]:
    """One socket for an address, one for each address of a name."""
    wanted = parse_listen(text)
    try:
        found = socket.getaddrinfo(
            wanted.host, wanted.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise CannotBind(f'service {service}: "{wanted.host}" has no address: {error.strerror}') from None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            yield _listening(family, kind, protocol, address)
        except OSError as error:
            without_ipv6 = error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
            if family == socket.AF_INET6 and without_ipv6 and wanted.host == "::":
                continue
            holder = holder_of(wanted.port) if error.errno == errno.EADDRINUSE else ""
            refusal = CannotBind(f"service {service}: cannot listen on {text}: {_reason(error, holder)}")
            refusal.is_leftover = holder.startswith(PROCESS_PREFIX)
            raise refusal from None


def _listening(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    fresh = socket.socket(family, kind, protocol)
    try:
        fresh.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            fresh.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        fresh.setblocking(False)
        fresh.bind(address)
        fresh.listen(BACKLOG)
    except OSError:
        fresh.close()
        raise
    return fresh


def _reason(error: OSError, holder: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"taken by {holder}" if holder else "taken by another process (run as root to see which)"
    if error.errno == errno.EACCES:
        return "ports below 1024 need root (with `user` set, root is given up afterwards)"
    return (error.strerror or str(error)).lower()

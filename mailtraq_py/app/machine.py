"""
What the kernel says of this machine: its addresses, its default gateways, and who holds a port (Linux, /proc).

Each question answers with nothing where /proc does not say.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

_LISTENING = "0A"
_BEGAN = 19

PROCESS_PREFIX = "mailtraq "
"""How the names of our processes begin that are no supervisor."""


def own_addresses() -> tuple[str, ...]:
    """The addresses of all interfaces, loopback included, IPv4 first."""
    return tuple(dict.fromkeys([*_own_ipv4(), *_own_ipv6()]))


def gateways() -> tuple[str, ...]:
    """The next hops of the default routes."""
    found = []
    for line in _lines("/proc/net/route")[1:]:
        fields = line.split()
        if fields[1] == "00000000" and fields[2] != "00000000":
            found.append(socket.inet_ntoa(struct.pack("=I", int(fields[2], 16))))
    for line in _lines("/proc/net/ipv6_route"):
        fields = line.split()
        if fields[0] + fields[1] == "0" * 32 + "00" and fields[4] != "0" * 32:
            found.append(str(ipaddress.IPv6Address(bytes.fromhex(fields[4]))))
    return tuple(dict.fromkeys(found))


def holder_of(port: int) -> str:
    """
    Who listens on a TCP port: `nginx (process 812)`, or "" where that cannot be seen (another user's process, and we
    are not root). Of several, the one that began first: workers share what their supervisor listens on.
    """
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    if not sockets:
        return ""
    holders: list[tuple[int, str]] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(link.readlink().name in sockets for link in (process / "fd").iterdir()):
                # proc(5): the name in parentheses may hold anything
                _, _, rest = (process / "stat").read_text().rpartition(")")
                name = (process / "comm").read_text().strip()
                holders.append((int(rest.split()[_BEGAN]), f"{name} (process {process.name})"))
        except OSError:  # it ended meanwhile, or belongs to somebody else
            continue
    return min(holders)[1] if holders else ""


def _own_ipv4() -> Iterator[str]:
    """/proc/net/fib_trie names each local address in a line before its `/32 host LOCAL`."""
    address = ""
    for line in _lines("/proc/net/fib_trie"):
        text = line.strip()
        if text.startswith("|-- "):
            address = text[4:]
        elif text == "/32 host LOCAL":
            yield address


def _own_ipv6() -> Iterator[str]:
    for line in _lines("/proc/net/if_inet6"):
        yield str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0])))


def _listening(port: int) -> Iterator[str]:
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _lines(name)[1:]:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _lines(name: str) -> list[str]:
    try:
        return Path(name).read_text("utf-8", "replace").splitlines()
    except OSError:
        return []

"""
The outside world on loopback: an SMTP server that takes everything, and a name server that knows it.
"""

from __future__ import annotations

import base64
import socket
import socketserver
import ssl
import threading
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


@dataclass
class Received:
    """A message that reached the outside."""

    helo: str
    mail_from: str
    rcpt_to: list[str]
    octets: bytes


@dataclass
class Outside:
    """
    The world. `refuse` maps a recipient to the reply it gets at RCPT. With `login`, a name and its password, it takes
    mail after AUTH only, and with `tls` AUTH after STARTTLS only; `failed_logins` counts.
    """

    received: list[Received] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    login: tuple[str, str] | None = None
    tls: ssl.SSLContext | None = None
    failed_logins: int = 0

    def __post_init__(self) -> None:
        outside = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                serve(self.connection, outside)

        class Names(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                octets, reply_socket = self.request
                reply_socket.sendto(answer(octets), self.client_address)

        class Threaded(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._smtp = Threaded(("127.0.0.1", 0), Session)
        self._names = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Names)
        self.sink = self._smtp.server_address[1]
        self.dns = self._names.server_address[1]
        for each in (self._smtp, self._names):
            threading.Thread(target=each.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """End both."""
        for each in (self._smtp, self._names):
            each.shutdown()
            each.server_close()

    def to(self, address: str) -> list[Received]:
        """Messages that reached this recipient."""
        return [message for message in self.received if address in message.rcpt_to]


def serve(connection: socket.socket, outside: Outside) -> None:
    """One SMTP session, trusting but for its login."""

    def say(line: str) -> None:
        connection.sendall(line.encode() + b"\r\n")

    reader = connection.makefile("rb")
    secure, welcome = outside.tls is None, outside.login is None
    helo, mail_from, rcpt_to = "", "", []
    say("220 outside.example ready")
    while line := reader.readline().decode("utf-8", "replace").rstrip("\r\n"):
        verb = line[:4].upper()
        if verb in ("EHLO", "HELO"):
            helo = line[5:]
            offer = ["outside.example", "8BITMIME", "SIZE 100000000"]
            offer += [] if secure else ["STARTTLS"]
            offer += ["AUTH PLAIN LOGIN"] if secure and not welcome else []
            say("".join(f"250-{word}\r\n" for word in offer) + "250 PIPELINING")
        elif verb == "STAR" and outside.tls is not None:
            say("220 go on")
            connection = outside.tls.wrap_socket(connection, server_side=True)
            reader, secure = connection.makefile("rb"), True
        elif verb == "AUTH" and outside.login is not None and secure:
            welcome = base64.b64decode(line.split()[2]).decode().split("\0")[1:] == list(outside.login)
            outside.failed_logins += not welcome
            say("235 2.7.0 welcome" if welcome else "535 5.7.8 who are you?")
        elif verb == "MAIL" and not welcome:
            say("530 5.7.0 log in first")
        elif verb == "MAIL":
            mail_from, rcpt_to = line.partition("<")[2].partition(">")[0], []
            say("250 ok")
        elif verb == "RCPT":
            address = line.partition("<")[2].partition(">")[0]
            refusal = outside.refuse.get(address)
            if refusal is None:
                rcpt_to.append(address)
            say(refusal or "250 ok")
        elif verb == "DATA":
            if not rcpt_to:
                say("554 no recipients")
                continue
            say("354 go on")
            lines = []
            while (octets := reader.readline()) not in (b".\r\n", b""):
                lines.append(octets[1:] if octets.startswith(b".") else octets)
            outside.received.append(Received(helo, mail_from, rcpt_to, b"".join(lines)))
            say("250 taken")
        elif verb == "QUIT":
            say("221 bye")
            return
        else:
            say("250 ok")


def answer(octets: bytes) -> bytes:
    """
    A name server: every name ending in `.example` has MX mx.outside.example at 127.0.0.1, all others NXDOMAIN.

    `null.example` has a null MX, `nothing.example` does not exist.
    """
    query = dns.message.from_wire(octets)
    response = dns.message.make_response(query)
    response.flags |= dns.flags.RA
    question = query.question[0]
    name, kind = question.name.to_text().lower(), question.rdtype.name
    if not name.endswith("example.") or name == "nothing.example.":
        response.set_rcode(dns.rcode.NXDOMAIN)
    elif kind == "MX" and name == "null.example.":
        response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "MX", "0 ."))
    elif kind == "MX":
        response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "MX", "10 mx.outside.example."))
    elif kind == "A":
        response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", "127.0.0.1"))
    return response.to_wire()


def raw(port: int, timeout: float = 10.0) -> socket.socket:
    """A raw connection to a service of ours."""
    return socket.create_connection(("127.0.0.1", port), timeout)

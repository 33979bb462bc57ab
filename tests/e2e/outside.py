"""
The outside world on loopback: an SMTP server that takes everything, and a name server that knows it.
"""

from __future__ import annotations

import socket
import socketserver
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
    The world. `refuse` maps a recipient to the reply it gets at RCPT.
    """

    received: list[Received] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        outside = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                serve(self.rfile, self.wfile, outside)

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


def serve(reader, writer, outside: Outside) -> None:
    """One SMTP session, plain and trusting."""

    def say(line: str) -> None:
        writer.write(line.encode() + b"\r\n")
        writer.flush()

    helo, mail_from, rcpt_to = "", "", []
    say("220 outside.example ready")
    while line := reader.readline().decode("utf-8", "replace").rstrip("\r\n"):
        verb = line[:4].upper()
        if verb in ("EHLO", "HELO"):
            helo = line[5:]
            say("250-outside.example\r\n250-8BITMIME\r\n250-SIZE 100000000\r\n250 PIPELINING")
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

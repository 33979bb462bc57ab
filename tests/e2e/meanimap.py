"""
An IMAP server that behaves as badly as some do: for what an import has to live with.

It says what it was not asked for, lies about sizes, refuses a mailbox and a message, names a mailbox in octets that are
no UTF-7, and hangs up in the middle, once.
"""

from __future__ import annotations

import re
import socketserver
import threading
from typing import ClassVar

LARGE = b"Subject: large\r\n\r\n" + b"".join(b"%07d\r\n" % number for number in range(300_000))
MESSAGES = {
    2: b"Subject: two\r\n\r\ntwo\r\n",
    3: b"Subject: three\r\n\r\nthree\r\n",
    4: b"Subject: bare\n\nLF\n",
    7: LARGE,
    8: b"Subject: eight\r\n\r\neight\r\n",
}
REFUSED_UID = 3

_LIST = (
    b'(\\HasNoChildren) "." INBOX',
    b'(\\HasNoChildren) "." "Sent \\"Items\\" &Jjo-"',
    b'(\\Noselect) "." Nowhere',
    b'(\\HasNoChildren \\Flagged) "." Starred',
    b'(\\HasNoChildren) "." Broken',
    b'(\\HasNoChildren) "." "gr\xfcn"',
)


class MeanServer(socketserver.ThreadingTCPServer):
    """Listens on loopback, for one user; `hang_up` in the middle of the next large message."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.hang_up = True
        self.logins = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that ended is what a test wants."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])


class _Session(socketserver.StreamRequestHandler):
    server: MeanServer
    CAPABILITIES: ClassVar[bytes] = b"* CAPABILITY IMAP4rev1 X-STRANGE=1"

    def handle(self) -> None:
        self.say(b"* OK [CAPABILITY IMAP4rev1] at your service")
        self.selected = b""
        while line := self.rfile.readline():
            tag, _, rest = line.strip().partition(b" ")
            word = rest.split(b" ")[0].upper()
            if word == b"UID":
                word = rest.split(b" ")[1].upper()
            answer = getattr(self, f"do_{word.decode().lower()}", None)
            self.say(tag + b" " + (answer(rest) if answer else b"BAD what?"))
            if word == b"LOGOUT":
                return

    def say(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")

    def do_capability(self, _: bytes) -> bytes:
        self.say(self.CAPABILITIES)
        return b"OK done"

    def do_login(self, rest: bytes) -> bytes:
        self.server.logins += 1
        return b"OK [CAPABILITY IMAP4rev1] welcome" if b"secret" in rest else b"NO [AUTHENTICATIONFAILED] no\x07pe"

    def do_list(self, _: bytes) -> bytes:
        for line in _LIST:
            self.say(b"* LIST " + line)
        return b"OK done"

    def do_lsub(self, _: bytes) -> bytes:
        self.say(b'* LSUB () "." INBOX')
        return b"OK done"

    def do_examine(self, rest: bytes) -> bytes:
        if b"Broken" in rest:
            return b"NO [SERVERBUG] internal error, please report"
        self.selected = rest
        self.say(b"* OK [ALERT] your mailbox is nearly full")
        self.say(b"* FLAGS (\\Seen)\r\n* 5 EXISTS\r\n* OK [UIDVALIDITY 9] ok")
        return b"OK [READ-ONLY] done"

    def do_search(self, rest: bytes) -> bytes:
        first = int(re.findall(rb"UID ([0-9]+):", rest)[-1])
        uids = [uid for uid in self.messages() if uid >= first] or [max(self.messages())]
        self.say(b"* 6 EXISTS")
        self.say(b"* SEARCH " + b" ".join(b"%d" % uid for uid in reversed(uids)))
        return b"OK done"

    def do_fetch(self, rest: bytes) -> bytes:
        uids = [int(uid) for uid in rest.split(b" ")[2].split(b",")]
        part = re.search(rb"BODY\.PEEK\[\](?:<([0-9]+)\.([0-9]+)>)?", rest)
        if part and REFUSED_UID in uids:
            return b"NO [UNAVAILABLE] that one is not well"
        self.say(b"* 1 FETCH (FLAGS (\\Seen))")
        for number, (uid, octets) in enumerate(self.messages().items(), 1):
            if uid not in uids:
                continue
            items = b"UID %d" % uid
            if b"RFC822.SIZE" in rest:
                items += b" RFC822.SIZE %d" % (len(octets) // 2)
            if b"FLAGS" in rest:
                items += b' FLAGS (\\Seen \\Strange $Label1 $Label1) INTERNALDATE " 1-Feb-2021 10:00:00 +0100"'
            if part and part[1]:
                place, size = int(part[1]), int(part[2])
                if self.server.hang_up and place > 0:
                    self.server.hang_up = False
                    self.connection.close()
                    raise ConnectionAbortedError
                octets = octets[place : place + size]
                items += b" BODY[]<%d> {%d}\r\n%s" % (place, len(octets), octets)
            elif part:
                items += b" BODY[] {%d}\r\n%s" % (len(octets), octets)
            self.say(b"* %d FETCH (%s)" % (number, items))
        return b"OK done"

    def do_logout(self, _: bytes) -> bytes:
        self.say(b"* BYE")
        return b"OK done"

    def messages(self) -> dict[int, bytes]:
        return MESSAGES if b"INBOX" in self.selected else {1: b"Subject: sent\r\n\r\n\r\n"}

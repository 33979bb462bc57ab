"""
Real-looking messages, the same at every run: multipart, attachments, 8-bit, long headers, and malformed ones.

Each is CRLF octets that SMTP can carry (no bare CR or LF, lines below 1000 octets) and carries its number in
`X-Corpus`.
"""

from __future__ import annotations

import random
import re
from email.message import EmailMessage
from email.policy import SMTP

_WORDS = re.split(
    " ",
    "meeting invoice thursday report attached regards proposal garden über naïve 会議 отчёт budget please review "
    "kindly server mailbox delivery queue coffee tomorrow window résumé 見積 project deadline holiday photo",
)

_MALFORMED = (
    b"no header at all, only this line\r\n",
    b"\r\nan empty header and a body\r\n",
    b"Subject: no body, no blank line\r\n",
    b"From: a@b.example\r\nBroken header line without colon\r\nTo: x\r\n\r\nbody\r\n",
    b"Content-Type: multipart/mixed; boundary=never\r\nSubject: boundary never comes\r\n\r\ntext\r\n",
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\none part, never closed\r\n',
    b"Content-Type: text/plain; charset=unknown-8bit\r\n\r\n\xff\xfe\x80 raw octets\r\n",
    b"Subject: =?utf-8?B?not base64!?=\r\nFrom: <<>>,,;:@\r\n\r\n.\r\n..\r\n...leading dots\r\n",
    b"Date: yesterday, perhaps\r\nMessage-ID: <<nested>>\r\nReferences: <a\r\n\t<b> c\r\n\r\nodd fields\r\n",
    b"Content-Type: message/rfc822\r\n\r\nSubject: 1\r\nContent-Type: message/rfc822\r\n\r\nSubject: 2\r\n\r\nx\r\n",
    b"From: a@b.example\r\nSubject: From in body\r\n\r\nFrom here on\r\n>From there on\r\n",
    b"Subject: " + b"very long " * 90 + b"\r\n\r\n" + b"x" * 990 + b"\r\n",
)


def message(number: int) -> bytes:
    """The message of this number."""
    dice = random.Random(number)
    mark = b"X-Corpus: %d\r\n" % number
    if number % 10 == 9:
        return mark + _MALFORMED[number // 10 % len(_MALFORMED)]
    words = lambda count: " ".join(dice.choices(_WORDS, k=count))  # noqa: E731
    mail = EmailMessage(policy=SMTP.clone(cte_type="8bit" if number % 3 == 0 else "7bit"))
    mail["From"] = f'"{words(2)}" <sender{number}@outside.example>'
    mail["To"] = ", ".join(f"{words(1)} <user{index}@example.test>" for index in range(1 + number % 7))
    mail["Subject"] = words(3 + number % 40)
    mail["Date"] = f"Tue, {1 + number % 28:02d} Sep 2026 10:{number % 60:02d}:00 +0200"
    mail["Message-ID"] = f"<{number}.{dice.getrandbits(64):x}@outside.example>"
    if number % 4 == 0:
        mail["References"] = " ".join(f"<{dice.getrandbits(80):x}@outside.example>" for _ in range(40))
    text = "\n".join(words(12) for _ in range(5 + dice.randrange(60)))
    mail.set_content(text, cte="8bit" if number % 3 == 0 else None)
    if number % 2:
        mail.add_alternative(f"<html><body><p>{words(60)}</p></body></html>", subtype="html")
    if number % 5 == 0:
        attachment = dice.randbytes(dice.randrange(100, 60_000))
        mail.add_attachment(attachment, "application", "octet-stream", filename="ü.bin")
    if number % 25 == 0:
        mail.add_attachment(message(number + 1), "application", "x-mail", filename="inner.eml")
    for level, part in enumerate(part for part in mail.walk() if part.is_multipart()):
        part.set_boundary(f"=_{number}_{level}_{dice.getrandbits(60):x}")
    return mark + mail.as_bytes()


def number_of(octets: bytes) -> int:
    """Which message this is, trace fields in front or not."""
    return int(octets.partition(b"X-Corpus: ")[2].split(b"\r\n", 1)[0].split(b"\n", 1)[0])

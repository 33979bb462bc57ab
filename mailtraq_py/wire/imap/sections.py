"""
Sections of FETCH BODY[...]: which octets of a message each one is.

A message is its `head` (the recipient's own lines) followed by the shared content; offsets here count from the
head's first octet, as `IContent.read` takes them. `locate` turns a section into a range without reading
anything; for HEADER.FIELDS the range is the header, and `filter_fields` keeps what was asked for. Where all
fields asked for are usual ones, `usual_fields` answers from the stored lines and nothing is read at all.

RFC 9051 6.4.5.1, RFC 3501 6.4.5
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache

from mailtraq_py.mail.partmap import find_part

# The fields that clients ask for when they list a mailbox, in lower case. Their raw lines are stored with
# each content. None of them is ever put into a head.
USUAL_FIELDS = frozenset(
    (
        b"date", b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"subject", b"message-id", b"in-reply-to",
        b"references", b"newsgroups", b"mime-version", b"content-type", b"content-transfer-encoding", b"priority",
        b"x-priority", b"x-msmail-priority", b"importance", b"precedence", b"auto-submitted", b"list-id", b"list-post",
        b"list-unsubscribe", b"list-unsubscribe-post", b"mail-followup-to", b"mail-reply-to",
        b"disposition-notification-to", b"x-uniform-type-identifier", b"x-universally-unique-identifier",
        b"x-k9mail-identity", b"x-draft-info", b"x-mailer", b"user-agent",
    )
)  # fmt: skip

_WHOLE = ""
_FIELD = rb"[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*"


@dataclass(frozen=True, slots=True)
class Section:
    """
    What stands between the brackets of BODY[...].

    `part` is the part's number, () for the message; `kind` one of "", "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT",
    "TEXT", "MIME"; `names` the field names as they came from the wire.
    """

    part: tuple[int, ...] = ()
    kind: str = _WHOLE
    names: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class OctetRange:
    """`octets` octets from `offset` on, counted from the head's first octet."""

    offset: int
    octets: int

    def partial(self, start: int, count: int) -> OctetRange:
        """What BODY[]<start.count> asks of this range; empty where it starts behind the end (RFC 9051 6.4.5)."""
        start = min(start, self.octets)
        return OctetRange(self.offset + start, min(count, self.octets - start))


def locate(
    section: Section, parts: bytes, *, head_octets: int, header_octets: int, total_octets: int
) -> OctetRange | None:
    """
    Find a section's octets.

    Args:
        section: what was asked for. For HEADER.FIELDS and HEADER.FIELDS.NOT the range of the whole header is
            returned; give its octets to `filter_fields`.
        parts: the packed map (Column.PARTS).
        head_octets: of the recipient's own lines before the content.
        header_octets: of the content's header (Column.HEADER_OCTETS), without the head.
        total_octets: RFC822.SIZE, with the head.

    Returns:
        the range, or None when the message has no such part, or the part no such section: the answer is NIL.

    RFC 9051 6.4.5.1
    """
    content_octets = total_octets - head_octets
    if not section.part:
        if section.kind == _WHOLE:
            return OctetRange(0, total_octets)
        if section.kind == "MIME":
            return None
        body_start = head_octets + header_octets
        if section.kind == "TEXT":
            return OctetRange(body_start, total_octets - body_start)
        return OctetRange(0, body_start)
    place = find_part(parts, section.part, header_octets, content_octets)
    if place is None:
        return None
    part = place.part
    if section.kind == _WHOLE:
        return OctetRange(head_octets + part.body_start, part.end - part.body_start)
    if section.kind == "MIME":
        # Part 1 of a message that is no multipart has the message's header for its MIME header.
        if part.start == 0:
            return OctetRange(0, head_octets + part.body_start)
        return OctetRange(head_octets + part.start, part.body_start - part.start)
    message = place.message
    if message is None:
        return None
    if section.kind == "TEXT":
        return OctetRange(head_octets + message.body_start, message.end - message.body_start)
    return OctetRange(head_octets + message.start, message.body_start - message.start)


def filter_fields(header: bytes, names: Collection[bytes], keep: bool) -> bytes:
    """
    Take the named fields out of a header, or all but them.

    Args:
        header: raw header octets, with or without the blank line at the end.
        names: field names in any case.
        keep: True for HEADER.FIELDS, False for HEADER.FIELDS.NOT.

    Returns:
        the fields as they stand, in their order, and a blank line.

    RFC 9051 6.4.5.1: "Subsetting does not exclude the ... delimiting blank line"
    """
    return field_filter(tuple(names), keep)(header)


def usual_fields(section: Section, head: bytes, fields: bytes) -> bytes | None:
    """
    Answer HEADER.FIELDS of the whole message from the stored lines, if they can.

    Args:
        section: what was asked for.
        head: the recipient's own lines before the content.
        fields: the content's usual fields (Column.FIELDS).

    Returns:
        the section's octets, or None when the header has to be read.
    """
    if not fields or not are_usual(section):
        return None
    return field_filter(section.names, True)(head + fields)


@lru_cache(maxsize=256)
def are_usual(section: Section) -> bool:
    """Whether the section asks for usual fields of the message and nothing else, so that Column.FIELDS may do."""
    return (
        section.kind == "HEADER.FIELDS"
        and not section.part
        and USUAL_FIELDS.issuperset(name.lower() for name in section.names)
    )


@lru_cache(maxsize=256)
def field_filter(names: tuple[bytes, ...], keep: bool) -> Callable[[bytes], bytes]:
    """The function that `filter_fields` calls, prepared for one list of names; for many headers in a row."""
    alternatives = b"|".join(map(_in_any_case, sorted({name.lower() for name in names})))
    if keep:
        pattern = rb"\n(?:" + alternatives + rb")" + _FIELD
    else:
        # A line that is no field belongs to the rest; a blank one is added at the end for all.
        pattern = rb"\n(?!(?:" + alternatives + rb")[ \t]*:|[ \t\r\n])[^\n]+(?:\n[ \t][^\n]*)*"
    find = re.compile(pattern).findall

    def filtered(header: bytes) -> bytes:
        if not header.endswith(b"\n"):
            header += b"\r\n"
        # Each match begins with the line end before it and lacks its own.
        found: bytes = b"".join(find(b"\n" + header))
        return found[1:] + b"\n\r\n" if found else b"\r\n"

    return filtered


def _in_any_case(name: bytes) -> bytes:
    """A pattern; cheaper than IGNORECASE, which folds every octet that is looked at."""
    return re.sub(rb"[a-z]", lambda letter: b"[%b%b]" % (letter[0], letter[0].upper()), re.escape(name))

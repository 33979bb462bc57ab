"""
ENVELOPE, BODY and BODYSTRUCTURE as they go over the wire, and all that is kept of a message when it comes in.

`describe` is called once for each message, at acceptance; FETCH sends its octets as they are. A string goes
quoted where it may; octets outside ASCII, line ends and long strings go as literals, so that nothing a stranger wrote
can end its string. What is printed is bounded: strings are cut at `STRING_MAX_OCTETS`, and a message whose structure
would still pass `STRUCTURE_MAX_OCTETS` is shown as one part of text.

RFC 3501 7.4.2, RFC 9051 7.5.2
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from mailtraq_py.interfaces.store import ContentFacts
from mailtraq_py.mail.addresslist import Allowance, ListedAddress, parse_addresses
from mailtraq_py.mail.dates import parse_date
from mailtraq_py.mail.entity import Entity, pack, read, read_header
from mailtraq_py.mail.header import (
    ContentType,
    Parameters,
    decode_text,
    message_ids,
    parse_token,
    parse_value,
    unfold,
)
from mailtraq_py.mail.partmap import Kind

from .sections import USUAL_FIELDS

STRING_MAX_OCTETS = 16 * 1024
ADDRESS_FIELD_MAX_OCTETS = 64 * 1024
STRUCTURE_MAX_OCTETS = 1024 * 1024
# Beyond this the usual fields are not kept, and whoever wants them reads the header.
FIELDS_MAX_OCTETS = 64 * 1024

# Longer ones go as literals: clients that read lines have limits of their own.
_QUOTED_MAX_OCTETS = 1000
_PLAIN = re.compile(rb"[ !#-\[\]-~]{0,%d}\Z" % _QUOTED_MAX_OCTETS)
_ESCAPABLE = re.compile(rb"[ -~]{0,%d}\Z" % _QUOTED_MAX_OCTETS)
_SPECIAL = re.compile(rb'(["\\])')

# Each match begins with the line end before it and lacks its own.
_FIELD = re.compile(rb"\n(([A-Za-z][A-Za-z0-9-]*+)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+))")
_ADDRESS_FIELDS = (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc")
# One address, with or without a name, in plain ASCII that is printed as it stands: most fields are no more.
_ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]++"
_ONE_ADDRESS = re.compile(
    rb' ?(?:(?:"([ !#-\[\]-~]*+)" ?|(%b(?: %b)*+) |)(<))?+(%b)@(%b)(?(3)>)\r?\Z' % (_ATOM, _ATOM, _ATOM, _ATOM)
)
_EXTENSION_FIELDS = (b"content-disposition", b"content-language", b"content-location")
_LANGUAGE_TAG = re.compile(rb"[A-Za-z0-9-]{1,64}")

# Headers of parts up to this size are alike in many messages, and what was printed of them is remembered.
_REMEMBERED_OCTETS = 512

Fields = Mapping[bytes, bytes]


class AddressField(NamedTuple):
    """An address field as ENVELOPE has it, and its text, decoded."""

    printed: bytes
    text: str


_NO_ADDRESSES = AddressField(b"NIL", "")


def describe(chunks: Iterable[bytes]) -> ContentFacts:
    """
    Read a message once, in chunks of any size, and say all that is kept of it.

    Never raises for what stands in the message. Memory does not grow with it.
    """
    root, lines = read(chunks)
    kept, fields = usual_fields_of(root.header)
    allowance = Allowance()
    addresses = read_addresses(fields, allowance)
    body, body_structure = print_structure(root, allowance)
    if len(body_structure) > STRUCTURE_MAX_OCTETS:
        root.make_opaque()
        body, body_structure = print_structure(root, allowance)
    sent, sent_day = parse_date(fields.get(b"date", b"")) or (None, None)
    return ContentFacts(
        octets=root.end,
        lines=lines,
        header_octets=root.body_start,
        envelope=print_envelope(fields, addresses),
        body=body,
        body_structure=body_structure,
        parts=pack(root),
        fields=kept if len(kept) <= FIELDS_MAX_OCTETS else b"",
        sent=sent,
        sent_day=sent_day,
        subject=decode_text(fields.get(b"subject", b"")[:STRING_MAX_OCTETS]),
        sender=addresses[b"from"].text,
        to=addresses[b"to"].text,
        cc=addresses[b"cc"].text,
        message_id=_message_ids(fields, b"message-id", 1),
        in_reply_to=_message_ids(fields, b"in-reply-to"),
        references=_message_ids(fields, b"references"),
    )


def usual_fields_of(header: bytes) -> tuple[bytes, Fields]:
    """
    The usual fields of a raw header: their lines in order, and their raw values by lower-case name.

    Of a field that came twice the first counts, but the lists of several address fields are one list.
    """
    lines: list[bytes] = []
    values: dict[bytes, bytes] = {}
    repeated: dict[bytes, list[bytes]] = {}
    for line, name, value in _FIELD.findall(b"\n" + header):
        name = name.lower()
        if name in USUAL_FIELDS:
            lines.append(line)
            if name not in values:
                values[name] = value
            elif name in _ADDRESS_FIELDS:
                repeated.setdefault(name, [values[name]]).append(value)
    for name, (*earlier, last) in repeated.items():
        values[name] = b",".join([*map(bytes.rstrip, earlier), last])
    return (b"\n".join(lines) + b"\n" if lines else b""), values


# --- ENVELOPE --------------------------------------------------------------------------------------------


def print_envelope(fields: Fields, addresses: Mapping[bytes, AddressField]) -> bytes:
    """
    Print ENVELOPE of the raw values of a header's fields, by lower-case name, and of its address fields.

    RFC 9051 7.5.2: NIL for a field that is not there; Sender and Reply-To that are not there or empty are From.
    """
    sender = addresses[b"from"].printed
    own_sender = addresses[b"sender"].printed
    reply_to = addresses[b"reply-to"].printed
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        _unfolded(fields, b"date"),
        _unfolded(fields, b"subject"),
        sender,
        sender if own_sender == b"NIL" else own_sender,
        sender if reply_to == b"NIL" else reply_to,
        addresses[b"to"].printed,
        addresses[b"cc"].printed,
        addresses[b"bcc"].printed,
        _unfolded(fields, b"in-reply-to"),
        _unfolded(fields, b"message-id"),
    )


def read_addresses(fields: Fields, allowance: Allowance) -> Mapping[bytes, AddressField]:
    """All address fields of a header by lower-case name, those that are not there among them."""
    return {
        name: _read_address_field(fields[name], allowance) if name in fields else _NO_ADDRESSES
        for name in _ADDRESS_FIELDS
    }


def _read_address_field(value: bytes, allowance: Allowance) -> AddressField:
    return _read_one_address(value) or _read_address_list(value[:ADDRESS_FIELD_MAX_OCTETS], allowance)


def _read_one_address(value: bytes) -> AddressField | None:
    """What `_read_address_list` gives, for the usual field; None for others."""
    match = _ONE_ADDRESS.match(value)
    if match is None or len(value) > _QUOTED_MAX_OCTETS or b"=?" in value:
        return None
    quoted, phrase, _, local_part, domain = match.groups()
    name = quoted or phrase
    printed = b'(("%b" NIL "%b" "%b"))' if name else b'((NIL NIL "%b" "%b"))'
    words = (name, local_part, domain) if name else (local_part, domain)
    return AddressField(printed % words, value.strip().decode("ascii"))


def _read_address_list(value: bytes, allowance: Allowance) -> AddressField:
    entries = parse_addresses(value, allowance)
    printed = b"(%b)" % b"".join([_print_address(entry) for entry in entries]) if entries else b"NIL"
    return AddressField(printed, decode_text(value))


def _print_address(entry: ListedAddress) -> bytes:
    name, route, local_part, domain = entry
    return b"(%b %b %b %b)" % (nstring(name), nstring(route), nstring(local_part), nstring(domain))


def _unfolded(fields: Fields, name: bytes) -> bytes:
    value = fields.get(name)
    if value is None:
        return b"NIL"
    stripped = value.strip()
    return b'"%b"' % stripped if _PLAIN.match(stripped) else string(unfold(stripped))


# --- BODY and BODYSTRUCTURE ------------------------------------------------------------------------------


def print_structure(root: Entity, allowance: Allowance) -> tuple[bytes, bytes]:
    """
    Print an entity and all below it as BODY and as BODYSTRUCTURE.

    Args:
        root: the entity.
        allowance: what may still be read of addresses, for the envelopes of messages inside.

    RFC 9051 7.5.2: the second has the extension data, which the first must not have.
    """
    if root.kind is Kind.MULTIPART and root.inferiors == len(root.parts):
        return _print_multipart(root, [_print_leaf(part) for part in root.parts])
    printed: dict[int, tuple[bytes, bytes]] = {}
    # Backwards, so that what is below has been printed before.
    for entity in reversed(root.walk()):
        below = [printed.pop(id(part)) for part in entity.parts]
        if entity.kind is Kind.MULTIPART:
            printed[id(entity)] = _print_multipart(entity, below)
        elif entity.kind is Kind.MESSAGE:
            printed[id(entity)] = _print_message(entity, below[0], allowance)
        else:
            printed[id(entity)] = _print_leaf(entity)
    return printed[id(root)]


def _print_multipart(entity: Entity, below: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    # body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart]
    subtype = string(entity.content_type.subtype)
    extension = _print_extension(entity.content_fields)
    return (
        b"(%b %b)" % (b"".join([body for body, _ in below]), subtype),
        b"(%b %b %b %b)"
        % (b"".join([structure for _, structure in below]), subtype, _print_parameters(entity.content_type), extension),
    )


def _print_message(entity: Entity, below: tuple[bytes, bytes], allowance: Allowance) -> tuple[bytes, bytes]:
    # body-type-msg = media-message SP body-fields SP envelope SP body SP body-fld-lines
    described, extension = _print_described(entity)
    _, fields = usual_fields_of(entity.parts[0].header)
    envelope = print_envelope(fields, read_addresses(fields, allowance))
    start = b"(%b %d %b " % (described, entity.body_octets, envelope)
    return (
        b"%b%b %d)" % (start, below[0], entity.lines),
        b"%b%b %d %b)" % (start, below[1], entity.lines, extension),
    )


def _print_leaf(entity: Entity) -> tuple[bytes, bytes]:
    # body-type-text has its lines, body-type-basic ends with its octets.
    described, extension = _print_described(entity)
    if entity.content_type.maintype == b"text":
        start = b"(%b %d %d" % (described, entity.body_octets, entity.lines)
    else:
        start = b"(%b %d" % (described, entity.body_octets)
    return start + b")", b"%b %b)" % (start, extension)


def _print_described(entity: Entity) -> tuple[bytes, bytes]:
    """What a header says of its body: the fields before the octets, and the extension data."""
    if len(entity.header) <= _REMEMBERED_OCTETS:
        return _print_common_header(entity.header, entity.content_type)
    return _print_header(entity.content_fields, entity.content_type)


@lru_cache(maxsize=1024)
def _print_common_header(header: bytes, content_type: ContentType) -> tuple[bytes, bytes]:
    return _print_header(read_header(header)[0], content_type)


def _print_header(fields: Fields, content_type: ContentType) -> tuple[bytes, bytes]:
    return _print_body_fields(fields, content_type), _print_body_extension(fields)


def _print_body_fields(fields: Fields, content_type: ContentType) -> bytes:
    """Type, subtype, parameters, id, description, encoding; what stands before the octets."""
    return b"%b %b %b %b %b %b" % (
        string(content_type.maintype),
        string(content_type.subtype),
        _print_parameters(content_type),
        _unfolded(fields, b"content-id"),
        _unfolded(fields, b"content-description"),
        # body-fld-enc is no nstring; RFC 2045 6.1: 7bit is the default.
        string(parse_token(fields.get(b"content-transfer-encoding", b"")) or b"7bit"),
    )


def _print_body_extension(fields: Fields) -> bytes:
    # body-ext-1part = body-fld-md5 [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc ...]]]
    return b"%b %b" % (_unfolded(fields, b"content-md5"), _print_extension(fields))


def _print_extension(fields: Fields) -> bytes:
    """Disposition, language, location."""
    if fields.keys().isdisjoint(_EXTENSION_FIELDS):
        return b"NIL NIL NIL"
    disposition = fields.get(b"content-disposition")
    shown = parse_value(disposition) if disposition is not None else None
    tags = _LANGUAGE_TAG.findall(unfold(fields.get(b"content-language", b"")[:STRING_MAX_OCTETS]))
    return b"%b %b %b" % (
        b"(%b %b)" % (string(shown[0]), _print_pairs(shown[1])) if shown else b"NIL",
        b"NIL" if not tags else string(tags[0]) if len(tags) == 1 else b"(%b)" % b" ".join(map(string, tags)),
        _unfolded(fields, b"content-location"),
    )


def _print_parameters(content_type: ContentType) -> bytes:
    parameters = content_type.parameters
    if content_type.maintype == b"text" and not content_type.parameter(b"charset"):
        # RFC 2045 5.2: text without a charset is US-ASCII.
        parameters = (*parameters, (b"charset", b"us-ascii"))
    return _print_pairs(parameters)


def _print_pairs(parameters: Parameters) -> bytes:
    if not parameters:
        return b"NIL"
    return b"(%b)" % b" ".join([b"%b %b" % (string(name), string(value)) for name, value in parameters])


# --- strings ---------------------------------------------------------------------------------------------


def nstring(value: bytes | None) -> bytes:
    """A string, or NIL."""
    return b"NIL" if value is None else string(value)


def string(value: bytes) -> bytes:
    """
    Octets as IMAP's string: quoted where all are printable ASCII, else a literal; cut at `STRING_MAX_OCTETS`.

    RFC 9051 4.3: neither form has NUL, which becomes a blank.
    """
    if _PLAIN.match(value):
        return b'"%b"' % value
    if _ESCAPABLE.match(value):
        return b'"%b"' % _SPECIAL.sub(rb"\\\1", value)
    value = value[:STRING_MAX_OCTETS].replace(b"\0", b" ")
    return b"{%d}\r\n%b" % (len(value), value)


def _message_ids(fields: Fields, name: bytes, limit: int | None = None) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    return b" ".join(message_ids(value[:ADDRESS_FIELD_MAX_OCTETS])[:limit]).decode("utf-8", "replace")

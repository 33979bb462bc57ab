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

from mailtraq_py.interfaces.store import ContentFacts
from mailtraq_py.mail.addresslist import ListedAddress, parse_addresses
from mailtraq_py.mail.dates import parse_date
from mailtraq_py.mail.entity import Entity, EntityParser, pack
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

_USUAL_FIELD = re.compile(rb"\n(([!-9;-~]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+))")
_ADDRESS_FIELDS = (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc")
_LANGUAGE_TAG = re.compile(rb"[A-Za-z0-9-]{1,64}")

# Headers of parts and address fields up to this size are alike in many messages, and what was printed of
# them is remembered.
_REMEMBERED_OCTETS = 512

Fields = Mapping[bytes, bytes]


def describe(chunks: Iterable[bytes]) -> ContentFacts:
    """
    Read a message once, in chunks of any size, and say all that is kept of it.

    Never raises for what stands in the message. Memory does not grow with it.
    """
    parser = EntityParser()
    for chunk in chunks:
        parser.feed(chunk)
    root = parser.finish()
    lines, fields = usual_fields_of(root.header)
    body, body_structure = print_structure(root)
    if len(body_structure) > STRUCTURE_MAX_OCTETS:
        root.make_opaque()
        body, body_structure = print_structure(root)
    sent = parse_date(fields.get(b"date", b""))
    return ContentFacts(
        octets=root.end,
        lines=parser.lines,
        header_octets=root.body_start,
        envelope=print_envelope(fields),
        body=body,
        body_structure=body_structure,
        parts=pack(root),
        fields=lines if len(lines) <= FIELDS_MAX_OCTETS else b"",
        sent=sent.seconds if sent else None,
        sent_day=sent.day if sent else None,
        subject=decode_text(fields.get(b"subject", b"")[:STRING_MAX_OCTETS]),
        sender=_addresses(fields, b"from")[1],
        to=_addresses(fields, b"to")[1],
        cc=_addresses(fields, b"cc")[1],
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
    for line, name, value in _USUAL_FIELD.findall(b"\n" + header):
        name = name.lower()
        if name in USUAL_FIELDS:
            lines.append(line)
            if name not in values:
                values[name] = value
            elif name in _ADDRESS_FIELDS:
                values[name] = values[name].rstrip() + b"," + value
    return (b"\n".join(lines) + b"\n" if lines else b""), values


# --- ENVELOPE --------------------------------------------------------------------------------------------


def print_envelope(fields: Fields) -> bytes:
    """
    Print ENVELOPE of the raw values of a header's fields, by lower-case name.

    RFC 9051 7.5.2: NIL for a field that is not there; Sender and Reply-To that are not there or empty are From.
    """
    sender = _addresses(fields, b"from")[0]
    own_sender = _addresses(fields, b"sender")[0]
    reply_to = _addresses(fields, b"reply-to")[0]
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        _unfolded(fields, b"date"),
        _unfolded(fields, b"subject"),
        sender,
        sender if own_sender == b"NIL" else own_sender,
        sender if reply_to == b"NIL" else reply_to,
        _addresses(fields, b"to")[0],
        _addresses(fields, b"cc")[0],
        _addresses(fields, b"bcc")[0],
        _unfolded(fields, b"in-reply-to"),
        _unfolded(fields, b"message-id"),
    )


def _addresses(fields: Fields, name: bytes) -> tuple[bytes, str]:
    """An address field as ENVELOPE has it, and its text."""
    value = fields.get(name)
    if value is None:
        return b"NIL", ""
    if len(value) <= _REMEMBERED_OCTETS:
        return _common_address_list(value)
    return _address_list(value[:ADDRESS_FIELD_MAX_OCTETS])


def _address_list(value: bytes) -> tuple[bytes, str]:
    entries = parse_addresses(value)
    printed = b"(%b)" % b"".join([_print_address(entry) for entry in entries]) if entries else b"NIL"
    return printed, decode_text(value)


_common_address_list = lru_cache(maxsize=4096)(_address_list)


def _print_address(entry: ListedAddress) -> bytes:
    name, route, local_part, domain = entry
    return b"(%b %b %b %b)" % (nstring(name), nstring(route), nstring(local_part), nstring(domain))


def _unfolded(fields: Fields, name: bytes) -> bytes:
    value = fields.get(name)
    return b"NIL" if value is None else string(unfold(value))


# --- BODY and BODYSTRUCTURE ------------------------------------------------------------------------------


def print_structure(root: Entity) -> tuple[bytes, bytes]:
    """
    Print an entity and all below it as BODY and as BODYSTRUCTURE.

    RFC 9051 7.5.2: the second has the extension data, which the first must not have.
    """
    if not root.parts:
        return _print_leaf(root)
    printed: dict[int, tuple[bytes, bytes]] = {}
    # Backwards, so that what is below has been printed before.
    for entity in reversed(list(root.walk())):
        below = [printed.pop(id(part)) for part in entity.parts]
        if entity.kind is Kind.MULTIPART:
            printed[id(entity)] = _print_multipart(entity, below)
        elif entity.kind is Kind.MESSAGE:
            printed[id(entity)] = _print_message(entity, below[0])
        else:
            printed[id(entity)] = _print_leaf(entity)
    return printed[id(root)]


def _print_multipart(entity: Entity, below: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    # body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart]
    subtype = string(entity.content_type.subtype)
    extension = _print_extension(entity.header, entity.content_fields)
    return (
        b"(%b %b)" % (b"".join([body for body, _ in below]), subtype),
        b"(%b %b %b %b)"
        % (b"".join([structure for _, structure in below]), subtype, _print_parameters(entity.content_type), extension),
    )


def _print_message(entity: Entity, below: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    # body-type-msg = media-message SP body-fields SP envelope SP body SP body-fld-lines
    start = b"(%b %d %b " % (
        _print_body_fields(entity.header, entity.content_type, entity.content_fields),
        entity.body_octets,
        print_envelope(usual_fields_of(entity.parts[0].header)[1]),
    )
    extension = _print_body_extension(entity)
    return (
        b"%b%b %d)" % (start, below[0], entity.lines),
        b"%b%b %d %b)" % (start, below[1], entity.lines, extension),
    )


def _print_leaf(entity: Entity) -> tuple[bytes, bytes]:
    # body-type-text has its lines, body-type-basic ends with its octets.
    content_type = entity.content_type
    start = b"(%b %d" % (_print_body_fields(entity.header, content_type, entity.content_fields), entity.body_octets)
    if content_type.maintype == b"text":
        start = b"%b %d" % (start, entity.lines)
    return start + b")", b"%b %b)" % (start, _print_body_extension(entity))


def _print_body_fields(header: bytes, content_type: ContentType, fields: Fields) -> bytes:
    """Type, subtype, parameters, id, description, encoding; what stands before the octets."""
    values = (
        content_type,
        fields.get(b"content-id"),
        fields.get(b"content-description"),
        fields.get(b"content-transfer-encoding"),
    )
    return _common_body_fields(*values) if len(header) <= _REMEMBERED_OCTETS else _body_fields(*values)


def _body_fields(
    content_type: ContentType, content_id: bytes | None, description: bytes | None, encoding: bytes | None
) -> bytes:
    return b"%b %b %b %b %b %b" % (
        string(content_type.maintype),
        string(content_type.subtype),
        _print_parameters(content_type),
        nstring(None if content_id is None else unfold(content_id)),
        nstring(None if description is None else unfold(description)),
        # body-fld-enc is no nstring; RFC 2045 6.1: 7bit is the default.
        string(parse_token(encoding or b"") or b"7bit"),
    )


_common_body_fields = lru_cache(maxsize=1024)(_body_fields)


def _print_body_extension(entity: Entity) -> bytes:
    # body-ext-1part = body-fld-md5 [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc ...]]]
    digest = entity.content_fields.get(b"content-md5")
    md5 = b"NIL" if digest is None else string(unfold(digest))
    return b"%b %b" % (md5, _print_extension(entity.header, entity.content_fields))


def _print_extension(header: bytes, fields: Fields) -> bytes:
    """Disposition, language, location."""
    values = (
        fields.get(b"content-disposition"),
        fields.get(b"content-language"),
        fields.get(b"content-location"),
    )
    if values == (None, None, None):
        return b"NIL NIL NIL"
    return _common_extension(*values) if len(header) <= _REMEMBERED_OCTETS else _extension(*values)


def _extension(disposition: bytes | None, language: bytes | None, location: bytes | None) -> bytes:
    shown = parse_value(disposition) if disposition is not None else None
    tags = _LANGUAGE_TAG.findall(unfold(language[:STRING_MAX_OCTETS])) if language is not None else []
    return b"%b %b %b" % (
        b"(%b %b)" % (string(shown[0]), _print_pairs(shown[1])) if shown else b"NIL",
        b"NIL" if not tags else string(tags[0]) if len(tags) == 1 else b"(%b)" % b" ".join(map(string, tags)),
        nstring(None if location is None else unfold(location)),
    )


_common_extension = lru_cache(maxsize=1024)(_extension)


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
    return b" ".join(message_ids(unfold(value[:ADDRESS_FIELD_MAX_OCTETS]))[:limit]).decode("utf-8", "replace")

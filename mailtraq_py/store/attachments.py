"""
The text of attachments for the full-text index: office files (ZIP and XML), PDF where `pypdf` is installed.

What a stranger sent is read in a forked child with little memory and time, so whatever it does to a parser ends there.
Of the rest only its form is looked at: entries are read up to a limit, whatever their directory says of their sizes.
"""

from __future__ import annotations

import io
import os
import re
import resource
import select
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape

from mailtraq_py.mail.entity import read_header
from mailtraq_py.mail.header import parameter_text, parse_token, parse_value
from mailtraq_py.mail.partmap import Kind, Part, unpack
from mailtraq_py.mail.text import BREAK, Read, part_octets

_ENTRIES_MAX = 2000
_MEMORY_OCTETS = 512 * 1024 * 1024

_OFFICE = {
    "docx": re.compile(r"word/(?:document|header\d*|footer\d*|footnotes|endnotes|comments)\.xml"),
    "xlsx": re.compile(r"xl/(?:sharedStrings|worksheets/sheet\d+)\.xml"),
    "pptx": re.compile(r"ppt/(?:slides|notesSlides)/[A-Za-z]+\d+\.xml"),
    **dict.fromkeys(("odt", "ods", "odp"), re.compile(r"content\.xml")),
}
_SUBTYPES = {
    b"pdf": "pdf",
    b"vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    b"vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    b"vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    b"vnd.oasis.opendocument.text": "odt",
    b"vnd.oasis.opendocument.spreadsheet": "ods",
    b"vnd.oasis.opendocument.presentation": "odp",
}

# Elements that end a paragraph, a cell or a line; others part no words.
_BREAKING = re.compile(r"</?(?:w:p|w:br|w:tab|a:p|a:br|si|row|c|v|text:[phs]|text:tab|text:line-break)\b[^<>]*>")
_ELEMENT = re.compile(r"<[^<>]*>")
_DECLARED = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AttachmentLimits:
    """
    How much is done for attachments: of a message, and for each. What is larger is not read; what takes longer is
    given up, and of a long text the beginning is taken.
    """

    is_wanted: bool = True
    max_octets: int = 32 * 1024 * 1024
    max_text_octets: int = 1024 * 1024
    seconds: float = 20.0


class AttachmentText:
    """Reads the text of attachments, within limits."""

    def __init__(self, limits: AttachmentLimits) -> None:
        self._limits = limits

    def read(self, read: Read, parts: bytes, header_octets: int, octets: int) -> str:
        """
        The texts of a message's attachments, "" where there are none.

        Args:
            read, parts, header_octets, octets: as of `mail.text.body_texts`.
        """
        if not self._limits.is_wanted:
            return ""
        texts = [self._text(kind, whole) for kind, whole in self._attachments(read, parts, header_octets, octets)]
        return BREAK.join(filter(None, texts))[: self._limits.max_text_octets]

    def _attachments(self, read: Read, parts: bytes, header_octets: int, octets: int) -> Iterator[tuple[str, bytes]]:
        """Kind and octets of each attachment that may have a text."""
        for part in unpack(parts, header_octets, octets):
            if part.kind is not Kind.LEAF or not 0 < part.end - part.body_start <= self._limits.max_octets * 4 // 3:
                continue
            kind, encoding = _kind(read, part)
            if kind:
                whole = b"".join(part_octets(read, part, encoding))
                if len(whole) <= self._limits.max_octets:
                    yield kind, whole

    def _text(self, kind: str, whole: bytes) -> str:
        most = self._limits.max_text_octets
        reading = (lambda: _pdf_text(whole, most)) if kind == "pdf" else (lambda: _office_text(kind, whole, most))
        return in_child(reading, most, self._limits.seconds).decode("utf-8", "replace")


def in_child(work: Callable[[], Iterator[str]], most_octets: int, seconds: float) -> bytes:
    """
    What a generator of texts gives in a forked child, cut at a length; after `seconds` the child is killed, and what it
    gave until then is the answer. The caller must have no other thread.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_child(work, writing, seconds)
    os.close(writing)
    try:
        return _gather(reading, most_octets, time.monotonic() + seconds)
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _be_child(work: Callable[[], Iterator[str]], writing: int, seconds: float) -> None:
    """Never returns, whatever happens: above us is the parent's program."""
    try:
        most = _address_space_octets() + _MEMORY_OCTETS
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open(os.devnull, "r+b", buffering=0) as nothing:
            for descriptor in (0, 1, 2):
                os.dup2(nothing.fileno(), descriptor)
        with open(writing, "wb", buffering=0) as pipe:
            for text in work():
                pipe.write(text.encode("utf-8", "replace"))
    finally:
        os._exit(0)


def _address_space_octets() -> int:
    """What this process, a copy of its parent, has already."""
    with open("/proc/self/statm", "rb", buffering=0) as sizes:
        return int(sizes.read().split()[0]) * resource.getpagesize()


def _gather(reading: int, most_octets: int, deadline: float) -> bytes:
    pieces: list[bytes] = []
    left = most_octets
    while left > 0:
        ready, _, _ = select.select([reading], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(reading, min(left, 65536)) if ready else b""
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _kind(read: Read, part: Part) -> tuple[str, bytes]:
    """What an attachment is, "" for what has no text that can be read, and its transfer encoding."""
    content_fields, content_type = read_header(read(part.start, part.body_start - part.start))
    if content_type is None or content_type.maintype != b"application":
        return "", b""
    kind = _SUBTYPES.get(content_type.subtype, "")
    if not kind and content_type.subtype in (b"octet-stream", b"x-pdf", b"zip"):
        disposition = parse_value(content_fields.get(b"content-disposition", b""))
        name = parameter_text(disposition[1], b"filename") if disposition else ""
        name = name or parameter_text(content_type.parameters, b"name")
        extension = name.lower().rpartition(".")[2]
        kind = extension if extension == "pdf" or extension in _OFFICE else ""
    return kind, parse_token(content_fields.get(b"content-transfer-encoding", b""))


def _office_text(kind: str, whole: bytes, most_octets: int) -> Iterator[str]:
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        for name in sorted(archive.namelist()[:_ENTRIES_MAX]):
            if _OFFICE[kind].fullmatch(name):
                with archive.open(name) as entry:
                    # Markup is several times its text, which is cut where it is gathered.
                    yield _element_text(entry.read(most_octets * 16))


def _element_text(xml: bytes) -> str:
    """The text of an XML document, which is UTF-8 in office files. Entities of its own are not looked at."""
    if _DECLARED.search(xml):
        return ""
    text = _ELEMENT.sub("", _BREAKING.sub("\n", xml.decode("utf-8", "replace")))
    return unescape(text) + "\n"


def _pdf_text(whole: bytes, most_octets: int) -> Iterator[str]:
    try:
        import pypdf
    except ImportError:
        return
    length = 0
    for page in pypdf.PdfReader(io.BytesIO(whole)).pages:
        text = page.extract_text() + "\n"
        yield text
        length += len(text)
        if length > most_octets:
            return

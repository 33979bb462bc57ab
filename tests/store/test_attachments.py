"""
The text of attachments: of office files and PDF, and of files made to hurt their reader.
"""

from __future__ import annotations

import base64
import io
import os
import signal
import time
import zipfile
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.search import Contains, TextField
from mailtraq_py.store.attachments import AttachmentLimits, AttachmentText, in_child
from mailtraq_py.wire.imap.structure import describe

from .test_indexing import IndexCase

WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def office(entries: dict[str, str]) -> bytes:
    """A ZIP file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries.items():
            archive.writestr(name, text)
    return file.getvalue()


def pdf(text: str) -> bytes:
    """A PDF file of one page."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
    objects = (
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        f"<</Length {len(stream)}>>stream\n{stream}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )
    out, places = "%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj{each}endobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size, start = len(objects) + 1, len(out)
    out += f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer<</Size {size}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF"
    return out.encode()


def mail(kind: str, octets: bytes, name: str = "x") -> bytes:
    """A message with one attachment."""
    return (
        b"Subject: with it\r\nContent-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\n\r\nsee there\r\n--q\r\n"
        + f'Content-Type: {kind}\r\nContent-Disposition: attachment; filename="{name}"\r\n'.encode()
        + b"Content-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(octets).replace(b"\n", b"\r\n")
        + b"--q--\r\n"
    )


def text_of(message: bytes, limits: AttachmentLimits = AttachmentLimits()) -> str:  # noqa: B008 - frozen
    """What is read of a message."""
    facts = describe([message])

    def read(offset: int, length: int) -> bytes:
        return message[offset : offset + length]

    return AttachmentText(limits).read(read, facts.parts, facts.header_octets, facts.octets)


class AttachmentTests(SynchronousTestCase):
    """By kind, and by limit."""

    def test_kinds(self) -> None:
        """Paragraphs and cells are parted, words are not; other entries of the archive are not read."""
        document = "<w:document><w:p><w:r>Gr\u00fc</w:r><w:r>\u00dfe &amp; so</w:r></w:p><w:p>two</w:p></w:document>"
        self.assertEqual(
            "\nGrüße & so\n\ntwo\n\n",
            text_of(mail(WORD, office({"word/document.xml": document, "word/styles.xml": "<a>style</a>"}))),
        )
        sheet = "<sst><si><t>left</t></si><si><t>right</t></si></sst>"
        self.assertEqual(
            ["left", "right"],
            text_of(mail("application/octet-stream", office({"xl/sharedStrings.xml": sheet}), "a.xlsx")).split(),
        )
        slide = "<p:sld><a:p><a:r><a:t>title</a:t></a:r></a:p></p:sld>"
        self.assertIn("title", text_of(mail("application/zip", office({"ppt/slides/slide1.xml": slide}), "a.PPTX")))
        odt = "<office:text><text:p>first<text:span>ly</text:span></text:p></office:text>"
        self.assertIn("firstly", text_of(mail("application/vnd.oasis.opendocument.text", office({"content.xml": odt}))))

    def test_pdf(self) -> None:
        """PDF, which needs pypdf."""
        self.assertEqual("Invoice 4711", text_of(mail("application/pdf", pdf("Invoice 4711"))).strip())

    def test_nothing(self) -> None:
        """What has no text, is broken, or is not wanted."""
        whole = office({"word/document.xml": "<w:p>x</w:p>"})
        self.assertEqual("", text_of(mail("image/png", whole)))
        self.assertEqual("", text_of(mail("application/octet-stream", whole, "x.bin")))
        self.assertEqual("", text_of(mail(WORD, whole[:50])))
        self.assertEqual("", text_of(mail("application/pdf", b"%PDF-1.4 and then nothing of the kind")))
        self.assertEqual("", text_of(mail(WORD, b"")))
        self.assertEqual("", text_of(b"Subject: x\r\n\r\nbody\r\n"))
        self.assertEqual("", text_of(mail(WORD, whole), AttachmentLimits(is_wanted=False)))
        self.assertEqual("", text_of(mail(WORD, whole), AttachmentLimits(max_octets=10)))

    def test_bombs(self) -> None:
        """An archive that unpacks to very much is read to a limit; entities of its own are not looked at."""
        bomb = office({"word/document.xml": "<w:p>" + "lorem " * 5_000_000})
        self.assertLess(len(bomb), 100_000)
        self.assertEqual(5000, len(text_of(mail(WORD, bomb), AttachmentLimits(max_text_octets=5000))))
        laughs = '<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;">]><w:p>&b;</w:p>'
        self.assertEqual("", text_of(mail(WORD, office({"word/document.xml": laughs}))))

    def test_child(self) -> None:
        """A reader that does not end is killed, and so is one that wants all memory; what they said before is kept."""

        def slow() -> Iterator[str]:
            yield "said"
            time.sleep(60)

        def greedy() -> Iterator[str]:
            yield "said"
            yield str(len(bytearray(1 << 40)))

        def loud() -> Iterator[str]:
            while True:
                yield "x" * 10_000

        def dying() -> Iterator[str]:
            yield "said"
            os.kill(os.getpid(), signal.SIGKILL)

        started = time.monotonic()
        self.assertEqual(b"said", in_child(slow, 100, 0.3))
        self.assertEqual(b"said", in_child(greedy, 100, 5.0))
        self.assertEqual(b"x" * 100, in_child(loud, 100, 5.0))
        self.assertEqual(b"said", in_child(dying, 100, 5.0))
        self.assertLess(time.monotonic() - started, 5.0)


class SearchTests(IndexCase):
    """Attachments in SEARCH."""

    def test_found(self) -> None:
        """TEXT and BODY find it once it is indexed, by any piece of it and without regard to case; SUBJECT does not."""
        document = "<w:p>The QUICK brown straße</w:p>"
        self.append(mail(WORD, office({"word/document.xml": document})), b"Subject: x\r\n\r\nquick\r\n")
        self.index()
        for wanted, found in (("quick", [1, 2]), ("uick Brow", [1]), ("STRASSE", [1]), ("quick red", []), ("w:p", [])):
            for field in (TextField.TEXT, TextField.BODY):
                self.assertEqual(found, self.search(Contains(field, wanted)), (field, wanted))
        self.assertEqual([], self.search(Contains(TextField.SUBJECT, "quick")))

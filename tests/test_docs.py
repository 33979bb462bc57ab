"""
What the docs name exists, and RFC references have the one form.
"""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
PATH = re.compile(
    r"(?<![\w/])(?:mailtraq_py|tests|benchmarks|docs|etc|twisted/plugins)"
    r"/[\w/.-]+\.(?:py|md|toml|json|txt|sql|sh)\b"
)
LINK = re.compile(r"\]\(([^)#:]+)\)")
RFC = re.compile(r"\bRFC[- ]?[0-9]{3,5}(?: ?(?:§|section|sec\.|, section))?", re.IGNORECASE)
# `RFC822.SIZE`, `message/rfc822` are names of the protocol, not references.
RFC_FORM = re.compile(r"RFC [0-9]{3,5}|[Rr][Ff][Cc]822")


def documents() -> list[Path]:
    """README and all of docs/."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


class Documents(SynchronousTestCase):
    """docs/, README."""

    def test_named_files_exist(self) -> None:
        """Every path of ours that a document names is there."""
        missing = [
            f"{document.relative_to(ROOT)}: {path}"
            for document in documents()
            for path in PATH.findall(document.read_text())
            if not (ROOT / path).exists()
        ]
        self.assertEqual(missing, [])

    def test_links_lead_somewhere(self) -> None:
        """Every relative link between documents leads to a file or folder."""
        missing = [
            f"{document.relative_to(ROOT)}: {link}"
            for document in documents()
            for link in LINK.findall(document.read_text())
            if not (document.parent / link).exists()
        ]
        self.assertEqual(missing, [])

    def test_rfc_references_have_one_form(self) -> None:
        """`RFC 9051 6.4.5`: no hyphen, no section sign, no small letters, in code and documents."""
        sources = [*documents(), *sorted((ROOT / "mailtraq_py").rglob("*.py"))]
        wrong = [
            f"{source.relative_to(ROOT)}: {found.group()}"
            for source in sources
            for found in RFC.finditer(source.read_text())
            if not RFC_FORM.fullmatch(found.group())
        ]
        self.assertEqual(wrong, [])

"""
What delivery is configured by.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailtraq_py.mail.address import Address


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """`[journal]`; None copies nothing."""

    copy_inbound: Address | None = None
    copy_outbound: Address | None = None

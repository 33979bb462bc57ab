"""
A resolver for decisions that are made without the DNS: about a configuration, or about the past.
"""

from __future__ import annotations

from zope.interface import implementer

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.net import IResolver


@implementer(IResolver)
class NoAnswers:
    """A resolver that reaches no nameserver."""

    async def mx(self, domain: str) -> list[tuple[int, str]]:
        """No answer."""
        raise TemporaryFailure("the DNS is not asked")

    async def addresses(self, host: str) -> list[str]:
        """No answer."""
        raise TemporaryFailure("the DNS is not asked")

    async def txt(self, name: str) -> list[bytes]:
        """No answer."""
        raise TemporaryFailure("the DNS is not asked")

    async def pointers(self, address: str) -> list[str]:
        """No answer."""
        raise TemporaryFailure("the DNS is not asked")

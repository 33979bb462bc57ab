"""
What a directory tells without passwords: domains, accounts, and what a forward-path leads to.

Every question is a few point reads, 2 to 5 microseconds each, of what is committed now.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, TypeVar

from mailtraq_py.interfaces.directory import Account, CramSecret, Destination, MailboxLists, RecipientRules
from mailtraq_py.mail.envelope import ForwardPath

from .resolution import Names, Pause

Read = Callable[..., Any]
"""As `Database.read`."""

_NO_LISTS = MailboxLists()
_ACCOUNTS_LISTED_MAX = 1000
_Lookup = TypeVar("_Lookup", bound="Lookup")


async def no_pause() -> None:
    """Wait for nothing."""


def lists_of(read: Read, account: Account) -> MailboxLists:
    """The black and white lists of an account."""
    options, entries = read("find_account_lists", account.id) if account.lists_number else (None, ())
    if options is None:
        return _NO_LISTS
    white = tuple(pattern for colour, pattern in entries if colour == "white")
    black = tuple(pattern for colour, pattern in entries if colour == "black")
    return MailboxLists(white, black, bool(options[0]), bool(options[1]), options[2])


class Lookup:
    """
    The part of `IDirectory` that is about addresses.

    Args:
        read: of the main database.
        pause: lets others have their turn while a long list is resolved.
    """

    def __init__(self, read: Read, pause: Pause = no_pause) -> None:
        self._read = read
        self._names = Names(read, RecipientRules(), pause)

    @property
    def rules(self) -> RecipientRules:
        """What the configuration says of recipients; set as one when it changes."""
        return self._names.rules

    @rules.setter
    def rules(self, rules: RecipientRules) -> None:
        self._names = Names(self._read, rules, self._names.pause)

    def with_rules(self: _Lookup, rules: RecipientRules) -> _Lookup:
        """The same directory under other rules; this one keeps its own. The other one waits for nothing."""
        other = copy(self)
        other._names = Names(self._read, rules, no_pause)
        return other

    def some_account(self) -> tuple[str, ...]:
        """The address of one account, of a domain that is not too large to be listed; () where there is none."""
        for domain, _, count in self._read("list_domains"):
            if 0 < count <= _ACCOUNTS_LISTED_MAX:
                return (self._read("list_accounts", domain)[0][1],)
        return ()

    async def is_local_domain(self, domain: str) -> bool:
        """See `IDirectory`."""
        return self._read("find_domain", domain) is not None

    async def find_account(self, address: str) -> Account | None:
        """See `IDirectory`."""
        local_part, _, domain = address.rpartition("@")
        row = self._read("find_domain", domain)
        return self._names.account(row[0], local_part) if row else None

    async def resolve(self, path: ForwardPath) -> Destination:
        """See `IDirectory`."""
        return await self._names.resolve(path)

    async def mailbox_lists(self, account: Account) -> MailboxLists:
        """See `IDirectory`."""
        return lists_of(self._read, account)

    async def has_room(self, account: Account) -> bool:
        """See `IDirectory`."""
        if account.quota_octets is None and account.quota_messages is None:
            return True
        octets, messages = self._read("account_usage", account.id)
        return (account.quota_octets is None or octets < account.quota_octets) and (
            account.quota_messages is None or messages < account.quota_messages
        )


class NobodyLogsIn:
    """The part of `IDirectory` that is about passwords, where there are none."""

    async def verify_password(self, login: str, password: bytes, client: str) -> Account | None:
        """Nobody logs in."""
        return None

    async def find_cram_secret(self, login: str) -> CramSecret | None:
        """None."""
        return None

    async def offers_cram_md5(self) -> bool:
        """No."""
        return False

"""
RECIPIENT, after the server's own lists: the black and white lists that accounts keep for themselves.

    white, or a sender of our domains where those are white    delivered
    black, or nobody but white ones may write                  filed in the account's folder, or refused
    else                                                       delivered

A recipient that leads to several accounts is refused when all of them refuse; else those that do get no copy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from zope.interface import implementer

from mailtraq_py.interfaces.directory import Account, Destination, Expansion, IDirectory, LocalMailbox, Remote
from mailtraq_py.interfaces.policy import Facts, ICheck, Opinion, Verdict
from mailtraq_py.mail.envelope import NULL_PATH, ReversePath
from mailtraq_py.mail.reply import Reply

from .addresslist import AddressList, parse_patterns
from .problems import Problems
from .settings import entries

REFUSED = Reply(550, "The recipient takes no mail from you", "5.7.1")

_COMPILED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class _Compiled:
    white: AddressList
    black: AddressList
    black_everyone: bool
    white_local_domains: bool
    black_folder: str


@implementer(ICheck)
class MailboxListsCheck:
    """
    Args:
        directory: knows the lists; asked once for each state of an account's.
    """

    name = "mailbox_lists"
    can_permit = False

    def __init__(self, directory: IDirectory) -> None:
        self._directory = directory
        self._compiled: dict[tuple[int, int], _Compiled] = {}

    async def ask(self, facts: Facts) -> Verdict | None:
        """Refuse, lead elsewhere, or say nothing."""
        destination = facts.destination
        if isinstance(destination, LocalMailbox):
            if not destination.account.lists_number:
                return None
            members: tuple[LocalMailbox | Remote, ...] = (destination,)
        elif isinstance(destination, Expansion):
            members = destination.members
        else:
            return None
        kept, told = await self._settle(members, facts.reverse_path or NULL_PATH)
        if not told:
            return None
        reason = "; ".join(told)
        if not kept:
            return Verdict(Opinion.REFUSE, self.name, reason, REFUSED)
        changed: Destination = kept[0]
        if isinstance(destination, Expansion):
            changed = replace(destination, members=tuple(kept))
        return Verdict(Opinion.PERMIT, self.name, reason, destination=changed)

    async def _settle(
        self, members: tuple[LocalMailbox | Remote, ...], path: ReversePath
    ) -> tuple[list[LocalMailbox | Remote], list[str]]:
        """Who gets a copy and where, and what is to be told of the others."""
        kept: list[LocalMailbox | Remote] = []
        told: list[str] = []
        for member in members:
            if isinstance(member, Remote) or not member.account.lists_number:
                kept.append(member)
                continue
            lists = await self._lists(member.account)
            entry = await self._black_entry(lists, path)
            if not entry:
                kept.append(member)
            elif lists.black_folder:
                kept.append(LocalMailbox(member.account, lists.black_folder))
                told.append(f"{entry} of {member.account.address}, filed in {lists.black_folder}")
            else:
                told.append(f"{entry} of {member.account.address}")
        return kept, told

    async def _black_entry(self, lists: _Compiled, path: ReversePath) -> str:
        """What makes a sender black, "" where nothing does."""
        if lists.white.matches(path.key):
            return ""
        found = lists.black.find(path.key)
        if not lists.black_everyone and found is None:
            return ""
        if lists.white_local_domains and path.domain_key and await self._directory.is_local_domain(path.domain_key):
            return ""
        return f"black list entry {found}" if found is not None else "black list for everyone"

    async def _lists(self, account: Account) -> _Compiled:
        key = (account.id, account.lists_number)
        compiled = self._compiled.get(key)
        if compiled is None:
            if len(self._compiled) >= _COMPILED_MAX:
                self._compiled.clear()
            lists = await self._directory.mailbox_lists(account)
            white, black = (parse_patterns(entries(texts), "", Problems()) for texts in (lists.white, lists.black))
            compiled = _Compiled(white, black, lists.black_everyone, lists.white_local_domains, lists.black_folder)
            self._compiled[key] = compiled
        return compiled

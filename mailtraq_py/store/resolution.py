"""
What an address leads to: one step (`Names.find`), and all steps from an alias or list to its end (`Names.resolve`).

One step, in this order:

    domain maps             another domain, or one address; again, at most MAP_ROUNDS_MAX times
    not a domain of ours    it leaves; backup domains leave as mapped ones
    account
    alias
    list, NAME-owner        the owner of a list gets what comes back of its mail (RFC 5321 3.9.2)
    sub-address             account, alias or list of `user` in `user+folder`, the longest `user`s first
    alias file              its first rule that matches, for the whole local part or any `user`
    catch-all               of the domain (alias "*"), then of the server

Rings lead nowhere. The rights of a list hold for aliases that lead to it too, not for lists it is a member of: who may
write to the outer list may write to all on it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mailtraq_py.interfaces.directory import (
    Account,
    Destination,
    Expansion,
    LocalMailbox,
    RecipientRules,
    Remote,
    UnknownUser,
)
from mailtraq_py.mail.address import Address, fold_local_part, parse_address
from mailtraq_py.mail.envelope import ForwardPath

from .sql.accounts import ACCOUNT_COLUMNS
from .sql.rows import Row

CATCH_ALL = "*"
OWNER = "-owner"
POSTMASTER = "postmaster"
ALIAS_DEPTH_MAX = 10
ALIAS_MEMBERS_MAX = 10_000
MAP_ROUNDS_MAX = 200
SPLITS_MAX = 8
STEPS_AT_ONCE = 100

_MEMBERS = "members"
_INSIDERS = "insiders"
_RING = UnknownUser("ring of aliases")
_MAPS = UnknownUser("domain maps go round")
_NOWHERE = UnknownUser("alias leads nowhere")
_DISABLED = UnknownUser("disabled")


def account_of(row: Row) -> Account:
    """The account that a row of `sql/accounts.py` describes."""
    number, address, domain, state, relay, credential_number, octets, messages, lists_number = row[:ACCOUNT_COLUMNS]
    return Account(
        number, address, domain, state == "enabled", bool(relay), credential_number, octets, messages, lists_number
    )


@dataclass(frozen=True, slots=True)
class Group:
    """
    An alias, list or rule that stands for others.

    `key` is what it is known by while rings are looked for; targets without a domain belong to `domain`. `posting` is
    who may write to a list, "" for what is none; `owner` its reverse-path.
    """

    key: object
    name: str
    domain: str
    targets: Sequence[str]
    posting: str = ""
    owner: Address | None = None


Pause = Callable[[], Awaitable[None]]
Found = LocalMailbox | Group | Remote | UnknownUser


class Names:
    """
    Args:
        read: asks the main database (`Database.read`).
        rules: what the configuration says.
        pause: lets others have their turn, every STEPS_AT_ONCE of a long list.
    """

    __slots__ = ("_read", "pause", "rules")

    def __init__(self, read: Callable[..., Any], rules: RecipientRules, pause: Pause) -> None:
        self._read = read
        self.pause = pause
        self.rules = rules

    async def resolve(self, path: ForwardPath) -> Destination:
        """Where a forward-path leads in the end."""
        rewriting = self.rules.rewriting
        found = self.find(rewriting.rewrite(path.address) if rewriting else path.address)
        if isinstance(found, LocalMailbox):
            return found if found.account.enabled else _DISABLED
        return await _Walk(self).expand(found) if isinstance(found, Group) else found

    def find(self, address: Address) -> Found:
        """Where an address leads in one step."""
        mapped = False
        domain = address.domain_key
        if self.rules.maps:
            for _ in range(MAP_ROUNDS_MAX):
                target = self.rules.maps.find(domain)
                if target is None:
                    break
                mapped = True
                address = Address(address.local_part, target) if isinstance(target, str) else target
                domain = address.domain_key
            else:
                return _MAPS
        hosted = self._read("find_domain", domain)
        if hosted is None:
            return Remote(ForwardPath(address), mapped or self.rules.backup.find(domain) is not None)
        return self._find_here(hosted[0], hosted[1], domain, address.local_part)

    def account(self, domain_id: int, local_part: str) -> Account | None:
        """The account with this folded local part."""
        row = self._read("find_account", domain_id, local_part)
        return account_of(row) if row else None

    def _find_here(self, domain_id: int, domain: str, written_domain: str, local_part: str) -> Found:
        folded = fold_local_part(local_part)
        found = self._find_named(domain_id, domain, folded)
        if found is not None:
            return found
        users = [folded]
        for user, folder in self._splits(local_part):
            found = self._find_named(domain_id, domain, user)
            if isinstance(found, LocalMailbox):
                return LocalMailbox(found.account, folder)
            if found is not None:
                return found
            users.append(user)
        if self.rules.aliases:
            targets = self.rules.aliases.find(users, (written_domain, domain))
            if targets is not None:
                return Group((written_domain, folded), f"{folded}@{written_domain}", written_domain, targets)
        targets = self._read("find_alias", domain_id, CATCH_ALL)
        if targets:
            return Group((domain_id, CATCH_ALL), f"{CATCH_ALL}@{domain}", domain, targets)
        if self.rules.catch_all is not None:
            return Group(CATCH_ALL, "catch-all", domain, (str(self.rules.catch_all),))
        return UnknownUser()

    def _find_named(self, domain_id: int, domain: str, folded: str) -> LocalMailbox | Group | None:
        """An account, alias, list, or a list's owner."""
        account = self.account(domain_id, folded)
        if account is not None:
            return LocalMailbox(account)
        key, name = (domain_id, folded), f"{folded}@{domain}"
        targets = self._read("find_alias", domain_id, folded)
        if targets:
            return Group(key, name, domain, targets)
        row = self._read("find_list", domain_id, folded)
        if row is not None:
            return Group(
                key, name, domain, self._read("list_members", row[0]), row[2], Address(folded + OWNER, domain)
            )
        if folded.endswith(OWNER):
            row = self._read("find_list", domain_id, folded.removesuffix(OWNER))
            if row is not None:
                return Group(key, name, domain, (row[1] or POSTMASTER,))
        return None

    def _splits(self, local_part: str) -> Iterator[tuple[str, str]]:
        """(folded user, folder) of a sub-address, the longest users first."""
        places = [place for place, sign in enumerate(local_part) if place and sign in self.rules.delimiters]
        for place in reversed(places[-SPLITS_MAX:]):
            yield fold_local_part(local_part[:place]), local_part[place + 1 :]


@dataclass(slots=True)
class _Walk:
    """The way through aliases and lists: what is being expanded, what was, who was reached."""

    names: Names
    open: set[object] = field(default_factory=set)
    done: set[object] = field(default_factory=set)
    members: dict[object, LocalMailbox | Remote] = field(default_factory=dict)
    ring: UnknownUser | None = None
    owner: Address | None = None
    posters: set[str] | None = None
    hidden: bool = False
    steps: int = 0

    async def expand(self, group: Group) -> Destination:
        """All members, once each; nobody where a ring was found or nobody reached."""
        await self._add_all(group, 0, False)
        if self.ring is not None:
            return self.ring
        if not self.members:
            return _NOWHERE
        posters = None if self.posters is None else frozenset(self.posters | self._reached())
        return Expansion(tuple(self.members.values()), group.name, self.owner, posters, self.hidden)

    def _reached(self) -> set[str]:
        return {
            member.account.address if isinstance(member, LocalMailbox) else member.path.key
            for member in self.members.values()
        }

    async def _add_all(self, group: Group, depth: int, inside_list: bool) -> None:
        if group.key in self.open or depth > ALIAS_DEPTH_MAX:
            self.ring = _RING
            return
        if group.key in self.done:
            return
        if group.posting and not inside_list:
            self._note_rights(group)
        self.open.add(group.key)
        for target in group.targets:
            if self.ring is not None or len(self.members) >= ALIAS_MEMBERS_MAX:
                break
            self.steps += 1
            if self.steps % STEPS_AT_ONCE == 0:
                await self.names.pause()
            address = parse_address(target if "@" in target else f"{target}@{group.domain}")
            await self._add(self.names.find(address), depth, inside_list or bool(group.posting))
        self.open.discard(group.key)
        self.done.add(group.key)

    async def _add(self, found: Found, depth: int, inside_list: bool) -> None:
        if isinstance(found, Group):
            await self._add_all(found, depth + 1, inside_list)
        elif isinstance(found, Remote):
            self.members.setdefault(found.path.key, found)
        elif isinstance(found, LocalMailbox) and found.account.enabled:
            self.members.setdefault((found.account.id, found.folder), found)

    def _note_rights(self, group: Group) -> None:
        if self.owner is None:
            self.owner = group.owner
        if group.posting == _INSIDERS:
            self.hidden = True
        elif group.posting == _MEMBERS:
            self.posters = (self.posters or set()) | {parse_address(target).key for target in group.targets}

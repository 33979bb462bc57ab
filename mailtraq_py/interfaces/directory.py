"""
Who we host: domains, accounts, aliases, and what a forward-path leads to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from zope.interface import Interface

from mailtraq_py.mail.address import Address
from mailtraq_py.mail.addresspattern import Rewriting
from mailtraq_py.mail.aliasfile import AliasTable
from mailtraq_py.mail.domaintable import DomainTable
from mailtraq_py.mail.envelope import ForwardPath


@dataclass(frozen=True, slots=True)
class Account:
    """
    An account as policy sees it. `address` is its main address, folded; `relay` the privilege to send to
    the world; `credential_number` rises when password, state or privileges change, so that what was
    granted earlier can be told from what holds now. `quota_octets` and `quota_messages` are None
    where unlimited. `lists_number` is 0 where the account has no black and white lists, and another one after each
    change of them.
    """

    id: int
    address: str
    domain: str
    enabled: bool = True
    relay: bool = True
    credential_number: int = 0
    quota_octets: int | None = None
    quota_messages: int | None = None
    lists_number: int = 0


@dataclass(frozen=True, slots=True)
class MailboxLists:
    """
    An account's own black and white lists of reverse-paths, as patterns of `policy/addresslist.py`.

    White wins. `black_everyone`: whoever is not white is black. `white_local_domains`: senders of our domains are
    white. `black_folder`: where black mail is filed; "" refuses it.
    """

    white: tuple[str, ...] = ()
    black: tuple[str, ...] = ()
    black_everyone: bool = False
    white_local_domains: bool = False
    black_folder: str = ""


@dataclass(frozen=True, slots=True)
class LocalMailbox:
    """Delivered here: an account, and the folder a sub-address asks for ("" is INBOX)."""

    account: Account
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Expansion:
    """
    An alias or distribution list: each member is a Destination in its turn already (settled, flat, no
    rings, no duplicates). `reverse_path` replaces the sender's for members that leave (lists), or is None.

    Of a list, also through aliases: `posters` are the folded addresses that may write to it, None for everybody;
    `hidden` lists are there for nobody but insiders.
    """

    members: tuple[LocalMailbox | Remote, ...]
    name: str
    reverse_path: Address | None = None
    posters: frozenset[str] | None = None
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Remote:
    """Leaves this server. `mapped` says that a domain map or backup domain of ours names it."""

    path: ForwardPath
    mapped: bool = False


@dataclass(frozen=True, slots=True)
class UnknownUser:
    """In a domain of ours, but nobody; `reason` says disabled, unknown, ring of aliases."""

    reason: str = "no such user"


Destination = LocalMailbox | Expansion | Remote | UnknownUser


@dataclass(frozen=True, slots=True)
class CramSecret:
    """The two HMAC-MD5 states of an account that opted in to CRAM-MD5, 16 octets each."""

    account: Account
    inner: bytes
    outer: bytes


@dataclass(frozen=True, slots=True)
class RecipientRules:
    """
    What the configuration says of recipients, beside what the store knows.

    `rewriting` comes first, once, for what a client names. `maps` give a domain another one, or one address for all of
    it; `backup` names domains that mail is taken for and sent on to, with "host:port" or "" for their MX hosts.
    `delimiters`: each of these characters parts a sub-address (`user+folder`). `aliases` is the alias file.
    `catch_all` gets what nobody else in our domains takes.
    """

    rewriting: Rewriting = field(default_factory=Rewriting)
    maps: DomainTable[Address | str] = field(default_factory=DomainTable)
    backup: DomainTable[str] = field(default_factory=DomainTable)
    delimiters: str = "+"
    aliases: AliasTable = field(default_factory=AliasTable)
    catch_all: Address | None = None


class IDirectory(Interface):
    """
    Look-ups in the current state of the store; what another process committed is seen by the next call.

    Every method may raise TemporaryFailure. Addresses and domains go in folded (`key`, `domain_key`).
    """

    async def is_local_domain(domain: str) -> bool:
        """Whether we host this domain, or it is an alias of one we host."""

    async def find_account(address: str) -> Account | None:
        """The account with this main address (domain aliases resolved), enabled or not."""

    async def resolve(path: ForwardPath) -> Destination:
        """
        What a forward-path leads to: rewriting, domain maps and aliases, accounts, aliases, distribution lists,
        sub-addresses (`user+folder`), the alias file, catch-all. Content never routes (`a%b@local` is a local part
        like any other, unless a rewriting rule says so).
        """

    async def mailbox_lists(account: Account) -> MailboxLists:
        """The black and white lists of an account; empty ones where it has none."""

    async def has_room(account: Account) -> bool:
        """Whether the account's quotas leave room for anything at all."""

    async def verify_password(login: str, password: bytes, client: str) -> Account | None:
        """
        Check a login name (an address, or a bare local part of the default domain) and a password.

        A missing account costs the same time as a wrong password. An outdated hash is upgraded when the
        password is right. Checks run off the reactor thread, one per core at most, queued fairly by
        `client` (the peer's address). Returns the account, enabled or not, or None; whether it may log
        in is the policy's question.
        """

    async def find_cram_secret(login: str) -> CramSecret | None:
        """The CRAM-MD5 states, None where the account has not opted in or does not exist."""

    async def offers_cram_md5() -> bool:
        """Whether any account has opted in."""

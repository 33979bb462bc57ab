"""mailtraq_py/store/resolution.py: what addresses lead to, by the store and by the configuration's rules."""

from __future__ import annotations

import time
from typing import Any

from mailtraq_py.interfaces.directory import Expansion, LocalMailbox, MailboxLists, RecipientRules, Remote, UnknownUser
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.addresspattern import Rewriting, parse_rewriting
from mailtraq_py.mail.aliasfile import parse_aliases
from mailtraq_py.mail.domaintable import DomainTable
from mailtraq_py.mail.envelope import ForwardPath
from mailtraq_py.store.administration import AlreadyExists
from mailtraq_py.store.directory import Directory
from mailtraq_py.store.heap import QuietHeap
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.listings import NotFound, Refused
from mailtraq_py.store.passwords import Passwords
from mailtraq_py.store.store import Store
from mailtraq_py.store.workers import AtOnce

from .contract import ALICE, PASSWORD, StoreCase


class ResolutionCase(StoreCase):
    """Alice and Bob at example.test."""

    def make_store(self, data_dir: str) -> Store:
        """In memory."""
        return Store("sqlite::memory:", data_dir, clock=self.clock)

    async def setUp(self) -> None:
        """A second account."""
        await super().setUp()
        self.admin = self.store.administration
        self.bob = await self.admin.add_account("bob@example.test", PASSWORD)

    def resolve(self, address: str) -> Any:
        """What an address leads to."""
        return run_now(self.store.directory.resolve(ForwardPath(parse_address(address))))

    def remote(self, address: str, mapped: bool = False) -> Remote:
        """A destination elsewhere."""
        return Remote(ForwardPath(parse_address(address)), mapped)

    def use(self, **rules: Any) -> None:
        """Bring rules into force."""
        if "aliases" in rules:
            text = rules["aliases"]
            rules["aliases"] = parse_aliases("aliases", lambda name, named_by: (name, text))
        self.store.directory.rules = RecipientRules(**rules)


class SubAddressTests(ResolutionCase):
    """user+folder"""

    async def test_delimiters(self) -> None:
        """Each delimiter parts a folder from a user that exists, the longest user first; the folder keeps its case."""
        await self.admin.add_account("bob-jones@example.test", PASSWORD)
        jones = await self.store.directory.find_account("bob-jones@example.test")
        assert jones is not None
        self.use(delimiters="+-")
        self.assertEqual(self.resolve("Alice-Lists@example.test"), LocalMailbox(self.alice, "Lists"))
        self.assertEqual(self.resolve("alice+a-b@example.test"), LocalMailbox(self.alice, "a-b"))
        self.assertEqual(self.resolve("bob-jones@example.test"), LocalMailbox(jones))
        self.assertEqual(self.resolve("bob-jones-x@example.test"), LocalMailbox(jones, "x"))
        self.assertEqual(self.resolve("bob-smith@example.test"), LocalMailbox(self.bob, "smith"))
        self.assertEqual(self.resolve("-alice@example.test"), UnknownUser())

    async def test_none(self) -> None:
        """Without delimiters a local part is a local part."""
        self.use(delimiters="")
        self.assertEqual(self.resolve("alice+x@example.test"), UnknownUser())


class AliasFileTests(ResolutionCase):
    """Rules of the alias file."""

    async def test_order(self) -> None:
        """Accounts and aliases of the store come before the file, the file before the catch-all."""
        await self.admin.add_alias("stored@example.test", [ALICE])
        await self.admin.add_alias("*@example.test", [ALICE])
        self.use(aliases="alice: bob\nstored: bob\nsales: bob, x@far.example\ninfo-*: bob")
        self.assertEqual(self.resolve(ALICE), LocalMailbox(self.alice))
        self.assertEqual(self.resolve("stored@example.test").members, (LocalMailbox(self.alice),))
        found = self.resolve("Sales@example.test")
        expected = (LocalMailbox(self.bob), self.remote("x@far.example"))
        self.assertEqual(found, Expansion(expected, "sales@example.test"))
        self.assertEqual(self.resolve("sales+x@example.test").members, expected)
        self.assertEqual(self.resolve("info-north@example.test").members, (LocalMailbox(self.bob),))
        self.assertEqual(self.resolve("other@example.test").members, (LocalMailbox(self.alice),))

    async def test_domains(self) -> None:
        """A rule with a domain is for that one, as it was written or as it is hosted; never for those of others."""
        await self.admin.add_domain("alias.test", "example.test")
        self.use(aliases="a@alias.test: alice\nb@example.test: alice\n*@far.example: alice")
        self.assertEqual(self.resolve("a@alias.test").members, (LocalMailbox(self.alice),))
        self.assertEqual(self.resolve("a@example.test"), UnknownUser())
        self.assertEqual(self.resolve("b@alias.test").members, (LocalMailbox(self.alice),))
        self.assertEqual(self.resolve("x@far.example"), self.remote("x@far.example"))

    async def test_rings(self) -> None:
        """Rules that lead to each other lead nowhere; a wide tree is walked once."""
        self.use(aliases="a: b\nb: a")
        self.assertEqual(self.resolve("a@example.test"), UnknownUser("ring of aliases"))
        below = [", ".join(f"l{level}-{number}" for number in range(30)) for level in range(1, 7)]
        levels = [f"l{level}-{number}: {below[level]}" for level in range(6) for number in range(30)]
        self.use(aliases="\n".join([*levels, "l6-*: bob"]))
        begun = time.perf_counter()
        self.assertEqual(self.resolve("l0-0@example.test").members, (LocalMailbox(self.bob),))
        self.assertLess(time.perf_counter() - begun, 2)

    async def test_catch_all(self) -> None:
        """The server's catch-all takes what is left, of our domains only; one that leads nowhere is nobody."""
        self.use(catch_all=parse_address(ALICE))
        self.assertEqual(self.resolve("x@example.test"), Expansion((LocalMailbox(self.alice),), "catch-all"))
        self.assertEqual(self.resolve("x@far.example"), self.remote("x@far.example"))
        self.use(catch_all=parse_address("nobody@example.test"))
        self.assertIsInstance(self.resolve("x@example.test"), UnknownUser)


class MapTests(ResolutionCase):
    """Rewriting, domain maps, backup domains."""

    async def test_rewriting(self) -> None:
        """What a client names is rewritten first; what comes out is no more ours than anything else."""
        rules = ("*@old.example -> *@example.test", "*@*.gw.example -> *@*")
        self.use(rewriting=Rewriting(tuple(map(parse_rewriting, rules))))
        self.assertEqual(self.resolve("alice@old.example"), LocalMailbox(self.alice))
        self.assertEqual(self.resolve("x@far.example.gw.example"), self.remote("x@far.example"))

    async def test_maps(self) -> None:
        """A domain stands for another one or for one address, by several steps; so it does for members of aliases."""
        await self.admin.add_alias("away@example.test", ["carol@one.example"])
        hop = {"one.example": "two.example", "two.example": "far.example", "*.old.example": "example.test"}
        rows: list[Any] = [*hop.items(), ("all.example", parse_address(ALICE))]
        self.use(maps=DomainTable(rows))
        self.assertEqual(self.resolve("x@one.example"), self.remote("x@far.example", mapped=True))
        self.assertEqual(self.resolve("alice@shop.old.example"), LocalMailbox(self.alice))
        self.assertEqual(self.resolve("who@all.example"), LocalMailbox(self.alice))
        self.assertEqual(self.resolve("away@example.test").members, (self.remote("carol@far.example", mapped=True),))

    async def test_maps_go_round(self) -> None:
        """Maps that never end are nobody."""
        self.use(maps=DomainTable([("a.example", "b.example"), ("b.example", "a.example")]))
        self.assertEqual(self.resolve("x@a.example"), UnknownUser("domain maps go round"))

    async def test_backup(self) -> None:
        """A backup domain leaves as a mapped one; a domain that is hosted is hosted."""
        self.use(backup=DomainTable([("second.example", ""), ("example.test", "")]))
        self.assertEqual(self.resolve("x@second.example"), self.remote("x@second.example", mapped=True))
        self.assertEqual(self.resolve(ALICE), LocalMailbox(self.alice))


class ListTests(ResolutionCase):
    """Distribution lists."""

    async def setUp(self) -> None:
        """A list of three."""
        await super().setUp()
        await self.admin.set_list("staff@example.test", "bob@example.test")
        await self.admin.add_members("staff@example.test", [ALICE, "bob@example.test", "Carol@far.example"])

    async def test_members(self) -> None:
        """A list leads to its members, with a reverse-path of its own, which leads to its owner."""
        expected = (LocalMailbox(self.alice), LocalMailbox(self.bob), self.remote("Carol@far.example"))
        owner = parse_address("staff-owner@example.test")
        self.assertEqual(self.resolve("Staff@example.test"), Expansion(expected, "staff@example.test", owner))
        self.assertEqual(self.resolve("staff-owner@example.test").members, (LocalMailbox(self.bob),))
        self.assertIsNone(self.resolve("staff-owner@example.test").reverse_path)
        listed = [ALICE, "bob@example.test", "Carol@far.example"]
        self.assertEqual(await self.admin.members_of("staff@example.test"), listed)

    async def test_rights(self) -> None:
        """Who may write stands in what the list leads to, also through an alias, not through an outer list."""
        await self.admin.set_list("staff@example.test", posting="members")
        await self.admin.add_alias("all@example.test", ["staff@example.test"])
        await self.admin.set_list("outer@example.test")
        await self.admin.add_members("outer@example.test", ["staff@example.test"])
        posters = frozenset({ALICE, "bob@example.test", "carol@far.example"})
        for address, expected in (("staff", posters), ("all", posters), ("outer", None)):
            found = self.resolve(f"{address}@example.test")
            self.assertEqual((found.posters, found.hidden), (expected, False), address)
        self.assertEqual(self.resolve("all@example.test").reverse_path, parse_address("staff-owner@example.test"))
        self.assertEqual(self.resolve("outer@example.test").reverse_path, parse_address("outer-owner@example.test"))
        await self.admin.set_list("staff@example.test", posting="insiders")
        self.assertTrue(self.resolve("all@example.test").hidden)

    async def test_administration(self) -> None:
        """Members come and go once each; names are taken once; what is not there is said."""
        admin = self.admin
        self.assertEqual(await admin.add_members("staff@example.test", ["ALICE@example.test", "d@far.example"]), 1)
        self.assertEqual(await admin.remove_members("staff@example.test", ["d@FAR.example", "x@y.example"]), 1)
        (entry,) = await admin.list_lists()
        self.assertEqual((entry.address, entry.owner, entry.posting, entry.members), (
            "staff@example.test", "bob@example.test", "anyone", 3
        ))
        for kind, awaitable in (
            (AlreadyExists, admin.set_list(ALICE)),
            (AlreadyExists, admin.add_account("staff@example.test", PASSWORD)),
            (AlreadyExists, admin.add_alias("staff@example.test", [ALICE])),
            (NotFound, admin.set_list("x@far.example")),
            (NotFound, admin.add_members("none@example.test", [ALICE])),
            (Refused, admin.add_members("staff@example.test", ["staff@example.test"])),
            (Refused, admin.set_list("staff@example.test", posting="whoever")),
        ):
            await self.assert_raises(kind, awaitable)
        await admin.delete_list("staff@example.test")
        self.assertEqual(self.resolve("staff@example.test"), UnknownUser())
        await self.assert_raises(NotFound, admin.members_of("staff@example.test"))


class MailboxListsTests(ResolutionCase):
    """Black and white lists of an account."""

    async def test_set(self) -> None:
        """They are in force at once under another number, and are gone as if they had never been."""
        find = self.store.directory.find_account
        self.assertEqual(self.alice.lists_number, 0)
        self.assertEqual(await self.store.directory.mailbox_lists(self.alice), MailboxLists())
        lists = MailboxLists(("*@good.example",), ("b@x.example", "a@x.example"), True, True, "Junk")
        await self.admin.set_mailbox_lists(ALICE, lists)
        account = await find(ALICE)
        assert account is not None
        self.assertEqual(await self.store.directory.mailbox_lists(account), lists)
        self.assertEqual(account.credential_number, self.alice.credential_number)
        await self.admin.set_mailbox_lists(ALICE, MailboxLists(black=("c@x.example",)))
        changed = await find(ALICE)
        assert changed is not None
        self.assertNotEqual(changed.lists_number, account.lists_number)
        await self.admin.set_mailbox_lists(ALICE, MailboxLists())
        self.assertEqual(await find(ALICE), self.alice)
        await self.assert_raises(NotFound, self.admin.set_mailbox_lists("x@example.test", lists))
        await self.assert_raises(Refused, self.admin.set_mailbox_lists(ALICE, MailboxLists(("a",) * 1001)))


class LongListTests(ResolutionCase):
    """The longest way that mail takes."""

    async def test_long_list(self) -> None:
        """A list of thousands lets others have their turn again and again."""
        pauses = []

        async def pause() -> None:
            pauses.append(None)

        await self.admin.set_list("all@example.test")
        await self.admin.add_members("all@example.test", [f"x{number}@far.example" for number in range(2000)])
        passwords = Passwords(AtOnce(), 1, lambda: 0.0, QuietHeap(None, AtOnce()))
        directory = Directory(self.store.database, passwords, pause=pause)
        found = await directory.resolve(ForwardPath(parse_address("all@example.test")))
        assert isinstance(found, Expansion)
        self.assertEqual(len(found.members), 2000)
        self.assertEqual(len(pauses), 20)

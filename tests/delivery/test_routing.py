"""mailtraq_py/delivery/routing.py: who gets a message, and who is told what at once."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.delivery.routing import Routes, route
from mailtraq_py.interfaces.delivery import MailTransaction
from mailtraq_py.interfaces.directory import Destination, Expansion, LocalMailbox, Remote, UnknownUser
from mailtraq_py.interfaces.queue import Origin
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import (
    NOTIFY_DEFAULT,
    NOTIFY_NEVER,
    Envelope,
    ForwardPath,
    Notify,
    Recipient,
    ReversePath,
)
from mailtraq_py.mail.report import Action
from tests.fakes import make_account, make_connection

ALICE = make_account("alice@here.example", 1)
BOB = make_account("bob@here.example", 2)
SENDER = ReversePath(parse_address("sender@far.example"))
SUCCESS = Notify(success=True, failure=True, delay=False)


def remote(text: str) -> Remote:
    """A destination elsewhere."""
    return Remote(ForwardPath(parse_address(text)))


def routes(*recipients: tuple[str, Destination], notify: Notify = NOTIFY_DEFAULT, original: str = "") -> Routes:
    """Route a message from SENDER."""
    envelope = Envelope(
        SENDER,
        tuple(Recipient(ForwardPath(parse_address(text)), notify, original) for text, _ in recipients),
        ret="HDRS",
        envid="e1",
        body="8BITMIME",
    )
    transaction = MailTransaction(
        make_connection(),
        envelope,
        tuple(destination for _, destination in recipients),
        tuple(f"grant {number}" for number in range(len(recipients))),
        "client.example",
        True,
        account=ALICE,
    )
    return route(transaction, 1000.0, 2000.0, b"X: y\r\n")


class RoutingTests(SynchronousTestCase):
    """Destinations in, copies and rows out."""

    def test_local(self) -> None:
        """A mailbox of ours gets a copy in INBOX, or in the folder its sub-address names."""
        found = routes(
            ("alice@here.example", LocalMailbox(ALICE)), ("bob+work@here.example", LocalMailbox(BOB, "Work"))
        )
        self.assertEqual(found.local, [LocalMailbox(ALICE, "INBOX"), LocalMailbox(BOB, "Work")])
        self.assertEqual((found.outgoing, found.notices), ([], []))

    def test_impossible_folder(self) -> None:
        """A sub-address that no mailbox can be called leads to INBOX."""
        for folder in ("../../etc/passwd", "a*b", "x\0y", "a//b"):
            found = routes(("alice+x@here.example", LocalMailbox(ALICE, folder)))
            self.assertEqual(found.local, [LocalMailbox(ALICE, "INBOX")])

    def test_remote(self) -> None:
        """What leaves keeps the sender's parameters and knows by which grant it leaves."""
        (row,) = routes(("x@far.example", remote("x@far.example")), notify=SUCCESS, original="rfc822;o@x").outgoing
        self.assertEqual((row.reverse_path, row.ret, row.envid, row.body), (SENDER, "HDRS", "e1", "8BITMIME"))
        self.assertEqual((row.recipient.notify, row.recipient.original), (SUCCESS, "rfc822;o@x"))
        self.assertEqual((row.due, row.expires, row.head, row.origin), (1000.0, 2000.0, b"X: y\r\n", Origin.CLIENT))
        self.assertEqual((row.granted_by, row.client, row.account), ("grant 0", "203.0.113.9", "alice@here.example"))

    def test_duplicates(self) -> None:
        """However many recipients lead there, a mailbox gets one copy and an address one row."""
        alias = Expansion((LocalMailbox(ALICE), Remote(ForwardPath(parse_address("X@FAR.example")))), "all")
        found = routes(
            ("alice@here.example", LocalMailbox(ALICE)),
            ("all@here.example", alias),
            ("x@far.example", remote("x@far.example")),
            ("X@far.example", remote("X@far.EXAMPLE")),
        )
        self.assertEqual(len(found.local), 1)
        self.assertEqual([str(row.recipient.path) for row in found.outgoing], ["X@FAR.example", "x@far.example"])

    def test_success_for_a_mailbox(self) -> None:
        """NOTIFY=SUCCESS for a mailbox of ours is answered at once (RFC 3461 5.2.1)."""
        (notice,) = routes(("alice@here.example", LocalMailbox(ALICE)), notify=SUCCESS).notices
        self.assertEqual(notice.action, Action.DELIVERED)

    def test_alias_with_one_member(self) -> None:
        """It is as if the member had been named (RFC 3461 5.2.7.2)."""
        alias = Expansion((remote("x@far.example"),), "one@here.example")
        found = routes(("one@here.example", alias), notify=SUCCESS, original="rfc822;one@here.example")
        (row,) = found.outgoing
        self.assertEqual((row.recipient.notify, row.envid, row.origin), (SUCCESS, "e1", Origin.FORWARD))
        self.assertEqual((row.reverse_path, row.granted_by), (SENDER, "alias one@here.example"))
        self.assertEqual(found.notices, [])

    def test_alias_with_several_members(self) -> None:
        """SUCCESS is answered "expanded" and goes no further (RFC 3461 5.2.7.3 (c))."""
        alias = Expansion((remote("x@far.example"), LocalMailbox(BOB)), "two@here.example")
        found = routes(("two@here.example", alias), notify=Notify(True, False, False))
        self.assertEqual([notice.action for notice in found.notices], [Action.EXPANDED])
        self.assertEqual(found.outgoing[0].recipient.notify, NOTIFY_NEVER)
        self.assertEqual(found.local, [LocalMailbox(BOB, "INBOX")])

    def test_list(self) -> None:
        """A list has its own reverse-path, and nothing of the sender's parameters goes on (RFC 3461 5.2.7.1)."""
        owner = parse_address("list-owner@here.example")
        members = Expansion((remote("x@far.example"), LocalMailbox(BOB)), "list", owner)
        found = routes(("list@here.example", members), notify=SUCCESS, original="rfc822;list@here.example")
        (row,) = found.outgoing
        self.assertEqual(row.reverse_path, ReversePath(owner))
        self.assertEqual((row.ret, row.envid, row.recipient.original), ("", "", ""))
        self.assertEqual(row.recipient.notify, NOTIFY_DEFAULT)
        self.assertEqual([notice.action for notice in found.notices], [Action.DELIVERED])

    def test_unknown_user(self) -> None:
        """Where policy accepts unknown users, the sender is told; unless he asked not to be."""
        (notice,) = routes(("nobody@here.example", UnknownUser())).notices
        self.assertEqual((notice.action, notice.reply.enhanced), (Action.FAILED, "5.1.1"))
        self.assertEqual(routes(("nobody@here.example", UnknownUser()), notify=NOTIFY_NEVER).notices, [])

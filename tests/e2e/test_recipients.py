"""
Local recipients of a real server: alias file, rewriting, maps, backup domains, lists, sub-addresses, catch-all, mailbox
lists, EXPN and the journal, by SMTP, POP3 and IMAP.
"""

from __future__ import annotations

import email
import imaplib
import smtplib
from email.message import EmailMessage, Message
from email.policy import SMTP

from twisted.trial.unittest import SynchronousTestCase

from .outside import Outside
from .server import PASSWORD, Server, wait_for

CONFIG = 'unknown_recipient = "deliver"\n' + Server.CONFIG + """
[recipients]
delimiters = "+-"
aliases = "aliases"
rewrite = ["*@old.example.test -> *@example.test"]
rewrite_senders = ["root@example.test -> admin@example.test"]
domain_maps = ["branch.test -> example.test"]
backup_domains = ["second.example", "routed.test -> 127.0.0.1:{sink}"]
catch_all = "lost@example.test"

[journal]
copy_inbound = "journal@example.test"
copy_outbound = "journal@example.test"
"""
ALIASES = "sales: alice, carol@far.example\nteam-*: :include:team\n"
ACCOUNTS = [f"{name}@example.test" for name in ("alice", "bob", "lost", "journal", "admin")]


REPORTING = CONFIG.replace('"deliver"', '"report"').replace('catch_all = "lost@example.test"\n', "")


class RecipientsCase(SynchronousTestCase):
    """A server with `config` and a world for all tests of a class."""

    config = CONFIG

    @classmethod
    def setUpClass(cls) -> None:
        """Start them."""
        cls.outside = Outside()
        cls.server = Server(cls.config, ACCOUNTS, cls.outside.dns, cls.outside.sink)
        (cls.server.folder / "aliases").write_text(ALIASES)
        (cls.server.folder / "team").write_text("alice\nbob\n")
        cls.server.mailtraq("list", "add", "staff@example.test", "alice@example.test", "dave@far.example")
        cls.server.mailtraq("list", "add", "staff@example.test", "--owner", "bob@example.test")
        cls.server.start()

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop them."""
        cls.server.close()
        cls.outside.close()

    def send(
        self, *to: str, sender: str = "a@b.example", login: str = "", subject: str = ""
    ) -> dict[str, tuple[int, bytes]]:
        """Send a message; returns the recipients that were refused."""
        message = EmailMessage()
        message["Subject"] = subject or self.id().rpartition(".")[2]
        message["From"] = "somebody@b.example"
        message.set_content("Hello.")
        with smtplib.SMTP("127.0.0.1", self.server.mx, "client.b.example", 30) as session:
            if login:
                session.login(login, PASSWORD)
            try:
                return session.sendmail(sender, to, message.as_bytes(policy=SMTP))
            except smtplib.SMTPRecipientsRefused as error:
                return error.recipients

    def mailbox(self, name: str, mailbox: str = "INBOX", subject: str = "") -> list[Message]:
        """The messages of this test in a mailbox."""
        subject = subject or self.id().rpartition(".")[2]
        with imaplib.IMAP4("127.0.0.1", self.server.imap) as session:
            session.login(f"{name}@example.test", PASSWORD)
            session.select(mailbox, readonly=True)
            numbers = session.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
            octets = [session.fetch(number.decode(), "(BODY.PEEK[])")[1][0][1] for number in numbers]
        return [email.message_from_bytes(each) for each in octets]

    def reached(self, address: str) -> list[str]:
        """Reverse-paths of this test's messages that reached somebody outside, once one did."""
        subject = self.id().rpartition(".")[2].encode()

        def found() -> list[str]:
            return [each.mail_from for each in self.outside.to(address) if subject in each.octets]

        wait_for(found, f"mail for {address}")
        return found()


class RecipientsTests(RecipientsCase):
    """What addresses lead to."""

    def test_alias_file(self) -> None:
        """A rule leads here and elsewhere; one with a star has its targets in another file."""
        self.assertEqual(self.send("sales@example.test", "team-x@example.test"), {})
        self.assertEqual(len(self.mailbox("alice")), 1)
        self.assertEqual(len(self.mailbox("bob")), 1)
        self.assertEqual(self.reached("carol@far.example"), ["a@b.example"])

    def test_alias_file_changes(self) -> None:
        """A change acts without a reload; a bad one is logged with its line, and the old rules stay."""
        aliases = self.server.folder / "aliases"
        try:
            aliases.write_text(ALIASES + "fresh: bob\n")
            wait_for(lambda: "list-renewed" in self.server.logged(), "the new alias file")
            self.send("fresh@example.test")
            self.assertEqual(len(self.mailbox("bob")), 1)
            aliases.write_text(ALIASES + "fresh: alice\nno rule\n")
            wait_for(lambda: "aliases:4: is no rule" in self.server.logged(), "the refusal")
            self.send("fresh@example.test")
            self.assertEqual(len(self.mailbox("bob")), 2)
        finally:
            aliases.write_text(ALIASES)

    def test_reload(self) -> None:
        """Rules and journal of a changed file are in force at once; a bad one changes nothing."""
        good = self.server.config.read_text()
        changed = good.replace("lost@example.test", "bob@example.test").replace("second.example", "third.example")
        try:
            self.server.config.write_text(changed.replace('copy_inbound = "journal@', 'copy_inbound = "admin@'))
            self.server.mailtraq("reload")
            self.assertEqual(list(self.send("who@example.test", "x@second.example")), ["x@second.example"])
            self.assertEqual((len(self.mailbox("bob")), len(self.mailbox("admin"))), (1, 1))
            self.assertEqual(self.send("x@third.example"), {})
            self.server.config.write_text(good.replace('domain_maps = ["', 'domain_maps = ["*'))
            self.assertIn("recipients.domain_maps[1]", self.server.mailtraq("reload", check=2).stderr)
            self.assertEqual(self.send("y@third.example"), {})
        finally:
            self.server.config.write_text(good)
            self.server.mailtraq("reload")

    def test_sub_address(self) -> None:
        """The folder is a mailbox of the user, or INBOX where there is none."""
        self.send("alice+Archive@example.test", "bob-Drafts@example.test", "admin-none@example.test")
        self.assertEqual(len(self.mailbox("alice", "Archive")), 1)
        self.assertEqual(len(self.mailbox("bob", "Drafts")), 1)
        self.assertEqual(len(self.mailbox("admin")), 1)

    def test_rewriting_and_maps(self) -> None:
        """Other domains lead to our users, and reverse-paths get their other form."""
        to = ("alice@old.example.test", "bob@branch.test")
        self.assertEqual(self.send(*to, sender="root@example.test", login="bob@example.test"), {})
        (copy,) = self.mailbox("alice")
        self.assertEqual(copy["Return-Path"], "<admin@example.test>")
        self.assertEqual(len(self.mailbox("bob")), 1)

    def test_backup_domains(self) -> None:
        """Strangers' mail is taken for these and sent on, by MX and by route; for others it is not."""
        refused = self.send("x@second.example", "y@routed.test", "z@far.example")
        self.assertEqual(list(refused), ["z@far.example"])
        self.assertEqual(self.reached("x@second.example"), ["a@b.example"])
        self.assertEqual(self.reached("y@routed.test"), ["a@b.example"])

    def test_catch_all(self) -> None:
        """What nobody takes goes to the catch-all, of our domains only."""
        self.assertEqual(list(self.send("whoever@example.test", "whoever@far.example")), ["whoever@far.example"])
        self.assertEqual(len(self.mailbox("lost")), 1)

    def test_list(self) -> None:
        """Members elsewhere get it from the list's own reverse-path, which leads to the owner."""
        self.assertEqual(self.send("staff@example.test"), {})
        self.assertEqual(len(self.mailbox("alice")), 1)
        self.assertEqual(self.reached("dave@far.example"), ["staff-owner@example.test"])
        self.send("staff-owner@example.test", sender="")
        self.assertEqual(len(self.mailbox("bob")), 1)
        self.server.mailtraq("list", "add", "staff@example.test", "--posting", "members")
        try:
            self.assertEqual(self.send("staff@example.test")["staff@example.test"][0], 550)
            self.assertEqual(self.send("staff@example.test", sender="dave@far.example"), {})
        finally:
            self.server.mailtraq("list", "add", "staff@example.test", "--posting", "anyone")

    def test_expand(self) -> None:
        """Who is on this machine is no stranger and sees the members; users and nobody are answered alike."""
        with smtplib.SMTP("127.0.0.1", self.server.mx, "client.b.example", 30) as session:
            session.ehlo()
            heard = {session.docmd("EXPN", name) for name in ("alice@example.test", "nobody@example.test", "nobody")}
            self.assertEqual(len(heard), 1)
            self.assertEqual(heard.pop()[0], 550)
            code, text = session.docmd("EXPN", "staff@example.test")
            self.assertEqual((code, text.count(b"<")), (250, 2))

    def test_mailbox_lists(self) -> None:
        """Black mail is refused at RCPT, or filed; white wins; it is in force with the next recipient."""
        lists = ("account", "lists", "admin@example.test")
        self.server.mailtraq(*lists, "--black", "@spam.example", "--white", "friend@spam.example")
        self.assertEqual(self.send("admin@example.test", sender="x@spam.example")["admin@example.test"][0], 550)
        self.assertEqual(self.send("admin@example.test", sender="friend@spam.example"), {})
        self.server.mailtraq(*lists, "--black-folder", "Junk")
        self.assertEqual(self.send("admin@example.test", sender="x@spam.example"), {})
        self.assertEqual((len(self.mailbox("admin")), len(self.mailbox("admin", "Junk"))), (1, 1))
        self.server.mailtraq(*lists, "--clear")

    def test_journal(self) -> None:
        """What comes in and what leaves is there once, with its envelope; a bounce of it finds nobody to tell."""
        self.send("alice@example.test", "bob@example.test")
        (copy,) = self.mailbox("journal")
        self.assertEqual((copy["Return-Path"], copy["X-Envelope-From"]), ("<>", "<a@b.example>"))
        self.assertIn("<bob@example.test>", copy["X-Envelope-To"])
        self.send("far@far.example", sender="alice@example.test", login="alice@example.test", subject="leaves")
        self.assertEqual(len(self.mailbox("journal", subject="leaves")), 1)


class ReportTests(RecipientsCase):
    """Unknown recipients, accepted and reported (attack S 23)."""

    config = REPORTING

    def test_report(self) -> None:
        """The sender hears of it, the journal does not; who surely did not write is refused at once."""
        self.assertEqual(self.send("nobody@example.test"), {})
        wait_for(lambda: self.outside.to("a@b.example"), "the report")
        (report,) = self.outside.to("a@b.example")
        self.assertEqual(report.mail_from, "")
        self.assertIn(b"nobody@example.test", report.octets)
        self.assertEqual(self.mailbox("journal"), [])
        self.assertEqual(self.send("nobody@example.test", sender="")["nobody@example.test"][0], 550)

"""
The behaviours that the product is for, shown from outside with swaks.

LAN clients are addresses of 127/8 that [lan] names; strangers are others of it.
"""

from __future__ import annotations

import re
import shutil
import smtplib
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.store.hashing import hash_password

from .outside import Outside
from .server import PASSWORD, Server, wait_for

ALICE = "alice@example.test"
FRIEND = "friend@elsewhere.example"

_REFUSED = re.compile(r"^<\*\* (.*)$", re.MULTILINE)

CONFIG = (
    Server.CONFIG.replace('addresses = ["192.168.1.*"]', 'addresses = ["127.0.0.6?", "~127.0.0.66"]')
    + """
[[smtp]]
name = "lan"
role = "both"
listen = ["127.0.0.1:{submission}"]
tls = "none"
access = "firewall+lan"
firewall = ["127.0.0.*", "~127.0.0.5?"]
[smtp.relay]
preset = "mailtraq"
"""
)


class Swaks(SynchronousTestCase):
    """One server, one world. Service mx: AUTH and POP-before-SMTP relay. Service lan: the LAN relays."""

    server: Server
    outside: Outside

    @classmethod
    def setUpClass(cls) -> None:
        """Start both."""
        if shutil.which("swaks") is None:
            raise AssertionError("swaks is missing: apt-get install swaks")
        cls.outside = Outside()
        cls.server = Server(
            CONFIG, [ALICE, "bob@example.test"], dns=cls.outside.dns, sink=cls.outside.sink, workers=2
        )
        cls.server.start()

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop both."""
        cls.server.close()
        cls.outside.close()

    def swaks(self, *options: str, port: int = 0, source: str = "127.0.0.1", to: str = FRIEND) -> tuple[int, str]:
        """swaks's exit code, and what it was refused with."""
        done = subprocess.run(
            [
                *("swaks", "--server", "127.0.0.1", "--port", str(port or self.server.mx)),
                *("--local-interface", source, "--ehlo", "client.outside.example", "--timeout", "20"),
                *("--from", ALICE, "--to", to, *options),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        refused = _REFUSED.search(done.stdout)
        return done.returncode, refused[1] if refused else ""

    def assert_relayed(self, answer: tuple[int, str], subject: str) -> None:
        """It was taken, and reaches the outside."""
        self.assertEqual(answer, (0, ""))
        wait_for(
            lambda: any(subject.encode() in message.octets for message in self.outside.to(FRIEND)),
            f"the message {subject} outside",
        )

    def test_refused_stranger(self) -> None:
        """A stranger may write to Alice, and to nobody elsewhere."""
        code, reply = self.swaks(source="127.0.0.2")
        self.assertNotEqual(code, 0)
        self.assertEqual(reply, "554 5.7.1 Relay Access Denied")
        self.assertEqual(self.swaks("--from", "a@b.example", source="127.0.0.2", to="bob@example.test"), (0, ""))

    def test_lan_relay(self) -> None:
        """An address of the LAN relays where AUTH is off; its neighbour that `~` excludes does not."""
        lan = {"port": self.server.submission}
        self.assert_relayed(self.swaks("--h-Subject", "from the LAN", source="127.0.0.61", **lan), "from the LAN")
        stranger = self.swaks("--from", "a@b.example", source="127.0.0.9", **lan)
        self.assertEqual(stranger[1], "554 5.7.1 Relay Access Denied")
        self.assertEqual(self.swaks(source="127.0.0.66", **lan)[1], "554 5.7.1 Access denied")

    def test_pop_before_smtp(self) -> None:
        """After Alice's POP3 login from the address it relays, with her as sender; another address does not."""
        self.assertEqual(self.swaks()[1][:9], "554 5.7.1")
        self.server.pop().quit()
        self.assert_relayed(self.swaks("--h-Subject", "after POP3"), "after POP3")
        self.assertEqual(self.swaks(source="127.0.0.3")[1][:9], "554 5.7.1")
        self.assertEqual(self.swaks("--from", "bob@example.test")[1][:9], "550 5.7.1")

    def test_smtp_auth(self) -> None:
        """AUTH relays in its session; a wrong password does not; the next session is a stranger's again."""
        login = ("--auth", "PLAIN", "--auth-user", ALICE, "--auth-password")
        source = "127.0.0.4"
        self.assert_relayed(
            self.swaks(*login, PASSWORD, "--h-Subject", "after AUTH", source=source), "after AUTH"
        )
        code, reply = self.swaks(*login, "wrong", source=source)
        self.assertNotEqual(code, 0)
        self.assertEqual(reply[:3], "535")
        self.assertEqual(self.swaks(source=source)[1][:9], "554 5.7.1")

    def test_firewall_exclusion(self) -> None:
        """`~127.0.0.5?` takes out 127.0.0.50 to .59 and nobody else."""
        lan = {"port": self.server.submission, "to": "bob@example.test"}
        for client, answer in (
            ("127.0.0.49", (0, "")),
            ("127.0.0.50", (21, "554 5.7.1 Access denied")),
            ("127.0.0.59", (21, "554 5.7.1 Access denied")),
            ("127.0.0.60", (0, "")),
        ):
            self.assertEqual(self.swaks("--from", "a@b.example", source=client, **lan), answer, client)

    def test_what_one_grant_let_in_can_be_taken_back(self) -> None:
        """`queue delete --granted-by lan` deletes that and nothing else."""
        later = "later@elsewhere.example"
        self.outside.refuse[later] = "450 4.2.0 not now"
        self.addCleanup(self.outside.refuse.clear)
        self.assertEqual(self.swaks(source="127.0.0.61", port=self.server.submission, to=later), (0, ""))
        login = ("--auth", "PLAIN", "--auth-user", ALICE, "--auth-password", PASSWORD)
        self.assertEqual(self.swaks(*login, source="127.0.0.4", to=later), (0, ""))
        waiting = self.server.mailtraq("queue", "list", "--json").stdout
        self.assertIn('"granted_by": "lan"', waiting)
        self.assertIn('"granted_by": "authenticated"', waiting)
        told = self.server.mailtraq("queue", "delete", "--granted-by", "lan", "--since", "1h")
        self.assertIn("1 recipient deleted", told.stdout)
        waiting = self.server.mailtraq("queue", "list", "--json").stdout
        self.assertNotIn('"granted_by": "lan"', waiting)
        self.assertIn('"granted_by": "authenticated"', waiting)
        self.server.mailtraq("queue", "delete", "--granted-by", "authenticated", "--since", "1h")


class FixedLogin(SynchronousTestCase):
    """Ability's outgoing service with its one fixed login."""

    CONFIG = Server.CONFIG.replace(
        'preset = "mailtraq"\nauth = true\nrecent_login = true',
        'preset = "ability"\noutgoing = true\nauth = true\nauth_only = {login = "Smart", password_hash = "HASH"}',
    )

    def test_only_the_fixed_login_counts(self) -> None:
        """It relays; an account's own login is none here; it is no account elsewhere."""
        outside = Outside()
        self.addCleanup(outside.close)
        config = self.CONFIG.replace("HASH", hash_password(b"fixed word"))
        server = Server(config, [ALICE], dns=outside.dns, sink=outside.sink)
        self.addCleanup(server.close)
        server.start()
        with smtplib.SMTP("127.0.0.1", server.mx, "client.example", 30) as client:
            client.login("smart", "fixed word")
            client.sendmail("a@b.example", [FRIEND], "Subject: fixed\r\n\r\nx\r\n")
        wait_for(lambda: outside.to(FRIEND), "the message outside")
        for login, password in ((ALICE, PASSWORD), ("smart", PASSWORD), (ALICE, "fixed word")):
            with smtplib.SMTP("127.0.0.1", server.mx, "client.example", 30) as client:
                client.ehlo()
                # One mechanism only: each failure makes the next one wait twice as long.
                client.esmtp_features["auth"] = "PLAIN"
                self.assertRaises(smtplib.SMTPAuthenticationError, client.login, login, password)



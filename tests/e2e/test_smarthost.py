"""
All that leaves goes through a smarthost that wants a login.
"""

from __future__ import annotations

import smtplib
import ssl

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.net.selfsigned import make_self_signed

from .outside import Outside
from .server import PASSWORD, Server, wait_for

ALICE = "alice@example.test"
FRIEND = "friend@elsewhere.example"
CONFIG = Server.CONFIG.replace(
    "[outbound]\n",
    '[outbound]\nsmarthost = "localhost:{sink}"\nsmarthost_login = "mail@provider.example"\n'
    'smarthost_password_file = "secret"\n',
)


class Smarthost(SynchronousTestCase):
    """One smarthost on loopback that offers AUTH under TLS only."""

    def setUp(self) -> None:
        """Not started yet."""
        self.outside = Outside(login=("mail@provider.example", "smart word"))
        self.addCleanup(self.outside.close)
        self.server = Server(CONFIG, [ALICE], dns=self.outside.dns, sink=self.outside.sink, workers=2)
        self.addCleanup(self.server.close)
        paths = [str(self.server.folder / name) for name in ("smart-cert.pem", "smart-key.pem")]
        make_self_signed("localhost", *paths)
        self.outside.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.outside.tls.load_cert_chain(*paths)
        self.secret = self.server.folder / "secret"

    def test_login(self) -> None:
        """With a wrong password mail waits and the log says why; with the right one it goes out. Neither is logged."""
        told = self.server.mailtraq("check", check=2).stderr
        self.assertIn(f"outbound.smarthost_password_file: there is no file {self.secret}", told)
        self.secret.write_text("wrong word\n")
        self.secret.chmod(0o644)
        told = self.server.mailtraq("check").stderr
        self.assertIn("can be read by everybody here", told)
        self.server.start()
        with smtplib.SMTP("127.0.0.1", self.server.mx, "client.example", 30) as client:
            client.login(ALICE, PASSWORD)
            client.sendmail(ALICE, [FRIEND], "Subject: out\r\n\r\nx\r\n")
        wait_for(lambda: self.outside.failed_logins, "an attempt")
        wait_for(lambda: "535 5.7.8 who are you?" in self.server.logged(), "the reason in the log")
        self.assertEqual(self.outside.received, [])
        self.server.stop()
        self.secret.write_text("smart word\n")
        self.secret.chmod(0o600)
        self.assertNotIn("warning", self.server.mailtraq("check").stderr)
        self.server.start()
        wait_for(lambda: self.outside.to(FRIEND), "the message outside")
        self.assertIn('"tls":"TLSv1.3"', self.server.logged())
        self.assertNotIn("smart word", self.server.logged())
        self.assertNotIn("wrong word", self.server.logged())

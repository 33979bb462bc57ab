"""
`mailtraq status` and the metrics of a running server.
"""

from __future__ import annotations

import json
import smtplib
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

from .server import Server, free_ports, wait_for

ALICE = "alice@example.test"


class MetricsTests(SynchronousTestCase):
    """One server."""

    def test_a_message(self) -> None:
        """A message that was accepted is seen in both, within seconds; a server that stopped is told as none."""
        [port] = free_ports(1)
        server = Server(f'{Server.CONFIG}\n[metrics]\nlisten = "127.0.0.1:{port}"\n')
        self.addCleanup(server.close)
        server.start()
        with smtplib.SMTP("127.0.0.1", server.mx, "c.example", 30) as client:
            client.sendmail("a@b.example", [ALICE], "Subject: x\r\n\r\ntext\r\n")

        def scrape() -> str:
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                text: str = answer.read().decode()
            return text

        accepted = 'mailtraq_events_total{event="accepted",opinion="",process="server",service="mx"} 1.0'
        wait_for(lambda: accepted in scrape(), "the message in the metrics")
        self.assertIn('mailtraq_healthy{process="server"} 1.0', scrape())
        [process] = json.loads(server.mailtraq("status", "--json").stdout)
        self.assertGreaterEqual(process["store"]["operations"], 1)
        server.stop()
        self.assertIn("no server runs", server.mailtraq("status", check=1).stderr)

"""
What the supervisor and its processes say to each other.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.channel import (
    Begin,
    Channel,
    Orders,
    Reopen,
    Stop,
    Tidings,
    decode_message,
    decode_tidings,
    encode_tidings,
)
from mailtraq_py.app.config import parse
from mailtraq_py.app.listfiles import ListFiles

TEXT = """\
hostname = "mx.here.example"
[lan]
addresses = ["10.0.0.0/8"]
[[smtp]]
tls = "none"
"""


class ChannelTests(SynchronousTestCase):
    """One end, with a transport that is a string."""

    def test_downwards(self) -> None:
        """A configuration arrives as what was judged, however the octets are cut."""
        configuration = parse(TEXT, Path("/etc/mailtraq/mailtraq.toml"))
        orders = Orders(3, configuration, ListFiles())
        sender = Channel(lambda _: None, lambda: None)
        transport = StringTransport()
        sender.makeConnection(transport)
        messages = [Begin(2, ("mx",), b"s" * 32, orders), orders, Reopen(), Stop(10.0)]
        for message in messages:
            sender.tell(message)
        heard = []
        receiver = Channel(lambda octets: heard.append(decode_message(octets)), lambda: None)
        octets = transport.value()
        for start in range(0, len(octets), 7):
            receiver.dataReceived(octets[start : start + 7])
        self.assertEqual([type(each) for each in heard], [Begin, Orders, Reopen, Stop])
        self.assertEqual(heard[1].configuration, configuration)
        self.assertEqual((heard[0].services, heard[0].secret, heard[0].orders.number), (("mx",), b"s" * 32, 3))
        self.assertNotIn("ssss", repr(heard[0]))

    def test_upwards(self) -> None:
        """What a worker says is plain."""
        for tidings in (Tidings(5), Tidings(5, 2), Tidings(5, failure="no disk")):
            self.assertEqual(decode_tidings(encode_tidings(tidings)), tidings)

    def test_the_end(self) -> None:
        """Who finds it closed is told."""
        lost: list[bool] = []
        channel = Channel(lambda _: None, lambda: lost.append(True))
        channel.makeConnection(StringTransport())
        channel.connectionLost()
        self.assertEqual(lost, [True])

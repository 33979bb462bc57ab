"""
The fork server's end; what its processes do is shown end to end, in tests/e2e/test_workers.py.
"""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.forkserver import serve


class EndTests(SynchronousTestCase):
    """It ends when its supervisor is gone."""

    def setUp(self) -> None:
        self.control, self.supervisor = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(self.control.close)

    def test_in_order(self) -> None:
        """The supervisor has closed its socket."""
        self.supervisor.close()
        serve(self.control)

    def test_killed(self) -> None:
        """The supervisor was killed before it read of a child's end: the kernel says that the connection was reset."""
        self.control.send(b"an end")
        self.supervisor.close()
        serve(self.control)

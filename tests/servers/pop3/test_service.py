"""
Who has a maildrop open, among sessions and among processes.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.servers.pop3.service import MaildropLocks


def taken_in_another_process(descriptor: int, account_id: int) -> bool:
    """Whether another process gets the lock, which it has until it ends: at once."""
    process = os.fork()
    if process == 0:
        os._exit(0 if MaildropLocks(descriptor).take(account_id) else 1)
    return os.waitpid(process, 0)[1] == 0


class MaildropLocksTests(SynchronousTestCase):
    """Locks of one process, and of several."""

    def test_alone(self) -> None:
        """One session an account."""
        locks = MaildropLocks()
        self.assertEqual([locks.take(1), locks.take(1), locks.take(2)], [True, False, True])
        locks.release(1)
        self.assertTrue(locks.take(1))

    def test_several_processes(self) -> None:
        """What one has the other does not get, until it is given back or the process has ended."""
        descriptor = os.memfd_create("test")
        self.addCleanup(os.close, descriptor)
        locks = MaildropLocks(descriptor)
        self.assertTrue(taken_in_another_process(descriptor, 1))
        self.assertEqual([locks.take(1), locks.take(1)], [True, False])
        self.assertFalse(taken_in_another_process(descriptor, 1))
        self.assertTrue(taken_in_another_process(descriptor, 2))
        locks.release(1)
        self.assertTrue(taken_in_another_process(descriptor, 1))

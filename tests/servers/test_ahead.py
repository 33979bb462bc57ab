"""Coroutines run up to their first wait."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.servers.ahead import run_ahead


class Ahead(SynchronousTestCase):
    """`run_ahead`."""

    def setUp(self) -> None:
        """Something to wait for, twice."""
        self.waits: list[Deferred[str]] = [Deferred(), Deferred()]
        self.heard: list[object] = []

    async def _work(self, waits: int) -> None:
        for wait in self.waits[:waits]:
            try:
                self.heard.append(await wait)
            except ValueError as error:
                self.heard.append(error)

    def test_without_a_wait(self) -> None:
        """What need not wait is done."""
        self.assertIsNone(run_ahead(self._work(0)))

    def test_wait_that_is_over(self) -> None:
        """A Deferred that has its result is none."""
        self.waits[0].callback("at once")
        self.assertIsNone(run_ahead(self._work(1)))
        self.assertEqual(["at once"], self.heard)

    def test_rest(self) -> None:
        """The rest hears what its waits come to, failures too, and ends."""
        rest = run_ahead(self._work(2))
        assert rest is not None
        done = Deferred.fromCoroutine(rest)
        error = ValueError("bad")
        self.waits[0].errback(error)
        self.assertNoResult(done)
        self.waits[1].callback("good")
        self.successResultOf(done)
        self.assertEqual([error, "good"], self.heard)

    def test_error_ahead(self) -> None:
        """What it raises before its first wait goes to the caller; later, to whoever awaits the rest."""
        self.waits[0].errback(RuntimeError())
        self.assertRaises(RuntimeError, run_ahead, self._work(1))
        rest = run_ahead(self._late())
        assert rest is not None
        done = Deferred.fromCoroutine(rest)
        self.waits[1].callback("")
        self.failureResultOf(done, KeyError)

    async def _late(self) -> None:
        await self.waits[1]
        raise KeyError

    def test_cancelled(self) -> None:
        """Cancelling reaches what is waited for."""
        rest = run_ahead(self._work(1))
        assert rest is not None
        done = Deferred.fromCoroutine(rest)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertTrue(self.waits[0].called)

    def test_closed(self) -> None:
        """A rest that is closed closes the coroutine."""
        rest = run_ahead(self._closing())
        assert rest is not None
        rest.close()
        self.assertEqual(["closed"], self.heard)

    async def _closing(self) -> None:
        try:
            await self.waits[0]
        finally:
            self.heard.append("closed")

"""
Counts that the workers of a host share: memory in which each worker has a table of its own and reads all.

A worker writes in its own table alone, so nobody waits for a lock; the supervisor wipes the table of one that died. A
key has two places in each table, by a hash with a secret of this start. Where another key shares a place the count
there is too high, never too low, and the lower of both is taken: nobody can foresee whom he shares places with, so it
takes connections in a good part of the table to make a client's count wrong. Two workers that count a key at the same
instant may both see the sum of both: at a limit both refuse.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from mmap import mmap

from zope.interface import implementer

from .admission import IConnectionCounts

_SLOTS = 1 << 16
_KEY_OCTETS = 16
_NUMBER_OCTETS = 4
# The first number of a table says whether its worker takes connections.
_TABLE_NUMBERS = 1 + 2 * _SLOTS


class CountsMemory:
    """
    The memory itself.

    Args:
        descriptor: of the memory; None makes some, which its processes inherit.
        workers: how many tables.
    """

    def __init__(self, workers: int, descriptor: int | None = None) -> None:
        octets = _KEY_OCTETS + workers * _TABLE_NUMBERS * _NUMBER_OCTETS
        self.descriptor = os.memfd_create("mailtraq-counts") if descriptor is None else descriptor
        if descriptor is None:
            os.truncate(self.descriptor, octets)
            os.pwrite(self.descriptor, os.urandom(_KEY_OCTETS), 0)
        memory = memoryview(mmap(self.descriptor, octets))
        self.key = bytes(memory[:_KEY_OCTETS])
        numbers = memory[_KEY_OCTETS:].cast("I")
        self.tables = [numbers[n * _TABLE_NUMBERS : (n + 1) * _TABLE_NUMBERS] for n in range(workers)]

    def wipe(self, worker: int) -> None:
        """A worker, counted from 0, is dead: it has no connections and takes none."""
        self.tables[worker][:] = memoryview(bytes(_TABLE_NUMBERS * _NUMBER_OCTETS)).cast("I")


@implementer(IConnectionCounts)
class SharedCounts:
    """
    The counts as one worker sees them.

    Args:
        memory: all tables.
        worker: whose table is ours, from 0.
    """

    def __init__(self, memory: CountsMemory, worker: int) -> None:
        self._key = memory.key
        self._tables = memory.tables
        self._own = memory.tables[worker]
        self._others = [table for table in memory.tables if table is not self._own]

    def add(self, key: str) -> int:
        """See `IConnectionCounts`."""
        first, second = self._places(key)
        self._own[first] += 1
        self._own[second] += 1
        return min(sum(table[first] for table in self._tables), sum(table[second] for table in self._tables))

    def remove(self, key: str) -> None:
        """See `IConnectionCounts`."""
        for place in self._places(key):
            self._own[place] -= 1

    def begin(self) -> None:
        """From now on this worker takes connections."""
        self._own[0] = 1

    def end(self) -> None:
        """It takes no more."""
        self._own[0] = 0

    def has_least(self, key: str) -> bool:
        """Whether no other worker that takes connections has fewer with a key than this one."""
        first, second = self._places(key)
        own = min(self._own[first], self._own[second])
        return own == 0 or all(own <= min(table[first], table[second]) for table in self._others if table[0])

    def _places(self, key: str) -> tuple[int, int]:
        digest = blake2b(key.encode(), digest_size=4, key=self._key).digest()
        return 1 + int.from_bytes(digest[:2]), 1 + _SLOTS + int.from_bytes(digest[2:])

"""
What waits for the writer, in an order that is fair.

Each queue is served in turn, one operation at a time, so that who brings many does not keep others waiting. A queue is
whatever its key says: the worker it comes from and the operation's name. A mail program's STORE so comes to its turn
among a thousand acceptances.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What a backlog holds."""

    @property
    def queue(self) -> Hashable:
        """Its queue's key."""

    @property
    def octets(self) -> int:
        """How much memory it holds."""


T = TypeVar("T", bound=Waiting)


class Backlog(Generic[T]):
    """See the file's head. One thread at a time."""

    def __init__(self) -> None:
        self._queues: OrderedDict[Hashable, deque[T]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, operation: T) -> None:
        """Put an operation at the end of its queue."""
        queue = self._queues.get(operation.queue)
        if queue is None:
            queue = self._queues[operation.queue] = deque()
        queue.append(operation)
        self._count += 1

    def take(self, most: int, octets: int) -> list[T]:
        """Take operations out, one of each queue and again, until there are so many or they hold so much memory."""
        taken: list[T] = []
        while self._queues and len(taken) < most and octets > 0:
            key, queue = self._queues.popitem(last=False)
            operation = queue.popleft()
            if queue:
                self._queues[key] = queue
            octets -= operation.octets
            taken.append(operation)
        self._count -= len(taken)
        return taken

    def take_alike(self, most: Callable[[Hashable], int], octets: int) -> list[T]:
        """Take operations of the queue whose turn it is: as many as `most` says for its key, and so much memory."""
        key, queue = self._queues.popitem(last=False)
        taken: list[T] = []
        while queue and len(taken) < most(key) and octets > 0:
            operation = queue.popleft()
            octets -= operation.octets
            taken.append(operation)
        if queue:
            self._queues[key] = queue
        self._count -= len(taken)
        return taken

    def put_back(self, operations: Sequence[T]) -> None:
        """Put back what was taken last and not begun: it is the first to be taken again, in the same order."""
        for operation in reversed(operations):
            queue = self._queues.get(operation.queue)
            if queue is None:
                queue = self._queues[operation.queue] = deque()
            queue.appendleft(operation)
            self._queues.move_to_end(operation.queue, last=False)
        self._count += len(operations)

    def withdraw(self, is_unwanted: Callable[[T], bool]) -> list[T]:
        """Take out what nobody wants any more; returns it."""
        unwanted: list[T] = []
        for key, queue in list(self._queues.items()):
            kept: deque[T] = deque()
            for operation in queue:
                (unwanted if is_unwanted(operation) else kept).append(operation)
            if kept:
                self._queues[key] = kept
            else:
                del self._queues[key]
        self._count -= len(unwanted)
        return unwanted

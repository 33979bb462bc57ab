"""
Threads: which message answers which.

ORDEREDSUBJECT groups by base subject; REFERENCES links messages by the identifiers they name, in the six steps of
RFC 5256, whose numbers stand beside the functions. Identifiers are numbers here (`thread_keys`), made when a message
is stored.

A node is a number, too: that of a message's place, from 0; dummies, for what is only named or was made to hold
siblings together, follow behind. Columns are lists by node. A tree may be as deep as a mailbox is long, so nothing
recurses, and trees leave here in the order in which they are printed.

RFC 5256 3 (THREAD)
"""

from __future__ import annotations

import hashlib
import struct
from collections import defaultdict
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

# To link a message that has answers already under one that lies deeper than this would take too long to check.
DEPTH_CHECKED = 200

_KEY_OCTETS = 8


class ThreadAlgorithm(Enum):
    """RFC 5256 3, thread-alg."""

    ORDEREDSUBJECT = "ORDEREDSUBJECT"
    REFERENCES = "REFERENCES"


class ThreadedMessage(NamedTuple):
    """
    What a message says of its thread: `sent` in seconds since the epoch; `subject` and `is_reply` as
    `sorting.base_subject` gives them; the others as `thread_keys` does. A plain tuple will do.
    """

    uid: int
    sent: int
    subject: str
    is_reply: bool
    message_key: int
    parent_key: int
    ancestor_keys: bytes


class Threads(NamedTuple):
    """
    Rows by columns: a message, how deep in its thread it is, 0 at the top, and how many answer it. UID 0 is a parent
    that is not there. Every row is followed by what answers it.
    """

    levels: Sequence[int]
    uids: Sequence[int]
    answers: Sequence[int]


class _Columns(NamedTuple):
    """Messages by columns, see `ThreadedMessage`."""

    uids: Sequence[int]
    sent: Sequence[int]
    subjects: Sequence[str]
    are_replies: Sequence[bool]
    message_keys: Sequence[int]
    parent_keys: Sequence[int]
    ancestor_keys: Sequence[bytes]


def thread_keys(message_id: str, in_reply_to: str, references: str) -> tuple[int, int, bytes]:
    """
    A message's own identifier, that of the message it answers, and those of the References before that one.

    Args:
        message_id: msg-ids with their brackets, separated by a space, as the others. Of several the first counts.

    Returns:
        numbers of 63 bits, 0 for none; the last ones packed, see `_unpack`.
    """
    ids = references.split() or in_reply_to.split()[:1]
    keys = [_key(identifier) for identifier in ids]
    own = message_id.partition(" ")[0]
    return _key(own) if own else 0, keys[-1] if keys else 0, struct.pack(f">{max(0, len(keys) - 1)}Q", *keys[:-1])


def _key(message_id: str) -> int:
    """Quoting makes no difference."""
    if '"' in message_id:
        message_id = message_id.replace('"', "").replace("\\", "")
    digest = hashlib.blake2b(message_id.encode("utf-8", "replace"), digest_size=_KEY_OCTETS).digest()
    return int.from_bytes(digest) >> 1 or 1


def _unpack(keys: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(keys) // _KEY_OCTETS}Q", keys)


def thread(messages: Sequence[ThreadedMessage], algorithm: ThreadAlgorithm) -> Threads:
    """Threads of messages in rising UID order."""
    if not messages:
        return Threads((), (), ())
    columns = _Columns._make(zip(*messages, strict=True))
    if algorithm is ThreadAlgorithm.ORDEREDSUBJECT:
        return _by_subject(columns)
    return _Forest(columns).printed()


def _by_subject(columns: _Columns) -> Threads:
    groups: dict[str, list[tuple[int, int]]] = {}
    for subject, *when in zip(columns.subjects, columns.sent, columns.uids, strict=True):
        groups.setdefault(subject, []).append((when[0], when[1]))
    levels: list[int] = []
    uids: list[int] = []
    answers: list[int] = []
    for group in sorted(map(sorted, groups.values())):
        others = len(group) - 1
        levels += [0, *[1] * others]
        uids += [uid for _, uid in group]
        answers += [others, *[0] * others]
    return Threads(levels, uids, answers)


def _link(columns: _Columns) -> list[int]:
    """Step 1: the parent of each node, -1 for none."""
    count = len(columns.uids)
    # The first message of an identifier is the one; the others stand for themselves.
    nodes = dict(zip(reversed(columns.message_keys), range(count - 1, -1, -1), strict=True))
    nodes.pop(0, None)
    parents = [-1] * count
    answered = bytearray(count)

    def find(key: int) -> int:
        node = nodes.get(key)
        if node is None:
            node = nodes[key] = len(parents)
            parents.append(-1)
            answered.append(0)
        return node

    def adopt(parent: int, child: int) -> None:
        """Link two nodes, unless that made a loop."""
        if parent == child:
            return
        if answered[child]:
            ancestor = parents[parent]
            for _ in range(DEPTH_CHECKED):
                if ancestor < 0:
                    break
                if ancestor == child:
                    return
                ancestor = parents[ancestor]
            else:
                return
        parents[child] = parent
        answered[parent] = 1

    for place, (parent_key, ancestors) in enumerate(zip(columns.parent_keys, columns.ancestor_keys, strict=True)):
        if not parent_key:
            parents[place] = -1
            continue
        parent = find(parent_key)
        if ancestors:
            before = -1
            for key in _unpack(ancestors):
                ancestor = find(key)
                if before >= 0 and parents[ancestor] < 0:
                    adopt(before, ancestor)
                before = ancestor
            if parents[parent] < 0:
                adopt(before, parent)
        if answered[place] or parent == place:
            parents[place] = -1
            adopt(parent, place)
        else:
            parents[place] = parent
            answered[parent] = 1
    return parents


def _without_dummies(parents: list[int], count: int) -> None:
    """Step 3, but for the top: a dummy's children take its place."""
    if len(parents) == count:
        return
    for node in range(count):
        passed = []
        parent = parents[node]
        while parent >= count and parents[parent] >= 0:
            passed.append(parent)
            parent = parents[parent]
        if passed:
            parents[node] = parent
            for dummy in passed:
                parents[dummy] = parent


class _Forest:
    """Trees of messages: nodes without a parent, and the children of those that have any."""

    def __init__(self, columns: _Columns) -> None:
        self._columns = columns
        self._count = len(columns.uids)
        parents = _link(columns)
        self._nodes = len(parents)
        _without_dummies(parents, self._count)
        self._roots: list[int] = []
        self._children: dict[int, list[int]] = defaultdict(list)
        for node in range(self._count):
            if parents[node] >= 0:
                self._children[parents[node]].append(node)
            else:
                self._roots.append(node)
        self._prune_top()
        self._merge_subjects()
        for children in self._children.values():
            self._sort(children)
        self._sort_roots()

    def _prune_top(self) -> None:
        """Steps 3 and 4: at the top a dummy with a single child gives way to it."""
        for node in [node for node in self._children if node >= self._count]:
            if len(self._children[node]) == 1:
                self._roots += self._children.pop(node)
            else:
                self._sort(self._children[node])
                self._roots.append(node)
        self._sort_roots()

    def _merge_subjects(self) -> None:
        """Step 5."""
        subjects, are_replies = self._columns.subjects, self._columns.are_replies
        table: dict[str, tuple[int, bool]] = {}
        for node in self._roots:
            first = self._first(node)
            subject, is_reply = subjects[first], bool(are_replies[first])
            if not subject:
                continue
            known, known_is_reply = table.get(subject, (-1, False))
            if known < 0 or (
                known < self._count and (node >= self._count or (known_is_reply and not is_reply))
            ):
                table[subject] = (node, is_reply)
        moved: set[int] = set()
        made: list[int] = []
        for node in self._roots:
            first = self._first(node)
            subject, is_reply = subjects[first], bool(are_replies[first])
            if not subject or table[subject][0] == node or node in moved:
                continue
            known, known_is_reply = table[subject]
            moved.add(node)
            if known >= self._count:
                self._children[known] += [node] if node < self._count else self._children[node]
            elif is_reply and not known_is_reply:
                self._children[known].append(node)
            else:
                both = self._nodes
                self._nodes += 1
                self._children[both] = [known, node]
                moved.add(known)
                made.append(both)
                table[subject] = (both, known_is_reply)
        if moved:
            self._roots = [node for node in (*self._roots, *made) if node not in moved]

    def _first(self, node: int) -> int:
        """The message itself; a dummy stands where its first child does."""
        return node if node < self._count else self._children[node][0]

    def _sort(self, siblings: list[int]) -> None:
        """Steps 4 and 6: messages by the time they were sent, then by UID."""
        if len(siblings) > 1:
            siblings.sort()
            siblings.sort(key=self._columns.sent.__getitem__)

    def _sort_roots(self) -> None:
        first, sent = self._first, self._columns.sent
        self._roots.sort(key=lambda node: (sent[first(node)], first(node)))

    def printed(self) -> Threads:
        """The trees in the order in which they are printed."""
        levels: list[int] = []
        order: list[int] = []
        answers: list[int] = []
        find = self._children.get
        for root in self._roots:
            waiting = [(0, root)]
            while waiting:
                level, node = waiting.pop()
                while True:
                    levels.append(level)
                    order.append(node)
                    children = find(node)
                    if children is None:
                        answers.append(0)
                        break
                    answers.append(len(children))
                    level += 1
                    node, *others = children
                    if others:
                        waiting.extend([(level, child) for child in reversed(others)])
        uids = (*self._columns.uids, *[0] * (self._nodes - self._count))
        return Threads(levels, list(map(uids.__getitem__, order)), answers)

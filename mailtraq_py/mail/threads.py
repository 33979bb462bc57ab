"""
Threads: which message answers which.

ORDEREDSUBJECT groups by base subject; REFERENCES links messages by the identifiers they name, in the six steps of
RFC 5256, whose numbers stand beside the functions. A tree may be as deep as a mailbox is long, so nothing recurses,
and trees leave here as rows in the order in which they are printed.

RFC 5256 3 (THREAD)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from .sorting import base_subject

# To link a message that has answers already under one that lies deeper than this would take too long to check.
DEPTH_CHECKED = 200


class ThreadAlgorithm(Enum):
    """RFC 5256 3, thread-alg."""

    ORDEREDSUBJECT = "ORDEREDSUBJECT"
    REFERENCES = "REFERENCES"


class ThreadedMessage(NamedTuple):
    """
    What a message says of its thread: `sent` in seconds since the epoch; `subject` folded; the others msg-ids with
    their brackets, separated by a space.
    """

    uid: int
    sent: int
    subject: str
    message_id: str
    in_reply_to: str
    references: str


class ThreadRow(NamedTuple):
    """A message and how deep in its thread it is, 0 at the top. UID 0 is a parent that is not there."""

    level: int
    uid: int


def thread(messages: Sequence[ThreadedMessage], algorithm: ThreadAlgorithm) -> list[ThreadRow]:
    """Threads of messages in rising UID order; every row is followed by what answers it."""
    if algorithm is ThreadAlgorithm.ORDEREDSUBJECT:
        return _by_subject(messages)
    return _rows(_by_references(messages))


def _by_subject(messages: Sequence[ThreadedMessage]) -> list[ThreadRow]:
    groups: dict[str, list[tuple[int, int]]] = {}
    for message in messages:
        groups.setdefault(base_subject(message.subject)[0], []).append((message.sent, message.uid))
    rows: list[ThreadRow] = []
    for group in sorted(map(sorted, groups.values())):
        rows.extend(ThreadRow(int(place > 0), uid) for place, (_, uid) in enumerate(group))
    return rows


class _Node:
    """
    A message in its thread, or a dummy for one that is only named.

    While nodes are linked they know their parents and whether they are `answered`; the children are filled in at the
    end, so that a link that is broken costs nothing.
    """

    __slots__ = ("answered", "children", "message", "parent")

    def __init__(self, message: ThreadedMessage | None = None) -> None:
        self.message = message
        self.parent: _Node | None = None
        self.answered = False
        self.children: list[_Node] = []

    @property
    def when(self) -> tuple[int, int]:
        """What siblings are sorted by; a dummy stands where its first child does."""
        message = self.message or self.children[0].message
        return (message.sent, message.uid) if message is not None else (0, 0)

    @property
    def base_subject(self) -> tuple[str, bool]:
        """See `sorting.base_subject`; a dummy has its first child's."""
        message = self.message or self.children[0].message
        return base_subject(message.subject) if message is not None else ("", False)


def _by_references(messages: Sequence[ThreadedMessage]) -> list[_Node]:
    roots = [_pruned_root(node) for node in _prune(_link(messages))]
    present = [node for node in roots if node.message is not None or node.children]
    for node in present:
        if node.message is None:
            _sort(node.children)
    _sort(present)
    merged = _merge_subjects(present)
    for node in _all_below(merged):
        _sort(node.children)
    _sort(merged)
    return merged


def _link(messages: Sequence[ThreadedMessage]) -> list[_Node]:
    """Step 1; the nodes without a parent are step 2."""
    named: dict[str, _Node] = {}
    nodes: list[_Node] = []

    def find(message_id: str) -> _Node:
        node = named.get(message_id)
        if node is None:
            node = named[message_id] = _Node()
            nodes.append(node)
        return node

    for message in messages:
        own_id = _normal(message.message_id.partition(" ")[0])
        if own_id and find(own_id).message is None:
            node = named[own_id]
            node.message = message
        else:
            node = _Node(message)
            nodes.append(node)
        before: _Node | None = None
        for reference in _references(message):
            ancestor = find(reference)
            if before is not None and ancestor.parent is None:
                _adopt(before, ancestor)
            before = ancestor
        node.parent = None
        if before is not None:
            _adopt(before, node)
    for node in nodes:
        if node.parent is not None:
            node.parent.children.append(node)
    return [node for node in nodes if node.parent is None]


def _references(message: ThreadedMessage) -> list[str]:
    ids = message.references.split() or message.in_reply_to.split()[:1]
    return [_normal(message_id) for message_id in ids]


def _normal(message_id: str) -> str:
    """Quoting makes no difference."""
    return message_id.replace('"', "").replace("\\", "") if '"' in message_id else message_id


def _adopt(parent: _Node, child: _Node) -> None:
    """Link two nodes, unless that made a loop."""
    if parent is child:
        return
    if child.answered:
        ancestor: _Node | None = parent.parent
        for _ in range(DEPTH_CHECKED):
            if ancestor is None:
                break
            if ancestor is child:
                return
            ancestor = ancestor.parent
        else:
            return
    child.parent = parent
    parent.answered = True


def _prune(roots: list[_Node]) -> list[_Node]:
    """Step 3, but for the top: a dummy's children take its place."""
    for node in reversed(_all_below(roots)):
        if node.children and any(child.message is None for child in node.children):
            kept: list[_Node] = []
            for child in node.children:
                kept += [child] if child.message is not None else child.children
            node.children = kept
    return roots


def _pruned_root(node: _Node) -> _Node:
    """At the top only a dummy with a single child gives way to it."""
    return node.children[0] if node.message is None and len(node.children) == 1 else node


def _merge_subjects(roots: list[_Node]) -> list[_Node]:
    """Step 5."""
    with_subjects = [(node, *node.base_subject) for node in roots]
    table: dict[str, tuple[_Node, bool]] = {}
    for node, subject, is_reply in with_subjects:
        if not subject:
            continue
        known, known_is_reply = table.get(subject, (None, False))
        if known is None or (
            known.message is not None and (node.message is None or (known_is_reply and not is_reply))
        ):
            table[subject] = (node, is_reply)
    moved: set[_Node] = set()
    made: list[_Node] = []
    for node, subject, is_reply in with_subjects:
        if not subject or table[subject][0] is node or node in moved:
            continue
        known, known_is_reply = table[subject]
        moved.add(node)
        if known.message is None:
            known.children += [node] if node.message is not None else node.children
        elif is_reply and not known_is_reply:
            known.children.append(node)
        else:
            both = _Node()
            both.children = [known, node]
            moved.add(known)
            made.append(both)
            table[subject] = (both, known_is_reply)
    return [node for node in (*roots, *made) if node not in moved]


def _sort(siblings: list[_Node]) -> None:
    """Steps 4 and 6."""
    if len(siblings) > 1:
        siblings.sort(key=lambda node: node.when)


def _all_below(roots: Iterable[_Node]) -> list[_Node]:
    """All nodes of trees, each before what lies beneath it."""
    nodes = list(roots)
    for node in nodes:
        nodes.extend(node.children)
    return nodes


def _rows(roots: Sequence[_Node]) -> list[ThreadRow]:
    rows: list[ThreadRow] = []
    waiting = [(0, node) for node in reversed(roots)]
    while waiting:
        level, node = waiting.pop()
        rows.append(ThreadRow(level, node.message.uid if node.message is not None else 0))
        if node.children:
            waiting.extend([(level + 1, child) for child in reversed(node.children)])
    return rows

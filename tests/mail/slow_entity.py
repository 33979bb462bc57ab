"""
A second MIME parser to compare the real one with: line by line, recursive, slow, and written on its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mailtraq_py.mail.header import parse_content_type


@dataclass
class Node:
    """Offsets as in `mail.entity.Entity`."""

    kind: str
    start: int
    body_start: int = 0
    end: int = 0
    lines: int = 0
    parts: list[Node] = field(default_factory=list)


# The level of the multipart whose delimiter came, whether it was the last, and where the body before it ends.
Ended = tuple[int, bool, int] | None


class SlowParser:
    """One message; `parse` gives its tree."""

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.lines = _lines(message)
        self.offset = 0
        self.number = 0

    def parse(self) -> Node:
        """The root."""
        node, _ = self.entity([], in_digest=False)
        return node

    def next_line(self) -> bytes | None:
        """The next line with its end, or None."""
        if self.number == len(self.lines):
            return None
        line = self.lines[self.number]
        self.number += 1
        self.offset += len(line)
        return line

    def delimiter(self, line: bytes, boundaries: list[bytes | None]) -> tuple[int, bool] | None:
        """Whose delimiter a line is; the innermost multipart's if several could claim it."""
        if not line.startswith(b"--"):
            return None
        text = line[2:].rstrip(b"\n").rstrip(b" \t\r")
        for level in reversed(range(len(boundaries))):
            boundary = boundaries[level]
            if boundary is not None and text in (boundary, boundary + b"--"):
                return level, text != boundary
        return None

    def entity(self, boundaries: list[bytes | None], in_digest: bool) -> tuple[Node, Ended]:
        """One entity from here on, and what ended it."""
        node = Node("LEAF", self.offset)
        header = b""
        ended: Ended = None
        while (line := self.next_line()) is not None:
            if line in (b"\r\n", b"\n"):
                header += line
                break
            found = self.delimiter(line, boundaries) if node.start else None
            if found:
                ended = (*found, self.offset - len(line))
                break
            header += line
        node.body_start = node.start + len(header)
        content_type = _content_type(header)
        maintype, subtype = content_type[:2] if content_type else (b"text", b"plain")
        if content_type is None and in_digest:
            maintype, subtype = b"message", b"rfc822"
        boundary = content_type.parameter(b"boundary") if content_type else b""
        if maintype == b"multipart" and boundary:
            if ended is None:
                ended = self.multipart(node, [*boundaries, boundary], subtype == b"digest")
        elif (maintype, subtype) == (b"message", b"rfc822"):
            node.kind = "MESSAGE"
            if ended is not None:
                node.parts = [Node("LEAF", node.body_start, node.body_start, node.body_start)]
            else:
                part, ended = self.entity([*boundaries, None], in_digest=False)
                node.parts = [part]
                if ended is not None:
                    ended = (ended[0], ended[1], max(ended[2], part.body_start))
        elif ended is None:
            ended = self.leaf(boundaries)
        node.end = max(node.body_start, ended[2] if ended else len(self.message))
        if ended is not None:
            ended = (ended[0], ended[1], node.end)
        node.lines = self.message[node.body_start : node.end].count(b"\n")
        return node, ended

    def leaf(self, boundaries: list[bytes | None]) -> Ended:
        """Pass over a body."""
        while (line := self.next_line()) is not None:
            found = self.delimiter(line, boundaries)
            if found:
                return (*found, _before(self.message, self.offset - len(line)))
        return None

    def multipart(self, node: Node, boundaries: list[bytes | None], is_digest: bool) -> Ended:
        """Read the parts of a multipart."""
        level = len(boundaries) - 1
        ended = self.leaf(boundaries)
        while ended is not None and ended[0] == level:
            node.kind = "MULTIPART" if node.parts or not ended[1] else node.kind
            if ended[1]:
                return self.leaf([*boundaries[:-1], None])
            part, ended = self.entity(boundaries, is_digest)
            node.parts.append(part)
        return ended


def _content_type(header: bytes):  # type: ignore[no-untyped-def]
    # The CR stays: a fold ends a value that has no quotes.
    unfolded = header.replace(b"\r\n ", b"\r ").replace(b"\n ", b"\r ")
    for line in unfolded.split(b"\n"):
        name, _, value = line.partition(b":")
        if name.rstrip(b" \t").lower() == b"content-type":
            return parse_content_type(value)
    return None


def _lines(message: bytes) -> list[bytes]:
    return [line + b"\n" for line in message.split(b"\n")[:-1]] + [line for line in message.split(b"\n")[-1:] if line]


def _before(message: bytes, offset: int) -> int:
    """Where the line end before an offset begins."""
    offset -= 1
    return offset - 1 if offset and message[offset - 1] == 0x0D else offset

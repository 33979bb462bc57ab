"""
Tests of the packed map of parts.

Part numbers are tested in `tests/known/test_fetch.py` too, packing in `test_entity.py`.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.entity import pack, parse
from mailtraq_py.mail.partmap import OFFSET_MAX, Kind, Part, Place, find_part, unpack
from mailtraq_py.mail.partmap import pack as pack_parts


class PartMapTests(SynchronousTestCase):
    """Maps and what they find."""

    def test_single(self) -> None:
        """A message of one part has an empty map and is its own part 1."""
        root = Part(Kind.LEAF, 0, 20, 90)
        self.assertEqual(b"", pack_parts([root]))
        self.assertEqual([root], unpack(b"", 20, 90))
        self.assertEqual(Place(root, root), find_part(b"", (), 20, 90))
        self.assertEqual(Place(root, None), find_part(b"", (1,), 20, 90))
        self.assertIsNone(find_part(b"", (2,), 20, 90))
        self.assertIsNone(find_part(b"", (1, 1), 20, 90))

    def test_carried_message(self) -> None:
        """The message in a message that carries one is part 1, and its own body 1.1."""
        message = b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nbody"
        root = parse(message)
        place = find_part(pack(root), (1,), root.body_start, root.end)
        assert place and place.message
        self.assertEqual(b"Subject: inner\r\n\r\nbody", message[place.part.body_start : place.part.end])
        self.assertEqual(b"body", message[place.message.body_start : place.message.end])
        inner = find_part(pack(root), (1, 1), root.body_start, root.end)
        assert inner
        self.assertEqual(b"body", message[inner.part.body_start : inner.part.end])
        self.assertIsNone(find_part(pack(root), (1, 1, 1), root.body_start, root.end))
        self.assertIsNone(find_part(pack(root), (1, 2), root.body_start, root.end))

    def test_message_in_message_in_message(self) -> None:
        """Each message carried has one number more."""
        message = b"Content-Type: message/rfc822\r\n\r\n" * 3 + b"Subject: x\r\n\r\nbody"
        root = parse(message)
        place = find_part(pack(root), (1, 1, 1, 1), root.body_start, root.end)
        assert place
        self.assertEqual(b"body", message[place.part.body_start : place.part.end])

    def test_too_large(self) -> None:
        """Beyond 4 GiB no map is kept."""
        parts = [Part(Kind.MULTIPART, 0, 20, OFFSET_MAX + 1, 1), Part(Kind.LEAF, 20, 30, OFFSET_MAX)]
        self.assertEqual(b"", pack_parts(parts))

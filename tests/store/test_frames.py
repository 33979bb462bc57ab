"""
The language between workers and the writer's process.
"""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces import failures
from mailtraq_py.interfaces.failures import OverQuota, PermanentFailure, StorageFull
from mailtraq_py.store import frames, sql
from mailtraq_py.store.frames import (
    FAILURES,
    Answer,
    Incoming,
    OperationFailed,
    Report,
    answer,
    decode_arguments,
    decode_report,
    decode_request,
    encode_call,
    encode_distrust,
    encode_report,
    encode_withdrawal,
)
from mailtraq_py.store.operations import WRITES
from mailtraq_py.store.sql.acceptance import Copy, Entry, PreparedContent, QueueRow
from mailtraq_py.store.sql.rows import Written
from mailtraq_py.store.writermetrics import WriterMetrics

ENTRY = Entry(
    "A1",
    1.5,
    2,
    (
        PreparedContent(
            (1, b"envelope", None, "subject \N{SNOWMAN}", 1 << 62),
            (1, None, "subject", 0, 1 << 62, 0, b"12345678"),
            b"octets",
            6,
            (b"head",),
            (Copy(1, "INBOX", 1, 10, 0, "$Work", 3),),
            (QueueRow(0, "world.example", 1.0, 2.0, ("", "u@world.example"), False),),
        ),
    ),
    "{}",
)


def unframed(framed: bytes) -> bytes:
    """The one message of a frame."""
    (message,) = Incoming().receive(framed)
    return message


class FramesTests(SynchronousTestCase):
    """Messages there and back."""

    def test_a_call(self) -> None:
        """Arguments arrive as what the function takes."""
        request = decode_request(unframed(encode_call(7, "main", "accept", (ENTRY,))))
        self.assertEqual((request.kind, request.number, request.database, request.name), ("call", 7, "main", "accept"))
        self.assertEqual(decode_arguments("accept", request.arguments), (ENTRY,))
        keywords = decode_request(
            unframed(encode_call(8, "main", "store_flags", (1, [(1, 5)], "+", 0, frozenset({"$Work"}), None, 9)))
        )
        self.assertEqual(
            decode_arguments("store_flags", keywords.arguments), (1, [(1, 5)], "+", 0, frozenset({"$Work"}), None, 9)
        )

    def test_other_words(self) -> None:
        """A withdrawal and distrust."""
        self.assertEqual(decode_request(unframed(encode_withdrawal(7, "main")))[:3], ("withdraw", 7, "main"))
        self.assertEqual(decode_request(unframed(encode_distrust("main", "sync")))[2:4], ("main", "sync"))

    def test_wrong_arguments(self) -> None:
        """Too few, too many and others are refused; what has a default may be left out."""
        for arguments in ((), ("a",), ("a", "b", "c"), ("a", "b", 0.0, 1)):
            with self.assertRaises(msgspec.ValidationError):
                decode_arguments("add_domain", msgspec.Raw(msgspec.msgpack.encode(arguments)))
        self.assertRaises(KeyError, decode_arguments, "nothing_such", msgspec.Raw(b""))
        default = inspect.signature(WRITES["purge_condemned"]).parameters
        self.assertEqual(
            decode_arguments("purge_condemned", msgspec.Raw(msgspec.msgpack.encode(()))),
            tuple(parameter.default for parameter in list(default.values())[1:]),
        )

    def test_every_operation_can_cross(self) -> None:
        """The annotations of every function are of types that can be held against."""
        for name in WRITES:
            frames._parameters(name)

    def test_every_failure_can_cross(self) -> None:
        """Whatever exception the rooms of the store and its contract define for callers keeps its type."""
        modules = [failures]
        modules += [import_module(f"{sql.__name__}.{module.name}") for module in pkgutil.iter_modules(sql.__path__)]
        known = {
            kind
            for module in modules
            for kind in vars(module).values()
            if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__ == module.__name__
        }
        # What a peer said for good; the store has no such word.
        known.discard(PermanentFailure)
        self.assertEqual(set(FAILURES.values()), known)

    def test_a_report(self) -> None:
        """Values, failures with their texts, and bugs come out as such."""
        answers = [
            answer(1, Written([(1, "a", None, b"x")])),
            answer(2, StorageFull("database: disk full")),
            answer(3, OverQuota()),
            answer(4, ZeroDivisionError("why")),
        ]
        report = Report("main", False, WriterMetrics(operations=3), [("mailbox-gone", 5, 0.0)], [9], answers)
        heard = decode_report(unframed(encode_report(report)))
        self.assertEqual(heard[:5], ("main", False, WriterMetrics(operations=3), [("mailbox-gone", 5, 0.0)], [9]))
        value, full, quota, bug = [given.outcome for given in heard.answers]
        self.assertEqual(value, Written([[1, "a", None, b"x"]]))
        assert isinstance(full, StorageFull)
        self.assertEqual(full.reason, "database: disk full")
        self.assertIsInstance(quota, OverQuota)
        self.assertIsInstance(bug, OperationFailed)
        self.assertEqual(str(bug), "ZeroDivisionError: why")
        self.assertEqual(heard.answers[0], Answer(1, "", [[1, "a", None, b"x"]]))

    def test_however_it_is_cut(self) -> None:
        """The same messages come out of a stream in any pieces."""
        stream = b"".join(frames.frame(message) for message in (b"one", b"", b"three" * 100))
        for size in (1, 2, 3, 7, len(stream)):
            incoming = Incoming()
            heard: list[bytes] = []
            for place in range(0, len(stream), size):
                heard += incoming.receive(stream[place : place + size])
            self.assertEqual(heard, [b"one", b"", b"three" * 100])

    def test_no_stream_of_ours(self) -> None:
        """A length that no message has is an error, before so much is waited for."""
        self.assertRaises(ValueError, Incoming().receive, b"EHLO")

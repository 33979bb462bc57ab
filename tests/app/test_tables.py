"""
Tables as types: what is taken, what is wrong, and what stands in for what is wrong.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import field
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.tables import Table, TableReader, at_least, at_most, matching, more_than


class Inner(Table, frozen=True):
    """A table with a key that must be given."""

    word: str
    size: Annotated[int, at_least(1), at_most(9)] = 3


class Round(Table, frozen=True):
    """One of two."""

    preset: Literal["round"] = "round"
    radius: Annotated[float, more_than(0)] = 1.0


class Square(Table, frozen=True):
    """The other one."""

    preset: Literal["square"] = "square"
    side: int = 1


class Outer(Table, frozen=True):
    """The whole."""

    on: bool = False
    name: Annotated[str, matching("[a-z]*", "may hold letters only")] = ""
    kind: Literal["a", "b"] = "a"
    words: tuple[str, ...] = ("x",)
    named: dict[str, tuple[int, ...]] = field(default_factory=dict)
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    shape: Round | Square = Round()


class TableTests(SynchronousTestCase):
    """One reader a file."""

    def read(self, **raw: Any) -> tuple[Outer, list[tuple[tuple[str | int, ...], str]]]:
        """What is made of a file, and what is wrong with it."""
        reader = TableReader(Outer)
        return reader.table(Outer, raw), sorted(reader.problems, key=str)

    def test_what_is_right(self) -> None:
        """Arrays become tuples, whole numbers floats where those stand; the preset chooses the table."""
        table, problems = self.read(
            on=True,
            name="abc",
            kind="b",
            words=["a", "b"],
            named={"n": [1]},
            inner={"word": "w"},
            many=[{"word": "v", "size": 9}],
            shape={"preset": "square", "side": 2},
        )
        self.assertEqual(problems, [])
        self.assertEqual(
            table,
            Outer(True, "abc", "b", ("a", "b"), {"n": (1,)}, Inner("w"), (Inner("v", 9),), Square(side=2)),
        )
        table, problems = self.read(shape={"radius": 2})
        self.assertEqual((table.shape, problems), (Round(radius=2.0), []))

    def test_what_is_wrong(self) -> None:
        """Everything is told, each with its path; a default, or nothing, stands in for it."""
        table, problems = self.read(
            on=1,
            name="A",
            kind="c",
            words=["a", 5],
            named={"n": "x"},
            inner={"size": True},
            many=[{"word": "v", "size": 10}, 7],
            shape={"radius": 0, "side": 1},
            naem="",
            other=1,
        )
        self.assertEqual(
            problems,
            [
                (("inner", "size"), "must be a whole number"),
                (("inner", "word"), "is needed here"),
                (("kind",), "must be one of 'a' or 'b'"),
                (("many", 0, "size"), "must be at most 9"),
                (("many", 1), "must be a table"),
                (("naem",), "unknown key (did you mean name?)"),
                (("name",), "may hold letters only"),
                (("named", "n"), "must be an array: [ ... ]"),
                (("on",), "must be true or false"),
                (("other",), "unknown key"),
                (("shape", "radius"), "must be more than 0"),
                (("shape", "side"), "this key does not belong in this table"),
                (("words", 1), "must be a text in quotes"),
            ],
        )
        self.assertEqual(table, Outer(words=("a", ""), named={"n": ()}, inner=Inner(""), many=(Inner("v"), Inner(""))))

    def test_a_preset_nobody_knows(self) -> None:
        """Its table stays at the default; what else stands in it is not judged."""
        table, problems = self.read(shape={"preset": "star", "points": 5})
        self.assertEqual(problems, [(("shape", "preset"), "must be one of 'round' or 'square'")])
        self.assertEqual(table.shape, Round())
        self.assertEqual(self.read(shape=3)[1], [(("shape",), "must be a table")])

"""
Tables of a configuration file as types: what each value must be, and all that is wrong with what stands there.

A table is a class, and the annotation of a field says what may stand under its key: bool, int, float, str, Literal,
`tuple[T, ...]` for an array, `dict[str, T]`, another table, or one of several tables, told apart by their key `preset`.
`Annotated` adds checks: functions that raise ValueError with a sentence. Types are strict (a text is no number), but a
whole number may stand for a float; a key that the table does not have is wrong.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

from .tomllines import KeyPath

_PRESET = "preset"
_NEAR = 0.75
_WORDS: dict[Any, str] = {
    bool: "must be true or false",
    int: "must be a whole number",
    float: "must be a number",
    str: "must be a text in quotes",
    tuple: "must be an array: [ ... ]",
    dict: "must be a table",
}

Check = Callable[[Any], object]


class Table(Struct, frozen=True):
    """What all tables have in common; a key without a default must be given."""


_Table = TypeVar("_Table", bound=Table)


# --- checks --------------------------------------------------------------------------------------------------


def at_least(bound: float) -> Check:
    """Not below `bound`."""
    return _check(lambda value: value >= bound, f"must be at least {_shown(bound)}")


def more_than(bound: float) -> Check:
    """Above `bound`."""
    return _check(lambda value: value > bound, f"must be more than {_shown(bound)}")


def at_most(bound: float) -> Check:
    """Not above `bound`."""
    return _check(lambda value: value <= bound, f"must be at most {_shown(bound)}")


def _shown(bound: float) -> str:
    return str(int(bound) if float(bound).is_integer() else bound)


def not_empty(values: Any) -> None:
    """An array with an entry at least; one that is left out keeps its default."""
    if not values:
        raise ValueError("must have an entry; without the key the default holds")


def matching(pattern: str, sentence: str) -> Check:
    """The whole text fits a regular expression."""
    return _check(lambda value: re.fullmatch(pattern, value), sentence)


def _check(is_right: Callable[[Any], object], sentence: str) -> Check:
    def check(value: Any) -> None:
        if not is_right(value):
            raise ValueError(sentence)

    return check


# --- reading -------------------------------------------------------------------------------------------------


class TableReader:
    """
    Makes tables of what a TOML reader found; `problems` holds (path of the key, sentence) of all that was wrong.

    What is wrong is left at its default, or empty where it has none, so that the rest of the file can be judged too.
    """

    def __init__(self, kind: type[Table]) -> None:
        self.problems: list[tuple[KeyPath, str]] = []
        self._whole = kind

    def table(self, kind: type[_Table], raw: dict[str, Any], path: KeyPath = ()) -> _Table:
        """A table of this kind."""
        values: dict[str, Any] = {}
        hints = _hints(kind)
        for name in raw.keys() - hints.keys():
            self._complain((*path, name), self._unknown(name))
        for field in fields(kind):
            instead = _default_of(field, hints[field.name])
            if field.name in raw:
                values[field.name] = self._value(hints[field.name], raw[field.name], (*path, field.name), instead)
            elif field.required:
                self._complain((*path, field.name), "is needed here")
                values[field.name] = instead
        return kind(**values)

    def _value(self, kind: Any, raw: Any, path: KeyPath, instead: Any) -> Any:
        kind, checks = _unwrapped(kind)
        if isinstance(kind, tuple):
            return self._one_of(kind, raw, path, instead)
        base = get_origin(kind) or kind
        if base is Literal:
            return self._literal(get_args(kind), raw, path, instead)
        is_table = isinstance(base, type) and issubclass(base, Table)
        found = {list: tuple}.get(type(raw), type(raw))
        if base is float and found is int:
            raw, found = float(raw), float
        if found is not (dict if is_table else base):
            return self._complain(path, _WORDS[dict if is_table else base], instead)
        if is_table:
            return self.table(base, raw, path)
        if base is tuple:
            inner = get_args(kind)[0]
            entries = tuple(self._value(inner, each, (*path, index), _blank(inner)) for index, each in enumerate(raw))
            return self._checked(checks, entries, path, instead)
        if base is dict:
            inner = get_args(kind)[1]
            return {key: self._value(inner, each, (*path, key), _blank(inner)) for key, each in raw.items()}
        return self._checked(checks, raw, path, instead)

    def _checked(self, checks: Iterable[Check], value: Any, path: KeyPath, instead: Any) -> Any:
        try:
            for check in checks:
                check(value)
        except ValueError as error:
            return self._complain(path, str(error), instead)
        return value

    def _literal(self, words: tuple[Any, ...], raw: Any, path: KeyPath, instead: Any) -> Any:
        if type(raw) is type(words[0]) and raw in words:
            return raw
        return self._complain(path, f"must be one of {_listed(words)}", instead)

    def _one_of(self, kinds: tuple[type[Table], ...], raw: Any, path: KeyPath, instead: Any) -> Any:
        presets = {getattr(kind(), _PRESET): kind for kind in kinds}
        if not isinstance(raw, dict):
            return self._complain(path, _WORDS[dict], instead)
        preset = raw.get(_PRESET, next(iter(presets)))
        if not isinstance(preset, str) or preset not in presets:
            return self._complain((*path, _PRESET), f"must be one of {_listed(presets)}", instead)
        return self.table(presets[preset], raw, path)

    def _unknown(self, name: str) -> str:
        known = _names_in(self._whole)
        if name in known:
            return "this key does not belong in this table"
        near = difflib.get_close_matches(name, known, n=1, cutoff=_NEAR)
        return f"unknown key (did you mean {near[0]}?)" if near else "unknown key"

    def _complain(self, path: KeyPath, sentence: str, instead: Any = None) -> Any:
        self.problems.append((path, sentence))
        return instead


@lru_cache
def _hints(kind: type[Table]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _unwrapped(kind: Any) -> tuple[Any, tuple[Check, ...]]:
    """A type without its checks, and they; of a union the kinds of tables."""
    if get_origin(kind) is Annotated:
        kind, *checks = get_args(kind)
        return kind, tuple(checks)
    if get_origin(kind) in (Union, UnionType):
        kinds = tuple(each for each in get_args(kind) if each is not NoneType)
        return kinds[0] if len(kinds) == 1 else kinds, ()
    return kind, ()


def _default_of(field: FieldInfo, kind: Any) -> Any:
    if field.default_factory is not NODEFAULT:
        return field.default_factory()
    return _blank(kind) if field.required else field.default


def _blank(kind: Any) -> Any:
    """What stands for a value that is wrong and has no default."""
    kind, _ = _unwrapped(kind)
    if isinstance(kind, type) and issubclass(kind, Table):
        return kind(**{field.name: _blank(_hints(kind)[field.name]) for field in fields(kind) if field.required})
    return get_args(kind)[0] if get_origin(kind) is Literal else (get_origin(kind) or kind)()


@lru_cache
def _names_in(kind: Any) -> frozenset[str]:
    """The names of all keys, for "did you mean"."""
    names: set[str] = set()
    if isinstance(kind, type) and issubclass(kind, Table):
        names.update(kind.__struct_fields__)
        inner: Iterable[Any] = _hints(kind).values()
    else:
        inner = [each for each in get_args(kind) if isinstance(each, type) or get_args(each)]
    return frozenset(names.union(*map(_names_in, inner)))


def _listed(words: Iterable[str]) -> str:
    *first, last = (repr(word) for word in words)
    return f"{', '.join(first)} or {last}" if first else last

"""
The house keeps its floors: imports go down or stay in their room, rooms hold no rings, pure rooms are pure.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

PACKAGE = "mailtraq_py"
ROOT = Path(__file__).parent.parent / PACKAGE

FLOORS = [
    {"mail"},
    {"interfaces"},
    {"wire", "sieve", "mailauth"},
    {"policy", "store", "net"},
    {"delivery", "queue"},
    {"servers"},
    {"app"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

FOUNDATION = {"mail", "interfaces", "wire", "sieve", "mailauth"}
"""Floors 0 to 2: whoever lives higher may import them."""

ALSO = {
    "policy": set(),
    "store": set(),
    "net": set(),
    "delivery": set(),
    "queue": set(),
    "servers": set(),
    "app": set(FLOOR),
}
"""What a room of the upper floors may import besides its own and FOUNDATION."""

PURE = FOUNDATION
IMPURE_MODULES = {"twisted", "sqlite3", "apsw", "socket", "time", "os", "random", "secrets", "threading", "asyncio"}
CALLS_OF_THE_CLOCK = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}

OPTIONAL_DRIVERS = {"prometheus_client", "psycopg", "postgres", "pypdf"}
"""Drivers that need not be installed, and what is loaded with them."""
LAZY = "app/cli"
"""A call of the command line takes under half a second, so each command imports only what it needs."""

LINES_MAX = 600


@dataclass(frozen=True)
class Source:
    """One file of the package."""

    path: Path

    @property
    def name(self) -> str:
        """As `wire/smtp/body.py`."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def module(self) -> str:
        """As `mailtraq_py.wire.smtp.body`."""
        parts = [PACKAGE, *self.path.relative_to(ROOT).with_suffix("").parts]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def room(self) -> str:
        """The folder below the package, "" for the package's own file."""
        parts = self.path.relative_to(ROOT).parts
        return parts[0] if len(parts) > 1 else ""

    @cached_property
    def tree(self) -> ast.Module:
        """The file, parsed."""
        return ast.parse(self.path.read_text("utf-8"))

    def imports(self, *, running: bool = False) -> Iterator[tuple[int, str]]:
        """
        Line and absolute module of each import; with `running`, without those that only the type checker sees.

        `from mailtraq_py.mail import address` counts as an import of the module `address`.
        """
        skipped = _for_types_only(self.tree) if running else set()
        for node in ast.walk(self.tree):
            if node in skipped:
                continue
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield node.lineno, alias.name
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                for alias in node.names:
                    inner = f"{base}.{alias.name}"
                    yield node.lineno, inner if inner in MODULES else base

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.module.split(".")
        if self.path.name != "__init__.py":
            package = package[:-1]
        package = package[: len(package) - node.level + 1]
        return ".".join([*package, *([node.module] if node.module else [])])


def _for_types_only(tree: ast.Module) -> set[ast.AST]:
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }


SOURCES = [Source(path) for path in sorted(ROOT.rglob("*.py"))]
MODULES = {source.module: source for source in SOURCES}


def room_of(module: str) -> str | None:
    """The room of one of our modules; None for anybody else's."""
    parts = module.split(".")
    return None if parts[0] != PACKAGE else parts[1] if len(parts) > 1 else ""


class LayersTests(SynchronousTestCase):
    """One test a rule; a failure lists every breach."""

    def none(self, breaches: list[str]) -> None:
        """Fail with the list, one a line."""
        self.assertEqual([], breaches, "\n" + "\n".join(breaches))

    def test_rooms(self) -> None:
        """Every room has its floor."""
        self.none([source.name for source in SOURCES if source.room not in FLOOR and source.room])

    def test_imports_go_down(self) -> None:
        """An import goes to a lower floor that the room may see, or stays in the room."""
        breaches = []
        for source in SOURCES:
            for line, module in source.imports():
                room = room_of(module)
                if not room or room == source.room or not source.room:
                    continue
                below = FLOOR[room] < FLOOR[source.room]
                seen = room in FOUNDATION or room in ALSO.get(source.room, set())
                if not (below and seen):
                    breaches.append(f"{source.name}:{line} imports {module}")
        self.none(breaches)

    def test_no_rings(self) -> None:
        """No file imports itself by way of others, but for what only the type checker sees."""
        graph = {
            source.module: {module for _, module in source.imports(running=True) if module in MODULES}
            for source in SOURCES
        }
        self.none([" -> ".join(ring) for ring in _rings(graph)])

    def test_imports_stand_at_the_top(self) -> None:
        """No import inside a function, but optional drivers and what the command line loads when it needs it."""
        breaches = []
        for source in SOURCES:
            if source.name.startswith(LAZY):
                continue
            for function in ast.walk(source.tree):
                if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    continue
                for node in ast.walk(function):
                    if isinstance(node, (ast.Import, ast.ImportFrom)):
                        names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
                        if not {name.partition(".")[0] for name in names} & OPTIONAL_DRIVERS:
                            breaches.append(f"{source.name}:{node.lineno}")
        self.none(breaches)

    def test_pure_rooms(self) -> None:
        """Floors 0 to 2 do no I/O, tell no time, roll no dice."""
        breaches = []
        for source in SOURCES:
            if source.room not in PURE:
                continue
            for line, module in source.imports():
                if module.partition(".")[0] in IMPURE_MODULES:
                    breaches.append(f"{source.name}:{line} imports {module}")
            for node in ast.walk(source.tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
                    breaches.append(f"{source.name}:{node.lineno} opens a file")
                if isinstance(node, ast.Attribute):
                    owner = ast.unparse(node.value).rpartition(".")[2]
                    if (owner, node.attr) in CALLS_OF_THE_CLOCK:
                        breaches.append(f"{source.name}:{node.lineno} asks the clock")
        self.none(breaches)

    def test_room_files(self) -> None:
        """`__init__.py` holds a docstring that names the room's files, and nothing else."""
        breaches = []
        for source in SOURCES:
            if source.path.name != "__init__.py":
                continue
            docstring = ast.get_docstring(source.tree)
            if docstring is None:
                breaches.append(f"{source.name} has no docstring")
                continue
            if source.room and len(source.tree.body) > 1:
                breaches.append(f"{source.name} holds more than its docstring")
            breaches += [
                f"{source.name} does not name {file.name}"
                for file in sorted(source.path.parent.glob("*.py"))
                if source.room and file.name != "__init__.py" and file.stem not in docstring
            ]
        self.none(breaches)

    def test_sizes(self) -> None:
        """No file above 600 lines."""
        lengths = {source.name: len(source.path.read_text("utf-8").splitlines()) for source in SOURCES}
        self.none([f"{name}: {length} lines" for name, length in lengths.items() if length > LINES_MAX])

    def test_docstrings(self) -> None:
        """Every file says in its first line what it is."""
        self.none([source.name for source in SOURCES if not ast.get_docstring(source.tree)])


def _rings(graph: dict[str, set[str]]) -> Iterator[list[str]]:
    """Each ring once, as the walk meets it."""
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> Iterator[list[str]]:
        if module in path:
            yield [*path[path.index(module) :], module]
            return
        if module in done:
            return
        for other in sorted(graph[module]):
            yield from walk(other, [*path, module])
        done.add(module)

    for module in sorted(graph):
        yield from walk(module, [])

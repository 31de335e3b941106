"""The plan of the house, read from the source: which way imports point, and how long files and functions may be."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median
from types import ModuleType

import pytest

import alignboard
from harness.registry import METHODS

ROOT = Path(__file__).resolve().parent.parent
PUBLIC = {f"alignboard.{name}": module for name, module in alignboard._MODULES.items()}
ROOMS = {"harness": {"harness"}, "methods": {"methods", "harness"}, "tasks": {"tasks", "harness"}}
ROOMS |= {"leaderboard": {"leaderboard", "harness"}, "alignboard": {"alignboard", "harness", "methods"}}
BASE = ("errors", "faults", "files", "records", "provenance", "statistics", "code", "stopping", "barriers")
CONTRACTS = ("method", "pair_method", "task", "protocols", "layers", "registry")
FLOOR = {**dict.fromkeys(BASE, "base"), **dict.fromkeys(CONTRACTS, "contracts"), "__init__": "base"}
BELOW = {  # the rooms of harness that each one may import
    "base": set[str](),
    "modeling": {"base"},
    "contracts": {"base", "modeling"},
    "storage": {"base"},
    "data": {"base", "modeling", "contracts", "storage"},
    "training": {"base", "modeling", "contracts"},
    "evaluation": {"base", "modeling", "contracts"},
    "results": {"base", "modeling", "contracts", "storage", "data", "evaluation"},
}
BELOW["experiments"] = set(BELOW)
BELOW["cli"] = set(BELOW)
BARE = (
    "modeling/encoder",
    "modeling/packing",
    "modeling/attention",
    "training/loop",
    "evaluation/retrieval",
)  # what runs on a bare GPU machine
BARE_PACKAGES = {"torch", "transformers", "regex", "numpy", "safetensors"}  # transformers requires regex
MAX_FILE, MAX_FUNCTION = 400, 60

FILES = sorted(
    path
    for room in (*ROOMS, "benchmarks", "validation", "tests")
    for path in (ROOT / room).rglob("*.py")
    if path.is_file()
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def nodes(parent: ast.AST, *, lazy: bool) -> Iterator[ast.AST]:
    """All nodes below `parent`, without those under `if TYPE_CHECKING` and, unless `lazy`, without function bodies."""
    for child in ast.iter_child_nodes(parent):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if not lazy and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        yield child
        yield from nodes(child, lazy=lazy)


def imported(path: Path, *, lazy: bool = True) -> set[str]:
    """Dotted names that a file imports; `from a import b` gives `a.b`, since b may be a module."""
    found: set[str] = set()
    for node in nodes(tree(path), lazy=lazy):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module_file(name: str) -> Path | None:
    """The file of our own module that a dotted name stands for, or that defines the last part of it."""
    parts = PUBLIC.get(name, name).split(".")
    for place in (ROOT.joinpath(*parts), ROOT.joinpath(*parts[:-1])):
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file() and path.is_relative_to(ROOT) and parts[0] in ROOMS:
                return path
    return None


def closure(start: list[Path], *, lazy: bool) -> dict[str, str]:
    """Foreign top-level packages that are imported from `start`, through our own modules, each with one importer."""
    foreign: dict[str, str] = {}
    seen: set[Path] = set()
    waiting = list(start)
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in imported(path, lazy=lazy or path in start):
            if (own := module_file(name)) is not None:
                waiting.append(own)
            else:
                foreign.setdefault(name.split(".")[0], name_of(path))
    return foreign


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room: str) -> None:
    wrong = [
        f"{name_of(path)} imports {name}"
        for path in FILES
        if path.relative_to(ROOT).parts[0] == room
        for name in imported(path)
        if name.split(".")[0] in ROOMS.keys() - ROOMS[room]
    ]
    assert not wrong, f"{room} may import only {sorted(ROOMS[room])}"


def room_of(path: Path) -> str:
    """The room of harness that a file is in; the modules at its top are base or contracts."""
    name = path.relative_to(ROOT / "harness").parts[0].removesuffix(".py")
    return FLOOR.get(name, name)


def test_rooms_of_harness_import_only_those_below() -> None:
    wrong = {
        f"{name_of(path)} imports {name}"
        for path in FILES
        if path.is_relative_to(ROOT / "harness")
        for name in imported(path)
        if (file := module_file(name)) is not None
        and file.is_relative_to(ROOT / "harness")
        and room_of(file) not in {room_of(path), *BELOW[room_of(path)]}
    }
    assert not wrong


def test_class_names_are_unique() -> None:
    places: dict[str, list[str]] = {}
    for path in FILES:
        if path.relative_to(ROOT).parts[0] != "tests":
            for node in tree(path).body:
                if isinstance(node, ast.ClassDef):
                    places.setdefault(node.name, []).append(name_of(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_core_imports_only_what_a_gpu_machine_has() -> None:
    start = [path for name in BARE if (path := ROOT / "harness" / f"{name}.py").is_file()]
    assert start
    strange = {
        package: importer
        for package, importer in closure(start, lazy=True).items()
        if package not in BARE_PACKAGES and package not in sys.stdlib_module_names
    }
    assert not strange, f"only {sorted(BARE_PACKAGES)} and the standard library are there"


def test_board_imports_no_torch() -> None:
    start = [path for path in FILES if path.relative_to(ROOT).parts[0] == "leaderboard"]
    heavy = {"torch", "transformers", "datasets", "evaluate", "seqeval", "ray"}
    assert not {package: by for package, by in closure(start, lazy=False).items() if package in heavy}


def test_evaluate_is_imported_only_to_score() -> None:
    """`evaluate` takes seconds to load: metrics are imported inside of the functions that score."""
    homes = ("tasks/metrics", "harness/evaluation/metrics.py")
    eager = [
        f"{name_of(path)} imports {name}"
        for path in FILES
        if path.relative_to(ROOT).parts[0] in ROOMS and not name_of(path).startswith(homes)
        for name in imported(path, lazy=False)
        if name.startswith(("evaluate", "seqeval", "tasks.metrics", "harness.evaluation.metrics"))
    ]
    assert not eager


def test_files_are_short() -> None:
    lengths = {name_of(path): path.read_text(encoding="utf-8").count("\n") for path in FILES}
    assert not {name: lines for name, lines in lengths.items() if lines > MAX_FILE}


def test_methods_are_short() -> None:
    lengths = {cls.__module__: length_of(sys.modules[cls.__module__]) for cls in map(METHODS.get, METHODS.names())}
    assert len(lengths) > 20
    assert max(lengths.values()) < 200
    assert median(lengths.values()) < 100


def length_of(module: ModuleType) -> int:
    return len(Path(module.__file__ or "").read_text(encoding="utf-8").splitlines())


def test_functions_are_short() -> None:
    long = {
        f"{name_of(path)}:{node.lineno} {node.name}": lines
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION
    }
    assert not long


def test_signatures_are_typed() -> None:
    """Every parameter and every return of the code that ships has a type (mypy strict looks inside as well)."""
    bare = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in FILES
        if path.relative_to(ROOT).parts[0] != "tests"
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not _typed(node)
    ]
    assert not bare


def _typed(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return function.returns is not None and all(
        argument is None or argument.annotation is not None or argument.arg in ("self", "cls") for argument in named
    )


def test_one_module_writes_atomically_and_digests() -> None:
    """Atomic writes and digests are those of harness/files.py; the others digest while they do something else too."""
    while_reading = {"harness/data/lines.py", "harness/data/prepare/archives.py", "harness/modeling/tokenizer.py"}
    git_blobs = {"harness/data/hub/repository.py"}
    own = {path for path in FILES if path.relative_to(ROOT).parts[0] in ROOMS} - {ROOT / "harness/files.py"}
    assert {name_of(path) for path in own if "hashlib" in imported(path)} <= while_reading | git_blobs
    words = {name_of(path): path.read_text(encoding="utf-8") for path in own}
    assert not [name for name, text in words.items() if "fsync(" in text or "os.replace(" in text or "mkstemp(" in text]


def test_no_code_switches_on_the_family_of_a_task() -> None:
    """What differs between families is a method or a field of the family's class; sources read its type of record."""

    def is_family(node: ast.AST) -> bool:
        if not isinstance(node, ast.Attribute):
            return False
        return node.attr == "family" or (node.attr == "name" and is_family(node.value))

    def compared(node: ast.AST) -> list[ast.expr]:
        if isinstance(node, ast.Compare):
            return [node.left, *node.comparators]
        if isinstance(node, ast.Match):
            return [node.subject]
        return [node.slice] if isinstance(node, ast.Subscript) else []

    switches = [
        f"{name_of(path)}:{node.lineno}"
        for path in FILES
        if path.relative_to(ROOT).parts[0] in ROOMS and path != ROOT / "harness" / "task.py"
        for node in ast.walk(tree(path))
        if any(map(is_family, compared(node)))
    ]
    assert not switches


def test_no_test_imports_another_test() -> None:
    tests = [path for path in FILES if path.relative_to(ROOT).parts[0] == "tests"]
    assert not {
        f"{name_of(path)} imports {name}"
        for path in tests
        for name in imported(path)
        if re.search(r"\btests\.(\w+\.)*(test_\w+|conftest)\b", name)
    }, "what tests share is in tests/support"

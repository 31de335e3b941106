"""The code part of a fingerprint: a hash over the code of all modules that a stage's own file imports.

The import closure is computed, never listed: the stage's file, the plug-ins that take part, and everything of our
packages that they import, directly or not. Imports inside functions count; those under `if TYPE_CHECKING` do not.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import UserError
from harness.files import text_digest

PACKAGES = ("alignboard", "harness", "methods", "tasks")
INSTALLED = ("site-packages", "dist-packages")  # the names of the folders of installed packages

TEXTS = (ast.Constant, ast.JoinedStr, getattr(ast, "TemplateStr", ast.JoinedStr))  # template strings: Python 3.14

_PUBLIC = "alignboard"  # the package of the public names

# Modules that cannot change a result, and whose imports are not followed. Each has its reason.
NEUTRAL = {
    "harness.errors": "the wording of errors",
    "harness.provenance": "what is recorded beside a result",
    "harness.registry": "finds plug-ins by name; the modules that it finds are added to the closure themselves",
    "harness.storage": "keeps artifacts and rows",
    "harness.code": "this hash",
    "harness.experiments.logs": "lines of a log",
    "harness.experiments.sinks": "loss curves for other programs",
    "harness.experiments.stage": "runs a stage and measures its cost",
}


def code_hash(*modules: str) -> str:
    """SHA-256 over the code of the import closure of some modules, each a dotted name or the path of a file: their
    source without docstrings and comments.

    Raises UserError where a module has no source file.
    """
    return _hash_of(tuple(sorted(closure(modules))))


def closure(modules: Iterable[str]) -> frozenset[str]:
    """The modules and all that they import of our packages and of their own, without the neutral ones."""
    found: set[str] = set()
    for module in modules:
        found |= _closure(module)
    return frozenset(found)


@cache
def _closure(module: str, sources: bool = False) -> frozenset[str]:
    """The closure of one module; with `sources` it follows imports from everything that is no installed package."""
    within = (*PACKAGES, module.partition(".")[0])
    found: set[str] = set()
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found.add(current)
        waiting += [
            name
            for name in _read(current, source_text(current)).imports
            if (_under(name, within) or (sources and not _is_installed(name))) and not _under(name, NEUTRAL)
        ]
    return frozenset(found)


def definition_key(module: str) -> list[Any]:
    """Everything that decides what importing a module defines: its source and that of its imports, and the installed
    packages, of which any change leaves its time in the folder that holds them.

    Raises UserError where a module has no source file, and SyntaxError.
    """
    code = [source_text(name) for name in sorted(_closure(module, sources=True))]  # with docstrings, which cards show
    folders = [folder for folder in sys.path if Path(folder).name in INSTALLED]
    return [
        sys.version,
        text_digest("\0".join(code)),
        [[folder, Path(folder).stat().st_mtime_ns] for folder in folders],
    ]


def _is_installed(name: str) -> bool:
    """Whether a module is part of Python or of an installed package."""
    path = _find(name)
    return (
        path is None
        or path.suffix != ".py"
        or name.partition(".")[0] in sys.stdlib_module_names
        or any(folder in path.parts for folder in INSTALLED)
    )


def plugin_module(cls: object) -> str:
    """The module of a registered class: its dotted name, or the file of a loose plug-in."""
    module = str(getattr(cls, "__module__", type(cls).__module__))
    file = getattr(sys.modules.get(module), "__file__", None)
    return str(file) if module.startswith("alignboard_plugin_") and file else module


@cache
def _hash_of(modules: tuple[str, ...]) -> str:
    parts = sorted((Path(name).name if _is_file(name) else name, _bare(name)) for name in modules)
    return text_digest("".join(f"{label}\0{len(text)}\0{text}" for label, text in parts))


def _bare(module: str) -> str:
    """The source without docstrings, comments and empty lines, so that better words do not train anything again.

    Kept, since it is not worth a tokenizer: a comment after a quotation mark or between the parts of a text, and a
    docstring on a line with code.
    """
    text = source_text(module)
    syntax, kept = _read(module, text), []
    for number, line in enumerate(text.split("\n"), 1):
        code = line.partition("#")[0].rstrip()
        if number in syntax.texts or "'" in code or '"' in code:
            code = line
        if code and number not in syntax.docstrings:
            kept.append(code)
    return "\n".join(kept)


@cache
def source_text(module: str) -> str:
    path = Path(module) if _is_file(module) else _find(module)
    if path is None or not path.is_file():
        raise UserError(f"the module {module!r} has no source file", remedy="install it from source, not compiled")
    return path.read_text(encoding="utf-8")


def clear_caches() -> None:
    """Forgets what was read, after a source file has changed."""
    _closure.cache_clear()
    _hash_of.cache_clear()
    source_text.cache_clear()


def _is_file(module: str) -> bool:
    return module.endswith(".py")


@cache
def _find(module: str) -> Path | None:
    """The source file of a dotted name, found without importing any package on the way."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    if not rest and spec.origin is not None:
        return Path(spec.origin)
    for place in spec.submodule_search_locations or []:
        base = Path(place, *rest)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


def _under(name: str, packages: Iterable[str]) -> bool:
    return f"{name}.".startswith(tuple(f"{package}." for package in packages))


class Syntax(NamedTuple):
    """What a source text imports, the lines of its docstrings, and the lines that begin inside another text, from 1."""

    imports: frozenset[str]
    docstrings: frozenset[int]
    texts: frozenset[int]


@cache
def _read(module: str, text: str) -> Syntax:
    imports: set[str] = set()
    docstrings: set[int] = set()
    texts: set[int] = set()
    lines = text.encode().split(b"\n")  # places in a line count bytes
    for node in _nodes(ast.parse(text)):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names if _find(alias.name)}
            if any(alias.name == _PUBLIC for alias in node.names):
                imports |= set(_public_names().values())
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node)
            imports |= {target for alias in node.names if (target := _target(base, alias.name))}
            if base == _PUBLIC and any(alias.name == "*" for alias in node.names):
                imports |= set(_public_names().values())
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            last = node.end_lineno or node.lineno
            if not (lines[node.lineno - 1][: node.col_offset] + lines[last - 1][node.end_col_offset :]).strip():
                docstrings.update(range(node.lineno, last + 1))
        elif isinstance(node, TEXTS):
            texts.update(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    return Syntax(frozenset(imports), frozenset(docstrings), frozenset(texts))


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield other
                yield from _nodes(other)
        else:
            yield child
            yield from _nodes(child)


def _base(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    path = _find(module) if not _is_file(module) else None
    package = module.split(".") if path is not None and path.name == "__init__.py" else module.split(".")[:-1]
    kept = package[: len(package) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _target(base: str, name: str) -> str | None:
    """The module behind `from base import name`: a submodule, the module of a public name, or `base`."""
    if base == _PUBLIC and name in (modules := _public_names()):
        return modules[name]
    submodule = f"{base}.{name}"
    return submodule if _find(submodule) else base if base and _find(base) else None


@cache
def _public_names() -> dict[str, str]:
    """The module that defines each public name, read from the stub of `alignboard`."""
    package = _find(_PUBLIC)
    assert package is not None, "alignboard is part of every installation"
    stub = ast.parse(package.with_suffix(".pyi").read_text(encoding="utf-8"))
    return {
        alias.name: node.module or "" for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }

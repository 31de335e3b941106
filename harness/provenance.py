"""Where a result comes from: the version of the code, of the packages and of the machine, and hashes of source text."""

from __future__ import annotations

import ast
import importlib.util
import os
import platform
import re
import socket
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import UserError
from harness.files import text_digest

_ROOT = Path(__file__).resolve().parent.parent
_OPTIONAL = ("nvidia-ml-py", "ray")
_PUBLIC = "alignboard"  # the package of the public names


class CodeVersion(NamedTuple):
    """The commit of the checkout and whether it has changes; both None where the package is no checkout."""

    commit: str | None
    dirty: bool | None


def code_version(root: Path = _ROOT) -> CodeVersion:
    """The version of the checkout at `root`. An installed copy inside somebody else's repository is no checkout."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():
        return CodeVersion(None, None)
    commit, status = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
    if commit is None or status is None:
        return CodeVersion(None, None)
    return CodeVersion(commit, bool(status))


def package_versions() -> dict[str, str]:
    """Installed versions of alignboard, of what it requires, and of the packages that plug into it."""
    names = {"alignboard", *_OPTIONAL, *_plugins()}
    names |= {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in _requirements()}
    found = {name: _version(name) for name in sorted(names, key=str.lower)}
    return {name: value for name, value in found.items() if value is not None}


@cache
def host() -> dict[str, Any]:
    """The machine: hashed name, CPU model, usable cores, memory in bytes, Python, platform, names of accelerators."""
    return {
        "name": text_digest(socket.gethostname())[:12],  # a shared board tells no host names
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "accelerators": _accelerators(),
    }


def source_hash(modules: Iterable[str]) -> str:
    """SHA-256 over the source text of modules, given as dotted names or as paths of files; their order is nothing.

    Raises UserError where a module has no source file.
    """
    parts = {(_label(module), _text(module)) for module in modules}
    return text_digest("".join(f"{label}\0{len(text)}\0{text}" for label, text in sorted(parts)))


def module_closure(module: str, within: Iterable[str]) -> list[str]:
    """`module` (dotted name or path of a file) and all that it imports, directly or not, under the prefixes `within`.

    Imports inside functions count; those under `if TYPE_CHECKING` do not, since they change no behaviour. A public
    name imported from `alignboard` stands for the module that defines it. Sorted, `module` first.
    """
    prefixes = tuple(within)
    found: set[str] = set()
    waiting = [module]
    while waiting:
        current = waiting.pop()
        found.add(current)
        near = (name for name in _imports(current) if _under(name, prefixes))
        waiting += [name for name in near if name not in found]
    return [module, *sorted(found - {module})]


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or one that git does not trust
        return None
    return done.stdout.strip()


def _requirements() -> list[str]:
    try:
        return [line for line in requires("alignboard") or [] if "extra ==" not in line]
    except PackageNotFoundError:
        return []


def _plugins() -> set[str]:
    groups = ("alignboard.methods", "alignboard.tasks", "alignboard.suites", "alignboard.sources")
    points = [point for group in groups for point in entry_points(group=group)]
    return {point.dist.name for point in points if point.dist is not None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        match = re.search(r"^model name\s*:\s*(.+)$", info.read_text(errors="replace"), re.MULTILINE)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def _accelerators() -> list[str]:
    if importlib.util.find_spec("torch") is None:
        return []
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _is_file(module: str) -> bool:
    return module.endswith(".py")


def _label(module: str) -> str:
    return Path(module).name if _is_file(module) else module


def _text(module: str) -> str:
    path = Path(module) if _is_file(module) else _find(module)
    if path is None or not path.is_file():
        raise UserError(f"the module {module!r} has no source file", remedy="install it from source, not compiled")
    return path.read_text(encoding="utf-8")


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


def _under(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _imports(module: str) -> Iterator[str]:
    for node in _nodes(ast.parse(_text(module))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _find(alias.name))
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node)
            yield from {target for alias in node.names if (target := _target(base, alias.name))}


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
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
    """The module behind `from base import name`: a submodule, the module that defines a public name, or `base`."""
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

"""The public names of Alignboard: everything that a method, task or source of your own needs.

    from alignboard import PairMethod, Term, register

`__init__.pyi` lists each name with the module that defines it. A module is imported when one of its names is first
used, so that `import alignboard` is fast and imports no torch.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

from harness import __version__ as __version__

_MODULES = {  # public name: the module that defines it
    alias.name: str(node.module)
    for node in ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'alignboard' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""What `alignboard new-method` writes: a method that already runs, as a loose file or as a package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from string import Template

from harness.errors import UsageError
from harness.registry import METHODS

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Names:
    """One name in the four spellings that the files need."""

    method: str  # my-method, the registry key
    module: str  # my_method
    cls: str  # MyMethod
    distribution: str  # alignboard-my-method

    @classmethod
    def of(cls, method: str) -> Names:
        """Raises UsageError for a name that is malformed or taken."""
        if not NAME.fullmatch(method):
            raise UsageError(
                "this is no name for a method",
                found=repr(method),
                expected="lower-case words joined by hyphens, such as my-method",
            )
        if method in METHODS:
            raise UsageError(
                f"there is a method named {method!r} already",
                found=str(METHODS.origin(method)),
                remedy="choose another name",
            )
        words = method.split("-")
        module = "_".join(words)
        if iskeyword(module) or find_spec(module) is not None:
            raise UsageError(
                "the file would hide a module of Python or of a package",
                found=f"{module}.py",
                remedy="choose a name that no module has",
            )
        return cls(method, module, "".join(map(str.capitalize, words)), f"alignboard-{method}")


def plugin(names: Names) -> dict[str, str]:
    """One file that registers itself: `alignboard --plugin FILE` loads it."""
    return {f"{names.module}.py": _method(names, registered=True)}


def package(names: Names) -> dict[str, str]:
    """A package with its entry point and a test, by path inside its folder."""
    return {
        "pyproject.toml": _filled("pyproject.toml", names),
        "README.md": _filled("README.md", names),
        f"{names.module}.py": _method(names, registered=False),
        f"tests/test_{names.module}.py": _filled("test_method.py", names),
    }


def write(contents: dict[str, str], folder: Path) -> list[Path]:
    """Writes the files below `folder` and returns their paths. Raises UsageError, before any is written, where one
    exists."""
    paths = {folder / name: text for name, text in contents.items()}
    for path in paths:
        if path.exists():
            raise UsageError("the file exists already", file=path, remedy="choose another name or folder")
    for path, text in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(paths)


def _method(names: Names, *, registered: bool) -> str:
    """The method's file: a loose one registers itself, a package's is found by its entry point."""
    text = _filled("method.py", names)
    if registered:
        return text
    return text.replace(f'@register("{names.method}")\n', "").replace("Term, register\n", "Term\n")


def _filled(template: str, names: Names) -> str:
    text = (files("harness") / "templates" / f"{template}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(vars(names))

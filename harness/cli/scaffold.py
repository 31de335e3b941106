"""The files of `new-method` and `new-task`: a method or task that runs, as a single file or as a package."""

from __future__ import annotations

import ast
import re
import shlex
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from string import Template
from typing import Any

import typer

from harness.errors import UsageError
from harness.registry import ABLATIONS, EVERYTHING, METHODS, SUITES, TASKS, Registry

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Kind:
    """What is created: `registries` are those in which its name must be free, `run` the arguments of a first run."""

    noun: str
    registries: tuple[Registry[Any], ...]
    run: str
    advice: str


METHOD = Kind(
    "method",
    (METHODS,),
    "{} continued-mlm mbert --source babel --protocol mini",
    "Try it as it is, then change its loss",
)
TASK = Kind(
    "task",
    (TASKS, SUITES),
    "mbert --suite {} --source folder:DATA --base BASE",
    "Describe the task in its `spec`, then try it on your files",
)


@dataclass(frozen=True)
class Names:
    """One name in the four spellings that the files need."""

    kind: Kind
    name: str  # my-method, the registry key
    module: str  # my_method
    cls: str  # MyMethod
    distribution: str  # alignboard-my-method

    @classmethod
    def of(cls, name: str, kind: Kind = METHOD) -> Names:
        """Raises UsageError for a name that is malformed or taken, or whose files would hide other names."""
        if not NAME.fullmatch(name):
            raise UsageError(
                f"this is not a valid name of a {kind.noun}",
                found=repr(name),
                expected=f"lower-case words joined by hyphens, such as my-{kind.noun}",
            )
        for registry in kind.registries:
            if name in registry:
                raise UsageError(
                    f"a {registry.kind} named {name!r} exists already",
                    found=str(registry.origin(name)),
                    remedy="choose another name",
                )
        if kind is METHOD and name in (*ABLATIONS.names(), EVERYTHING):
            raise UsageError(
                f"`alignboard ablation {name}` is another table already",
                found=repr(name),
                remedy="choose a name that `alignboard ablation` does not list",
            )
        words = name.split("-")
        module = "_".join(words)
        if iskeyword(module) or find_spec(module) is not None:
            raise UsageError(
                "the file would hide a module of Python or of a package",
                found=f"{module}.py",
                remedy="choose a name that no module has",
            )
        names = cls(kind, name, module, "".join(map(str.capitalize, words)), f"alignboard-{name}")
        if iskeyword(names.cls) or _hides(names):  # such as None
            raise UsageError(
                "the class would hide a name that its files import or define",
                found=f"class {names.cls}",
                remedy="choose another name, such as one word more",
            )
        return names


def create(kind: Kind, name: str, folder: Path, *, as_package: bool) -> None:
    """Writes a method or task, and prints the files and the next commands."""
    names = Names.of(name, kind)
    option = ""
    steps: list[str] = []
    if as_package:
        target = folder / names.distribution
        paths = write(package(names), target)
        relative = not target.is_absolute() and target.parts[:1] != ("..",)
        # pip would look up a bare name in the package index
        steps.append(f"pip install {shlex.quote(f'./{target}' if relative else str(target))}")
    else:
        paths = write(plugin(names), folder)
        option = f"--plugin {shlex.quote(str(paths[0]))} "
    steps += [
        f"alignboard {option}{kind.noun}s {name}",
        f"alignboard {option}run {kind.run.format(name)} --seeds 1",
    ]
    for path in paths:
        typer.echo(f"wrote {path}")
    typer.echo(f"\n{kind.advice}:")
    for step in steps:
        typer.echo(f"  {step}")


def plugin(names: Names) -> dict[str, str]:
    """A single file that registers itself, for `alignboard --plugin FILE`."""
    return {f"{names.module}.py": _class_file(names, registered=True)}


def package(names: Names) -> dict[str, str]:
    """The files of a package with an entry point and a test, by path."""
    return {
        "pyproject.toml": _fill_template("pyproject.toml", names),
        "README.md": _fill_template("README.md", names),
        f"{names.module}.py": _class_file(names, registered=False),
        f"tests/test_{names.module}.py": _fill_template(f"test_{names.kind.noun}.py", names),
    }


def write(contents: dict[str, str], folder: Path) -> list[Path]:
    """Writes the files below `folder` and returns their paths. Raises UsageError where one exists or cannot be written;
    then none is left."""
    paths = {folder / name: text for name, text in contents.items()}
    try:
        for path in paths:
            if path.exists():
                raise UsageError("the file exists already", file=path, remedy="choose another name or folder")
        _write_all(paths)
    except OSError as error:
        raise UsageError(
            "nothing can be written here",
            file=folder,
            found=f"{error.filename}: {(error.strerror or str(error)).lower()}",
            expected="a folder of your own, or a path where one can be made",
            remedy="give another --folder",
        ) from error
    return list(paths)


def _write_all(paths: dict[Path, str]) -> None:
    """Writes new files and their folders; removes them again where one fails."""
    with ExitStack() as undo:
        for path, text in paths.items():
            for folder in reversed(path.parents):
                if not folder.exists():
                    folder.mkdir()
                    undo.callback(folder.rmdir)
            with path.open("x", encoding="utf-8") as file:
                undo.callback(path.unlink)
                file.write(text)
        undo.pop_all()


def _hides(names: Names) -> bool:
    """Whether the template imports or defines another name that is equal to the name of the class."""
    files = {**plugin(names), **package(names)}
    names_of = (_top_level_names(ast.parse(text)) for name, text in files.items() if name.endswith(".py"))
    return any(bound.count(names.cls) > 1 for bound in names_of)


def _top_level_names(module: ast.Module) -> list[str]:
    """The names that a file imports and defines at its top level."""
    imports = [node for node in module.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    defined = [node.name for node in module.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
    return defined + [alias.asname or alias.name for node in imports for alias in node.names]


def _class_file(names: Names, *, registered: bool) -> str:
    """The file of the method or task. A single file registers itself; a package has an entry point."""
    text = _fill_template(f"{names.kind.noun}.py", names)
    if registered:
        return text
    return text.replace(f'@register("{names.name}")\n', "").replace(", register\n", "\n")


def _fill_template(template: str, names: Names) -> str:
    text = (files("harness.cli") / "templates" / f"{template}.txt").read_text(encoding="utf-8")
    kind = names.kind
    return Template(text).substitute(vars(names), noun=kind.noun, run=kind.run.format(names.name))

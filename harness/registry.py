"""Registries map names to plug-ins. They read entry points, so that listing names imports nothing heavy.

A package registers a plug-in with an entry point whose name is the registry key; a loose file given with
`--plugin FILE` uses `@register("name")`. A plug-in that fails to import is listed as broken and does not affect others.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from harness.errors import UsageError, UserError, unique_names, unknown
from harness.files import text_digest

if TYPE_CHECKING:
    from torch import Tensor

    from harness.data.source import Source
    from harness.experiments.ablation import Ablation
    from harness.method import Method
    from harness.protocols import Suite
    from harness.task import Task

T = TypeVar("T")
EVERYTHING = "all"  # the ablation of every method; no plug-in may register this name
_NAME = re.compile(r"\w[\w.+-]*")
COMMANDS = {"method": "methods", "task": "tasks", "source": "sources"}  # that list the names of a kind


@dataclass(frozen=True)
class Origin:
    """Where a plug-in comes from: a distribution's entry point, or a loose file."""

    distribution: str
    value: str

    def __str__(self) -> str:
        return f"{self.value} ({self.distribution})"


class Registry(Generic[T]):
    """The plug-ins of one kind by name, each loaded on first use. A loaded class gets `name` set to its key."""

    additions: ClassVar[int] = 0  # how many objects loose files have added to all registries

    def __init__(self, kind: str, group: str) -> None:
        self.kind, self.group = kind, group
        self._local: dict[str, tuple[T, Origin]] = {}
        self._loaded: dict[str, T] = {}

    @cached_property
    def _points(self) -> dict[str, list[EntryPoint]]:
        points: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group):
            same_name = points.setdefault(point.name, [])
            if _origin_of(point) not in map(_origin_of, same_name):
                same_name.append(point)
        return points

    def names(self) -> list[str]:
        """Every registered name in alphabetical order, broken ones included. Imports none."""
        return sorted({*self._points, *self._local})

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self._local or name in self._points

    def origin(self, name: str) -> Origin:
        """Where a name is registered. Raises UsageError where it is unknown or registered twice."""
        return self._local[name][1] if name in self._local else _origin_of(self._point(name))

    def get(self, name: str) -> T:
        """The object registered as `name`.

        Raises UsageError for a name that is unknown (with similar names) or registered twice (with both origins), and
        UserError for a plug-in that cannot be imported or whose control is not registered.
        """
        plugin = self._local[name][0] if name in self._local else self._load(name)
        self.check_control(name, getattr(plugin, "control", None))
        return plugin

    def check_control(self, name: str, control: str | None) -> None:
        """Raises UserError where the control of a method is not registered: it may be registered after the method."""
        if self.kind == "method" and control is not None and control not in self:
            similar = unknown("method", control, self.names(), remedy="name a method that is listed, or None")
            raise self._broken(name, f"its control {control!r} is not registered", str(similar.remedy))

    def is_loaded(self, name: str) -> bool:
        """Whether the object of a name is in memory already, as that of a loose file is."""
        return name in self._local or name in self._loaded

    def broken(self, load: Callable[[str], object] | None = None) -> dict[str, str]:
        """The names that cannot be loaded, by `get` or by another function, each with the reason; also warns of it."""
        reasons: dict[str, str] = {}
        for name in self.names():
            try:
                (load or self.get)(name)
            except UserError as error:
                reasons[name] = error.what
                warnings.warn(error.what, stacklevel=2)
        return reasons

    def has_entry_point(self, name: str, value: str) -> bool:
        """Whether an installed package registers `value`, written MODULE:CLASS, as `name`."""
        return any(point.value.replace(" ", "") == value for point in self._points.get(name, ()))

    def add(self, name: str, plugin: T, origin: Origin) -> None:
        """Registers an object of a loose file. Raises UsageError, with both origins, where the name is taken."""
        if name in self and not (name in self._local and self._local[name][1] == origin):
            raise self._duplicate(name, [self.origin(name), origin])
        self._local[name] = (_set_name(plugin, name), origin)
        Registry.additions += 1

    def _load(self, name: str) -> T:
        if name not in self._loaded:
            point, remedy = self._point(name), "repair or uninstall that package"
            try:
                plugin = point.load()
            except (Exception, SystemExit) as error:  # whatever a plug-in's import raises is that plug-in's fault
                raise self._broken(name, f"{type(error).__name__}: {error}", remedy) from error
            if fault := _fault_of(plugin, self.kind):
                raise self._broken(name, f"it {fault}", remedy)
            self._loaded[name] = _set_name(plugin, name)
        return self._loaded[name]

    def _point(self, name: str) -> EntryPoint:
        if name not in self._points:
            remedy = f"`alignboard {COMMANDS[self.kind]}` lists them" if self.kind in COMMANDS else None
            raise unknown(self.kind, name, self.names(), remedy=remedy)
        points = self._points[name]
        if len(points) > 1:
            raise self._duplicate(name, [_origin_of(point) for point in points])
        return points[0]

    def _broken(self, name: str, why: str, remedy: str) -> UserError:
        return UserError(f"the {self.kind} {name!r} is broken: {why}", found=str(self.origin(name)), remedy=remedy)

    def _duplicate(self, name: str, origins: list[Origin]) -> UsageError:
        return UsageError(
            f"two {self.kind}s are registered as {name!r}",
            found=" and ".join(map(str, origins)),
            expected="one origin for each name",
            remedy="rename or uninstall one of them",
        )


class SuiteRegistry(Registry["Suite"]):
    """The suites. The names of tasks, separated by commas, stand for a suite of these tasks, whose name lists each once
    in one order, so that equal suites share a table."""

    def get(self, name: str) -> Suite:
        if name in self or ("," not in name and name not in TASKS):
            return super().get(name)
        tasks = sorted(unique_names("task", [name]))
        if not all(task in TASKS for task in tasks):
            return super().get(name)
        from harness.protocols import Suite

        specs = [TASKS.get(task).spec for task in tasks]
        return Suite(
            ",".join(tasks),
            ", ".join(spec.title for spec in specs),
            tuple(tasks),
            " ".join(spec.description for spec in specs),
        )


METHODS: Registry[type[Method]] = Registry("method", "alignboard.methods")
TASKS: Registry[type[Task]] = Registry("task", "alignboard.tasks")
SUITES: Registry[Suite] = SuiteRegistry("suite", "alignboard.suites")
SOURCES: Registry[type[Source]] = Registry("source", "alignboard.sources")
ABLATIONS: Registry[Ablation] = Registry("ablation", "alignboard.ablations")
OBJECTIVES: Registry[type[Method]] = Registry("objective", "alignboard.objectives")
CONTRASTS: Registry[Callable[..., Tensor]] = Registry("contrastive loss", "alignboard.contrasts")


def register(name: str) -> Callable[[type[T]], type[T]]:
    """Registers a Method or a Task of a loose file as `name`. In a package, whose entry point does it, it does nothing.

    Raises UsageError for any other class, for a name that no list or path can hold, for a method that trains and lacks
    what training calls, and for a task without a spec.
    """
    if not isinstance(name, str):
        raise UsageError("@register has no name", found=_describe(name), expected='@register("my-method")')
    if not _NAME.fullmatch(name):
        expected = "letters, digits, points and hyphens, such as my-method: names are listed and name folders"
        raise UsageError("@register has a name that cannot be used", found=repr(name), expected=expected)

    def add(cls: type[T]) -> type[T]:
        registry = _registry_for(cls)
        file = str(getattr(importlib.import_module(cls.__module__), "__file__", cls.__module__))
        if fault := _fault_of(cls, registry.kind):
            raise UsageError(
                f"the {registry.kind} {name!r} {fault}",
                file=file,
                found=f"class {cls.__name__}",
                remedy="define it in the class" + (", or set trains = False" if "trains and" in fault else ""),
            )
        if not registry.has_entry_point(name, f"{cls.__module__}:{cls.__qualname__}"):
            registry.add(name, cls, Origin("plug-in file", file))
        return cls

    return add


_plugins: list[Path] = []


def loaded_plugins() -> list[Path]:
    """The loose plug-in files loaded by this process, in order; worker processes load the same ones."""
    return list(_plugins)


def load_plugin(path: Path) -> None:
    """Imports a loose plug-in file, which must add something to a registry.

    Raises UsageError where the file is missing or registers nothing, and UserError where it fails.
    """
    path = path.absolute()
    if not path.is_file() or path.suffix != ".py":
        what = "no Python file" if path.is_file() else "the plug-in file is missing"
        raise UsageError(what, file=path, remedy="give the path of a Python file, NAME.py")
    name = f"alignboard_plugin_{path.stem}_{text_digest(str(path))[:8]}"  # two folders may have files of one name
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    before = Registry.additions
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"the plug-in does not import: {type(error).__name__}: {error}", file=path) from error
    if path in _plugins:
        return
    if Registry.additions == before:
        raise UsageError(
            "the plug-in registers nothing",
            file=path,
            remedy='write @register("my-method") above the class of a method',
        )
    _plugins.append(path)


def _origin_of(point: EntryPoint) -> Origin:
    return Origin(point.dist.name if point.dist is not None else "unknown distribution", point.value)


def _fault_of(plugin: Any, kind: str) -> str:
    """What keeps an object from being used as a method or a task; "" for one that can be, and for any other kind."""
    if kind == "method":
        from harness.method import Method, missing_methods

        if not isinstance(plugin, type) or not issubclass(plugin, Method):
            return "is no class derived from Method"
        control: Any = plugin.control
        if not isinstance(control, str | None):
            return f"has a control that is no name: {control!r}"
        missing = ", ".join(missing_methods(plugin))
        return f"trains and lacks {missing}" if missing else ""
    if kind == "task":
        from harness.task import Task, TaskSpec

        if not isinstance(plugin, type) or not issubclass(plugin, Task):
            return "is no class derived from Task"
        return "" if isinstance(getattr(plugin, "spec", None), TaskSpec) else "has no spec"
    return ""


def _set_name(plugin: T, name: str) -> T:
    if isinstance(plugin, type) and isinstance(getattr(plugin, "name", None), str):
        plugin.name = name  # type: ignore[attr-defined]
    return plugin


def _registry_for(cls: object) -> Registry[Any]:
    from harness.method import Method
    from harness.task import Task

    if not isinstance(cls, type):
        raise UsageError(
            f"@register is above {_describe(cls)}, which is no class",
            expected="a class derived from Method, PairMethod or Task",
            remedy="move it above the class",
        )
    if issubclass(cls, Method):
        return METHODS
    if issubclass(cls, Task):
        return TASKS
    raise UsageError(f"{cls.__name__} is neither a Method nor a Task", remedy="derive it from one of them")


def _describe(thing: object) -> str:
    kind = "class" if isinstance(thing, type) else type(thing).__name__
    return f"the {kind} {getattr(thing, '__name__', thing)}"

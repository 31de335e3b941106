"""Names to classes, found through entry points, so that listing names imports nothing heavy.

A package registers with an entry point whose name is the registry key; a loose file given with `--plugin FILE` uses
`@register("name")`. A plug-in that fails to import is listed as broken and named when it is asked for; it never stops
the others.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from harness.errors import UsageError, UserError, unknown

T = TypeVar("T")
LISTED_BY = {"method": "methods", "task": "tasks", "source": "sources"}  # commands


@dataclass(frozen=True)
class Origin:
    """Where a name comes from: a distribution's entry point, or a loose file."""

    distribution: str
    value: str

    def __str__(self) -> str:
        return f"{self.value} ({self.distribution})"


class Registry(Generic[T]):
    """The registered objects of one kind. Loads each on first use; loaded classes get `name` set to their key."""

    added: ClassVar[int] = 0  # by loose files, to all registries together

    def __init__(self, kind: str, group: str) -> None:
        self.kind, self.group = kind, group
        self._local: dict[str, tuple[T, Origin]] = {}
        self._loaded: dict[str, T] = {}

    @cached_property
    def _points(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group):
            known = found.setdefault(point.name, [])
            if all(point.value != other.value or _distribution(point) != _distribution(other) for other in known):
                known.append(point)
        return found

    def names(self) -> list[str]:
        """Every registered name, broken ones included, without importing any."""
        return sorted({*self._points, *self._local})

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self._local or name in self._points

    def origin(self, name: str) -> Origin:
        if name in self._local:
            return self._local[name][1]
        point = self._point(name)
        return Origin(_distribution(point), point.value)

    def get(self, name: str) -> T:
        """The object registered as `name`. Raises UsageError (unknown, with near names; duplicate, with both origins)
        and UserError (a plug-in that cannot be imported, with its message; a method whose control nobody registers)."""
        thing = self._local[name][0] if name in self._local else self._imported(name)
        control = getattr(thing, "control", None) if self.kind == "method" else None
        if control is not None and control not in self:  # asked now: a control may be registered after its method
            near = unknown("method", control, self.names(), remedy="name a method that is listed, or None")
            raise self._broken(name, f"its control {control!r} is not registered", str(near.remedy))
        return thing

    def _imported(self, name: str) -> T:
        """The object of an entry point."""
        if name not in self._loaded:
            point, remedy = self._point(name), "repair or uninstall that package"
            try:
                loaded = point.load()
            except Exception as error:  # any failure of foreign code is that plug-in's, and is told as such
                raise self._broken(name, f"{type(error).__name__}: {error}", remedy) from error
            if self.kind == "method" and (missing := _missing(loaded)):
                raise self._broken(name, f"it trains and lacks {missing}", remedy)
            self._loaded[name] = _named(loaded, name)
        return self._loaded[name]

    def _broken(self, name: str, why: str, remedy: str) -> UserError:
        return UserError(f"the {self.kind} {name!r} is broken: {why}", found=str(self.origin(name)), remedy=remedy)

    def broken(self) -> dict[str, str]:
        """Names that cannot be loaded, each with its reason; warns once for each."""
        reasons: dict[str, str] = {}
        for name in self.names():
            try:
                self.get(name)
            except UserError as error:
                reasons[name] = error.what
                warnings.warn(error.what, stacklevel=2)
        return reasons

    def add(self, name: str, thing: T, origin: Origin) -> None:
        """Registers an object of a loose file. Raises UsageError where the name is taken, naming both origins."""
        if name in self and not (name in self._local and self._local[name][1] == origin):
            raise _duplicate(self.kind, name, [self.origin(name), origin])
        self._local[name] = (_named(thing, name), origin)
        Registry.added += 1

    def _point(self, name: str) -> EntryPoint:
        if name not in self._points:
            told = f"`alignboard {LISTED_BY[self.kind]}` lists them" if self.kind in LISTED_BY else None
            raise unknown(self.kind, name, self.names(), remedy=told)
        points = self._points[name]
        if len(points) > 1:
            raise _duplicate(self.kind, name, [Origin(_distribution(p), p.value) for p in points])
        return points[0]


def _duplicate(kind: str, name: str, origins: list[Origin]) -> UsageError:
    return UsageError(
        f"two {kind}s are registered as {name!r}",
        found=" and ".join(map(str, origins)),
        expected="one origin for each name",
        remedy="rename or uninstall one of them",
    )


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown distribution"


def _missing(thing: object) -> str:
    """What a method that trains must define and lacks, joined by commas; nothing for what is no method."""
    from harness.method import Method, missing_methods

    return ", ".join(missing_methods(thing)) if isinstance(thing, type) and issubclass(thing, Method) else ""


def _named(thing: T, name: str) -> T:
    if isinstance(thing, type) and isinstance(getattr(thing, "name", None), str):
        thing.name = name  # type: ignore[attr-defined]
    return thing


class SuiteRegistry(Registry[Any]):
    """The suites. The name of a task stands for a suite of that task alone."""

    def get(self, name: str) -> Any:
        if name in self or name not in TASKS:
            return super().get(name)
        from harness.task import Suite

        spec = TASKS.get(name).spec
        return Suite(name, spec.title, (name,), spec.description)


METHODS: Registry[Any] = Registry("method", "alignboard.methods")
TASKS: Registry[Any] = Registry("task", "alignboard.tasks")
SUITES: Registry[Any] = SuiteRegistry("suite", "alignboard.suites")
SOURCES: Registry[Any] = Registry("source", "alignboard.sources")
ABLATIONS: Registry[Any] = Registry("ablation", "alignboard.ablations")
EVERYTHING = "all"  # the ablation of every method, which no registration may take
OBJECTIVES: Registry[Any] = Registry("objective", "alignboard.objectives")


def register(name: str) -> Callable[[type[T]], type[T]]:
    """Registers a Method or a Task of a loose file under `name`; packages use entry points instead.

    Raises UsageError for what is neither, and for a method that trains and lacks what training calls.
    """
    if not isinstance(name, str):
        raise UsageError("@register has no name", found=_shown(name), expected='@register("my-method") above the class')

    def add(cls: type[T]) -> type[T]:
        registry = _registry_of(cls)
        file = str(getattr(importlib.import_module(cls.__module__), "__file__", cls.__module__))
        if missing := _missing(cls):
            raise UsageError(
                f"the method {name!r} trains and lacks {missing}",
                file=file,
                found=f"class {cls.__name__}",
                remedy=f"define {missing} in it, or set trains = False",
            )
        registry.add(name, cls, Origin("plug-in file", file))
        return cls

    return add


def _registry_of(cls: object) -> Registry[Any]:
    from harness.method import Method
    from harness.task import Task

    if not isinstance(cls, type):
        raise UsageError(
            f"@register stands above {_shown(cls)}, which is no class",
            expected="a class derived from Method, PairMethod or Task",
            remedy="move it above the class",
        )
    if issubclass(cls, Method):
        return METHODS
    if issubclass(cls, Task):
        return TASKS
    raise UsageError(f"{cls.__name__} is neither a Method nor a Task", remedy="derive it from one of them")


def _shown(thing: object) -> str:
    kind = "class" if isinstance(thing, type) else type(thing).__name__
    return f"the {kind} {getattr(thing, '__name__', thing)}"


_plugins: list[Path] = []


def loaded_plugins() -> list[Path]:
    """The loose plug-in files of this process, in the order of loading: other processes load them too."""
    return list(_plugins)


def load_plugin(path: Path) -> None:
    """Imports a loose plug-in file, whose `@register` calls add its names; what it adds to any registry counts.

    Raises UserError where it cannot run or adds nothing.
    """
    import sys

    path = path.absolute()
    if not path.is_file():
        raise UsageError("the plug-in file is missing", file=path, remedy="give the path of a Python file")
    name = f"alignboard_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    before = Registry.added
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the plug-in does not import: {type(error).__name__}: {error}", file=path) from error
    if path in _plugins:
        return
    if Registry.added == before:
        raise UsageError(
            "the plug-in registers nothing",
            file=path,
            remedy='write @register("my-method") above the class of a method',
        )
    _plugins.append(path)

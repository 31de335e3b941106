"""What the registries hold, as plain records for the `methods` and `tasks` commands."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import asdict
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from harness.errors import UserError
from harness.registry import METHODS, SOURCES, TASKS, Registry
from harness.task import TaskSpec

Json = dict[str, Any]


def method_records() -> list[Json]:
    """One record per registered method, broken ones included, in alphabetical order."""
    return _records(METHODS, _method)


def task_records() -> list[Json]:
    """One record per registered task, broken ones included, in alphabetical order."""
    return _records(TASKS, _task)


def describe_method(name: str) -> Json:
    """Everything about one method: its record, its settings with their defaults, its docstring. Raises UserError."""
    cls = METHODS.get(name)
    return {
        **_method(cls),
        "name": name,
        "origin": str(METHODS.origin(name)),
        "batch": str(cls.batch) if cls.trains else None,
        "paper": dict(cls.paper),
        "config": [_field(key, info) for key, info in cls.Config.model_fields.items()],
        "config_description": _own_doc(cls.Config),
        "description": inspect.getdoc(cls) or "",
    }


def describe_task(name: str) -> Json:
    """Everything about one task: its record, and the settings of each protocol. Raises UserError."""
    spec = TASKS.get(name).spec
    return {
        **_task(TASKS.get(name)),
        "name": name,
        "origin": str(TASKS.origin(name)),
        "labels": list(spec.labels),
        "splits": list(spec.splits),
        "sizes": dict(spec.sizes),
        "locations": _locations(spec),
        "citation": spec.citation,
        "deviations": list(spec.deviations),
        "settings": {protocol: asdict(settings) for protocol, settings in spec.protocols.items()},
        "variants": {protocol: [asdict(v) for v in variants] for protocol, variants in spec.variants.items()},
        "choices": [choice._asdict() for choice in spec.choices],
        "description": spec.description,
    }


def _locations(spec: TaskSpec) -> dict[str, dict[str, str]]:
    """Where each kind of source that holds the task looks for its splits."""
    broken = SOURCES.broken()
    found = {kind: SOURCES.get(kind).locations(spec) for kind in SOURCES if kind not in broken}
    return {kind: where for kind, where in found.items() if where}


def _records(registry: Registry[Any], read: Callable[[Any], Json]) -> list[Json]:
    return [_record(registry, name, read) for name in registry]


def _record(registry: Registry[Any], name: str, read: Callable[[Any], Json]) -> Json:
    try:
        found = registry.get(name)
    except UserError as error:
        warnings.warn(error.what, stacklevel=2)
        return {"name": name, "status": "broken", "reason": error.what, "origin": error.found}
    return {"name": name, "status": "ok", "origin": str(registry.origin(name)), **read(found)}


def _method(cls: Any) -> Json:
    return {
        "reference": cls.reference,
        "objective": cls.objective,
        "needs": sorted(map(str, cls.needs)),
        "control": cls.control,
        "trains": cls.trains,
    }


def _task(cls: Any) -> Json:
    spec = cls.spec
    return {
        "title": spec.title,
        "family": str(spec.family),
        "metric": spec.metric,
        "languages": list(spec.languages),
        "licence": spec.licence,
        "protocols": list(spec.protocols),
    }


def _field(name: str, info: Any) -> Json:
    default = info.get_default(call_default_factory=True)
    return {"field": name, "type": _kind(info.annotation), "default": default, "description": info.description}


def _kind(annotation: Any) -> str:
    """A type as one writes it: `int | None`, `'mean' | 'cls'`."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(repr, parts))
    if origin in (Union, UnionType):
        return " | ".join(map(_kind, parts))
    if annotation is NoneType:
        return "None"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _own_doc(config: type) -> str:
    """The docstring of a Config class, or of the nearest base that explains settings of its own."""
    from harness.method import MethodConfig

    documented = (cls for cls in config.__mro__ if cls is not MethodConfig and issubclass(cls, MethodConfig))
    return next((inspect.cleandoc(cls.__doc__) for cls in documented if cls.__doc__), "")

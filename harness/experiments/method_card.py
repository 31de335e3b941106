"""What a method declares, read without importing it: methods need torch, which takes seconds to load.

A card is made from the class once and kept in the home folder, until the source that the class is made from, or an
installed package, changes. A method of a loose file, or one that is loaded already, gives its card itself.
"""

from __future__ import annotations

import inspect
import json
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.code import code_hash, definition_key, plugin_module
from harness.errors import UserError
from harness.layers import layer_marks
from harness.records import Corpus
from harness.registry import METHODS, Registry
from harness.storage.cache import cached_json
from harness.storage.home import home

if TYPE_CHECKING:
    from harness.method import Method


class MethodSetting(NamedTuple):
    """A field of a method's configuration; `default` is a JSON value."""

    field: str
    type: str
    default: Any
    description: str | None


class MethodCard(BaseModel):
    """What a method declares. `module` is where it is defined: a dotted name, or the path of a loose file.

    `defaults` is the whole configuration without changes, None where a setting has no default. `lowest_layers` has the
    settings that number a layer, each with the lowest it can be. `finetunes` names the types of record that
    `finetune_example` changes. `description` is the docstring or that of a base
    class, `docstring` the method's own.
    """

    model_config = ConfigDict(frozen=True)

    module: str
    reference: str
    objective: str
    formula: str
    symbols: str
    control: str | None
    trains: bool
    needs: list[str]
    paper: dict[str, Any]
    paper_config: dict[str, Any]
    settings: list[MethodSetting]
    settings_description: str
    defaults: dict[str, Any] | None
    lowest_layers: dict[str, int]
    in_batch: list[str]
    finetunes: list[str]
    docstring: str
    description: str

    @property
    def corpora(self) -> frozenset[Corpus]:
        return frozenset(map(Corpus, self.needs))


def method_card(name: str, registry: Registry[type[Method]] = METHODS) -> MethodCard:
    """The card of a registered method, or objective. Raises what `registry.get` does."""
    key = None if registry.is_loaded(name) else _definition(registry.origin(name).value)
    if key is None:
        return _validated(name, registry, _read_declarations(name, registry))
    card = _kept_card(name, registry, key, str(home()))
    registry.check_control(name, card.control)
    return card


def method_config(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """A method's configuration with these changes, as JSON. Raises pydantic's ValidationError for wrong ones."""
    if not changes and (defaults := method_card(name).defaults) is not None:
        return dict(defaults)
    key = None if METHODS.is_loaded(name) else _definition(METHODS.origin(name).value)
    given = repr(sorted(changes.items()))

    def configure() -> Any:
        return METHODS.get(name).Config(**changes).model_dump(mode="json")

    return dict(
        configure() if key is None else cached_json(f"configuration of {name}: {given}", [key, given], configure)
    )


def _definition(origin: str) -> str | None:
    """A hash of everything that decides the class behind an entry point; None where that cannot be known."""
    try:
        return repr([origin, code_hash(__name__), definition_key(origin.partition(":")[0])])
    except (UserError, OSError, SyntaxError, ValueError):
        return None


@cache
def _kept_card(name: str, registry: Registry[type[Method]], key: str, place: str) -> MethodCard:
    values = cached_json(f"{registry.kind} {name}", key, lambda: _read_declarations(name, registry))
    return _validated(name, registry, values)


def _validated(name: str, registry: Registry[type[Method]], values: Any) -> MethodCard:
    try:
        return MethodCard.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        raise _broken(name, registry, f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error


def _read_declarations(name: str, registry: Registry[type[Method]]) -> dict[str, Any]:
    cls = registry.get(name)
    try:
        return _declarations(cls)
    except Exception as error:  # of values of any type
        raise _broken(name, registry, f"{type(error).__name__}: {error}") from error


def _broken(name: str, registry: Registry[type[Method]], why: str) -> UserError:
    return UserError(
        f"the {registry.kind} {name!r} is broken: {why}",
        found=str(registry.origin(name)),
        expected="declarations as those of harness.method.Method",
    )


def _declarations(cls: type[Method]) -> dict[str, Any]:
    """The fields of a card, as JSON values."""
    from harness.method import Method, MethodConfig

    documented = (base for base in cls.Config.__mro__ if base is not MethodConfig and issubclass(base, MethodConfig))
    try:
        defaults = cls.Config().model_dump(mode="json")
    except ValidationError:
        defaults = None
    values = {
        **{name: getattr(cls, name) for name in ("reference", "objective", "symbols", "control", "trains")},
        **{name: getattr(cls, name) for name in ("paper", "paper_config")},
        "module": plugin_module(cls),
        "formula": inspect.cleandoc(cls.formula),
        "needs": sorted(map(str, cls.needs)),
        "settings": [
            MethodSetting(
                field, _type_text(info.annotation), info.get_default(call_default_factory=True), info.description
            )
            for field, info in cls.Config.model_fields.items()
        ],
        "settings_description": next((inspect.cleandoc(base.__doc__) for base in documented if base.__doc__), ""),
        "defaults": defaults,
        "lowest_layers": layer_marks(cls.Config),
        "in_batch": sorted(cls.in_batch),
        "finetunes": [kind.__name__ for kind in cls.finetunes if cls.finetune_example is not Method.finetune_example],
        "docstring": (cls.__doc__ or "").strip(),
        "description": inspect.getdoc(cls) or "",
    }
    return dict(json.loads(json.dumps(values, default=str)))


def _type_text(annotation: Any) -> str:
    """A type as it is written in code: `int | None`, `'mean' | 'cls'`."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(repr, parts))
    if origin is Annotated:
        return _type_text(parts[0])
    if origin in (Union, UnionType):
        return " | ".join(map(_type_text, parts))
    if annotation is NoneType:
        return "None"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")

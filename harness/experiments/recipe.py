"""Recipes: every setting of a run, frozen and hashed. A run is a recipe and a pair of seeds.

`matched` gives every method the same sample, steps and optimiser; `paper` gives each its own published settings, those
of its `config` included. The protocol decides the size of the alignment budget: `mini` suits a small encoder on a CPU.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator

from harness.data.lines import shorten
from harness.data.sample import SampleSettings
from harness.data.source import absolute_uri
from harness.data.transforms import ShuffledPairs, transform_of
from harness.errors import UsageError, UserError, unique_names, unknown
from harness.experiments.method_card import method_card, method_config
from harness.experiments.trials import check_trials
from harness.faults import quote
from harness.files import json_digest
from harness.protocols import Shape
from harness.registry import METHODS, SUITES, TASKS
from harness.task import TaskSettings
from harness.training.settings import AlignSettings, FrozenSettings, PretrainSettings

KINDS = ("matched", "paper")
SHIPPED = Path(__file__).parents[1] / "recipes"  # settings that come with Alignboard
OWN_OPTIONS = ("method", "base", "source", "suite", "protocol", "languages", "transform", "precision")
PROTOCOLS = ("official", "mini", "alignboard")
Contamination = Literal["report", "remove"]


class Recipe(FrozenSettings):
    """Every setting of a run but its seeds."""

    kind: Literal["matched", "paper"] = "matched"
    method: str
    config: dict[str, Any] = Field(default_factory=dict)
    base: str = Field(min_length=1)
    source: str = Field(min_length=1)
    suite: str
    protocol: str
    languages: tuple[str, ...] | Literal["official", "available"] = "official"
    transform: str = ""
    sample: SampleSettings | None  # this and `align`: None where nothing is trained, so that no setting tells such
    # runs apart that has no effect on them
    # what becomes of sentence pairs that occur in a test set; left out of dumps and hashes where it is the default, so
    # that recipes from before it keep their hash
    contamination: Contamination = Field("report", exclude_if=lambda value: value == "report")
    align: AlignSettings | None
    pretrain: PretrainSettings | None = None
    tasks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    tuning: dict[str, float] = Field(default_factory=dict)  # no setting: rates tried, with their dev scores

    @field_validator("languages", mode="before")
    @classmethod
    def _list_languages(cls, value: Any) -> Any:
        """The languages of "de,fr" or of a list, each once and in one order, so that equal runs have one hash."""
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
            return value
        names = sorted(unique_names("language", texts))
        return names[0] if names in (["official"], ["available"]) else tuple(names)

    @property
    def hash(self) -> str:
        """Hash of every setting; source and base are left out, since a run has fingerprints of their content, which
        holds wherever they lie."""
        return json_digest(self.model_dump(mode="json", exclude={"source", "base", "tuning"}))

    def with_align(self, **changes: Any) -> Recipe:
        """The recipe, of a method that trains, with other settings of alignment."""
        assert self.align is not None
        return self.model_copy(update={"align": self.align.model_copy(update=changes)})

    def task_settings(self, task: str, shape: Shape | None = None) -> TaskSettings:
        """The task's settings under this protocol for a base of this shape, with the recipe's own changes on top."""
        spec = TASKS.get(task).spec
        if self.protocol not in spec.protocols:
            raise unknown(f"protocol of task {task}", self.protocol, spec.protocols)
        changes = self.tasks.get(task, {})
        settings = _change_settings(spec.settings(self.protocol, shape), changes, f"tasks.{task}")
        check_trials(spec, settings, changes)
        return settings


def make_recipe(
    *,
    method: str,
    base: str,
    source: str,
    suite: str,
    protocol: str = "official",
    recipe: str = "matched",
    languages: str = "official",
    transform: str = "",
    precision: str = "fp32",
    changes: Sequence[str] = (),
) -> Recipe:
    """Builds the recipe of one method from command-line options.

    `recipe` is "matched", "paper", "demo" or a TOML file of changes; `changes` are "dotted.field=value" texts, which
    win. Raises UsageError for unknown names, unknown fields, what has an option of its own, and contradictions.
    """
    trains = method_card(method).trains
    known = SUITES.get(suite)
    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS)
    kind, asked = _parse_settings(recipe, changes, known.tasks)
    for name in (name for name in (*OWN_OPTIONS, "kind", "tuning") if name in asked):
        remedy = f"give --{name} instead" if name in OWN_OPTIONS else "leave it out: --recipe names the kind of recipe"
        raise UsageError(f"{name} is no setting of a recipe", found=f"{name}={asked[name]}", remedy=remedy)
    fields: dict[str, Any] = {
        "kind": kind,
        "method": method,
        "base": base,
        "source": source,
        "suite": known.name,
        "protocol": protocol,
        "languages": languages,
        "transform": transform,
        "precision": precision,
        **_budget(method, kind, protocol),
    }
    if base.startswith("init:"):
        fields["pretrain"] = _parse_shape(base)
        _check_shape(asked.get("pretrain", {}), "--base")
    made = _fit_positions(_validate(_merge(fields, asked)), asked)
    made = made.model_copy(update={"source": absolute_uri(made.source)})
    return made if trains else _untrained(made)


def _untrained(recipe: Recipe) -> Recipe:
    """The recipe without settings of alignment."""
    return recipe.model_copy(update={"sample": None, "align": None, "contamination": "report"})


def recipe_like(known: Recipe, method: str, transform: str = "", changes: Sequence[str] = ()) -> Recipe:
    """The recipe that puts a method beside a known run: its data, base, budget and tasks.

    The method's own settings are its defaults, or those of the run if it is the run's method; `changes` are texts
    "config.field=value". Under `paper` another method has its paper's budget. Raises UsageError for other changes, and
    where the method trains and the run did not.
    """
    card, fields = method_card(method), known.model_dump()
    asked = _parse_settings(known.kind, changes)[1]
    if others := sorted(asked.keys() - {"config"}):
        raise UsageError(
            "only settings of the method may be changed beside --like",
            found=", ".join(others),
            expected="config.FIELD=VALUE",
            remedy="leave out --like, and give all settings",
        )
    if card.trains and known.align is None:
        raise UsageError(
            f"{method} trains, and the run of --like has no settings of a training",
            found=f"a run of {known.method}",
            remedy="name a run of a method that trains",
        )
    if method != known.method:
        fields |= _budget(method, known.kind, known.protocol) if known.kind == "paper" else {"config": {}}
    fields |= {"method": method, "transform": transform, "tuning": {}}
    made = _fit_positions(_validate(_merge(fields, asked)), {})
    return made if card.trains else _untrained(made)


def parse_changes(recipe: str, changes: Sequence[str]) -> dict[str, Any]:
    """The settings of a TOML recipe with the `--set` changes on top, nested."""
    return _parse_settings(recipe, changes)[1]


def _parse_settings(
    recipe: str, changes: Sequence[str], tasks: Sequence[str] | None = None
) -> tuple[str, dict[str, Any]]:
    """The kind of recipe, and its settings. A recipe that comes with Alignboard is for any suite: its settings of other
    tasks than `tasks` are left out."""
    kind, asked = _parse_kind(recipe)
    if tasks is not None and recipe in shipped_recipes():
        asked["tasks"] = {name: own for name, own in asked.get("tasks", {}).items() if name in tasks}
    for change in changes:
        _apply_change(asked, change)
    for part in ("sample", "align", "pretrain", "config", "tasks"):
        if not isinstance(asked.get(part, {}), dict):
            raise UsageError(f"{part} has settings", found=f"{part}={asked[part]}", expected=f"{part}.FIELD=VALUE")
    return kind, asked


def pretrain_settings(shape: str, changes: Sequence[str]) -> PretrainSettings:
    """Settings of a pre-training from "LAYERSxHIDDEN" and "field=value" texts. Raises UsageError as `make_recipe`."""
    asked: dict[str, Any] = {}
    for change in changes:
        _apply_change(asked, change)
    _check_shape(asked, "--shape")
    try:
        return PretrainSettings(**_parse_shape(f"init:{shape}"), **asked)
    except ValidationError as error:
        raise _settings_error(error, "pretrain settings", PretrainSettings) from error


def full_config(recipe: Recipe) -> dict[str, Any]:
    """All settings of the method, as JSON values. Raises UsageError for an unknown or contradictory one."""
    try:
        return method_config(recipe.method, recipe.config)
    except ValidationError as error:
        raise _settings_error(error, f"config of {recipe.method}", METHODS.get(recipe.method).Config) from error


GRIDS = {  # learning rates that an ablation tries
    "mini": (1e-4, 3e-4, 1e-3),
    "official": (1e-5, 2e-5, 5e-5),
    "alignboard": (1e-5, 2e-5, 5e-5),
}


def _budget(method: str, kind: str, protocol: str) -> dict[str, Any]:
    """Sample, alignment and method settings of a protocol; under `paper` with those of the method's paper on top."""
    align: dict[str, Any] = {}
    if protocol == "mini":
        align = {"steps": 300, "learning_rate": 3e-4, "max_length": 64}
    config: dict[str, Any] = {}
    if kind == "paper":
        align |= method_card(method).paper
        config |= method_card(method).paper_config
    steps, batch = (align.get(name, AlignSettings.model_fields[name].default) for name in ("steps", "batch_size"))
    return {"align": align, "config": config, "sample": {"size": steps * batch if protocol == "mini" else 3_840_000}}


def _fit_positions(recipe: Recipe, asked: Mapping[str, Any]) -> Recipe:
    """The recipe, with as many positions in a new encoder as alignment reads.

    Raises UsageError where fewer positions were asked for: longer text would be cut.
    """
    new, align = recipe.pretrain, recipe.align
    if new is None or align is None or align.max_length <= new.max_length:
        return recipe
    if "max_length" in asked.get("pretrain", {}):
        raise UsageError(
            "alignment reads longer text than the new encoder has positions for",
            found=f"align.max_length={align.max_length}, pretrain.max_length={new.max_length}",
            expected="at least as many positions as align.max_length",
            remedy=f"give --set pretrain.max_length={align.max_length}, or lower align.max_length",
        )
    return recipe.model_copy(update={"pretrain": new.model_copy(update={"max_length": align.max_length})})


def _parse_kind(recipe: str) -> tuple[str, dict[str, Any]]:
    if recipe in KINDS:
        return recipe, {}
    shipped = shipped_recipes()
    file = shipped.get(recipe) or Path(recipe)
    if file.suffix != ".toml":
        raise unknown("recipe", recipe, (*KINDS, *shipped), remedy="or give a .toml file of settings")
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError("the recipe file is missing", file=file) from error
    except (ValueError, RecursionError) as error:
        raise UsageError("the recipe file is not TOML in UTF-8", file=file, found=quote(error)) from error
    return str(content.pop("kind", "matched")), content


def shipped_recipes() -> dict[str, Path]:
    """The files of the recipes that come with Alignboard, by name."""
    return {file.stem: file for file in SHIPPED.glob("*.toml")}


def _parse_shape(base: str) -> dict[str, int]:
    layers, cross, hidden = base.removeprefix("init:").partition("x")
    if not (cross and layers.isdecimal() and hidden.isdecimal()):
        raise UsageError("the shape of a new encoder is not understood", found=base, expected="init:LAYERSxHIDDEN")
    return {"layers": int(layers), "hidden": int(hidden)}


def _check_shape(settings: Mapping[str, Any], option: str) -> None:
    for name in (name for name in ("layers", "hidden") if name in settings):
        found, remedy = f"{name}={settings[name]}", f"leave it out: {option} gives the shape, LAYERSxHIDDEN"
        raise UsageError("the shape of a new encoder is given twice", found=found, remedy=remedy)


def _apply_change(changes: dict[str, Any], text: str) -> None:
    """Puts "a.b.c=value" into nested dictionaries; the value is read as JSON where it is JSON."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise UsageError("a setting is written FIELD=VALUE", found=repr(text), expected="such as align.steps=100")
    *parents, last = path.strip().split(".")
    place = changes
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise UsageError("a setting contradicts another one", found=text, expected=f"{parent} to have fields")
    try:
        place[last] = json.loads(value)
    except (ValueError, RecursionError):
        place[last] = value


def _merge(fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` with `changes` on top, nested dictionaries joined."""
    merged = dict(fields)
    for name, value in changes.items():
        known = merged.get(name)
        merged[name] = _merge(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return merged


def _validate(fields: dict[str, Any]) -> Recipe:
    try:
        recipe = Recipe(**fields)
    except ValidationError as error:
        raise _settings_error(error, "recipe", Recipe) from error
    _check(recipe)
    return recipe


def _check(recipe: Recipe) -> None:
    """Contradictions between the fields of a recipe, and names inside it that do not exist."""
    if recipe.pretrain is not None and not recipe.base.startswith("init:"):
        raise UsageError(
            "pretrain settings have no effect on an existing base",
            found=f"base = {recipe.base}",
            remedy="give --base init:LAYERSxHIDDEN, or leave the pretrain settings out",
        )
    if recipe.transform:
        transform_of(recipe.transform)
    if recipe.transform == ShuffledPairs.name and not method_card(recipe.method).trains:
        raise UsageError(
            "a transform of the sample has no effect on a method that does not train",
            found=f"{recipe.transform} on {recipe.method}",
            remedy=f"leave {recipe.method} out of this command",
        )
    suite = SUITES.get(recipe.suite)
    for task in recipe.tasks:
        if task not in suite.tasks:
            raise unknown(f"task of suite {recipe.suite}", task, suite.tasks)
    for task in suite.tasks:
        recipe.task_settings(task)
    full_config(recipe)


_ADAPTERS: dict[type[TaskSettings], TypeAdapter[TaskSettings]] = {}


def _change_settings(settings: TaskSettings, changes: Mapping[str, Any], where: str) -> TaskSettings:
    fields = asdict(settings)
    for name in changes:
        if name not in fields:
            raise unknown(f"field of {where}", name, fields)
    kind = type(settings)
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    try:
        return _ADAPTERS[kind].validate_python({**fields, **changes})
    except ValidationError as error:
        raise _settings_error(error, where, FrozenSettings) from error


def _settings_error(error: ValidationError, what: str, model: type[BaseModel]) -> UserError:
    """The first problems of a validation as one usage error; of an unknown field, with the fields that exist."""
    problem = error.errors()[0]
    path = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        return unknown(f"field of the {what}", ".".join(path), _field_names(model, path))
    problems = "; ".join(_problem_text(problem) for problem in error.errors()[:3])
    return UsageError(
        f"the {what} has a field that is wrong or contradictory", found=problems.replace("Value error, ", "")
    )


def _problem_text(problem: Any) -> str:
    """FIELD=VALUE: what is wrong with it."""
    where, value = ".".join(map(str, problem["loc"])), shorten(str(problem["input"]))
    return ": ".join(filter(None, (where and f"{where}={value}", problem["msg"])))


def _field_names(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The dotted names of the fields beside the one at `path`."""
    for name in path[:-1]:
        inner = model.model_fields[name].annotation
        choices = [inner, *getattr(inner, "__args__", ())]
        model = next(c for c in choices if isinstance(c, type) and issubclass(c, BaseModel))
    return [".".join((*path[:-1], field)) for field in model.model_fields]

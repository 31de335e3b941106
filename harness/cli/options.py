"""Options that several commands share.

Options that belong together are fields of a frozen dataclass. A command takes the dataclass as one parameter, and
`flatten` turns each field into an option of the command line.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from harness.errors import UsageError, unique_names, unknown
from harness.storage.home import database_url

if TYPE_CHECKING:
    from harness.experiments.executors.schedule import Executor
    from harness.experiments.recipe import Recipe
    from harness.experiments.stored import Moved
    from harness.storage.store import Store


def refuse_empty(option: typer.CallbackParam, value: str | None) -> str | None:
    """Raises UsageError for an option without a value, such as that of a variable which is not set."""
    if value is not None and not value.strip():
        raise UsageError(f"{option.opts[0]} is empty", found=repr(value), remedy="give a value, or leave it out")
    return value


Db = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="URL",
        callback=refuse_empty,
        help="Database: a path or URL. Default: ALIGNBOARD_DB, else board.db in home.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Seeds = Annotated[int, typer.Option(min=1, max=1000, help="Number of seeds; fewer than 3 give no verdict.")]
Device = Annotated[str, typer.Option(help="Device to compute on: auto, cpu or cuda.")]
EXECUTORS = ("local", "ray")


@dataclass(frozen=True)
class RecipeOptions:
    """What to train on, from what, and how to score it: the recipe of a run without its method."""

    suite: Annotated[str, typer.Option(help="Suite of tasks to score, or tasks separated by commas.")] = "xtreme-align"
    source: Annotated[str, typer.Option(help="Data source: babel, folder:PATH or hub.")] = "babel"
    base: Annotated[
        str, typer.Option(help="Base encoder: a folder, a hub name, babel-4x128 (built in), or init:LAYERSxHIDDEN.")
    ] = "init:4x128"
    protocol: Annotated[str, typer.Option(help="official, alignboard, or mini (small encoders).")] = "official"
    recipe: Annotated[str, typer.Option(help="Alignment settings: matched, paper, demo, or a TOML file.")] = "matched"
    languages: Annotated[str, typer.Option(help="official, available, or a list such as de,fr.")] = "official"
    precision: Annotated[str, typer.Option(help="Precision: fp32, bf16 or fp16.")] = "fp32"
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change a setting, such as align.steps=100. Repeatable."),
    ] = None

    def build(self, method: str, transform: str = "", changes: Sequence[str] | None = None) -> Recipe:
        """The recipe of one method. `changes` replaces the changes of the command line. Raises UsageError."""
        from harness.experiments.recipe import make_recipe

        return make_recipe(
            method=method,
            base=self.base,
            source=self.source,
            suite=self.suite,
            protocol=self.protocol,
            recipe=self.recipe,
            languages=self.languages,
            transform=transform,
            precision=self.precision,
            changes=(self.changes or ()) if changes is None else changes,
        )


@dataclass(frozen=True)
class MovedOptions:
    """Where the source and the base of stored runs are today."""

    source: Annotated[
        str | None, typer.Option(callback=refuse_empty, help="New location of the runs' source, if it has moved.")
    ] = None
    base: Annotated[
        str | None, typer.Option(callback=refuse_empty, help="New location of the runs' base, if it has moved.")
    ] = None

    def moved(self) -> Moved:
        from harness.experiments.stored import Moved

        return Moved(self.source or "", self.base or "")


@dataclass(frozen=True)
class ExecutionOptions:
    """Where stages run and where their scores go."""

    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Stages run at once. Default: 2, or one per GPU; under Ray all that fit."),
    ] = None
    device: Device = "auto"
    executor: Annotated[str, typer.Option(help="local: this machine; ray: the nodes of a Ray cluster.")] = "local"
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Ray cluster. Default: RAY_ADDRESS, else this machine's.")
    ] = None
    cpus_per_stage: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Cores and threads of a stage under Ray. Default: 1.")
    ] = None
    gpus_per_stage: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Processes that share a training stage, each with a GPU. Default: 1."),
    ] = None
    memory_per_stage: Annotated[
        float | None, typer.Option(min=0.1, max=1e6, metavar="GIB", help="Memory that a stage reserves under Ray.")
    ] = None
    log_to: Annotated[
        str | None,
        typer.Option(metavar="KIND:PLACE", help="For loss curves: tensorboard:FOLDER, wandb:PROJECT, trackio:PROJECT."),
    ] = None
    db: Db = None

    def make_executor(self) -> Executor:
        from harness.experiments.executors.local import Local
        from harness.storage.shared import open_artifacts

        if self.log_to is not None:
            from harness.experiments.sinks import choose_sink

            choose_sink(self.log_to)
        if self.executor not in EXECUTORS:
            raise unknown("executor", self.executor, EXECUTORS)
        artifacts = open_artifacts()
        if self.memory_per_stage is not None and not math.isfinite(self.memory_per_stage):
            raise UsageError("--memory-per-stage is no number of GiB", found=str(self.memory_per_stage))
        if self.executor == "ray":
            if "TORCHELASTIC_RUN_ID" in os.environ:
                raise UsageError("--executor ray does not run under torchrun", remedy="use --gpus-per-stage instead")
            from harness.experiments.executors.ray_cluster import Needs, RayCluster

            needs = Needs(self.cpus_per_stage or 1, self.gpus_per_stage or 1, self.memory_per_stage)
            return RayCluster.on(artifacts, self.address, self.workers, self.device, needs)
        for option in ("address", "cpus_per_stage", "memory_per_stage"):
            if getattr(self, option) is not None:
                raise UsageError(
                    f"--{option.replace('_', '-')} has no effect without --executor ray",
                    remedy="add --executor ray, or leave it out",
                )
        return Local.on(artifacts, self.workers, self.device, self.gpus_per_stage or 1)

    def open_store(self, *, create: bool = False) -> Store:
        from harness.storage.store import Store

        return Store.open(self.db or database_url(), create=create)


def suite_filter(store: Store, suite: str | None) -> dict[str, str]:
    """The filter on the runs of a suite, none without one. Tasks may be listed in any order. Raises UsageError for a
    suite that no run has."""
    if suite is None:
        return {}
    known = store.names("suite")
    listed = ",".join(sorted(unique_names("suite", [suite])))
    if suite not in known and listed not in known:
        raise unknown("suite", suite, known)
    return {"suite": suite if suite in known else listed}


def check_selection(store: Store, selection: str | None) -> None:
    """Raises UsageError for a selection of checkpoints that no test score of the store has."""
    from harness.results.tables import HEADLINE

    known = {HEADLINE, *store.names("selection", split="test")} - {""}
    if selection is not None and selection not in known:
        raise unknown("selection", selection, known)


def flatten(command: Callable[..., None]) -> Callable[..., None]:
    """The command with one keyword parameter for each field of the dataclasses among its parameters.

    The parameter's default, an instance of the dataclass, gives the defaults of the fields.
    """
    signature = inspect.signature(command, eval_str=True)
    records = {name: p for name, p in signature.parameters.items() if is_dataclass(p.annotation)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        if name not in records:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        types = get_type_hints(parameter.annotation, include_extras=True)
        parameters += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=getattr(parameter.default, field.name),
                annotation=types[field.name],
            )
            for field in fields(parameter.annotation)
        ]

    @wraps(command)
    def flat(**values: Any) -> None:
        for name, parameter in records.items():
            record: Any = parameter.annotation
            values[name] = record(**{field.name: values.pop(field.name) for field in fields(record)})
        command(**values)

    flat.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return flat

"""The stage: one unit of work of a run, named by the hash of everything that decides its result.

Each kind of stage is a file in `stages/`: a frozen record whose own fields are its parameters, what it computes (`run`)
and the rows that its artifact gives (`rows`). Parameters, inputs, data and code go into the fingerprint; `place`, which
says where things are on this machine, does not, nor do the device and the number of threads.
"""

from __future__ import annotations

import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from pydantic import BaseModel

from harness import provenance
from harness.barriers import reach
from harness.code import code_hash
from harness.data.source import CorpusCell, TaskCell, cached_source
from harness.errors import UserError, list_first
from harness.experiments.bases import base_fingerprint
from harness.experiments.logs import log_stage
from harness.files import COST, LOG, json_digest, read_json, write_json
from harness.registry import TASKS
from harness.storage.artifacts import Artifacts
from harness.storage.store import ScoreRow

if TYPE_CHECKING:
    import torch

    from harness.training.loop import Trace, Watch


TRAINING = ("pretrain", "align", "finetune")  # the kinds of stages that train by the loop


class LostInputError(UserError):
    """An artifact that is needed is missing or was found damaged; `fingerprint` is its own."""

    def __init__(self, fingerprint: str, title: str = "an input of this stage") -> None:
        remedy = "give the command of its run again: what is missing or damaged is computed again"
        super().__init__(f"{title} is missing or damaged", found=f"artifact {fingerprint[:12]}", remedy=remedy)
        self.fingerprint = fingerprint


class LostRankError(UserError):
    """Another process that took part in a stage is gone."""


class RankGroup(Protocol):
    """Several processes that compute a stage together, `local` of them on this machine; this one is the first."""

    size: int
    local: int

    def run(self, stage: Stage, bench: Workbench, folder: Path) -> Trace | None: ...


@dataclass(frozen=True)
class StagePlace:
    """Where a stage finds things on this machine: the source's URI, the base (a folder, a hub name with its commit, or
    nothing where it is trained here), and loose plug-in files."""

    source: str
    base: str = ""
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workbench:
    """What a stage works with: the artifacts, a device, and who watches its progress. `read` has the contents of the
    input artifacts that were read, by fingerprint. `ranks` take part in stages that can be shared."""

    artifacts: Artifacts
    device: torch.device
    watch: Watch
    read: dict[str, str] = field(default_factory=dict)
    ranks: RankGroup | None = None

    def input(self, fingerprint: str) -> Path:
        """The folder of an input artifact, all of whose files were just compared with their digests.

        Raises LostInputError where it is missing or damaged.
        """
        artifact = self.artifacts.find(fingerprint, verify=fingerprint not in self.read)
        if artifact is None or self.read.setdefault(fingerprint, artifact.content) != artifact.content:
            raise LostInputError(fingerprint)
        return artifact.path

    def checkpoint(self, stage: Stage) -> Path:
        """Where a stage keeps its state, to resume after a kill: one place for each content of the inputs that it has
        read, so ask when all are."""
        return self.artifacts.work(stage.fingerprint) / f"state-{json_digest(self.read)[:16]}"

    @property
    def tokens(self) -> Path:
        """The cache of tokenised texts, shared by all runs."""
        return self.artifacts.root / "tokens"


class StageRows(NamedTuple):
    """What a stage's artifact adds to the rows of a run: scores, and facts about its alignment."""

    scores: Sequence[ScoreRow] = ()
    alignment: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class StageResult:
    """A finished stage: whether its artifact was reused, and its cost, as the artifact records it."""

    fingerprint: str
    reused: bool
    cost: Mapping[str, Any]


@dataclass(frozen=True)
class StageFailure:
    """A stage that failed: the reason in words, and whether it is the user's to fix. `again`: it was stopped or its
    process was lost; `lost_input`: an artifact that it needs and that was set aside."""

    fingerprint: str
    message: str
    fixable: bool
    again: bool = False
    lost_input: str = ""


@dataclass(frozen=True, kw_only=True)
class Stage(ABC):
    """One unit of work. Subclasses add their parameters as fields.

    `inputs` maps a role to the fingerprint of an artifact, `data` a cell of the source to its fingerprint; `modules`
    are the plug-ins that take part (method, task, source, objective), by dotted name or by the path of a loose file.
    """

    kind: ClassVar[str]
    all_threads: ClassVar[bool] = False  # runs with every core, since all other stages wait for it
    on_device: ClassVar[bool] = True  # uses a GPU where there is one
    row_files: ClassVar[tuple[str, ...]] = ()  # files of the artifact that `rows` reads
    task: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    place: StagePlace = field(compare=False)

    def __post_init__(self) -> None:
        self.fingerprint  # noqa: B018 (computed now, before a source file can change)

    @property
    def parameters(self) -> dict[str, Any]:
        """The fields that the kind of stage declares, as JSON values."""
        common = {f.name for f in fields(Stage)}
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.compare and f.name not in common}

    @cached_property
    def fingerprint(self) -> str:
        code = code_hash(type(self).__module__, *self.modules)
        return json_digest([self.kind, self.task, self.parameters, dict(self.inputs), dict(self.data), code])

    @property
    def by_ranks(self) -> bool:
        """Whether several processes can compute the stage together."""
        return self.kind in TRAINING

    @property
    def title(self) -> str:
        """A short name for a line of progress."""
        return " ".join(filter(None, (self.kind, self.task)))

    @property
    def precision_name(self) -> str:
        """The floating-point precision of the work, for the record of its cost."""
        return str(getattr(self, "precision", "fp32"))

    @abstractmethod
    def run(self, bench: Workbench, folder: Path) -> Trace | None:
        """Writes the stage's files into `folder`. Training stages return the trace of their loop."""

    def rows(self, folder: Path, protocol: str) -> StageRows:
        """The rows that the artifact in `folder` gives a run under this protocol."""
        return StageRows()

    def find(self, artifacts: Artifacts) -> StageResult | None:
        """The result of a stage whose artifact exists; all machines have it then."""
        artifact = artifacts.find(self.fingerprint, files=[COST])
        if artifact is None:
            return None
        cost = read_json(artifact.path / COST)
        artifacts.share(artifact)
        return StageResult(self.fingerprint, True, cost)

    def execute(self, bench: Workbench) -> StageResult:
        """Runs the stage unless its artifact exists, and records its cost in the artifact."""
        with bench.artifacts.lock(self.fingerprint) as claim:
            known = self.find(bench.artifacts)
            if known is not None:
                return known
            import torch

            first_line = f"{self.title}: {bench.device}, {torch.get_num_threads()} threads, process {os.getpid()}"
            read: dict[str, str] = {}
            with (
                log_stage(bench.artifacts.work(self.fingerprint), first_line, bench.watch) as log,
                bench.artifacts.create(self.fingerprint, self.kind, {"title": self.title}, read, claim) as folder,
            ):
                reach("stage started")
                self.check_unchanged()  # now, too: a checkpoint is taken to be of the data of the plan
                bench = replace(bench, watch=log, read=read)
                cost = self._measured_run(bench, folder)
                reach("stage computed")
                try:
                    self.check_unchanged()
                except UserError:
                    _discard_checkpoints(bench.artifacts.work(self.fingerprint))
                    raise
                for name in read:
                    bench.input(name)  # unchanged since it was read
                write_json(folder / COST, cost)
                log.finish(folder)
            return StageResult(self.fingerprint, False, cost)

    def check_unchanged(self) -> None:
        """Raises UserError where the data or the base are no longer those of the plan: then the result is not kept."""
        source = cached_source(self.place.source)
        changed: list[str] = []
        if self.data and not source.generated:
            tasks = sorted({cell.split("/")[0] for cell in self.data if cell.count("/") == 2})
            cells: list[TaskCell | CorpusCell] = [*source.task_cells([TASKS.get(name).spec for name in tasks])]
            if any(cell.count("/") == 1 for cell in self.data):
                cells += source.manifest([]).corpora
            today = {cell.name: cell.fingerprint for cell in cells}
            changed += [cell for cell, fingerprint in self.data.items() if today.get(cell) != fingerprint]
        if "base" in self.inputs and base_fingerprint(self.place.base) != self.inputs["base"]:
            changed.append(f"the base {self.place.base}")
        if changed:
            raise UserError(
                f"what {self.title} reads has changed since the run was planned, so its result is not kept",
                file=self.place.source,
                found=list_first(changed),
                remedy="give the command of the run again, and leave data and base as they are while it works",
            )

    def _measured_run(self, bench: Workbench, folder: Path) -> dict[str, Any]:
        """Runs the stage; returns times (Unix seconds), device seconds, peak memory in bytes, and what was read."""
        import torch

        device = bench.device
        started, clock = time.time(), provenance.device_clock(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        ranks = bench.ranks if self.by_ranks else None
        trace = ranks.run(self, bench, folder) if ranks else self.run(bench, folder)
        size = ranks.size if ranks else 1
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        return {
            "started": started,
            "finished": time.time(),
            "device_seconds": size * (provenance.device_clock(device) - clock)
            + (trace.earlier_seconds if trace else 0),
            "peak_memory_bytes": provenance.peak_memory(device),
            "tokens": trace.tokens if trace else None,
            "examples": trace.examples if trace else None,
            "device": f"{size} x {name}" if size > 1 else name,
            "precision": self.precision_name,
            "threads": torch.get_num_threads(),
            "host": provenance.host(),
            "code_version": provenance.code_version().commit,
        }


def _discard_checkpoints(work: Path) -> None:
    """Empties the work folder of a stage, but for its log."""
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOG:
            path.unlink()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value

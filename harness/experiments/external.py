"""Predictions from elsewhere on the board: checked as a whole, scored here, and kept as a run that is marked external.

A submission is identified by its name, its seed and the table it enters. The same bytes again change nothing; other
bytes under the same name are refused unless they shall replace the former. What is kept is what a run of our own
leaves: predictions, statistics of every item, scores, averages; and besides, who gave it when and the SHA-256 of every
file.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness import provenance
from harness.errors import UsageError, UserError, list_first
from harness.evaluation import item_statistics as evidence
from harness.evaluation.item_statistics import Scored
from harness.files import PREDICTIONS, file_digest, json_digest
from harness.protocols import Suite
from harness.records import Record
from harness.registry import TASKS
from harness.results.rendering import clean
from harness.results.submissions import GoldLabels, LabelFolder, SubmissionReport, score_against
from harness.results.versions import data_cells
from harness.storage.artifacts import Artifacts, artifact_folder
from harness.storage.store import RunRow, ScoreRow, StageRow, Store
from harness.storage.store.schema import now
from harness.storage.usage import register_store
from harness.task import Task

if TYPE_CHECKING:
    from harness.experiments.plan import RunPlan

KIND = "external"
LONGEST = {"name": 80, "by": 80, "note": 2000, "url": 500}  # characters


@dataclass(frozen=True)
class Claim:
    """What the submitter says: a name for the row, who gives it, a note, an address. `seed` tells repetitions apart.

    Raises UsageError for a name that is empty, and for texts that are too long or hide characters.
    """

    name: str
    by: str = ""
    note: str = ""
    url: str = ""
    seed: int | None = None

    def __post_init__(self) -> None:
        for field, most in LONGEST.items():
            text = getattr(self, field)
            if len(text) > most or clean(text) != text or text != text.strip():
                raise UsageError(
                    f"--{field} is not a plain text",
                    found=f"{len(text):,} characters: {clean(text)[:40]!r}",
                    expected=f"at most {most:,} characters on one line, none of them invisible, no blank at the ends",
                )
        if not self.name:
            raise UsageError("--name is empty", expected="a name for the row")
        if self.url and not self.url.startswith(("https://", "http://")):
            raise UsageError("--url is no address", found=self.url, expected="https://...")


@dataclass(frozen=True)
class Target:
    """The table that a submission enters, and the gold that it is scored on.

    `expected` lists the views that every task of the suite must have; `gold_hash` has a hash of each task's gold.
    `data` has the cells of the run that the table comes from.
    """

    suite: Suite
    protocol: str
    recipe_kind: str
    base: str
    source: str
    expected: Mapping[str, tuple[str, ...]]
    gold: GoldLabels
    gold_hash: Mapping[str, str]
    scheme: str | None = None
    data_fingerprint: str = ""
    data: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def languages_hash(self) -> str:
        return json_digest(sorted(self.expected.items()))

    def run_id(self, claim: Claim) -> str:
        """The key of the row: it depends on the claim's name and seed and on the table, not on the predictions."""
        table = (self.suite.name, self.protocol, self.recipe_kind, self.base, self.source, self.languages_hash)
        return json_digest([KIND, claim.name, claim.seed, *table])[:16]


def labels_target(
    labels: Path, suite: Suite, scheme: str | None = None, *, available: bool = False, base: str = ""
) -> Target:
    """A table of its own, scored on a folder of labels by the official rules. Its source is the folder's own name."""
    gold = LabelFolder(labels, available)
    found = {name: tuple(gold.views(TASKS.get(name)())) for name in suite.tasks}
    expected = {name: views or TASKS.get(name).spec.languages for name, views in found.items()}
    hashes = {name: json_digest(_file_digests(labels, name, views)) for name, views in found.items() if views}
    source = f"labels:{labels.resolve().name}"
    data = json_digest(sorted(hashes.items()))
    return Target(suite, "official", "paper", base, source, expected, gold, hashes, scheme, data)


def run_target(plan: RunPlan, run: Mapping[str, Any], suite: Suite, base: str | None = None) -> Target:
    """The table of a stored run, on the very items that it was scored on: `plan` is on the same test data."""
    gold = StoredGold(plan)
    scored = [stage for stage in plan.stages if stage.kind == "score"]
    hashes = {str(stage.task): json_digest([stage.parameters, dict(stage.data)]) for stage in scored}
    return Target(
        suite,
        plan.recipe.protocol,
        run["recipe_kind"],
        run["base"] if base is None else base,
        run["source"],
        plan.expected,
        gold,
        hashes,
        data_fingerprint=run["data_fingerprint"],
        data=data_cells(run),
    )


class StoredGold:
    """The gold of a plan's test items, as its own predictions are scored on."""

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan
        self._read: dict[str, Mapping[str, Sequence[Record]]] = {}

    def views(self, task: Task) -> Sequence[str]:
        return self._plan.expected.get(task.spec.name, ())

    def records(self, report: SubmissionReport, task: Task, view: str) -> Sequence[Record] | None:
        name = task.spec.name
        if name not in self._read:
            from harness.experiments.stages.embed import Embed  # here, so that labels in a folder need no encoder

            stage = next(s for s in self._plan.stages if isinstance(s, Embed) and s.task == name)
            self._read = {name: stage.gold_records()}  # one task's gold at a time
        return self._read[name][view]


class Change(StrEnum):
    """What a submission did to the board."""

    NEW = "new"
    SAME = "already there"
    RESTORED = "restored"  # the same, where an artifact was lost
    REPLACED = "replaced"


class Outcome(NamedTuple):
    run: str
    change: Change


def check(predictions: Path, target: Target) -> SubmissionReport:
    """Reads and scores everything, and writes nothing; the report lists every fault."""
    return score_against(predictions, target.gold, target.suite, target.scheme)


def submit(
    store: Store,
    artifacts: Artifacts,
    predictions: Path,
    target: Target,
    claim: Claim,
    report: SubmissionReport,
    *,
    replace: bool = False,
) -> Outcome:
    """Puts predictions that were checked without problems into the store.

    Raises UserError where the name stands for other predictions already and they are not to be replaced.
    """
    assert not report.problems, "what is damaged is never stored"
    assert report.tasks, "there is nothing to store"
    files = {
        name: value
        for task, made in report.views.items()
        for name, value in _file_digests(predictions, task, made).items()
    }
    inputs = {"files": files, "gold": {task: target.gold_hash[task] for task in report.views}, "scheme": target.scheme}
    run = target.run_id(claim)
    register_store(artifacts, store)
    with artifacts.lock(f"external-{run}"), artifacts.collection_lock():  # nothing is collected before its row exists
        former = store.runs(id=run)
        done = bool(former) and former[0]["status"] == "done"
        same = done and {key: former[0]["card"][KIND].get(key) for key in inputs} == inputs
        whole = all(artifacts.find(fingerprint) is not None for fingerprint in store.stages(run)["fingerprint"])
        if same and whole and not replace:
            return Outcome(run, Change.SAME)
        if done and not same and not replace:
            raise _conflict_error(claim, former[0], inputs)
        stages = [_write_artifacts(artifacts, task, report, inputs) for task in report.views]
        if former:
            store.delete_run(run)
        _put_rows(store, _row(run, target, claim, inputs), stages, target)
    return Outcome(run, Change.RESTORED if same and not whole else Change.REPLACED if done else Change.NEW)


class _StoredTask(NamedTuple):
    """One task's stages, and the scores of the second."""

    predict: StageRow
    score: StageRow
    scores: list[dict[str, Any]]


def _write_artifacts(
    artifacts: Artifacts, task: str, report: SubmissionReport, inputs: Mapping[str, Any]
) -> _StoredTask:
    """Writes the artifacts of one task. Both are named by their content."""
    spec = TASKS.get(task).spec
    made = report.views[task]
    parts = [Scored("", view, *each) for view, each in made.items()]
    scores = evidence.scores_of(TASKS.get(task)(), parts)
    final = {"": {view: {"final": each.predictions, "calibration": {}} for view, each in made.items()}}
    kind = "predict" if spec.trained else "embed"
    predicted = json_digest([KIND, kind, task, final])
    with artifacts.create(predicted, kind, {"title": f"{KIND} {task}"}) as folder:
        (folder / PREDICTIONS).write_text(json.dumps(final, ensure_ascii=False), encoding="utf-8")
    scored = json_digest([KIND, "score", task, predicted, inputs["gold"][task], inputs["scheme"], scores])
    with artifacts.create(scored, "score", {"title": f"{KIND} score {task}"}) as folder:
        evidence.write(folder, TASKS.get(task)(), parts, scores)
    return _StoredTask(_stage(predicted, kind, task), _stage(scored, "score", task), scores)


def _stage(fingerprint: str, kind: str, task: str) -> StageRow:
    place = artifact_folder(fingerprint)
    commit = provenance.code_version().commit
    return StageRow(
        fingerprint=fingerprint, kind=kind, task=task, status="done", artifact=place, started=now(), code_version=commit
    )


def _row(run: str, target: Target, claim: Claim, inputs: Mapping[str, Any]) -> RunRow:
    version = provenance.code_version()
    views = dict.fromkeys(view for views in target.expected.values() for view in views)
    return RunRow(
        id=run,
        kind=KIND,
        method=claim.name,
        suite=target.suite.name,
        protocol=target.protocol,
        recipe_kind=target.recipe_kind,
        base=target.base,
        source=target.source,
        data_fingerprint=target.data_fingerprint,
        languages=tuple(views),
        languages_hash=target.languages_hash,
        align_seed=claim.seed,
        finetune_seed=claim.seed,
        status="running",
        code_version=version.commit,
        dirty=version.dirty,
        packages=provenance.package_versions(),
        host=provenance.host(),
        card={**_card(claim, inputs), "data": dict(target.data)},
    )


def _card(claim: Claim, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What the board shows of it, in the fields of a method's card, and under `external` where it comes from."""
    details = {"by": claim.by, "note": claim.note, "url": claim.url, **inputs}
    return {
        "docstring": claim.note,
        "reference": claim.url,
        "objective": "",
        "control": False,
        "needs": [],
        KIND: details,
    }


def _put_rows(store: Store, row: RunRow, stages: Sequence[_StoredTask], target: Target) -> None:
    """The rows, the run's last status last: what a killed process leaves is not done, and is written again."""
    store.add_run(row)
    for stored in stages:
        for stage in (stored.predict, stored.score):
            store.put_stage(stage)
            store.link_stage(row.id, stage.fingerprint, False)
        store.put_scores(row.id, [_score(stored.score, target, score) for score in stored.scores])
    store.refresh_summary(row.id, target.expected, {name: TASKS.get(name).spec.metric for name in target.suite.tasks})
    store.set_status(row.id, "done")


def _score(stage: StageRow, target: Target, score: Mapping[str, Any]) -> ScoreRow:
    assert stage.task is not None
    return ScoreRow(
        stage=stage.fingerprint,
        task=stage.task,
        language=score["view"].partition(".")[0],
        split="test",
        protocol=target.protocol,
        **score,
    )


def _file_digests(folder: Path, task: str, views: Sequence[str] | Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the files of one task that are there, by their path in the folder."""
    names = [f"{task}/{TASKS.get(task).file_name(view)}" for view in views]
    return {name: file_digest(folder / name) for name in names if (folder / name).is_file()}


def _conflict_error(claim: Claim, former: Mapping[str, Any], inputs: Mapping[str, Any]) -> UserError:
    """The refusal of other predictions, or of the same on other labels, under a name that is taken."""
    known = former["card"][KIND]
    differing = sorted(
        name for name in {*known["files"], *inputs["files"]} if known["files"].get(name) != inputs["files"].get(name)
    )
    return UserError(
        f"{claim.name} is on the board already, with other {'predictions' if differing else 'labels'}",
        found=f"changed: {list_first(differing)}" if differing else "the same predictions on other gold",
        expected=f"what run {former['id']} of {former['created']:%Y-%m-%d} was given",
        remedy="give another --name or --seed, or --replace to put these in its place",
    )

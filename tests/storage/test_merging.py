"""Stores and artifacts of two people become one, without duplicates, and nothing that is here is overwritten."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from harness.errors import UserError
from harness.storage.artifacts import Artifacts
from harness.storage.merging import Merged, merge
from harness.storage.store import RunRow, ScoreRow, StageRow, Store, schema
from harness.storage.usage import collect

RUN = RunRow(id="r1", method="ml-ctl", suite="s", protocol="mini", status="done", align_seed=1, version="v1")
EXPECTED, METRIC = {"xnli": ("de", "sw")}, {"xnli": "accuracy"}


def score(view: str, value: float, stage: str = "bb11") -> ScoreRow:
    same = {"task": "xnli", "split": "test", "protocol": "mini", "metric": "accuracy", "selection": "english"}
    return ScoreRow(stage=stage, view=view, language=view, value=value, n=4, **same)  # type: ignore[arg-type]


SCORES = [score("de", 70.0), score("sw", 50.0)]


class Place:
    """One person's store and artifacts."""

    def __init__(self, home: Path, location: str | None = None) -> None:
        self.store = Store.open(location or home / "board.db", create=True)
        self.artifacts = Artifacts(home / "artifacts")

    def add(self, run: RunRow = RUN, scores: list[ScoreRow] = SCORES, weights: str = "weights") -> None:
        """A run of two stages, the second made from the first."""
        self.store.add_run(run)
        encoder, scored = f"aa{run.id[1:]}", scores[0].stage
        if self.artifacts.find(encoder) is None:
            with self.artifacts.create(encoder, "align", {"steps": 3}) as folder:
                (folder / "deep").mkdir()
                (folder / "deep" / "weights").write_text(weights)
        found = self.artifacts.find(encoder)
        assert found is not None
        if self.artifacts.find(scored) is None:
            with self.artifacts.create(scored, "score", {}, {encoder: found.content}) as folder:
                (folder / "scores").write_text(weights)
        for fingerprint, kind, task in ((encoder, "align", None), (scored, "score", "xnli")):
            self.store.put_stage(StageRow(fingerprint=fingerprint, kind=kind, task=task, status="done"))
            self.store.link_stage(run.id, fingerprint, hit=False)
        self.store.put_scores(run.id, scores)
        self.store.refresh_summary(run.id, EXPECTED, METRIC)

    def merge(self, other: Place) -> Merged:
        return merge(self.store, self.artifacts, other.store, other.artifacts)

    def rows(self) -> dict[str, list[tuple[object, ...]]]:
        """All that the store holds, but for who works on what."""
        found = {}
        with self.store.snapshot() as connection:
            for table in schema.metadata.sorted_tables:
                columns = [c for c in table.c if c.name not in ("owner", "heartbeat", "serial")]
                found[table.name] = sorted(map(tuple, connection.execute(sa.select(*columns))), key=repr)
        return found


@pytest.fixture
def here(tmp_path: Path, location: str) -> Place:
    return Place(tmp_path / "here", location)


@pytest.fixture
def there(tmp_path: Path) -> Place:
    return Place(tmp_path / "there")


def test_merged_runs_and_artifacts_equal_the_original_and_come_once(here: Place, there: Place) -> None:
    there.add(replace(RUN, config={"temperature": 0.1}, languages=("de", "sw"), card={"control": "mbert"}))
    there.add(replace(RUN, id="r2", status="failed", error="the disk is full"), [score("de", 1.0, "bb22")])
    merged = here.merge(there)
    assert (merged.added, merged.refused, merged.artifacts) == (["ml-ctl seed 1 (r1)", "ml-ctl seed 1 (r2)"], [], 4)
    assert here.rows() == there.rows()
    for fingerprint in there.artifacts.fingerprints():
        ours, theirs = (place.artifacts.find(fingerprint, verify=True) for place in (here, there))
        assert ours is not None
        assert theirs is not None
        assert (ours.files, ours.meta, ours.inputs) == (theirs.files, theirs.meta, theirs.inputs)
    assert [run["serial"] for run in here.store.runs()] == [1, 2]
    again = here.merge(there)
    assert (len(again.known), again.added, again.completed, again.artifacts) == (2, [], [], 0)
    assert here.rows() == there.rows()
    assert collect(here.artifacts, [here.store.location]).fingerprints == ()


def test_both_sides_keep_their_own_runs(here: Place, there: Place) -> None:
    here.add()
    there.add()
    there.add(replace(RUN, id="r2"), [score("de", 60.0, "bb22")])
    merged = here.merge(there)
    assert (merged.known, merged.added) == (["ml-ctl seed 1 (r1)"], ["ml-ctl seed 1 (r2)"])
    back = there.merge(here)
    assert (len(back.known), back.added, back.artifacts) == (2, [], 0)


def test_score_of_another_value_is_reported_and_kept(here: Place, there: Place) -> None:
    here.add()
    there.add(scores=[score("de", 71.5), SCORES[1]])
    before = here.rows()
    (line,) = here.merge(there).refused
    assert line == (
        "ml-ctl seed 1 (r1): 1 score of another value, kept: xnli de test english accuracy: 70.0000 here, 71.5000 there"
    )
    assert here.rows() == before


def test_run_from_an_artifact_with_another_content_is_left_out(here: Place, there: Place) -> None:
    here.add(weights="first")
    there.add(weights="second")
    there.store.delete_run("r1")
    there.add(replace(RUN, id="r2"), [score("de", 1.0, "bb22")])
    there.store.link_stage("r2", "aa1", hit=True)
    before = here.rows()
    (line,) = here.merge(there).refused
    assert "the artifact align aa1 has another content here" in line
    assert here.rows() == before
    assert here.artifacts.fingerprints() == ["aa1", "bb11"]


def test_unfinished_run_is_completed_by_the_finished_one(here: Place, there: Place) -> None:
    here.add(replace(RUN, status="interrupted", error=None), SCORES[:1])
    there.add()
    assert here.merge(there).completed == ["ml-ctl seed 1 (r1)"]
    assert [run["status"] for run in here.store.runs()] == ["done"]
    assert len(here.store.cells(run="r1")) == 2
    averages = here.store.summaries(run="r1", task="average")
    assert [row["value"] for row in averages] == [60.0]
    assert here.merge(there).known == ["ml-ctl seed 1 (r1)"]


def test_runs_of_other_code_are_not_mixed(here: Place, there: Place) -> None:
    here.add(replace(RUN, status="interrupted", version="v0"), SCORES[:1])
    there.add()
    (line,) = here.merge(there).refused
    assert "interrupted here and done there, by other code" in line
    assert len(here.store.cells(run="r1")) == 1
    here.store.delete_run("r1")
    assert here.merge(there).added == ["ml-ctl seed 1 (r1)"]


def test_run_at_work_is_left_for_later(here: Place, there: Place) -> None:
    there.add(replace(RUN, status="running"), SCORES[:1])
    (line,) = here.merge(there).refused
    assert "still being computed there" in line
    assert not here.store.runs()


def test_damaged_artifact_is_not_copied_and_no_row_is_written(here: Place, there: Place) -> None:
    there.add()
    (there.artifacts.root / "objects/aa/aa1/deep/weights").write_text("weighty")
    with pytest.raises(UserError, match="an artifact that is damaged"):
        here.merge(there)
    assert not here.store.runs()
    assert here.artifacts.fingerprints() == []


def test_run_without_its_artifacts_is_left_out(here: Place, there: Place) -> None:
    there.add()
    collect(there.artifacts, [])
    (line,) = here.merge(there).refused
    assert "is missing or damaged there" in line
    assert not here.store.runs()


def test_manifest_that_names_files_elsewhere_is_refused(here: Place, there: Place) -> None:
    from harness.files import file_digest, read_json, seal, write_json

    there.add()
    manifest = there.artifacts.root / "objects/aa/aa1/manifest.json"
    secret = there.artifacts.root / "objects/aa/secret"
    secret.write_text("secret")
    content = {name: value for name, value in read_json(manifest).items() if name != "digest"}
    content["files"] = {"../secret": {"size": 6, "sha256": file_digest(secret)}}
    write_json(manifest, seal(content))
    there.store.link_stage("r1", "aa1", hit=False)
    with pytest.raises(UserError, match="inside the artifact"):
        here.merge(there)
    assert here.artifacts.fingerprints() == []


def test_other_predictions_with_equal_scores_are_left_out(here: Place, there: Place) -> None:
    run = replace(RUN, kind="external")
    here.add(run)
    there.add(run, [score("de", 70.0, "bb22"), score("sw", 50.0, "bb22")])
    (line,) = here.merge(there).refused
    assert "other predictions with the same scores" in line
    assert "bb22" not in here.store.used_stages()

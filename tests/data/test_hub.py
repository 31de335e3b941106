"""The hub source against a local server that answers as the hub does: what is read, and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from harness.data.folder import Folder
from harness.data.hub import Hub
from harness.data.hub.settings import parse_settings
from harness.data.hub.tables import HUB_TASKS
from harness.data.source import open_source
from harness.errors import UsageError, UserError
from harness.records import Corpus
from harness.registry import TASKS
from tests.support import hub_world
from tests.support.hub_server import COMMIT, in_its_place
from tests.support.hub_server import Hub as Server

Write = Callable[[dict[str, str | bytes]], Folder]
TRAINED = ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "tatoeba")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    with in_its_place(Server(hub_world.hub_files()), monkeypatch, tmp_path / "home") as running:
        yield running


def specs(*names: str) -> list:
    return [TASKS.get(name).spec for name in names]


@pytest.mark.parametrize("task", TRAINED)
def test_records_are_those_of_the_folder(server: Server, write: Write, task: str) -> None:
    folder, hub, (spec,) = write(hub_world.folder_files()), Hub.open(""), specs(task)
    expected = {(c.view, c.split): (c.count, c.labelled) for c in folder.manifest([spec]).tasks}
    if task == "udpos":  # the hub has no Swahili treebank
        expected = {cell: count for cell, count in expected.items() if cell[0] != "sw"}
    expected = {cell: n for cell, n in expected.items() if set(cell[0].split(".")) <= set(spec.languages)}
    found = {(c.view, c.split): (c.count, c.labelled) for c in hub.manifest([spec]).tasks}
    assert found == expected
    for view, split in expected:
        assert hub.task(spec, view, split) == folder.task(spec, view, split), (view, split)


def test_english_nli_is_the_training_set_of_xnli(server: Server, write: Write) -> None:
    folder, hub = write(hub_world.folder_files()), Hub.open("")
    assert hub.corpus(Corpus.NLI, ["en"]) == folder.corpus(Corpus.NLI, ["en"])


def test_parallel_text_is_capped_and_kept(server: Server) -> None:
    hub = Hub.open("parallel_size=4")
    (cell,) = [c for c in hub.manifest([]).corpora if c.kind is Corpus.PARALLEL]
    assert (cell.language, cell.count) == ("ar", 4)
    pairs = hub.corpus(Corpus.PARALLEL, ["ar"])
    assert [(p.id, p.source, p.target) for p in pairs] == [(f"ar-{i}", f"line {i}", f"ar {i}") for i in (0, 2, 3, 4)]
    asked = len(server.requests)
    assert Hub.open("parallel_size=4").corpus(Corpus.PARALLEL, ["ar"]) == pairs
    assert len(server.requests) == asked


def test_bucc_is_refused_unless_its_folder_is_given(server: Server, write: Write) -> None:
    (spec,) = specs("bucc2018")
    assert any("bucc18 has the gold pairs alone" in note for note in Hub.open("").manifest([spec]).notes)
    with pytest.raises(UserError, match="gold pairs alone") as refusal:
        Hub.open("").task(spec, "de", "dev")
    assert "hub:bucc=PATH" in str(refusal.value)
    stem = "bucc2018/de-en.dev"
    folder = write(
        {f"{stem}.de": "de-1\teins\n", f"{stem}.en": "en-1\tone\nen-2\ttwo\n", f"{stem}.gold": "de-1\ten-1\n"}
    )
    for path in (folder.root, folder.root / "bucc2018"):
        hub = Hub.open(f"bucc={path}")
        assert hub.manifest([spec]).tasks == folder.manifest([spec]).tasks
        assert hub.task(spec, "de", "dev") == folder.task(spec, "de", "dev")
        assert str(path) not in hub.name


def test_the_manifest_names_commits_and_differences(server: Server) -> None:
    manifest = Hub.open("").manifest(specs(*TRAINED))
    notes = "\n".join(manifest.notes)
    assert f"google/xtreme is read at commit {COMMIT}" in notes
    for word in ("Ancient Greek", "49,175", "csv quotes", "stripped", "LASER's order"):
        assert word in notes
    assert manifest.training["xnli"] == f"nyu-mll/multi_nli@{COMMIT}/default/train (7 items)"
    assert manifest.training["xquad"] == f"google/xtreme@{COMMIT}/SQuAD/train (7 items)"


def test_a_fingerprint_follows_the_bytes(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {(c.view, c.split): c.fingerprint for c in Hub.open("").manifest(specs("panx")).tasks}
    rows = [{"tokens": w, "ner_tags": t} for w, t in hub_world.tagged_rows("udpos", "ar", "dev")]
    rows = [{**row, "ner_tags": ["O"] * 4} for row in rows]
    path = "PAN-X.ar/validation-00000-of-00001.parquet"
    server.repos[hub_world.XTREME][path] = hub_world.parquet(rows, {"ner_tags": hub_world.NER})
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "other"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "other" / "hub"))
    after = {(c.view, c.split): c.fingerprint for c in Hub.open("").manifest(specs("panx")).tasks}
    assert {cell for cell in before if before[cell] != after[cell]} == {("ar", "dev")}


def test_counts_are_those_of_the_published_sets(server: Server) -> None:
    xnli, tydiqa, xquad = specs("xnli", "tydiqa", "xquad")
    tests = {"ar": 921, "bn": 113, "en": 440, "fi": 782, "id": 565, "ko": 276, "ru": 812, "sw": 499, "te": 669}
    prefix = HUB_TASKS["tydiqa"].splits["test"].id_prefixes
    ids = [f"{prefix[code]}-{n}" for code, count in tests.items() for n in range(count)]
    languages = [code for code in xnli.languages for _ in range(5010)]
    server.repos[hub_world.XTREME] = hub_world.with_card(
        {
            "tydiqa/validation-00000-of-00001.parquet": hub_world.parquet([{"id": one} for one in ids]),
            "XNLI/test-00000-of-00001.parquet": hub_world.parquet([{"language": one} for one in languages]),
            "SQuAD/train-00000-of-00001.parquet": hub_world.parquet([{"id": "q"}] * 87_599),
            **{f"XQuAD.{c}/validation-0.parquet": hub_world.parquet([{"id": "q"}] * 1190) for c in xquad.languages},
        }
    )
    manifest = Hub.open("").manifest([xnli, tydiqa, xquad])
    counts = {(c.task, c.view, c.split): c.count for c in manifest.tasks}
    assert {view: counts["tydiqa", view, "test"] for view in tests} == tests
    assert sum(tests.values()) == len(ids) == 5077
    assert {counts["xnli", view, "test"] for view in xnli.languages} == {5010}
    assert {counts["xquad", view, "test"] for view in xquad.languages} == {1190}
    assert counts["xquad", "en", "train"] == 87_599


@pytest.mark.parametrize(
    "location",
    ["xtreme", "google/xtreme@", "nli=x/y", "bucc", "size=3", "parallel_size=0", "nli=none,nli=none", "a/b,c"],
)
def test_invalid_settings_are_refused(location: str) -> None:
    with pytest.raises(UsageError):
        parse_settings(location)


def test_settings_and_the_name_on_the_board() -> None:
    settings = parse_settings("google/xtreme@abc,nli=facebook/xnli,parallel=none,parallel_size=5,bucc=/data/bucc")
    assert (settings.xtreme, settings.nli) == (("google/xtreme", "abc"), ("facebook/xnli", "main"))
    assert (settings.parallel, settings.parallel_size, settings.bucc) == (None, 5, Path("/data/bucc"))
    assert open_source("hub").name == "hub"
    assert Hub(settings).name == "hub:google/xtreme@abc,nli=facebook/xnli,parallel=none,parallel_size=5"


def test_the_command_line_needs_the_host_name_alone(server: Server, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "fresh")}
    command = [sys.executable, "-c", "from harness.cli import main; main()", "sources", "hub", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    cells = {(c["task"], c["view"], c["split"]): c["count"] for c in json.loads(done.stdout)["tasks"]}
    assert cells["xnli", "en", "train"] == cells["tydiqa", "sw", "test"] == 7
    assert cells["tatoeba", "sw", "test"] == 14


def test_listing_sources_imports_no_client() -> None:
    code = (
        "import sys; from harness.registry import SOURCES; SOURCES.get('hub'); print('huggingface_hub' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == "False"

"""What tells one base encoder from another, and which commit a hub name stands for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.errors import UserError
from harness.experiments.bases import base_fingerprint, resolve_base
from harness.experiments.plan import plan_run
from harness.experiments.recipe import make_recipe
from harness.experiments.stage import Workbench
from harness.storage.artifacts import Artifacts
from harness.training.loop import Rate
from tests.support.hub_server import COMMIT, Hub, serving
from tests.support.small_babel import URI, encoder
from tests.support.tiny_encoder import tiny_encoder

NAME = "google-bert/tiny"
MOVED = "f" * 40
_RESOLVE = """
import sys
from harness.cli.failures import report_errors
from harness.experiments.bases import base_fingerprint, resolve_base
from harness.modeling.encoder import Encoder
with report_errors():
    for name in sys.argv[1:]:
        resolved = resolve_base(name)
        weight = float(Encoder.load(resolved).input_embeddings.sum())
        print(resolved, base_fingerprint(resolved), weight)
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tiny_encoder().save(folder)
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "merges.txt",
        "sentencepiece.bpe.model",
        "vocab.txt",
    ],
)
def test_every_file_that_decides_behaviour_is_in_the_fingerprint(base: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(base, tmp_path / "base")
    before = base_fingerprint(str(folder))
    file = folder / name
    file.write_bytes((file.read_bytes() if file.is_file() else b"") + b"\n")
    assert base_fingerprint(str(folder)) != before


def test_texts_and_the_state_of_a_trainer_are_not_in_the_fingerprint(base: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(base, tmp_path / "base")
    before = base_fingerprint(str(folder))
    for name in ("README.md", ".gitattributes", "optimizer.pt", "trainer_state.json", "flax_model.msgpack"):
        (folder / name).write_text("changed")
    assert base_fingerprint(str(folder)) == before


def test_the_same_files_in_another_folder_are_the_same_base(base: Path, tmp_path: Path) -> None:
    assert base_fingerprint(str(shutil.copytree(base, tmp_path / "copy"))) == base_fingerprint(str(base))


def test_a_folder_is_resolved_to_its_absolute_path(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(base.parent)
    assert resolve_base(base.name) == str(base.resolve())


def test_truncated_weights_are_refused_when_a_run_is_planned(base: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(base, tmp_path / "base")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="no encoder that can be used here"):
        base_fingerprint(str(folder))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_missing_shard_is_named_when_a_run_is_planned(base: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(base, tmp_path / "base")
    (folder / "model.safetensors").rename(folder / "first")
    index = folder / f"{name}.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "first", "b": "second"}}))
    with pytest.raises(UserError, match="1 of 2 files of its weights missing: second"):
        base_fingerprint(str(folder))
    index.write_text("[]")
    with pytest.raises(UserError, match=index.name):
        base_fingerprint(str(folder))


def test_a_file_in_place_of_a_folder_is_an_error(base: Path) -> None:
    with pytest.raises(UserError, match="this base is a file"):
        resolve_base(os.path.relpath(base / "config.json"))


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="base folder is missing"):
        resolve_base(str(tmp_path / "none"))


def resolve(hub: Hub, home: Path, *names: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Resolves and loads bases as a command would, in a process of its own: the host's name is read at import."""
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(home), **settings}
    command = [sys.executable, "-c", _RESOLVE, *names]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_a_hub_base_is_loaded_from_the_commit_that_its_name_stands_for(base: Path, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in base.iterdir()}
    with serving(Hub({NAME: files})) as hub:
        done = resolve(hub, tmp_path, NAME, f"{NAME}@main", f"{NAME}@{COMMIT}")
        assert done.returncode == 0, done.stderr
        first = set(done.stdout.splitlines())
        assert len(first) == 1
        assert first.pop().startswith(f"{NAME}@{COMMIT} ")
        offline = resolve(hub, tmp_path, NAME, HF_HUB_OFFLINE="1")
        assert offline.stdout.splitlines()[0] == done.stdout.splitlines()[0]
        other = tiny_encoder()
        other.input_embeddings.data += 1
        other.save(tmp_path / "other")
        hub.repos[NAME] = {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()}
        hub.commit = MOVED
        moved = resolve(hub, tmp_path, NAME)
        assert moved.returncode == 0, moved.stderr
        name, fingerprint, weight = moved.stdout.split()
        assert name == f"{NAME}@{MOVED}"
        assert fingerprint != done.stdout.split()[1]
        assert float(weight) != float(done.stdout.split()[2])


def test_a_revision_that_the_hub_does_not_know_is_named(base: Path, tmp_path: Path) -> None:
    with serving(Hub({NAME: {path.name: path.read_bytes() for path in base.iterdir()}})) as hub:
        done = resolve(hub, tmp_path, f"{NAME}@v9")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for words in (f"{NAME}@v9", "found:", "remedy:"):
        assert words in done.stderr


class SilentWatch:
    def update(self, rate: Rate) -> None:
        """Shows nothing."""


def test_a_missing_language_model_head_is_drawn_from_the_seed_of_the_run_and_noted(tmp_path: Path) -> None:
    headless = encoder()
    headless.model.base_model.save_pretrained(tmp_path / "base")
    headless.tokenizer.hf.save_pretrained(tmp_path / "base")
    changes = ["align.steps=1", "align.batch_size=4", "sample.size=16", "align.max_length=48"]
    common = {"source": URI, "suite": "xtreme-align", "protocol": "mini", "changes": changes}
    plan = plan_run(make_recipe(method="continued-mlm", base=str(tmp_path / "base"), **common), 3)
    weights = []
    for noise in (1, 2):
        bench = Workbench(Artifacts(tmp_path / str(noise)), torch.device("cpu"), SilentWatch())
        torch.manual_seed(noise)
        for stage in (stage for stage in plan.stages if stage.kind in ("sample", "align")):
            stage.execute(bench)
        weights.append(load_file(bench.input(stage.fingerprint) / "model.safetensors"))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    facts = stage.rows(bench.input(stage.fingerprint), "mini").alignment
    assert facts is not None
    assert "cls.predictions.transform.dense.weight" in facts["initialised"]

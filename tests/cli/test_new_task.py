"""`alignboard new-task`, and the commands and files of docs/adding-a-task.md."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness import registry
from harness.cli import scaffold
from harness.errors import UsageError
from harness.registry import SUITES, TASKS
from tests.support.cli_calls import run_command
from tests.support.package_install import install_package

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "adding-a-task.md").read_text(encoding="utf-8")
NUMBERS = {"en": ("one", "two", "six", "ten"), "de": ("eins", "zwei", "sechs", "zehn")}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with a home; what is registered in it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(TASKS, "_local", dict(TASKS._local))
    monkeypatch.setattr(registry, "_plugins", [])
    return tmp_path


def write_data(folder: Path, task: str) -> None:
    """Pairs of sentences in two languages, half of them alike, and text to train an encoder on."""
    draw = random.Random(0)
    for split, language, count in (
        *(("train", "en", 40), ("dev", "en", 20), ("dev", "de", 20)),
        *(("test", "en", 20), ("test", "de", 20)),
    ):
        lines = []
        for row in range(count):
            first, second = (" ".join(draw.choices(NUMBERS[language], k=5)) for _ in range(2))
            lines.append(f"{first}\t{second if row % 2 else first}\t{(row + 1) % 2}\n")
        (folder / task).mkdir(parents=True, exist_ok=True)
        (folder / task / f"{split}-{language}.tsv").write_text("".join(lines))
    (folder / "mono").mkdir(exist_ok=True)
    for language, words in NUMBERS.items():
        text = "".join(" ".join(draw.choices(words, k=6)) + "\n" for _ in range(200))
        (folder / "mono" / f"{language}.txt").write_text(text)


def commands(section: str) -> list[list[str]]:
    """The commands of a section of the guide, with a smaller encoder."""
    blocks = re.findall(r"```\n(alignboard .*?)```", GUIDE.split(f"\n## {section}\n")[1].split("\n## ")[0], re.DOTALL)
    small = "--workers 1 --set pretrain.steps=4 --set pretrain.vocab_size=101 --set pretrain.batch_tokens=200"
    lines = "".join(blocks).splitlines()
    return [shlex.split(f"{line} {small if ' run ' in line else ''}")[1:] for line in lines]


@pytest.mark.parametrize(
    ("section", "task"), [("A task of a known family", "same-topic"), ("A new family", "cosine-pairs")]
)
def test_the_commands_of_the_guide_end_in_a_row(
    here: Path, section: str, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_data(here / "data", task)
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    (here / "cosine_pairs.py").write_text(code)
    for words in commands(section):
        assert run_command(*words) == 0, (words, capsys.readouterr().err)
        shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if "mbert" in line)
    assert len(re.findall(r"\d+\.\d", row)) == 2, "the task and the average"


def test_a_family_of_a_loose_file_with_settings_of_its_own_runs_on_two_workers(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_data(here / "data", "cosine-pairs")
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    own = "@dataclass(frozen=True)\nclass OwnSettings(PoolSettings):\n    slack: float = 0.5\n\n\n"
    code = code.replace("PoolSettings(", "OwnSettings(").replace("Settings = PoolSettings", "Settings = OwnSettings")
    code = "from dataclasses import dataclass\n" + code.replace(
        "class CosineThreshold(Task):", f"{own}class CosineThreshold(Task):"
    )
    (here / "cosine_pairs.py").write_text(code)
    (words,) = [words for words in commands("A new family") if "run" in words]
    words[words.index("--workers") + 1] = "2"
    assert run_command(*words) == 0, capsys.readouterr().err


def test_the_package_registers_and_passes_its_own_test(here: Path) -> None:
    assert run_command("new-task", "same-topic", "--package") == 0
    package = here / "alignboard-same-topic"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(install_package(package, here / "site")), str(ROOT))),
    }
    command = [sys.executable, "-c", "from harness.cli.app import main; main()", "tasks", "same-topic", "--json"]
    listed = json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert listed["origin"] == "same_topic:SameTopic (alignboard-same-topic)"
    assert listed["family"] == "classification"
    own = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package / "tests")]
    done = subprocess.run(own, env=environment, capture_output=True, text=True, cwd=package)
    assert "2 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("name", ["xnli", "xtreme", "My-Task", "classification", "task-spec", "text-pair"])
def test_a_task_name_that_is_taken_or_would_hide_another_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        scaffold.Names.of(name, scaffold.TASK)


def test_a_task_is_a_suite_of_its_own() -> None:
    assert SUITES.get("tatoeba").tasks == ("tatoeba",)
    assert SUITES.get("tatoeba, udpos,tatoeba").tasks == ("tatoeba", "udpos")
    assert "tatoeba" not in SUITES.names()
    with pytest.raises(UsageError, match="unknown suite"):
        SUITES.get("tatoebas")

"""docs/first-real-run.md: its commands work in their order, against a stand-in of the hub and made-up archives."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import hub_world
from tests.support.downloads import write_packed
from tests.support.hub_server import Hub, serving
from tests.support.tiny_encoder import tiny_encoder

pytestmark = pytest.mark.long
PAGE = Path(__file__).resolve().parent.parent / "docs" / "first-real-run.md"
BASE = "google-bert/bert-base-multilingual-cased"


def commands() -> list[str]:
    """The commands of the page, each on one line, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [command for line in lines if (command := line.partition(" #")[0].strip()).startswith("alignboard ")]


def caps(smoke: str) -> str:
    """What makes a run small: the languages and settings of the smoke run."""
    settings = re.findall(r"--set \S+", smoke)
    return " ".join(["--languages en,de", "--seeds 1", "--precision fp32", *settings])


def test_the_page_leads_from_an_empty_machine_to_nine_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(hub_world.LANGUAGES, "de", ("German", "deu", "german"))
    files = hub_world.hub_files()
    opus = {f"{code}-en/train-0.parquet": hub_world.parquet(hub_world.translations(code)) for code in ("ar", "de")}
    files[hub_world.OPUS] = hub_world.with_card(opus)
    tiny_encoder().save(tmp_path / "base")
    files[BASE] = {path.name: path.read_bytes() for path in (tmp_path / "base").iterdir()}
    write_packed(tmp_path / "downloads")
    listed = commands()
    smoke = next(command for command in listed if "mbert continued-mlm --suite xtreme-align" in command)
    ran = []
    with serving(Hub(files)) as server:
        home = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"), "ALIGNBOARD_HOME": str(tmp_path / "home")}
        for command in listed:
            if command == "alignboard board" or "prepare --from" in command:  # a server; archives that are not made up
                continue
            if " run " in command and command != smoke:
                command = f"{command} {caps(smoke)}".replace("cz-snt info-snt", "cz-snt")
            if " prepare bucc2018 " in command:
                command += " --any-release"  # made-up archives do not have the published checksums
            words = command.replace("~/Downloads", "downloads").replace("data/xtreme", "xtreme")
            arguments = [word.strip('"') for word in words.split()[1:]]
            done = subprocess.run(
                [sys.executable, "-c", "from harness.cli import main; main()", *arguments],
                cwd=tmp_path,
                env={**os.environ, **home},
                capture_output=True,
                text=True,
                timeout=900,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            ran.append((command, done.stdout))
    shown = [told for command, told in ran if command == "alignboard show"][-1]
    assert all(task in shown for task in ("xquad", "mlqa", "tydiqa", "bucc2018", "tatoeba"))
    assert any("--attribution" in command for command, _ in ran)

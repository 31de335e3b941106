"""`alignboard new-method`: the written method trains, installs and passes its own test; nothing is overwritten."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from harness import registry
from harness.cli import scaffold
from harness.cli.app import main
from harness.errors import UsageError
from harness.registry import ABLATIONS, METHODS, Origin, load_plugin
from tests.support.package_install import install_package
from tests.support.tiny_runs import TINY, WORLD
from tests.support.tiny_training import train_briefly

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder; what is registered in it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(METHODS, "_local", dict(METHODS._local))
    monkeypatch.setattr(registry, "_plugins", [])
    return tmp_path


def write(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["new-method", *words])
    return int(str(ended.value.code or 0))


def test_written_file_is_a_method_that_trains(here: Path) -> None:
    assert write("near-pairs") == 0
    load_plugin(here / "near_pairs.py")
    cls = METHODS.get("near-pairs")
    assert cls.__name__ == "NearPairs"
    assert all(part in cls.__doc__ for part in ("Reference:", "Objective:", "Inputs:", "Relations:"))
    assert all(point["contrast"] > 0 for point in train_briefly(cls))


@pytest.mark.long
def test_package_registers_and_passes_its_own_test(here: Path) -> None:
    assert write("near-pairs", "--package") == 0
    package = here / "alignboard-near-pairs"
    site = install_package(package, here / "site")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(site), str(ROOT)))}
    listed = subprocess.run(
        [sys.executable, "-c", "from harness.cli.app import main; main()", "methods", "near-pairs"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert "near_pairs:NearPairs (alignboard-near-pairs)" in listed.stdout, listed.stderr
    own = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package / "tests")]
    done = subprocess.run(own, env=environment, capture_output=True, text=True, cwd=package)
    assert "2 passed" in done.stdout, done.stdout


@pytest.mark.long
def test_pip_installs_the_package_in_a_clean_environment(here: Path) -> None:
    """What the environment has beside it is this one's: nothing is fetched."""
    assert write("near-pairs", "--package") == 0
    venv.create(here / "venv")
    (site,) = (here / "venv").glob("lib/python*/site-packages")
    python = here / "venv" / "bin" / "python"
    (site / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n{ROOT}\n")
    environment = {**os.environ, "PYTHONPATH": ""}

    def run(*words: str) -> str:
        done = subprocess.run([python, *words], env=environment, capture_output=True, text=True, cwd=here)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", str(here / "alignboard-near-pairs"))
    assert list(site.glob("near_pairs.py")), "it went into the environment"
    listed = run("-c", "from harness.cli.app import main; main()", "methods", "near-pairs")
    assert "near_pairs:NearPairs (alignboard-near-pairs)" in listed


def test_commands_of_the_guide_produce_a_row(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As docs/adding-a-method.md gives them, on less data; the board is a server, and is left out."""
    monkeypatch.setenv("ALIGNBOARD_HOME", str(here / "home"))
    guide = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")
    block = guide.split("## From nothing to a row")[1].split("```")[1]
    commands = [shlex.split(line)[1:] for line in block.strip().splitlines()]
    assert [words[-1] for words in commands if words[0] == "board"] == ["board"]
    smaller = ["--base", "init:1x64", "--workers", "1", *(word for change in TINY for word in ("--set", change))]
    for words in commands[:-1]:
        given = [word.replace("babel", WORLD) for word in words]
        with pytest.raises(SystemExit) as ended:
            main([*given, *(smaller if "run" in words else [])])
        assert not ended.value.code, words
        shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if "near-pairs" in line)
    assert len(re.findall(r"\d+\.\d", row)) == 7, "six tasks and their average"


def test_existing_files_are_not_overwritten(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "near_pairs.py").write_text("my work")
    assert write("near-pairs") == 2
    assert "exists already" in capsys.readouterr().err
    assert (here / "near_pairs.py").read_text() == "my work"
    package = here / "alignboard-near-pairs"
    package.mkdir()
    (package / "README.md").write_text("my work")
    assert write("near-pairs", "--package") == 2
    assert [path.name for path in package.iterdir()] == ["README.md"]


@pytest.mark.parametrize("folder", ["file", "file/deeper", "x" * 300, "new/" + "x" * 300])
def test_unwritable_folder_is_reported(here: Path, folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "file").write_text("my work")
    for options in ([], ["--package"]):
        assert write("near-pairs", "--folder", folder, *options) == 2
        printed = capsys.readouterr()
        assert f"{folder.split('/')[-1]}" in printed.err
        assert "remedy:" in printed.err
        assert printed.out == ""
    assert [path.name for path in here.iterdir()] == ["file"], "nothing was written"


def test_failed_write_leaves_no_files(here: Path) -> None:
    package = here / "alignboard-near-pairs"
    package.mkdir()
    (package / "tests").write_text("a file where a folder should be")
    assert write("near-pairs", "--package") == 2
    assert [path.name for path in package.iterdir()] == ["tests"]


@pytest.mark.parametrize("options", [[], ["--package"]])
def test_suggested_commands_are_quoted(here: Path, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert write("near-pairs", "--folder", "my folder/deep", *options) == 0
    steps = [shlex.split(line) for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    (place,) = {word for words in steps for word in words if "my folder" in word}
    assert Path(place).exists()


@pytest.mark.parametrize("name", ["ml-ctl", "My-Method", "my_method", "-x", "a--b", "torch", "class", "../x", "é"])
def test_invalid_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        scaffold.Names.of(name)
    assert refused.value.remedy or refused.value.expected


def test_name_of_an_ablation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ABLATIONS, "_local", {})
    ABLATIONS.add("near-far", object(), Origin("plug-in file", "near.py"))
    for name in ("all", "near-far"):
        with pytest.raises(UsageError, match=f"`alignboard ablation {name}` is another table already"):
            scaffold.Names.of(name)


@pytest.mark.parametrize(
    "name",
    [
        *("term", "batch", "encoder", "method-config", "pair-method", "layer-of", "annotated"),
        *("packed-text", "vectors"),  # of the package's test
        "none",
    ],
)
def test_class_name_that_hides_an_import_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="the class would hide a name") as refused:
        scaffold.Names.of(name)
    assert refused.value.found == "class " + name.title().replace("-", "")

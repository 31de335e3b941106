"""External predictions: the official figures from the official layout, and every kind of damage told with its line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli.app import main
from harness.data.lines import MAX_LINE
from harness.errors import UserError
from harness.registry import SUITES
from harness.results.submissions import SubmissionReport, score
from tests.support.golden_cases import cases
from tests.support.text_files import write_files

GOLDEN = cases("end_to_end/submission.json")
VERSIONS = {"0.0.12": "seqeval-0.0.12", "1.2.2": "seqeval-1.2.2"}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("submission")
    return write_files(root / "p", GOLDEN["predictions"]), write_files(root / "l", GOLDEN["labels"])


@pytest.fixture
def folders(original: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A copy that a test may damage."""
    for folder in original:
        shutil.copytree(folder, tmp_path / folder.name)
    return tmp_path / "p", tmp_path / "l"


def scored(folders: tuple[Path, Path], scheme: str | None = None) -> SubmissionReport:
    return score(*folders, SUITES.get("xtreme"), scheme)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_official_figures_of_all_nine_tasks(original: tuple[Path, Path], version: str) -> None:
    report, expected = scored(original, VERSIONS[version]), GOLDEN["expected"][f"seqeval-{version}"]["ok"]
    assert not report.problems
    assert report.overall() == pytest.approx(expected["overall"], abs=1e-9)
    found = report.detailed()
    assert set(found) == set(expected["detailed"])
    for task, scores in expected["detailed"].items():
        for name, value in scores.items():
            assert found[task][name] == pytest.approx(value, abs=1e-9), (task, name)


def test_partial_sets_have_the_groups_that_are_complete(folders: tuple[Path, Path]) -> None:
    variants = {variant["name"]: variant["expected"] for variant in GOLDEN["variants"]}
    (folders[0] / "more").mkdir()
    (folders[0] / "xnli" / "test-nl.tsv").write_text("neutral\n")
    assert scored(folders).overall() == pytest.approx(variants["extra_task_folder"]["overall"], abs=1e-9)
    for left, name in (
        (("bucc2018",), "without_task_bucc2018"),
        ((*SUITES.get("xtreme").tasks[1:], "more"), "only_xnli"),
        (("xnli",), "empty_predictions"),
    ):
        for task in left:
            shutil.rmtree(folders[0] / task, ignore_errors=True)
        report = scored(folders)
        assert not report.problems
        assert report.overall() == pytest.approx(variants[name]["overall"], abs=1e-9), name
        assert sorted(report.tasks) == variants[name]["tasks"]


def test_a_task_without_labels_is_left_out_with_a_notice(folders: tuple[Path, Path]) -> None:
    variant = next(v for v in GOLDEN["variants"] if v["name"] == "labels_without_task")
    (missing,) = {path.name for path in folders[1].iterdir()} - set(variant["expected"]["tasks"])
    shutil.rmtree(folders[1] / missing)
    report = scored(folders)
    assert report.overall() == pytest.approx(variant["expected"]["overall"], abs=1e-9)
    assert [note for note in report.notices if note.startswith(f"{missing}: left out")]


Damage = Callable[[Path], Any]
DAMAGES: dict[str, tuple[str, Damage, str]] = {
    "missing file": ("panx/test-yo.tsv", Path.unlink, r"test-yo\.tsv: the file is missing"),
    "extra line": ("xnli/test-de.tsv", lambda p: p.write_text(p.read_text() + "neutral\n"), r":13: 13 lines, .* 12"),
    "wrong label": (
        "xnli/test-de.tsv",
        lambda p: p.write_text("maybe\n" + p.read_text().split("\n", 1)[1]),
        r":1: 'maybe' is not contradiction",
    ),
    "byte order mark": (
        "pawsx/test-de.tsv",
        lambda p: p.write_bytes(b"\xef\xbb\xbf" + p.read_bytes()),
        r":1: a byte order",
    ),
    "CR LF": (
        "pawsx/test-de.tsv",
        lambda p: p.write_bytes(p.read_bytes().replace(b"\n", b"\r\n")),
        r":1: lines end in CR LF",
    ),
    "Latin-1": (
        "udpos/test-de.tsv",
        lambda p: p.write_bytes(p.read_bytes() + b"\n\xe4\n"),
        r":\d+: bytes that are not UTF-8",
    ),
    "duplicate id": (
        "xquad/test-de.json",
        lambda p: p.write_text('{"a": "x", "a": "y"}'),
        r"an id that occurs twice: .*a",
    ),
    "duplicate pair": ("bucc2018/test-de.tsv", lambda p: p.write_text(p.read_text() * 2), r"is in line 1 already"),
    "not JSON": ("mlqa/test-de.json", lambda p: p.write_text('{"a":\n'), r":2: not JSON"),
    "empty file": ("tatoeba/test-de.tsv", lambda p: p.write_text(""), r"test-de\.tsv: the file is empty"),
    "long line": ("tatoeba/test-fr.tsv", lambda p: p.write_bytes(b"1" * (MAX_LINE + 9)), r":1: a line of more than"),
    "tags": ("panx/test-de.tsv", lambda p: p.write_text("O\n" + p.read_text()), r"sentence 1 has \d+ tags"),
    "other JSON": ("tydiqa/test-en.json", lambda p: p.write_text("[1]"), r"not an object of answers"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_each_kind_of_damage_is_reported_and_its_task_has_no_score(kind: str, folders: tuple[Path, Path]) -> None:
    name, damage, told = DAMAGES[kind]
    damage(folders[0] / name)
    report = scored(folders)
    assert any(re.search(told, str(problem)) for problem in report.problems), report.problems
    assert set(SUITES.get("xtreme").tasks) - set(report.tasks) == {name.split("/")[0]}
    assert "all_task" not in report.overall()


def test_all_problems_are_reported_at_once_and_the_command_fails(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, damage, _ in DAMAGES.values():
        damage(folders[0] / name)
    with pytest.raises(SystemExit) as ended:
        main(["score", *map(str, folders)])
    assert ended.value.code == 1
    told = capsys.readouterr().err
    for name in (
        "panx/test-yo.tsv",
        "xnli/test-de.tsv",
        "mlqa/test-de.json",
        "tatoeba/test-fr.tsv",
        "xquad/test-de.json",
    ):
        assert name in told


def test_problems_of_one_file_are_counted_beyond_the_first_twenty(folders: tuple[Path, Path]) -> None:
    (folders[0] / "xnli" / "test-de.tsv").write_text("maybe\n" * 100)
    told = [str(p) for p in scored(folders).problems]
    assert len(told) == 21
    assert told[-1].endswith("80 more problems")


def test_questions_without_an_answer_score_0_with_a_notice(folders: tuple[Path, Path]) -> None:
    path = folders[0] / "xquad" / "test-de.json"
    answers = json.loads(path.read_text())
    path.write_text(json.dumps({"zz": "x"}))
    report = scored(folders)
    assert report.tasks["xquad"]["f1"]["de"] == 0
    assert any(f"{len(answers):,} questions without an answer" in note for note in report.notices)


def test_the_command_prints_the_official_figures(
    original: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["score", *map(str, original), "--json", "--seqeval", "0.0.12"])
    assert not ended.value.code
    printed = json.loads(capsys.readouterr().out)
    assert printed["overall"] == pytest.approx(GOLDEN["expected"]["seqeval-0.0.12"]["ok"]["overall"], abs=1e-9)
    with pytest.raises(SystemExit):
        main(["score", *map(str, original)])
    assert "57.6" in capsys.readouterr().out


def test_predictions_are_not_scored_against_themselves(original: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(original[0])
    with pytest.raises(UserError, match="one folder"):
        scored((original[0], tmp_path / "link"))


def test_labels_of_a_language_in_capitals_are_refused(folders: tuple[Path, Path]) -> None:
    shutil.copy(folders[1] / "xnli" / "test-de.tsv", folders[1] / "xnli" / "test-DE.tsv")
    assert scored(folders).tasks  # the official languages are listed
    with pytest.raises(UserError, match=r"(?s)test-DE.tsv.*test-de.tsv"):
        score(*folders, SUITES.get("xtreme"), available=True)


def test_missing_folders_and_unknown_versions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the folder is missing"):
        score(tmp_path / "no", tmp_path, SUITES.get("xtreme"))
    with pytest.raises(SystemExit) as ended:
        main(["score", str(tmp_path), str(tmp_path), "--seqeval", "0.0.15"])
    assert ended.value.code == 2


def test_labels_without_items_or_with_a_question_without_an_answer_are_reported(folders: tuple[Path, Path]) -> None:
    (folders[1] / "tydiqa" / "test-en.json").write_text('{"data": []}')
    path = folders[1] / "xquad" / "test-de.json"
    content = json.loads(path.read_text())
    asked = content["data"][0]["paragraphs"][0]["qas"][0]
    asked["answers"] = []
    path.write_text(json.dumps(content))
    told = [str(problem) for problem in scored(folders).problems]
    assert any("tydiqa/test-en.json: the labels have no items" in line for line in told)
    assert any(f"xquad/test-de.json:1: the question {asked['id']!r} has no answer" in line for line in told)

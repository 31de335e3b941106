"""From made-up downloads to a folder that the folder source reads; mistakes, and what is left of an interrupted run."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.data.folder import Folder
from harness.data.prepare import PACKAGES
from harness.data.prepare.build import Options, Result, prepare
from harness.data.prepare.find import Downloads
from harness.data.prepare.udpos import TAGS
from harness.errors import UserError
from tasks.bucc2018 import BUCC2018
from tasks.panx import PANX
from tasks.pawsx import PAWSX
from tasks.tatoeba import Tatoeba
from tasks.udpos import UDPOS
from tasks.xnli import XNLI
from tests.support.downloads import content_of, packed, squad, tar_of, unpacked, write_packed, write_unpacked, zip_of

SPECS = [task.spec for task in (XNLI, PAWSX, UDPOS, PANX, BUCC2018, Tatoeba)]
ANY = Options(any_release=True)  # what is made up has other sums than what is published


class Watch:
    """Notes the phases."""

    def __init__(self) -> None:
        self.phases: list[str] = []

    def phase(self, title: str, total: int | None = None) -> None:
        self.phases.append(title)

    def advance(self, count: int) -> None:
        pass


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    write_packed(tmp_path / "downloads")
    return tmp_path / "downloads"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "xtreme"


def run(
    downloads: Path, folder: Path, names: Sequence[str] = tuple(PACKAGES), options: Options = ANY, watch: Any = None
) -> dict[str, Result]:
    packages = [PACKAGES[name] for name in names]
    return {result.name: result for result in prepare(packages, downloads, folder, options, watch or Watch())}


def test_the_folder_source_reads_all_of_it(downloads: Path, folder: Path) -> None:
    results = run(downloads, folder)
    assert {result.state for result in results.values()} == {"prepared"}
    manifest = Folder.open(str(folder)).manifest(SPECS)
    assert all(cell.labelled for cell in manifest.tasks)
    counts: dict[str, dict[str, int]] = {}
    for cell in manifest.tasks:
        counts.setdefault(cell.task, {})[f"{cell.split}-{cell.view}"] = cell.count
    items = {name: result.record.items for name, result in results.items() if result.record}
    for task in ("xnli", "pawsx", "udpos", "panx"):
        assert counts[task] == {path.removesuffix(".tsv"): count for path, count in items[task].items()}
    assert counts["bucc2018"] == {"dev-de": 6, "test-de": 6}
    assert counts["tatoeba"] == {"test-de": 12, "test-sw": 12}
    for cell in manifest.tasks:
        spec = next(spec for spec in SPECS if spec.name == cell.task)
        assert len(Folder.open(str(folder)).task(spec, cell.view, cell.split)) == cell.count


def test_what_is_written(downloads: Path, folder: Path) -> None:
    run(downloads, folder)
    files = content_of(folder)
    assert files["xnli/test-de.tsv"] == b'"Er sagte ""hallo""."\tB  doppelt\tneutral\r\n'
    two = b"We\tPRON\nsee\tVERB\ndel\tADP\nmar\tNOUN\n\nNo\tINTJ\n"
    assert files["udpos/test-es.tsv"] == two
    assert files["udpos/train-en.tsv"] == two + b"\n" + two
    assert files["panx/test-ja.tsv"] == b"Rome\tB-LOC\ntest\tO\n\nx:y\tO\n"
    assert files["bucc2018/de-en.test.gold"] == b"de-000000001\ten-000000003\n"
    assert files["tatoeba/sw-en.en"].startswith(b"This is here.\nThat")
    assert files["xquad/xquad.de.json"].decode() == squad("x1", "x2")
    assert "mlqa/MLQA_V1/test/test-context-de-question-en.json" in files
    assert "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.ko.dev.json" in files
    assert not [name for name in files if "README" in name or "no_x" in name or name.startswith(".")]


def test_official_hides_the_labels(downloads: Path, folder: Path) -> None:
    results = run(downloads, folder, options=Options(official=True, any_release=True))
    assert {result.state for result in results.values()} == {"prepared"}
    manifest = Folder.open(str(folder)).manifest(SPECS)
    assert {cell.labelled for cell in manifest.tasks if cell.split == "test"} == {False}
    assert {cell.labelled for cell in manifest.tasks if cell.split != "test"} == {True}
    files = content_of(folder)
    assert files["tatoeba/de-en.en"].startswith(b"A cat is here.\nHome")
    assert "bucc2018/de-en.test.gold" not in files
    hidden = json.loads(files["mlqa/MLQA_V1/test/test-context-de-question-de.json"])
    assert hidden["data"][0]["paragraphs"][0]["qas"][0]["answers"] == [{"answer_start": 0, "text": ""}]
    assert b'"d\xc3\xbcf"' in files["mlqa/MLQA_V1/dev/dev-context-de-question-de.json"]
    assert b"d\\u00fcf" in files["xquad/xquad.de.json"]


def test_a_word_without_tag(downloads: Path, folder: Path) -> None:
    """`_` for a tag is no part of speech: it becomes X, as in the official code where a tag is missing, and is told."""
    text = "1\ta\t_\t_\t_\t_\t0\troot\t_\t_\n2\t\u3000\t_\tPUNCT\t_\t_\t1\tdep\t_\t_\n\n"
    name = "ud-treebanks-v2.5/UD_X/de_x-ud-test.conllu"
    (downloads / "ud-treebanks-v2.5.tgz").write_bytes(packed("x.tgz", {name: text}))
    record = run(downloads, folder, ["udpos"])["udpos"].record
    assert record is not None
    assert "test-de.tsv: 1 tokens of blanks only left out, 1 tags outside the tag set given as X" in record.notes[0]
    assert content_of(folder)["udpos/test-de.tsv"] == b"a\tX\n"
    assert Folder.open(str(folder)).task(UDPOS.spec, "de", "test")[0].tags == ("X",)  # type: ignore[union-attr]


def test_the_record_tells_sums_and_counts(downloads: Path, folder: Path) -> None:
    (downloads / "sub").mkdir()
    (downloads / "XNLI-1.0.zip").rename(downloads / "sub" / "XNLI-1.0.zip")
    record = run(downloads, folder, ["xnli", "xquad"])["xnli"].record
    assert record is not None
    assert [(found.name, found.sum) for found in record.sources] == [
        ("sub/XNLI-1.0.zip", "other"),
        ("XNLI-MT-1.0.zip", "other"),
    ]
    assert "train-en.tsv 2 (392,702), dev-de.tsv 1 (2,490)" in record.notes[-1]
    stored = json.loads((folder / "xnli/prepared.json").read_text())
    assert stored["files"]["train-en.tsv"]["size"] == (folder / "xnli/train-en.tsv").stat().st_size
    assert str(downloads) not in (folder / "xnli/prepared.json").read_text()


def test_unpacked_downloads_give_the_same_files(downloads: Path, folder: Path, tmp_path: Path) -> None:
    run(downloads, folder)
    write_unpacked(tmp_path / "unpacked")
    run(tmp_path / "unpacked", tmp_path / "second")
    one, two = content_of(folder), content_of(tmp_path / "second")
    for files in (one, two):
        for name in [name for name in files if name.endswith("prepared.json")]:
            files[name] = json.dumps(json.loads(files[name])["files"]).encode()
    assert one == two


def test_a_second_time_nothing_is_written(downloads: Path, folder: Path) -> None:
    run(downloads, folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert {result.state for result in run(downloads, folder).values()} == {"unchanged"}
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    shutil.rmtree(downloads)
    downloads.mkdir()
    assert {result.state for result in run(downloads, folder).values()} == {"unchanged"}


def test_damage_other_options_and_other_downloads_are_noticed(downloads: Path, folder: Path) -> None:
    run(downloads, folder, ["xnli"])
    whole = content_of(folder)
    (folder / "xnli/dev-en.tsv").write_bytes(b"x" * len(whole["xnli/dev-en.tsv"]))
    assert run(downloads, folder, ["xnli"])["xnli"].state == "prepared"
    assert content_of(folder) == whole
    assert run(downloads, folder, ["xnli"], Options(True, True))["xnli"].state == "prepared"
    assert content_of(folder) != whole
    (downloads / "XNLI-MT-1.0.zip").unlink()
    record = run(downloads, folder, ["xnli"])["xnli"].record
    assert record is not None
    assert record.missing == ["XNLI-MT-1.0.zip (https://dl.fbaipublicfiles.com/XNLI/XNLI-MT-1.0.zip)"]
    assert not (folder / "xnli/train-en.tsv").exists()


def test_unexpected_checksum_is_refused(downloads: Path, folder: Path) -> None:
    results = run(downloads, folder, ["pawsx", "xquad"], Options())
    assert results["xquad"].state == "prepared"  # none is on record for it
    error = str(results["pawsx"].error)
    assert "the file is not the published one" in error
    assert "expected: SHA-256 4146db49" in error
    assert "--any-release" in error
    assert not (folder / "pawsx").exists()


def test_what_is_missing(downloads: Path, folder: Path) -> None:
    for path in downloads.glob("*"):
        if "XNLI" not in path.name:
            path.unlink()
    results = run(downloads, folder)
    assert {name for name, result in results.items() if result.state != "absent"} == {"xnli"}
    assert [d.names for d in results["pawsx"].absent] == [("x-final.tar.gz",)]


def test_parts_of_a_data_set(downloads: Path, folder: Path, tmp_path: Path) -> None:
    (downloads / "AmazonPhotos.zip").unlink()
    (downloads / "ja.tar.gz").write_bytes(packed("ja.tar.gz", {"./train": "ja:x\tO\n", "./test": "ja:y\tO\n"}))
    record = run(downloads, folder, ["panx"])["panx"].record
    assert record is not None
    assert record.items == {"train-ja.tsv": 1, "test-ja.tsv": 1}
    assert "ja-dev" in record.missing


def test_one_bad_download_stops_no_other(downloads: Path, folder: Path) -> None:
    whole = (downloads / "x-final.tar.gz").read_bytes()
    (downloads / "x-final.tar.gz").write_bytes(whole[: len(whole) // 2])
    (downloads / "MLQA_V1.zip").write_bytes(zip_of({"other.txt": "x"}))
    (downloads / "XNLI-1.0.zip").write_bytes(b"<html>404</html>")
    results = run(downloads, folder)
    errors = {name: str(result.error) for name, result in results.items() if result.state == "failed"}
    assert set(errors) == {"pawsx", "mlqa", "xnli"}
    assert "the archive is truncated or damaged" in errors["pawsx"]
    assert "has none of the expected files" in errors["mlqa"]
    assert "a web page" in errors["xnli"]
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == sorted(
        set(PACKAGES) - set(errors)
    )
    (downloads / "x-final.tar.gz").write_bytes(whole)
    assert run(downloads, folder, ["pawsx"])["pawsx"].state == "prepared"


def test_content_that_would_choose_its_own_path(downloads: Path, folder: Path) -> None:
    files = unpacked()["XNLI-1.0.zip"]
    bad = {name: text.replace("\nde\t", "\n../../evil\t") for name, text in files.items()}
    (downloads / "XNLI-1.0.zip").write_bytes(zip_of(bad))
    error = str(run(downloads, folder, ["xnli"])["xnli"].error)
    assert "xnli.dev.tsv:2: not a language of XNLI" in error
    train = unpacked()["tydiqa-goldp-v1.1-train.json"]["tydiqa-goldp-v1.1-train.json"]
    (downloads / "tydiqa-goldp-v1.1-train.json").write_text(train.replace("arabic-", "../x-"))
    assert "an id of no language of TyDiQA" in str(run(downloads, folder, ["tydiqa"])["tydiqa"].error)
    assert not list(folder.rglob("*evil*"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "this is not JSON"),
        ("[]", "this is not SQuAD's layout"),
        ('{"data": [{"paragraphs": 3}], "version": 1}', "this is not SQuAD's layout"),
        ("[" * 200_000, "nested too deeply"),
        ('{"data": [], "version": "\\udc00"}', "xquad.de.json 0 (1,190)"),
        (squad("q").replace("abc", "ab"), "an answer that is not at its place"),
    ],
)
def test_malformed_question_files_are_refused(content: str, words: str, downloads: Path, folder: Path) -> None:
    for path in downloads.glob("xquad*"):
        path.unlink()
    (downloads / "xquad.de.json").write_text(content)
    result = run(downloads, folder, ["xquad"])["xquad"]
    told = str(result.error) if result.error else "; ".join(result.record.notes if result.record else [])
    assert any(word in told for word in words.split("|"))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"id\na\xff\n", "bytes that are not UTF-8"), (b"", "is empty"), (b"x" * (2 << 20), "the line is too long")],
    ids=["latin-1", "empty", "one line"],
)
def test_malformed_text_files_are_refused(content: bytes, words: str, downloads: Path, folder: Path) -> None:
    (downloads / "x-final.tar.gz").write_bytes(tar_of({"x-final/en/train.tsv": content}))
    error = str(run(downloads, folder, ["pawsx"])["pawsx"].error)
    assert "train.tsv" in error
    assert words in error


def test_unusable_folders_are_refused(downloads: Path, folder: Path) -> None:
    (folder / "xnli").mkdir(parents=True)
    (folder / "xnli/train-en.tsv").write_text("mine")
    result = run(downloads, folder, ["xnli"])["xnli"]
    assert "this folder holds files that `prepare` did not write" in str(result.error)
    assert content_of(folder) == {"xnli/train-en.tsv": b"mine"}
    with pytest.raises(UserError, match="--from and --to name the same folder"):
        run(downloads, downloads)
    with pytest.raises(UserError, match="the folder of downloads is missing"):
        run(downloads / "none", folder)
    with pytest.raises(UserError, match="this is not a folder"):
        run(downloads / "MLQA_V1.zip", folder)
    with pytest.raises(UserError, match="this is not a folder"):
        run(downloads, downloads / "MLQA_V1.zip")


def test_the_result_may_lie_among_the_downloads(downloads: Path) -> None:
    run(downloads, downloads / "xtreme", ["xquad"])
    assert {result.state for result in run(downloads, downloads / "xtreme", ["xquad"]).values()} == {"unchanged"}


def test_the_same_file_in_two_places(downloads: Path, folder: Path) -> None:
    (downloads / "again").mkdir()
    shutil.copy(downloads / "xquad.de.json", downloads / "again")
    error = str(run(downloads, folder, ["xquad"])["xquad"].error)
    assert "the same file is in two places" in error
    assert f"also {downloads / 'xquad.de.json'}" in error


def test_links_among_the_downloads(downloads: Path, folder: Path, tmp_path: Path) -> None:
    """A link to an archive is the user's own doing; a link to a folder is not followed, so that no walk is endless."""
    (downloads / "MLQA_V1.zip").rename(tmp_path / "elsewhere.zip")
    (downloads / "MLQA_V1.zip").symlink_to(tmp_path / "elsewhere.zip")
    (downloads / "loop").symlink_to(downloads)
    assert run(downloads, folder, ["mlqa"])["mlqa"].state == "prepared"
    assert len(Downloads(downloads, folder).paths) == len(list(downloads.iterdir())) - 1


def test_names_that_anybody_may_use(downloads: Path, folder: Path) -> None:
    """A `main.zip` of another project is passed over; LASER's is taken."""
    (downloads / "sub").mkdir()
    (downloads / "main.zip").write_bytes(zip_of({"other-main/README": "x"}))
    (downloads / "master.zip").write_bytes(b"PK\x03\x04 cut")
    (downloads / "LASER-main.zip").rename(downloads / "sub" / "main.zip")
    (downloads / "gone.zip").symlink_to(downloads / "nowhere")
    record = run(downloads, folder, ["tatoeba"])["tatoeba"].record
    assert record is not None
    assert [found.name for found in record.sources] == ["sub/main.zip"]


@pytest.mark.parametrize(
    "path", ["en/train", "x/de/test", "en/train.tsv", "other/de/dev_2k.tsv", "en_x-ud-test.conllu"]
)
def test_files_of_other_data_sets_are_ignored(path: str) -> None:
    assert not [d for p in PACKAGES.values() for d in p.downloads if d.selection.pick(path) or d.selection.nested(path)]


def test_a_full_disk(downloads: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(downloads, folder, ["xnli"])
    copy = shutil.copyfile

    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(UserError, match=r"(?s)the disk is full.*MiB free.*same command again: what is finished stays"):
        run(downloads, folder, ["xnli", "bucc2018", "tatoeba"])
    assert sorted(path.name for path in folder.iterdir()) == [".prepare", "xnli"]
    monkeypatch.setattr(shutil, "copyfile", copy)
    watch = Watch()
    results = run(downloads, folder, ["xnli", "bucc2018", "tatoeba"], watch=watch)
    assert [result.state for result in results.values()] == ["unchanged", "prepared", "prepared"]
    assert not [phase for phase in watch.phases if phase.startswith("extracting bucc2018")]
    assert not (folder / ".prepare").exists()


def test_the_licences_are_those_of_the_tasks() -> None:
    assert {spec.name: PACKAGES[spec.name].licence for spec in SPECS} == {spec.name: spec.licence for spec in SPECS}


def test_the_languages_are_those_of_the_tasks() -> None:
    """Every language of a task is among what its package expects to find."""
    assert set(UDPOS.spec.labels) == TAGS
    for spec in SPECS:
        published = " ".join(PACKAGES[spec.name].published)
        if spec.name != "udpos":
            assert all(f"-{xx}.tsv" in published or f"{xx}-en" in published for xx in spec.languages)

"""Preparing data gives the very bytes that the official preprocessing wrote, in every recorded case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data.prepare import PACKAGES
from harness.data.prepare.package import Download, Raw
from harness.data.prepare.pieces import write_pieces
from harness.data.prepare.squad import write_hidden
from harness.data.prepare.tagging import ReadableRows, TaggedToken
from harness.errors import UserError
from tests.support.golden_cases import cases

CASES = cases("preprocess/cases.json")["cases"]
DROPPED = dict.fromkeys(map(ord, "\u200b\u200d\ufeff\u00ad"))


class Threes:
    """The tokenizer that the cases were made with: some characters dropped, then pieces of three characters."""

    def __init__(self, unk_token: str) -> None:
        self.unk_token = unk_token

    def tokenize(self, text: str) -> list[str]:
        text = text.translate(DROPPED)
        return [text[i : i + 3] for i in range(0, len(text), 3)]


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    return tmp_path / "in"


def put(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


def texts(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_bytes().decode() for p in folder.rglob("*") if p.is_file()}


def raw_of(folder: Path, downloads: tuple[Download, ...]) -> Raw:
    """The files that a package would pick of a folder of unpacked downloads."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    picked = {d.selection.pick(path.relative_to(folder).as_posix()): path for d in downloads for path in paths}
    return {name: path for name, path in picked.items() if name is not None}


def converted(task: str, case: str, folder: Path, top: str = "") -> dict[str, str]:
    """What a package makes of a case's inputs with `official`, laid out below `top` as their archive has them."""
    put(folder / top, CASES[case]["input_files"])
    out = folder.parent / "out"
    out.mkdir()
    raw = raw_of(folder, PACKAGES[task].downloads)
    assert len(raw) == len(CASES[case]["input_files"])
    PACKAGES[task].convert(raw, out, True)
    return texts(out)


@pytest.mark.parametrize(
    ("task", "top"), [("xnli", ""), ("pawsx", "x-final"), ("panx", "")], ids=["xnli", "pawsx", "panx"]
)
def test_official_bytes(task: str, top: str, inputs: Path) -> None:
    assert converted(task, task, inputs, top) == CASES[task]["output_files"]


def test_tatoeba_is_sorted_by_code_point(inputs: Path) -> None:
    assert converted("tatoeba", "tatoeba", inputs) == CASES["tatoeba"]["output_files"]


def test_tydiqa_training_data_is_split_by_language(inputs: Path) -> None:
    written = converted("tydiqa", "tydiqa", inputs)
    train = {name.split("/")[1]: text for name, text in written.items() if ".train.json" in name}
    assert train == CASES["tydiqa"]["output_files"]
    undivided = "tydiqa-goldp-v1.1-train.json"
    assert written[f"tydiqa-goldp-v1.1-train/{undivided}"] == CASES["tydiqa"]["input_files"][undivided]
    dev = json.loads(written["tydiqa-goldp-v1.1-dev/tydiqa.goldp.ar.dev.json"])
    asked = [qa for article in dev["data"] for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
    assert [qa["id"] for qa in asked] == ["english-123-4", "arabic-123-4", "english-123-4"]
    assert all(qa["answers"] == [{"answer_start": 0, "text": ""}] for qa in asked)


def test_answers_are_removed_as_the_official_script_does(tmp_path: Path) -> None:
    case = CASES["remove_qa_test_annotations"]
    put(tmp_path, {"in.json": case["input_files"]["a.json"]})
    assert write_hidden(tmp_path / "in.json", tmp_path / "a.json") == 2
    assert (tmp_path / "a.json").read_text() == case["output_files"]["a.json"]


def treebanks(case: str, folder: Path) -> dict[str, str]:
    """What udpos makes of a case's treebanks. Their converted form, CoNLL-2006, is CoNLL-U without multiword tokens."""
    put(folder / "ud-treebanks-v2.5", {f"{name}u": text for name, text in CASES[case]["input_files"].items()})
    out = folder.parent / "out"
    out.mkdir()
    PACKAGES["udpos"].convert(raw_of(folder, PACKAGES["udpos"].downloads), out, True)
    return texts(out)


def test_udpos_sentences(inputs: Path) -> None:
    written = treebanks("udpos", inputs)
    german = written.pop("test-de.tsv")  # not in the case's list of languages
    assert german == "second\nfile\n"
    assert written == CASES["udpos"]["output_files"]


def test_ids_that_do_not_count_from_1_are_refused(inputs: Path) -> None:
    assert CASES["udpos_bad_index"]["error"]["error"] == "AssertionError"
    with pytest.raises(UserError, match=r"(?s)en_a-ud-dev.conllu:1: ids that do not count from 1.*expected: the id 1"):
        treebanks("udpos_bad_index", inputs)


def test_a_line_with_an_empty_last_field_is_refused(inputs: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)train.tsv:2: too few fields \(the official script fails here\)"):
        converted("pawsx", "pawsx_short_line", inputs, "x-final")


@pytest.mark.parametrize("case", [name for name in CASES if "_tokenize_" in name])
def test_pieces(case: str, inputs: Path, tmp_path: Path) -> None:
    """The second official step, with the tokenizer of the cases: 2 special tokens, 3 for XLM-R, out of 12."""
    recorded: dict[str, Any] = CASES[case]
    put(inputs, recorded["input_files"])
    xlmr = recorded["args"]["model_type"] == "xlmr"
    for source in sorted(inputs.iterdir()):
        split, language = source.stem.split("-")
        target = tmp_path / "out" / language / f"{split}.m"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_pieces(
            source,
            target,
            target.with_name(f"{target.name}.idx"),
            Threes("<unk>" if xlmr else "[UNK]"),
            max_pieces=recorded["args"]["max_len"] - (3 if xlmr else 2),
            unlabelled="O" if case.startswith("panx") else "X",
        )
    assert texts(tmp_path / "out") == recorded["output_files"]


def test_of_readable_rows_nothing_is_lost(inputs: Path) -> None:
    """Leaving unreadable rows out changes the official bytes only where there are such rows."""
    case = CASES["panx"]
    put(inputs, case["input_files"])
    out = inputs.parent / "out"
    out.mkdir()
    package = PACKAGES["panx"]
    done = package.convert(raw_of(inputs, package.downloads), out, False)
    assert texts(out)["train-zh.tsv"] == "The\tO\nEU\tB-ORG\na:b\tO\n\nRome\tB-LOC\n"
    assert texts(out)["test-zh.tsv"] == texts(out)["train-zh.tsv"]
    assert "train-zh.tsv: 2 tokens of blanks only left out, 1 blank lines that end no sentence left out" in "\n".join(
        done.notes
    )
    plain = [TaggedToken("a", "O"), TaggedToken("b", "B-PER"), None, TaggedToken("c", "O"), None]
    assert list(ReadableRows(plain)) == plain
    assert not ReadableRows(plain).note()

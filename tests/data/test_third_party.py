"""Tasks and sources of other packages: where a task's data are looked for, and a source added by one entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.data.babel import Babel
from harness.data.folder import Folder
from harness.data.hub import Hub
from harness.data.source import absolute_uri, open_source
from harness.errors import UserError
from harness.records import PoolSentence, Question, Record, TaggedSentence, TextPair
from harness.task import Family
from tasks.families.bitext_mining import BitextMining
from tasks.families.bitext_retrieval import BitextRetrieval
from tasks.families.classification import Classification
from tasks.families.question_answering import QuestionAnswering
from tasks.families.tagging import Tagging
from tests.support.folder_specs import PAIR, Write, spec
from tests.support.package_install import install_package

PACKAGE = Path(__file__).parents[1] / "plugins" / "third_party_source"
QUESTION = {"id": "q", "question": "who?", "answers": [{"text": "a", "answer_start": 0}]}


def records(write: Write, family: Family, files: dict[str, str | bytes], **settings: object) -> Sequence[Record]:
    mine = spec("mine", family, "neutral O", **settings)
    folder = write({f"mine/{name}": text for name, text in files.items()})
    (cell,) = folder.manifest([mine]).tasks
    found = folder.task(mine, cell.view, cell.split)
    assert cell.count == len(found)
    return found


def test_folder_reads_an_unknown_task_by_the_convention_of_its_family(write: Write) -> None:
    (pair,) = records(write, Classification.family, {"dev-de.tsv": PAIR})
    assert isinstance(pair, TextPair)
    (sentence,) = records(write, Tagging.family, {"dev-de.tsv": "a\tO\n"})
    assert isinstance(sentence, TaggedSentence)


def test_a_source_is_stored_without_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "google" / "xtreme").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for typed in ("folder:data", "folder:./google/../data", "folder:~/data"):
        assert absolute_uri(typed) == f"folder:{tmp_path / 'data'}"
    assert absolute_uri("transformed:cipher:de,folder:data") == f"transformed:cipher:de,folder:{tmp_path / 'data'}"
    hub = "hub:google/xtreme,parallel=Helsinki-NLP/un_pc"
    assert absolute_uri(hub) == hub
    assert absolute_uri(f"{hub},bucc=data") == f"{hub},bucc={tmp_path / 'data'}"
    assert absolute_uri("babel:seed=1") == "babel:seed=1"
    assert absolute_uri("folder:missing") == "folder:missing"


def test_folder_reads_an_unknown_qa_task_as_squad_json(write: Write) -> None:
    content = json.dumps({"data": [{"paragraphs": [{"context": "a b", "qas": [QUESTION]}]}]})
    (question,) = records(write, QuestionAnswering.family, {"test-de.json": content}, splits=("train", "test"))
    assert isinstance(question, Question)
    assert question.answers[0].text == "a"


def test_folder_reads_an_unknown_retrieval_task_as_two_aligned_files(write: Write) -> None:
    pool = records(write, BitextRetrieval.family, {"de-en.test.de": "eins\n", "de-en.test.en": "one\n"})
    assert [record.text for record in pool if isinstance(record, PoolSentence)] == ["eins", "one"]


def test_folder_reads_an_unknown_mining_task_with_a_gold_file(write: Write) -> None:
    files: dict[str, str | bytes] = {"de-en.dev.de": "de-1\teins\n", "de-en.dev.en": "en-1\tone\n"}
    pool = records(write, BitextMining.family, {**files, "de-en.dev.gold": "de-1\ten-1\n"})
    assert [record.partners for record in pool if isinstance(record, PoolSentence)] == [("en-1",), ("de-1",)]


@pytest.mark.parametrize("source", [Babel.open(""), Hub.open("")], ids=["babel", "hub"])
def test_a_source_names_the_tasks_it_holds_when_it_lacks_one(source: Babel | Hub) -> None:
    mine = spec("mine", Tagging.family, "O")
    assert source.locations(mine) == {}
    with pytest.raises(UserError, match=r"(?s)has no data for mine.*udpos.*folder:PATH"):
        source.task(mine, "de", "test")


def test_a_manifest_leaves_out_tasks_that_babel_lacks() -> None:
    assert Babel.open("").manifest([spec("mine", Tagging.family, "O")]).tasks == ()


def test_folder_says_where_it_looks_for_an_unknown_task() -> None:
    assert Folder.locations(spec("mine", Tagging.family, "O"))["dev"] == "mine/dev-{view}.tsv"


def test_a_third_party_source_needs_one_file_and_one_entry_point(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("task,split,view,first,second,label\nxnli,dev,de,a,b,neutral\nxnli,dev,de,c,d,neutral\n")
    environment = os.environ | {"PYTHONPATH": str(install_package(PACKAGE, tmp_path / "site"))}

    def alignboard(*arguments: str) -> str:
        command = [sys.executable, "-c", "from harness.cli import main; main()", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = {record["kind"]: record["origin"] for record in json.loads(alignboard("sources", "--json"))}
    assert listed["spreadsheet"] == "spreadsheets:Spreadsheet (spreadsheets)"
    manifest = json.loads(alignboard("sources", f"spreadsheet:{sheet}", "--json"))
    assert manifest["name"] == "spreadsheet:sheet"
    assert [(cell["task"], cell["view"], cell["count"]) for cell in manifest["tasks"]] == [("xnli", "de", 2)]


def test_a_third_party_source_reads_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.registry import SOURCES

    sheet = tmp_path / "sheet.csv"
    sheet.write_text("task,split,view,first,second,label\nxnli,dev,de,a,b,neutral\n")
    monkeypatch.syspath_prepend(install_package(PACKAGE, tmp_path / "site"))
    monkeypatch.delitem(SOURCES.__dict__, "_points", raising=False)
    source = open_source(f"spreadsheet:{sheet}")
    xnli = spec("xnli", Classification.family, "neutral")
    assert source.task(xnli, "de", "dev") == [TextPair("dev-0", "a", "b", "neutral", "xnli-dev-0")]
    with pytest.raises(UserError, match=r"(?s)no data for panx.*holds xnli"):
        source.task(spec("panx", Tagging.family), "de", "dev")
    monkeypatch.delitem(SOURCES.__dict__, "_points", raising=False)

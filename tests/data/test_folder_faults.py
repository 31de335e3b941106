"""Faults of a folder: each is told with file, line, what was found, what was expected and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.data.folder import Folder
from harness.data.lines import MAX_LINE
from harness.errors import UsageError, UserError
from harness.records import Corpus
from harness.task import TaskSpec
from tasks.families.question_answering import QuestionAnswering
from tests.support.folder_specs import BUCC, PAIR, PANX, PAWSX, TASKS, TATOEBA, UDPOS, XNLI, Write, manifest_notes, spec

FAULTS: list[tuple[str, TaskSpec, str, dict[str, str | bytes], str]] = [
    (
        "fields",
        XNLI,
        "dev",
        {"xnli/dev-en.tsv": PAIR + "a\tb\n"},
        r"dev-en.tsv:2: wrong number of fields.*2 tab.*3: sent",
    ),
    (
        "mixed test",
        XNLI,
        "test",
        {"xnli/test-en.tsv": "a\tb\n" + PAIR},
        r"test-en.tsv:2: wrong number.*no label, as in",
    ),
    ("no dev labels", XNLI, "dev", {"xnli/dev-en.tsv": "a\tb\n"}, r"dev-en.tsv:1: wrong number of fields"),
    (
        "header",
        XNLI,
        "dev",
        {"xnli/dev-en.tsv": "premise\thypo\tlabel\n"},
        r":1: a label outside the set.*'label'.*neutral",
    ),
    (
        "empty label",
        PAWSX,
        "test",
        {"pawsx/test-en.tsv": "a\tb\t\n"},
        r":1: the last field is empty.*official.*a label",
    ),
    (
        "short test row",
        PAWSX,
        "test",
        {"pawsx/test-en.tsv": "a\t\n"},
        r":1: the last field is empty.*a second sentence",
    ),
    ("tag", UDPOS, "dev", {"udpos/dev-en.tsv": "a\tNOUN\nb\tNUON\n"}, r":2: a label outside the set.*'NUON'"),
    ("no dev tag", UDPOS, "dev", {"udpos/dev-en.tsv": "a\tNOUN\nb\n"}, r":2: wrong number of fields.*token, tag"),
    (
        "mixed tags",
        UDPOS,
        "test",
        {"udpos/test-en.tsv": "a\nb\tNOUN\n"},
        r":2: wrong number of fields.*as in the first line",
    ),
    ("three columns", PANX, "dev", {"panx/dev-en.tsv": "a\tb\tO\n"}, r":1: wrong number of fields"),
    ("double blank", PANX, "dev", {"panx/dev-en.tsv": "a\tO\n\n\nb\tO\n"}, r":3: a blank line that ends no sentence"),
    ("leading blank", PANX, "dev", {"panx/dev-en.tsv": "\na\tO\n"}, r":1: a blank line"),
    ("empty token", PANX, "dev", {"panx/dev-en.tsv": "\tO\n"}, r":1: a token of blanks only"),
    ("blank token", PANX, "dev", {"panx/dev-en.tsv": "\u3000\tO\n"}, r":1: a token of blanks only"),
    ("empty", XNLI, "dev", {"xnli/dev-en.tsv": ""}, r"dev-en.tsv: the file is empty"),
    (
        "bytes",
        XNLI,
        "dev",
        {"xnli/dev-en.tsv": PAIR.encode() + b"a\xff\tb\tneutral\n"},
        r":2: bytes.*0xff at byte offset 13 ",
    ),
    ("utf-16", XNLI, "dev", {"xnli/dev-en.tsv": PAIR.encode("utf-16")}, r":1: bytes that are not UTF-8.*iconv"),
    ("NUL", XNLI, "dev", {"xnli/dev-en.tsv": PAIR + "é\0\tb\tneutral\n"}, r":2: a control.*NUL byte at byte offset 14"),
    ("old Mac", XNLI, "dev", {"xnli/dev-en.tsv": "a\tb\tneutral\ra\tb\tneutral\r"}, r":1: a control.*carriage return"),
    (
        "long",
        XNLI,
        "dev",
        {"xnli/dev-en.tsv": PAIR + "a" * (MAX_LINE + 1)},
        r":2: the line is too long.*1,048,576 bytes",
    ),
]


@pytest.mark.parametrize(
    ("task", "split", "files", "words"), [fault[1:] for fault in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_file_errors_name_file_line_and_remedy(
    write: Write, task: TaskSpec, split: str, files: dict[str, str | bytes], words: str
) -> None:
    folder = write(files)
    with pytest.raises(UserError, match=f"(?s){words}") as error:
        folder.task(task, "en", split)
    assert error.value.remedy
    assert error.value.exit_code == 1


BUCC_DE, BUCC_EN = "de-1\teins\nde-2\tzwei\n", "en-1\tone\nen-2\ttwo\n"


@pytest.mark.parametrize(
    ("german", "english", "gold", "words"),
    [
        ("de-1\teins\nde-1\tzwei\n", BUCC_EN, None, r"de-en.dev.de:2: an id that occurs twice.*'de-1'"),
        ("en-1\teins\n", BUCC_EN, None, r"de-en.dev.de:1: an id of another language"),
        ("de-1 eins\n", BUCC_EN, None, r"de-en.dev.de:1: wrong number of fields.*id, sentence"),
        (BUCC_DE, BUCC_EN, "de-1\ten-3\n", r"dev.gold:1: a gold pair with an id that its file lacks.*'en-3'"),
        (BUCC_DE, BUCC_EN, "en-1\tde-1\n", r"dev.gold:1: a gold pair with an id that its file lacks.*'en-1'"),
        (BUCC_DE, BUCC_EN, "de-1 en-1\n", r"dev.gold:1: wrong number of fields"),
        (BUCC_DE, BUCC_EN, "", r"dev.gold: the file is empty"),
    ],
)
def test_faults_of_a_mining_pool(write: Write, german: str, english: str, gold: str | None, words: str) -> None:
    files: dict[str, str | bytes] = {"bucc2018/de-en.dev.de": german, "bucc2018/de-en.dev.en": english}
    folder = write(files if gold is None else {**files, "bucc2018/de-en.dev.gold": gold})
    with pytest.raises(UserError, match=f"(?s){words}"):
        folder.task(BUCC, "de", "dev")


@pytest.mark.parametrize(
    ("german", "words"),
    [
        ("eins\n", r":2: parallel files of different length.*1 lines here and 2"),
        ("eins\n \n", r":2: an empty line"),
    ],
)
def test_faults_of_line_aligned_files(write: Write, german: str, words: str) -> None:
    files: dict[str, str | bytes] = {
        f"{task}/de-en.{end}": text
        for task in ("tatoeba", "parallel")
        for end, text in (("de", german), ("en", "two\none\n"))
    }
    folder = write(files)
    with pytest.raises(UserError, match=f"(?s)tatoeba/de-en.de{words}"):
        folder.task(TATOEBA, "de", "test")
    with pytest.raises(UserError, match=f"(?s)parallel/de-en.de{words}"):
        folder.corpus(Corpus.PARALLEL, ["de"])


def test_missing_things_name_what_is_there(write: Write) -> None:
    folder = write(
        {"xnli/test-de.tsv": PAIR, "xnli/test-zh.tsv": PAIR, "tatoeba/de-en.de": "a\n", "mono/de.txt": "a\n"}
    )
    expected = [
        (XNLI, "fr", "test", r"no test file for 'fr'.*test files for: zh, de.*test-fr.tsv"),
        (XNLI, "de", "train", r"no train file for 'de'.*no language"),
        (XNLI, "de", "extra", r"no extra split.*train, dev, test"),
        (PAWSX, "de", "test", r"pawsx: the task's folder is missing.*mono/, tatoeba/, xnli/"),
        (TATOEBA, "de", "test", r"tatoeba/de-en.en: tatoeba has no test file"),
    ]
    for task, view, split, words in expected:
        with pytest.raises(UserError, match=f"(?s){words}"):
            folder.task(task, view, split)
    with pytest.raises(UserError, match=r"(?s)no mono corpus for 'fr'.*languages: de"):
        folder.corpus(Corpus.MONO, ["de", "fr"])
    with pytest.raises(UserError, match="no corpus of the kind 'images'"):
        folder.corpus(Corpus.IMAGES, ["de"])
    assert "tatoeba test (de): left out, since de-en.en is missing" in manifest_notes(folder, TATOEBA)
    assert folder.manifest([XNLI, TATOEBA, PAWSX]).views("tatoeba", "test") == ()


def test_a_parallel_file_without_its_other_side(write: Write) -> None:
    folder = write({"parallel/de-en.de": "a\n"})
    assert folder.manifest([]).corpora == ()
    assert "parallel (de): left out, since de-en.en is missing" in manifest_notes(folder)
    with pytest.raises(UserError, match=r"parallel/de-en.en: no parallel corpus for 'de'"):
        folder.corpus(Corpus.PARALLEL, ["de"])


def test_a_wrong_folder(tmp_path: Path, write: Write) -> None:
    with pytest.raises(UsageError, match=r"(?s)needs a path.*--source folder:PATH"):
        Folder.open("")
    with pytest.raises(UserError, match=r"(?s)the folder is missing.*holds nothing"):
        Folder.open(str(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="this is not a folder"):
        Folder.open(str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"(?s)nothing in this folder is laid out.*photos/.*xnli/"):
        write({"photos/a.txt": "x"}).manifest(TASKS)


def test_faults_that_the_manifest_sees(write: Write) -> None:
    for files in ({"panx/dev-de.tsv": ""}, {"parallel/de-en.de": "a\n", "parallel/de-en.en": "a\nb\n"}):
        with pytest.raises(UserError, match=r"the file is empty|different length"):
            write(files).manifest(TASKS)


def test_families_and_tasks_that_a_folder_cannot_read(write: Write) -> None:
    folder = write({"xquad/xquad.de.json": "{}"})
    with pytest.raises(UserError, match=r"something is missing in a file of questions"):
        folder.task(spec("xquad", QuestionAnswering.family), "de", "test")


@pytest.mark.parametrize(
    ("files", "kind", "words"),
    [
        ({"dictionaries/en-de.txt": "cat Katze\n"}, Corpus.DICTIONARY, r":1: wrong number of fields.*English word"),
        ({"dictionaries/en-de.txt": "cat\t \n"}, Corpus.DICTIONARY, r":1: an empty line or field"),
        ({"mono/de.txt": "a\n  \n"}, Corpus.MONO, r":2: an empty line"),
        ({"alignments/de-en.gold": "0-5\n"}, Corpus.ALIGNMENT, r"gold:1: a word link outside its sentence pair.*'0-5'"),
        ({"alignments/de-en.gold": "0:1\n"}, Corpus.ALIGNMENT, r"gold:1: a word link that cannot be read"),
        ({"alignments/de-en.gold": "0-0\n0-0\n"}, Corpus.ALIGNMENT, r"different length"),
    ],
)
def test_faults_of_corpora(write: Write, files: dict[str, str | bytes], kind: Corpus, words: str) -> None:
    folder = write({"alignments/de-en.de": "a b\n", "alignments/de-en.en": "c d\n", **files})
    with pytest.raises(UserError, match=f"(?s){words}"):
        folder.corpus(kind, ["de"])

"""The folder source on XTREME's official files as its own code writes them, on corpora, and on the real data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.folder import Folder
from harness.data.lines import read_lines, scan
from harness.errors import UserError
from harness.records import (
    AlignedPair,
    Corpus,
    DictionaryEntry,
    MonoSentence,
    ParallelPair,
    PoolSentence,
    TaggedSentence,
    TextPair,
)
from tests.support.folder_specs import BUCC, PAIR, PANX, PAWSX, TASKS, TATOEBA, UDPOS, XNLI, Write, manifest_notes

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/preprocess/cases.json").read_text())["cases"]
ALL_KINDS = (Corpus.PARALLEL, Corpus.MONO, Corpus.DICTIONARY, Corpus.ALIGNMENT, Corpus.NLI)


def official(case: str) -> dict[str, str | bytes]:
    """The files that the official preprocessing wrote, where it puts them."""
    return {f"{case}/{name}": text for name, text in GOLDEN[case]["output_files"].items()}


def test_official_xnli_keeps_its_csv_quotes_and_withholds_test_labels(write: Write) -> None:
    folder = write(official("xnli"))
    assert folder.task(XNLI, "de", "dev") == [
        TextPair("dev-0", '"Er sagte ""hallo""."', "B  doppelt", "neutral", "xnli-de-dev-0")
    ]
    assert [row.label for row in folder.task(XNLI, "en", "train")] == ["contradiction", "entailment"]
    assert [row.second for row in folder.task(XNLI, "en", "test")] == ["it's", '"q""uote"']
    assert {row.label for row in folder.task(XNLI, "en", "test")} == {None}
    manifest = folder.manifest([XNLI])
    assert {(c.view, c.split): (c.count, c.labelled) for c in manifest.tasks} == {
        ("en", "train"): (2, True),
        ("de", "dev"): (1, True),
        ("en", "dev"): (2, True),
        ("de", "test"): (1, False),
        ("en", "test"): (2, False),
    }
    assert manifest.training == {"xnli": "xnli/train-en.tsv (2 items)"}
    for words in ("test (de, en): labels are withheld", "doubled quotes", "dev (de, en): languages differ in length"):
        assert words in "\n".join(manifest.notes)


def test_official_pawsx_keeps_its_placeholder(write: Write) -> None:
    folder = write(official("pawsx"))
    rows = [("test-0", '"say ""x"""', "y", "pawsx-test-0"), ("test-1", "a  b", "NS", "pawsx-test-1")]
    for view in ("de", "en", "zh"):
        found = folder.task(PAWSX, view, "test")
        assert [(row.id, row.first, row.second, row.cluster) for row in found] == rows
    assert folder.manifest([PAWSX]).views("pawsx", "dev") == ("zh", "de", "en", "fr", "es", "ja", "ko")


def test_official_udpos(write: Write) -> None:
    folder = write(official("udpos"))
    train, test = folder.task(UDPOS, "en", "train"), folder.task(UDPOS, "en", "test")
    assert train[0] == TaggedSentence("train-0", ("second", "file"), ("ADJ", "NOUN"), "udpos-en-train-0")
    assert train[2].tags == ("X", "NOUN", "VERB")
    assert [sentence.words for sentence in test] == [("The", "cat"), ("_", "b", "c"), ("NewYork", "zwnj"), ("one",)]
    assert {sentence.tags for sentence in test} == {None}
    counts = {(c.view, c.split): (c.count, c.labelled) for c in folder.manifest([UDPOS]).tasks}
    assert counts == {
        ("en", "train"): (5, True),
        ("en", "dev"): (2, True),
        ("en", "test"): (4, False),
        ("fr", "test"): (1, False),
    }


def test_official_panx_with_empty_tokens_is_refused(write: Write) -> None:
    folder = write(official("panx"))
    with pytest.raises(UserError, match=r"(?s)train-en.tsv:4: a token of blanks only.*tag's own text"):
        folder.task(PANX, "en", "train")
    with pytest.raises(UserError, match=r"(?s)test-zh.tsv:5: a blank line that ends no sentence"):
        folder.task(PANX, "zh", "test")


def test_tokens_with_a_blank_inside_are_cut_as_the_official_code_cuts_them(write: Write) -> None:
    lines = "10\u00a0000\tB-LOC\n\u3000x\tI-ORG\nz\u200bw\tO\n"
    folder = write({"panx/dev-en.tsv": lines, "panx/test-en.tsv": lines, "udpos/dev-en.tsv": "a\u2009b\tNOUN\n"})
    (dev,) = folder.task(PANX, "en", "dev")
    assert (dev.words, dev.tags) == (("10", "x", "z\u200bw"), ("O", "I-ORG", "O"))
    assert folder.task(PANX, "en", "test")[0].tags == ("B-LOC", "I-ORG", "O")
    assert folder.task(UDPOS, "en", "dev")[0].tags == ("X",)
    assert "panx dev (en): of tokens with a blank inside" in manifest_notes(folder, PANX)


def test_official_tokenised_case_agrees_on_cut_tokens(write: Write) -> None:
    """The official second step on the same tokens gives the same words and tags."""
    case = GOLDEN["panx_tokenize_bert"]
    written = [line.split("\t") for line in case["output_files"]["en/dev.m"].split("\n\n")[0].splitlines()]
    source = case["input_files"]["dev-en.tsv"].split("\n")
    folder = write({"panx/dev-en.tsv": "\n".join([source[0], source[2]]) + "\n"})
    (sentence,) = folder.task(PANX, "en", "dev")
    assert list(zip(sentence.words, sentence.tags, strict=True)) == [tuple(written[0]), tuple(written[2])]


def test_official_tatoeba_is_sorted_so_its_labels_are_gone(write: Write) -> None:
    folder = write(official("tatoeba"))
    records = folder.task(TATOEBA, "af", "test")
    assert {record.partners for record in records} == {None}
    assert records[7] == PoolSentence("en-0", "target", "A sentence", None, records[7].cluster)
    assert records[7].cluster
    assert folder.manifest([TATOEBA]).tasks[0].labelled is False
    assert "tatoeba test (af): gold is withheld" in manifest_notes(folder, TATOEBA)


def test_aligned_tatoeba_pairs_lines(write: Write) -> None:
    files = GOLDEN["tatoeba"]["input_files"]
    folder = write({"tatoeba/af-en.af": files["tatoeba.afr-eng.afr"], "tatoeba/af-en.en": files["tatoeba.afr-eng.eng"]})
    records = folder.task(TATOEBA, "af", "test")
    assert [record.id for record in records] == [f"{side}-{row}" for side in ("af", "en") for row in range(7)]
    assert records[2].partners == ("en-2",)
    assert records[9].partners == ("af-2",)
    assert records[0].cluster == records[7].cluster == records[5].cluster  # the same English sentence twice
    assert records[0].cluster != records[1].cluster
    assert folder.manifest([TATOEBA]).cell("tatoeba", "af", "test").count == 14


def test_bucc_with_and_without_gold(write: Write) -> None:
    folder = write(
        {
            "bucc2018/de-en.dev.de": "de-000000001\teins\nde-000000002\tzwei\n",
            "bucc2018/de-en.dev.en": "en-000000001\ttwo\nen-000000002\tthree\n",
            "bucc2018/de-en.dev.gold": "de-000000002\ten-000000001\n",
            "bucc2018/de-en.test.de": "de-000000001\teins\n",
            "bucc2018/de-en.test.en": "en-000000001\tone\n",
        }
    )
    dev = {record.id: record for record in folder.task(BUCC, "de", "dev")}
    assert dev["de-000000001"].partners == dev["en-000000002"].partners == ()
    assert (dev["de-000000002"].partners, dev["en-000000001"].partners) == (("en-000000001",), ("de-000000002",))
    assert dev["de-000000002"].cluster == dev["en-000000001"].cluster != dev["en-000000002"].cluster
    assert [record.side for record in dev.values()] == ["source", "source", "target", "target"]
    assert {record.partners for record in folder.task(BUCC, "de", "test")} == {None}
    assert [(c.split, c.count, c.labelled) for c in folder.manifest([BUCC]).tasks] == [
        ("dev", 4, True),
        ("test", 2, False),
    ]


def test_rows_of_one_premise_and_their_translations_share_a_cluster(write: Write) -> None:
    english = "p\th1\tneutral\np\th2\tneutral\nq\th3\tneutral\n"
    german = "P\tH1\tneutral\nP'\tH2\tneutral\nQ\tH3\tneutral\n"
    folder = write({"xnli/test-en.tsv": english, "xnli/test-de.tsv": german})
    for view in ("en", "de"):
        assert [row.cluster for row in folder.task(XNLI, view, "test")] == ["xnli-test-0", "xnli-test-0", "xnli-test-2"]


@pytest.mark.parametrize("ending", ["", "\n", "\n\n", "\r\n"])
def test_last_lines(write: Write, ending: str) -> None:
    folder = write({"udpos/dev-en.tsv": f"a\tX\n\nb\tX{ending}"})
    assert [sentence.words for sentence in folder.task(UDPOS, "en", "dev")] == [("a",), ("b",)]
    assert folder.manifest([UDPOS]).tasks[0].count == 2


def test_byte_order_mark_is_ignored_with_a_note(write: Write) -> None:
    folder = write({"pawsx/dev-en.tsv": b"\xef\xbb\xbfa\tb\t1\n"})
    assert folder.task(PAWSX, "en", "dev")[0].first == "a"
    assert "byte order mark" in manifest_notes(folder, PAWSX)


@given(st.lists(st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_lines_end_at_line_feeds_alone(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("lines") / "text"
    path.write_bytes("\n".join(["first", *lines, "\u2028\x85\x0b"]).encode())
    assert list(read_lines(path)) == list(enumerate(["first", *lines, "\u2028\x85\x0b"], start=1))


def test_scans_agree_with_reading_across_chunks(tmp_path: Path) -> None:
    path = tmp_path / "text"
    for ending in ("\n", "\r\n"):
        text = ending.join(["x" * length for length in range(1500)] + ["", "", "end"]) + ending
        path.write_bytes(text.encode())
        lines = [line for _, line in read_lines(path)]
        found = scan(path)
        assert (found.lines, found.blank) == (len(lines), lines.count("")) == (1503, 3)
        assert not found.ends_blank


def test_corpora(write: Write) -> None:
    folder = write(
        {
            "parallel/de-en.de": "eins\nzwei\n",
            "parallel/de-en.en": "one\ntwo\n",
            "mono/de.txt": "a\n\n\nb\n",
            "dictionaries/en-de.txt": "cat\tKatze\ncat\tKater\ncat\tKatze\n",
            "dictionaries/en-de.test.txt": "Dog\tHund\n",
            "dictionaries/terms.en-de.txt": "dog\tHund\nbig cat\tgroße Katze\n",
            "alignments/de-en.de": "das Haus\n",
            "alignments/de-en.en": "the big house\n",
            "alignments/de-en.gold": "0-0 1p1 1-2\n",
            "alignments/en-fr.en": "yes\n",
            "alignments/en-fr.fr": "mais oui\n",
            "alignments/en-fr.gold": "0-1\n",
            "xnli/train-en.tsv": PAIR,
        }
    )
    assert folder.corpus(Corpus.PARALLEL, ["de"])[1] == ParallelPair("de-1", "de", "two", "zwei")
    assert folder.corpus(Corpus.MONO, ["de"]) == [MonoSentence("de-0", "de", "a"), MonoSentence("de-3", "de", "b")]
    words = [("cat", "Katze"), ("cat", "Kater"), ("big cat", "große Katze")]
    assert folder.corpus(Corpus.DICTIONARY, ["de"]) == [DictionaryEntry("de", *pair) for pair in words]
    links = frozenset({(0, 0), (1, 1), (2, 1)})
    german, french = folder.corpus(Corpus.ALIGNMENT, ["de", "fr"])
    assert german == AlignedPair("de-0", "de", ("the", "big", "house"), ("das", "Haus"), links - {(1, 1)}, links)
    assert isinstance(french, AlignedPair)
    assert (french.source, french.sure) == (("yes",), {(0, 1)})
    assert folder.corpus(Corpus.NLI, ["en"]) == [TextPair("train-0", "a", "b", "neutral", "xnli-train-0")]
    cells = {(cell.kind, cell.language): cell.count for cell in folder.manifest([]).corpora}
    assert cells == {
        (Corpus.PARALLEL, "de"): 2,
        (Corpus.MONO, "de"): 2,
        (Corpus.DICTIONARY, "de"): 3,
        (Corpus.ALIGNMENT, "de"): 1,
        (Corpus.ALIGNMENT, "fr"): 1,
        (Corpus.NLI, "en"): 1,
    }
    assert "dictionary (de): 1 entries left out" in manifest_notes(folder)


def test_a_fingerprint_changes_with_the_bytes_alone(write: Write) -> None:
    def prints(folder: Folder) -> dict[tuple[str, str], str]:
        return {(cell.view, cell.split): cell.fingerprint for cell in folder.manifest([XNLI]).tasks}

    first = prints(write({"xnli/dev-en.tsv": PAIR, "xnli/dev-de.tsv": PAIR + PAIR}))
    assert prints(write({"xnli/dev-en.tsv": PAIR})) == first
    changed = prints(write({"xnli/dev-de.tsv": PAIR + "x\tb\tneutral\n"}))
    assert changed["en", "dev"] == first["en", "dev"]
    assert changed["de", "dev"] != first["de", "dev"]


def test_the_real_pack(shared: Path) -> None:
    folder = Folder.open(str(shared / "data" / "open"))
    manifest = folder.manifest(TASKS)
    assert folder.name == "folder:open"
    by_name = {task.name: task for task in TASKS}
    for cell in (cell for cell in manifest.tasks if cell.view in ("de", "hi", "zh") or cell.task == "pawsx"):
        records = folder.task(by_name[cell.task], cell.view, cell.split)
        assert len(records) == cell.count
        assert len({record.id for record in records}) == cell.count
    for corpus in (corpus for corpus in manifest.corpora if corpus.count < 20_000):
        assert len(folder.corpus(corpus.kind, [corpus.language])) == corpus.count
    assert [len(manifest.views(task, "test")) for task in by_name] == [10, 5, 7, 10, 9, 9]
    assert manifest.cell("udpos", "en", "train").count == 11_992
    assert set(manifest.languages(Corpus.PARALLEL)) == {"ar", "de", "es", "fr", "hi", "ru", "sw", "tr", "zh"}
    assert {cell.kind for cell in manifest.corpora} == set(ALL_KINDS)
    assert all(cell.labelled for cell in manifest.tasks)
    assert set(manifest.training) == {"xnli", "pawsx", "udpos", "panx"}


def test_real_rows_are_parallel(shared: Path) -> None:
    folder = Folder.open(str(shared / "data" / "open"))
    english, swahili = folder.task(XNLI, "en", "test"), folder.task(XNLI, "sw", "test")
    assert [row.cluster for row in english] == [row.cluster for row in swahili]
    assert len({row.cluster for row in english}) == len({row.first for row in english}) < len(english)
    gold = [record for record in folder.task(BUCC, "de", "test") if record.side == "source" and record.partners]
    assert len(gold) == 150
    assert all(record.cluster for record in gold)

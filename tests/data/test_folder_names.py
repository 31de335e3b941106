"""Files of a folder that are compressed, named in another order, or named in a way that nothing reads."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

import pytest

from harness.data.folder import Folder
from harness.errors import UserError
from harness.records import Corpus
from harness.registry import TASKS


def compressed(text: str) -> bytes:
    return gzip.compress(text.encode())


def test_compressed_files_and_the_other_order_of_a_pair_are_read(write: Callable[..., Folder]) -> None:
    plain = {
        "xnli/test-de.tsv": "a\tb\tneutral\n",
        "parallel/de-en.de": "eins\nzwei\n",
        "parallel/de-en.en": "one\ntwo\n",
        "tatoeba/de-en.de": "eins\nzwei\n",
        "tatoeba/de-en.en": "one\ntwo\n",
        "mono/de.txt": "eins\n",
        "dictionaries/en-de.txt": "one\teins\n",
        "xquad/xquad.de.json": json.dumps({"data": []}),
        "panx/test-de.tsv": "a b\tO\n",
    }
    specs = [TASKS.get(name).spec for name in ("xnli", "tatoeba", "panx", "xquad")]
    source = write(plain)
    manifest, pairs = source.manifest(specs), source.corpus(Corpus.PARALLEL, ["de"])
    for name in plain:
        (source.root / name).unlink()
    other = write({f"{name.replace('de-en.', 'en-de.')}.gz": compressed(text) for name, text in plain.items()})
    assert [cell.count for cell in other.manifest(specs).tasks] == [cell.count for cell in manifest.tasks]
    assert len(other.manifest(specs).corpora) == len(manifest.corpora) == 3
    assert other.corpus(Corpus.PARALLEL, ["de"]) == pairs
    assert other.manifest(specs).unread == ()


def test_the_order_of_the_layout_and_plain_files_are_read_where_both_are_there(write: Callable[..., Folder]) -> None:
    source = write(
        {
            "parallel/de-en.de": "eins\n",
            "parallel/de-en.en": "one\n",
            "parallel/en-de.de": "zwei\nzwei\n",
            "parallel/en-de.en": "two\ntwo\n",
            "mono/de.txt": "eins\n",
            "mono/de.txt.gz": compressed("zwei\n"),
        }
    )
    assert [pair.target for pair in source.corpus(Corpus.PARALLEL, ["de"])] == ["eins"]
    assert [sentence.text for sentence in source.corpus(Corpus.MONO, ["de"])] == ["eins"]
    assert len(source.manifest([]).unread) == 3


def test_files_that_nothing_reads_are_noted_with_the_name_that_would_be_read(write: Callable[..., Folder]) -> None:
    source = write(
        {
            "xnli/test-de.tsv": "a\tb\tneutral\n",
            "xnli/test_fr.tsv": "a\tb\tneutral\n",
            "xnli/README.md": "x",
            "dictionaries/en-de.0-5000.txt": "one\teins\n",
            "dictionaries/en-de.5000-6500.txt": "two\tzwei\n",
            "squad/dev-v1.1.json": "{}",
        }
    )
    assert source.manifest([TASKS.get("xnli").spec]).unread == (
        "dictionaries/en-de.0-5000.txt is not read; files here are named dictionaries/en-de.txt, the word in en first "
        "on each line",
        "dictionaries/en-de.5000-6500.txt is not read; files here are named dictionaries/en-de.test.txt, the word in "
        "en first on each line",
        "xnli/test_fr.tsv is not read; files here are named xnli/test-fr.tsv",
    )


def test_language_in_capitals_is_no_language_of_its_own(write: Callable[..., Folder]) -> None:
    files = {"xnli/test-de.tsv": "a\tb\tneutral\n", "mono/de.txt": "eins\n", "dictionaries/en-de.txt": "one\teins\n"}
    capitals = {name.replace("de.", "DE."): text for name, text in files.items()}
    manifest = write(files | capitals).manifest([TASKS.get("xnli").spec])
    assert [cell.view for cell in manifest.tasks] == ["de"]
    assert {cell.language for cell in manifest.corpora} == {"de"}
    for name in files:
        notes = [note for note in manifest.unread if note.startswith(f"{name.replace('de.', 'DE.')} is not read")]
        assert len(notes) == 1
        assert name in notes[0]


def test_a_damaged_compressed_file_is_refused(write: Callable[..., Folder]) -> None:
    for content in (b"no gzip", compressed("eins\n" * 1000)[:-9]):
        with pytest.raises(UserError, match="a compressed file that is damaged"):
            write({"mono/de.txt.gz": content}).manifest([])
    with pytest.raises(UserError, match="the file is empty"):
        write({"mono/de.txt.gz": compressed("")}).manifest([])


def test_a_pointer_of_git_lfs_is_no_text(write: Callable[..., Folder]) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 9\n"
    with pytest.raises(UserError, match="git lfs pull"):
        write({"mono/de.txt": pointer}).manifest([])

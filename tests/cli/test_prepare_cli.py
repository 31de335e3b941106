"""`alignboard prepare`: the list of downloads, messages, exit codes, and pieces for a tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from harness.cli.app import main
from harness.data.prepare import PACKAGES
from tests.support.downloads import content_of, write_packed


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("downloads")
    write_packed(folder)
    return folder


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["prepare", *map(str, arguments)])
    return int(stop.value.code or 0)


def test_list_has_every_download(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list") == 0
    table = capsys.readouterr().out
    for package in PACKAGES.values():
        assert package.licence in table
        for download in package.downloads:
            assert download.url in table
            assert download.names[0] in table
            assert download.note in table
            assert all(digest in table for digest in download.sums.values())
    assert "AmazonPhotos.zip on Amazon Drive, is gone" in table
    assert run("xquad", "--list", "--json") == 0
    assert {entry["data_set"] for entry in json.loads(capsys.readouterr().out)} == {"xquad", "squad"}


def test_recorded_checksums_are_complete() -> None:
    """Each recorded SHA-256 has 64 digits, belongs to a name that is looked for, and to no other file."""
    sums = [(name, d, s) for p in PACKAGES.values() for d in p.downloads for name, s in d.sums.items()]
    assert len({digest for _, _, digest in sums}) == len(sums)
    for name, download, digest in sums:
        assert len(bytes.fromhex(digest)) == 32
        assert name in (*download.names, *download.holds)


def test_prepare_reports_checksums_and_missing_files(
    downloads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "xtreme"
    assert run("--from", downloads, "--to", folder, "--any-release") == 0
    printed = capsys.readouterr()
    assert "converting udpos" in printed.err
    assert "another SHA-256 is on record for XNLI-1.0.zip" in printed.out
    assert "no SHA-256 is on record for LASER-main.zip" in printed.out
    assert "panx: missing: ar-train, ar-dev" in printed.out
    assert run("--from", downloads, "--to", folder, "--any-release", "--json") == 0
    records = json.loads(capsys.readouterr().out)
    assert {record["state"] for record in records} == {"unchanged"}
    assert {record["name"] for record in records} == set(PACKAGES)
    assert next(r for r in records if r["name"] == "xnli")["record"]["files"]["train-en.tsv"]["sha256"]


def test_mistakes_are_reported(downloads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "xtreme"
    assert run("xnli", "--from", downloads, "--to", folder) == 1
    assert "the file is not the published one" in capsys.readouterr().err
    assert run("pawx", "--from", downloads, "--to", folder) == 2
    assert "did you mean 'pawsx'" in capsys.readouterr().err
    assert run("xnli", "--from", downloads) == 2
    assert "both folders are needed" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run("pawsx", "--from", tmp_path / "empty", "--to", folder) == 1
    printed = capsys.readouterr()
    assert "no download found for pawsx\n  expected: x-final.tar.gz" in printed.err
    assert "get it at https://storage.googleapis.com/paws/pawsx/x-final.tar.gz" in printed.out
    assert run("--from", tmp_path / "empty", "--to", folder) == 1
    assert "no download found for xnli, pawsx" in capsys.readouterr().err
    assert run("xnli", "--from", downloads, "--to", folder, "--max-length", 64) == 2
    assert "--max-length has no effect" in capsys.readouterr().err
    assert run("xnli", "--from", downloads, "--to", folder, "--pieces", "x") == 2
    assert "--pieces has no effect" in capsys.readouterr().err
    assert run("--list", "--to", folder) == 2
    assert "--list takes no other options" in capsys.readouterr().err
    assert not (folder / "xnli").exists()


def test_package_includes_its_dependencies(downloads: Path, tmp_path: Path) -> None:
    assert run("mlqa", "--from", downloads, "--to", tmp_path / "xtreme", "--any-release") == 0
    assert sorted(path.name for path in (tmp_path / "xtreme").iterdir()) == ["mlqa", "squad"]


def test_pieces_for_a_tokenizer(downloads: Path, tmp_path: Path) -> None:
    """Letters as subwords, 10 of them with the two special tokens: `We see del mar` is cut after `del`."""
    letters = {letter: n for n, letter in enumerate(["[UNK]", *"abcdefghijklmnopqrstuvwxyzRNW:-"])}
    model = Tokenizer(models.BPE(vocab=letters, merges=[], unk_token="[UNK]"))
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=model, unk_token="[UNK]").save_pretrained(str(tmp_path / "letters"))
    folder = tmp_path / "xtreme"
    options = ("--any-release", "--pieces", tmp_path / "letters", "--max-length", 10)
    assert run("udpos", "panx", "--from", downloads, "--to", folder, *options) == 0
    files = content_of(folder / "udpos_processed_maxlen10")
    assert sorted(files) == sorted(
        ["labels.txt"]
        + [f"en/{split}.letters{end}" for split in ("train", "dev", "test") for end in ("", ".idx")]
        + [f"es/test.letters{end}" for end in ("", ".idx")]
    )
    assert files["es/test.letters"] == b"We\tPRON\nsee\tVERB\ndel\tADP\n\nmar\tNOUN\n\nNo\tINTJ\n"
    assert files["es/test.letters.idx"] == b"0\n0\n0\n\n0\n\n1\n"
    assert files["labels.txt"] == b"ADP\nINTJ\nNOUN\nPRON\nVERB\n"
    assert content_of(folder / "panx_processed_maxlen10")["ja/test.letters"] == b"Rome\tB-LOC\ntest\tO\n\nx:y\tO\n"
    assert not (folder / ".prepare").exists()
    again = content_of(folder)
    assert run("udpos", "panx", "--from", downloads, "--to", folder, *options) == 0
    assert content_of(folder) == again

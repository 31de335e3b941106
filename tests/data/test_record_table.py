"""Records in memory-mapped Arrow files: access, resume after a kill, damage."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.data import record_table, sample
from harness.data.record_table import TOTAL, RecordTable, write_table
from harness.data.sample import POOL_LAYOUT, SampleSettings, draw_sample, load_sample, save_sample
from harness.files import read_json, seal, unseal, write_json
from harness.records import DictionaryEntry, ParallelPair

PAIRS = [ParallelPair(str(n), "de" if n % 2 else "ja", f"The cat has {n} lives", f"猫 Katze {n}\n") for n in range(45)]
ENTRIES = [DictionaryEntry(language, word, other) for language in ("de", "ja") for word, other in (("cat", "Katze"),)]


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_table, "ROWS", 10)
    monkeypatch.setattr(record_table, "READ", 7)
    monkeypatch.setattr(sample, "MATCHED", 8)


def write(folder: Path) -> RecordTable[ParallelPair]:
    return write_table(PAIRS, folder, POOL_LAYOUT, "writing")


def write_until_killed(folder: Path) -> None:
    def records() -> Iterator[ParallelPair]:
        yield from PAIRS[:33]
        os.kill(os.getpid(), signal.SIGKILL)

    write_table(records(), folder, POOL_LAYOUT, "writing")


def test_a_table_is_the_sequence_that_was_written(tmp_path: Path) -> None:
    table = write(tmp_path)
    assert table == PAIRS
    assert list(table) == PAIRS
    assert table[-1] == PAIRS[-1]
    for index in (slice(3, 27), slice(None, None, 4), slice(40, 99), slice(9, 2), slice(None, None, -3)):
        assert table[index] == PAIRS[index]
    with pytest.raises(IndexError):
        table[45]
    assert table != PAIRS[:-1]
    assert RecordTable(tmp_path, POOL_LAYOUT) == table
    assert len(write_table([], tmp_path / "empty", POOL_LAYOUT, "writing")) == 0


def test_datasets_opens_a_file(tmp_path: Path) -> None:
    import datasets

    write(tmp_path)
    rows = datasets.Dataset.from_file(str(tmp_path / "000000.arrow"))
    assert rows["target"] == [pair.target for pair in PAIRS[:10]]


def test_finished_files_are_reused_after_a_kill(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=write_until_killed, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("0*.arrow")}
    assert len(times) == 3
    assert write(tmp_path) == PAIRS
    assert all((tmp_path / name).stat().st_mtime_ns == time for name, time in times.items())


@pytest.mark.parametrize("name", ["000001.arrow", "000004.arrow"])
def test_a_truncated_file_is_written_again(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    os.truncate(tmp_path / name, (tmp_path / name).stat().st_size // 2)
    with pytest.raises(ValueError, match=name):
        RecordTable(tmp_path, POOL_LAYOUT)
    assert write(tmp_path) == PAIRS
    assert RecordTable(tmp_path, POOL_LAYOUT) == PAIRS


@pytest.mark.parametrize("finished", [True, False])
def test_a_changed_bit_is_noticed(tmp_path: Path, finished: bool) -> None:
    write(tmp_path)
    if not finished:
        index = unseal(read_json(tmp_path / TOTAL))
        write_json(tmp_path / TOTAL, seal({**index, "rows": None}))
    file = tmp_path / "000001.arrow"
    content = bytearray(file.read_bytes())
    content[content.index(b"cat has 12")] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="000001.arrow" if finished else "unfinished"):
        RecordTable(tmp_path, POOL_LAYOUT)
    assert write(tmp_path) == PAIRS


def test_an_unfinished_table_cannot_be_opened(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / TOTAL).unlink()
    with pytest.raises(ValueError, match=TOTAL):
        RecordTable(tmp_path, POOL_LAYOUT)


def test_a_sample_drawn_from_files_is_the_one_drawn_in_memory(tmp_path: Path) -> None:
    settings = SampleSettings(size=30, seed=2)
    expected = draw_sample(PAIRS, ENTRIES, settings)
    drawn = draw_sample(write(tmp_path / "pool"), ENTRIES, settings, cache=tmp_path / "matches")
    assert drawn == expected
    save_sample(drawn, tmp_path)
    assert load_sample(tmp_path) == expected


def test_matches_are_reused_and_a_truncated_file_of_them_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, matched = SampleSettings(size=30, seed=2), []
    match = sample.Lexicon.matches
    monkeypatch.setattr(sample.Lexicon, "matches", lambda self, *texts: matched.append(1) or match(self, *texts))
    expected = draw_sample(PAIRS, ENTRIES, settings, cache=tmp_path)
    count = len(matched)
    assert draw_sample(PAIRS, ENTRIES, settings, cache=tmp_path) == expected
    assert len(matched) == count
    file = tmp_path / "de-8.npz"
    os.truncate(file, file.stat().st_size - 1)
    assert draw_sample(PAIRS, ENTRIES, settings, cache=tmp_path) == expected
    assert len(matched) == count + 8

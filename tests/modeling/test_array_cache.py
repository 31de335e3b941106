"""Arrays that are computed in parts: resumed, checked, shared between processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.modeling import tokenizer as tokenizer_module
from harness.modeling.array_cache import INDEX, Arrays, Progress, cached_arrays, cached_part
from harness.modeling.tokenizer import Tokenizer
from tests.support.tiny_encoder import tiny_tokenizer

TEXTS = [f"the cat number {n} sees the dog {n // 3}" for n in range(50)]
SENTENCES = [text.split() * (1 + n % 4) for n, text in enumerate(TEXTS)]


def part(number: int) -> Arrays:
    return {"values": np.arange(number * 10, number * 10 + number, dtype=np.int32), "sizes": np.array([[number, 1]])}


def counted(computed: list[int]) -> Callable[[int], Arrays]:
    def compute(number: int) -> Arrays:
        computed.append(number)
        return part(number)

    return compute


def die_at(folder: Path, number: int) -> None:
    def compute(current: int) -> Arrays:
        if current == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return part(current)

    cached_arrays(folder, 5, compute)


def equal(first: Arrays, second: Arrays) -> bool:
    return first.keys() == second.keys() and all(
        np.array_equal(array, second[name]) and array.dtype == second[name].dtype for name, array in first.items()
    )


def test_arrays_are_computed_once_and_memory_mapped(tmp_path: Path) -> None:
    computed: list[int] = []
    arrays = cached_arrays(tmp_path / "key", 5, counted(computed))
    assert equal(arrays, cached_arrays(None, 5, part))
    assert isinstance(arrays["values"], np.memmap)
    assert equal(arrays, cached_arrays(tmp_path / "key", 5, counted(computed)))
    assert computed == [0, 1, 2, 3, 4]
    assert sorted(path.name for path in (tmp_path / "key").iterdir()) == sorted([INDEX, "sizes", "values"])


def test_empty_arrays_can_be_opened(tmp_path: Path) -> None:
    arrays = cached_arrays(tmp_path / "key", 1, part)
    assert arrays["values"].shape == (0,)
    assert arrays["sizes"].tolist() == [[0, 1]]


def test_finished_parts_are_reused_after_a_kill(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=die_at, args=(tmp_path / "key", 3))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    computed: list[int] = []
    arrays = cached_arrays(tmp_path / "key", 5, counted(computed))
    assert computed == [3, 4]
    assert equal(arrays, cached_arrays(None, 5, part))


def test_a_truncated_part_is_computed_again(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=die_at, args=(tmp_path / "key", 3))
    process.start()
    process.join()
    file = tmp_path / "key.unfinished" / "part-000001.npz"
    os.truncate(file, file.stat().st_size - 20)
    computed: list[int] = []
    assert equal(cached_arrays(tmp_path / "key", 5, counted(computed)), cached_arrays(None, 5, part))
    assert computed == [1, 3, 4]


@pytest.mark.parametrize("name", ["values", INDEX])
def test_a_truncated_cache_is_computed_again(tmp_path: Path, name: str) -> None:
    cached_arrays(tmp_path / "key", 5, part)
    file = tmp_path / "key" / name
    os.truncate(file, file.stat().st_size - 4)
    computed: list[int] = []
    assert equal(cached_arrays(tmp_path / "key", 5, counted(computed)), cached_arrays(None, 5, part))
    assert computed == [0, 1, 2, 3, 4]


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    cached_arrays(tmp_path / "key", 5, part)
    file = tmp_path / "key" / "values"
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)
    assert equal(cached_arrays(tmp_path / "key", 5, part), cached_arrays(None, 5, part))


def test_any_changed_bit_of_the_index_or_of_a_part_is_noticed(tmp_path: Path) -> None:
    expected = cached_arrays(None, 5, part)
    cached_arrays(tmp_path / "key", 5, part)
    content = (tmp_path / "key" / INDEX).read_bytes()
    for place in range(0, len(content), 7):
        (tmp_path / "key" / INDEX).write_bytes(flipped(content, place))
        computed: list[int] = []
        assert equal(cached_arrays(tmp_path / "key", 5, counted(computed)), expected)
        assert computed, place
    file = tmp_path / "part.npz"
    cached_part(file, lambda: part(3))
    content = file.read_bytes()
    for place in range(0, len(content), 5):
        file.write_bytes(flipped(content, place))
        assert equal(cached_part(file, lambda: part(3)), part(3)), place


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]


def write_slowly(folder: Path, journal: Path) -> None:
    def compute(number: int) -> Arrays:
        with journal.open("a") as file:
            file.write(f"{number}\n")
        return part(number)

    cached_arrays(folder, 20, compute)


def test_one_of_several_processes_computes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write_slowly, args=(tmp_path / "key", tmp_path / "journal")) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert (tmp_path / "journal").read_text().split() == [str(number) for number in range(20)]


def test_tokens_do_not_depend_on_cache_or_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, cached = tiny_tokenizer(), Tokenizer(tiny_tokenizer().hf, tmp_path)
    expected = encodings(plain)
    monkeypatch.setattr(tokenizer_module, "BLOCK", 7)
    for tokenizer in (plain, cached, cached):
        for first, second in zip(expected, encodings(tokenizer), strict=True):
            assert equal(tokenizer_module._to_arrays(first), tokenizer_module._to_arrays(second))


def encodings(
    tokenizer: Tokenizer,
) -> list[tokenizer_module.Encoded | tokenizer_module.Offsets | tokenizer_module.Words]:
    return [
        tokenizer.encode(TEXTS, 8),
        tokenizer.encode_pairs(TEXTS, TEXTS[::-1], 12),
        tokenizer.encode_offsets(TEXTS, 9),
        tokenizer.encode_words(SENTENCES, 10),
        tokenizer.encode_words(SENTENCES, 10, 2),
        tokenizer.encode_words([], 8),
    ]


def test_a_piece_ends_in_its_separators_which_take_room_from_words() -> None:
    tokenizer = tiny_tokenizer()
    one, two = (tokenizer.encode_words(SENTENCES, 10, separators) for separators in (1, 2))
    for words, separators in ((one, 1), (two, 2)):
        pieces = [list(words.ids[number]) for number in range(len(words.ids))]
        assert all(piece[-separators:] == [tokenizer.sep_id] * separators for piece in pieces)
        assert all(piece.count(tokenizer.sep_id) == separators for piece in pieces)
        assert max(map(len, pieces)) == 10
    assert len(two.ids) >= len(one.ids)


def test_progress_shows_the_rate_of_this_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 20.0, 25.0, 100.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    progress = Progress("tokenizing", "texts", 2000)
    for done in (600, 700, 800, 1000):
        progress.advance(100, done)
    assert capsys.readouterr().err.splitlines() == [
        "tokenizing: 700 of 2,000 texts, 10/s, 2.2 min left",
        "tokenizing: 1,000 of 2,000 texts, 4/s, 4.2 min left",
    ]


def test_a_part_that_claims_to_be_shorter_is_computed_again(tmp_path: Path) -> None:
    file = tmp_path / "part.npz"
    cached_part(file, lambda: part(7))
    content = file.read_bytes()
    for place in (content.index(b"(7,)") + 1, content.rindex(b"sizes.npy"), content.rindex(b"PK")):
        for bit in range(8):
            file.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
            assert equal(cached_part(file, lambda: part(7)), part(7)), (place, bit)


def test_texts_of_equal_characters_have_caches_of_their_own(tmp_path: Path) -> None:
    plain, cached = tiny_tokenizer(), Tokenizer(tiny_tokenizer().hf, tmp_path)
    for texts in (["the cat\nsees", "a dog"], ["the cat", "sees\na dog"]):
        assert cached.encode(texts, 16).ids.offsets.tolist() == plain.encode(texts, 16).ids.offsets.tolist()

"""Text to token ids: one wrapper of a Hugging Face fast tokenizer, with a cache of memory-mapped arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from harness.code import code_hash
from harness.errors import UserError
from harness.files import text_digest
from harness.modeling.array_cache import Arrays, Progress, cached_arrays
from harness.modeling.graphemes import cover_graphemes
from harness.modeling.pretrained import loading_errors, pretrained

BLOCK = 16_384  # texts that are tokenized at once
_PROBE = "Ärger ÉTÉ e\u0301 ﬁ Ａ हिन्दी ภาษาไทย العَرَبِيَّة 한국어 你好"  # letter case, accents, marks, other forms
_CASED = 0.02  # share of entries with capitals from which a vocabulary is a cased one; 0.2 is usual


@dataclass(frozen=True, eq=False)
class Ragged:
    """Sequences of different length in one flat array: `flat` (N,), `offsets` (n + 1,)."""

    flat: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Ragged:
        lengths = [len(row) for row in rows]
        return cls.of_lengths(np.fromiter(chain.from_iterable(rows), np.int32, sum(lengths)), lengths)

    @classmethod
    def of_lengths(cls, flat: np.ndarray, lengths: Sequence[int] | np.ndarray) -> Ragged:
        return cls(flat, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> np.ndarray:
        return self.flat[self.offsets[i] : self.offsets[i + 1]]

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)


class Encoded(NamedTuple):
    """Tokenised texts: `ids` and `segments` per token, special tokens included; row i belongs to text i."""

    ids: Ragged
    segments: Ragged


class Offsets(NamedTuple):
    """Tokenised texts with the code points [start, end) that each token came from; (0, 0) for special tokens."""

    ids: Ragged
    starts: Ragged
    ends: Ragged


class Words(NamedTuple):
    """Tokenised sentences of words, split into pieces that fit: `sentence` and `first_word` place each piece;
    `first` marks the first subword of each word (its position in the piece, one row per piece)."""

    ids: Ragged
    first: Ragged
    sentence: np.ndarray
    first_word: np.ndarray


R = TypeVar("R", Encoded, Offsets, Words)


def _no_tokenizer(path: str | Path, found: str) -> UserError:
    return UserError(
        "no tokenizer can be loaded",
        file=str(path),
        found=found,
        expected="tokenizer.json or vocab.txt beside the weights",
        remedy="fetch the files of the tokenizer again",
    )


def _misreading(hf: Any, file: str | None) -> str | None:
    """How a tokenizer reads text otherwise than its encoder was trained to, or None; `file` is its tokenizer.json.

    transformers builds the tokenizers of BERT and its kin from the vocabulary and tokenizer_config.json, whose defaults
    lower-case the text and drop accents, which are the vowels of Hindi and Thai.
    """
    normalizer = hf.backend_tokenizer.normalizer
    if normalizer is not None and normalizer.normalize_str("A") == "a":
        words = hf.get_vocab().keys() - set(hf.all_special_tokens)
        capitals = sum(word != word.lower() for word in words)
        if capitals > _CASED * len(words):
            return f"text is lower-cased, but {capitals:,} of {len(words):,} entries of the vocabulary have capitals"
    if file is not None:
        own = type(hf.backend_tokenizer).from_file(file)
        own.no_truncation()
        own.no_padding()
        if own.encode(_PROBE).ids != hf(_PROBE).input_ids:
            return "tokenizer.json splits a text in another way than tokenizer_config.json says"
    return None


class Tokenizer:
    """A fast tokenizer and its special ids. With `cache`, each list of texts is tokenised once and memory-mapped."""

    def __init__(self, tokenizer: Any, cache: Path | None = None) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise UserError(
                "the tokenizer is not a fast one",
                found=type(tokenizer).__name__,
                expected="a tokenizer.json (offsets of words are needed)",
            )
        self.hf, self.cache = tokenizer, cache

    @classmethod
    def load(cls, path: str | Path, cache: Path | None = None) -> Tokenizer:
        from transformers import AutoTokenizer
        from transformers.utils import cached_file

        source = pretrained(path)
        with loading_errors(path, _no_tokenizer):
            hf = AutoTokenizer.from_pretrained(**source)
            hf("a \U0010ffff")  # a vocabulary that was cut short may lack the unknown token
            place, revision = source["pretrained_model_name_or_path"], source.get("revision")
            file = cached_file(place, "tokenizer.json", revision=revision, _raise_exceptions_for_missing_entries=False)
        if len(hf) <= len(hf.all_special_ids):  # what transformers makes where the vocabulary is missing
            raise _no_tokenizer(path, "no entry beside the special tokens")
        if getattr(hf, "is_fast", False) and (found := _misreading(hf, file)) is not None:
            raise UserError(
                "the tokenizer reads text otherwise than the encoder was trained to",
                file=str(path),
                found=found,
                expected="the letters and accents of the training",
                remedy="complete tokenizer_config.json: a cased base has do_lower_case false",
            )
        return cls(hf, cache)

    def check_frame(self, path: str | Path) -> None:
        """Raises UserError unless a text is put between [CLS] and [SEP]: windows, spans and poolings count on both."""
        ids = self.hf("a").input_ids
        if (ids[0], ids[-1]) != (self.cls_id, self.sep_id):
            found = f"{self.hf.convert_ids_to_tokens(ids)} for the text a"
            expected = f"{self.hf.cls_token} before a text and {self.hf.sep_token} after it"
            remedy = "give tokenizer.json the post-processor of the training"
            what = "the tokenizer does not add the special tokens"
            raise UserError(what, file=str(path), found=found, expected=expected, remedy=remedy)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        return frozenset(int(i) for i in self.hf.all_special_ids)

    @property
    def mask_id(self) -> int:
        return self._required("mask_token_id")

    @property
    def pad_id(self) -> int:
        return self._required("pad_token_id")

    @property
    def cls_id(self) -> int:
        return self._required("cls_token_id")

    @property
    def sep_id(self) -> int:
        return self._required("sep_token_id")

    @property
    def unk_id(self) -> int:
        return self._required("unk_token_id")

    def _required(self, name: str) -> int:
        value = getattr(self.hf, name)
        if value is None:
            raise UserError(f"the tokenizer has no {name.removesuffix('_id').replace('_', ' ')}")
        return int(value)

    @property
    def vocab_size(self) -> int:
        return len(self.hf)

    @cached_property
    def fingerprint(self) -> str:
        return text_digest(self.hf.backend_tokenizer.to_str())

    def encode(self, texts: Sequence[str], max_length: int) -> Encoded:
        """Single texts with their special tokens, truncated to `max_length` subwords."""

        def compute(rows: slice) -> Encoded:
            return self._encode(list(texts[rows]), None, max_length)

        return self._cached(("single", max_length), len(texts), lambda rows: texts[rows], compute, Encoded)

    def encode_pairs(self, first: Sequence[str], second: Sequence[str], max_length: int) -> Encoded:
        """Text pairs in one sequence, the longer side truncated first; `segments` is 1 on the second text."""
        if len(first) != len(second):
            raise ValueError(f"{len(first)} first texts, but {len(second)} second texts")

        def compute(rows: slice) -> Encoded:
            return self._encode(list(first[rows]), list(second[rows]), max_length)

        def read(rows: slice) -> Sequence[str]:
            return [*first[rows], "\0", *second[rows]]

        return self._cached(("pair", max_length), len(first), read, compute, Encoded)

    def encode_offsets(self, texts: Sequence[str], max_length: int) -> Offsets:
        """Single texts with the code points of each token, which cover a grapheme whole where no other token does."""

        def compute(rows: slice) -> Offsets:
            return self._encode_offsets(list(texts[rows]), max_length)

        return self._cached(("grapheme offsets", max_length), len(texts), lambda rows: texts[rows], compute, Offsets)

    def encode_words(self, sentences: Sequence[Sequence[str]], max_length: int, separators: int = 1) -> Words:
        """Sentences of words, cut into pieces of at most `max_length` subwords with specials, never inside a word. A
        piece ends in so many `separators`.

        XTREME's rule: a word that would overflow starts a new piece; a word with no subword, or with more than fit in a
        piece, becomes the unknown token.
        """

        def compute(rows: slice) -> Words:
            return self._encode_words(sentences[rows], rows.start, max_length, separators)

        def read(rows: slice) -> Sequence[str]:
            return [word for sentence in sentences[rows] for word in (str(len(sentence)), *sentence)]

        return self._cached(("words", max_length, separators), len(sentences), read, compute, Words)

    def _encode(self, first: list[str], second: list[str] | None, max_length: int) -> Encoded:
        if not first:
            return Encoded(Ragged.of([]), Ragged.of([]))
        out = self.hf(first, second, truncation="longest_first", max_length=max_length, return_token_type_ids=True)
        # Segments: 0 up to and including the separator after the first text, 1 for the second and what follows it.
        segments = [list(accumulate((s or 0 for s in e.sequence_ids), max)) for e in out.encodings]
        return Encoded(Ragged.of([e.ids for e in out.encodings]), Ragged.of(segments))

    def _encode_offsets(self, texts: list[str], max_length: int) -> Offsets:
        # Without `verbose=False` a text longer than the model reads is warned about, whoever cuts it into windows.
        out = self.hf(
            texts,
            truncation=True,
            max_length=max_length,
            verbose=False,
            return_token_type_ids=False,
            return_attention_mask=False,
        ).encodings
        ids = Ragged.of([e.ids for e in out])
        numbers = chain.from_iterable(chain.from_iterable(e.offsets for e in out))
        starts, ends = np.fromiter(numbers, np.int32, 2 * len(ids.flat)).reshape(-1, 2).T.copy()
        offsets = Offsets(ids, Ragged(starts, ids.offsets), Ragged(ends, ids.offsets))
        for row, text in enumerate(texts):
            cover_graphemes(text, offsets.starts[row], offsets.ends[row])
        return offsets

    def _encode_words(self, sentences: Sequence[Sequence[str]], start: int, max_length: int, separators: int) -> Words:
        """The pieces of these sentences, the first of which has the number `start`."""
        vocabulary = sorted({w for s in sentences for w in s})
        bare = self.hf(vocabulary, add_special_tokens=False, verbose=False).input_ids if vocabulary else []
        room = max_length - self.hf.num_special_tokens_to_add() - (separators - 1)
        subwords = {
            word: ids if 0 < len(ids) <= room else [self.unk_id] for word, ids in zip(vocabulary, bare, strict=True)
        }
        ids, first, sentence, first_word = [], [], [], []
        for number, words in enumerate(sentences, start):
            for first_of_piece, piece in _pieces([subwords[w] for w in words], room):
                flat, marks = [self.cls_id], []
                for word in piece:
                    marks.append(len(flat))
                    flat.extend(word)
                ids.append([*flat, *[self.sep_id] * separators])
                first.append(marks)
                sentence.append(number)
                first_word.append(first_of_piece)
        return Words(Ragged.of(ids), Ragged.of(first), np.array(sentence, np.int64), np.array(first_word, np.int64))

    def _cached(
        self,
        kind: tuple[str | int, ...],
        count: int,
        read: Callable[[slice], Sequence[str]],
        compute: Callable[[slice], R],
        record: type[R],
    ) -> R:
        """The record of `count` texts, computed in blocks; `read` gives the texts of a block, which name the cache."""
        blocks = [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)] or [slice(0, 0)]
        progress = Progress("tokenizing", "texts", count)

        def compute_block(number: int) -> Arrays:
            arrays = _to_arrays(compute(blocks[number]))
            progress.advance(blocks[number].stop - blocks[number].start, blocks[number].stop)
            return arrays

        folder = None
        if self.cache is not None:
            digest = hashlib.sha256(repr((kind, self.fingerprint, code_hash(__name__))).encode())
            for block in blocks:
                for text in read(block):
                    content = text.encode("utf-8", "surrogatepass")
                    digest.update(b"%d:" % len(content) + content)  # a text may hold any separator
            folder = self.cache / digest.hexdigest()
        arrays = cached_arrays(folder, len(blocks), compute_block)
        values: Any = (
            arrays[name] if name in arrays else Ragged.of_lengths(arrays[f"{name}.flat"], arrays[f"{name}.lengths"])
            for name in record._fields
        )
        return record(*values)


def _pieces(words: Sequence[Sequence[int]], room: int) -> list[tuple[int, list[Sequence[int]]]]:
    """Groups consecutive words into pieces of at most `room` subwords: (number of the first word, its words)."""
    pieces: list[tuple[int, list[Sequence[int]]]] = [(0, [])]
    used = 0
    for number, word in enumerate(words):
        if pieces[-1][1] and used + len(word) > room:
            pieces.append((number, []))
            used = 0
        pieces[-1][1].append(word)
        used += len(word)
    return pieces


def _to_arrays(record: Encoded | Offsets | Words) -> Arrays:
    """Arrays that are joined by appending: of a ragged field its values and the lengths of its rows."""
    arrays: dict[str, np.ndarray] = {}
    for name, value in record._asdict().items():
        if isinstance(value, Ragged):
            arrays |= {f"{name}.flat": value.flat, f"{name}.lengths": value.lengths}
        else:
            arrays[name] = value
    return arrays

"""Dictionary entries as subwords, for methods that use words without a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from harness.data.matching import character_kind
from harness.errors import UserError
from harness.method import Corpora
from harness.modeling.tokenizer import Tokenizer
from harness.records import Corpus

Pieces = tuple[int, ...]
BLANK, BYTES_BLANK = "▁", "Ġ"  # marks of a word's first subword in SentencePiece, and in byte-level BPE


class SubwordEntry(NamedTuple):
    """A pivot word and a translation of it in `language`, both as subwords without special tokens."""

    language: str
    source: Pieces
    target: Pieces


def subword_entries(corpora: Corpora, *, single: bool) -> list[SubwordEntry]:
    """The entries of the dictionary as subwords, without duplicates, in the order of the dictionary.

    Entries with a character that the vocabulary lacks are skipped, and entries of equal subwords; with `single`, also
    those of several subwords on either side. Raises UserError where none is left.
    """
    records: Any = corpora.records(Corpus.DICTIONARY)
    words = list(dict.fromkeys(word for record in records for word in (record.source, record.target)))
    pieces = dict(zip(words, _pieces(words, corpora.tokenizer, corpora.max_length), strict=True))
    unique = dict.fromkeys(SubwordEntry(r.language, pieces[r.source], pieces[r.target]) for r in records)
    kept = [e for e in unique if e.source and e.target and e.source != e.target]
    if single:
        kept = [e for e in kept if len(e.source) == len(e.target) == 1]
    if not kept:
        raise UserError(
            "the dictionary has no entry that this tokenizer can use",
            found=f"{len(records)} entries",
            expected="an entry of one subword on each side" if single else "an entry of known subwords",
            remedy="give a dictionary of the sample's languages, or a tokenizer with a larger vocabulary",
        )
    return kept


def sample_share(entries: Sequence[SubwordEntry], share: float) -> list[SubwordEntry]:
    """The entries of a random share of the pivot's words, at least one word; drawn by torch's generator."""
    words: list[Pieces] = list(dict.fromkeys(entry.source for entry in entries))
    if share == 1:
        return list(entries)
    order = torch.randperm(len(words)).tolist()
    kept = {words[i] for i in order[: max(1, round(share * len(words)))]}
    return [entry for entry in entries if entry.source in kept]


def continues_word(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """(V,) bool: the subwords that continue a word. Special tokens do not.

    SentencePiece marks none between blanks: there punctuation, and what is written without blanks, begin anew.
    """
    pieces: list[str] = tokenizer.hf.convert_ids_to_tokens(range(tokenizer.vocab_size))
    if any(piece.startswith("##") for piece in pieces):
        marks = np.array([piece.startswith("##") for piece in pieces])
    elif any(piece.startswith(BLANK) for piece in pieces):
        marks = np.array([piece != BLANK and character_kind(piece[0]) in ("word", "mark") for piece in pieces])
    else:
        marks = np.array([not piece.startswith(BYTES_BLANK) for piece in pieces])
    marks[sorted(i for i in tokenizer.special_ids if i < len(marks))] = False
    return marks


def _pieces(words: Sequence[str], tokenizer: Tokenizer, max_length: int) -> list[Pieces]:
    """The subwords of each word; an empty tuple where a character is unknown.

    A blank of its own, which SentencePiece writes before a word of a script without blanks, is no part of the word.
    """
    rows = tokenizer.encode(words, max_length).ids
    left_out = {*tokenizer.special_ids, tokenizer.hf.convert_tokens_to_ids(BLANK)}
    known = (rows[i].tolist() for i in range(len(words)))
    return [() if tokenizer.unk_id in ids else tuple(i for i in ids if i not in left_out) for ids in known]

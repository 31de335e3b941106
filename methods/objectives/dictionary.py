"""Dictionary entries as subwords, for methods that use a word apart from any sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from harness.errors import UserError
from harness.method import Corpora
from harness.modeling.tokenizer import Tokenizer
from harness.records import Corpus

Pieces = tuple[int, ...]
WORD_STARTS = ("▁", "Ġ")  # how a piece that opens a word is marked outside of WordPiece


class Entry(NamedTuple):
    """A pivot word and a translation of it in `language`, both as subwords without special tokens."""

    language: str
    source: Pieces
    target: Pieces


def entries(corpora: Corpora, *, single: bool) -> list[Entry]:
    """The dictionary's entries in subwords, each once, in the dictionary's order.

    Left out are entries with a character that the vocabulary lacks and entries of equal subwords; with `single`, also
    those of more than one subword on either side. Raises UserError where none is left.
    """
    records: Any = corpora.records(Corpus.DICTIONARY)
    words = list(dict.fromkeys(word for record in records for word in (record.source, record.target)))
    pieces = dict(zip(words, _pieces(words, corpora.tokenizer, corpora.max_length), strict=True))
    found = dict.fromkeys(Entry(r.language, pieces[r.source], pieces[r.target]) for r in records)
    kept = [e for e in found if e.source and e.target and e.source != e.target]
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


def share_of(found: Sequence[Entry], share: float) -> list[Entry]:
    """The entries of a share of the pivot's words, drawn by torch's generator: at least one word's."""
    words: list[Pieces] = list(dict.fromkeys(entry.source for entry in found))
    if share == 1:
        return list(found)
    order = torch.randperm(len(words)).tolist()
    kept = {words[i] for i in order[: max(1, round(share * len(words)))]}
    return [entry for entry in found if entry.source in kept]


def continuing(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """(V,) the subwords that go on with the word of the one before; special ones never do."""
    pieces: list[str] = tokenizer.hf.convert_ids_to_tokens(range(tokenizer.vocab_size))
    if any(piece.startswith("##") for piece in pieces):
        marks = np.array([piece.startswith("##") for piece in pieces])
    else:
        marks = np.array([not piece.startswith(WORD_STARTS) for piece in pieces])
    marks[sorted(i for i in tokenizer.special_ids if i < len(marks))] = False
    return marks


def _pieces(words: Sequence[str], tokenizer: Tokenizer, max_length: int) -> list[Pieces]:
    """Each word's subwords; none where a character is unknown."""
    rows = tokenizer.encode(words, max_length).ids
    known = (rows[i].tolist() for i in range(len(words)))
    return [() if tokenizer.unk_id in ids else tuple(i for i in ids if i not in tokenizer.special_ids) for ids in known]

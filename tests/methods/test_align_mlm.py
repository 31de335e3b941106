"""ALIGN-MLM pulls dictionary words together in the embeddings, and nothing else, whatever the batch holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from harness.errors import UserError
from harness.modeling.tokenizer import Tokenizer
from harness.records import Corpus, DictionaryEntry
from methods.objectives.dictionary import continues_word, subword_entries
from methods.objectives.word_vectors import WordFinder
from tests.support.small_babel import Trial, corpora, encoder, isolated, method_class
from validation.probes.words import align_mlm

NAME = "align-mlm"


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


class Listed:
    """Corpora with a dictionary of one's own."""

    def __init__(self, *words: tuple[str, str]) -> None:
        self.inner = corpora(method_class(NAME))
        self.words = [DictionaryEntry("qab", source, target) for source, target in words]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def records(self, kind: Corpus) -> list[DictionaryEntry]:
        return self.words


def subwords(reads: Any, word: str) -> list[int]:
    ids: list[int] = reads.tokenizer.hf(word, add_special_tokens=False).input_ids
    return ids


def expected(trial: Trial, single: bool) -> list[float]:
    """The cosine of every entry, one after the other."""
    reads = corpora(type(trial.method))
    table = trial.encoder.input_embeddings.detach().double()
    seen, cosines = set(), []
    for entry in reads.records(Corpus.DICTIONARY):
        a, b = (subwords(reads, word) for word in (entry.source, entry.target))
        unknown = reads.tokenizer.unk_id in a + b
        if unknown or a == b or (single and len(a) + len(b) > 2) or (tuple(a), tuple(b)) in seen:
            continue
        seen.add((tuple(a), tuple(b)))
        u, v = (sum(table[i] for i in ids) / len(ids) for ids in (a, b))
        cosines.append(float((u * v).sum() / math.sqrt(float((u * u).sum() * (v * v).sum()))))
    return cosines


@pytest.mark.parametrize("words", ["single", "mean"])
@torch.no_grad()
def test_the_term_is_the_mean_cosine_of_the_whole_dictionary(words: str) -> None:
    trial = Trial(NAME, dropout=0.0, words=words)
    trial.step.double()
    cosines = expected(trial, words == "single")
    term = trial.method.loss(trial.encoder, trial.batch(4), 0)["align"]
    assert term.count == len(cosines) > 5
    assert float(term.sum / term.count) == pytest.approx(-sum(cosines) / len(cosines), rel=1e-9)
    assert term.weight == 10


def test_the_term_is_independent_of_the_batch_and_changes_only_dictionary_embeddings() -> None:
    trial = Trial(NAME, dropout=0.0)
    one, other = (trial.method.loss(trial.encoder, trial.batch(4, seed), 0)["align"] for seed in (0, 1))
    assert torch.equal(one.sum, other.sum)
    one.sum.backward()
    touched = [name for name, p in trial.encoder.named_parameters() if p.grad is not None and p.grad.any()]
    assert touched == ["model.bert.embeddings.word_embeddings.weight"]
    rows = set(trial.encoder.input_embeddings.grad.abs().sum(1).nonzero().squeeze(1).tolist())
    assert rows == set(trial.method.flat.tolist())


def test_a_share_selects_some_of_the_words() -> None:
    torch.manual_seed(5)
    whole, half = Trial(NAME), Trial(NAME, share=0.5)
    sources = [set(t.method.flat[t.method.pairs[:, 0]].tolist()) for t in (whole, half)]
    assert sources[1] < sources[0]
    assert len(sources[1]) == round(len(sources[0]) / 2)


def test_a_dictionary_without_a_single_subword_on_both_sides_is_refused() -> None:
    long = "zz" * 9
    for words in ((long, long[1:]), ("same", "same"), ("漢", "字")):
        with pytest.raises(UserError, match="no entry that this tokenizer can use"):
            subword_entries(Listed(words), single=True)  # type: ignore[arg-type]
    assert len(subword_entries(Listed((long, long[1:])), single=False)) == 1  # type: ignore[arg-type]


def test_a_method_that_does_not_need_the_dictionary_cannot_read_it() -> None:
    method = method_class(NAME)()
    reads = replace(corpora(method_class(NAME)), needs=frozenset({Corpus.PARALLEL}))
    with pytest.raises(UserError, match="without declaring it"):
        method.build(encoder(), reads)


def test_continuing_pieces_are_recognised() -> None:
    tokenizer = corpora(method_class(NAME)).tokenizer
    marks = continues_word(tokenizer)
    pieces = tokenizer.hf.convert_ids_to_tokens(range(len(marks)))
    assert [p for p, mark in zip(pieces, marks, strict=True) if mark] == [p for p in pieces if p[:2] == "##"]


def test_words_of_sentencepiece_end_at_punctuation_and_in_scripts_without_blanks() -> None:
    pieces = ["<s>", "</s>", "<unk>", "▁", "▁the", "▁moon", *"moe,你好世界"]
    fast = FastTokenizer(models.Unigram([(piece, -float(len(pieces) > 6)) for piece in pieces], unk_id=2))
    fast.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    ends = [("<s>", 0), ("</s>", 1)]
    fast.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    names = {"cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>"}
    tokenizer = Tokenizer(PreTrainedTokenizerFast(tokenizer_object=fast, **names))
    ids = tokenizer.encode(["the moon, 你好 oem"], 32).ids[0]
    found = [
        tokenizer.hf.convert_ids_to_tokens(ids[slice(*span)].tolist()) for span in WordFinder(tokenizer).words(ids)
    ]
    assert found == [["▁the"], ["▁moon"], [","], ["▁", "你"], ["好"], ["▁", "o", "e", "m"]]
    reads = Listed(("moon", "世"), ("the", "世界"))
    reads.inner = replace(reads.inner, tokenizer=tokenizer)
    kept = subword_entries(reads, single=True)  # type: ignore[arg-type]
    assert [tokenizer.hf.convert_ids_to_tokens(entry.target) for entry in kept] == [["世"]], "as inside a sentence"


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_translations_become_nearest_neighbours(seed: int) -> None:
    found = align_mlm(seed)
    assert found["seen"] > found["seen_base"] + 20
    assert found["held_out"] > max(found["held_out_base"], found["held_out_without"])

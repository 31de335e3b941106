"""DICT-MLM asks for translations of masked words, in the language that it is told, and of whole words alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForMaskedLM

from harness.errors import UserError
from harness.records import Corpus
from tests.support.small_babel import Trial, corpora, isolated, method_class
from validation.probes.words import dict_mlm

NAME = "dict-mlm"


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


def collated(trial: Trial, size: int = 48, seed: int = 0) -> Any:
    return trial.method.collate([trial.examples[i] for i in range(size)], np.random.default_rng(seed))


def meanings() -> dict[tuple[str, str], set[tuple[str, str]]]:
    """The translations of (language, word), as (language, word)."""
    reads = corpora(method_class(NAME))
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for entry in reads.records(Corpus.DICTIONARY):
        pivot, foreign = ("qaa", entry.source), (entry.language, entry.target)
        found.setdefault(pivot, set()).add(foreign)
        found.setdefault(foreign, set()).add(pivot)
    return found


def places(trial: Trial, batch: Any, examples: int) -> list[tuple[str, str, str]]:
    """For each masked position: its language, its word where that is one subword (else ""), and the subword."""
    original = collated_plain(trial, examples)
    tokenizer = trial.method.tokenizer.hf
    pieces = tokenizer.convert_ids_to_tokens(original.ids.tolist())
    languages = ["qaa"] * examples + [trial.examples[i].language for i in range(examples)]
    owner = original.layout.owner.tolist()
    found = []
    for place in batch["positions"].tolist():
        whole = pieces[place][:2] != "##" and pieces[place + 1][:2] != "##"
        found.append((languages[owner[place]], pieces[place] if whole else "", pieces[place]))
    return found


def collated_plain(trial: Trial, examples: int) -> Any:
    plain = Trial("continued-mlm")
    batch = super(type(plain.method), plain.method).collate(
        [trial.examples[i] for i in range(examples)], np.random.default_rng(0)
    )
    return batch["text"]


def test_labels_are_the_word_or_its_translation_in_the_given_language() -> None:
    trial, known = Trial(NAME, exchange_rate=1.0), meanings()
    batch = collated(trial)
    codes = {number: code for code, number in trial.method.numbers.items()}
    told = [codes[n] for n in batch["languages"].tolist()]
    words = trial.method.tokenizer.hf.convert_ids_to_tokens(batch["labels"].tolist())
    exchanged = 0
    for (language, word, piece), code, label in zip(places(trial, batch, 48), told, words, strict=True):
        if label == piece:
            assert code == language
        else:
            assert (code, label) in known[language, word]
            exchanged += 1
    assert exchanged > 5


def test_the_input_is_that_of_masked_lm_and_without_exchange_so_is_the_loss() -> None:
    trial, plain = Trial(NAME, dropout=0.0, exchange_rate=0.0), Trial("continued-mlm", dropout=0.0)
    ours, theirs = collated(trial), collated(plain)
    assert torch.equal(ours["text"].ids, theirs["text"].ids)
    assert torch.equal(ours["labels"], theirs["labels"])
    assert torch.equal(trial.loss(ours), plain.loss(theirs)), "the vectors are zero at first"
    half = collated(Trial(NAME, dropout=0.0))
    assert torch.equal(half["text"].ids, theirs["text"].ids)


def test_half_of_the_dictionary_words_are_exchanged_uniformly_over_languages() -> None:
    trial = Trial(NAME)
    all_, half = (Trial(NAME, exchange_rate=rate) for rate in (1.0, 0.5))
    changed = []
    for of in (all_, half):
        rounds = [collated(of, seed=seed) for seed in range(12)]
        plain = [collated(Trial("continued-mlm"), seed=seed) for seed in range(12)]
        changed.append(sum(int((a["labels"] != b["labels"]).sum()) for a, b in zip(rounds, plain, strict=True)))
    assert 0.35 < changed[1] / changed[0] < 0.65
    word = max((k for k in trial.method.translations if k[0] == 0), key=lambda k: len(trial.method.translations[k]))
    ids, rng = np.array([word[1], trial.method.tokenizer.sep_id]), np.random.default_rng(0)
    numbers = np.zeros(2, dtype=np.int64)
    drawn = Counter(trial.method.draw_exchanges(ids, numbers, np.array([0]), rng)[0].language for _ in range(600))
    share = 600 / len(trial.method.translations[word])
    assert set(drawn) == set(trial.method.translations[word])
    assert all(0.6 * share < count < 1.4 * share for count in drawn.values())


def test_a_replaced_input_keeps_its_label_and_changes_language() -> None:
    trial, known = Trial(NAME, variant="replaced-input", exchange_rate=1.0), meanings()
    batch, original = collated(trial), collated_plain(trial, 48)
    codes = {number: code for code, number in trial.method.numbers.items()}
    pieces = trial.method.tokenizer.hf.convert_ids_to_tokens(batch["text"].ids.tolist())
    assert torch.equal(batch["labels"], original.ids[batch["positions"]])
    exchanged = 0
    for (language, word, piece), place in zip(places(trial, batch, 48), batch["positions"].tolist(), strict=True):
        shown, code = pieces[place], codes[int(batch["languages"][place])]
        if shown == piece:
            assert code == language
        else:
            assert (code, shown) in known[language, word]
            exchanged += 1
    assert exchanged > 5
    assert "[MASK]" not in pieces, "a word that the dictionary lacks stays as it is"


@torch.no_grad()
def test_the_loss_adds_the_vector_of_the_language_before_the_head(tmp_path: Path) -> None:
    trial = Trial(NAME, dropout=0.0)
    torch.nn.init.normal_(trial.method.languages)
    batch = trial.batch(5)
    trial.encoder.save(tmp_path)
    model = AutoModelForMaskedLM.from_pretrained(tmp_path, dtype=torch.float64, attn_implementation="eager").eval()
    trial.step.double()
    rows = [model.bert(ids[None]).last_hidden_state[0] for ids in batch["text"].ids.split(batch["text"].lengths)]
    hidden, losses = torch.cat(rows), []
    for place, label, number in zip(*(batch[n].tolist() for n in ("positions", "labels", "languages")), strict=True):
        logits = model.cls(hidden[place] + trial.method.languages[number])
        losses.append(math.log(sum(math.exp(float(v)) for v in logits)) - float(logits[label]))
    assert float(trial.loss(batch)) == pytest.approx(np.mean(losses), rel=1e-5)  # logits are rounded to float32


@torch.no_grad()
def test_the_loss_of_the_other_variant_adds_the_vectors_to_the_embeddings(tmp_path: Path) -> None:
    trial = Trial(NAME, dropout=0.0, variant="replaced-input")
    torch.nn.init.normal_(trial.method.languages)
    batch = trial.batch(5)
    trial.encoder.save(tmp_path)
    model = AutoModelForMaskedLM.from_pretrained(tmp_path, dtype=torch.float64, attn_implementation="eager").eval()
    trial.step.double()
    lengths, states = batch["text"].lengths, []
    for ids, numbers in zip(batch["text"].ids.split(lengths), batch["languages"].split(lengths), strict=True):
        words = model.bert.embeddings.word_embeddings.weight[ids] + trial.method.languages[numbers]
        states.append(model.bert(inputs_embeds=words[None]).last_hidden_state[0])
    hidden, losses = torch.cat(states), []
    for place, label in zip(batch["positions"].tolist(), batch["labels"].tolist(), strict=True):
        logits = model.cls(hidden[place])
        losses.append(math.log(sum(math.exp(float(v)) for v in logits)) - float(logits[label]))
    assert float(trial.loss(batch)) == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_dictionary_of_long_words_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("methods.objectives.dictionary._pieces", lambda words, *rest: [(1, 2)] * len(words))
    with pytest.raises(UserError, match="no entry that this tokenizer can use"):
        Trial(NAME)


def test_unknown_variants_are_refused() -> None:
    with pytest.raises(ValidationError, match="translated-label"):
        method_class(NAME).Config(variant="both")


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_translations_of_masked_words_become_probable(seed: int) -> None:
    found = dict_mlm(seed)
    assert found["translation"] > max(found["base"], found["continued"]) + 1

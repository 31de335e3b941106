"""XLM-K: mentions and descriptions across languages, the two memories, and entities that were never read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_passes import Plain, masked_mean
from small_world import Trial, alone, corpora

from benchmarks.probes.xlm_k import probe
from harness.errors import UserError
from harness.records import Corpus, Entity
from methods.xlm_k import XLMK, by_entity


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with alone():
        yield


def entities() -> list[Any]:
    return list(corpora(XLMK).records(Corpus.ENTITIES))


def test_descriptions_are_of_the_same_entity_in_another_language() -> None:
    trial, records = Trial("xlm-k"), entities()
    groups = by_entity(records)
    assert sum(map(len, groups)) == len(records)
    assert all(len({record.language for record in group}) == len(group) for group in groups)
    tokens = trial.method.tokenizer.hf
    flat = [record for group in groups for record in group]
    assert len(trial.examples) == len(flat)
    for record, example in zip(flat[:20], trial.examples, strict=False):
        group = groups[example.entity]
        assert record in group
        name = tokens(record.mention[slice(*record.span)], add_special_tokens=False).input_ids
        assert example.mention[slice(*example.span)].tolist() == name
        others = [r.description for r in group if r.language != record.language]
        assert [ids.tolist() for ids in example.descriptions] == tokens(others).input_ids


def test_a_mention_is_masked_as_a_whole_or_not_at_all() -> None:
    for rate in (0.0, 1.0):
        trial = Trial("xlm-k", mention_mask_rate=rate, mask_rate=1e-9)
        batch, mask = trial.batch(8), trial.method.tokenizer.mask_id
        for i, start in enumerate(batch["text"].starts):
            a, b = trial.examples[i].span
            masked = (batch["text"].ids[start + a : start + b] == mask).tolist()
            assert all(masked) if rate else sum(masked) <= 1  # masked LM takes one token of the batch in any case
            assert int(batch["mentions"][i]) == start + a


def test_the_loss_is_that_of_the_paper(tmp_path: Path) -> None:
    trial = Trial("xlm-k", dropout=0.0, temperature=0.2, queue=10, word_weight=0.5, document_weight=2.0)
    run = trial.run(batch=4)
    for _ in range(2):  # 8 of the 10 places of either memory are taken
        run.step()
    trial.step.eval()
    batch = trial.batch(5, seed=3)
    batch["entities"][1] = batch["entities"][0]  # two mentions of one entity
    plain = Plain(trial.encoder, tmp_path)
    contexts, described = plain.passes(batch["text"]), plain.passes(batch["descriptions"])
    trial.step.double()
    with torch.no_grad():
        terms = trial.method.loss(trial.encoder, batch, 0)
        means = {name: float(term.sum / term.count) for name, term in terms.items()}
        places = [int(p) - s for p, s in zip(batch["mentions"], batch["text"].starts, strict=True)]
        words = [
            _headed(trial.method.word_head, out.hidden_states[-1][0, place])
            for out, place in zip(contexts, places, strict=True)
        ]
        documents = [_headed(trial.method.document_head, out.hidden_states[-1][0, 0]) for out in described]
    assert {name: term.weight for name, term in terms.items()} == {"mlm": 1.0, "words": 0.5, "documents": 2.0}
    expected = masked_mean(contexts, batch["text"], batch["positions"], batch["labels"])
    assert means["mlm"] == pytest.approx(expected, rel=1e-5)
    numbers = batch["entities"].tolist()
    memory = trial.method.remembered.keys[:8, 0].int().tolist()
    for name, asking, asked, kept in (
        ("words", words, documents, trial.method.documents),
        ("documents", documents, words, trial.method.words),
    ):
        past = [(number, key) for number, key in zip(memory, kept.keys[:8].numpy(), strict=True)]
        total = _info_nce(asking, asked, numbers, past) + _info_nce(asked, asking, numbers, past)
        assert means[name] == pytest.approx(total / 10, rel=1e-9)


def _headed(head: Any, state: torch.Tensor) -> np.ndarray:
    return np.asarray(head[2].weight @ torch.clamp(head[0].weight @ state, min=0))


def _info_nce(asking: list[Any], asked: list[Any], numbers: list[int], past: list[tuple[int, Any]]) -> float:
    """Summed over anchors: against the rest of both lists and the past, without their own entity."""
    total = 0.0
    for i, anchor in enumerate(asking):
        others = [(number, v) for vectors in (asking, asked) for number, v in zip(numbers, vectors, strict=True)]
        others = [v for number, v in [*others, *past] if number != numbers[i]]
        scores = [math.exp(_cosine(anchor, v) / 0.2) for v in (asked[i], *others)]
        total -= math.log(scores[0] / sum(scores))
    return total


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def test_memory_holds_the_last_vectors_with_their_entities() -> None:
    trial = Trial("xlm-k", queue=10)
    run = trial.run(batch=4)
    seen = []
    collate = trial.method.collate

    def watched(examples: Any, rng: Any) -> Any:
        seen.extend(example.entity for example in examples)
        return collate(examples, rng)

    run.collate = watched
    for _ in range(4):
        run.step()
    kept = trial.method.remembered.keys[:, 0].int().tolist()
    assert sorted(kept) == sorted(seen[-10:])
    assert kept[:6] == seen[10:16]
    assert trial.method.words.keys.any(1).all()
    assert not trial.method.words.keys.requires_grad


def test_each_contrast_reaches_both_heads_and_not_the_language_model_head() -> None:
    for name in ("words", "documents"):
        trial = Trial("xlm-k")
        trial.method.loss(trial.encoder, trial.batch(), 0)[name].sum.backward()
        assert trial.method.word_head[0].weight.grad.any()
        assert trial.method.document_head[0].weight.grad.any()
        assert trial.encoder.blocks[0].attention.self.query.weight.grad.any()
        assert trial.encoder.model.cls.predictions.transform.dense.weight.grad is None


def test_entities_in_one_language_are_refused() -> None:
    class OneLanguage:
        tokenizer, max_length = corpora(XLMK).tokenizer, 48

        def records(self, kind: Corpus) -> list[Entity]:
            one = next(record for record in entities() if record.language == "qab")
            return [one, replace(one, id="entity-qab-other")]

    with pytest.raises(UserError, match=r"described in two languages\n.*2 records in 1 languages"):
        XLMK().examples(OneLanguage())  # type: ignore[arg-type]


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_unread_entities_are_found_across_languages(seed: int) -> None:
    seen = probe(seed)
    assert seen["descriptions"] > 2 * seen["chance"], seen
    assert seen["mentions"] > max(seen["base_mentions"], seen["mentions_without"]) + 0.05, seen

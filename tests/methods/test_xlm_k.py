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

from harness.errors import UserError
from harness.records import Corpus, Entity, Relation
from methods.objectives.entities import EntityExample, group_by_entity
from methods.xlm_k import XLMK
from tests.support.reference_encoder import ReferenceEncoder, masked_mean
from tests.support.small_babel import Trial, corpora, isolated
from validation.probes.entities import xlm_k


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


def entities() -> list[Any]:
    return list(corpora(XLMK).records(Corpus.ENTITIES))


def distant(trial: Trial, count: int) -> list[EntityExample]:
    """Examples of as many entities, in several languages, with facts and short enough to be joined whole."""
    found: dict[int, EntityExample] = {}
    for i, example in enumerate(trial.examples):
        if example.facts and len(example.description) <= trial.method.max_side_length and i % 8 == len(found) % 8:
            found.setdefault(example.entity, example)
    return list(found.values())[:count]


def test_descriptions_are_of_the_same_entity_in_another_language() -> None:
    trial, records = Trial("xlm-k"), entities()
    groups = group_by_entity(records)
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
        assert [ids.tolist() for ids in example.translations] == tokens(others).input_ids
        assert example.description.tolist() == tokens(record.description).input_ids


def test_facts_have_the_descriptions_of_the_object_in_another_language() -> None:
    trial, records = Trial("xlm-k"), entities()
    groups = group_by_entity(records)
    tokens = trial.method.tokenizer.hf
    flat = [record for group in groups for record in group]
    told = 0
    for record, example in zip(flat, trial.examples, strict=True):
        assert len(example.facts) == len(record.relations)
        for relation, fact in zip(record.relations, example.facts, strict=True):
            assert fact.relation.tolist() == tokens(relation.name).input_ids
            group = groups[fact.object]
            assert {r.entity for r in group} == {relation.object}
            others = [r.description for r in group if r.language != record.language]
            assert [ids.tolist() for ids in fact.descriptions] == tokens(others).input_ids
            told += 1
    assert told > len(flat) / 4


def test_a_batch_has_one_fact_of_each_entity_with_facts() -> None:
    trial = Trial("xlm-k")
    chosen = [trial.examples[0]._replace(facts=()), *distant(trial, 8)]
    batch = trial.method.collate(chosen, np.random.default_rng(0))
    asked = [e for e in chosen if e.facts]
    assert 0 < len(asked) < len(chosen)
    subjects = [ids.tolist() for ids in batch["subjects"].ids.split(batch["subjects"].lengths)]
    described = [ids.tolist() for ids in batch["descriptions"].ids.split(batch["descriptions"].lengths)]
    objects = batch["objects"].tolist()
    assert len(described) == len(chosen) + len(asked)
    for example, subject, target, answer in zip(asked, subjects, objects, described[len(chosen) :], strict=True):
        told = [[*example.description.tolist(), *fact.relation[1:].tolist()] for fact in example.facts]
        assert subject in told
        fact = example.facts[told.index(subject)]
        assert target == fact.object
        assert answer in [ids.tolist() for ids in fact.descriptions]


def test_without_facts_the_other_terms_are_trained() -> None:
    trial = Trial("xlm-k", dropout=0.0)
    chosen = [example._replace(facts=()) for example in distant(trial, 6)]
    batch = trial.method.collate(chosen, np.random.default_rng(0))
    terms = trial.method.loss(trial.encoder, batch, 0)
    assert (terms["entailment"].sum.item(), terms["entailment"].count) == (0.0, 0.0)
    sum(term.sum for term in terms.values()).backward()
    assert trial.method.subject_head[0].weight.grad is None
    assert trial.method.word_head[0].weight.grad.any()
    assert all(p.grad is None or p.grad.isfinite().all() for p in trial.step.parameters())


def test_a_mention_is_masked_as_a_whole_or_not_at_all() -> None:
    for rate in (0.0, 1.0):
        trial = Trial("xlm-k", mention_mask_rate=rate, mask_rate=1e-9)
        batch, mask = trial.batch(8), trial.method.tokenizer.mask_id
        for i, start in enumerate(batch["text"].starts):
            a, b = trial.examples[i].span
            masked = (batch["text"].ids[start + a : start + b] == mask).tolist()
            assert all(masked) if rate else sum(masked) <= 1  # masked LM takes one token of the batch in any case
            assert int(batch["mentions"][i]) == start + a


@pytest.mark.parametrize("training", [False, True])
def test_the_loss_is_that_of_the_paper(training: bool, tmp_path: Path) -> None:
    weights = {"word_weight": 0.5, "document_weight": 2.0, "entailment_weight": 3.0}
    trial = Trial("xlm-k", dropout=0.0, temperature=0.2, queue=10, memory_from=0, **weights)
    run = trial.run(batch=4)
    for _ in range(2):  # 8 of the 10 places of either memory are taken
        run.step()
    trial.step.eval()
    batch = trial.method.collate(distant(trial, 5), np.random.default_rng(3))
    batch["entities"][1] = batch["entities"][0]  # two mentions of one entity
    batch["objects"][2] = int(trial.method.documents.item_ids[3, 0])  # an object that memory holds
    plain = ReferenceEncoder(trial.encoder, tmp_path)
    contexts, described = plain.passes(batch["text"]), plain.passes(batch["descriptions"])
    trial.step.double().train(training)
    with torch.no_grad():
        terms = trial.method.loss(trial.encoder, batch, 0)
        means = {name: float(term.sum / term.count) for name, term in terms.items()}
        places = [int(p) - s for p, s in zip(batch["mentions"], batch["text"].starts, strict=True)]
        words = _headed(
            trial.method.word_head,
            [out.hidden_states[-1][0, place] for out, place in zip(contexts, places, strict=True)],
        )
        documents = _headed(trial.method.document_head, [out.hidden_states[-1][0, 0] for out in described])
        asked = plain.passes(batch["subjects"])
        subjects = _headed(trial.method.subject_head, [out.hidden_states[-1][0, 0] for out in asked])
    documents, objects = documents[:5], documents[5:]
    weights = {"mlm": 1.0, "words": 0.5, "documents": 2.0, "entailment": 3.0}
    assert {name: term.weight for name, term in terms.items()} == weights
    expected = masked_mean(contexts, batch["text"], batch["positions"], batch["labels"])
    assert means["mlm"] == pytest.approx(expected, rel=1e-5)
    numbers = batch["entities"].tolist()
    memory = trial.method.documents.item_ids[:8, 0].tolist()
    pairs = {
        "words": (words, documents, numbers, trial.method.documents),
        "documents": (documents, words, numbers, trial.method.words),
        "entailment": (subjects, objects, batch["objects"].tolist(), trial.method.documents),
    }
    for name, (asking, asked, own, kept) in pairs.items():
        past = [(number, key) for number, key in zip(memory, kept.keys[:8].numpy(), strict=True)]
        total = _info_nce(asking, asked, own, past) + _info_nce(asked, asking, own, past)
        assert means[name] == pytest.approx(total / (2 * len(own)), rel=1e-9)


def _headed(head: Any, states: list[torch.Tensor]) -> list[np.ndarray]:
    """Two layers with batch norm after either, the second without weights, by hand."""
    inner = [np.asarray(head[0].weight @ state) for state in states]
    inner = [np.asarray(head[1].weight) * row + np.asarray(head[1].bias) for row in _normed(head[1], inner)]
    return _normed(head[4], [np.asarray(head[3].weight) @ np.maximum(row, 0) for row in inner])


def _normed(norm: Any, rows: list[np.ndarray]) -> list[np.ndarray]:
    mean, variance = np.mean(rows, axis=0), np.var(rows, axis=0)
    if not norm.training:
        mean, variance = np.asarray(norm.running_mean), np.asarray(norm.running_var)
    return [(row - mean) / np.sqrt(variance + 1e-12) for row in rows]


def test_a_head_of_one_row_takes_the_running_statistics() -> None:
    trial = Trial("xlm-k", dropout=0.0)
    chosen = [example._replace(facts=()) for example in distant(trial, 4)]
    chosen[0] = next(example for example in distant(trial, 4) if example.facts)
    term = trial.method.loss(trial.encoder, trial.method.collate(chosen, np.random.default_rng(0)), 0)["entailment"]
    assert term.count == 2.0
    assert term.sum.isfinite()


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
    kept = trial.method.words.item_ids[:, 0].tolist()
    assert sorted(kept) == sorted(seen[-10:])
    assert kept[:6] == seen[10:16]
    assert trial.method.words.keys.any(1).all()
    assert not trial.method.words.keys.requires_grad


@torch.no_grad()
def test_memory_has_an_effect_from_its_first_step() -> None:
    trial = Trial("xlm-k", dropout=0.0, memory_from=5)
    batch = trial.method.collate(distant(trial, 8), np.random.default_rng(0))
    contrasts = ("words", "documents", "entailment")

    def sums(step: int) -> list[float]:
        terms = trial.method.loss(trial.encoder, batch, step)
        return [float(terms[name].sum) for name in contrasts]

    with torch.enable_grad():
        run = trial.run(batch=8)
        for _ in range(3):
            run.step()
    asleep, awake = sums(4), sums(5)  # in training mode, since the memory was made with the batches' own statistics
    assert all(now > before + 0.1 for now, before in zip(awake, asleep, strict=True))
    for memory in (trial.method.words, trial.method.documents):
        memory.pushed.zero_()
    assert sums(5) == asleep


def test_each_contrast_reaches_its_two_heads_and_not_the_language_model_head() -> None:
    for name, heads in (("words", "wd"), ("documents", "wd"), ("entailment", "sd")):
        trial = Trial("xlm-k")
        batch = trial.method.collate(distant(trial, 8), np.random.default_rng(0))
        trial.method.loss(trial.encoder, batch, 0)[name].sum.backward()
        for head in ("word_head", "document_head", "subject_head"):
            gradient = getattr(trial.method, head)[0].weight.grad
            assert (gradient is not None and bool(gradient.any())) == (head[0] in heads)
        assert trial.encoder.blocks[0].attention.self.query.weight.grad.any()
        assert trial.encoder.model.cls.predictions.transform.dense.weight.grad is None


class Held:
    """Corpora of these records."""

    tokenizer, max_length = corpora(XLMK).tokenizer, 48

    def __init__(self, records: list[Entity]) -> None:
        self.held = records

    def records(self, kind: Corpus) -> list[Entity]:
        return self.held


def test_relations_without_a_single_object_are_skipped() -> None:
    a, b = (replace(next(r for r in entities() if r.language == code), relations=()) for code in ("qaa", "qab"))
    others = [replace(record, id=f"{record.id}-{name}", entity=name) for record in (a, b) for name in ("X", "Y")]

    def facts(*relations: tuple[str, str]) -> list[tuple[int, ...]]:
        asking = replace(a, entity="Q", relations=tuple(Relation(*relation) for relation in relations))
        examples = XLMK().examples(Held([asking, replace(b, entity="Q"), *others]))  # type: ignore[arg-type]
        return [tuple(fact.object for fact in example.facts) for example in examples]

    assert facts() == [()] * 6
    assert facts(("in", "X"), ("near", "Y"))[0] == (1, 2)
    assert facts(("in", "X"), ("in", "X"))[0] == (1,)
    assert facts(("in", "X"), ("in", "Y"), ("near", "Y"))[0] == (2,), "nobody can tell which of two is meant"
    assert facts(("in", "nobody"), ("near", "X"))[0] == (1,)


def test_entities_in_one_language_are_refused() -> None:
    one = next(record for record in entities() if record.language == "qab")
    with pytest.raises(UserError, match=r"described in two languages\n.*2 records in 1 languages"):
        XLMK().examples(Held([one, replace(one, entity="another")]))  # type: ignore[arg-type]


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_unread_entities_are_found_across_languages(seed: int) -> None:
    seen = xlm_k(seed)
    assert seen["descriptions"] > 2 * max(seen["chance"], seen["descriptions_base"], seen["descriptions_without"]), seen
    assert seen["mentions"] > max(seen["mentions_base"], seen["mentions_without"]) + 0.05, seen
    assert seen["objects"] > 2 * max(seen["objects_chance"], seen["objects_base"], seen["objects_without"]), seen
    assert seen["objects_of_two"] > 2 * seen["objects_swapped"], "the relation tells which of two is meant"

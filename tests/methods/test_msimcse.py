"""mSimCSE: triplets from the pivot's inference corpus, their contrast, and what it does to sentences held out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import UserError
from harness.records import Corpus, TextPair
from methods.msimcse import MSimCSE, triplets
from tests.support.reference_encoder import ReferenceEncoder
from tests.support.small_babel import Trial, corpora, isolated, source, tokenizer
from validation.probes.sentences import msimcse


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


def test_triplets_share_a_premise() -> None:
    rows = [
        ("p", "e1", "entailment"),
        ("q", "e", "entailment"),
        ("p", "c1", "contradiction"),
        ("p", "n", "neutral"),
        ("p", "e2", "entailment"),
        ("r", "c", "contradiction"),
        ("p", "c2", "contradiction"),
        ("s", "x", None),
    ]
    pairs = [TextPair(str(i), first, second, label) for i, (first, second, label) in enumerate(rows)]
    assert triplets(pairs) == [("p", "e1", "c1"), ("p", "e2", "c2")]


def test_other_languages_are_not_read() -> None:
    reads = corpora(MSimCSE)
    pairs: Any = reads.records(Corpus.NLI)
    pivot: Any = source().corpus(Corpus.NLI, [source().pivot])
    assert len(pairs) > len(pivot), "the corpus comes in several languages"
    assert list(reads.records(Corpus.NLI, (source().pivot,))) == list(pivot)
    trial = Trial("msimcse")
    assert [list(example.premise) for example in trial.examples] == [
        list(tokenizer().encode([premise], 48).ids[0]) for premise, _, _ in triplets(pivot)
    ]


@pytest.mark.parametrize("clusters", [True, False])
def test_only_records_of_the_pivot_are_requested_with_and_without_clusters(clusters: bool) -> None:
    asked: list[Any] = []
    pairs = [
        ("p", "e", "entailment"),
        ("p", "c", "contradiction"),
        ("q", "e", "entailment"),
        ("q", "c", "contradiction"),
    ]
    rows = [TextPair(str(i), *pair, cluster=f"c{i}" if clusters else "") for i, pair in enumerate(pairs)]

    class Listed:
        tokenizer, max_length, pivot = corpora(MSimCSE).tokenizer, 48, "qaa"

        def records(self, kind: Corpus, languages: Any = None) -> list[TextPair]:
            asked.append((kind, tuple(languages)))
            return rows

    assert len(MSimCSE().examples(Listed())) == 2  # type: ignore[arg-type]
    assert asked == [(Corpus.NLI, ("qaa",))]


@torch.no_grad()
def test_the_loss_is_that_of_the_paper(tmp_path: Path) -> None:
    trial = Trial("msimcse", dropout=0.0, temperature=0.2)
    trial.step.eval()
    batch = trial.batch(5)
    outputs = ReferenceEncoder(trial.encoder, tmp_path).passes(batch["text"])
    trial.step.double()
    term = trial.method.loss(trial.encoder, batch, 0)["contrast"]
    weight, bias = trial.method.head[0].weight, trial.method.head[0].bias
    h = [torch.tanh(weight @ out.hidden_states[-1][0, 0] + bias).numpy() for out in outputs]

    def score(a: np.ndarray, b: np.ndarray) -> float:
        return math.exp(float(a @ b) / math.sqrt(float(a @ a) * float(b @ b)) / 0.2)

    total = 0.0
    for i in range(5):
        all_scores = sum(score(h[i], h[5 + j]) + score(h[i], h[10 + j]) for j in range(5))
        total -= math.log(score(h[i], h[5 + i]) / all_scores)
    assert float(term.sum / term.count) == pytest.approx(total / 5, rel=1e-9)
    rows = [ids.tolist() for ids in batch["text"].ids.split(batch["text"].lengths)]
    expected = [trial.examples[i][side].tolist() for side in range(3) for i in range(5)]
    assert rows == expected


def test_the_language_model_head_gets_no_gradient() -> None:
    trial = Trial("msimcse")
    trial.loss(trial.batch()).backward()
    assert trial.method.head[0].weight.grad.any()
    assert trial.encoder.blocks[0].attention.self.query.weight.grad.any()
    assert trial.encoder.model.cls.predictions.transform.dense.weight.grad is None


def test_a_corpus_without_a_triplet_is_refused() -> None:
    class NoContradiction:
        tokenizer, max_length, pivot = corpora(MSimCSE).tokenizer, 48, "qaa"

        def records(self, kind: Corpus, languages: Any = None) -> list[TextPair]:
            assert kind is Corpus.NLI
            return [TextPair("1", "a", "b", "entailment"), TextPair("2", "c", "d", "contradiction")]

    with pytest.raises(UserError, match=r"no triplet in the pivot, 'qaa'\n.*2 pairs, labels contradiction, entailment"):
        MSimCSE().examples(NoContradiction())  # type: ignore[arg-type]


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_accuracy_on_unread_triplets_of_the_pivot_improves(seed: int) -> None:
    """What it optimises. Retrieval across languages, the paper's claim, is measured beside it and not asserted: on the
    made-up world's few hundred triplets it falls."""
    seen = msimcse(seed)
    assert seen["triplets"] > seen["triplets_base"] + 0.03, seen

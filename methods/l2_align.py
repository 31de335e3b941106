"""l2-align: equal states for words that translate each other, unchanged states for the pivot's sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from numpy.random import Generator
from torch import Tensor

from harness.method import Batch, Corpora, MethodConfig, Term
from harness.modeling.encoder import Encoder
from harness.modeling.packing import pack
from harness.pair_method import PairMethod
from harness.records import Corpus
from methods.objectives.settings import Weight, Whole
from methods.objectives.word_vectors import Subword, word_pair_batch, word_vectors
from methods.objectives.words import WordPairExample, WordPairExamples


class L2Align(PairMethod):
    """Squared distance between the states of aligned words, and between the pivot's states and the original ones.

    Reference: Cao, Kitaev and Klein, "Multilingual Alignment of Contextual Word Representations", ICLR 2020, arXiv
        2002.03518.
    Objective: L = 1/n ( sum_{(i,j) in A} ||f(i, x) - f(j, y)||^2 + lambda sum_t ||f(t, x) - f_0(t, x)||^2 ), x the n
        pivot sentences of a batch, y their translations, A their word pairs, t all tokens of x, f the last layer and
        f_0 that of the original, frozen encoder. One divisor for both sums keeps their proportion.
    Inputs: parallel pairs of the sample and every dictionary word pair in them. The paper uses the links on which
        fast_align agrees in both directions.
    Relations: `word-contrast` adds negatives to the same pairs and regularises the weights. There is no masked LM.
    """

    needs: ClassVar[frozenset[Corpus]] = frozenset({Corpus.PARALLEL, Corpus.DICTIONARY})
    reference: ClassVar[str] = "Cao et al. 2020, arXiv 2002.03518"
    objective: ClassVar[str] = "squared distance of translated words + of the pivot's states from the original ones"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= \frac{1}{n} \sum_{(i, j) \in A} \lVert f(i, x) - f(j, y) \rVert^2 \\
        &\quad + \frac{\lambda}{n} \sum_{t} \lVert f(t, x) - f_0(t, x) \rVert^2
    \end{aligned}
    """
    symbols: ClassVar[str] = (
        "A: the word pairs of the n sentence pairs (x, y), x in the pivot; t: every token of x; f: the last layer, "
        "f₀: that of the original encoder; by default λ = 1."
    )
    paper: ClassVar[dict[str, Any]] = {  # one epoch of 250,000 pairs in each of five languages, a tenth of it warm-up
        "steps": 156_250,
        "batch_size": 8,
        "learning_rate": 5e-5,
        "warmup_steps": 15_625,
        "adam_betas": (0.9, 0.98),
        "adam_epsilon": 1e-9,
    }

    class Config(MethodConfig):
        """subword: represents a word: its "first" or "last" subword, or the "mean" of all ("last" is a choice);
        regulariser: lambda, 0 disables the second sum; stop_words: how many of the pivot's most frequent words are
        skipped (0: the paper's aligner links function words too)."""

        subword: Subword = "last"
        regulariser: Weight = 1.0
        stop_words: Whole = 0

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        self.original: Encoder | None = None
        if self.config.regulariser:
            self.original = encoder.clone().requires_grad_(False)

    def examples(self, corpora: Corpora) -> Sequence[WordPairExample]:  # type: ignore[override]
        return WordPairExamples.of(corpora, stop_words=self.config.stop_words)

    def collate(self, examples: Sequence[WordPairExample], rng: Generator) -> Batch:  # type: ignore[override]
        special = self.tokenizer.special_ids
        batch = word_pair_batch(examples, self.config.subword, special_ids=special)
        sentences = batch["text"].ids.split(batch["text"].lengths)
        pivot = [ids.numpy() for ids in sentences[: len(sentences) // 2]]
        return {**batch, "pivot": pack(pivot, special_ids=special)}

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        return dict.fromkeys(("align", "stay"), float(len(batch["pivot"])))

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        states, n = encoder(batch["text"]), float(len(batch["pivot"]))
        terms = {"align": Term(squared_distance(*word_vectors(states, batch["words"])), n)}
        if self.original is not None:
            with torch.no_grad():
                before = self.original(batch["pivot"]).tokens()
            now = states.tokens()[: batch["pivot"].tokens]
            terms["stay"] = Term(squared_distance(now, before), n, self.config.regulariser)
        return terms


def squared_distance(x: Tensor, y: Tensor) -> Tensor:
    """The sum of squared differences of two (k, H), in float32 or wider."""
    kind = torch.promote_types(x.dtype, torch.float32)
    return (x.to(kind) - y.to(kind)).square().sum()

"""word-contrast: contrast of words that translate each other with the other words of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from numpy.random import Generator
from torch import Tensor, nn

from harness.method import Batch, Corpora, MethodConfig, Term
from harness.modeling.encoder import Encoder
from harness.pair_method import PairMethod
from harness.records import Corpus
from harness.training import distributed
from methods.objectives.contrastive import nce
from methods.objectives.settings import Count, Temperature, Weight, Whole
from methods.objectives.word_vectors import (
    Subword,
    WordFinder,
    first_occurrences,
    other_words,
    word_pair_batch,
    word_vectors,
)
from methods.objectives.words import WordPairExample, WordPairExamples


class WordContrast(PairMethod):
    """Contrast of contextual word vectors over dictionary word pairs, regularised towards the original weights.

    Reference: Wu and Dredze, "Do Explicit Alignments Robustly Improve Multilingual Encoders?", EMNLP 2020, arXiv
        2010.02537; the dictionary as source of the pairs: Gaschi et al., "Exploring the Relationship between Alignment
        and Cross-lingual Transfer in Multilingual Transformers", Findings of ACL 2023, arXiv 2306.02790.
    Objective: L = -1/2m sum_a log( e^s(a,p) / sum_{c in C(a)} e^s(a,c) ) + lambda ||theta - theta_0||_2, a each of the
        m words and their m translations p, s the cosine of projected states over a temperature. Weak: C(a) are the m
        words of the other side. Strong: C(a) are all 2m words but a. With candidates="all", as in Gaschi et al., C(a)
        also has the words of the sentences that are in no word pair.
    Inputs: parallel pairs of the sample and every dictionary word pair in them whose words differ. Wu and Dredze use
        the one-to-one links of fast_align (grow-diag-final-and), Gaschi et al. compare both.
    Relations: `l2-align` pulls the same pairs together without negatives. There is no masked LM. A dictionary finds 2
        or 3 words of a sentence, an aligner nearly all: candidates="aligned" has far fewer negatives here.
    Released code: shijie-wu/crosslingual-nlp. Weak and strong contrast are equal on the same tensors to 1e-6 or better.
        posos-tech/multilingual-alignment-and-transfer (Gaschi et al.) was read for candidates="all"; it adds the
        subwords of a word, which the cosine does not tell from their mean.
    """

    needs: ClassVar[frozenset[Corpus]] = frozenset({Corpus.PARALLEL, Corpus.DICTIONARY})
    reference: ClassVar[str] = "Wu and Dredze 2020, arXiv 2010.02537; Gaschi et al. 2023, arXiv 2306.02790"
    objective: ClassVar[str] = (
        "contrast of translated words over the batch's words + distance from the original weights"
    )
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= -\frac{1}{2m} \sum_{a} \log \frac{e^{s(a, p)}}{\sum_{c \in C(a)} e^{s(a, c)}} \\
        &\quad + \lambda \, \lVert \theta - \theta_0 \rVert_2 \\
    s(a, c) &= \frac{\cos\bigl(g(h_a), g(h_c)\bigr)}{\tau} \\
    g(h) &= W_2 \, \mathrm{ReLU}(W_1 h)
    \end{aligned}
    """
    symbols: ClassVar[str] = (
        "a, p: each of the 2m words and its translation; C(a): all words of the batch but a (weak: those of the other "
        "side); θ₀: the original weights; by default τ = 0.1, λ = 1."
    )
    in_batch: ClassVar[frozenset[str]] = frozenset({"contrast"})
    paper: ClassVar[dict[str, Any]] = {
        "steps": 100_000,
        "batch_size": 128,
        "learning_rate": 1e-4,
        "warmup_steps": 4000,
        "clip": None,
        "max_length": 96,
    }

    class Config(MethodConfig):
        """strength: "strong" or "weak", and candidates: "aligned" words or "all", as above; temperature: of the cosine;
        width: of the projection W2 ReLU(W1 h), which is dropped for the tasks; subword: represents a word: its "first"
        subword (Wu and Dredze), the "mean" of all (Gaschi et al.), or its "last"; regulariser: lambda, 1 in Wu and
        Dredze, 0 disables it; stop_words: how many of the pivot's most frequent words are skipped (0: function words
        are included, as in both papers)."""

        strength: Literal["weak", "strong"] = "strong"
        candidates: Literal["aligned", "all"] = "aligned"
        temperature: Temperature = 0.1
        width: Count = 128
        subword: Subword = "first"
        regulariser: Weight = 1.0
        stop_words: Whole = 0

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        wide, narrow = encoder.width, self.config.width
        self.head = nn.Sequential(nn.Linear(wide, wide, bias=False), nn.ReLU(), nn.Linear(wide, narrow, bias=False))
        self.finder = WordFinder(corpora.tokenizer)
        self.original: Encoder | None = None
        if self.config.regulariser:
            self.original = encoder.clone().requires_grad_(False)

    def examples(self, corpora: Corpora) -> Sequence[WordPairExample]:  # type: ignore[override]
        return WordPairExamples.of(corpora, skip_identical=True, stop_words=self.config.stop_words)

    def collate(self, examples: Sequence[WordPairExample], rng: Generator) -> Batch:  # type: ignore[override]
        batch = word_pair_batch(examples, self.config.subword, special_ids=self.tokenizer.special_ids)
        if self.config.candidates == "all":
            batch |= other_words(examples, batch["text"], self.finder, self.config.subword)
        return {**batch, "distinct": len(first_occurrences(batch["word_ids"]))}

    def counts(self, batch: Batch, step: int) -> dict[str, float] | None:
        if distributed.world_size() > 1:  # duplicates on other ranks are only known inside `loss`
            return None
        return {"contrast": 2.0 * batch["distinct"], "distance": 1.0}

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        states = encoder(batch["text"])
        x, y = word_vectors(states, batch["words"])
        others = (self.head(states.spans(batch["others"])), batch["other_ids"]) if "others" in batch else None
        terms = {"contrast": self.contrast(self.head(x), self.head(y), batch["word_ids"], others)}
        if self.original is not None:
            terms["distance"] = Term(weight_distance(encoder, self.original), 1.0, self.config.regulariser)
        return terms

    def contrast(self, x: Tensor, y: Tensor, word_ids: Tensor, others: tuple[Tensor, Tensor] | None = None) -> Term:
        """The contrast over the word pairs x, y (m, width) of the micro-batch of all ranks, without duplicates: the
        sample repeats sentences, and a word must not be a negative of itself. `others` are the vectors (k, width) and
        ids (k, 3) of further candidates."""
        x, y, word_ids = distributed.gather(x), distributed.gather(y), distributed.gather(word_ids)
        none = x.new_zeros(0, x.shape[1]), word_ids.new_zeros(0, 3)
        vectors, names = none if others is None else map(distributed.gather, others)
        if not len(x):
            return Term((x + y).sum(), 0.0)
        distinct, kept = first_occurrences(word_ids), first_occurrences(names)
        losses = word_losses(
            x[distinct], y[distinct], vectors[kept], names[kept, 1], self.config.strength, self.config.temperature
        )
        return Term(losses.sum(), float(len(losses)))


def word_losses(x: Tensor, y: Tensor, others: Tensor, sides: Tensor, strength: str, temperature: float) -> Tensor:
    """(2m,) the loss of each word of the pairs x, y (m, d) against all words of the batch, or with strength "weak"
    those of the other side. `others` (k, d) are words without a partner, `sides` (k,) is 0 for those on the side of x.
    """
    m, both = len(x), torch.cat([x, y])
    side = torch.cat([torch.arange(2, device=x.device).repeat_interleave(m), sides])
    own = torch.arange(2 * m, device=x.device)
    exclude = own[:, None] == torch.arange(len(side), device=x.device)
    if strength == "weak":
        exclude = side[: 2 * m, None] == side
    candidates = torch.cat([both, others]) if len(others) else both
    return nce(both, candidates, own.roll(m), exclude=exclude, temperature=temperature)


def weight_distance(encoder: Encoder, original: Encoder) -> Tensor:
    """The Euclidean norm of the change of the encoder's weights, taken as one vector."""
    pairs = zip(encoder.base.parameters(), original.base.parameters(), strict=True)
    norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(new - old) for new, old in pairs]))
    return norm

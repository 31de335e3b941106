"""l2-align: equal states for words that translate each other, unchanged states for the pivot's sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from harness.method import Batch, Corpora, MethodConfig, Term
from harness.modeling.encoder import Encoder
from harness.modeling.packing import Spans, pack
from harness.pair_method import PairMethod, TokenSpan
from harness.records import Corpus
from methods.objectives.settings import Weight, Whole
from methods.objectives.word_vectors import Subword, WordFinder, subword_bounds, word_pair_batch
from methods.objectives.words import WordPairExample, WordPairExamples


class L2Align(PairMethod):
    """Squared distance between the states of aligned words, and between the pivot's states and the original ones.

    Reference: Cao, Kitaev and Klein, "Multilingual Alignment of Contextual Word Representations", ICLR 2020, arXiv
        2002.03518.
    Objective: L = 1/(|A| d) sum_{(i,j) in A} ||f(j, y) - f_0(i, x)||^2 + lambda/(|W| d) sum_{i in W} ||f(i, x) - f_0(i,
        x)||^2, x the pivot sentences of a batch, y their translations, W the words of x, A their word pairs, [CLS] and
        [SEP] in both, f the d units of the last layer and f_0 those of the original, frozen encoder. With form="sum",
        L = 1/n ( sum_{(i,j) in A} ||f(i, x) - f(j, y)||^2 + lambda sum_t ||f(t, x) - f_0(t, x)||^2 ), n the sentence
        pairs, A without special tokens, t all tokens of x.
    Inputs: parallel pairs of the sample and every dictionary word pair in them. The paper uses the links on which
        fast_align agrees in both directions.
    Relations: `word-contrast` adds negatives to the same pairs and regularises the weights. There is no masked LM. The
        first form is that of the script the authors gave out, the second that of the paper. The script's is the
        default: each of its terms is a mean of its own. In the sum, the 2 or 3 pairs that a dictionary finds in a
        sentence stand against its 20 to 33 tokens, which holds the pivot about 12 times as hard at the same lambda as
        the aligner's many links do. `drift` in the training log is the mean squared change of a unit of the pivot's
        states; it has no weight in the loss.
    Released code: none is official. Of six copies of the script, four have the first form; they were read, and no loss
        was compared.
    """

    needs: ClassVar[frozenset[Corpus]] = frozenset({Corpus.PARALLEL, Corpus.DICTIONARY})
    reference: ClassVar[str] = "Cao et al. 2020, arXiv 2002.03518"
    objective: ClassVar[str] = "squared distance of translated words + of the pivot's states from the original ones"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= \frac{1}{|A| d} \sum_{(i, j) \in A} \lVert f(j, y) - f_0(i, x) \rVert^2 \\
        &\quad + \frac{\lambda}{|W| d} \sum_{i \in W} \lVert f(i, x) - f_0(i, x) \rVert^2
    \end{aligned}
    """
    symbols: ClassVar[str] = (
        "A: the word pairs of the sentence pairs (x, y), x in the pivot; W: the words of x; both with [CLS] and [SEP]; "
        "f: the d units of the last layer, f₀: those of the original encoder; by default λ = 1."
    )
    paper: ClassVar[dict[str, Any]] = {  # one epoch of 250,000 pairs in each of five languages, a tenth of it warm-up
        "steps": 31_250,
        "batch_size": 40,  # eight of each language
        "learning_rate": 5e-5,
        "schedule": "constant",
        "warmup_steps": 3_125,
        "clip": None,
        "adam_betas": (0.9, 0.98),
        "adam_epsilon": 1e-9,
    }

    class Config(MethodConfig):
        """form: "released" or "sum", as above; subword: represents a word: its "last" subword (the script), its
        "first", or the "mean" of all; regulariser: lambda, 0 disables the second sum; stop_words: how many of the
        pivot's most frequent words are skipped (0: the paper's aligner links function words too)."""

        form: Literal["released", "sum"] = "released"
        subword: Subword = "last"
        regulariser: Weight = 1.0
        stop_words: Whole = 0

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        self.finder = WordFinder(corpora.tokenizer)
        self.original: Encoder | None = None
        if self.config.regulariser or self.config.form == "released":
            self.original = encoder.clone().requires_grad_(False)

    def examples(self, corpora: Corpora) -> Sequence[WordPairExample]:  # type: ignore[override]
        return WordPairExamples.of(corpora, stop_words=self.config.stop_words)

    def collate(self, examples: Sequence[WordPairExample], rng: Generator) -> Batch:  # type: ignore[override]
        special, subword = self.tokenizer.special_ids, self.config.subword
        released = self.config.form == "released"
        batch = word_pair_batch(list(map(with_frame, examples)) if released else examples, subword, special_ids=special)
        pivot = pack([e.pair.source for e in examples], special_ids=special)
        batch["pivot"] = pivot
        if released:
            bounds = [
                subword_bounds(start, span, subword)
                for start, e in zip(pivot.starts, examples, strict=True)
                for span in ((0, 1), *self.finder.words(e.pair.source), _last_token(e.pair.source))
            ]
            batch["pivot_words"] = Spans.of(bounds)
        return batch

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        counts = dict.fromkeys(("align", "stay"), float(len(batch["pivot"])))
        if self.config.form == "released":
            counts = {"align": len(batch["words"].sizes) / 2, "stay": float(len(batch["pivot_words"].sizes))}
        return {**counts, "drift": float(batch["pivot"].tokens)}

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        hidden, counts = encoder(batch["text"]).tokens(), self.counts(batch, step)
        if self.original is None:
            return {"align": Term(squared_distance(*batch["words"].mean(hidden).chunk(2)), counts["align"])}
        now = hidden[: batch["pivot"].tokens]
        with torch.no_grad():
            before = self.original(batch["pivot"]).tokens()
            drift = squared_distance(now, before) / encoder.width
        if self.config.form == "released":
            pairs = batch["words"].mean(torch.cat([before, hidden[len(before) :]])).chunk(2)
            align = squared_distance(*pairs) / encoder.width
            stay = squared_distance(*(batch["pivot_words"].mean(states) for states in (now, before))) / encoder.width
        else:
            align, stay = squared_distance(*batch["words"].mean(hidden).chunk(2)), squared_distance(now, before)
        return {
            "align": Term(align, counts["align"]),
            "stay": Term(stay, counts["stay"], self.config.regulariser),
            "drift": Term(drift, counts["drift"], 0.0),
        }


def with_frame(example: WordPairExample) -> WordPairExample:
    """The example with its first tokens and its last ones, [CLS] and [SEP], as two more word pairs."""
    ends = _last_token(example.pair.source), _last_token(example.pair.target)
    return example._replace(words=(*example.words, ((0, 1), (0, 1)), ends))


def _last_token(ids: np.ndarray) -> TokenSpan:
    return len(ids) - 1, len(ids)


def squared_distance(x: Tensor, y: Tensor) -> Tensor:
    """The sum of squared differences of two (k, H), in float32 or wider."""
    kind = torch.promote_types(x.dtype, torch.float32)
    return (x.to(kind) - y.to(kind)).square().sum()

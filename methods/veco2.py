"""VECO 2.0 (as described): masked and translation LM, contrast of sentences and of dictionary words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from harness.method import Batch, Corpora, MethodConfig, Term
from harness.modeling.encoder import Encoder, States
from harness.modeling.packing import PackedText, Spans
from harness.pair_method import PairMethod, TokenSpan
from harness.records import Corpus
from harness.training import distributed
from methods.objectives.bilingual import join_sides, max_side_length, random_order
from methods.objectives.contrastive import nce
from methods.objectives.masking import masked_batch, masked_lm
from methods.objectives.settings import Rate, Temperature, Weight, Whole
from methods.objectives.words import WordPairExample, WordPairExamples


class VECO2(PairMethod):
    """VECO 2.0 (as described): masked LM, translation LM, and contrast at the level of sentences and of words.

    Reference: Zhang, Tan, Huang and Huang, "VECO 2.0: Cross-lingual Language Model Pre-training with Multi-granularity
        Contrastive Learning", technical report 2023, arXiv 2304.08205. No code was released. What the abstract of the
        report leaves open is a choice, so this row follows its description and is not a reproduction.
    Objective: L = L_MLM + L_TLM + L_seq + L_tok. L_seq = -1/2n sum_i ( log softmax_j s(u_i, v_j)|_i + log softmax_j
        s(v_i, u_j)|_i ), u, v the sentence vectors of the n pairs, each side alone and masked as in L_MLM; L_tok =
        -1/2m sum_a log( e^s(a,b) / ( e^s(a,b) + sum_{c in T(a)} e^s(a,c) ) ), a each of the m words and translations
        b of a bilingual instance, T(a) the tokens of that instance that belong to neither; s cosine over temperature,
        last layer.
    Inputs: parallel pairs of the sample and every dictionary word pair in them (the report: synonyms of a thesaurus). A
        word is the mean of its subwords in the pass of L_TLM; word pairs with a masked subword are skipped.
    Relations: without L_tok and L_seq, `xlm` with one separator between the sides. `word-contrast` takes the words of
        the whole batch as negatives.
    Released code: none was to be had; the formulas were not compared with any.
    """

    needs: ClassVar[frozenset[Corpus]] = frozenset({Corpus.PARALLEL, Corpus.DICTIONARY})
    reference: ClassVar[str] = "VECO 2.0 (as described), Zhang et al. 2023, arXiv 2304.08205"
    objective: ClassVar[str] = "masked LM + TLM + contrast of sentences + contrast of words inside a bilingual instance"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= \mathcal{L}_{\mathrm{MLM}} + \mathcal{L}_{\mathrm{TLM}} + \mathcal{L}_{\mathrm{seq}}
        + \mathcal{L}_{\mathrm{tok}} \\
    \mathcal{L}_{\mathrm{seq}} &= -\frac{1}{2n} \sum_{i=1}^{n} \log \frac{e^{s(u_i, v_i)}}{\sum_j e^{s(u_i, v_j)}} \\
        &\quad - \frac{1}{2n} \sum_{i=1}^{n} \log \frac{e^{s(v_i, u_i)}}{\sum_j e^{s(v_i, u_j)}} \\
    \mathcal{L}_{\mathrm{tok}} &= -\frac{1}{2m} \sum_{a} \log
        \frac{e^{s(a, b)}}{e^{s(a, b)} + \sum_{c \in T} e^{s(a, c)}} \\
    s(a, b) &= \frac{\cos(a, b)}{\tau}
    \end{aligned}
    """
    symbols: ClassVar[str] = (
        "uᵢ, vᵢ: the two sentences of pair i; a, b: each of the 2m words and its translation; T: the tokens of the "
        "same pair that belong to neither; by default τ = 0.05 for sentences, 0.1 for words."
    )
    in_batch: ClassVar[frozenset[str]] = frozenset({"sequence"})

    class Config(MethodConfig):
        """All values are choices: the report's are not known to us. mask_rate: share of masked subwords;
        sequence_temperature: of the cosine of sentences; token_temperature: of the cosine of words; sentence: the
        vector of a sentence, the "mean" of its tokens or its first one, "cls"; sequence_weight, token_weight: of L_seq
        and L_tok; stop_words: how many of the pivot's most frequent words are skipped."""

        mask_rate: Rate = 0.15
        sequence_temperature: Temperature = 0.05
        token_temperature: Temperature = 0.1
        sentence: Literal["mean", "cls"] = "mean"
        sequence_weight: Weight = 1.0
        token_weight: Weight = 1.0
        stop_words: Whole = 0

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        self.max_side_length = max_side_length(encoder, corpora)

    def examples(self, corpora: Corpora) -> Sequence[WordPairExample]:  # type: ignore[override]
        return WordPairExamples.of(corpora, stop_words=self.config.stop_words)

    def collate(self, examples: Sequence[WordPairExample], rng: Generator) -> Batch:  # type: ignore[override]
        special, rate = self.tokenizer.special_ids, self.config.mask_rate
        pairs = [example.pair for example in examples]
        plain = super().collate(pairs, rng)
        alone = masked_batch(plain["text"], self.tokenizer, rng, rate, prefix="alone_")
        sides, swapped = random_order(pairs, rng)
        joint = masked_batch(join_sides(sides, self.max_side_length, special_ids=special), self.tokenizer, rng, rate)
        lengths = [(min(len(x), self.max_side_length), min(len(y), self.max_side_length)) for x, y in sides]
        words = [[(b, a) if s else (a, b) for a, b in e.words] for e, s in zip(examples, swapped, strict=True)]
        return {
            **joint,
            **alone,
            "words": locate_words(words, lengths, joint["text"], joint["positions"].numpy()),
            "groups": plain["groups"],
        }

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        return {
            "mlm": float(len(batch["alone_labels"])),
            "tlm": float(len(batch["labels"])),
            "sequence": 2.0 * len(batch["groups"]) * distributed.world_size(),
            "token": float(len(batch["words"].sizes)),
        }

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        alone, joint = encoder(batch["alone_text"]), encoder(batch["text"])
        return {
            "mlm": masked_lm(encoder, alone.tokens(), batch["alone_positions"], batch["alone_labels"]),
            "tlm": masked_lm(encoder, joint.tokens(), batch["positions"], batch["labels"]),
            "sequence": self.sequence_contrast(alone, batch["groups"]),
            "token": self.token_contrast(joint, batch["words"]),
        }

    def sequence_contrast(self, states: States, groups: Tensor) -> Term:
        """Each sentence against the sentences of the other side in the micro-batch of all ranks. Pairs of one group
        (the same sentence pair with another word) are not negatives of each other."""
        vectors = states.mean() if self.config.sentence == "mean" else states.cls()
        u, v = (distributed.gather(side) for side in vectors.chunk(2))
        groups = distributed.gather(groups)
        same, partner = groups[:, None] == groups, torch.arange(len(groups), device=groups.device)
        temperature = self.config.sequence_temperature
        losses = [nce(a, b, partner, exclude=same, temperature=temperature) for a, b in ((u, v), (v, u))]
        return Term(torch.cat(losses).sum(), 2.0 * len(groups), self.config.sequence_weight)

    def token_contrast(self, states: States, words: Spans) -> Term:
        """Each word against its translation, with the other tokens of its bilingual sequence as negatives."""
        text, anchors = states.text, states.spans(words)
        count, device = len(anchors), anchors.device
        partner = torch.arange(count, device=device).roll(count // 2)
        inside = torch.zeros(count, text.tokens, dtype=torch.bool, device=device)
        inside[words.owner, words.index] = True
        sequence = text.layout.owner
        own = sequence[words.index[words.sizes.cumsum(0) - 1]]
        left_out = inside | inside[partner] | (own[:, None] != sequence) | text.special
        exclude = torch.cat([torch.ones(count, count, dtype=torch.bool, device=device), left_out], dim=1)
        candidates = torch.cat([anchors, states.tokens().to(anchors.dtype)])
        losses = nce(anchors, candidates, partner, exclude=exclude, temperature=self.config.token_temperature)
        return Term(losses.sum(), float(count), self.config.token_weight)


def locate_words(
    words: Sequence[Sequence[tuple[TokenSpan, TokenSpan]]],
    lengths: Sequence[tuple[int, int]],
    text: PackedText,
    masked: NDArray[np.int64],
) -> Spans:
    """The word pairs of packed bilingual sequences: the m words of the first sides, then the m of the second sides.

    `words` holds the word pairs of each sequence as spans of its two sides, `lengths` the lengths of the sides. Pairs
    that are cut off or contain a `masked` position are skipped.
    """
    is_masked = np.zeros(text.tokens, dtype=bool)
    is_masked[masked] = True
    firsts, seconds = [], []
    for start, (length, other), pairs in zip(text.starts, lengths, words, strict=True):
        second = start + length - 1  # the place of the second side's first token, which was dropped
        for (a, b), (c, d) in pairs:
            x, y = (start + a, start + b), (second + c, second + d)
            if b < length and d < other and not is_masked[slice(*x)].any() and not is_masked[slice(*y)].any():
                firsts.append(x)
                seconds.append(y)
    return Spans.of(firsts + seconds)

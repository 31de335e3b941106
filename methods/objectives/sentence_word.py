"""The ML-CTL family: contrast of parallel sentences, with or without one aligned word, and masked LM.

Its four methods differ in two flags; their formulas are written once, in `formula_of`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import torch
from numpy.random import Generator
from pydantic import model_validator
from torch import Tensor, nn

from harness.layers import LayerOf
from harness.method import Batch, Corpora, MethodConfig, Term
from harness.modeling.encoder import Encoder, States
from harness.pair_method import PairExample, PairExamples, PairMethod
from harness.records import Corpus
from harness.training import distributed
from methods.objectives.contrastive import in_batch_exclusions, info_nce
from methods.objectives.masking import masked_batch, masked_lm
from methods.objectives.released_words import LowercasePairs, place_substrings
from methods.objectives.settings import Rate, Temperature, Weight

RELEASED = {
    "symmetric": False,
    "masked_contrast": True,
    "separate_passes": True,
    "pretrained_head": False,
    "lowercase": True,
    "substring_spans": True,
    "exclude_same_sentence": False,
}


class SentenceWordConfig(MethodConfig):
    """Settings of the ML-CTL family. Where the paper and its released script differ, the default follows the paper.

    temperature: of the cosine (script: 0.07); mlm_weight: alpha, the weight of masked LM (script: 0.1); mask_rate:
    share of masked subwords; first_layer, last_layer: the two layers whose means are added; symmetric: both sides are
    anchors (script: only the pivot side); masked_contrast: the contrast reads the masked sentences; separate_passes:
    masked LM and contrast take a pass each, with their own dropout; pretrained_head: keep the LM head of the checkpoint
    (script: a random one); lowercase: lower-case the text; substring_spans: match words by the rule of the script (a
    substring that occurs once and whose subwords are subwords of the sentence, in sentences that are not cut; without
    common words, which the script's dictionary lacks); exclude_same_sentence: pairs that repeat a sentence with another
    word are not negatives of each other; code_exact: set all of these as in the released script.
    """

    temperature: Temperature = 0.07
    mlm_weight: Weight = 0.1
    mask_rate: Rate = 0.15
    first_layer: Annotated[int, LayerOf()] = 1
    last_layer: Annotated[int, LayerOf(1)] = -1
    symmetric: bool = True
    masked_contrast: bool = True
    separate_passes: bool = False
    pretrained_head: bool = True
    lowercase: bool = False
    substring_spans: bool = False
    exclude_same_sentence: bool = True
    code_exact: bool = False

    @model_validator(mode="before")
    @classmethod
    def _as_released(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not values.get("code_exact"):
            return values
        against = [f"{n}={values[n]}" for n, v in RELEASED.items() if n in values and values[n] != v]
        if against:
            raise ValueError(f"code_exact contradicts {', '.join(against)}")
        return {**values, **RELEASED}


class SentenceWordMethod(PairMethod):
    """L = contrast over the 2n vectors of a batch + alpha * (mean of the masked-LM losses of both languages).

    Subclasses set two flags: `words` appends the vector of the matched word, `decoupled` takes CZ-NCE instead of
    InfoNCE. The vector u of a sentence (with its special tokens) or of a word is the mean of its tokens after the first
    layer plus that after the last. W2 ReLU(W1 u + b1) + b2 projects it; this head is dropped after training.
    `needs`, `objective`, `formula` and `symbols` follow from the flags.
    """

    words: ClassVar[bool] = False
    decoupled: ClassVar[bool] = False
    reference: ClassVar[str] = "Chen et al. 2022, arXiv 2202.13083"
    in_batch: ClassVar[frozenset[str]] = frozenset({"contrast"})
    paper: ClassVar[dict[str, Any]] = {
        "learning_rate": 2e-6,
        "schedule": "constant",
        "clip": None,
        "weight_decay": 0.0,
        "max_length": 128,
    }

    class Config(SentenceWordConfig):
        pass

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.words:
            cls.needs = frozenset({Corpus.PARALLEL, Corpus.DICTIONARY})
        loss, level = "CZ-NCE" if cls.decoupled else "InfoNCE", "[sentence; word] vectors" if cls.words else "sentences"
        side = "a sentence and one word of it" if cls.words else "a sentence"
        cls.objective = f"{loss} over {level}, 2n-2 negatives, + 0.1 masked LM"
        cls.formula = formula_of(words=cls.words, decoupled=cls.decoupled)
        cls.symbols = (
            f"xᵢ, yᵢ: the two sides of pair i, each {side}, from the mean states after the first and the last layer; "
            "Kᵢ: the other 2n − 2 of the batch, except repeats of the same sentence; by default τ = 0.07, α = 0.1."
        )

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        width = encoder.width * (2 if self.words else 1)
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        if not self.config.pretrained_head:
            encoder.reset_mlm_head()

    def examples(self, corpora: Corpora) -> Sequence[PairExample]:
        pairs = LowercasePairs(corpora.sample) if self.config.lowercase else corpora.sample
        if self.config.substring_spans and self.words:
            pairs = place_substrings(pairs, corpora)
        return PairExamples.of(pairs, corpora.tokenizer, corpora.max_length)

    def collate(self, examples: Sequence[PairExample], rng: Generator) -> Batch:
        batch = super().collate(examples, rng)
        masked = masked_batch(batch["text"], self.tokenizer, rng, self.config.mask_rate)
        in_source = int((masked["positions"] < batch["text"].starts[len(examples)]).sum())
        return batch | masked | {"clean": batch["text"].ids, "in_source": in_source}

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        anchors = len(batch["text"]) if self.config.symmetric else len(batch["groups"])
        source = batch["in_source"]
        return {
            "contrast": float(anchors * distributed.world_size()),
            "mlm_source": float(source),
            "mlm_target": float(len(batch["labels"]) - source),
        }

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        first, last = self.config.first_layer, self.config.last_layer
        text = batch["text"]
        lm_states = contrast_states = encoder(text, layers=(first, last))
        if self.config.separate_passes or not self.config.masked_contrast:
            seen = text if self.config.masked_contrast else text.with_ids(batch["clean"])
            contrast_states = encoder(seen, layers=(first, last))
        x, y = self.vectors(contrast_states, batch).chunk(2)
        return {"contrast": self.contrast(x, y, batch["groups"]), **self.masked_terms(encoder, lm_states, batch)}

    def vectors(self, states: States, batch: Batch) -> Tensor:
        """(2n, W) the projected vectors, the pivot side first."""
        layers = (self.config.first_layer, self.config.last_layer)
        parts = [torch.stack([states.mean(layer) for layer in layers]).sum(0)]
        if self.words:
            parts.append(torch.stack([states.spans(batch["spans"], layer) for layer in layers]).sum(0))
        projected: Tensor = self.head(torch.cat(parts, dim=1))
        return projected

    def contrast(self, x: Tensor, y: Tensor, groups: Tensor) -> Term:
        """The contrast of x and y (n, W) over the micro-batch of all ranks."""
        x, y, groups = distributed.gather(x), distributed.gather(y), distributed.gather(groups)
        losses = info_nce(
            x,
            y,
            keep_positive=not self.decoupled,
            temperature=self.config.temperature,
            symmetric=self.config.symmetric,
            exclude=in_batch_exclusions(groups) if self.config.exclude_same_sentence else None,
            reduction="none",
        )
        return Term(losses.sum(), float(len(losses)))

    def masked_terms(self, encoder: Encoder, states: States, batch: Batch) -> dict[str, Term]:
        """Masked LM of each language, weighted with half of alpha."""
        hidden, cut = states.tokens(self.config.last_layer), batch["in_source"]
        sides = {"mlm_source": slice(None, cut), "mlm_target": slice(cut, None)}
        terms = {}
        for name, side in sides.items():
            term = masked_lm(encoder, hidden, batch["positions"][side], batch["labels"][side])
            terms[name] = Term(term.sum, term.count, self.config.mlm_weight / 2)
        return terms


def formula_of(*, words: bool, decoupled: bool) -> str:
    """The loss of the family in LaTeX: of sentences, or of sentence and word; InfoNCE, or `decoupled` as CZ-NCE."""
    positive, negatives = r"e^{s(x_i, y_i)}", r"\sum_{k \in K_i} e^{s(x_i, k)}"
    denominator = negatives if decoupled else f"{positive} + {negatives}"
    vector = r"[u_i^{\mathrm{snt}}; u_i^{\mathrm{wrd}}]" if words else "u_i"
    return rf"""
    \begin{{aligned}}
    \mathcal{{L}} &= \frac{{1}}{{2n}} \sum_{{i=1}}^{{n}} \bigl( \ell(x_i) + \ell(y_i) \bigr) + \alpha \,
        \mathcal{{L}}_{{\mathrm{{MLM}}}} \\
    \ell(x_i) &= -\log \frac{{{positive}}}{{{denominator}}} \\
    s(a, b) &= \frac{{\cos(a, b)}}{{\tau}} \\
    x_i &= W_2 \mathrm{{ReLU}}(W_1 {vector} + b_1) + b_2 \\
    u_i &= \bar{{h}}^{{\,1}}_i + \bar{{h}}^{{\,L}}_i
    \end{{aligned}}
    """

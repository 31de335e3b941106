"""ALIGN-MLM: masked LM, and the cosine of the embeddings of dictionary translations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from harness.method import Batch, Corpora, MethodConfig, Term
from harness.modeling.encoder import Encoder
from harness.modeling.packing import segment_mean
from harness.pair_method import PairExample, PairMethod
from harness.records import Corpus
from methods.objectives.dictionary import sample_share, subword_entries
from methods.objectives.masking import masked_batch, masked_lm
from methods.objectives.settings import Rate, Weight


class AlignMLM(PairMethod):
    """Masked LM on both sides, and the cosine of all dictionary pairs in the input embeddings, at every step.

    Reference: Tang, Deshpande and Narasimhan, "ALIGN-MLM: Word Embedding Alignment is Crucial for Multilingual
        Pre-training", 2022, arXiv 2211.08547.
    Objective: L = L_MLM - lambda * 1/|D| sum_{(i,j) in D} cos(E_i, E_j), E the input word embeddings (tied with the
        output), D the dictionary.
    Inputs: parallel pairs of the sample, each side read alone; the dictionary. The paper derives its languages from
        English token by token, so that D pairs single tokens. Here D holds the entries of one subword on both sides
        that are not the same subword.
    Relations: without the second term, `continued-mlm`. Sentences need not be paired. The paper trains from scratch:
        `--recipe paper --base init:8x512 --set pretrain.steps=0 --set pretrain.dropout=0.1`.
    Released code: princeton-nlp/align-mlm. The second term is equal on the same tensors to 1e-6 or better.
    """

    needs: ClassVar[frozenset[Corpus]] = frozenset({Corpus.PARALLEL, Corpus.DICTIONARY})
    reference: ClassVar[str] = "Tang et al. 2022, arXiv 2211.08547"
    objective: ClassVar[str] = "masked LM + cosine of the input embeddings of all dictionary pairs"
    formula: ClassVar[str] = r"""
    \mathcal{L} = \mathcal{L}_{\mathrm{MLM}} - \frac{\lambda}{|D|} \sum_{(i, j) \in D} \cos(E_i, E_j)
    """
    symbols: ClassVar[str] = (
        "D: the pairs of the dictionary, all at every step; E: the input word embeddings; by default λ = 10."
    )
    paper: ClassVar[dict[str, Any]] = {
        "steps": 500_000,
        "batch_size": 128,
        "learning_rate": 1e-4,
        "warmup_steps": 10_000,
        "max_length": 512,
    }

    class Config(MethodConfig):
        """mask_rate: share of masked subwords; align_weight: lambda, 10 in the paper, which trains from scratch (from a
        trained base try 0.1, 1 and 10); words: the entries of D, "single" for those of one subword on both sides,
        "mean" for all, a word being the mean of its subwords (a choice); share: share of the pivot's words that D
        covers, selected at random (the paper: 0.25, 0.5 and 1 of the vocabulary)."""

        mask_rate: Rate = 0.15
        align_weight: Weight = 10.0
        words: Literal["single", "mean"] = "single"
        share: Rate = 1.0

    flat: Tensor
    owner: Tensor
    sizes: Tensor
    pairs: Tensor

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        chosen = sample_share(subword_entries(corpora, single=self.config.words == "single"), self.config.share)
        words = {pieces: i for i, pieces in enumerate(dict.fromkeys(w for e in chosen for w in (e.source, e.target)))}
        pairs = dict.fromkeys((words[e.source], words[e.target]) for e in chosen)
        sizes = torch.tensor([len(pieces) for pieces in words])
        self.register_buffer("flat", torch.tensor([piece for pieces in words for piece in pieces]))
        self.register_buffer("owner", torch.repeat_interleave(sizes))
        self.register_buffer("sizes", sizes)
        self.register_buffer("pairs", torch.tensor(list(pairs)))

    def collate(self, examples: Sequence[PairExample], rng: Generator) -> Batch:
        text = super().collate(examples, rng)["text"]
        return masked_batch(text, self.tokenizer, rng, self.config.mask_rate)

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        return {"mlm": float(len(batch["labels"])), "align": float(len(self.pairs))}

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        hidden = encoder(batch["text"]).tokens()
        mlm = masked_lm(encoder, hidden, batch["positions"], batch["labels"])
        cosines = self.cosines(encoder.input_embeddings)
        return {"mlm": mlm, "align": Term(-cosines.sum(), float(len(cosines)), self.config.align_weight)}

    def cosines(self, embeddings: Tensor) -> Tensor:
        """(D,) the cosine of each dictionary pair in `embeddings` (V, H)."""
        words = functional.normalize(segment_mean(embeddings[self.flat], self.owner, self.sizes), dim=1)
        return (words[self.pairs[:, 0]] * words[self.pairs[:, 1]]).sum(1)

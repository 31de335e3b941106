"""XLM-K: a mention of an entity and its description in another language, each to be told from what memory holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from harness import distributed
from harness.encoder import Encoder
from harness.errors import UserError
from harness.method import Batch, Corpora, LayerOf, Method, MethodConfig, Span, Term
from harness.packing import pack
from harness.pair_method import token_span
from harness.records import Corpus, Entity
from harness.tokens import Tokenizer
from methods.objectives.contrastive import nce
from methods.objectives.masking import masked_batch, masked_lm
from methods.objectives.momentum import Queue


class EntityExample(NamedTuple):
    """A tokenised sentence, the token span of the entity in it, the entity's number, and its tokenised descriptions in
    the other languages."""

    mention: np.ndarray
    span: tuple[int, int]
    entity: int
    descriptions: tuple[np.ndarray, ...]


class XLMK(Method):
    """Masked entity prediction: a mention and a description of the same entity in another language find each other.

    Reference: Jiang et al., "XLM-K: Improving Cross-Lingual Language Model Pre-Training with Multilingual Knowledge",
        AAAI 2022, arXiv 2109.12573.
    Objective: L = L_MLM + L_w2d + L_d2w. Words w are the first token of a mention, documents d the [CLS] of a
        description, each under its own two-layer head. Both contrasts are InfoNCE from w to d and from d to w, an
        anchor's negatives being all other words and documents of the batch and a memory of past documents (w2d) or past
        words (d2w). L_MLM: the mentions' sentences. No momentum encoder: memory holds the encoder's own past outputs.
    Inputs: the entity corpus (a sentence with a mention, and a description, in several languages); a description in
        another language is drawn anew each time. No bitext. Records of one entity share their id but for the language.
    Relations: left out is object entailment (description of a subject and a relation, against that of the object): the
        records hold no relations between entities. Left out are the heads' batch norms (a batch split over ranks would
        be another batch). Other entries of the anchor's own entity are no negatives: memory here outlives an epoch.
    """

    needs: ClassVar[frozenset[Corpus]] = frozenset({Corpus.ENTITIES})
    reference: ClassVar[str] = "Jiang et al. 2022, arXiv 2109.12573"
    objective: ClassVar[str] = "masked LM + InfoNCE with memory between mentions and descriptions in another language"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= \mathcal{L}_{\mathrm{MLM}} + \mathcal{L}_{\mathrm{w2d}} + \mathcal{L}_{\mathrm{d2w}} \\
    \mathcal{L}_{\mathrm{w2d}} &= -\frac{1}{2n} \sum_{a} \log
        \frac{e^{s(a, p)}}{e^{s(a, p)} + \sum_{k \in K} e^{s(a, k)}} \\
    s(a, b) &= \frac{\cos(a, b)}{\tau}
    \end{aligned}
    """
    symbols: ClassVar[str] = (
        "a, p: each of the n mentions and n descriptions of the batch and its partner; K: those of other entities, in "
        "the batch and in a memory of past descriptions, in d2w of past mentions; by default τ = 0.07."
    )
    in_batch: ClassVar[frozenset[str]] = frozenset({"words", "documents"})

    class Config(MethodConfig):
        """The paper's values are not in the released code: all of these are choices. mask_rate: the share of masked
        subwords; mention_mask_rate: how often the mention is masked as a whole (a corpus whose contexts do not tell the
        entity needs less); temperature: of the cosine; queue: entries of each memory (without a momentum encoder a long
        one holds states that have drifted, which are told apart by their age and not by what they mean: keep it to the
        entries of two steps or so where the learning rate is high); word_weight, document_weight: of L_w2d and L_d2w;
        layer: whose states are contrasted."""

        mask_rate: float = 0.15
        mention_mask_rate: float = 0.25
        temperature: float = 0.07
        queue: int = 128
        word_weight: float = 1.0
        document_weight: float = 1.0
        layer: Annotated[int, LayerOf(1)] = -1

    tokenizer: Tokenizer

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        self.tokenizer = corpora.tokenizer
        self.word_head, self.document_head = _head(encoder.width), _head(encoder.width)
        self.words, self.documents = (Queue(self.config.queue, encoder.width) for _ in range(2))
        self.remembered = Queue(self.config.queue, 1)  # the entity numbers of both memories

    def examples(self, corpora: Corpora) -> Sequence[EntityExample]:
        records = [record for record in corpora.records(Corpus.ENTITIES) if isinstance(record, Entity)]
        groups = by_entity(records)
        if not groups:
            raise UserError(
                "no entity is described in two languages",
                found=f"{len(records)} records in {len({r.language for r in records})} languages",
                expected="records of one entity whose ids differ in the language alone",
            )
        return tokenised(groups, corpora)

    def collate(self, examples: Sequence[EntityExample], rng: Generator) -> Batch:
        special = self.tokenizer.special_ids
        text = pack([e.mention for e in examples], special_ids=special)
        batch = masked_batch(text, self.tokenizer, rng, self.config.mask_rate)
        ids = batch["text"].ids.clone()
        for start, example in zip(text.starts, examples, strict=True):
            if rng.random() < self.config.mention_mask_rate:
                ids[start + example.span[0] : start + example.span[1]] = self.tokenizer.mask_id
        drawn = [e.descriptions[rng.integers(len(e.descriptions))] for e in examples]
        return {
            **batch,
            "text": text.with_ids(ids),
            "mentions": torch.tensor([s + e.span[0] for s, e in zip(text.starts, examples, strict=True)]),
            "descriptions": pack(drawn, special_ids=special),
            "entities": torch.tensor([e.entity for e in examples]),
        }

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        layer, entities = self.config.layer, batch["entities"]
        states = encoder(batch["text"], layers=(layer, -1))
        words = self.word_head(states.tokens(layer)[batch["mentions"]])
        documents = self.document_head(encoder(batch["descriptions"], layers=(layer,)).cls(layer))
        self.words.add(words)
        self.documents.add(documents)
        self.remembered.add(entities[:, None])
        words, documents, entities = (distributed.gather(part) for part in (words, documents, entities))
        return {
            "mlm": masked_lm(encoder, states.tokens(), batch["positions"], batch["labels"]),
            "words": self.contrast(words, documents, entities, self.documents, self.config.word_weight),
            "documents": self.contrast(documents, words, entities, self.words, self.config.document_weight),
        }

    def contrast(self, asking: Tensor, asked: Tensor, entities: Tensor, memory: Queue, weight: float) -> Term:
        """Both directions between n vectors and their n partners, against one memory."""
        n = len(asking)
        both = torch.cat([asking, asked])
        both = both.to(torch.promote_types(both.dtype, memory.keys.dtype))
        numbers = torch.cat([entities.repeat(2), self.remembered.keys[:, 0].to(entities.dtype)])
        exclude = numbers[None, :] == entities.repeat(2)[:, None]
        exclude[:, 2 * n :] |= memory.empty()
        losses = nce(
            both,
            torch.cat([both, memory.keys]),
            torch.arange(n, 3 * n, device=both.device) % (2 * n),
            exclude=exclude,
            temperature=self.config.temperature,
        )
        return Term(losses.sum(), float(2 * n), weight)

    def after_step(self, encoder: Encoder) -> None:
        for memory in (self.words, self.documents, self.remembered):
            memory.push()


def by_entity(records: Iterable[Entity]) -> list[list[Entity]]:
    """The records of each entity that has them in two languages or more."""
    groups: dict[str, list[Entity]] = defaultdict(list)
    for record in records:
        groups[record.id.replace(f"-{record.language}-", "-")].append(record)
    return [group for group in groups.values() if len({record.language for record in group}) > 1]


def tokenised(groups: Sequence[Sequence[Entity]], corpora: Corpora) -> list[EntityExample]:
    """One example per record; mentions that the maximal length cuts off are left out."""
    flat = [record for group in groups for record in group]
    mentions = corpora.tokenizer.encode_offsets([record.mention for record in flat], corpora.max_length)
    descriptions = corpora.tokenizer.encode([record.description for record in flat], corpora.max_length).ids
    examples, start = [], 0
    for number, group in enumerate(groups):
        rows = range(start, start + len(group))
        start += len(group)
        for row in rows:
            if int(mentions.ends[row].max(initial=0)) >= flat[row].span[1]:
                others = tuple(descriptions[other] for other in rows if flat[other].language != flat[row].language)
                span = token_span(mentions, row, Span(*flat[row].span))
                examples.append(EntityExample(mentions.ids[row], span, number, others))
    return examples


def _head(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width, bias=False), nn.ReLU(), nn.Linear(width, width, bias=False))

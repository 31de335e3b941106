"""XLM-K: contrast of mentions of entities, and of facts about them, with descriptions in another language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from numpy.random import Generator
from torch import Tensor

from harness.errors import UserError
from harness.layers import LayerOf
from harness.method import Batch, Corpora, Method, MethodConfig, Term
from harness.modeling.encoder import Encoder
from harness.modeling.packing import pack
from harness.modeling.tokenizer import Tokenizer
from harness.records import Corpus, Entity
from harness.training import distributed
from methods.objectives.batch_norm import projection_head
from methods.objectives.bilingual import join_sides, max_side_length
from methods.objectives.contrastive import nce
from methods.objectives.entities import EntityExample, group_by_entity, tokenize_entities
from methods.objectives.masking import masked_batch, masked_lm
from methods.objectives.momentum import Queue
from methods.objectives.settings import Count, Rate, Share, Temperature, Weight, Whole


class XLMK(Method):
    """Masked entity prediction and object entailment, against entity descriptions in another language.

    Reference: Jiang et al., "XLM-K: Improving Cross-Lingual Language Model Pre-Training with Multilingual Knowledge",
        AAAI 2022, arXiv 2109.12573.
    Objective: L = L_MLM + L_w2d + L_d2w + L_OE. Words w are the first token of a mention, documents d the [CLS] of a
        description of the same entity in another language (masked entity prediction); subjects s are the [CLS] of a
        description joined with the name of a relation, to be paired with the description of the object in another
        language (object entailment). Each kind has its own two-layer head, with batch norm after either layer, over the
        rows of all processes. All contrasts are InfoNCE in both
        directions; the negatives of an anchor are all other vectors of the batch on both sides, and a memory of past
        documents (w2d, OE) or past words (d2w). L_MLM is on the sentences of the mentions. There is no momentum
        encoder: the memory holds past outputs of the encoder itself.
    Inputs: the entity corpus (a sentence with a mention, a description and relations, in several languages). The
        description in another language and the fact are sampled at each step. No bitext. Relations with several objects
        are skipped. A source without relations trains without L_OE.
    Relations: the released code has masked entity prediction alone; the form, memory and weight of object entailment
        are choices. Other entries of the anchor's own entity are not negatives: the memory outlives an epoch. The
        released memory starts with random vectors; here its empty places are skipped.
    Released code: microsoft/Unicoder, pretraining/xlmk. Masked entity prediction is equal on the same tensors to 1e-6
        or better; the code has no object entailment.
    """

    needs: ClassVar[frozenset[Corpus]] = frozenset({Corpus.ENTITIES})
    reference: ClassVar[str] = "Jiang et al. 2022, arXiv 2109.12573"
    objective: ClassVar[str] = (
        "masked LM + InfoNCE with memory of mentions, and of subjects with a relation, against foreign descriptions"
    )
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= \mathcal{L}_{\mathrm{MLM}} + \mathcal{L}_{\mathrm{w2d}} + \mathcal{L}_{\mathrm{d2w}}
        + \mathcal{L}_{\mathrm{OE}} \\
    \mathcal{L}_{\mathrm{w2d}} &= -\frac{1}{2n} \sum_{a} \log
        \frac{e^{s(a, p)}}{e^{s(a, p)} + \sum_{k \in K} e^{s(a, k)}} \\
    s(a, b) &= \frac{\cos(a, b)}{\tau}
    \end{aligned}
    """
    symbols: ClassVar[str] = (
        "a, p: each of the n mentions and n descriptions of the batch and its partner, in OE each subject with a "
        "relation and the object's description; K: those of other entities, in the batch and in a memory of past "
        "descriptions, in d2w of past mentions; by default τ = 0.07."
    )
    in_batch: ClassVar[frozenset[str]] = frozenset({"words", "documents", "entailment"})

    class Config(MethodConfig):
        """All values are choices: the released code does not have the paper's. mask_rate: share of masked subwords;
        mention_mask_rate: how often the whole mention is masked (less where the context does not identify the entity);
        temperature: of the cosine; queue: entries of each memory; memory_from: the first step with negatives from the
        memory. Without a momentum encoder the memory is outdated: at a high learning rate all vectors may drift away
        from it together, so start when the batch alone separates them, and keep about two steps in the queue.
        word_weight, document_weight, entailment_weight: of L_w2d, L_d2w and L_OE; layer: its states are contrasted."""

        mask_rate: Rate = 0.15
        mention_mask_rate: Share = 0.25
        temperature: Temperature = 0.07
        queue: Count = 128
        memory_from: Whole = 100
        word_weight: Weight = 1.0
        document_weight: Weight = 1.0
        entailment_weight: Weight = 1.0
        layer: Annotated[int, LayerOf(1)] = -1

    tokenizer: Tokenizer

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        self.tokenizer = corpora.tokenizer
        self.max_side_length = max_side_length(encoder, corpora)
        self.word_head, self.document_head, self.subject_head = (projection_head(encoder.width) for _ in range(3))
        self.words, self.documents = (Queue(self.config.queue, encoder.width) for _ in range(2))

    def examples(self, corpora: Corpora) -> Sequence[EntityExample]:
        records = [record for record in corpora.records(Corpus.ENTITIES) if isinstance(record, Entity)]
        groups = group_by_entity(records)
        if not groups:
            raise UserError(
                "no entity is described in two languages",
                found=f"{len(records)} records in {len({r.language for r in records})} languages",
                expected="records with the same `entity` in two languages",
            )
        return tokenize_entities(groups, corpora)

    def collate(self, examples: Sequence[EntityExample], rng: Generator) -> Batch:
        special = self.tokenizer.special_ids
        text = pack([e.mention for e in examples], special_ids=special)
        batch = masked_batch(text, self.tokenizer, rng, self.config.mask_rate)
        ids = batch["text"].ids.clone()
        for start, example in zip(text.starts, examples, strict=True):
            if rng.random() < self.config.mention_mask_rate:
                ids[start + example.span[0] : start + example.span[1]] = self.tokenizer.mask_id
        descriptions = [e.translations[rng.integers(len(e.translations))] for e in examples]
        facts = [(e.description, e.facts[rng.integers(len(e.facts))]) for e in examples if e.facts]
        descriptions += [fact.descriptions[rng.integers(len(fact.descriptions))] for _, fact in facts]
        questions = [(subject, fact.relation) for subject, fact in facts]
        return {
            **batch,
            "text": text.with_ids(ids),
            "mentions": torch.tensor([s + e.span[0] for s, e in zip(text.starts, examples, strict=True)]),
            "descriptions": pack(descriptions, special_ids=special),  # of the mentioned entities, then of the objects
            "entities": torch.tensor([e.entity for e in examples]),
            **({"subjects": join_sides(questions, self.max_side_length, special_ids=special)} if facts else {}),
            "objects": torch.tensor([fact.object for _, fact in facts], dtype=torch.long),
        }

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        both, world = 2.0 * len(batch["entities"]), distributed.world_size()
        return {
            "mlm": float(len(batch["labels"])),
            "words": both * world,
            "documents": both * world,
            "entailment": 2.0 * len(batch["objects"]) * world,
        }

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        layer, entities = self.config.layer, batch["entities"]
        states = encoder(batch["text"], layers=(layer, -1))
        described = encoder(batch["descriptions"], layers=(layer,)).cls(layer)
        documents, objects = described.split((len(entities), len(batch["objects"])))
        subjects = encoder(batch["subjects"], layers=(layer,)).cls(layer) if "subjects" in batch else objects
        words, documents, objects, subjects = map(
            distributed.gather, (states.tokens(layer)[batch["mentions"]], documents, objects, subjects)
        )
        entities, numbers = map(distributed.gather, (entities, batch["objects"]))
        words, subjects = self.word_head(words), self.subject_head(subjects) if len(subjects) else subjects
        documents, objects = self.document_head(torch.cat([documents, objects])).split((len(words), len(objects)))
        mine = distributed.gather(torch.full_like(batch["entities"], distributed.rank())) == distributed.rank()
        self.words.add(words[mine], entities[mine, None])
        self.documents.add(documents[mine], entities[mine, None])
        config = self.config
        return {
            "mlm": masked_lm(encoder, states.tokens(), batch["positions"], batch["labels"]),
            "words": self.contrast(words, documents, entities, self.documents, step, config.word_weight),
            "documents": self.contrast(documents, words, entities, self.words, step, config.document_weight),
            "entailment": self.contrast(subjects, objects, numbers, self.documents, step, config.entailment_weight),
        }

    def contrast(
        self, queries: Tensor, keys: Tensor, entities: Tensor, memory: Queue, step: int, weight: float
    ) -> Term:
        """Both directions between n queries and their n keys, with negatives from `memory` from step `memory_from`."""
        n = len(queries)
        both = torch.cat([queries, keys])
        both = both.to(torch.promote_types(both.dtype, memory.keys.dtype))
        numbers = entities.repeat(2)[:, None]
        past = memory.exclusion_mask(numbers) | (step < self.config.memory_from)
        losses = nce(
            both,
            torch.cat([both, memory.keys]),
            torch.arange(n, 3 * n, device=both.device) % (2 * n),
            exclude=torch.cat([numbers == numbers.T, past], dim=1),
            temperature=self.config.temperature,
        )
        return Term(losses.sum(), float(2 * n), weight)

    def after_step(self, encoder: Encoder) -> None:
        for memory in (self.words, self.documents):
            memory.push()

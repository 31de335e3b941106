"""XLM-K on entities that it never read: does a mention find its entity in another language?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.probes.common import LANGUAGES, MAX_LENGTH, aligned, world
from harness.encoder import Encoder
from harness.method import Span
from harness.packing import Spans, pack
from harness.pair_method import token_span
from harness.records import Corpus, Entity
from harness.sources.babel import Babel

HELD_OUT = 150  # entities

Head = Callable[[Tensor], Tensor]


def probe(seed: int, **training: Any) -> dict[str, float]:
    """Accuracy@1 of held-out entities over all ordered pairs of languages: before (`base_...`), after training, and for
    mentions after the same training without either contrast (`mentions_without`), which leaves masked LM.

    `mentions`: a mention among the mentions of another language, by the means of their tokens. `names`: the same, each
    name standing alone. `descriptions`: a mention among the descriptions of another language, as the method does it;
    the base, which has no heads, compares means.
    """
    settings = {"steps": 900, "learning_rate": 1e-3, "queue": 96, "mention_mask_rate": 0.0, **training}
    trained = aligned("xlm-k", seed, **settings)
    without = aligned("xlm-k", seed, **{**settings, "word_weight": 0.0, "document_weight": 0.0})
    entities = held_out(seed)
    method, base, encoder = trained.method, trained.base, trained.encoder
    heads = method.word_head, method.document_head
    return {
        "base_mentions": across(mentions(base, entities), mentions(base, entities)),
        "mentions": across(mentions(encoder, entities), mentions(encoder, entities)),
        "mentions_without": across(mentions(without.encoder, entities), mentions(without.encoder, entities)),
        "base_names": across(texts(base, entities, "name"), texts(base, entities, "name")),
        "names": across(texts(encoder, entities, "name"), texts(encoder, entities, "name")),
        "base_descriptions": across(mentions(base, entities), texts(base, entities, "description")),
        "descriptions": across(
            mentions(encoder, entities, heads[0]), texts(encoder, entities, "description", heads[1])
        ),
        "chance": 1 / HELD_OUT,
    }


def held_out(seed: int) -> dict[str, list[Entity]]:
    """By language the entities that come after those of the world's corpus."""
    settings = world(seed).source.settings
    more = Babel.open(f"seed={seed},entities={settings.sizes.entities + HELD_OUT}")
    return {
        code: [e for e in more.corpus(Corpus.ENTITIES, (code,)) if isinstance(e, Entity)][-HELD_OUT:]
        for code in (more.pivot, *LANGUAGES)
    }


def across(queries: dict[str, Tensor], candidates: dict[str, Tensor]) -> float:
    """The share of queries whose nearest candidate of another language is their own entity."""
    hits = [
        (queries[a] @ candidates[b].T).argmax(1) == torch.arange(len(queries[a]))
        for a in queries
        for b in candidates
        if a != b
    ]
    return float(torch.cat(hits).float().mean())


@torch.no_grad()
def mentions(encoder: Encoder, entities: dict[str, list[Entity]], head: Head | None = None) -> dict[str, Tensor]:
    """Unit vectors of the mentions: the mean of their tokens, or their first token under a head."""
    found = {}
    for code, records in entities.items():
        encoded = encoder.tokenizer.encode_offsets([record.mention for record in records], MAX_LENGTH)
        text = pack([encoded.ids[i] for i in range(len(records))])
        bounds = [token_span(encoded, i, Span(*record.span)) for i, record in enumerate(records)]
        starts = text.starts
        states = encoder(text)
        spans = Spans.of([(start + a, start + b) for start, (a, b) in zip(starts, bounds, strict=True)])
        first = torch.tensor([start + a for start, (a, _) in zip(starts, bounds, strict=True)])
        vectors = states.spans(spans) if head is None else head(states.tokens()[first])
        found[code] = functional.normalize(vectors, dim=1)
    return found


@torch.no_grad()
def texts(
    encoder: Encoder, entities: dict[str, list[Entity]], field: str, head: Head | None = None
) -> dict[str, Tensor]:
    """Unit vectors of names or descriptions: the mean of their tokens, or their [CLS] under a head."""
    found = {}
    for code, records in entities.items():
        ids = encoder.tokenizer.encode([getattr(record, field) for record in records], MAX_LENGTH).ids
        states = encoder(pack([ids[i] for i in range(len(ids))], special_ids=encoder.tokenizer.special_ids))
        vectors = states.mean() if head is None else head(states.cls())
        found[code] = functional.normalize(vectors, dim=1)
    return found

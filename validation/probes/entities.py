"""XLM-K on entities that it never read: do mentions and facts retrieve the entity in another language?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from harness.data.babel import Babel
from harness.modeling.encoder import Encoder
from harness.modeling.packing import Spans, pack
from harness.pair_method import sentence_tokens, word_tokens
from harness.records import Corpus, Entity, Span
from methods.objectives.bilingual import join_sides
from validation.probes.common import LANGUAGES, MAX_LENGTH, Figures, compare, train_method, world

UNREAD = 150  # entities

Head = Callable[[Tensor], Tensor]
ByLanguage = dict[str, list[Entity]]


class Heads(NamedTuple):
    """The heads of mentions (first token), descriptions ([CLS]) and subjects ([CLS]); None for means of tokens."""

    mention: Head | None = None
    description: Head | None = None
    subject: Head | None = None


def xlm_k(seed: int, **training: Any) -> Figures:
    """Accuracy@1 of unread entities over all ordered pairs of languages; control: without the contrasts, which leaves
    masked LM.

    `mentions`: a mention among the mentions of another language, by means of tokens. `descriptions`: a mention among
    the descriptions of another language. `objects`: a description with the name of a relation among the descriptions,
    in another language, of all objects of such questions; `objects_of_two`: only for entities with two relations,
    `objects_swapped`: with the other relation. All but the first use the trained heads; the base and the control have
    no heads and compare means.
    """
    settings = {"steps": 900, "learning_rate": 1e-3, "queue": 96, **training}
    trained = train_method("xlm-k", seed, **settings)
    off = dict.fromkeys(("word_weight", "document_weight", "entailment_weight"), 0.0)
    without, method = train_method("xlm-k", seed, **{**settings, **off}), trained.method
    more = Babel.open(f"seed={seed},entities={world(seed).source.settings.sizes.entities + UNREAD}")
    known = {
        code: [e for e in more.corpus(Corpus.ENTITIES, (code,)) if isinstance(e, Entity)]
        for code in (more.pivot, *LANGUAGES)
    }

    def measure(encoder: Encoder) -> Figures:
        heads = Heads(method.word_head, method.document_head, method.subject_head)
        return entity_accuracies(encoder, heads if encoder is trained.encoder else Heads(), known)

    chance = {"chance": 1 / UNREAD}
    chance["objects_chance"] = 1 / len({r.object for e in known[LANGUAGES[0]][-UNREAD:] for r in e.relations})
    return {**compare(trained, measure, without), **chance}


def entity_accuracies(encoder: Encoder, heads: Heads, known: ByLanguage) -> Figures:
    """The accuracies of an encoder on the last entities of each language."""
    unread = {code: records[-UNREAD:] for code, records in known.items()}
    plain = {code: mentions(encoder, records) for code, records in unread.items()}
    headed = {code: mentions(encoder, records, heads.mention) for code, records in unread.items()}
    described = {
        code: texts(encoder, [r.description for r in records], heads.description) for code, records in known.items()
    }
    last = {code: vectors[-UNREAD:] for code, vectors in described.items()}
    return {
        "mentions": accuracy_across(plain, plain),
        "descriptions": accuracy_across(headed, last),
        "objects": objects(encoder, heads.subject, known, described),
        "objects_of_two": objects(encoder, heads.subject, known, described, two=True),
        "objects_swapped": objects(encoder, heads.subject, known, described, two=True, swapped=True),
    }


def accuracy_across(queries: dict[str, Tensor], candidates: dict[str, Tensor]) -> float:
    """The share of queries whose nearest candidate of another language is their own entity."""
    pairs = [(queries[a], candidates[b]) for a in queries for b in candidates if a != b]
    return float(torch.cat([(x @ y.T).argmax(1) == torch.arange(len(x)) for x, y in pairs]).float().mean())


def objects(
    encoder: Encoder,
    head: Head | None,
    known: ByLanguage,
    described: dict[str, Tensor],
    *,
    two: bool = False,
    swapped: bool = False,
) -> float:
    """The share of facts of unread entities whose nearest description in another language is that of the object, among
    all objects of such facts except the subject; `two`: only entities with two relations; `swapped`: with the other
    relation."""
    hits = []
    for code, records in known.items():
        numbers = {record.entity: i for i, record in enumerate(records)}
        no_object = torch.ones(len(records), dtype=torch.bool)
        no_object[[numbers[r.object] for record in records[-UNREAD:] for r in record.relations]] = False
        facts = [
            (record, record.relations[::-1][k] if swapped else relation, relation.object)
            for record in records[-UNREAD:]
            for k, relation in enumerate(record.relations)
            if not two or len(record.relations) == 2
        ]
        asked = subjects(encoder, [(record.description, relation.name) for record, relation, _ in facts], head)
        own = torch.tensor([numbers[record.entity] for record, _, _ in facts])
        wanted = torch.tensor([numbers[other] for _, _, other in facts])
        for other in (described[b] for b in known if b != code):
            similar = (asked @ other.T).masked_fill(no_object, -torch.inf).scatter(1, own[:, None], -torch.inf)
            hits.append(similar.argmax(1) == wanted)
    return float(torch.cat(hits).float().mean())


def mentions(encoder: Encoder, records: Sequence[Entity], head: Head | None = None) -> Tensor:
    """Unit vectors of the mentions: the mean of their tokens, or their first token under a head."""
    encoded = encoder.tokenizer.encode_offsets([record.mention for record in records], MAX_LENGTH)
    text = pack([encoded.ids[i] for i in range(len(records))])
    spans = [
        word_tokens(encoded, i, Span(*record.span)) or sentence_tokens(encoded, i) for i, record in enumerate(records)
    ]
    bounds = [(start + a, start + b) for start, (a, b) in zip(text.starts, spans, strict=True)]
    states = encoder(text)
    if head is None:
        return normalize(states.spans(Spans.of(bounds)), dim=1)
    return normalize(head(states.tokens()[[first for first, _ in bounds]]), dim=1)


def texts(encoder: Encoder, chosen: Sequence[str], head: Head | None) -> Tensor:
    """Unit vectors of texts: the mean of their tokens, or their [CLS] under a head."""
    ids = encoder.tokenizer.encode(chosen, MAX_LENGTH).ids
    states = encoder(pack([ids[i] for i in range(len(ids))], special_ids=encoder.tokenizer.special_ids))
    return normalize(states.mean() if head is None else head(states.cls()), dim=1)


def subjects(encoder: Encoder, asked: Sequence[tuple[str, str]], head: Head | None) -> Tensor:
    """Unit vectors of descriptions joined with the names of relations: their means, or their [CLS] under a head."""
    sides = [encoder.tokenizer.encode(list(side), MAX_LENGTH).ids for side in zip(*asked, strict=True)]
    pairs = [(sides[0][i], sides[1][i]) for i in range(len(asked))]
    states = encoder(join_sides(pairs, MAX_LENGTH, special_ids=encoder.tokenizer.special_ids))
    return normalize(states.mean() if head is None else head(states.cls()), dim=1)

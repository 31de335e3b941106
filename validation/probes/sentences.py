"""Probes on sentences: retrieval of translations, agreement of attention, a queue of keys, inference triplets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from harness.modeling.encoder import Encoder
from harness.modeling.packing import pack
from harness.pair_method import PairMethod
from harness.records import TextPair
from harness.registry import METHODS, TASKS
from harness.training.order import Order
from methods.amber import agreement, first_lengths
from methods.objectives.bilingual import join_sides
from methods.objectives.inference import triplets
from tasks.xnli import SPEC
from validation.probes.common import (
    Figures,
    TrainedMethod,
    compare,
    next_of_language,
    retrieval,
    retrieval_of_pivot,
    sentence_vectors,
    train_method,
    world,
)

INFOXLM_QUEUE, PPA_QUEUE, BATCH = 256, 512, 48
TRIPLETS = 300  # held out
SWITCHED = 200  # records of `pawsx`


def amber(seed: int, **training: Any) -> Figures:
    """Retrieval accuracy of held-out sentences and agreement of attention; control: without either term."""
    trained = train_method("amber", seed, **training)
    without = train_method("amber", seed, **{**training, "sentence_weight": 0.0, "word_weight": 0.0})

    def measure(encoder: Encoder) -> Figures:
        return {
            "retrieval": retrieval_of_pivot(encoder, trained.held_out),
            "agreement": attention_agreement(encoder, trained),
        }

    return compare(trained, measure, without)


def attention_agreement(encoder: Encoder, trained: TrainedMethod) -> float:
    """The mean agreement over held-out pairs, joined without masks, the pivot first."""
    method, tokenizer, pairs = trained.method, encoder.tokenizer, trained.distinct_pairs()
    length = method.max_side_length
    sides = [tokenizer.encode([getattr(p, side) for p in pairs], length).ids for side in ("source", "target")]
    values = []
    for start in range(0, len(pairs), 64):
        part = [(sides[0][i], sides[1][i]) for i in range(start, min(start + 64, len(pairs)))]
        text = join_sides(part, length, special_ids=tokenizer.special_ids)
        states = encoder(text, layers=(method.layer - 1, -1))
        values.append(agreement(states.attention(method.layer), first_lengths(text), normalize_rows=False))
    return float(torch.cat(values).mean())


def infoxlm(seed: int, **training: Any) -> Figures:
    """Retrieval of translations by the [CLS] of the contrasted layer; control: without the contrast. `tlm` and
    `tlm_shuffled` are the loss per masked token of joined pairs, and of pairs with another pair's translation."""
    trained = train_method("infoxlm", seed, **{"queue": INFOXLM_QUEUE, **training})
    without = train_method("infoxlm", seed, **{"queue": INFOXLM_QUEUE, "xlco_weight": 0.0, **training})
    assert not bool(trained.method.queue.empty_mask().any()), "the contrast never started"
    method, examples = trained.method, trained.examples()
    text = PairMethod.collate(method, examples, np.random.default_rng(0))["text"]

    def measure(encoder: Encoder) -> Figures:
        return {"retrieval": retrieval(*encoder(text, layers=(method.layer,)).cls(method.layer).chunk(2))}

    @torch.no_grad()
    def translation_lm(pairs: list[Any]) -> float:
        term = method.loss(trained.encoder, method.collate(pairs, np.random.default_rng(0)), 0)["tlm"]
        return float(term.sum) / int(term.count)

    true = sorted(examples, key=lambda example: example.language)
    others = next_of_language([example.language for example in true])
    shuffled = [example._replace(target=true[i].target) for example, i in zip(true, others, strict=True)]
    losses = {"tlm": translation_lm(true), "tlm_shuffled": translation_lm(shuffled)}
    return {**losses, **compare(trained, measure, without)}


def ppa(seed: int, **training: Any) -> Figures:
    """Shares between 0 and 1: retrieval of translations by [CLS] (control: without the contrast), what `queue_shares`
    says of the queue, and `switching_shares` of the hook of `ppa-switch`."""
    settings = {"batch": BATCH, "queue": PPA_QUEUE, **training}
    trained = train_method("ppa", seed, **settings)
    without = train_method("ppa", seed, **{**settings, "sentence_weight": 0.0})
    examples = trained.examples()

    def measure(encoder: Encoder) -> Figures:
        x, y = (encoder(pack([getattr(e, side) for e in examples])).cls() for side in ("source", "target"))
        return {"retrieval": retrieval(x, y)}

    return {**queue_shares(trained, seed), **compare(trained, measure, without), **switching_shares(trained)}


@torch.no_grad()
def queue_shares(trained: TrainedMethod, seed: int) -> Figures:
    """`queue_own`: the share of keys whose nearest vector of the momentum copy, among all sentences of the queue, is
    that of their own sentence; `queue_pivot`: the share of pivot sentences.

    The batches of the last steps are collated again, from the order of the examples and the seeds of the steps.
    """
    method = trained.method
    examples, held, pushed = method.examples(trained.corpora), len(method.queue), int(method.queue.pushed)
    order, rows, pivot = Order(len(examples), seed), [], []
    steps = pushed // BATCH
    for step in range(steps - -(-held // BATCH), steps):
        numbers, _ = order.take(step * BATCH, BATCH)
        chosen = [examples[i] for i in numbers]
        batch = method.collate(chosen, np.random.default_rng([seed, step, 0, 0]))
        for ids, example in zip(batch["keys"].ids.split(batch["keys"].lengths), chosen, strict=True):
            rows.append(ids.numpy())
            pivot.append(np.array_equal(rows[-1], example.source))
    rows, pivot = rows[-held:], pivot[-held:]
    encode, project = method.momentum_copy["encoder"], method.momentum_copy["head"]
    seen = torch.cat([project(encode(pack(rows[i : i + 64])).cls()) for i in range(0, len(rows), 64)])
    keys = method.queue.keys[(pushed - held + torch.arange(held)) % held]
    nearest = (normalize(keys, dim=1) @ normalize(seen, dim=1).T).argmax(1).tolist()
    own = [np.array_equal(rows[j], rows[i]) for i, j in enumerate(nearest)]  # a sentence recurs once per matched word
    return {"queue_own": float(np.mean(own)), "queue_pivot": float(np.mean(pivot))}


def switching_shares(trained: TrainedMethod) -> Figures:
    """Shares of training pairs of `pawsx` after the hook: `switched` have another sentence than before, `mixed` have
    sentences in two languages, `label_kept` keep id and label."""
    cls, source, rng = METHODS.get("ppa-switch"), trained.corpora.source, np.random.default_rng(0)
    method = cls()
    method.prepare_finetuning(replace(trained.corpora, sample=(), needs=cls.needs))
    before: Any = list(source.task(TASKS.get("pawsx").spec, source.pivot, "train"))[:SWITCHED]
    pairs = [(record, method.finetune_example(record, rng)) for record in before]
    changed = [(a.first != b.first) + (a.second != b.second) for a, b in pairs]
    return {
        "switched": float(np.mean([count > 0 for count in changed])),
        "mixed": float(np.mean([count == 1 for count in changed])),
        "label_kept": float(np.mean([(a.id, a.label) == (b.id, b.label) for a, b in pairs])),
    }


def msimcse(seed: int, **training: Any) -> Figures:
    """On pivot triplets of a training set that is never read, the share of premises that are nearer to their entailment
    than to their contradiction, and retrieval across languages; both by first tokens, and also of the base."""
    trained = train_method("msimcse", seed, **training)
    source = world(seed).source
    pairs = [record for record in source.task(SPEC, source.pivot, "train") if isinstance(record, TextPair)]
    held_out = list(zip(*triplets(pairs)[:TRIPLETS], strict=True))

    def measure(encoder: Encoder) -> Figures:
        premises, entailed, contradicting = (sentence_vectors(encoder, texts, first=True) for texts in held_out)
        nearer = (premises * entailed).sum(1) > (premises * contradicting).sum(1)
        return {
            "triplets": float(nearer.float().mean()),
            "retrieval": retrieval_of_pivot(encoder, trained.held_out, first=True),
        }

    return compare(trained, measure)

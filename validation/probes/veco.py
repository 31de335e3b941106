"""VECO: does cross-attention use the translation, and is the exported encoder the one without plugs?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModel

from harness.method import Term
from harness.modeling.attention import Layout
from harness.modeling.encoder import Encoder
from harness.modeling.packing import PackedText, pack
from methods.objectives.masking import masked_lm
from validation.probes.common import TrainedMethod, train_method


def probe(seed: int, **training: Any) -> dict[str, float]:
    """Losses on the same masks of the same held-out pairs, in nats per masked subword.

    `ca_mlm` has the plugs over the true translation, `ca_mlm_shuffled` over that of another sentence of the same
    language, which shows what the plugs add as extra layers. `mlm` is the same encoder without plugs, `continued_mlm`
    an encoder that was trained without them for as long, `base_mlm` the one before training. For
    `unplugged_difference` see there.
    """
    trained, control = train_method("veco", seed, **training), train_method("continued-mlm", seed, **training)
    figures = measure(trained)
    batch = held_out_batch(trained)
    return figures | {
        "continued_mlm": _mean(_plain(control.encoder, batch)),
        "base_mlm": _mean(_plain(trained.base, batch)),
        "unplugged_difference": unplugged_difference(trained, batch["text"]),
    }


def held_out_batch(trained: TrainedMethod, pairs: int = 256) -> Any:
    """One masked batch of distinct held-out sentence pairs; the same at each call."""
    once = tuple({pair.sentence: pair for pair in trained.held_out}.values())[:pairs]
    examples = trained.method.examples(trained.on(once))
    chosen = [examples[i] for i in range(len(examples))]
    batch = trained.method.collate(chosen, np.random.default_rng(0))
    return {**batch, "codes": [example.language for example in chosen]}


@torch.no_grad()
def measure(trained: TrainedMethod) -> dict[str, float]:
    """The losses of `probe` that need the plugs."""
    method, encoder, batch = trained.method, trained.encoder, held_out_batch(trained)
    text: PackedText = batch["text"]
    alone = encoder(text).tokens()
    states, partners = shuffled(alone, text, batch["codes"])
    crossed = {
        "ca_mlm": method.states_with_plugs(encoder, text, alone, batch["partners"]),
        "ca_mlm_shuffled": method.states_with_plugs(encoder, text, states, partners),
        "mlm": alone,
    }
    return {n: _mean(masked_lm(encoder, h, batch["positions"], batch["labels"])) for n, h in crossed.items()}


def shuffled(states: Tensor, text: PackedText, codes: Sequence[str]) -> tuple[Tensor, Layout]:
    """`states` (T, H) of n sentences and their translations, each pair replaced by another one of its language, and the
    layout of the other sides: arguments of `VECO.states_with_plugs`."""
    n, order = len(codes), other_of_language(codes)
    rows = torch.split(states, list(text.lengths))
    moved = [*(rows[i] for i in order), *(rows[n + i] for i in order)]
    lengths = [len(row) for row in (*moved[n:], *moved[:n])]
    return torch.cat(moved), Layout.of(tuple(lengths))


def other_of_language(codes: Sequence[str]) -> list[int]:
    """The number of another pair of the same language for each pair: the next one, and the first for the last."""
    members = defaultdict(list)
    for number, code in enumerate(codes):
        members[code].append(number)
    assert all(len(group) > 1 for group in members.values()), "a language with one pair has no other"
    following = {a: b for group in members.values() for a, b in zip(group, [*group[1:], group[0]], strict=True)}
    return [following[number] for number in range(len(codes))]


@torch.no_grad()
def unplugged_difference(trained: TrainedMethod, text: PackedText) -> float:
    """The largest difference over all layers and sentences between the trained encoder without plugs and its export,
    loaded by transformers and run on one sentence at a time: 0 if they agree bit for bit."""
    with TemporaryDirectory() as folder:
        trained.method.export(trained.encoder).save(Path(folder))
        plain = AutoModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="sdpa").eval()
    layers, largest = range(trained.encoder.depth + 1), 0.0
    for ids in torch.split(text.ids, list(text.lengths)):
        ours = trained.encoder(pack([ids.numpy()]), layers=layers)
        theirs = plain(ids[None], output_hidden_states=True).hidden_states
        gaps = [float((ours.tokens(layer) - theirs[layer][0]).abs().max()) for layer in layers]
        largest = max(largest, *gaps)
    return largest


@torch.no_grad()
def _plain(encoder: Encoder, batch: Any) -> Term:
    return masked_lm(encoder, encoder(batch["text"]).tokens(), batch["positions"], batch["labels"])


def _mean(term: Term) -> float:
    return float(term.sum) / term.count

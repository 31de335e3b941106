"""Probes on predictions: masked words with a translation, replaced tokens, word alignments, and translations."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import sacrebleu
import torch
from scipy.stats import rankdata
from torch import Tensor
from transformers import AutoModel

from harness.method import Term
from harness.modeling.attention import Layout
from harness.modeling.encoder import Encoder
from harness.modeling.packing import PackedText, pack
from harness.records import AlignedPair, Corpus
from methods.objectives.alignment import gather_positions, iter_max, side_positions, sinkhorn
from methods.objectives.bilingual import join_sides
from methods.objectives.masking import masked_lm
from validation.probes.common import (
    LANGUAGES,
    Figures,
    TrainedMethod,
    compare,
    next_of_language,
    train_method,
    world,
)

GOLD_PAIRS = 150  # with word links, per language
TRANSLATED = 64  # pairs


def xlm(seed: int, **training: Any) -> Figures:
    """Mean TLM loss per masked token of held-out pairs (`true`), and of pairs with the translation of another one of
    their language (`shuffled`); also of the base. Masks are the same where the lengths are: compare means only."""
    trained = train_method("xlm", seed, **training)
    examples = trained.examples(sorted(trained.distinct_pairs(), key=lambda pair: pair.language))
    others = next_of_language([example.language for example in examples])
    shuffled = [e._replace(target=examples[i].target) for e, i in zip(examples, others, strict=True)]

    def loss(encoder: Encoder, chosen: Sequence[Any]) -> float:
        total = count = 0.0
        for start in range(0, len(chosen), 50):
            batch = trained.method.collate(chosen[start : start + 50], np.random.default_rng(start))
            term = trained.method.loss(encoder, batch, 0)["tlm"]
            total, count = total + float(term.sum), count + term.count
        return total / count

    return compare(trained, lambda encoder: {"true": loss(encoder, examples), "shuffled": loss(encoder, shuffled)})


def veco(seed: int, **training: Any) -> Figures:
    """Losses on the same masks of the same held-out pairs, in nats per masked subword: `mlm` without plugs, also of the
    base and of the control continued-mlm, the figures of `plugged_losses`, and `unplugged_difference`."""
    trained, control = train_method("veco", seed, **training), train_method("continued-mlm", seed, **training)
    batch = masked_pairs(trained)

    def measure(encoder: Encoder) -> Figures:
        return {
            "mlm": mean_of(masked_lm(encoder, encoder(batch["text"]).tokens(), batch["positions"], batch["labels"]))
        }

    difference = unplugged_difference(trained, batch["text"])
    return {**plugged_losses(trained), **compare(trained, measure, control), "unplugged_difference": difference}


def masked_pairs(trained: TrainedMethod) -> Any:
    """One masked batch of distinct held-out sentence pairs with their language `codes`; the same at each call."""
    examples = trained.examples(trained.distinct_pairs()[:256])
    batch = trained.method.collate(examples, np.random.default_rng(0))
    return {**batch, "codes": [example.language for example in examples]}


@torch.no_grad()
def plugged_losses(trained: TrainedMethod) -> Figures:
    """`ca_mlm` has the plugs over the true translation, `ca_mlm_shuffled` over that of another sentence of the same
    language, which shows what the plugs add as extra layers."""
    method, encoder, batch = trained.method, trained.encoder, masked_pairs(trained)
    text: PackedText = batch["text"]
    alone = encoder(text).tokens()
    contexts = {"ca_mlm": (alone, batch["partners"]), "ca_mlm_shuffled": shuffle_partners(alone, text, batch["codes"])}
    found = {}
    for name, context in contexts.items():
        states = method.states_with_plugs(encoder, text, *context)
        found[name] = mean_of(masked_lm(encoder, states, batch["positions"], batch["labels"]))
    return found


def shuffle_partners(states: Tensor, text: PackedText, codes: Sequence[str]) -> tuple[Tensor, Layout]:
    """`states` (T, H) of n sentences and their translations, each pair replaced by another one of its language, and the
    layout of the other sides: arguments of `VECO.states_with_plugs`."""
    n, order = len(codes), next_of_language(codes)
    rows = torch.split(states, list(text.lengths))
    moved = [*(rows[i] for i in order), *(rows[n + i] for i in order)]
    return torch.cat(moved), Layout.of(tuple(len(row) for row in (*moved[n:], *moved[:n])))


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


def mean_of(term: Term) -> float:
    return float(term.sum) / term.count


def xlm_e(seed: int, **training: Any) -> Figures:
    """Areas under the ROC curve over the tokens of held-out pairs without special tokens: `trtd` on joined pairs,
    `mrtd` on single sides; `replaced` is the share of replaced tokens in joined pairs."""
    trained = train_method("xlm-e", seed, **{"steps": 1800, **training})
    method, batch = trained.method, trained.method.collate(trained.examples(), np.random.default_rng(0))
    found = {}
    for prefix, name in (("", "trtd"), ("alone_", "mrtd")):
        made = method.replace_tokens(batch, prefix)
        words = ~made.text.special
        ranks = rankdata(method.scores(trained.encoder, made.text)[words].detach().numpy())
        truth = made.replaced[words].numpy()
        positives = int(truth.sum())
        above = ranks[truth].sum() - positives * (positives + 1) / 2
        found[name] = float(above / (positives * (len(truth) - positives)))
        found.setdefault("replaced", float(truth.mean()))
    return found


def xlm_align(seed: int, **training: Any) -> Figures:
    """Alignment error rates, 1 - (|A and S| + |A and P|) / (|A| + |S|), on gold links of held-out pairs; control:
    without the pointer, which leaves the two language models."""
    settings = {"steps": 900, **training}
    trained = train_method("xlm-align", seed, **settings)
    without = train_method("xlm-align", seed, **{**settings, "align_weight": 0.0})
    source = world(seed).source
    gold = [p for code in LANGUAGES for p in list(source.corpus(Corpus.ALIGNMENT, (code,)))[:GOLD_PAIRS]]
    pairs = [pair for pair in gold if isinstance(pair, AlignedPair)]

    def measure(encoder: Encoder) -> Figures:
        links = self_labels(encoder, pairs, trained.method.layer, trained.method.max_side_length)
        hits = sum(len(a & pair.sure) + len(a & pair.possible) for a, pair in zip(links, pairs, strict=True))
        return {"error": 1 - hits / sum(len(a) + len(pair.sure) for a, pair in zip(links, pairs, strict=True))}

    return compare(trained, measure, without)


def self_labels(
    encoder: Encoder, gold: Sequence[AlignedPair], layer: int, max_length: int
) -> list[set[tuple[int, int]]]:
    """The word links of each pair: words are linked if any of their subwords are."""
    found = []
    for start in range(0, len(gold), 64):
        pairs = [encoder.tokenizer.encode_words([p.source, p.target], max_length) for p in gold[start : start + 64]]
        text = join_sides([(p.ids[0], p.ids[1]) for p in pairs], max_length, special_ids=encoder.tokenizer.special_ids)
        states = encoder(text, layers=(layer,)).tokens(layer)
        first, second = side_positions(text)
        valid = (first >= 0)[:, :, None] & (second >= 0)[:, None, :]
        similarity = gather_positions(states, first) @ gather_positions(states, second).transpose(1, 2)
        for pair, links in zip(pairs, iter_max(sinkhorn(similarity, valid, 2), valid), strict=True):
            # The word of each token of a side, special tokens left out.
            x, y = (np.cumsum(np.isin(np.arange(1, len(pair.ids[s]) - 1), pair.first[s])) - 1 for s in (0, 1))
            found.append({(int(x[i]), int(y[j])) for i, j in links.nonzero().tolist()})
    return found


def mmte(seed: int, **training: Any) -> Figures:
    """BLEU of greedy translations of held-out pairs, in both directions, between 0 and 100.

    `copy` is the source itself; `unigram` are the most frequent words of the target language in the sample, as many as
    in the reference; `shuffled` are the decoder's translations of other sentences of the same language.
    """
    trained = train_method("mmte", seed, **{"steps": 600, "learning_rate": 1e-3, "layers": 2, **training})
    method, hf = trained.method, trained.corpora.tokenizer.hf
    pairs = sorted(trained.distinct_pairs(), key=lambda pair: pair.language)
    examples = trained.examples(pairs[:: max(1, len(pairs) // TRANSLATED)])
    batch, n = method.collate(examples, np.random.default_rng(0)), len(examples)
    translated = method.translate(trained.encoder, batch["text"], batch["languages"])
    sources = [row.tolist() for row in batch["text"].ids.split(batch["text"].lengths)]
    languages = batch["languages"].tolist()
    said, copied, reference = (
        [str(hf.decode(row, skip_special_tokens=True)) for row in rows]
        for rows in (translated, sources, sources[n:] + sources[:n])
    )
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for pair in trained.corpora.sample:
        for code, text in ((trained.corpora.pivot, pair.source), (pair.language, pair.target)):
            counts[method.numbers[code]].update(text.split())
    common = {number: [word for word, _ in counter.most_common()] for number, counter in counts.items()}
    texts = {
        "bleu": said,
        "copy": copied,
        "unigram": [" ".join(common[k][: len(text.split())]) for k, text in zip(languages, reference, strict=True)],
        "shuffled": [said[i] for i in next_of_language(languages)],
    }
    return {name: float(sacrebleu.corpus_bleu(chosen, [reference]).score) for name, chosen in texts.items()}

"""MMTE: does its decoder translate held-out pairs better than a copy of the source or a unigram decoder?"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import sacrebleu

from validation.probes.common import TrainedMethod, train_method


def probe(seed: int, **training: Any) -> dict[str, float]:
    """BLEU of greedy translations of held-out pairs, in both directions, between 0 and 100.

    `copy` is the source itself; `unigram` are the most frequent words of the target language in the sample, as many as
    in the reference; `shuffled` are the decoder's translations of other sentences of the same language.
    """
    training = {"steps": 600, "learning_rate": 1e-3, "layers": 2, **training}
    return measure(train_method("mmte", seed, **training))


def measure(trained: TrainedMethod, pairs: int = 64) -> dict[str, float]:
    """The figures of `probe` for an MMTE that is trained."""
    method, tokenizer = trained.method, trained.corpora.tokenizer
    chosen = {pair.sentence: pair for pair in trained.held_out}
    held_out = tuple(sorted(chosen.values(), key=lambda pair: pair.language)[:: max(1, len(chosen) // pairs)])
    examples = method.examples(trained.on(held_out))
    batch = method.collate([examples[i] for i in range(len(examples))], np.random.default_rng(0))
    made = method.translate(trained.encoder, batch["text"], batch["languages"])
    sources = [row.tolist() for row in batch["text"].ids.split(batch["text"].lengths)]
    n = len(held_out)
    wanted = sources[n:] + sources[:n]
    languages = batch["languages"].tolist()
    said, copied, reference = (_texts(tokenizer, rows) for rows in (made, sources, wanted))
    common = _common_words(trained)
    unigram = [" ".join(common[code][: len(text.split())]) for code, text in zip(languages, reference, strict=True)]
    return {
        "bleu": _bleu(said, reference),
        "copy": _bleu(copied, reference),
        "unigram": _bleu(unigram, reference),
        "shuffled": _bleu(_next_of_language(said, languages), reference),
    }


def _texts(tokenizer: Any, rows: list[list[int]]) -> list[str]:
    return [str(tokenizer.hf.decode(row, skip_special_tokens=True)) for row in rows]


def _bleu(made: list[str], reference: list[str]) -> float:
    return float(sacrebleu.corpus_bleu(made, [reference]).score)


def _common_words(trained: TrainedMethod) -> dict[int, list[str]]:
    """The words of each language's side of the sample, the most frequent first."""
    numbers = trained.method.numbers
    counts: dict[int, Counter[str]] = {}
    for pair in trained.corpora.sample:
        for code, text in ((trained.corpora.pivot, pair.source), (pair.language, pair.target)):
            counts.setdefault(numbers[code], Counter()).update(text.split())
    return {code: [word for word, _ in counter.most_common()] for code, counter in counts.items()}


def _next_of_language(texts: list[str], languages: list[int]) -> list[str]:
    """Each text's follower of the same language, in a ring."""
    out = list(texts)
    for language in set(languages):
        rows = [i for i, code in enumerate(languages) if code == language]
        for here, there in zip(rows, rows[1:] + rows[:1], strict=True):
            out[here] = texts[there]
    return out

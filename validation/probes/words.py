"""Probes on words: translations in the input embeddings, of masked words, and of words in context."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.modeling.encoder import Encoder
from harness.modeling.packing import PackedText, Spans, pack
from methods.objectives.dictionary import SubwordEntry, subword_entries
from methods.objectives.word_vectors import word_pair_batch, word_vectors
from methods.objectives.words import WordPairExamples
from validation.probes.common import MAX_LENGTH, Figures, TrainedMethod, compare, train_method

SHARE = 0.75  # of the pivot's words that ALIGN-MLM trains on
NEIGHBOURS = 10  # of the cross-domain similarity local scaling
BATCH = 48


def align_mlm(seed: int, steps: int = 400) -> Figures:
    """Accuracy@1 in percent of pivot words among all words of a language by their input embeddings, a mean over
    languages: of the words that are trained on (`seen`), and of the others (`held_out`); control: continued-mlm."""
    # With a lower rate, held-out words change too little in so few steps.
    trained = train_method("align-mlm", seed, steps=steps, learning_rate=1e-3, share=SHARE)
    control = train_method("continued-mlm", seed, steps=steps, learning_rate=1e-3)
    known = set(trained.method.flat[trained.method.pairs[:, 0]].tolist())
    words = subword_entries(trained.corpora, single=True)
    seen = [entry.source[0] in known for entry in words]

    def measure(encoder: Encoder) -> Figures:
        embeddings = functional.normalize(encoder.input_embeddings, dim=1)
        return {
            "seen": nearest_words(embeddings, words, seen),
            "held_out": nearest_words(embeddings, words, [not flag for flag in seen]),
        }

    return compare(trained, measure, control)


def nearest_words(embeddings: Tensor, words: list[SubwordEntry], selected: list[bool]) -> float:
    """Percent of the pivot words in the `selected` entries whose nearest neighbour, among all words of the other
    language in the dictionary, is one of their translations; a mean over languages."""
    scores = []
    for language in sorted({entry.language for entry in words}):
        gold: dict[int, set[int]] = defaultdict(set)
        for entry in words:
            if entry.language == language:
                gold[entry.source[0]].add(entry.target[0])
        chosen = (e.source[0] for e, flag in zip(words, selected, strict=True) if flag and e.language == language)
        queries, candidates = sorted(set(chosen)), torch.tensor(sorted(set().union(*gold.values())))
        best = candidates[(embeddings[queries] @ embeddings[candidates].T).argmax(1)].tolist()
        scores.append(np.mean([b in gold[q] for q, b in zip(queries, best, strict=True)]))
    return 100 * float(np.mean(scores))


def dict_mlm(seed: int, steps: int = 300) -> Figures:
    """Mean log-probability of the translation at a masked dictionary word, in held-out sentence pairs.

    `translation` is after training, with the vector of the other language; `base` before it and `continued` after
    masked LM alone, both without a vector; `own` is that of the masked word with the vector of its own language. Only
    words of one subword on both sides count; the sentence is read without its translation.
    """
    trained = train_method("dict-mlm", seed, steps=steps)
    control = train_method("continued-mlm", seed, steps=steps)
    asked = cloze_questions(trained)
    vectors = trained.method.languages.detach()
    zero = torch.zeros(1, vectors.shape[1])
    return {
        "translation": cloze_answer(trained.encoder, asked, "translation", vectors[asked["other"]]),
        "base": cloze_answer(trained.base, asked, "translation", zero),
        "continued": cloze_answer(control.encoder, asked, "translation", zero),
        "own": cloze_answer(trained.encoder, asked, "word", vectors[asked["language"]]),
    }


def cloze_questions(trained: TrainedMethod) -> dict[str, Any]:
    """One sentence per word pair and side with the word masked: its position, the word, and its translation."""
    method, tokenizer = trained.method, trained.method.tokenizer
    rows, texts = [], []
    for example in WordPairExamples.of(trained.on(trained.held_out), skip_identical=True):
        number = method.numbers[example.pair.language]
        for (a, b), (c, d) in example.words:
            if b - a == d - c == 1:
                x, y = example.pair.source, example.pair.target
                rows += [(a, x[a], y[c], 0, number), (c, y[c], x[a], number, 0)]
                texts += [x.copy(), y.copy()]
    for text, row in zip(texts, rows, strict=True):
        text[row[0]] = tokenizer.mask_id
    names = ("place", "word", "translation", "language", "other")
    columns = dict(zip(names, torch.tensor(np.array(rows)).T, strict=True))
    return {**columns, "text": pack(texts, special_ids=tokenizer.special_ids)}


@torch.no_grad()
def cloze_answer(encoder: Encoder, asked: dict[str, Any], wanted: str, vectors: Tensor) -> float:
    """The mean log-probability of the `wanted` column's words."""
    text: PackedText = asked["text"]
    hidden = encoder(text).tokens()[torch.tensor(text.starts) + asked["place"]]
    scores = encoder.mlm_logits(hidden + vectors).log_softmax(1)
    return float(scores.gather(1, asked[wanted].long()[:, None]).mean())


class WordPairs(NamedTuple):
    """The dictionary word pairs of one language's sentence pairs, packed."""

    text: PackedText
    words: Spans


def held_out_words(trained: TrainedMethod) -> list[WordPairs]:
    """The word pairs of the held-out sentence pairs, by language, without words that are the same string on both sides.
    The words may be in the sample, too; the sentences are not."""
    examples = WordPairExamples.of(trained.on(trained.held_out), skip_identical=True)
    found = []
    for language in sorted({pair.language for pair in trained.held_out}):
        chosen = [examples[i] for i, pair in enumerate(trained.held_out) if pair.language == language]
        once = list({example.pair.sentence: example for example in chosen}.values())
        batch = word_pair_batch(once, "mean", special_ids=trained.corpora.tokenizer.special_ids)
        found.append(WordPairs(batch["text"], batch["words"]))
    return found


def word_retrieval(encoder: Encoder, pairs: list[WordPairs]) -> float:
    """Percent of words in context whose nearest word by CSLS (Conneau et al., ICLR 2018, arXiv 1710.04087), among all
    words of the other side, is their translation in the same sentence pair; the mean over directions and languages."""
    scores = []
    for text, words in pairs:
        x, y = (functional.normalize(v, dim=1) for v in word_vectors(encoder(text), words))
        cosines, gold = x @ y.T, torch.arange(len(x))
        rows, columns = (cosines.topk(min(NEIGHBOURS, len(x)), dim=side).values for side in (1, 0))
        scaled = 2 * cosines - rows.mean(1, keepdim=True) - columns.mean(0, keepdim=True)
        scores += [float((scaled.argmax(side) == gold).float().mean()) for side in (0, 1)]
    return 100 * float(np.mean(scores))


def word_contrast(seed: int, steps: int = 200) -> Figures:
    """Contextual word retrieval on held-out sentence pairs; control: continued-mlm."""
    trained = train_method("word-contrast", seed, steps=steps)
    control = train_method("continued-mlm", seed, steps=steps)
    pairs = held_out_words(trained)
    return compare(trained, lambda encoder: {"words": word_retrieval(encoder, pairs)}, control)


def l2_align(seed: int, steps: int = 200) -> Figures:
    """Contextual word retrieval on held-out sentence pairs, and the mean squared change of a unit of the pivot's states
    (`moved`); control: without the regulariser."""
    trained, free = (train_method("l2-align", seed, steps=steps, regulariser=weight) for weight in (1.0, 0.0))
    pairs = held_out_words(trained)
    sources = trained.corpora.tokenizer.encode(sorted({p.source for p in trained.held_out}), MAX_LENGTH).ids
    pivot = pack([sources[i] for i in range(len(sources))])
    with torch.no_grad():
        before = trained.base(pivot).tokens()

    def measure(encoder: Encoder) -> Figures:
        moved = (encoder(pivot).tokens() - before).square().mean()
        return {"words": word_retrieval(encoder, pairs), "moved": float(moved)}

    return compare(trained, measure, free)


def veco2(seed: int, steps: int = 200) -> Figures:
    """On held-out sentence pairs, the means of the two contrastive terms (`sequence`, `token`) and of the others, in
    batches of the training size, and contextual word retrieval (`words`); control: without the two terms."""
    trained = train_method("veco2", seed, steps=steps)
    without = train_method("veco2", seed, steps=steps, sequence_weight=0.0, token_weight=0.0)
    pairs, examples = held_out_words(trained), trained.examples(trained.held_out)

    def measure(encoder: Encoder) -> Figures:
        sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))
        for start in range(0, len(examples) - BATCH + 1, BATCH):
            batch = trained.method.collate(examples[start : start + BATCH], np.random.default_rng(start))
            for name, term in trained.method.loss(encoder, batch, 0).items():
                sums[name] += float(term.sum), float(term.count)
        terms = {name: float(total / count) for name, (total, count) in sums.items()}
        return {**terms, "words": word_retrieval(encoder, pairs)}

    return compare(trained, measure, without)

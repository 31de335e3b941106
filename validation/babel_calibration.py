"""How hard babel is: shallow baselines, and pivot, zero-shot and supervised scores of a small encoder from scratch.

`python -m validation.babel_calibration --seeds 0 1` prints the tables of docs/babel.md. Tasks are trained and scored
under the `mini` protocol; seed n is the seed of the world, of the encoder and of all training. One thread.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.data.babel import LANGUAGES, PIVOT, Babel, tasks
from harness.data.source import open_source
from harness.method import Method, Term
from harness.modeling.encoder import Encoder
from harness.modeling.packing import pack
from harness.records import Corpus, ParallelPair, TaggedSentence, TextPair
from harness.registry import OBJECTIVES, TASKS
from harness.task import Task
from harness.training.checkpoint import load_tensors
from harness.training.loop import Step, TrainSettings, train
from harness.training.pretraining import pretrain
from harness.training.settings import PretrainSettings
from methods.objectives.contrastive import info_nce
from tasks.families.tagging import Tagging
from tasks.metrics import f1_scores, span_counts

PAIRS, TAGS, POOLS = ("xnli", "pawsx"), ("udpos", "panx"), ("bucc2018", "tatoeba")
BASELINES = ("majority", "bag of words", "overlap + length", "most frequent tag")
FOREIGN = [code for code in LANGUAGES if code != PIVOT]
FARTHEST = FOREIGN[-1]
Scores = dict[str, float]


def words_of(text: str) -> list[str]:
    """The words of a text without its punctuation."""
    return text.replace(",", "").replace(".", "").split()


def overlap_and_length(pair: TextPair) -> list[float]:
    """Shares of words in common, lengths and their difference."""
    first, second = words_of(pair.first), words_of(pair.second)
    common = len(set(first) & set(second))
    return [common / len(set(first)), common / len(set(second)), len(first), len(second), len(first) - len(second)]


def bag_of_words(pair: TextPair) -> str:
    """The words of each side, of both, and of one side alone, as one text of features."""
    first, second = set(words_of(pair.first)), set(words_of(pair.second))
    parts = {"1": first, "2": second, "both": first & second, "1only": first - second, "2only": second - first}
    return " ".join(f"{name}_{word}" for name, words in parts.items() for word in sorted(words))


def pair_baselines(train: Sequence[TextPair], test: Sequence[TextPair]) -> Scores:
    """Accuracies in percent of the majority class, logistic regression on a bag of words, and trees on overlap."""
    from sklearn.ensemble import GradientBoostingClassifier  # type: ignore[import-untyped]
    from sklearn.feature_extraction.text import CountVectorizer  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    gold, labels = np.array([p.label for p in test]), [p.label for p in train]
    majority = Counter(labels).most_common(1)[0][0]
    vectors = CountVectorizer(token_pattern=r"\S+", binary=True)
    words = vectors.fit_transform([bag_of_words(p) for p in train]), vectors.transform([bag_of_words(p) for p in test])
    bag = LogisticRegression(max_iter=300, C=0.3).fit(words[0], labels)
    trees = GradientBoostingClassifier(n_estimators=60).fit([overlap_and_length(p) for p in train], labels)
    return {
        "majority": 100 * float(np.mean(gold == majority)),
        "bag of words": 100 * float(np.mean(gold == bag.predict(words[1]))),
        "overlap + length": 100 * float(np.mean(gold == trees.predict([overlap_and_length(p) for p in test]))),
    }


def tag_baselines(train: Sequence[TaggedSentence], test: Sequence[TaggedSentence], task: str) -> Scores:
    """The most frequent tag of all, and of each word; an unknown word takes the tag that most rare words have."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for sentence in train:
        for word, tag in zip(sentence.words, sentence.tags or (), strict=True):
            counts[word][tag] += 1
    best = {word: c.most_common(1)[0][0] for word, c in counts.items()}
    rare = Counter(tag for c in counts.values() if sum(c.values()) == 1 for tag in c).most_common(1)[0][0]
    common = sum(counts.values(), Counter[str]()).most_common(1)[0][0]
    gold = [s.tags or () for s in test]
    return {
        "majority": tag_score([[common for _ in s.words] for s in test], gold, task),
        "most frequent tag": tag_score([[best.get(w, rare) for w in s.words] for s in test], gold, task),
    }


def tag_score(predicted: Sequence[Sequence[str]], gold: Sequence[Sequence[str]], task: str) -> float:
    """The task's own F1 in percent."""
    tagging = TASKS.get(task)
    assert issubclass(tagging, Tagging)
    counts = span_counts(gold, predicted, tagging.scheme)
    return f1_scores(*(float(np.sum(column)) for column in counts))["f1"]


def trained_scores(source: Babel, base: Encoder, name: str, code: str, seed: int) -> Scores:
    """Test scores by language of a copy of `base` fine-tuned on the training set in language `code`."""
    task = TASKS.get(name)()
    settings = task.spec.protocols["mini"]
    generator = tasks.GENERATORS[task.spec.name]
    train_set = tasks.MAKERS[generator](source.settings, generator, code, "train")
    dev = {code: source.task(task.spec, code, "dev")}
    tests = {view: source.task(task.spec, view, "test") for view in source.languages}
    model = task.build(base.clone(), settings)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        fit = task.fit(model, train_set, dev, settings, None, pivot=code, seed=seed, checkpoint=Path(folder))
    load_tensors(model, fit.states[fit.kept["english"]])
    note(f"{name} in {code}: {time.process_time() - began:.0f} s of fine-tuning")
    return scores(task, model, tests)


def scores(task: Task, model: nn.Module, tests: Mapping[str, Any], dev: Mapping[str, Any] | None = None) -> Scores:
    """The task's metric by view; with `dev`, predictions are calibrated on it."""
    settings = task.spec.protocols["mini"]
    predicted = task.predict(model, tests, settings)
    tuned = task.predict(model, dev, settings) if dev else {}
    found = {}
    for view, records in tests.items():
        calibration = task.calibrate(tuned[view], dev[view]) if dev else {}
        final = task.decide(predicted[view], calibration)
        found[view] = task.metric(task.statistics(final, records).sums())[task.spec.metric]
    return found


def pool_scores(source: Babel, name: str, encoder: Encoder) -> Scores:
    """Mining or retrieval scores by language of the encoder as it is."""
    task = TASKS.get(name)()
    tests = {code: source.task(task.spec, code, "test") for code in FOREIGN}
    dev = {code: source.task(task.spec, code, "dev") for code in FOREIGN} if task.spec.calibrated else None
    return scores(task, task.build(encoder, task.spec.protocols["mini"]), tests, dev)


class Contrast(Method):
    """InfoNCE over the last layer's mean states of translations."""

    def loss(self, encoder: Encoder, batch: dict[str, Any], step: int) -> dict[str, Term]:
        x, y = encoder(batch["text"]).mean(-1).chunk(2)
        return {"nce": Term(len(x) * info_nce(x, y, temperature=0.07), len(x))}


def contrasted(source: Babel, base: Encoder, seed: int, steps: int, shuffled: bool) -> Encoder:
    """A copy of `base` after contrastive training on the parallel corpus; partners permuted where `shuffled`."""
    pairs = [p for p in source.corpus(Corpus.PARALLEL, FOREIGN) if isinstance(p, ParallelPair)]
    encoder = base.clone()
    left = encoder.tokenizer.encode([p.source for p in pairs], 64).ids
    right = encoder.tokenizer.encode([p.target for p in pairs], 64).ids
    rng = np.random.default_rng(seed)
    partner = rng.permutation(len(pairs)) if shuffled else np.arange(len(pairs))

    def collate(chosen: Sequence[int], rng: np.random.Generator) -> dict[str, Any]:
        rows = [left[i] for i in chosen] + [right[int(partner[i])] for i in chosen]
        return {"text": pack(rows, special_ids=encoder.tokenizer.special_ids)}

    settings = TrainSettings(steps, 3e-4, 64, warmup_steps=steps // 16, seed=seed)
    train(Step(encoder, Contrast()), range(len(pairs)), collate, settings)
    return encoder.eval()


def measure(uri: str, seed: int, settings: PretrainSettings, contrast_steps: int) -> dict[str, Scores]:
    """Every score of one seed, by row of the tables and column."""
    source = open_source(f"{uri}{',' if ':' in uri else ':'}seed={seed}")
    assert isinstance(source, Babel)
    mono: Sequence[Any] = source.corpus(Corpus.MONO, source.languages)
    texts, began = list(dict.fromkeys(record.text for record in mono)), time.process_time()
    chosen = settings.model_copy(update={"seed": seed})
    base, trace = pretrain(texts, chosen, OBJECTIVES.get("mlm"), torch.device("cpu"))
    note(f"masked LM: {trace.losses[-1]}, {time.process_time() - began:.0f} s")
    found: dict[str, Scores] = {}
    for name in (*PAIRS, *TAGS):
        spec = TASKS.get(name).spec
        train_set: Any = source.task(spec, PIVOT, "train")
        test: Any = source.task(spec, PIVOT, "test")
        found[name] = pair_baselines(train_set, test) if name in PAIRS else tag_baselines(train_set, test, name)
        found[name] |= trained_scores(source, base, name, PIVOT, seed)
        found[name]["bound"] = trained_scores(source, base, name, FARTHEST, seed)[FARTHEST]
        note(f"{name}: {found[name]}")
    encoders = {"as it is": base}
    encoders |= {
        label: contrasted(source, base, seed, contrast_steps, label != "after contrast")
        for label in ("after contrast", "after contrast on shuffled partners")
    }
    for label, encoder in encoders.items():
        found |= {f"{name}, {label}": pool_scores(source, name, encoder) for name in POOLS}
        note(f"{label}: {[found[f'{name}, {label}'] for name in POOLS]}")
    return found


def tables(results: Sequence[dict[str, Scores]]) -> str:
    """Two markdown tables of means over seeds: the trained tasks, then mining and retrieval."""
    mean = {row: {k: sum(r[row][k] for r in results) / len(results) for k in results[0][row]} for row in results[0]}
    trained = [["task", *BASELINES, "pivot", "errors removed", *FOREIGN, f"{FARTHEST} supervised"]]
    for name in (*PAIRS, *TAGS):
        row = mean[name]
        best = max(row[b] for b in BASELINES if b in row)
        removed = f"{100 * (row[PIVOT] - best) / (100 - best):.0f}%"
        shallow = [f"{row[b]:.1f}" if b in row else "" for b in BASELINES]
        scored = [f"{row[code]:.1f}" for code in (*FOREIGN, "bound")]
        trained.append([name, *shallow, f"{row[PIVOT]:.1f}", removed, *scored])
    pools = [["task, encoder", *FOREIGN, "mean"]]
    for name in sorted(row for row in mean if "," in row):
        by_language = [mean[name][code] for code in FOREIGN]
        pools.append([name, *(f"{value:.1f}" for value in (*by_language, sum(by_language) / len(by_language)))])
    return f"{markdown(trained)}\n\n{markdown(pools)}"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(lines[0])
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def note(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures how hard babel is.")
    parser.add_argument("--source", default="babel")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=8000, help="steps of masked-language-model training")
    parser.add_argument("--contrast-steps", type=int, default=600)
    given = parser.parse_args()
    torch.set_num_threads(1)
    settings = PretrainSettings(
        layers=4,
        hidden=128,
        vocab_size=4000,
        max_length=64,
        steps=given.steps,
        batch_tokens=512,
        learning_rate=2e-3,
        mask_rate=0.2,
        dropout=0.0,
    )
    results = [measure(given.source, seed, settings, given.contrast_steps) for seed in given.seeds]
    sys.stdout.write(f"{tables(results)}\n")


if __name__ == "__main__":
    main()

"""XTREME's on-disk layout: which files of a folder hold each split of a task.

A path pattern has the fields {view} (or {context} and {question}, for questions in another language than their text)
and {pivot}. Of several alternatives the first that has files is read. A task that the table lacks, such as one of
another package, is looked for where the convention for its type of record says.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.records import AlignedPair, PoolSentence, Question
from harness.task import TaskSpec

Patterns = Mapping[str, str]  # by role: `data`, or `source`, `target` and perhaps `gold`
SplitFiles = Mapping[str, tuple[Patterns, ...]]  # by split: the alternatives


def _data(*patterns: str) -> tuple[Patterns, ...]:
    return tuple({"data": pattern} for pattern in patterns)


def _pools(stem: str, *, gold: bool) -> tuple[Patterns, ...]:
    """One file for each side of a pair of pools; a gold file names the pairs where line numbers do not."""
    sides = {"source": f"{stem}.{{view}}", "target": f"{stem}.{{pivot}}"}
    return ({**sides, "gold": f"{stem}.gold"} if gold else sides,)


LINK_FILES = {end: f"alignments/{{view}}-{{pivot}}.{end}" for end in ("gold", "{pivot}", "{view}")}
_TYDIQA_TRAIN = "tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.{pivot}.train.json"
_SQUAD_TRAIN = _data("squad/train-v1.1.json", _TYDIQA_TRAIN)

XTREME_FILES: Mapping[str, SplitFiles] = {
    **{
        task: {split: _data(f"{task}/{split}-{{view}}.tsv") for split in ("train", "dev", "test")}
        for task in ("xnli", "pawsx", "udpos", "panx")
    },
    "xquad": {"train": _SQUAD_TRAIN, "test": _data("xquad/xquad.{view}.json")},
    "mlqa": {
        "train": _SQUAD_TRAIN,
        "test": _data(
            "mlqa/MLQA_V1/test/test-context-{context}-question-{question}.json",
            "mlqa/MLQA_V1/dev/dev-context-{context}-question-{question}.json",
        ),
    },
    "tydiqa": {
        "train": _data(_TYDIQA_TRAIN),
        "test": _data("tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.{view}.dev.json"),
    },
    "bucc2018": {split: _pools(f"bucc2018/{{view}}-{{pivot}}.{split}", gold=True) for split in ("dev", "test")},
    "tatoeba": {"test": _pools("tatoeba/{view}-{pivot}", gold=False)},
    "sentence-geometry": {"test": _pools("tatoeba/{view}-{pivot}", gold=False)},
    **{task: {"test": (LINK_FILES,)} for task in ("word-alignment", "word-retrieval", "static-retrieval")},
}


def files_of(spec: TaskSpec) -> SplitFiles:
    """The path patterns of a task for each of its splits."""
    return XTREME_FILES.get(spec.name) or {split: _conventional(spec, split) for split in spec.splits}


def patterns_of(files: SplitFiles) -> list[str]:
    """Every path pattern of a task, of all splits and alternatives."""
    return [text for alternatives in files.values() for patterns in alternatives for text in patterns.values()]


def _conventional(spec: TaskSpec, split: str) -> tuple[Patterns, ...]:
    if spec.family.record is AlignedPair:
        return (LINK_FILES,)
    if spec.family.record is PoolSentence:
        return _pools(f"{spec.name}/{{view}}-{{pivot}}.{split}", gold=spec.family.gold_file)
    return _data(f"{spec.name}/{split}-{{view}}.{'json' if spec.family.record is Question else 'tsv'}")

"""Task specifications and files for tests of the folder source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.data.folder import Folder
from harness.task import Family, TaskSpec
from tasks.families.bitext_mining import BitextMining
from tasks.families.bitext_retrieval import BitextRetrieval
from tasks.families.classification import Classification
from tasks.families.tagging import Tagging

Write = Callable[[dict[str, str | bytes]], Folder]


def spec(name: str, family: Family, labels: str = "", **settings: Any) -> TaskSpec:
    return TaskSpec(
        name=name,
        title=name,
        family=family,
        metric="f1",
        languages=("zh", "de", "en", "fr"),
        labels=tuple(labels.split()),
        protocols={},
        licence="",
        citation="",
        description="",
        **settings,
    )


XNLI = spec("xnli", Classification.family, "contradiction entailment neutral")
PAWSX = spec("pawsx", Classification.family, "0 1")
UDPOS = spec("udpos", Tagging.family, "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X")
PANX = spec("panx", Tagging.family, "O B-PER I-PER B-ORG I-ORG B-LOC I-LOC")
BUCC = spec("bucc2018", BitextMining.family)
TATOEBA = spec("tatoeba", BitextRetrieval.family)
PAIR = "a\tb\tneutral\n"
TASKS = (XNLI, PAWSX, UDPOS, PANX, BUCC, TATOEBA)


def manifest_notes(folder: Folder, *specs: TaskSpec) -> str:
    return "\n".join(folder.manifest(specs).notes)

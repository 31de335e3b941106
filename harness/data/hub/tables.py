"""Where the hub holds each task of XTREME, and how its copy differs from the official data.

`config` is a pattern with the fields {view} (or {context} and {question}). Fields of the tables are read by `part`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from harness.data.languages import ISO3, XTREME


@dataclass(frozen=True)
class HubSplit:
    """A split on the hub, its columns in the order that the records have.

    `names` maps views to the names that `config` uses. Where one config holds all languages, `language_column` tells
    them apart, or `id_prefixes` maps views to what is before the first hyphen of their ids.
    """

    config: str
    split: str
    columns: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    language_column: str = ""
    id_prefixes: Mapping[str, str] = field(default_factory=dict)
    nli: bool = False  # in the data set chosen with nli=, not in XTREME's; its config depends on the choice


@dataclass(frozen=True)
class HubTask:
    """The splits of a task; `notes` say how the hub's copy differs from the official data.

    A task with `lacks` is not read from the hub for that reason, but from the folder given as bucc=PATH.
    """

    splits: Mapping[str, HubSplit] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    lacks: str = ""


NLI_COLUMNS = ("premise", "hypothesis", "label")
_SPLITS = {"train": "train", "dev": "validation", "test": "test"}  # XTREME's names of splits, and the hub's
_QUESTION = ("id", "question", "context", "answers")
_STRIPPED = ("the hub's texts are stripped; an answer that is no longer at its offset is scored by its text",)
_SQUAD = HubSplit("SQuAD", "train", _QUESTION)
_XNLI = HubSplit("XNLI", "test", ("sentence1", "sentence2", "gold_label"), language_column="language")
_NAMES = {code: language.name for code, language in XTREME.items()}
_TYDIQA = {code: name.lower() for code, name in _NAMES.items()}

HUB_TASKS: Mapping[str, HubTask] = {
    "xnli": HubTask(
        {
            "train": HubSplit("", "train", NLI_COLUMNS, nli=True),
            "dev": replace(_XNLI, split="validation"),
            "test": _XNLI,
        },
        ("the csv quotes that the official files keep are not in the hub's texts",),
    ),
    "pawsx": HubTask(
        {
            split: HubSplit("PAWS-X.{view}", name, ("sentence1", "sentence2", "label"))
            for split, name in _SPLITS.items()
        },
        (
            "the hub lost rows to csv quoting: English training has 49,175 of the official 49,401; dev es 1,961 "
            "and fr 1,988 of 2,000; test ko 1,999 of 2,000",
        ),
    ),
    "udpos": HubTask(
        {
            split: HubSplit("udpos.{view}", name, ("tokens", "pos_tags"), names=_NAMES)
            for split, name in _SPLITS.items()
        },
        (
            "the hub mixes treebanks of other languages into el (Ancient Greek), zh (Classical Chinese), ru (Old "
            "Russian), fr (Old French) and de (Swiss German), and splits multiword tokens that the official data "
            "keep whole: scores are not comparable with published ones",
        ),
    ),
    "panx": HubTask({split: HubSplit("PAN-X.{view}", name, ("tokens", "ner_tags")) for split, name in _SPLITS.items()}),
    "xquad": HubTask({"train": _SQUAD, "test": HubSplit("XQuAD.{view}", "validation", _QUESTION)}, _STRIPPED),
    "mlqa": HubTask({"train": _SQUAD, "test": HubSplit("MLQA.{context}.{question}", "test", _QUESTION)}, _STRIPPED),
    "tydiqa": HubTask(
        {
            "train": HubSplit("tydiqa", "train", _QUESTION, id_prefixes=_TYDIQA),
            "test": HubSplit("tydiqa", "validation", _QUESTION, id_prefixes=_TYDIQA),
        }
    ),
    "bucc2018": HubTask(
        lacks="the hub's bucc18 has the gold pairs alone, without the sentences that have no partner, so "
        "that mining on it is another and much easier task"
    ),
    **dict.fromkeys(
        ("tatoeba", "sentence-geometry"),
        HubTask(
            {"test": HubSplit("tatoeba.{view}", "validation", ("source_sentence", "target_sentence"), names=ISO3)},
            ("English lines are in LASER's order, not in the official download's: the accuracy is the same",),
        ),
    ),
}

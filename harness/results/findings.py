"""What the verdicts on a table support, in words: nothing is said that no test has shown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.errors import counted
from harness.evaluation.statistics import Difference, is_significant
from harness.results.attribution import Attribution
from harness.results.labels import Record, newest_described
from harness.results.rendering import DASH, format_rank, format_signed
from harness.results.tables import ResultRow, ResultTable
from harness.results.verdicts import ComparedLine, Verdicts
from harness.storage.store import AVERAGE

TRANSFER = "Transfer"  # the tasks that are fine-tuned, as a group with an average of its own
_FAMILY_GROUPS = {"qa": "QA", "retrieval": "Retrieval"}  # families that are a group of their own
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_LEADERS = 3  # names in a sentence


def task_groups(tasks: Sequence[str], records: Iterable[Record]) -> dict[str, tuple[str, ...]]:
    """The tasks that are fine-tuned, those with questions, and those of retrieval, as the newest card among `records`
    of runs describes them; empty unless there are several such groups."""
    cards = (newest_described(records).get("card") or {}).get("tasks", {})
    found: dict[str, tuple[str, ...]] = {}
    for task in tasks:
        card = cards.get(task, {})
        group = _FAMILY_GROUPS.get(card.get("family", ""), TRANSFER if card.get("trained") else "")
        if group and group not in cards:
            found[group] = (*found.get(group, ()), task)
    return found if len(found) > 1 else {}


def format_difference(difference: Difference | None) -> str:
    """A difference with its 95 % interval over seeds and items, "+13.3 [12.6, 14.0]"; a dash without a test."""
    interval = difference.interval() if difference else None
    return format_estimate(difference.estimate, *interval) if difference and interval else DASH


def format_estimate(estimate: float, low: float, high: float) -> str:
    """A difference with the ends of its interval; NaN for what is unknown."""
    if np.isnan(estimate):
        return DASH
    if np.isnan(low):
        return format_signed(estimate)
    ends = (f"{value + 0.0:.1f}".replace("-0.0", "0.0").replace("-", "\u2212") for value in (low, high))
    return f"{format_signed(estimate)} [{', '.join(ends)}]"


def describe_finding(table: ResultTable, verdicts: Verdicts, groups: Collection[str]) -> str:
    """Which methods lead on each group of tasks (or on average) and which beat their control; empty without a test.

    A method leads if no other method is better and it beats its control, where that was tested.
    """
    methods = [row.label for row in table.rows if not row.badge]
    names = [name for name in groups if name in verdicts.columns] or [AVERAGE]
    beaten = verdicts.against_controls(names)
    parts = []
    for name in names:
        signs = {
            row: int(np.sign(difference.estimate)) if is_significant(p) else 0
            for (row, task), (difference, p) in beaten.items()
            if task == name and row in methods
        }
        if part := _describe_column(verdicts, name, methods, signs):
            parts.append(f"{'on average' if name == AVERAGE else f'on {_in_sentence(name)}'} {part}")
    if not parts:
        return ""
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}. {counted(len(verdicts.seeds), 'seed')}."


def describe_row(table: ResultTable, row: ResultRow, verdicts: Verdicts, groups: Collection[str]) -> str:
    """Where one row beats its control, and its rank on average; empty without a test."""
    said = describe_finding(replace(table, rows=(row,)), verdicts, groups)
    if not said:
        return ""
    ranked = verdicts.columns.get(AVERAGE)
    if ranked is None or row.label not in ranked.labels:
        return said
    rank = format_rank(replace(row, rank=ranked.rank(row.label)))
    return f"{said} Rank {rank} of {len(ranked.labels)} on average."


def describe_gains(found: Collection[Attribution], columns: Sequence[str]) -> str:
    """Which steps from the base encoder to the methods are shown to gain or to lose in each column, and in how many of
    the methods; empty without a test."""
    sentences = []
    for column in columns:
        signs: dict[str, dict[tuple[str, str], int]] = {}
        for step, line in ((step, line) for one in found for step, lines in one.steps.items() for line in lines):
            if line.task == column and line.p is not None:
                sign = int(np.sign(line.difference.estimate)) if is_significant(line.p) else 0
                signs.setdefault(step.name, {})[step.before, step.after] = sign
        if signs:
            shown = [part for name in reversed(signs) for part in _describe_step(name, list(signs[name].values()))]
            where = "On average" if column == AVERAGE else f"On {_in_sentence(column)}"
            sentences.append(f"{where}: {', '.join(shown) or 'no step is shown to gain or to lose'}.")
    seeds = min((one.seeds for one in found), key=len, default=())
    return f"{' '.join(sentences)} {counted(len(seeds), 'seed')}." if sentences else ""


def _describe_step(name: str, signs: Sequence[int]) -> list[str]:
    """What a step does, and in how many methods unless it is the same step in all."""
    kinds = [(signs.count(sign), word) for sign, word in ((1, "gain"), (-1, "loss")) if sign in signs]
    if len(signs) == 1:
        return [f"a {word} from {name}" for _, word in kinds]
    plural = {"gain": "gains", "loss": "losses"}
    return [
        f"{f'a {word}' if n == 1 else plural[word]} from {name} in {n} of {len(signs)} methods" for n, word in kinds
    ]


def describe_comparison(lines: Sequence[ComparedLine], tasks: Sequence[str], one: str, two: str) -> str:
    """On which tasks the second of two rows is better and on which worse; empty without a test."""
    tested = {line.task: line for line in lines if line.task in tasks and line.p is not None}
    if not tested:
        return ""
    found = {name: line.difference.estimate for name, line in tested.items() if is_significant(line.p)}
    better, worse = ([name for name, gap in found.items() if gap * sign > 0] for sign in (1, -1))
    if not found:
        return f"{two} cannot be told from {one} on any of {counted(len(tested), 'task')}."
    parts = [
        f"{what} on {len(names)} of {len(tested)} tasks ({', '.join(names)})" if names else f"{what} on none"
        for what, names in (("better", better), ("worse", worse))
    ]
    return f"{two} against {one}: {', '.join(parts)}."


def _in_sentence(name: str) -> str:
    return name if name.isupper() else name.lower()


def _describe_column(verdicts: Verdicts, name: str, methods: Sequence[str], signs: Mapping[str, int]) -> str:
    column = verdicts.columns.get(name)
    labels = [label for label in methods if column and label in column.labels]
    if column is None or not labels:
        return ""
    against = _against_controls(labels, signs)
    if len(labels) == 1:
        return f"{labels[0]} {against}" if against else ""
    places = [column.labels.index(label) for label in labels]
    better = column.ranks.better[np.ix_(places, places)]
    many = _NUMBERS[len(labels)] if len(labels) < len(_NUMBERS) else str(len(labels))
    if not better.any():
        return f"the {many} methods cannot be told apart{f', and {against}' if against else ''}"
    unbeaten = [label for label, beaten in zip(labels, np.asarray(better.any(axis=0)), strict=True) if not beaten]
    leaders = [label for label in unbeaten if signs.get(label, 1) > 0]
    if not leaders:
        return against
    if len(leaders) > _LEADERS:
        return f"{len(leaders)} of {len(labels)} methods share the lead"
    others = [label for label in unbeaten if label not in leaders]
    verb, them = ("leads", "it") if len(leaders) == 1 else ("lead", "them")
    beyond = f"{len(others)} others" if len(others) > _LEADERS else _listed(others)
    return f"{_listed(leaders)} {verb}" + (f", though {beyond} cannot be told from {them}" if others else "")


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _against_controls(labels: Sequence[str], signs: Mapping[str, int]) -> str:
    """How many of some methods are better or worse than their controls, as a predicate."""
    tested = [signs[label] for label in labels if label in signs]
    if not tested:
        return ""
    if len(labels) == 1:
        return {1: "beats its control", -1: "is worse than its control", 0: "cannot be told from its control"}[
            tested[0]
        ]
    if not any(tested):
        return "none can be told from its control"
    parts = [(tested.count(1), "beat"), (tested.count(-1), "are worse than")]
    words = [f"{'all' if n == len(labels) else f'{n} of {len(labels)}'} {what} their control" for n, what in parts if n]
    return ", ".join(words)

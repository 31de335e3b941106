"""External predictions in the official folder layout: every fault found and told, then scored as XTREME scores.

Both folders hold `<task>/test-<language>.tsv`, or `.json` for question answering. A label file has one label a line,
one tag a line with a blank line between sentences, `id TAB id` pairs, or questions in the shape of SQuAD v1.1. Files
are read line by line; a line over 1 MiB and a JSON file over 256 MiB are refused unread.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from harness.errors import UserError
from harness.records import Family, PoolSentence, Question, Record, TaggedSentence, TextPair
from harness.registry import TASKS
from harness.sources.lines import MAX_LINE, shorten
from harness.sources.questions import read_questions
from harness.task import Suite, Task, TaskSpec

MAX_JSON = 256 << 20  # bytes; the predictions of MLQA's largest language are a hundredth of it
TOLD = 20  # problems of one file that are told one by one
_BOM = b"\xef\xbb\xbf"
Scores = dict[str, dict[str, float]]  # metric -> language -> percent


class Problem(NamedTuple):
    """A fault in one file; `line` is 0 where it concerns the whole file."""

    file: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.what}"


@dataclass
class Report:
    """What was found. `tasks` holds scores by task, metric and language; it is only complete without `problems`."""

    suite: Suite
    tasks: dict[str, Scores] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def task_score(self, name: str) -> float:
        """The mean over languages of the task's metric."""
        return fmean(self.tasks[name][TASKS.get(name).spec.metric].values())

    def overall(self) -> dict[str, float]:
        """The mean over all tasks, and over the tasks of each family; only where all of them are there."""
        groups = {"all_task": self.suite.tasks}
        for family in Family:
            groups[family.value] = tuple(n for n in self.suite.tasks if TASKS.get(n).spec.family is family)
        complete = {name: tasks for name, tasks in groups.items() if tasks and set(tasks) <= set(self.tasks)}
        return {name: fmean(map(self.task_score, tasks)) for name, tasks in complete.items()}

    def detailed(self) -> dict[str, dict[str, Any]]:
        """By task, as the official script gives it: each metric by language, the averages, and the task's score."""
        return {
            name: {
                **scores,
                **{f"avg_{metric}": fmean(by_language.values()) for metric, by_language in scores.items()},
                "avg_metric": self.task_score(name),
            }
            for name, scores in self.tasks.items()
        }


def score(
    predictions: Path, labels: Path, suite: Suite, scheme: str | None = None, *, available: bool = False
) -> Report:
    """Checks and scores a folder of predictions against a folder of labels.

    A task counts where both folders have it; then every language of its official list must be there, or with
    `available` every language that has labels. `scheme` chooses how tagging reads spans (see tasks/metrics.py). Raises
    UserError where either folder is missing.
    """
    for folder in (predictions, labels):
        if not folder.is_dir():
            raise UserError("the folder is missing", file=folder, expected="a folder with xnli/, pawsx/, ...")
    report = Report(suite)
    for name in suite.tasks:
        here, there = (predictions / name).is_dir(), (labels / name).is_dir()
        if here and there:
            task: Task = TASKS.get(name)()
            languages = labelled(task.spec, labels / name) if available else task.spec.languages
            if scheme is not None and hasattr(task, "scheme"):
                task.scheme = scheme
            _score_task(report, task, languages, predictions / name, labels / name)
        elif here:
            report.notices.append(f"{name}: left out, since there are no labels in {labels / name}")
    return report


def file_name(spec: TaskSpec, language: str) -> str:
    """The name of a language's file, in both folders."""
    return f"test-{language}.{'json' if spec.family is Family.QA else 'tsv'}"


def labelled(spec: TaskSpec, labels: Path) -> tuple[str, ...]:
    """The languages (or views such as de.en) that have a label file, the task's own first."""
    first, last = file_name(spec, "*").split("*")
    found = {path.name.removeprefix(first).removesuffix(last) for path in labels.glob(file_name(spec, "*"))}
    return (*(n for n in spec.languages if n in found), *sorted(found - set(spec.languages)))


def _score_task(report: Report, task: Task, languages: Sequence[str], predictions: Path, labels: Path) -> None:
    found: Scores = {}
    before = len(report.problems)
    for language in languages:
        paths = [folder / file_name(task.spec, language) for folder in (predictions, labels)]
        missing = [Problem(path, 0, "the file is missing") for path in paths if not path.is_file()]
        report.problems += missing
        if missing:
            continue
        made = _pair(report, task.spec, language, *paths)
        if made is not None:
            for metric, value in task.metric(task.statistics(made.predictions, made.records).sums()).items():
                found.setdefault(metric, {})[language] = value
    if len(report.problems) == before:
        report.tasks[task.spec.name] = found


class _Made(NamedTuple):
    predictions: list[Any]
    records: Sequence[Record]


class _Reading:
    """The problems of one file, told one by one up to a limit and counted beyond it."""

    def __init__(self, path: Path) -> None:
        self.path, self.problems, self.more = path, list[Problem](), 0

    def tell(self, line: int, what: str) -> None:
        if len(self.problems) < TOLD:
            self.problems.append(Problem(self.path, line, what))
        else:
            self.more += 1

    def all(self) -> list[Problem]:
        more = [Problem(self.path, 0, f"{self.more:,} more problems")] if self.more else []
        return [*self.problems, *more]


def _pair(report: Report, spec: TaskSpec, language: str, prediction: Path, label: Path) -> _Made | None:
    """One language's predictions with its gold records, or None where a problem stands in the way."""
    told, gold = _Reading(prediction), _Reading(label)
    made = _READERS[_kind(spec)](report, spec, language, told, gold)
    report.problems += [*told.all(), *gold.all()]
    return None if told.problems or gold.problems else made


def _kind(spec: TaskSpec) -> str:
    return "pairs" if spec.calibrated else spec.family.value


def _labels(report: Report, spec: TaskSpec, language: str, told: _Reading, gold: _Reading) -> _Made:
    """Classification: one of the task's labels a line."""
    ours, theirs = _column(told, spec.labels), _column(gold, spec.labels)
    _same_length(told, len(ours), len(theirs), "lines")
    return _Made(ours, [TextPair(str(row), "", "", text) for row, text in enumerate(theirs)])


def _rows(report: Report, spec: TaskSpec, language: str, told: _Reading, gold: _Reading) -> _Made:
    """Translation search: the 0-based line number of the foreign sentence, for each English line."""
    ours, theirs = _column(told, ()), _column(gold, ())
    _same_length(told, len(ours), len(theirs), "lines")
    return _Made(ours, [PoolSentence(str(row), "target", "", (text,)) for row, text in enumerate(theirs)])


def _column(reading: _Reading, labels: Sequence[str]) -> list[str]:
    """The stripped lines of a file, each a label, or a whole number where there are none to choose from."""
    found = []
    for number, text in _lines(reading):
        value = text.strip()
        if (value not in labels) if labels else not (value.isascii() and value.isdigit()):
            reading.tell(number, f"{shorten(value)} is not {' | '.join(labels) or 'a line number'}")
        found.append(value)
    return found


def _tags(report: Report, spec: TaskSpec, language: str, told: _Reading, gold: _Reading) -> _Made:
    """Tagging: a tag a line, or token TAB tag; a blank line between sentences."""
    ours, theirs = _sentences(told, spec.labels), _sentences(gold, spec.labels)
    if not told.problems and not gold.problems:
        _same_length(told, len(ours), len(theirs), "sentences")
        for number, (a, b) in enumerate(zip_longest(ours, theirs, fillvalue=None), start=1):
            if a is not None and b is not None and len(a) != len(b):
                told.tell(0, f"sentence {number:,} has {len(a)} tags, its gold has {len(b)}")
    return _Made(ours, [TaggedSentence(str(row), ("",) * len(tags), tuple(tags)) for row, tags in enumerate(theirs)])


def _sentences(reading: _Reading, labels: Sequence[str]) -> list[list[str]]:
    known = {*labels, "O", "_"}
    found: list[list[str]] = [[]]
    for number, text in _lines(reading):
        if not text:
            found.append([])
            continue
        tag = text.split("\t")[-1].strip()
        if tag not in known:
            reading.tell(number, f"{shorten(tag)} is not a tag of this task")
        found[-1].append(tag)
    while found and not found[-1]:
        found.pop()
    return found


def _mined(report: Report, spec: TaskSpec, language: str, told: _Reading, gold: _Reading) -> _Made:
    """Mining: `foreign id TAB English id` a line, as a set; a foreign sentence may have several translations."""
    ours, theirs = _id_pairs(told), _id_pairs(gold)
    partners: dict[str, tuple[str, ...]] = {source: () for source, _ in ours}
    for source, target in theirs:
        partners[source] = (*partners.get(source, ()), target)
    return _Made(
        [list(pair) for pair in ours], [PoolSentence(name, "source", name, mates) for name, mates in partners.items()]
    )


def _id_pairs(reading: _Reading) -> list[tuple[str, str]]:
    found: dict[tuple[str, str], int] = {}
    for number, text in _lines(reading):
        fields = text.strip().split("\t")
        if len(fields) != 2:
            reading.tell(number, f"{shorten(text)} is not foreign id TAB English id")
            continue
        pair = (fields[0], fields[1])
        if pair in found:
            reading.tell(number, f"a pair of ids that stands in line {found[pair]:,} already: {shorten(text)}")
        found.setdefault(pair, number)
    return list(found)


def _answers(report: Report, spec: TaskSpec, language: str, told: _Reading, gold: _Reading) -> _Made:
    """Question answering: a JSON object of texts by question id. What is missing scores 0, what is more is ignored."""
    texts = _texts(told)
    questions: list[Question] = []
    try:
        if _fits(gold):
            context = language.partition(".")[0]
            questions = list(read_questions(gold.path, spec.name, context, repeated_ids=True))
    except UserError as error:
        gold.tell(error.line or 0, " ".join(str(part) for part in (error.what, error.found) if part))
    if not gold.problems and any(not question.answers for question in questions):
        gold.tell(0, "answers are withheld here: these labels cannot score anything")
    if not told.problems:
        lacking = sum(question.id.partition("#")[0] not in texts for question in questions)
        extra = len(texts.keys() - {question.id.partition("#")[0] for question in questions})
        if lacking or extra:
            report.notices.append(
                f"{told.path}: {lacking:,} questions without an answer score 0; {extra:,} ids unknown"
            )
    return _Made([texts.get(question.id.partition("#")[0], "\0") for question in questions], questions)


def _texts(reading: _Reading) -> dict[str, str]:
    if not _fits(reading):
        return {}
    raw = reading.path.read_bytes()
    if raw.startswith(_BOM):
        reading.tell(1, "a byte order mark at the start")
    try:
        content = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_once(reading))
    except UnicodeDecodeError as error:
        reading.tell(raw.count(b"\n", 0, error.start) + 1, "bytes that are not UTF-8")
        return {}
    except json.JSONDecodeError as error:
        reading.tell(error.lineno, f"not JSON: {error.msg}")
        return {}
    except RecursionError:
        reading.tell(0, "not an object of texts by question id, but nested without end")
        return {}
    if not isinstance(content, dict):
        reading.tell(1, "not an object of texts by question id")
        return {}
    for name, text in content.items():
        if not isinstance(text, str):
            reading.tell(0, f"the answer to {shorten(name)} is not a text")
    return content


def _once(reading: _Reading) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                reading.tell(0, f"an id that occurs twice: {shorten(name)}")
            found[name] = value
        return found

    return hook


def _fits(reading: _Reading) -> bool:
    size = reading.path.stat().st_size
    if not size:
        reading.tell(0, "the file is empty")
    if size > MAX_JSON:
        reading.tell(0, f"{size:,} bytes of JSON, more than the {MAX_JSON:,} that are read")
    return 0 < size <= MAX_JSON


def _same_length(told: _Reading, ours: int, theirs: int, what: str) -> None:
    if ours != theirs and not told.problems:
        line = min(ours, theirs) + 1 if what == "lines" else 0
        told.tell(line, f"{ours:,} {what}, the labels have {theirs:,}")


def _lines(reading: _Reading) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers; what is wrong with its bytes is told, and a line too long ends it."""
    returns = number = 0
    with reading.path.open("rb") as file:
        for number, raw in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), start=1):
            if len(raw) > MAX_LINE:
                reading.tell(number, f"a line of more than {MAX_LINE:,} bytes; nothing after it was read")
                return
            if number == 1 and raw.startswith(_BOM):
                reading.tell(1, "a byte order mark at the start")
                raw = raw.removeprefix(_BOM)
            if raw.endswith(b"\r\n"):
                returns = returns or number
            try:
                yield number, raw.decode().rstrip("\r\n")
            except UnicodeDecodeError:
                reading.tell(number, "bytes that are not UTF-8")
    if returns:
        reading.tell(returns, "lines end in CR LF, and should in LF")
    if not number:
        reading.tell(0, "the file is empty")


_READERS: Mapping[str, Callable[[Report, TaskSpec, str, _Reading, _Reading], _Made]] = {
    Family.CLASSIFICATION.value: _labels,
    Family.TAGGING.value: _tags,
    Family.QA.value: _answers,
    Family.RETRIEVAL.value: _rows,
    "pairs": _mined,
}

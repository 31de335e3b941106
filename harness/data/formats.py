"""The official folder layout, read line by line with every fault told: predictions, and gold to score them against.

`<task>/test-<language>.tsv`, or `.json` for question answering. A label file has one label a line, one tag a line with
a blank line between sentences, `id TAB id` pairs, or questions in the shape of SQuAD v1.1. A line over 1 MiB and a JSON
file over 256 MiB are refused unread.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.data.lines import MAX_LINE, shorten
from harness.data.squad_json import read_questions
from harness.errors import UserError
from harness.records import Family, PoolSentence, Question, Record, TaggedSentence, TextPair
from harness.task import TaskSpec

MAX_JSON = 256 << 20  # bytes; the predictions of MLQA's largest language are a hundredth of it
TOLD = 20  # problems of one file that are told one by one
_BOM = b"\xef\xbb\xbf"


class Problem(NamedTuple):
    """A fault in one file; `line` is 0 where it concerns the whole file."""

    file: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.what}"


class Read(NamedTuple):
    """Predictions with the records that they are aligned with."""

    predictions: list[Any]
    records: Sequence[Record]


class Reading:
    """The problems of one file, told one by one up to a limit and counted beyond it; notices are no faults."""

    def __init__(self, path: Path) -> None:
        self.path, self.problems, self.notices, self.more = path, list[Problem](), list[str](), 0

    def there(self) -> bool:
        """Whether the file is there; tells where it is not."""
        if not self.path.is_file():
            self.tell(0, "the file is missing")
        return self.path.is_file()

    def tell(self, line: int, what: str) -> None:
        if len(self.problems) < TOLD:
            self.problems.append(Problem(self.path, line, what))
        else:
            self.more += 1

    def all(self) -> list[Problem]:
        more = [Problem(self.path, 0, f"{self.more:,} more problems")] if self.more else []
        return [*self.problems, *more]


def file_name(spec: TaskSpec, language: str) -> str:
    """The name of a language's file, in both folders."""
    return f"test-{language}.{'json' if spec.family is Family.QA else 'tsv'}"


def read_predictions(spec: TaskSpec, reading: Reading, gold: Sequence[Any] | None) -> Read:
    """One language's predictions against its gold; faults are told by `reading`. Without gold only the file is read."""
    return _READERS[_kind(spec)](spec, reading, gold)


def read_gold(spec: TaskSpec, view: str, reading: Reading) -> Sequence[Record]:
    """One language's gold, as records that a task can score against; faults are told by `reading`."""
    return _GOLD[_kind(spec)](spec, view, reading)


def _kind(spec: TaskSpec) -> str:
    return "pairs" if spec.calibrated else spec.family.value


def _labels(spec: TaskSpec, told: Reading, gold: Sequence[Any] | None) -> Read:
    """Classification: one of the task's labels a line."""
    made = _column(told, spec.labels)
    if gold is not None:
        _same_length(told, len(made), len(gold), "lines")
    return Read(made, gold or ())


def _gold_labels(spec: TaskSpec, view: str, reading: Reading) -> Sequence[Record]:
    return [TextPair(str(row), "", "", text) for row, text in enumerate(_column(reading, spec.labels))]


def _rows(spec: TaskSpec, told: Reading, gold: Sequence[Any] | None) -> Read:
    """Translation search: the 0-based line number of the foreign sentence, for each English line."""
    made = _column(told, ())
    sources = [record.id for record in gold or () if record.side == "source"]
    if gold is not None:
        _same_length(told, len(made), len(gold) - len(sources), "lines")
    if sources and not told.problems:
        made = [_at(told, sources, number, row) for number, row in enumerate(made, start=1)]
    return Read(made, gold or ())


def _at(told: Reading, sources: Sequence[str], number: int, row: str) -> str:
    """The id of the foreign sentence in a row that a line of the predictions names."""
    if len(row) > 9 or int(row) >= len(sources):
        told.tell(number, f"{shorten(row)} is no line of the {len(sources):,} foreign sentences, counted from 0")
        return ""
    return sources[int(row)]


def _gold_rows(spec: TaskSpec, view: str, reading: Reading) -> Sequence[Record]:
    return [PoolSentence(str(row), "target", "", (text,)) for row, text in enumerate(_column(reading, ()))]


def _column(reading: Reading, labels: Sequence[str]) -> list[str]:
    """The stripped lines of a file, each a label, or a whole number where there are none to choose from."""
    found = []
    for number, text in _lines(reading):
        value = text.strip()
        if (value not in labels) if labels else not (value.isascii() and value.isdigit()):
            reading.tell(number, f"{shorten(value)} is not {' | '.join(labels) or 'a line number'}")
        found.append(value)
    return found


def _tags(spec: TaskSpec, told: Reading, gold: Sequence[Any] | None) -> Read:
    """Tagging: a tag a line, or token TAB tag; a blank line between sentences."""
    made = _sentences(told, spec.labels)
    if gold is not None and not told.problems:
        _same_length(told, len(made), len(gold), "sentences")
        for number, (ours, record) in enumerate(zip(made, gold, strict=False), start=1):
            if len(ours) != len(record.tags):
                told.tell(0, f"sentence {number:,} has {len(ours)} tags, its gold has {len(record.tags)}")
    return Read(made, gold or ())


def _gold_tags(spec: TaskSpec, view: str, reading: Reading) -> Sequence[Record]:
    sentences = _sentences(reading, spec.labels)
    return [TaggedSentence(str(row), ("",) * len(tags), tuple(tags)) for row, tags in enumerate(sentences)]


def _sentences(reading: Reading, labels: Sequence[str]) -> list[list[str]]:
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


def _mined(spec: TaskSpec, told: Reading, gold: Sequence[Any] | None) -> Read:
    """Mining: `foreign id TAB English id` a line, as a set. Without the pool any id counts as a sentence of it."""
    made = _id_pairs(told)
    sides = {side: {record.id for record in gold or () if record.side == side} for side in ("source", "target")}
    if not sides["target"]:
        others = dict.fromkeys(source for source, _ in made if source not in sides["source"])
        return Read(list(map(list, made)), [*(gold or ()), *(PoolSentence(n, "source", n, ()) for n in others)])
    for (source, target), number in made.items():
        for name, side, words in ((source, "source", "foreign"), (target, "target", "English")):
            if name not in sides[side]:
                told.tell(number, f"{shorten(name)} is no id of the {words} sentences")
    return Read(list(map(list, made)), gold or ())


def _gold_pairs(spec: TaskSpec, view: str, reading: Reading) -> Sequence[Record]:
    """A foreign sentence may have several translations."""
    partners: dict[str, tuple[str, ...]] = {}
    for source, target in _id_pairs(reading):
        partners[source] = (*partners.get(source, ()), target)
    return [PoolSentence(name, "source", name, mates) for name, mates in partners.items()]


def _id_pairs(reading: Reading) -> dict[tuple[str, str], int]:
    """Pairs of ids, each with its line."""
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
    return found


def _answers(spec: TaskSpec, told: Reading, gold: Sequence[Any] | None) -> Read:
    """Question answering: a JSON object of texts by question id. What is missing scores 0, what is more is ignored."""
    texts = _texts(told)
    ids = [question.id.partition("#")[0] for question in gold or ()]
    if gold is not None and not told.problems:
        lacking, extra = sum(name not in texts for name in ids), len(texts.keys() - set(ids))
        if lacking or extra:
            told.notices.append(f"{told.path}: {lacking:,} questions without an answer score 0; {extra:,} ids unknown")
    return Read([texts.get(name, "\0") for name in ids], gold or ())


def _questions(spec: TaskSpec, view: str, reading: Reading) -> Sequence[Record]:
    """Questions in the shape of SQuAD v1.1."""
    questions: list[Question] = []
    try:
        if _fits(reading):
            questions = list(read_questions(reading.path, spec.name, view.partition(".")[0], repeated_ids=True))
    except UserError as error:
        reading.tell(error.line or 0, " ".join(str(part) for part in (error.what, error.found) if part))
    if not reading.problems and any(not question.answers for question in questions):
        reading.tell(0, "answers are withheld here: these labels cannot score anything")
    return questions


def _texts(reading: Reading) -> dict[str, str]:
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


def _once(reading: Reading) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                reading.tell(0, f"an id that occurs twice: {shorten(name)}")
            found[name] = value
        return found

    return hook


def _fits(reading: Reading) -> bool:
    size = reading.path.stat().st_size
    if not size:
        reading.tell(0, "the file is empty")
    if size > MAX_JSON:
        reading.tell(0, f"{size:,} bytes of JSON, more than the {MAX_JSON:,} that are read")
    return 0 < size <= MAX_JSON


def _same_length(told: Reading, ours: int, theirs: int, what: str) -> None:
    if ours != theirs and not told.problems:
        line = min(ours, theirs) + 1 if what == "lines" else 0
        told.tell(line, f"{ours:,} {what}, the labels have {theirs:,}")


def _lines(reading: Reading) -> Iterator[tuple[int, str]]:
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


_READERS: Mapping[str, Callable[[TaskSpec, Reading, Sequence[Any] | None], Read]] = {
    Family.CLASSIFICATION.value: _labels,
    Family.TAGGING.value: _tags,
    Family.QA.value: _answers,
    Family.RETRIEVAL.value: _rows,
    "pairs": _mined,
}
_GOLD: Mapping[str, Callable[[TaskSpec, str, Reading], Sequence[Record]]] = {
    Family.CLASSIFICATION.value: _gold_labels,
    Family.TAGGING.value: _gold_tags,
    Family.QA.value: _questions,
    Family.RETRIEVAL.value: _gold_rows,
    "pairs": _gold_pairs,
}

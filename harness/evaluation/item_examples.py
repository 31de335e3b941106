"""Items of a test set as people read them: text, gold and prediction, for the board's comparison of two methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.records import Family
from harness.task import TaskSpec

MOST = 300  # items kept of each view: the first ones, which views of parallel items share
LONGEST = 2000  # characters kept of a text


class Example(NamedTuple):
    """One item; a retrieval query is an item. `gold` and `prediction` are words, tags or texts."""

    item: str
    text: str
    gold: str
    prediction: str


def examples(spec: TaskSpec, final: Sequence[Any], records: Sequence[Any]) -> list[Example]:
    """The first items of a view with what was predicted for them. `final` is what `Task.decide` returned."""
    form = _FORMS["pairs" if spec.calibrated else spec.family.value]
    found = list(form(final, records))[:MOST]
    return [Example(one.item, *(text[:LONGEST] for text in one[1:])) for one in found]


def table(found: Mapping[tuple[str, str], Sequence[Example]]) -> dict[str, list[str]]:
    """Examples by (selection, view) as columns."""
    rows = [(selection, view, *one) for (selection, view), listed in found.items() for one in listed]
    names = ("selection", "view", *Example._fields)
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}


def _classification(final: Sequence[Any], records: Sequence[Any]) -> Iterable[Example]:
    for made, record in zip(final, records, strict=True):
        yield Example(record.id, f"{record.first}\n{record.second}", record.label, str(made))


def _tagging(final: Sequence[Any], records: Sequence[Any]) -> Iterable[Example]:
    for made, record in zip(final, records, strict=True):
        yield Example(record.id, " ".join(record.words), " ".join(record.tags), " ".join(map(str, made)))


def _qa(final: Sequence[Any], records: Sequence[Any]) -> Iterable[Example]:
    for made, record in zip(final, records, strict=True):
        gold = " | ".join(dict.fromkeys(answer.text for answer in record.answers))
        yield Example(record.id, f"{record.question}\n{record.context}", gold, str(made))


def _search(final: Sequence[Any], records: Sequence[Any]) -> Iterable[Example]:
    """Pivot sentences, each with the foreign sentence that was found for it."""
    texts = {record.id: record.text for record in records if record.side == "source"}
    queries = [record for record in records if record.side == "target"]
    for made, query in zip(final, queries, strict=True):
        found = str(made[0] if isinstance(made, (list, tuple)) else made)
        gold = " | ".join(texts.get(name, name) for name in query.partners)
        yield Example(query.id, query.text, gold, texts.get(found, found))


def _mining(final: Sequence[Any], records: Sequence[Any]) -> Iterable[Example]:
    """Foreign sentences that have a partner or were given one."""
    texts = {record.id: record.text for record in records if record.side == "target"}
    found: dict[str, list[str]] = {}
    for source, target, *_ in final:
        found.setdefault(str(source), []).append(texts.get(str(target), str(target)))
    for record in (record for record in records if record.side == "source"):
        if record.partners or record.id in found:
            gold = " | ".join(texts.get(name, name) for name in record.partners)
            yield Example(record.id, record.text, gold, " | ".join(found.get(record.id, ())))


_FORMS: dict[str, Callable[[Sequence[Any], Sequence[Any]], Iterable[Example]]] = {
    Family.CLASSIFICATION.value: _classification,
    Family.TAGGING.value: _tagging,
    Family.QA.value: _qa,
    Family.RETRIEVAL.value: _search,
    "pairs": _mining,
}

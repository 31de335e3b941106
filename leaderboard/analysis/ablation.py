"""What a change does: differences of rows to a base row, by task and by language, and where a gain comes from.

A difference is a mean over seeds less a mean over seeds; its error is that of items alone. None of it is a verdict.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from harness.data.languages import language
from harness.results.labels import RATE, is_alignment_setting
from harness.results.rendering import DASH
from harness.results.tables import ResultRow, ResultTable
from harness.storage.store import AVERAGE
from leaderboard.analysis import compare, item_errors
from leaderboard.analysis.runs import settings
from leaderboard.components.look import signed
from leaderboard.components.tables import name_of

EVERYTHING, SAME_METHOD = "all rows", "same method"
TABLE, FIELD = "table", "recipe field"
CHAIN = ("mbert", "continued-mlm", "shuffled-pairs")
TUNING = "tuning"  # the record of the rates that were tried, of which one was set


class Family(NamedTuple):
    """Rows that are to be seen together: a named table of the literature, those of one method, or those that differ in
    one field of their recipe and agree in all else."""

    kind: str
    name: str = ""
    title: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


ALL = Family(EVERYTHING)


class Step(NamedTuple):
    """One step from the base encoder to a method: its kind, what was added, the average before and after it."""

    kind: str
    name: str
    before: float
    after: float


def recipes(rows: Sequence[ResultRow], summaries: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The settings of each row by dotted name, from its first run; keyed by the row's label."""
    firsts: dict[str, Any] = dict(zip(summaries["run"], summaries["recipe"], strict=True))
    return {row.label: settings(firsts.get(row.runs[0]) or {}) for row in rows if row.runs}


def tables(rows: Sequence[ResultRow], summaries: pd.DataFrame) -> dict[str, dict[str, str]]:
    """The named tables that each row belongs to, with their titles, as the card of its first run tells; by label."""
    cards: dict[str, Any] = dict(zip(summaries["run"], summaries["card"], strict=True))
    told = {row.label: (cards.get(row.runs[0]) or {}).get("ablations") or {} for row in rows if row.runs}
    return {label: {name: str(each.get("title", "")) for name, each in found.items()} for label, found in told.items()}


def families(
    rows: Sequence[ResultRow], recipes: Mapping[str, Mapping[str, Any]], tables: Mapping[str, Mapping[str, str]]
) -> dict[Family, list[frozenset[str]]]:
    """What the rows may be narrowed to, each with the sets of labels that may be laid beside each other: everything,
    the named tables, the methods of several rows, and the fields of the recipe in which alone some rows differ."""
    titles = {name: title for row in rows for name, title in tables.get(row.label, {}).items()}
    found: dict[Family, list[frozenset[str]]] = {ALL: [frozenset(row.label for row in rows)]}
    for name in sorted(titles):
        found[Family(TABLE, name, titles[name])] = [
            frozenset(row.label for row in rows if name in tables.get(row.label, {}))
        ]
    for method in dict.fromkeys(row.method for row in rows):
        found[Family(SAME_METHOD, method)] = [frozenset(row.label for row in rows if row.method == method)]
    for name, sets in sorted(alike(rows, recipes).items()):
        found[Family(FIELD, name)] = sets
    kept = {family: [labels for labels in sets if len(labels) > 1] for family, sets in found.items()}
    return {family: sets for family, sets in kept.items() if sets or family == ALL}


def alike(rows: Sequence[ResultRow], recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, list[frozenset[str]]]:
    """For each field of the recipe the sets of rows that differ in it and agree in all else.

    A method's own configuration goes with the method, and a learning rate that was tuned is no setting. A row without
    alignment, which has no settings of it, agrees with all in these.
    """
    every = {row.label: _set(recipes[row.label]) for row in rows if row.label in recipes}
    fields = sorted({name for found in every.values() for name in found})
    fields = [name for name in fields if len({found.get(name) for found in every.values()}) > 1]
    settings = {label: {name: found[name] for name in fields if name in found} for label, found in every.items()}
    groups: dict[tuple[str, frozenset[tuple[str, str]]], dict[str, str]] = {}
    for field in fields:
        own = (field, "config") if field == "method" else (field,)
        for label, found in settings.items():
            rest = frozenset((name, value) for name, value in found.items() if not _within(name, own))
            groups.setdefault((field, rest), {})[label] = found.get(field, "")
    for label, found in settings.items():
        if "method" not in found or any(map(is_alignment_setting, every[label])):
            continue
        agreed = {name: value for name, value in found.items() if not _within(name, ("method", "config"))}
        for (field, rest), values in groups.items():
            if field == "method" and agreed == {name: value for name, value in rest if not is_alignment_setting(name)}:
                values[label] = found["method"]
    sets: dict[str, list[frozenset[str]]] = {}
    for (field, _), values in groups.items():
        if len(set(values.values())) > 1:
            sets.setdefault(field, []).append(frozenset(values))
    return sets


def _set(recipe: Mapping[str, Any]) -> dict[str, str]:
    """What a recipe sets, as text by dotted name; empty parts set nothing."""
    tuned = any(name.startswith(f"{TUNING}.") for name in recipe)
    return {
        name: json.dumps(value)
        for name, value in recipe.items()
        if value not in ({}, None) and not _within(name, (TUNING, RATE) if tuned else (TUNING,))
    }


def _within(name: str, parts: Sequence[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def of_family(rows: Sequence[ResultRow], sets: Sequence[frozenset[str]]) -> list[ResultRow]:
    """The rows of a family, in their order; all of them where there is no set."""
    return [row for row in rows if not sets or any(row.label in labels for labels in sets)]


def members(
    base: ResultRow, rows: Sequence[ResultRow], sets: Sequence[frozenset[str]], chosen: Sequence[str] = ()
) -> list[ResultRow]:
    """The rows of a family that may be laid beside a base; only those named in `chosen`, where some are."""
    beside = {label for labels in sets if base.label in labels for label in labels} - {base.label}
    return [row for row in rows if row.label in beside and (not chosen or name_of(row.label) in chosen)]


def differing(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[str]:
    """The fields in which two recipes differ, sorted."""
    names = sorted({*one, *two})
    return [name for name in names if json.dumps(one.get(name)) != json.dumps(two.get(name))]


def diff(one: Mapping[str, Any], two: Mapping[str, Any]) -> pd.DataFrame:
    """Two recipes field by field, where they differ: `field`, `first`, `second`."""
    lines = [{"field": name, "first": _text(one, name), "second": _text(two, name)} for name in differing(one, two)]
    return pd.DataFrame(lines, columns=["field", "first", "second"])


def _text(recipe: Mapping[str, Any], name: str) -> str:
    if name not in recipe:
        return "–"
    value = recipe[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def deltas(base: ResultRow, others: Sequence[ResultRow], results: ResultTable, tasks: Sequence[str]) -> pd.DataFrame:
    """One line per row: the difference to the base for each task and for the average, where both are complete."""
    names = [column.name for column in results.columns if column.name in {*tasks, AVERAGE}]
    lines = []
    for row in others:
        line: dict[str, Any] = {"row": name_of(row.label), "role": row.badge}
        for name in names:
            one, two = base.cell(name).mean, row.cell(name).mean
            line[name] = two - one if one is not None and two is not None else None
        lines.append(line)
    return pd.DataFrame(lines, columns=["row", "role", *names])


def intervals(
    base: ResultRow, others: Sequence[ResultRow], cells: pd.DataFrame, task: str, selection: str, metric: str
) -> pd.DataFrame:
    """For one task the difference of each row to the base: `row`, `difference`, `error`, `low`, `high`."""
    lines = []
    for row in others:
        found = compare.sides(base, row, cells, task, selection, metric)
        one, two = (side.groupby("run")["value"].mean() for side in found[:2])
        if len(one) and len(two):
            error = _error(found)
            gap = float(two.mean() - one.mean())
            wide = item_errors.Z * error if error is not None else None
            low, high = (gap - wide, gap + wide) if wide is not None else (None, None)
            lines.append({"row": name_of(row.label), "difference": gap, "error": error, "low": low, "high": high})
    return pd.DataFrame(lines, columns=["row", "difference", "error", "low", "high"])


def widths(
    base: ResultRow, others: Sequence[ResultRow], cells: pd.DataFrame, metrics: Mapping[str, str], selection: str
) -> pd.DataFrame:
    """Half the 95 % interval of each difference in points, in the shape of `deltas`: a column for each task of
    `metrics`, and the average. Empty cells where items are not paired or their statistics are not on this machine."""
    lines = []
    for row in others:
        errors = {
            task: _error(compare.sides(base, row, cells, task, selection, metric)) for task, metric in metrics.items()
        }
        known = {**errors, AVERAGE: item_errors.total(errors.values())}
        lines.append({name: None if error is None else item_errors.Z * error for name, error in known.items()})
    return pd.DataFrame(lines, columns=[*metrics, AVERAGE], dtype=float)


def told(gap: float | None, wide: float | None) -> str:
    """A difference in words, with half its interval where that is known."""
    if gap is None or pd.isna(gap):
        return DASH
    return signed(gap) if wide is None or pd.isna(wide) else f"{signed(gap)} ± {wide:.1f}"


def _error(found: compare.Sides) -> float | None:
    """The standard error of the difference of two task scores over paired items."""
    parts = []
    for side in found[:2]:
        runs = [item_errors.of_cells(rows, found.metric) for _, rows in side.groupby("run")]
        if not runs or any(one.empty for one in runs):
            return None
        parts.append(item_errors.mean_of(item_errors.mean_influence(one) for one in runs))
    one, two = parts
    return item_errors.error(two - one) if set(one.index) == set(two.index) else None


def by_language(
    base: ResultRow, others: Sequence[ResultRow], cells: pd.DataFrame, task: str, selection: str, metric: str
) -> pd.DataFrame:
    """The difference of each row to the base in each view that both have: `row`, `view`, `difference`."""
    lines = []
    for row in others:
        found = compare.sides(base, row, cells, task, selection, metric)
        one, two = (side.groupby("view")["value"].mean() for side in found[:2])
        for view, gap in (two - one).dropna().items():
            lines.append({"row": name_of(row.label), "view": view, "difference": float(gap)})
    return pd.DataFrame(lines, columns=["row", "view", "difference"])


def by_distance(found: pd.DataFrame, source: str) -> tuple[pd.DataFrame, str]:
    """The differences with a distance of each language from the pivot, and what it is; empty where none is known.

    A made-up language is as far as the number of properties in which it leaves the pivot; a real one is placed by its
    class of resources.
    """
    codes = {view: language(str(view).partition(".")[0], source) for view in found["view"].unique()}
    departs = {view: len(one.departs) for view, one in codes.items()}
    if any(departs.values()):
        return found.assign(distance=found["view"].map(departs)), "Properties in which a language leaves the pivot"
    classes = {view: int(one.resource) for view, one in codes.items() if one.resource.isdigit()}
    kept = found[found["view"].isin(classes)]
    return kept.assign(distance=kept["view"].map(classes)), "Class of resources, 0 (none) to 5 (Joshi et al. 2020)"


_ADDED = {  # by what stood before and what comes now: the kind of a step, and its words
    ("mbert", "continued-mlm"): ("text", "same text, masked LM"),
    ("mbert", "shuffled-pairs"): ("text and objective", "text and the objective on shuffled pairs"),
    ("continued-mlm", "shuffled-pairs"): ("objective", "the objective on shuffled pairs"),
    ("mbert", ""): ("all", "text, objective and pairs together"),
    ("continued-mlm", ""): ("objective and pairs", "the objective on the true pairs"),
    ("shuffled-pairs", ""): ("pairs", "the true pairs"),
}


def attribution(results: ResultTable, method: str) -> list[Step]:
    """The steps from the base encoder to a method: same text, its objective on shuffled partners, the true pairing.

    A control that is not there is left out, and what follows takes its part. Empty without a start or an end.
    """
    rows: dict[str, ResultRow] = {}
    for row in results.rows:
        if row.method in CHAIN and not row.transform:
            rows.setdefault(row.method, row)
        elif row.method == method:
            rows.setdefault(row.transform, row)
    averages = {name: rows[name].cell(AVERAGE).mean for name in (*CHAIN, "") if name in rows}
    known = [(name, value) for name, value in averages.items() if value is not None]
    if len(known) < 2 or known[-1][0]:
        return []
    return [Step(*_ADDED[former, name], before, after) for (former, before), (name, after) in itertools.pairwise(known)]


def attributions(results: ResultTable, among: Sequence[str] | None = None) -> dict[str, list[Step]]:
    """The steps of every method whose gain can be taken apart (trained ones with an average), best first."""
    found = [row.method for row in results.rows if not row.badge and row.cell(AVERAGE).mean is not None]
    kept = [name for name in dict.fromkeys(found) if among is None or name in among]
    return {name: steps for name in kept if (steps := attribution(results, name))}

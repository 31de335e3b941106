"""Differences of rows to a base row, by task and by language, and where a gain comes from.

A difference is one mean over seeds minus another. Intervals are those of `harness.results.verdicts`: over seeds and
items, and below three seeds over items alone.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from harness.data.languages import language
from harness.results.attribution import gain_chain, step_between
from harness.results.labels import RATE, is_alignment_setting, shown_recipe
from harness.results.rendering import DASH, format_signed
from harness.results.tables import ResultRow, ResultTable, frame_records
from harness.results.verdicts import ComparedLine
from harness.storage.store import AVERAGE
from leaderboard.analysis.board import row_name
from leaderboard.analysis.compare import interval_frame, pair_scores

Comparisons = Mapping[str, Sequence[ComparedLine]]  # each row's lines against one base row, by label
EVERYTHING, SAME_METHOD = "all rows", "same method"
TABLE, FIELD = "table", "recipe field"
TUNING = "tuning"  # a recipe's record of the learning rates that were tried


class RowFamily(NamedTuple):
    """Rows to compare with each other: a named table of the literature, the rows of one method, or the rows that
    differ in one field of their recipe and agree in all others."""

    kind: str
    name: str = ""
    title: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


ALL = RowFamily(EVERYTHING)


class GainStep(NamedTuple):
    """One step from the base encoder to a method: its kind, what it adds, the average before and after."""

    kind: str
    name: str
    before: float
    after: float


def row_recipes(rows: Sequence[ResultRow], summaries: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The settings of each row by dotted name, from its first run; keyed by label."""
    columns = summaries[["run", "recipe", "source", "base"]].drop_duplicates("run")
    recipes = {record["run"]: shown_recipe(record) for record in frame_records(columns)}
    return {row.label: recipes.get(row.runs[0], {}) for row in rows if row.runs}


def named_tables(rows: Sequence[ResultRow], summaries: pd.DataFrame) -> dict[str, dict[str, str]]:
    """The named tables of each row with their titles, from the card of its first run; keyed by label."""
    cards: dict[str, Any] = dict(zip(summaries["run"], summaries["card"], strict=True))
    listed = {row.label: (cards.get(row.runs[0]) or {}).get("ablations") or {} for row in rows if row.runs}
    return {
        label: {name: str(each.get("title", "")) for name, each in tables.items()} for label, tables in listed.items()
    }


def row_families(
    rows: Sequence[ResultRow], recipes: Mapping[str, Mapping[str, Any]], tables: Mapping[str, Mapping[str, str]]
) -> dict[RowFamily, list[frozenset[str]]]:
    """The families of some rows, each with its sets of labels that may be compared. Sets of one row are left out."""
    titles = {name: title for row in rows for name, title in tables.get(row.label, {}).items()}
    families: dict[RowFamily, list[frozenset[str]]] = {ALL: [frozenset(row.label for row in rows)]}
    for name in sorted(titles):
        labels = frozenset(row.label for row in rows if name in tables.get(row.label, {}))
        families[RowFamily(TABLE, name, titles[name])] = [labels]
    for method in dict.fromkeys(row.method for row in rows):
        families[RowFamily(SAME_METHOD, method)] = [frozenset(row.label for row in rows if row.method == method)]
    for name, sets in sorted(sets_by_field(rows, recipes).items()):
        families[RowFamily(FIELD, name)] = sets
    kept = {family: [labels for labels in sets if len(labels) > 1] for family, sets in families.items()}
    return {family: sets for family, sets in kept.items() if sets or family == ALL}


def sets_by_field(
    rows: Sequence[ResultRow], recipes: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[frozenset[str]]]:
    """For each recipe field the sets of rows that differ in it and agree in all other fields.

    A method's own configuration belongs to the field `method`, and a tuned learning rate is not a setting. A row
    without alignment has no alignment settings, so it agrees with all others in these.
    """
    every = {row.label: _comparable_settings(recipes[row.label]) for row in rows if row.label in recipes}
    fields = sorted({name for settings in every.values() for name in settings})
    fields = [name for name in fields if len({settings.get(name) for settings in every.values()}) > 1]
    differing = {label: {name: own[name] for name in fields if name in own} for label, own in every.items()}
    groups: dict[tuple[str, frozenset[tuple[str, str]]], dict[str, str]] = {}
    for field in fields:
        excluded = (field, "config") if field == "method" else (field,)
        for label, own in differing.items():
            rest = frozenset((name, value) for name, value in own.items() if not _is_within(name, excluded))
            groups.setdefault((field, rest), {})[label] = own.get(field, "")
    for label, own in differing.items():
        if "method" not in own or any(map(is_alignment_setting, every[label])):
            continue
        agreed = {name: value for name, value in own.items() if not _is_within(name, ("method", "config"))}
        for (field, rest), values in groups.items():
            if field == "method" and agreed == {n: v for n, v in rest if not is_alignment_setting(n)}:
                values[label] = own["method"]
    sets: dict[str, list[frozenset[str]]] = {}
    for (field, _), values in groups.items():
        if len(set(values.values())) > 1:
            sets.setdefault(field, []).append(frozenset(values))
    return sets


def _comparable_settings(recipe: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a recipe as JSON by dotted name, without empty ones and without what tuning chose."""
    tuned = any(name.startswith(f"{TUNING}.") for name in recipe)
    excluded = (TUNING, RATE) if tuned else (TUNING,)
    return {
        name: json.dumps(value)
        for name, value in recipe.items()
        if value not in ({}, None) and not _is_within(name, excluded)
    }


def _is_within(name: str, parts: Sequence[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def family_rows(rows: Sequence[ResultRow], sets: Sequence[frozenset[str]]) -> list[ResultRow]:
    """The rows of a family in their order; all rows if there are no sets."""
    return [row for row in rows if not sets or any(row.label in labels for labels in sets)]


def comparable_rows(
    base: ResultRow, rows: Sequence[ResultRow], sets: Sequence[frozenset[str]], chosen: Sequence[str] = ()
) -> list[ResultRow]:
    """The rows of a family that may be compared with a base row; if any names are `chosen`, only those."""
    labels = {label for labels in sets if base.label in labels for label in labels} - {base.label}
    return [row for row in rows if row.label in labels and (not chosen or row_name(row.label) in chosen)]


def recipe_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> pd.DataFrame:
    """The fields in which two recipes differ: `field`, `first`, `second`."""

    def text(recipe: Mapping[str, Any], name: str) -> str:
        if name not in recipe:
            return DASH
        value = recipe[name]
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    lines = [
        {"field": name, "first": text(first, name), "second": text(second, name)}
        for name in sorted({*first, *second})
        if json.dumps(first.get(name)) != json.dumps(second.get(name))
    ]
    return pd.DataFrame(lines, columns=["field", "first", "second"])


def task_differences(
    base: ResultRow, others: Sequence[ResultRow], table: ResultTable, tasks: Sequence[str]
) -> pd.DataFrame:
    """The difference of each row to the base in every task and in the average, where both are complete."""
    names = [column.name for column in table.columns if column.name in {*tasks, AVERAGE}]
    lines = []
    for row in others:
        line: dict[str, Any] = {"row": row_name(row.label), "role": row.badge}
        for name in names:
            one, two = base.cell(name).mean, row.cell(name).mean
            line[name] = two - one if one is not None and two is not None else None
        lines.append(line)
    return pd.DataFrame(lines, columns=["row", "role", *names])


def differences_with_intervals(
    base: ResultRow, others: Sequence[ResultRow], table: ResultTable, task: str, compared: Comparisons
) -> pd.DataFrame:
    """For one task the difference of each row to the base, with its interval where `compared` has one: `row`,
    `difference`, `error`, `low`, `high`, `p`."""
    found = task_differences(base, others, table, [task])
    if task not in found:
        return pd.DataFrame(columns=["row", "difference", "error", "low", "high", "p"])
    lines = {row_name(row.label): line for row in others if (line := _line(compared, row, task))}
    kept = found[["row", task]].rename(columns={task: "difference"})
    frame = pd.concat([kept, interval_frame(lines, kept["row"])], axis="columns")
    return frame.dropna(subset=["difference"]).reset_index(drop=True)


def interval_half_widths(others: Sequence[ResultRow], names: Sequence[str], compared: Comparisons) -> pd.DataFrame:
    """Half the 95 % interval of each row's difference in points: a column for each task, or the average, of `names`.

    NaN where items are not paired, or their statistics are not on this machine.
    """
    lines = []
    for row in others:
        found = {name: line.difference for name in names if (line := _line(compared, row, name))}
        ends = {name: interval for name, one in found.items() if (interval := one.known_interval())}
        lines.append({name: (high - low) / 2 for name, (low, high) in ends.items()})
    return pd.DataFrame(lines, columns=list(names), dtype=float)


def _line(compared: Comparisons, row: ResultRow, name: str) -> ComparedLine | None:
    return next((line for line in compared.get(row.label, ()) if line.task == name), None)


def format_difference(gap: float | None, half_width: float | None) -> str:
    """A difference with half its interval, where that is known: "+2.0 ± 1.3"."""
    if gap is None or pd.isna(gap):
        return DASH
    if half_width is None or pd.isna(half_width):
        return format_signed(gap)
    return f"{format_signed(gap)} ± {half_width:.1f}"


def language_differences(
    base: ResultRow, others: Sequence[ResultRow], cells: pd.DataFrame, task: str, selection: str, metric: str
) -> pd.DataFrame:
    """The difference of each row to the base in every view that both have: `row`, `view`, `difference`."""
    lines = []
    for row in others:
        paired = pair_scores(base, row, cells, task, selection, metric)
        one, two = (scores.groupby("view")["value"].mean() for scores in (paired.first, paired.second))
        for view, gap in (two - one).dropna().items():
            lines.append({"row": row_name(row.label), "view": view, "difference": float(gap)})
    return pd.DataFrame(lines, columns=["row", "view", "difference"])


def add_distances(differences: pd.DataFrame, source: str) -> tuple[pd.DataFrame, str]:
    """The differences with each language's `distance` from the pivot, and the title of that axis.

    The distance of a made-up language is the number of properties in which it leaves the pivot; for a real language it
    is its resource class. Languages without a class are left out.
    """
    views = differences["view"].unique()
    codes = {view: language(str(view).partition(".")[0], source) for view in views}
    departures = {view: len(one.departs) for view, one in codes.items()}
    if any(departures.values()):
        return differences.assign(distance=differences["view"].map(departures)), "Properties that differ from the pivot"
    classes = {view: int(one.resource) for view, one in codes.items() if one.resource.isdigit()}
    kept = differences[differences["view"].isin(classes)]
    return kept.assign(distance=kept["view"].map(classes)), "Resource class, 0 (none) to 5 (Joshi et al. 2020)"


def gain_steps(table: ResultTable, method: str, summaries: pd.DataFrame) -> list[GainStep]:
    """The steps from the base encoder to a method: same text, its objective on shuffled pairs, the true pairs.

    A control without runs or without an average is skipped, and the next step includes its part. Empty without a start
    or an end.
    """
    end = next((row for row in table.rows if row.method == method and not row.transform), None)
    if end is None:
        return []
    chain = {name: row.cell(AVERAGE).mean for name, row in gain_chain(table, end.label, summaries).items()}
    known = [(name, value) for name, value in chain.items() if value is not None]
    if len(known) < 2 or known[-1][0] != list(chain)[-1]:
        return []
    pairs = itertools.pairwise(known)
    return [GainStep(*step_between(former, name), before, after) for (former, before), (name, after) in pairs]


def gain_steps_by_method(
    table: ResultTable, summaries: pd.DataFrame, among: Sequence[str] | None = None
) -> dict[str, list[GainStep]]:
    """The steps of every trained method with an average, best first; `among` limits the methods."""
    methods = [row.method for row in table.rows if not row.badge and row.cell(AVERAGE).mean is not None]
    kept = [name for name in dict.fromkeys(methods) if among is None or name in among]
    return {name: steps for name in kept if (steps := gain_steps(table, name, summaries))}

"""Differences of rows to a base row, by task and by language, and where a gain comes from.

A difference is one mean over seeds minus another. Intervals are those of `harness.results.verdicts`: over seeds and
items, and below three seeds over items alone.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from harness.data.languages import language
from harness.results.attribution import Attribution, gain_chain, step_between
from harness.results.labels import LEARNING_RATE, is_alignment_setting, shown_recipe
from harness.results.rendering import DASH
from harness.results.tables import ResultRow, ResultTable, frame_records
from harness.results.verdicts import ComparedLine
from leaderboard.analysis.board import row_name
from leaderboard.analysis.compare import interval_frame, pair_scores

Comparisons = Mapping[str, Sequence[ComparedLine]]  # each row's lines against one base row, by label
EVERYTHING, SAME_METHOD = "all rows", "same method"
TABLE, FIELD = "table", "field"
TUNING = "tuning"  # a recipe's record of the learning rates that were tried


class RowFamily(NamedTuple):
    """Rows to compare with each other: a named table of the literature, the rows of one method, or the rows that
    differ in one field of their recipe and agree in all others."""

    kind: str
    name: str = ""
    title: str = ""

    @property
    def setting(self) -> str:
        """The setting in which the rows differ, if their values may be compared; empty for other families."""
        return self.name if self.kind == FIELD and self.name != "method" else ""

    def __str__(self) -> str:
        return "Objective" if (self.kind, self.name) == (FIELD, "method") else f"{self.kind} {self.name}".strip()


ALL = RowFamily(EVERYTHING)


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
    excluded = (TUNING, LEARNING_RATE) if tuned else (TUNING,)
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


def row_differences(
    base: ResultRow, others: Sequence[ResultRow], names: Sequence[str], compared: Comparisons
) -> pd.DataFrame:
    """The difference of each row to the base in each column, where both are complete, with its 95 % interval where
    `compared` has one: `row`, `role`, `column`, `difference`, `error`, `low`, `high`, `p`."""
    parts = []
    for name in names:
        means = {row_name(row.label): row.cell(name).mean for row in others}
        start = base.cell(name).mean
        gaps = {row: mean - start for row, mean in means.items() if mean is not None and start is not None}
        lines = {row_name(row.label): line for row in others if (line := _line(compared, row, name))}
        found = pd.DataFrame({"row": list(gaps), "column": name, "difference": list(gaps.values())})
        parts.append(pd.concat([found, interval_frame(lines, found["row"])], axis="columns"))
    roles = {row_name(row.label): row.badge for row in others}
    every = pd.concat(parts, ignore_index=True)
    every.insert(1, "role", every["row"].map(roles))
    return every


def _line(compared: Comparisons, row: ResultRow, name: str) -> ComparedLine | None:
    return next((line for line in compared.get(row.label, ()) if line.task == name), None)


def spans_zero(low: float, high: float) -> bool:
    """Whether an interval leaves open that there is no difference; False where there is no interval."""
    return bool(low <= 0 <= high)


def language_differences(
    base: ResultRow, others: Sequence[ResultRow], cells: pd.DataFrame, metrics: Mapping[str, str], selection: str
) -> pd.DataFrame:
    """The difference of each row to the base in every view that both have, averaged over the tasks of `metrics` in
    views that all of these have: `row`, `view`, `difference`."""
    lines = []
    for row in others:
        gaps = []
        for task, metric in metrics.items():
            paired = pair_scores(base, row, cells, task, selection, metric)
            one, two = (scores.groupby("view")["value"].mean() for scores in (paired.first, paired.second))
            gaps.append((two - one).dropna())
        means = pd.concat(gaps, axis=1, join="inner").mean(axis=1)
        lines += [{"row": row_name(row.label), "view": view, "difference": float(gap)} for view, gap in means.items()]
    return pd.DataFrame(lines, columns=["row", "view", "difference"])


def add_intervals(differences: pd.DataFrame, others: Sequence[ResultRow], compared: Comparisons) -> pd.DataFrame:
    """Differences by view with the intervals of `compared`, which has lines by view."""
    ends = {
        (row_name(row.label), line.view): interval
        for row in others
        for line in compared.get(row.label, ())
        if (interval := line.difference.known_interval())
    }
    known = [ends.get(place, (None, None)) for place in zip(differences["row"], differences["view"], strict=True)]
    return differences.assign(**pd.DataFrame(known, columns=["low", "high"], dtype=float))


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


def gain_steps(
    table: ResultTable,
    summaries: pd.DataFrame,
    names: Sequence[str],
    attributions: Mapping[str, Attribution],
    among: Collection[str] | None = None,
) -> pd.DataFrame:
    """The steps from the base encoder to each method, best first, in each column of `names`: `method`, `kind`, `step`,
    `column`, `before`, `after`, `gain`, and the ends `low` and `high` of its interval where `attributions` has one.

    A control without runs or without a figure is skipped, and the next step includes its part. `among` limits the
    methods.
    """
    lines, runs = [], {record["run"]: record for record in frame_records(summaries)}
    for row in (row for row in table.rows if not row.badge and (among is None or row.method in among)):
        chain = gain_chain(table, row.label, runs)
        found = attributions.get(row.label)
        tested = {
            (step.kind, line.task): line.difference.known_interval()
            for step, own in (found.steps if found else {}).items()
            for line in own
        }
        for name in names:
            known = [(part, mean) for part, one in chain.items() if (mean := one.cell(name).mean) is not None]
            if not known or known[-1][0] != list(chain)[-1]:
                continue
            for (former, before), (part, after) in itertools.pairwise(known):
                kind, step = step_between(former, part)
                ends = tested.get((kind, name)) or (None, None)
                lines.append((row_name(row.label), kind, step, name, before, after, after - before, *ends))
    columns = ["method", "kind", "step", "column", "before", "after", "gain", "low", "high"]
    return pd.DataFrame(lines, columns=columns).astype({"low": float, "high": float})


def field_scores(
    rows: Sequence[ResultRow],
    recipes: Mapping[str, Mapping[str, Any]],
    sets: Sequence[frozenset[str]],
    field: str,
    name: str,
) -> pd.DataFrame:
    """The score of each seed of the rows of a field's family against the value of the field: `row`, `set`, `value`,
    `score`, `mean`. A set holds rows that agree in all other fields."""
    lines = []
    for number, labels in enumerate(sets):
        for row in (row for row in rows if row.label in labels):
            value, cell = recipes.get(row.label, {}).get(field), row.cell(name)
            lines += [(row_name(row.label), number, value, score, cell.mean) for score in cell.values]
    return pd.DataFrame(lines, columns=["row", "set", "value", "score", "mean"])

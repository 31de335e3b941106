"""The parts of the pages Alignment and Embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import streamlit as st

from harness.files import INTRINSIC
from harness.results.rendering import escape
from harness.results.tables import ResultRow, ResultTable, TableKey
from leaderboard import data
from leaderboard.analysis import board, intrinsic, method
from leaderboard.components import look, map_charts, parts, tables
from leaderboard.components.state import Address
from leaderboard.method_parts import group

PROJECT = "alignboard project"
SIDES = 4  # maps that stand side by side
AS_THEY_ARE = "As they are"
KINDS = {"t-SNE": "tsne", "PCA": "pca"}


class Chosen(NamedTuple):
    """The rows of a table that have been projected."""

    key: TableKey
    summaries: pd.DataFrame
    results: ResultTable
    selection: str
    rows: list[ResultRow]


def _chosen(address: Address) -> Chosen:
    key, _, summaries, results, selection, _ = group(address)
    runs = tuple(name for row in results.rows for name in row.runs)
    made = set(data.links(data.location(), runs, ("project",))["run"])
    return Chosen(key, summaries, results, selection, [row for row in results.rows if made & set(row.runs)])


def _nothing() -> None:
    st.info("No run of this group has been mapped. This measures and maps every finished run, and trains nothing:")
    st.code(PROJECT, language="bash")


def alignment(address: Address) -> None:
    """Intrinsic measures against transfer."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = _chosen(address)
        names = {about.partition(":")[0]: name for name, about in intrinsic.MEASURES.items()}
        measure = names[address.select("Measure", list(names), "measure", width=160)]
        task = address.select("Transfer on", board.tasks(chosen.summaries), "task", width=150)
        by = address.select("Colour", list(intrinsic.PROPERTIES), "colour", width=140)
        ranks = address.pick("Values", [AS_THEY_ARE, "Ranks within a language"], "values")
    address.tell()
    if not chosen.rows:
        _nothing()
        return
    place, runs = data.location(), tuple(name for row in chosen.rows for name in row.runs)
    metric = method.metric_of(chosen.summaries, task)
    cells = data.cells(place, runs, "test", task)
    measured = data.cells(place, runs, INTRINSIC)
    found = intrinsic.points(chosen.rows, measured, cells, measure, task, chosen.selection, metric)
    found = intrinsic.within_ranks(found) if ranks != AS_THEY_ARE else found
    if found.empty:
        st.info(
            "No language has both this measure and this score. Choose another task, or leave the values as they are."
        )
        return
    _transfer(found, measure, task, by, chosen.key.source, ranks != AS_THEY_ARE)


def _transfer(found: pd.DataFrame, measure: str, task: str, by: str, source: str, ranks: bool) -> None:
    about = intrinsic.MEASURES[measure]
    coefficients = intrinsic.correlations(found)
    told = intrinsic.sentence(coefficients)
    count = f"{len(found)} points" + (f": {told}" if told else "")
    parts.told(f"A point is one method in one language, mean over its seeds. {count}")
    within = ["Ranks are among the methods of one language, 1 the lowest: what differs between languages is out."]
    independent = "Points of one method or one language are not independent: the intervals take them so."
    parts.notes([f"{about}.", *(within if ranks else ()), independent])
    name = about.partition(":")[0]
    axes = (f"{name}, rank", f"{task}, rank") if ranks else (intrinsic.axis(measure), f"{task}, %")
    coloured = intrinsic.coloured(found, by, source)
    digits = intrinsic.digits(measure)
    drawn = map_charts.transfer(coloured, escape(axes[0]), escape(axes[1]), digits)
    groups = coloured["colour"].nunique()
    limit = len(look.PALETTE)
    more = f"Coloured are the first {limit} of {groups}; a colour stands for one alone." if groups > limit else ""
    parts.chart(drawn, f"Does better alignment go with better transfer on {task}?", "transfer", more)
    number = st.column_config.NumberColumn
    config = {
        "row": st.column_config.TextColumn("Method", pinned=True),
        "view": st.column_config.TextColumn("Language"),
        "measure": number(axes[0], format=f"%.{1 if ranks else digits}f"),
        "transfer": number(axes[1], format="%.1f"),
    }
    parts.frame(found, "points", config, height=min(420, 38 + 34 * len(found)))
    parts.offer_frame(found, f"{name} against {task}", "alignment", notes=[told])


def embeddings(address: Address) -> None:
    """Maps of the same sentences under several methods."""
    limit = len(look.PALETTE)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = _chosen(address)
        names = tables.named(chosen.rows)
        wanted = address.several("Methods", list(names), "rows", placeholder=f"the first {SIDES}")
        kind = KINDS[address.select("Map", list(KINDS), "map", width=110)]
        rows = [names[name] for name in wanted or names][:SIDES]
        maps = {tables.name_of(row.label): _map(row) for row in rows}
        found = {name: points for name, points in maps.items() if not points.empty}
        codes = sorted({str(code) for points in found.values() for code in points["language"]})
        help = f"At most {limit}: a colour stands for one language."
        asked = address.several("Languages", codes, "languages", placeholder="the first 3", help=help) if codes else []
    address.tell()
    if not found:
        _nothing()
        return
    kept = asked[:limit] or codes[:3]
    left = [text for text in (_left(wanted, SIDES, "methods"), _left(asked, limit, "languages")) if text]
    kept_points = {name: points[points["language"].isin(kept)] for name, points in found.items()}
    parts.told(f"Translation pairs of {', '.join(kept)}, a line between each sentence and its translation.")
    parts.notes([*left, "A map shows neighbours, not distances: compare how lines lie, not where clouds are."])
    parts.chart_downloads(map_charts.figure(kept_points, kind, kept), "Sentences and their translations", "maps")
    parts.plain_chart(map_charts.legend(kept), "legend")
    drawn = list(kept_points.items())
    for at in range(0, len(drawn), 2):
        for column, (name, points) in zip(st.columns(2), drawn[at : at + 2], strict=False):
            with column:
                parts.told(name)
                parts.plain_chart(map_charts.embeddings(points, kind, kept), f"map-{name}")
    every = pd.concat([points.assign(method=name) for name, points in kept_points.items()], ignore_index=True)
    parts.offer_frame(every, "Maps of sentences", "embeddings")


def _left(asked: Sequence[str], limit: int, what: str) -> str:
    """What to say where more is asked for than is shown."""
    return f"Shown are the first {limit} of {len(asked)} {what} that were chosen." if len(asked) > limit else ""


def _map(row: ResultRow) -> pd.DataFrame:
    """The map of the first run of a row that has one on this machine."""
    links = data.links(data.location(), row.runs, ("project",))
    maps = (intrinsic.sentences(str(name)) for name in links["fingerprint"])
    return next((found for found in maps if not found.empty), pd.DataFrame())

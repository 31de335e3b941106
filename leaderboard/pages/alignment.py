"""Alignment: intrinsic measures against transfer."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from harness.evaluation.correlation import correlate, rank_within_languages
from harness.files import INTRINSIC
from harness.results.rendering import escape
from leaderboard import data
from leaderboard.analysis import board, intrinsic
from leaderboard.components import charts, filters, look, map_charts, messages, tables
from leaderboard.components.state import Address

VALUES, RANKS = "Values", "Ranks within a language"
RANK_NOTE = "Ranks are among the methods of one language, 1 the lowest, which removes differences between languages."
INTERVAL_NOTE = "Intervals resample methods and languages as a whole, since their points are not independent."


def show_transfer(points: pd.DataFrame, measure: str, task: str, by: str, source: str, ranks: bool) -> None:
    """The chart of a measure against scores, with correlations, and the table of its points."""
    name, digits = intrinsic.measure_name(measure), intrinsic.decimal_places(measure)
    correlations = intrinsic.describe_correlations(correlate(points))
    if not ranks:
        centred = intrinsic.centre_within_languages(points)
        within = correlate(centred)
        if within:
            relation = intrinsic.describe_relation(within, measure)
            messages.write_verdict(f"{relation}: {intrinsic.describe_correlations(within)}")
        correlations = f"over all languages pooled: {correlations}" if correlations else ""
    count = f"{len(points)} points" + (f", {correlations}" if correlations else "")
    messages.write(f"A point is one method in one language, mean over its seeds, a line one language. {count}")
    messages.write_notes([f"{intrinsic.MEASURES[measure]}.", *([RANK_NOTE] if ranks else []), INTERVAL_NOTE])
    axes = (f"{name}, rank", f"{task}, rank") if ranks else (intrinsic.axis_title(measure), f"{task}, %")
    coloured = intrinsic.add_colour(points, by, source)
    scatter = map_charts.transfer_scatter(coloured, escape(axes[0]), escape(axes[1]), digits)
    groups, limit = coloured["colour"].nunique(), len(look.PALETTE)
    about = f"The first {limit} of {groups} have a colour; the others are grey." if groups > limit else ""
    charts.show_chart(scatter, f"Does better alignment go with better transfer on {task}?", "transfer", about)
    number = st.column_config.NumberColumn
    config = {
        "row": st.column_config.TextColumn("Method"),
        "view": st.column_config.TextColumn("Language"),
        "measure": number(axes[0], format=f"%.{1 if ranks else digits}f"),
        "transfer": number(axes[1], format="%.1f"),
    }
    tables.show_frame(board.label_views(points, source), "points", config, height=min(420, 38 + 34 * len(points)))
    tables.offer_frame(points, f"{name} against {task}", "alignment", notes=[correlations])


st.title("Alignment", anchor=False)
address = Address()
with st.container(horizontal=True, vertical_alignment="bottom"):
    group, rows = filters.select_mapped_rows(address)
    measures = {intrinsic.measure_name(measure): measure for measure in intrinsic.MEASURES}
    measure = measures[address.select("Measure", list(measures), "measure", width=160)]
    task = address.select("Transfer on", board.tasks(group.summaries), "task", width=150)
    by = address.select("Colour", list(intrinsic.PROPERTIES), "colour", width=140)
    ranks = address.pick("Scale", [VALUES, RANKS], "values") == RANKS
address.show_notices()
if not rows:
    messages.suggest_mapping()
    st.stop()
place, runs = data.location(), tuple(name for row in rows for name in row.runs)
metric = board.task_metric(group.summaries, task)
cells, measured = data.cells(place, runs, "test", task), data.cells(place, runs, INTRINSIC)
points = intrinsic.measure_points(rows, measured, cells, measure, task, group.selection, metric)
points = rank_within_languages(points) if ranks else points
if points.empty:
    st.info("No language has both this measure and this score. Choose another task, or values instead of ranks.")
else:
    show_transfer(points, measure, task, by, group.key.source, ranks)

"""The board's charts: each function makes one Altair chart that says one thing."""

from __future__ import annotations

import altair as alt
import pandas as pd

from harness.rendering import clean
from harness.store import AVERAGE
from harness.tables import Results

CONTROL, METHOD = "#8b979d", "#2b8aa8"  # readable on light and on dark ground
NARROWEST = 5.0  # percentage points that the axis spans at least


def seeds(results: Results) -> alt.LayerChart | None:
    """Each seed's average as a dot, the mean as a bar, methods in the order of the table. None without averages."""
    values = [
        {"method": clean(row.label), "badge": row.badge or "method", "value": value, "mean": row.cell(AVERAGE).mean}
        for row in results.rows
        for value in row.cell(AVERAGE).values
    ]
    if not values:
        return None
    order = list(dict.fromkeys(record["method"] for record in values))
    what = "tasks" if results.view == "task" else f"{clean(results.view)} languages"
    base = alt.Chart(pd.DataFrame(values)).encode(
        y=alt.Y("method:N", sort=order, title=None, axis=alt.Axis(labelLimit=150, ticks=False, domain=False)),
        color=alt.Color(
            "badge:N",
            scale=alt.Scale(domain=["control", "method"], range=[CONTROL, METHOD]),
            legend=None,
        ),
        tooltip=[
            alt.Tooltip("method:N"),
            alt.Tooltip("value:Q", format=".1f", title="this seed"),
            alt.Tooltip("mean:Q", format=".1f", title="mean"),
        ],
    )
    averages = [value for row in results.rows for value in row.cell(AVERAGE).values]
    scale = alt.Scale(domain=_span(averages), nice=True)
    axis = alt.Axis(tickCount=5, format="~f", grid=True)
    dots = base.mark_circle(size=60, opacity=0.75).encode(
        x=alt.X("value:Q", scale=scale, axis=axis, title=f"Mean over {what}, %")
    )
    means = base.mark_tick(thickness=2, size=18).encode(x=alt.X("mean:Q", scale=scale))
    return (means + dots).properties(height=26 * len(order) + 60)  # with room for the axis


def _span(values: list[float]) -> list[float]:
    """The ends of an axis of percentages: a narrow range of values is not blown up into a difference."""
    middle, half = (min(values) + max(values)) / 2, max(max(values) - min(values), NARROWEST) * 0.6
    return [max(0.0, middle - half), min(100.0, middle + half)]

"""Charts of scores, costs and learning curves. Each function returns one Altair chart, or None without data."""

from __future__ import annotations

import itertools
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from harness.results.rendering import escape
from harness.results.tables import ResultTable
from harness.storage.store import AVERAGE
from leaderboard.analysis.board import SECONDS
from leaderboard.analysis.item_errors import Z
from leaderboard.components import look
from leaderboard.components.look import CONTROL, EXTERNAL, METHOD, PUBLISHED

_COLOURS = {"control": CONTROL, "method": METHOD, "external": EXTERNAL, "published": PUBLISHED}
_BADGES = alt.Color("badge:N", scale=alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values())), legend=None)
_COST_HEIGHT, _DEV_HEIGHT = 280, 240  # pixels of the plot


def seed_dots(results: ResultTable) -> alt.LayerChart | None:
    """Each seed's average as a dot and the mean as a bar, methods in the order of the table."""
    values = [
        {
            "method": escape(row.label, most=40),
            "badge": row.badge or "method",
            "value": value,
            "mean": row.cell(AVERAGE).mean,
        }
        for row in results.rows
        for value in row.cell(AVERAGE).values
    ]
    if not values:
        return None
    order = list(dict.fromkeys(record["method"] for record in values))
    what = "tasks" if results.view == "task" else f"the languages of {escape(results.view, most=20)}"
    base = alt.Chart(pd.DataFrame(values)).encode(
        y=alt.Y("method:N", sort=order, title=None, axis=look.names_axis()),
        color=_BADGES,
        tooltip=[
            alt.Tooltip("method:N"),
            alt.Tooltip("value:Q", format=".1f", title="this seed"),
            alt.Tooltip("mean:Q", format=".1f", title="mean"),
        ],
    )
    averages = [value for row in results.rows for value in row.cell(AVERAGE).values]
    scale = alt.Scale(domain=look.axis_range(averages), nice=True)
    axis = alt.Axis(tickCount=5, format="~f", grid=True)
    dots = base.mark_circle(size=60, opacity=0.75).encode(
        x=alt.X("value:Q", scale=scale, axis=axis, title=f"Mean over {what}, %")
    )
    means = base.mark_tick(thickness=2, size=18).encode(x=alt.X("mean:Q", scale=scale))
    return (means + dots).properties(height=26 * len(order))


def cost_frontier(results: ResultTable) -> alt.LayerChart | None:
    """Average against device seconds of alignment, with a line through the rows that no cheaper row beats.

    None below two rows. Rows on the line are labelled first, the others if there is room.
    """
    points = [
        {"method": escape(row.label, most=28), "badge": row.badge or "method", "score": score, "cost": cost}
        for row in results.rows
        if (score := row.cell(AVERAGE).mean) is not None and (cost := row.cell(SECONDS.name).mean or 0.0) is not None
        if row.badge not in ("external", "published")
    ]
    if len(points) < 2:
        return None
    frame = pd.DataFrame(points).sort_values(["cost", "score"], ascending=[True, False])
    frame["front"] = frame["score"] > frame["score"].cummax().shift(fill_value=-1.0)
    frame = frame.sort_values("front", ascending=False, kind="stable", ignore_index=True)
    most = max(float(frame["cost"].max()), 1.0)
    ends, across = look.axis_range(frame["score"].tolist()), [-0.04 * most, 1.06 * most]
    x = alt.X(
        "cost:Q",
        title="Alignment, device seconds",
        scale=alt.Scale(domain=across, nice=False),
        axis=alt.Axis(tickCount=5, grid=False),
    )
    y = alt.Y("score:Q", title="Average, %", scale=alt.Scale(domain=ends, nice=False), axis=alt.Axis(tickCount=5))
    tips = [
        alt.Tooltip("method:N"),
        alt.Tooltip("score:Q", format=".1f", title="average, %"),
        alt.Tooltip("cost:Q", format=".1f", title="device seconds"),
    ]
    places = list(zip(_shares(frame["cost"], across), 1 - _shares(frame["score"], ends), strict=True))
    line = _stairs([place for place, front in zip(places, frame["front"], strict=True) if front])
    spots = look.place_labels(places, frame["method"].tolist(), _COST_HEIGHT, line)
    stairs = alt.Chart(frame[frame["front"]]).mark_line(interpolate="step-after", strokeWidth=1, color=CONTROL)
    dots = alt.Chart(frame).mark_circle(size=80, opacity=1).encode(x=x, y=y, color=_BADGES, tooltip=tips)
    names = look.label_layers(frame, spots, x=x, y=y, text="method:N")
    return alt.layer(stairs.encode(x=x, y=y), dots, *names).properties(height=_COST_HEIGHT)


def _shares(values: pd.Series, ends: list[float]) -> Any:
    return (values.to_numpy(dtype=float) - ends[0]) / (ends[1] - ends[0])


def _stairs(places: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points along a line that runs right from each place and then to the height of the next."""
    points = []
    for (x, y), (right, up) in itertools.pairwise(places):
        points += [(float(at), y) for at in np.linspace(x, right, 60)]
        points += [(right, float(at)) for at in np.linspace(y, up, 30)]
    return points


def timeline_bars(bars: pd.DataFrame) -> alt.Chart | None:
    """The stages that a run computed as bars over time, in the order of their start."""
    if bars.empty:
        return None
    unit, size = ("minutes", 60.0) if bars["end"].max() > 180 else ("seconds", 1.0)
    frame = bars.assign(start=bars["start"] / size, end=bars["end"] / size)
    axis = look.names_axis()
    return (
        alt.Chart(frame)
        .mark_bar(height=12, cornerRadius=2, color=METHOD)
        .encode(
            x=alt.X("start:Q", title=f"{unit.capitalize()} since the first stage", axis=alt.Axis(tickCount=5)),
            x2="end:Q",
            y=alt.Y("stage:N", sort=list(dict.fromkeys(frame["stage"])), title=None, axis=axis),
            tooltip=[alt.Tooltip("stage:N"), alt.Tooltip("start:Q", format=".1f"), alt.Tooltip("end:Q", format=".1f")],
        )
        .properties(height=18 * frame["stage"].nunique())
    )


def view_scores(lines: pd.DataFrame) -> alt.LayerChart | None:
    """A task's scores by language: a dot for each seed, their mean, the interval over items of the first run.

    Languages are in the order of `lines`.
    """
    if lines.empty:
        return None
    frame = lines.assign(mean=lines.groupby("view")["value"].transform("mean"))
    first = frame[frame["run"] == frame["run"].iloc[0]].dropna(subset=["error"])
    first = first.assign(low=first["value"] - Z * first["error"], high=first["value"] + Z * first["error"])
    order = list(frame["view"].unique())
    axis = look.names_axis(labelLimit=look.LANGUAGE_WIDTH)
    y = alt.Y("view:N", sort=order, title=None, axis=axis)
    ends = [*frame["value"], *first["low"], *first["high"]]
    scale = alt.Scale(domain=look.axis_range(ends), nice=True)
    x = alt.X("value:Q", scale=scale, title="Score, %", axis=alt.Axis(tickCount=5))
    tips = [
        alt.Tooltip("view:N", title="language"),
        alt.Tooltip("seed:Q", format="d"),
        alt.Tooltip("value:Q", format=".1f"),
    ]
    base = alt.Chart(frame)
    rules = (
        alt.Chart(first).mark_rule(strokeWidth=1, color=CONTROL).encode(y=y, x=alt.X("low:Q", scale=scale), x2="high:Q")
    )
    means = base.mark_tick(thickness=2, size=16, color=METHOD).encode(
        y=y, x=alt.X("mean:Q", scale=scale, title="Score, %")
    )
    dots = base.mark_circle(size=50, opacity=0.75, color=METHOD).encode(y=y, x=x, tooltip=tips)
    return (rules + means + dots).properties(height=24 * len(order))


def score_map(scores: pd.DataFrame, *, dark: bool) -> alt.LayerChart | None:
    """Scores by language and task, the higher the darker. Wide cells have figures."""
    if scores.empty:
        return None
    fills = [look.mix(look.MIDDLE[dark], METHOD, value / 100) for value in scores["value"]]
    frame = scores.assign(
        task=[escape(str(task), most=30) for task in scores["task"]],
        view=[escape(str(view), most=24) for view in scores["view"]],
        fill=fills,
        ink=[max(look.TILE_INKS, key=lambda ink: look.contrast(fill, ink)) for fill in fills],
    )
    tips = [alt.Tooltip("task:N"), alt.Tooltip("view:N", title="language"), alt.Tooltip("value:Q", format=".1f")]
    return look.tile_map(frame, "task", alt.Text("value:Q", format=".0f"), tips, 26)


def loss_charts(curve: pd.DataFrame) -> dict[str, alt.Chart]:
    """A chart for each loss term over the steps of the alignment, since their scales differ; keyed by term."""
    return {
        str(term): alt.Chart(rows.rename(columns={"value": "loss"}))
        .mark_line(color=METHOD, point=alt.OverlayMarkDef(size=20, color=METHOD))
        .encode(
            x=alt.X("step:Q", title="Step", axis=alt.Axis(tickCount=4)),
            y=alt.Y("loss:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4)),
            tooltip=[alt.Tooltip("step:Q"), alt.Tooltip("loss:Q", format=".3f")],
        )
        .properties(height=180)
        for term, rows in curve.groupby("term", sort=False)
    }


def dev_curves(curve: pd.DataFrame) -> alt.LayerChart | None:
    """Dev scores over the steps of a fine-tuning, a labelled line for each language."""
    if curve.empty:
        return None
    frame = curve.assign(name=[escape(str(view), most=16) for view in curve["view"]])
    ends = look.axis_range(frame["value"].tolist())
    x = alt.X("step:Q", title="Step of the fine-tuning", axis=alt.Axis(tickCount=5), scale=alt.Scale(nice=False))
    base = alt.Chart(frame).encode(
        x=x,
        y=alt.Y(
            "value:Q",
            title="Dev score, %",
            scale=alt.Scale(domain=ends, nice=False),
            axis=alt.Axis(tickCount=5, format=".1f"),
        ),
        detail="name:N",
        tooltip=[alt.Tooltip("name:N"), alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=".1f")],
    )
    last = frame.sort_values("step").drop_duplicates("name", keep="last")
    names = look.line_end_labels(last, x, ends, _DEV_HEIGHT)
    lines = base.mark_line(strokeWidth=1.5, point=alt.OverlayMarkDef(size=25, color=METHOD), color=METHOD)
    return alt.layer(lines, names).properties(height=_DEV_HEIGHT)

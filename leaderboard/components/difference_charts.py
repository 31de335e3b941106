"""Charts of differences between rows. Each function returns one Altair chart, or None without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from harness.results.rendering import escape, format_signed
from leaderboard.analysis.ablation import GainStep
from leaderboard.components import look
from leaderboard.components.look import CONTROL, GAIN, LOSS, METHOD, OTHERS, PALETTE, PUBLISHED

_SIDES = alt.Color("side:N", scale=alt.Scale(domain=["gain", "loss"], range=[GAIN, LOSS]), legend=None)
_SCATTER_HEIGHT, _DISTANCE_HEIGHT = 320, 300  # pixels of the plot
NAMED = 6  # lines with a colour and a label; the others are grey
STEP_NAMES = {
    "text": "continued-mlm − mbert: the same text",
    "objective": "shuffled-pairs − continued-mlm: the objective",
    "pairs": "method − shuffled-pairs: the true pairs",
    "objective and pairs": "method − continued-mlm: both together",
    "text and objective": "shuffled-pairs − mbert: text and objective",
    "all": "method − mbert: all together",
}
_STEP_COLOURS = dict(zip(STEP_NAMES, (CONTROL, PUBLISHED, METHOD, PALETTE[3], PALETTE[4], PALETTE[0]), strict=True))


def _add_texts(lines: pd.DataFrame, names: str) -> pd.DataFrame:
    """The lines with their difference as `text`, its `side`, and escaped names."""
    clean = [escape(str(name), most=60) for name in lines[names]]
    differences = lines["difference"].tolist()
    return lines.assign(
        **{names: clean},
        text=[format_signed(value) for value in differences],
        side=["gain" if value >= 0 else "loss" for value in differences],
    )


def difference_dots(lines: pd.DataFrame) -> alt.LayerChart | None:
    """Differences in points with their intervals, in the order of `lines`. Zero is always visible."""
    if lines.empty:
        return None
    frame = _add_texts(lines, "view")
    y = alt.Y("view:N", sort=list(frame["view"]), title=None, axis=look.names_axis())
    x = alt.X("difference:Q", title="Difference in points", axis=look.signed_axis())
    tips = [alt.Tooltip("view:N", title=" "), alt.Tooltip("text:N", title="difference")]
    dots = alt.Chart(frame).mark_circle(size=70, opacity=1).encode(x=x, y=y, color=_SIDES, tooltip=tips)
    known = frame.dropna(subset=["low", "high"])
    rules = alt.Chart(known).mark_rule(strokeWidth=1.5).encode(x="low:Q", x2="high:Q", y=y, color=_SIDES)
    return alt.layer(look.zero_line("x"), rules, dots).properties(height=26 * len(frame))


def score_scatter(lines: pd.DataFrame, one: str, two: str) -> alt.LayerChart | None:
    """The scores of two rows against each other, a point for each language, with the line of equal scores."""
    if len(lines) < 2:
        return None
    frame = lines[["first", "second"]].assign(view=[escape(str(view), most=24) for view in lines["view"]])
    ends = look.axis_range([*frame["first"], *frame["second"]])
    scale, axis = alt.Scale(domain=ends, nice=False), alt.Axis(tickCount=5)
    x = alt.X("first:Q", scale=scale, title=f"{escape(one, most=40)}, %", axis=axis)
    y = alt.Y("second:Q", scale=scale, title=f"{escape(two, most=40)}, %", axis=axis)
    tips = [
        alt.Tooltip("view:N", title="language"),
        alt.Tooltip("first:Q", format=".1f"),
        alt.Tooltip("second:Q", format=".1f"),
    ]
    wide = ends[1] - ends[0]
    places = [
        ((a - ends[0]) / wide, (ends[1] - b) / wide) for a, b in zip(frame["first"], frame["second"], strict=True)
    ]
    diagonal = [(at / 99, 1 - at / 99) for at in range(100)]
    spots = look.place_labels(places, frame["view"].tolist(), _SCATTER_HEIGHT, diagonal)
    equal = alt.Chart(pd.DataFrame({"first": ends, "second": ends})).mark_line(color=CONTROL, strokeWidth=1)
    dots = alt.Chart(frame).mark_circle(size=70, opacity=1, color=METHOD).encode(x=x, y=y, tooltip=tips)
    names = look.label_layers(frame, spots, x=x, y=y, text="view:N")
    return alt.layer(equal.encode(x=x, y=y), dots, *names).properties(height=_SCATTER_HEIGHT)


def heat_map(differences: pd.DataFrame, *, dark: bool) -> alt.LayerChart:
    """Differences by row and language: blue for a gain, orange for a loss, grey at zero. Wide cells have figures."""
    frame = _add_texts(_add_texts(differences, "row"), "view")
    widest = max(1.0, float(frame["difference"].abs().max()))
    tiles = [look.tile_colours(value, widest, dark=dark) for value in frame["difference"]]
    frame = frame.assign(fill=[fill for fill, _ in tiles], ink=[ink for _, ink in tiles])
    frame["short"] = [format_signed(value, 0) for value in frame["difference"]]
    x = alt.X("view:N", title=None, axis=alt.Axis(ticks=False, domain=False, labelAngle=0, orient="top"))
    y = alt.Y("row:N", sort=list(dict.fromkeys(frame["row"])), title=None, axis=look.names_axis())
    tips = [alt.Tooltip("row:N"), alt.Tooltip("view:N"), alt.Tooltip("text:N", title="difference")]
    base = alt.Chart(frame).encode(x=x, y=y, tooltip=tips)
    fills = base.mark_rect().encode(color=alt.Color("fill:N", scale=None))
    wide_enough = alt.expr("bandwidth('x') < 22 ? 0 : 1")
    figures = base.mark_text(fontSize=11, opacity=wide_enough).encode(
        text="short:N", color=alt.Color("ink:N", scale=None)
    )
    return alt.layer(fills, figures).properties(height=30 * frame["row"].nunique())


def distance_lines(placed: pd.DataFrame, axis: str) -> alt.LayerChart | None:
    """Differences against the distance of the language: a dot for each language, a line of means for each row.

    The first `NAMED` rows have a colour and a label, the others are grey.
    """
    if placed["distance"].nunique() < 2:
        return None
    frame = _add_texts(placed, "row").assign(view=[escape(str(view), most=24) for view in placed["view"]])
    rows = list(dict.fromkeys(frame["row"]))
    named = rows[:NAMED]
    low, high = min(0.0, float(frame["difference"].min())), max(0.0, float(frame["difference"].max()))
    ends = [low - 0.06 * (high - low), high + 0.06 * (high - low)]
    x = alt.X("distance:Q", title=axis, axis=alt.Axis(tickMinStep=1, tickCount=6), scale=alt.Scale(nice=False))
    scale = alt.Scale(domain=ends, nice=False)
    y = alt.Y("difference:Q", title="Difference in points", axis=look.signed_axis(), scale=scale)
    domain = [*named, *rows[NAMED:]]
    colours = [*PALETTE[: len(named)], *(OTHERS for _ in rows[NAMED:])]
    colour = alt.Color("row:N", sort=rows, scale=alt.Scale(domain=domain, range=colours), legend=None)
    tips = [alt.Tooltip("row:N"), alt.Tooltip("view:N"), alt.Tooltip("text:N", title="difference")]
    means = frame.groupby(["row", "distance"], sort=False)["difference"].mean().reset_index()
    last = means.sort_values("distance").drop_duplicates("row", keep="last")
    last = last[last["row"].isin(named)].assign(name=lambda rows: [escape(name, most=24) for name in rows["row"]])
    last = last.assign(value=last["difference"])
    dots = alt.Chart(frame).mark_circle(size=40, opacity=0.6).encode(x=x, y=y, color=colour, tooltip=tips)
    lines = alt.Chart(means).mark_line(strokeWidth=1.5).encode(x=x, y=y, color=colour)
    names = look.line_end_labels(last, x, ends, _DISTANCE_HEIGHT, colour)
    layered = alt.layer(look.zero_line("y"), lines, dots, names)
    return layered.properties(height=_DISTANCE_HEIGHT)


def waterfall(steps: Sequence[GainStep]) -> alt.LayerChart:
    """What each step adds to the average, starting at the end of the one before."""
    frame = pd.DataFrame([{**s._asdict(), "difference": s.after - s.before, "end": max(s[2:])} for s in steps])
    frame = _add_texts(frame, "name")
    ends = look.axis_range([*frame["before"], *frame["after"]])
    scale = alt.Scale(domain=ends, nice=False)
    tips = [
        alt.Tooltip("name:N", title="step"),
        alt.Tooltip("before:Q", format=".1f"),
        alt.Tooltip("after:Q", format=".1f"),
        alt.Tooltip("text:N", title="gain"),
    ]
    base = alt.Chart(frame).encode(y=alt.Y("name:N", sort=list(frame["name"]), title=None, axis=look.names_axis()))
    bars = base.mark_bar(height=16).encode(
        x=alt.X("before:Q", scale=scale, title="Average, %", axis=alt.Axis(tickCount=5)),
        x2="after:Q",
        color=_SIDES,
        tooltip=tips,
    )
    figures = base.mark_text(align="left", dx=5).encode(x=alt.X("end:Q", scale=scale), text="text:N")
    return alt.layer(bars, figures).properties(height=34 * len(frame))


def attribution_bars(steps_of: Mapping[str, Sequence[GainStep]]) -> alt.LayerChart | None:
    """The steps of several methods as bars from zero, grouped by method."""
    lines: list[dict[str, Any]] = [
        {"method": escape(method, most=60), "kind": step.kind, "difference": step.after - step.before}
        for method, steps in steps_of.items()
        for step in steps
    ]
    if not lines:
        return None
    frame = _add_texts(pd.DataFrame(lines), "method").assign(step=[STEP_NAMES[line["kind"]] for line in lines])
    kinds = [kind for kind in STEP_NAMES if kind in set(frame["kind"])]
    colours = [_STEP_COLOURS[kind] for kind in kinds]
    scale = alt.Scale(domain=[STEP_NAMES[kind] for kind in kinds], range=colours)
    legend = alt.Legend(orient="top", direction="vertical", columns=1, labelLimit=320, title=None, offset=8)
    order = list(dict.fromkeys(frame["method"]))
    ends = [min(0.0, float(frame["difference"].min())), max(0.0, float(frame["difference"].max()))]
    wide = (ends[1] - ends[0]) or 1.0
    x = alt.X(
        "difference:Q",
        title="Gain in the average, points",
        axis=look.signed_axis(),
        scale=alt.Scale(domain=[ends[0] - 0.02 * wide, ends[1] + 0.02 * wide], nice=False),
    )
    base = alt.Chart(frame).encode(
        x=x,
        y=alt.Y("method:N", sort=order, title=None, axis=look.names_axis(), scale=alt.Scale(paddingInner=0.3)),
        yOffset=alt.YOffset("kind:N", sort=kinds, scale=alt.Scale(domain=kinds)),
    )
    tips = [alt.Tooltip("method:N"), alt.Tooltip("step:N"), alt.Tooltip("text:N", title="gain")]
    bars = base.mark_bar().encode(color=alt.Color("step:N", scale=scale, legend=legend), tooltip=tips)
    figures = base.mark_text(align="left", baseline="middle", dx=4, fontSize=10).encode(text="text:N", x=alt.X("end:Q"))
    frame["end"] = frame["difference"].clip(lower=0)
    height = (12 * len(kinds) + 8) * len(order)
    return alt.layer(look.zero_line("x"), bars, figures).properties(height=height)

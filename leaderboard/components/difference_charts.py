"""Charts of differences between rows. Each function returns one Altair chart, or None without data."""

from __future__ import annotations

import altair as alt
import pandas as pd

from harness.results.findings import format_estimate
from harness.results.rendering import escape, format_signed
from leaderboard.analysis.ablation import spans_zero
from leaderboard.components import look
from leaderboard.components.look import CONTROL, GAIN, LOSS, METHOD, OTHERS, PALETTE, PUBLISHED

_SIDE_COLOURS = alt.Scale(domain=["gain", "loss", "unsure"], range=[GAIN, LOSS, CONTROL])
_SIDES = alt.Color("side:N", scale=_SIDE_COLOURS, legend=None)
_SCATTER_HEIGHT, _DISTANCE_HEIGHT = 320, 300  # pixels of the plot
NAMED = 6  # lines with a colour and a label; the others are grey
STEP_NAMES = {
    "text": "continued-mlm − base: the same text",
    "objective": "shuffled-pairs − continued-mlm: the objective",
    "pairs": "method − shuffled-pairs: the true pairs",
    "objective and pairs": "method − continued-mlm: objective and true pairs",
    "text and objective": "shuffled-pairs − base: text and objective",
    "all": "method − base: all of it",
}
_STEP_COLOURS = dict(zip(STEP_NAMES, (PALETTE[4], PUBLISHED, METHOD, PALETTE[1], PALETTE[2], PALETTE[3]), strict=True))


def _add_texts(lines: pd.DataFrame, names: str) -> pd.DataFrame:
    """The lines with their difference and its interval as `text`, the `side` of zero unless the interval spans it, and
    escaped names."""
    clean = [escape(str(name), most=60) for name in lines[names]]
    lines = lines if "low" in lines else lines.assign(low=float("nan"), high=float("nan"))
    known = list(zip(lines["difference"], lines["low"], lines["high"], strict=True))
    return lines.assign(
        **{names: clean},
        text=[format_estimate(*each) for each in known],
        side=["unsure" if spans_zero(low, high) else "gain" if value >= 0 else "loss" for value, low, high in known],
    )


def difference_dots(lines: pd.DataFrame) -> alt.LayerChart | None:
    """Differences in points with their intervals, in the order of `lines`. Zero is always visible."""
    if lines.empty:
        return None
    frame = _add_texts(lines, "view")
    y = alt.Y("view:N", sort=list(frame["view"]), title=None, axis=look.names_axis(labelLimit=look.LANGUAGE_WIDTH))
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
    """Differences by row and language: blue for a gain, orange for a loss, grey where the interval spans zero. Wide
    cells have figures; languages are in the order of `differences`."""
    frame = _add_texts(_add_texts(differences, "row"), "view")
    widest = max(1.0, float(frame["difference"].abs().max()))
    tiles = [
        look.tile_colours(value, widest, dark=dark, unsure=side == "unsure")
        for value, side in zip(frame["difference"], frame["side"], strict=True)
    ]
    frame = frame.assign(fill=[fill for fill, _ in tiles], ink=[ink for _, ink in tiles])
    frame["short"] = [format_signed(value, 0) for value in frame["difference"]]
    tips = [alt.Tooltip("row:N"), alt.Tooltip("view:N"), alt.Tooltip("text:N", title="difference")]
    return look.tile_map(frame, "row", "short:N", tips, 30)


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


def attribution_bars(steps: pd.DataFrame) -> alt.LayerChart | None:
    """The steps of several methods in one column as bars from zero, grouped by method, with their intervals. A bar is
    pale where its interval spans zero."""
    if steps.empty:
        return None
    frame = _add_texts(steps.rename(columns={"gain": "difference"}), "method")
    frame["name"] = frame["kind"].map(STEP_NAMES)
    kinds = [kind for kind in STEP_NAMES if kind in set(frame["kind"])]
    scale = alt.Scale(domain=[STEP_NAMES[kind] for kind in kinds], range=[_STEP_COLOURS[kind] for kind in kinds])
    short = look.short_label(": ", 1)
    legend = alt.Legend(orient="top", direction="vertical", columns=1, labelLimit=320, labelExpr=short, title=None)
    frame["end"] = frame[["difference", "high"]].max(axis=1).clip(lower=0)
    low, high = min(0.0, *frame["difference"], *frame["low"].dropna()), float(frame["end"].max())
    wide = max(high - low, 1.0)
    x = alt.X(
        "difference:Q",
        title="Gain in points",
        axis=look.signed_axis(grid=False),  # no line through a figure
        scale=alt.Scale(domain=[low - 0.02 * wide, high + 0.3 * wide], nice=False),  # with room for figures
    )
    y = alt.Y(
        "method:N",
        sort=list(dict.fromkeys(frame["method"])),
        title=None,
        axis=look.names_axis(),
        scale=alt.Scale(paddingInner=0.3),
    )
    offset = alt.YOffset("kind:N", sort=kinds, scale=alt.Scale(domain=kinds))
    base = alt.Chart(frame).encode(x=x, y=y, yOffset=offset)
    tips = [alt.Tooltip("method:N"), alt.Tooltip("name:N", title="step"), alt.Tooltip("text:N", title="gain")]
    pale = alt.condition("datum.side == 'unsure'", alt.value(0.3), alt.value(1))
    bars = base.mark_bar().encode(color=alt.Color("name:N", scale=scale, legend=legend), opacity=pale, tooltip=tips)
    known = alt.Chart(frame.dropna(subset=["low", "high"]))
    rules = known.mark_rule(color=OTHERS).encode(x=alt.X("low:Q"), x2="high:Q", y=y, yOffset=offset)
    figures = base.mark_text(align="left", baseline="middle", dx=4, fontSize=10).encode(text="text:N", x=alt.X("end:Q"))
    height = (13 * len(kinds) + 8) * frame["method"].nunique()
    return alt.layer(look.zero_line("x"), bars, rules, figures).properties(height=height)


def field_scores(points: pd.DataFrame, field: str) -> alt.LayerChart | None:
    """Scores against the value of a field: a dot for each seed, a line through the means of rows that agree in all
    else. None for a single value."""
    if points["value"].astype(str).nunique() < 2:
        return None
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in points["value"])
    frame = points.assign(
        row=[escape(str(row), most=60) for row in points["row"]],
        value=points["value"] if numbers else [escape(str(value), most=24) for value in points["value"]],
    )
    x = alt.X(
        f"value:{'Q' if numbers else 'N'}", title=escape(field, most=40), axis=alt.Axis(tickCount=5, labelAngle=0)
    )
    scale = alt.Scale(domain=look.axis_range(frame["score"].tolist()), nice=True)
    y = alt.Y("score:Q", title="Score, %", scale=scale, axis=alt.Axis(tickCount=5))
    tips = [
        alt.Tooltip("row:N", title="method"),
        alt.Tooltip("value", title=field),
        alt.Tooltip("score:Q", format=".1f"),
    ]
    dots = alt.Chart(frame).mark_circle(size=60, color=METHOD, opacity=0.75).encode(x=x, y=y, tooltip=tips)
    means = alt.Chart(frame.drop_duplicates("row")).mark_line(color=METHOD, strokeWidth=1.5)
    return alt.layer(means.encode(x=x, y=alt.Y("mean:Q", scale=scale), detail="set:N"), dots).properties(height=260)

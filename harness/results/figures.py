"""Figures of reports as SVG: estimates with their intervals, and lines in panels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.results.rendering import clean, format_signed

if TYPE_CHECKING:
    import pandas as pd

_WIDTH, _LABELS, _LINE, _TICKS = 760, 250, 24, 5
_PADDING: Any = {"left": 5, "top": 5, "right": 40, "bottom": 5}  # room for fonts that are wider than expected
_INK, _QUIET, _GAIN, _LOSS, _PLAIN = "#1f2933", "#98a2ab", "#2166ac", "#b2182b", "#44607a"


class Estimate(NamedTuple):
    """A figure under its label, with its interval if it has one."""

    label: str
    value: float
    interval: tuple[float, float] | None


def interval_figure(estimates: Sequence[Estimate], title: str, *, signed: bool = False) -> str:
    """An SVG with a dot and a line for each estimate, in their order. With `signed`, zero is shown, and intervals that
    leave it out are coloured by their sign."""
    ends = [end for one in estimates for end in (one.interval or (one.value, one.value))] + [0.0] * signed
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low or 1.0)
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        return _LABELS + (value - low) / (high - low) * (_WIDTH - _LABELS - 70)

    height = _LINE * len(estimates) + 50
    parts = [f'<text x="0" y="14" font-weight="600" fill="{_INK}">{escape(clean(title))}</text>']
    bottom = height - 22
    for tick in _ticks(low, high):
        at = f"{x(tick):.1f}"
        parts.append(f'<line x1="{at}" x2="{at}" y1="24" y2="{bottom}" stroke="#e3e7ea"/>')
        text = format_signed(tick, _digits(high - low)) if signed else f"{tick:.{_digits(high - low)}f}"
        parts.append(f'<text x="{at}" y="{height - 6}" text-anchor="middle" fill="{_QUIET}">{text}</text>')
    if signed:
        parts.append(f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="24" y2="{bottom}" stroke="{_QUIET}"/>')
    for number, one in enumerate(estimates):
        parts += _mark(one, x, 38 + number * _LINE, signed)
    body = "".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12"><title>{escape(clean(title))}</title>{body}</svg>'
    )


def line_figure(
    frame: pd.DataFrame,
    title: str,
    *,
    x: str,
    y: str,
    colour: str,
    dash: str,
    column: str,
    row: str | None = None,
    log_y: bool = False,
) -> str:
    """An SVG with a line for each colour and dash (and mark) over `x`, whose axis is logarithmic, in a panel for each
    column and row; all are columns of `frame`."""
    import altair as alt  # 30 MB, as vl_convert
    import vl_convert

    scale = alt.Scale(type="log") if log_y else alt.Undefined
    names = {name: name.replace("_", " ") for name in (x, y, colour, dash)}
    panels = {"column": alt.Column(f"{column}:N", sort=list(frame[column].unique()), title=None)}
    if row is not None:
        panels["row"] = alt.Row(f"{row}:N", sort=list(frame[row].unique()), title=None)
    chart = (
        alt.Chart(
            alt.Data(values=frame.to_dict("records")), title=clean(title), width=230, height=130, padding=_PADDING
        )
        .mark_line(point={"filled": False, "size": 40})
        .encode(
            x=alt.X(f"{x}:Q", scale=alt.Scale(type="log", base=2), title=names[x]),
            y=alt.Y(f"{y}:Q", scale=scale, title=names[y]),
            color=alt.Color(f"{colour}:O", scale=alt.Scale(scheme="viridis"), title=names[colour]),
            strokeDash=alt.StrokeDash(f"{dash}:N", sort=None, legend=None),
            shape=alt.Shape(f"{dash}:N", sort=None, title=names[dash]),
            **panels,
        )
    )
    return str(vl_convert.vegalite_to_svg(chart.to_dict(), vl_version="6.4", allowed_base_urls=[]))


def point_figure(frame: pd.DataFrame, title: str, *, x: str, y: str, colour: str, shape: str, column: str) -> str:
    """An SVG with a point for each line of `frame`, in a panel for each value of `column`."""
    import altair as alt  # 30 MB, as vl_convert
    import vl_convert

    chart = (
        alt.Chart(
            alt.Data(values=frame.to_dict("records")), title=clean(title), width=300, height=260, padding=_PADDING
        )
        .mark_point(size=70, filled=True)
        .encode(
            x=alt.X(field=x, type="quantitative"),
            y=alt.Y(field=y, type="quantitative"),
            color=alt.Color(f"{colour}:N", sort=None, scale=alt.Scale(scheme="dark2")),
            shape=alt.Shape(f"{shape}:N", sort=None),
            column=alt.Column(f"{column}:N", sort=list(frame[column].unique()), title=None),
        )
    )
    return str(vl_convert.vegalite_to_svg(chart.to_dict(), vl_version="6.4", allowed_base_urls=[]))


def _mark(one: Estimate, x: Callable[[float], float], y: int, signed: bool) -> list[str]:
    colour = _PLAIN
    if signed:
        outside = one.interval is not None and (one.interval[0] > 0 or one.interval[1] < 0)
        colour = (_GAIN if one.value > 0 else _LOSS) if outside else _QUIET
    label = clean(one.label)
    label = label if len(label) <= 38 else f"{label[:37]}…"
    parts = [f'<text x="{_LABELS - 10}" y="{y + 4}" text-anchor="end" fill="{_INK}">{escape(label)}</text>']
    if one.interval is not None:
        ends = " ".join(f'x{at}="{x(end):.1f}"' for at, end in enumerate(one.interval, start=1))
        parts.append(f'<line {ends} y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>')
    parts.append(f'<circle cx="{x(one.value):.1f}" cy="{y}" r="4" fill="{colour}"/>')
    text = format_signed(one.value) if signed else f"{one.value:.1f}"
    parts.append(f'<text x="{_WIDTH}" y="{y + 4}" text-anchor="end" fill="{_INK}">{text}</text>')
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Round values within the range, about `_TICKS` of them."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    power = (
        10.0 ** len(str(int(rough))) / 10
        if rough >= 1
        else 10.0 ** -next(n for n in range(1, 20) if rough * 10**n >= 1)
    )
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = int(low // step)
    return [number * step for number in range(first, first + 3 * _TICKS) if low <= number * step <= high]


def _digits(span: float) -> int:
    return 0 if span > 8 else 1 if span > 0.8 else 2

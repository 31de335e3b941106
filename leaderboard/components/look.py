"""How charts look: colours on light and dark, axes, labels that stay inside the plot and apart, the theme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd

GAIN, LOSS = "#2b7bba", "#cf7f2b"  # blue and orange, which colour-blind people can distinguish
CONTROL, METHOD = "#8b979d", "#2b8aa8"
EXTERNAL, PUBLISHED = "#8a6fb0", "#b07d2b"
# for names, without the colours of gain and loss; contrast of each at least 3 : 1 on light and on dark
PALETTE = ("#008f76", "#7d6fd0", "#c65f9a", "#94823a", "#7b8790", "#b0605a", "#3f8fa8", "#a35fc6")
OTHERS = "#8b979d"  # for what comes after the palette
GROUND = {False: "#ffffff", True: "#14181b"}  # by whether the theme is dark; see the server's config.toml
INK = {False: "#0d1215", True: "#f2f4f5"}
QUIET = {False: "#5d676d", True: "#a4afb5"}
LINK = {False: "#1f6f8b", True: "#62b6cf"}
BAND = {False: "#f5f6f7", True: "#1e2427"}  # behind the names of every second group of rows that are tied
MIDDLE = {False: "#e9eaeb", True: "#2f3133"}  # no difference, in a heat map
TILE_INKS = ("#000000", "#ffffff")  # one of them has a contrast of at least 4.5 : 1 on any colour
_STRONGEST_TINT = 0.22
NARROWEST = 5.0  # percentage points, the least range of an axis of scores
_NARROW = 400  # pixels of a plot on a phone
NAME_WIDTH = 150  # pixels of a name on an axis; a longer one is cut, and the tooltip has it in full
LANGUAGE_WIDTH = 260  # pixels of a language with its group on an axis
SHORT = 120  # pixels of a name beside a point
CHARACTER = 6.2  # mean width of a character in pixels at the size of labels
_WIDTHS = (250, 560, 1000)  # plots in pixels, from a phone to a wide screen, in which labels must fit
FIT: Any = alt.AutoSizeParams(type="fit-x", contains="padding")  # the height is that of the plot alone


def axis_range(values: Sequence[float]) -> list[float]:
    """The ends of an axis of percentages, at least `NARROWEST` points, so that small differences look small."""
    middle, half = (min(values) + max(values)) / 2, max(max(values) - min(values), NARROWEST) * 0.6
    return [max(0.0, middle - half), min(100.0, middle + half)]


def names_axis(**more: Any) -> alt.Axis:
    """An axis of names; on a narrow screen without what follows the first dot ("qah · SOV, 8 steps ...")."""
    same = {"ticks": False, "domain": False, "grid": False, "labelOverlap": False, "labelFlush": False}
    return alt.Axis(**{**same, "labelLimit": NAME_WIDTH, "labelExpr": short_label(" · ", 0), **more})


def short_label(separator: str, part: int) -> str:
    """An expression for labels, of which a narrow screen shows one part."""
    return f"width < {_NARROW} ? split(datum.label, '{separator}')[{part}] : datum.label"


def signed_axis(**more: Any) -> alt.Axis:
    """An axis of differences: numbers with their sign, zero without."""
    label = "datum.value == 0 ? '0' : format(datum.value, '+~f')"
    return alt.Axis(**{"tickCount": 5, "labelExpr": label, **more})


def zero_line(channel: str) -> alt.Chart:
    """The line of no difference on `channel` (x or y)."""
    line = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=CONTROL, strokeWidth=1)
    return line.encode(**{channel: "zero:Q"})


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb" (WCAG 2)."""
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, two: str) -> float:
    """The contrast of two colours, from 1 to 21 (WCAG 2)."""
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def mix(one: str, two: str, share: float) -> str:
    """The colour at `share` of the way from one to two, in RGB, which adds no third hue."""
    ends = [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in (one, two)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(*ends, strict=True))


def tile_colours(difference: float, widest: float, *, dark: bool, unsure: bool = False) -> tuple[str, str]:
    """The fill of a difference in a table or heat map, grey if it is `unsure`, and the ink of higher contrast for the
    figure on it."""
    share = min(1.0, abs(difference) / widest) if widest and not unsure else 0.0
    fill = mix(MIDDLE[dark], GAIN if difference > 0 else LOSS, share)
    return fill, max(TILE_INKS, key=lambda ink: contrast(fill, ink))


def tile_map(frame: pd.DataFrame, rows: str, text: Any, tips: list[Any], height: int) -> alt.LayerChart:
    """Tiles of the colour `fill` by the column `rows` and by `view`, each in the order of `frame`, with figures of the
    colour `ink` on wide tiles. `height` is that of a tile in pixels."""
    axis = alt.Axis(ticks=False, domain=False, labelAngle=0, orient="top")
    x = alt.X("view:N", sort=list(dict.fromkeys(frame["view"])), title=None, axis=axis)
    y = alt.Y(f"{rows}:N", sort=list(dict.fromkeys(frame[rows])), title=None, axis=names_axis())
    base = alt.Chart(frame).encode(x=x, y=y, tooltip=tips)
    tiles = base.mark_rect().encode(color=alt.Color("fill:N", scale=None))
    wide_enough = alt.expr("bandwidth('x') < 22 ? 0 : 1")
    figures = base.mark_text(fontSize=11, opacity=wide_enough).encode(text=text, color=alt.Color("ink:N", scale=None))
    return alt.layer(tiles, figures).properties(height=height * frame[rows].nunique())


def score_tints(values: Sequence[float | None], *, dark: bool) -> list[str]:
    """A quiet fill for each score of a column: the higher, the stronger; differences below `NARROWEST` are faint."""
    known = [value for value in values if value is not None]
    if not known:
        return [GROUND[dark]] * len(values)
    low, high = axis_range(known)
    shares = [0.0 if value is None else (value - low) / ((high - low) or 1.0) for value in values]
    return [mix(GROUND[dark], METHOD, _STRONGEST_TINT * share) for share in shares]


class LabelSpot(NamedTuple):
    """The place of a label beside its point: Vega alignment and baseline, and the offset in pixels."""

    align: str
    baseline: str
    dx: int
    dy: int


SPOTS = (
    LabelSpot("left", "middle", 8, 0),
    LabelSpot("right", "middle", -8, 0),
    LabelSpot("left", "bottom", 5, -5),
    LabelSpot("right", "bottom", -5, -5),
    LabelSpot("left", "top", 5, 6),
    LabelSpot("right", "top", -5, 6),
)
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def place_labels(
    places: Sequence[tuple[float, float]],
    names: Sequence[str],
    height: int,
    lines: Sequence[tuple[float, float]] = (),
    most: int = SHORT,
) -> list[LabelSpot | None]:
    """A spot for each name in which it covers no point, no line and no other name, and stays inside the plot.

    `places` are the points as shares of the plot from its left and its top; `lines` are more places to avoid. If there
    is no such spot, a name may cover a line; without any spot it is None, and only the tooltip has the name.
    """
    taken: list[list[Box]] = []
    along: list[list[Box]] = []
    for width in _WIDTHS:
        taken.append([(x * width - 4, y * height - 4, x * width + 4, y * height + 4) for x, y in places])
        along.append([(x * width - 1, y * height - 1, x * width + 1, y * height + 1) for x, y in lines])
    placed: list[LabelSpot | None] = []
    for (x, y), name in zip(places, names, strict=True):
        size = min(most, len(name) * CHARACTER)
        boxes = {spot: [_box(spot, x * width, y * height, size) for width in _WIDTHS] for spot in SPOTS}
        free = [spot for spot in SPOTS if _is_free(boxes[spot], taken, height)]
        clear = [spot for spot in free if _is_free(boxes[spot], along, height)]
        placed.append(next(iter((*clear, *free)), None))
        if free:
            for others, box in zip(taken, boxes[(*clear, *free)[0]], strict=True):
                others.append(box)
    return placed


def _box(spot: LabelSpot, x: float, y: float, size: float) -> Box:
    left = x + spot.dx - (size if spot.align == "right" else 0)
    top = y + spot.dy - {"top": 0, "middle": 6, "bottom": 12}[spot.baseline]
    return left, top, left + size, top + 12


def _is_free(boxes: Sequence[Box], taken: Sequence[Sequence[Box]], height: int) -> bool:
    """Whether the boxes, one for each width, are inside the plot and overlap nothing in `taken`."""
    return all(
        box[0] >= 0 and box[1] >= -8 and box[2] <= width + 8 and box[3] <= height
        and not any(_overlap(box, other) for other in others)
        for box, width, others in zip(boxes, _WIDTHS, taken, strict=True)
    )  # fmt: skip


def _overlap(one: Box, two: Box) -> bool:
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


def label_layers(
    frame: pd.DataFrame, spots: Sequence[LabelSpot | None], most: int = SHORT, **encoding: Any
) -> list[alt.Chart]:
    """One layer of labels for each spot in use; `encoding` gives the position of points and the text."""
    layers = []
    for spot in dict.fromkeys(spot for spot in spots if spot is not None):
        rows = frame[[other == spot for other in spots]]
        layers.append(alt.Chart(rows).mark_text(**spot._asdict(), limit=most).encode(**encoding))
    return layers


def spread_labels(values: Sequence[float], domain: Sequence[float], height: int, least: int = 14) -> list[float]:
    """Positions of labels at the ends of lines: at their value, but at least `least` pixels apart."""
    low, high = domain
    gap = least / height * (high - low)
    order = sorted(range(len(values)), key=lambda at: values[at])
    placed: list[float] = []
    for at in order:
        placed.append(max(values[at], placed[-1] + gap) if placed else values[at])
    placed[-1:] = [min(placed[-1], high)] if placed else []
    for at in range(len(placed) - 2, -1, -1):
        placed[at] = min(placed[at], placed[at + 1] - gap)
    return [place for _, place in sorted(zip(order, placed, strict=True))]


def apply_theme(chart: Any, *, dark: bool) -> Any:
    """A chart in the theme of the page: text in its quiet ink, and the plot as high as the chart asks."""
    copy = chart.configure_text(color=QUIET[dark], fontSize=12)
    return copy if copy.autosize is not alt.Undefined else copy.properties(autosize=FIT)


def line_end_labels(
    last: pd.DataFrame, x: Any, domain: Sequence[float], height: int, colour: Any = None
) -> alt.LayerChart:
    """Names at the ends of lines, each after a dot of its line's colour if lines have colours.

    `last` has one row for each line: `name` and its last `value`.
    """
    frame = last.assign(place=spread_labels(last["value"].tolist(), domain, height), dot="\u25cf")
    y = alt.Y("place:Q", scale=alt.Scale(domain=list(domain), nice=False))
    base = alt.Chart(frame).encode(x=x, y=y)
    names = base.mark_text(align="left", baseline="middle", dx=18 if colour else 8).encode(text="name:N")
    if colour is None:
        return alt.layer(names)
    dots = base.mark_text(align="left", baseline="middle", dx=8, fontSize=11).encode(text="dot:N", color=colour)
    return alt.layer(dots, names)

"""Charts of alignment: measures against transfer, and maps of sentences. Each function returns one Altair chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from harness.results.rendering import escape
from leaderboard.components import look
from leaderboard.components.look import OTHERS, PALETTE

OTHER_GROUPS = "others"
SENTENCE, PIVOT = "sentence", "its translation in the pivot language"
_SIDES = {"source": SENTENCE, "target": PIVOT}
_SHAPES = alt.Scale(domain=[SENTENCE, PIVOT], range=["circle", "square"])
_MAP_HEIGHT, _LEGEND_HEIGHT, _ROW = 340, 20, 24  # pixels


def group_colours(values: Sequence[str]) -> list[str]:
    """The values as groups with one colour each; those after the palette form one grey group."""
    names = list(dict.fromkeys(values))
    if len(names) <= len(PALETTE):
        return list(values)
    kept = set(names[: len(PALETTE)])
    return [value if value in kept else OTHER_GROUPS for value in values]


def _colours(names: Sequence[str]) -> alt.Scale:
    own = [name for name in dict.fromkeys(names) if name != OTHER_GROUPS]
    more = [OTHER_GROUPS] if OTHER_GROUPS in names else []
    return alt.Scale(domain=[*own, *more], range=[*PALETTE[: len(own)], *(OTHERS for _ in more)])


def transfer_scatter(points: pd.DataFrame, measure: str, score: str, digits: int) -> alt.LayerChart:
    """A measure of alignment against a score, a point for each method and language; a line joins the methods of each
    language and has its name at the end. `digits` are for the measure."""
    frame = points.assign(
        colour=group_colours([escape(str(value), most=30) for value in points["colour"]]),
        row=[escape(str(value), most=60) for value in points["row"]],
        view=[escape(str(value), most=24) for value in points["view"]],
    )
    colour = alt.Color("colour:N", title=None, scale=_colours(frame["colour"].tolist()))
    scale = alt.Scale(zero=False, nice=True, padding=6)
    joined = alt.Chart(frame).mark_line(color=OTHERS, strokeWidth=0.8, opacity=0.6)
    lines = joined.encode(x=alt.X("measure:Q", scale=scale), y=alt.Y("transfer:Q", scale=scale), detail="view:N")
    points_layer = (
        alt.Chart(frame)
        .mark_circle(size=70, opacity=0.85)
        .encode(
            x=alt.X("measure:Q", title=measure, scale=scale, axis=alt.Axis(tickCount=5)),
            y=alt.Y("transfer:Q", title=score, scale=scale, axis=alt.Axis(tickCount=5)),
            color=colour.legend(orient="bottom", columns=2, labelLimit=140, symbolLimit=0, symbolOpacity=1, offset=12),
            tooltip=[
                alt.Tooltip("row:N", title="method"),
                alt.Tooltip("view:N", title="language"),
                alt.Tooltip("measure:Q", format=f".{digits}f", title=measure),
                alt.Tooltip("transfer:Q", format=".1f", title=score),
            ],
        )
    )
    ends = frame.sort_values("measure").drop_duplicates("view", keep="last")
    names = alt.Chart(ends).mark_text(align="left", dx=8, fontSize=10, color=OTHERS)
    labels = names.encode(x=alt.X("measure:Q", scale=scale), y=alt.Y("transfer:Q", scale=scale), text="view:N")
    return alt.layer(lines, points_layer, labels).properties(height=360)


def sentence_map(points: pd.DataFrame, kind: str, codes: Sequence[str]) -> alt.LayerChart:
    """Sentences on a map, coloured by language: a circle for a sentence, a square for its translation in the pivot,
    a line between them. Maps share one legend (`map_legend`)."""
    assert len(codes) <= len(PALETTE), "a colour stands for one language"
    names = {code: escape(str(code), most=24) for code in points["language"].unique()}
    frame = pd.DataFrame(
        {
            "x": points[f"{kind}_x"],
            "y": points[f"{kind}_y"],
            "language": points["language"].map(names),
            "pair": points["language"] + points["pair"].astype(str),
            "mark": points["side"].map(_SIDES),
            "text": [escape(str(text), most=200) for text in points["text"]],
        }
    )
    scale = _colours([escape(str(code), most=24) for code in codes])
    colour = alt.Color("language:N", scale=scale, legend=None)
    place: dict[str, Any] = {
        channel: channel_class(f"{channel}:Q", axis=None, scale=alt.Scale(zero=False, nice=False, padding=8))
        for channel, channel_class in (("x", alt.X), ("y", alt.Y))
    }
    tips = [alt.Tooltip("language:N"), alt.Tooltip("mark:N", title="mark"), alt.Tooltip("text:N")]
    lines = alt.Chart(frame).mark_line(strokeWidth=0.9, opacity=0.75).encode(**place, detail="pair:N", color=colour)
    dots = alt.Chart(frame).mark_point(size=36, opacity=0.9, filled=True)
    marks = dots.encode(**place, color=colour, shape=alt.Shape("mark:N", scale=_SHAPES, legend=None), tooltip=tips)
    return alt.layer(lines, marks).properties(height=_MAP_HEIGHT)


def map_legend(codes: Sequence[str], wide: int = 330) -> alt.LayerChart:
    """One legend for all maps: the two shapes, then a colour for each language, in lines of `wide` pixels."""
    entries = [(SENTENCE, SENTENCE, OTHERS), (PIVOT, PIVOT, OTHERS)]
    colours = dict(zip(codes, PALETTE, strict=False))
    entries += [(escape(str(code), most=24), SENTENCE, colours[code]) for code in codes]
    records, x, line = [], 0.0, 0
    for at, (name, mark, colour) in enumerate(entries):
        size = 26 + look.CHARACTER * 1.1 * len(name)
        if at == 2 or x + size > wide:
            x, line = 0.0, line + 1
        records.append({"name": name, "mark": mark, "fill": colour, "x": x + 6, "text": x + 16, "y": line * _ROW + 10})
        x += size
    frame = pd.DataFrame(records)
    y = alt.Y("y:Q", scale=None, axis=None)
    points = alt.Chart(frame).mark_point(filled=True, size=60, opacity=1)
    marks = points.encode(
        x=alt.X("x:Q", scale=None, axis=None),
        y=y,
        color=alt.Color("fill:N", scale=None),
        shape=alt.Shape("mark:N", scale=_SHAPES, legend=None),
    )
    words = alt.Chart(frame).mark_text(align="left", baseline="middle")
    texts = words.encode(x=alt.X("text:Q", scale=None, axis=None), y=y, text="name:N")
    return alt.layer(marks, texts).properties(height=(line + 1) * _ROW)


def maps_figure(maps: Mapping[str, pd.DataFrame], kind: str, codes: Sequence[str]) -> alt.VConcatChart:
    """All maps with their names and legend, two in a line, for files."""
    drawn = [
        sentence_map(points, kind, codes).properties(width=300, height=280, title=escape(name, most=40))
        for name, points in maps.items()
    ]
    rows = [alt.hconcat(*drawn[at : at + 2]) for at in range(0, len(drawn), 2)]
    return alt.vconcat(*rows, map_legend(codes, 600).properties(width=600))

"""Embeddings: sentences and their translations on a map, for several methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from harness.files import INTRINSIC
from harness.results.tables import ResultRow
from leaderboard import data
from leaderboard.analysis import board, intrinsic
from leaderboard.components import charts, filters, look, map_charts, messages, tables
from leaderboard.components.state import Address

MAX_MAPS = 4
KINDS = {"t-SNE": "tsne", "PCA": "pca"}
MAP_NOTE = (
    "Percentages and places are of nearest neighbours in the vectors themselves: the mean over the languages shown, "
    "and the medians of the best and the worst of them. A map is only a sketch of the distances."
)


def load_map(row: ResultRow) -> pd.DataFrame:
    """The map of the first run of a row that has one on this machine."""
    links = data.links(data.location(), row.runs, ("project",))
    maps = (intrinsic.map_points(str(name)) for name in links["fingerprint"])
    return next((points for points in maps if not points.empty), pd.DataFrame())


def default_names(rows: Mapping[str, ResultRow]) -> list[str]:
    """The control that trains on the same text beside the best methods."""
    control = board.default_control(list(rows.values()))
    order = sorted(enumerate(rows.items()), key=lambda place: (place[0] != control, bool(place[1][1].badge)))
    return [name for _, (name, _) in order]


def map_title(name: str, row: ResultRow, codes: Sequence[str]) -> str:
    """The name of a row, the share of sentences in some languages whose nearest neighbour is their translation, and the
    median rank of the translation in the best and in the worst of these languages."""
    measured = data.cells(data.location(), row.runs, INTRINSIC)
    measured = measured[measured["language"].isin(codes)]
    means = measured.groupby(["metric", "language"])["value"].mean()
    if "retrieval" not in means:
        return name
    places = sorted({f"{place:.0f}" for place in means.get("neighbour_rank", ())}, key=int)
    median = f", median place {' to '.join(dict.fromkeys((places[0], places[-1])))}" if places else ""
    return f"{name}: {means['retrieval'].mean():.0f} % are next to their translation{median}"


def limit_note(chosen: Sequence[str], limit: int, what: str) -> list[str]:
    return [f"Shown are the first {limit} of {len(chosen)} chosen {what}."] if len(chosen) > limit else []


def show_maps(maps: Mapping[str, pd.DataFrame], titles: Mapping[str, str], kind: str, codes: Sequence[str]) -> None:
    """The maps two by two under one legend, with their files."""
    charts.offer_chart_files(map_charts.maps_figure(maps, kind, codes), "Sentences and their translations", "maps")
    charts.draw_chart(map_charts.map_legend(codes), "legend")
    listed = list(maps.items())
    for at in range(0, len(listed), 2):
        for column, (name, points) in zip(st.columns(2), listed[at : at + 2], strict=False):
            with column:
                messages.write(titles[name])
                charts.draw_chart(map_charts.sentence_map(points, kind, codes), f"map-{name}")
    every = pd.concat([points.assign(method=name) for name, points in maps.items()], ignore_index=True)
    tables.offer_frame(every, "Maps of sentences", "embeddings")


st.title("Embeddings", anchor=False)
address = Address()
limit = len(look.PALETTE)
with st.container(horizontal=True, vertical_alignment="bottom"):
    _, mapped = filters.select_mapped_rows(address)
    rows = board.rows_by_name(mapped)
    wanted = address.select_many("Methods", list(rows), "rows", placeholder="the control and the best")
    kind = KINDS[address.select("Map", list(KINDS), "map", width=110)]
    shown = [rows[name] for name in wanted or default_names(rows)][:MAX_MAPS]
    loaded = {board.row_name(row.label): load_map(row) for row in shown}
    maps = {name: points for name, points in loaded.items() if not points.empty}
    codes = sorted({str(code) for points in maps.values() for code in points["language"]})
    chosen: list[str] = []
    if codes:
        about = f"At most {limit}, one colour each."
        chosen = address.select_many("Languages", codes, "languages", placeholder="the first 3", help=about)
address.show_notices()
if not maps:
    messages.suggest_mapping()
    st.stop()
kept = chosen[:limit] or codes[:3]
messages.write(f"Translation pairs of {', '.join(kept)}, a line between each sentence and its translation.")
messages.write_notes([*limit_note(wanted, MAX_MAPS, "methods"), *limit_note(chosen, limit, "languages"), MAP_NOTE])
titles = {name: map_title(name, rows[name], kept) for name in maps}
show_maps({name: points[points["language"].isin(kept)] for name, points in maps.items()}, titles, kind, kept)

"""The board's charts: signs, colours, label placement, plot heights, files."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.results.rendering import format_signed
from leaderboard.components import charts, difference_charts, look, map_charts
from tests.support.board_store import HOSTILE

SVG = "{http://www.w3.org/2000/svg}"
LINES = pd.DataFrame(
    {
        "view": ["a", "b", "c"],
        "difference": [9.6, -0.04, -3.0],
        "low": [8.0, -1.0, None],
        "high": [10.4, 1.0, None],
    }
)
FOUND = pd.DataFrame(
    [
        {"row": row, "view": view, "difference": size * times}
        for row, size in (("x", 4.0), ("y", -0.01))
        for view, times in zip("pqr", (1, -1, 3), strict=True)
    ]
)


def drawn(chart: Any, title: str = "What?") -> ElementTree.Element:
    """A chart as vl-convert draws it."""
    return ElementTree.fromstring(
        charts.convert_spec(charts.chart_spec(look.apply_theme(chart, dark=False), title), "SVG")
    )


def words(svg: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()) for text in svg.iter(f"{SVG}text")]


def plot_height(svg: ElementTree.Element) -> float:
    """The height of the plotting area in pixels, from the background of the outermost group."""
    path = next(path for path in svg.iter(f"{SVG}path") if path.get("class") == "background")
    found = re.search(r"v([\d.]+)", path.get("d", ""))
    assert found
    return float(found[1])


@given(st.floats(-200, 200), st.integers(0, 3))
def test_a_difference_has_a_sign_and_zero_has_none(value: float, digits: int) -> None:
    text = format_signed(value, digits)
    number = float(text.replace("\u2212", "-"))
    assert number == pytest.approx(round(value, digits), abs=0.51 * 10**-digits)
    assert (text[0] in "+\u2212") == (number != 0)


def test_axes_of_differences_are_plain_numbers() -> None:
    told = words(drawn(difference_charts.difference_dots(LINES)))
    assert {"+10", "0", "\u22122"} <= set(told)
    assert not [text for text in told if re.search(r"\de[+-]?\d", text) or text in ("+0", "-0", "\u22120")]
    spread = pd.DataFrame({"view": ["a"], "difference": [0.2], "low": [-0.1], "high": [0.5]})
    assert "+0.2" in words(drawn(difference_charts.difference_dots(spread)))
    assert difference_charts.difference_dots(LINES[:0]) is None


def test_small_differences_have_no_sign() -> None:
    chart = difference_charts.heat_map(FOUND, dark=True).to_dict()
    (records,) = chart["datasets"].values()
    assert [record["short"] for record in records if record["row"] == "y"] == ["0", "0", "0"]
    assert [record["text"] for record in records if record["row"] == "x"] == ["+4.0", "\u22124.0", "+12.0"]


@pytest.mark.parametrize("dark", [False, True])
def test_heat_map_colours_and_contrast(dark: bool) -> None:
    assert look.tile_colours(0.0, 10.0, dark=dark)[0] == look.MIDDLE[dark]
    for step in range(1, 101):
        for sign, high, low in ((1, 5, 1), (-1, 1, 5)):  # blue above red in a gain, red above blue in a loss
            fill, ink = look.tile_colours(sign * step / 10, 10.0, dark=dark)
            assert step < 5 or int(fill[high : high + 2], 16) > int(fill[low : low + 2], 16)
            assert look.contrast(fill, ink) >= 4.5
    assert look.contrast(look.MIDDLE[dark], look.GROUND[dark]) < 1.5  # no glare


def test_colours_are_distinct_and_visible_on_light_and_dark() -> None:
    assert len(set(look.PALETTE)) == len(look.PALETTE) == 8
    for colour, ground in itertools.product((*look.PALETTE, look.GAIN, look.LOSS), look.GROUND.values()):
        assert look.contrast(colour, ground) >= 3
    for dark, ground in look.GROUND.items():
        assert look.contrast(look.QUIET[dark], ground) >= 4.5


SHARES = st.tuples(st.floats(0.02, 0.98), st.floats(0.03, 0.97))


@given(st.lists(SHARES, max_size=14), st.data())
def test_labels_stay_inside_and_apart(places: list[tuple[float, float]], data: st.DataObject) -> None:
    names = [data.draw(st.text("abcdefgh-", min_size=1, max_size=30)) for _ in places]
    height = 300
    found = look.place_labels(places, names, height)
    for width in (250, 700, 1000):
        boxes = []
        for (x, y), name, spot in zip(places, names, found, strict=True):
            if spot is not None:
                size = min(look.SHORT, len(name) * look.CHARACTER)
                boxes.append(look._box(spot, x * width, y * height, size))
        assert all(box[0] >= 0 and box[2] <= width + 8 for box in boxes)
        if width in look._WIDTHS:
            assert not [pair for pair in itertools.combinations(boxes, 2) if look._overlap(*pair)]


def test_label_at_the_right_edge_is_on_the_left() -> None:
    (left, right) = look.place_labels([(0.02, 0.5), (0.98, 0.5)], ["first-method", "continued-mlm"], 300)
    assert left is not None
    assert right is not None
    assert (left.align, right.align) == ("left", "right")
    line = [(at / 100, 0.5) for at in range(100)]
    (beside,) = look.place_labels([(0.4, 0.5)], ["mbert"], 300, line)
    assert beside is not None
    assert beside.dy != 0


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=8))
def test_line_end_labels_keep_order_and_distance(values: list[float]) -> None:
    placed = look.spread_labels(values, [-22.0, 22.0], 300, 14)
    order = sorted(range(len(values)), key=lambda at: values[at])
    gap = 14 / 300 * 44
    for one, two in itertools.pairwise(order):
        assert placed[two] - placed[one] >= gap - 1e-9
    assert max(placed) <= 22.0 + 1e-9


def points(groups: int) -> pd.DataFrame:
    names = [f"a-method-with-a-long-name-{at}" for at in range(groups)]
    return pd.DataFrame(
        [
            {"row": name, "view": view, "measure": at + 0.123456, "transfer": 50.0 + at, "colour": name}
            for at, name in enumerate(names)
            for view in ("qab", "qac")
        ]
    )


@pytest.mark.parametrize("groups", [2, 8, 22])
def test_legend_does_not_shrink_the_plot(groups: int) -> None:
    chart = map_charts.transfer_scatter(points(groups), "Retrieval, %", "xnli, %", 1)
    assert plot_height(drawn(chart)) == 360
    attribution = difference_charts.attribution_bars(gains(*((f"m{at}", "all", 10.0 + at) for at in range(groups))))
    assert attribution is not None
    assert plot_height(drawn(attribution)) == 21 * groups


def test_no_colour_is_used_twice() -> None:
    limit = len(look.PALETTE)
    scale = map_charts.transfer_scatter(points(22), "m", "t", 3).to_dict()["layer"][1]["encoding"]["color"]["scale"]
    assert len(set(scale["range"])) == len(scale["domain"]) == limit + 1
    assert scale["domain"][-1] == map_charts.OTHER_GROUPS
    scale = map_charts.transfer_scatter(points(limit), "m", "t", 3).to_dict()["layer"][1]["encoding"]["color"]["scale"]
    assert map_charts.OTHER_GROUPS not in scale["domain"]
    with pytest.raises(AssertionError):
        map_charts.sentence_map(sentences(), "pca", [f"l{at}" for at in range(limit + 1)])


def sentences() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"language": code, "pair": pair, "side": side, "text": f"{side} {pair}", "pca_x": pair + at, "pca_y": -pair}
            for code in ("qab", "qac")
            for pair in range(3)
            for at, side in enumerate(("source", "target"))
        ]
    )


def test_maps_distinguish_translations_and_share_one_legend() -> None:
    chart = map_charts.sentence_map(sentences(), "pca", ["qab", "qac"]).to_dict()
    (records,) = chart["datasets"].values()
    assert {(r["mark"], r["text"].split()[0]) for r in records} == {
        (map_charts.SENTENCE, "source"),
        (map_charts.PIVOT, "target"),
    }
    svg = drawn(map_charts.sentence_map(sentences(), "pca", ["qab", "qac"]))
    assert words(svg) == ["What?"]
    legend = words(drawn(map_charts.map_legend(["qab", "qac"])))
    assert sorted(legend) == sorted([map_charts.SENTENCE, map_charts.PIVOT, "qab", "qac", "What?"])
    figure = map_charts.maps_figure(
        {"one": sentences(), "two": sentences(), "three": sentences()}, "pca", ["qab", "qac"]
    )
    told = words(ElementTree.fromstring(charts.convert_spec(charts.chart_spec(figure, "Maps"), "SVG")))
    assert {"one", "two", "three", "Maps", map_charts.PIVOT} <= set(told)
    assert told.count("qab") == 1


def test_legend_fits_a_phone() -> None:
    chart = map_charts.map_legend([f"qa{letter}" for letter in "abcdefgh"]).to_dict()
    (records,) = chart["datasets"].values()
    assert max(r["text"] + look.CHARACTER * len(r["name"]) for r in records) <= 345
    assert len({r["fill"] for r in records}) == 9


def test_bars_of_attribution_are_the_steps() -> None:
    steps = gains(("m", "text", 2.0), ("m", "objective", -1.0), ("m", "pairs", 6.5), ("n", "all", 4.0))
    chart = difference_charts.attribution_bars(steps)
    assert chart is not None
    records = next(data for data in chart.to_dict()["datasets"].values() if "method" in data[0])
    assert [(r["method"], r["kind"], r["text"]) for r in records] == [
        ("m", "text", "+2.0"),
        ("m", "objective", "\u22121.0"),
        ("m", "pairs", "+6.5"),
        ("n", "all", "+4.0"),
    ]
    assert difference_charts.attribution_bars(steps[:0]) is None
    tested = steps.assign(low=steps["gain"] - 3, high=steps["gain"] + 3)
    chart = difference_charts.attribution_bars(tested)
    assert chart is not None
    records = next(data for data in chart.to_dict()["datasets"].values() if "method" in data[0])
    assert [r["side"] for r in records] == ["unsure", "unsure", "gain", "gain"]
    assert {"+2.0 [\u22121.0, 5.0]", "+6.5 [3.5, 9.5]"} <= set(words(drawn(chart)))


def gains(*steps: tuple[str, str, float]) -> pd.DataFrame:
    """Steps without intervals, of methods by kind."""
    frame = pd.DataFrame(steps, columns=["method", "kind", "gain"])
    return frame.assign(step=frame["kind"], column="average", low=float("nan"), high=float("nan"))


def test_scores_by_value_of_a_field_join_rows_that_agree_in_all_else() -> None:
    lines = [("a", 0, 100, 50.0, 50.5), ("a", 0, 100, 51.0, 50.5), ("b", 0, 200, 53.0, 53.0), ("c", 1, 100, 47.0, 47.0)]
    points = pd.DataFrame(lines, columns=["row", "set", "value", "score", "mean"])
    chart = difference_charts.field_scores(points, "align.steps")
    assert chart is not None
    assert sorted(len(records) for records in chart.to_dict()["datasets"].values()) == [3, 4]
    assert "align.steps" in words(drawn(chart))
    assert difference_charts.field_scores(points[points["value"] == 100], "align.steps") is None


def test_distance_lines_label_the_first_rows() -> None:
    rows = [f"row{at}" for at in range(9)]
    lines = [(row, at, distance) for at, row in enumerate(rows) for distance in (0, 3)]
    placed = pd.DataFrame(
        [{"row": row, "view": f"v{far}", "difference": at - far, "distance": far} for row, at, far in lines]
    )
    chart = difference_charts.distance_lines(placed, "Distance")
    assert chart is not None
    svg = drawn(chart)
    assert plot_height(svg) == 300
    named = [text for text in words(svg) if text.startswith("row")]
    assert sorted(named) == rows[: difference_charts.NAMED]
    assert difference_charts.distance_lines(placed[placed["distance"] == 0], "Distance") is None


@pytest.mark.parametrize("name", HOSTILE)
def test_chart_files_hold_third_party_names_as_plain_text(name: str) -> None:
    frame = LINES.assign(view=[name, "b", "c"])
    chart = difference_charts.difference_dots(frame)
    made = charts.chart_spec(look.apply_theme(chart, dark=False), name, name)
    svg = charts.convert_spec(made, "SVG").decode()
    tree = ElementTree.fromstring(svg)
    assert {element.tag.removeprefix(SVG) for element in tree.iter()} <= {
        "svg",
        "g",
        "rect",
        "path",
        "text",
        "line",
        "tspan",
    }
    assert not [
        key for element in tree.iter() for key in element.attrib if key.endswith("href") or key.startswith("on")
    ]
    assert "\u202e" not in svg
    assert charts.convert_spec(made, "PDF").startswith(b"%PDF")
    assert charts.convert_spec(made, "PNG").startswith(b"\x89PNG")


def test_addresses_in_a_specification_are_not_requested() -> None:
    made = {"data": {"url": "http://localhost:1/x.csv"}, "mark": "bar", "encoding": {"x": {"field": "a"}}}
    with pytest.raises(ValueError, match="not allowed"):
        charts.convert_spec(made, "SVG")


def test_vl_convert_is_imported_on_use() -> None:
    program = (
        "import sys; from leaderboard.components import charts, map_charts, difference_charts, score_charts, tables\n"
    )
    program += "print([name for name in ('vl_convert', 'torch', 'transformers', 'evaluate') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"

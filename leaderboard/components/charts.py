"""Charts on a page, and as SVG, PDF and PNG files made on the server by vl-convert, without browser or network.

Files are drawn on white, whatever the theme of the page. Chart texts are third-party text and are cleaned again here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from harness.results.rendering import escape
from leaderboard.components import look, messages
from leaderboard.components.downloads import file_stem

WIDTH = 640  # pixels of a chart in a file; on the page it fills its column
LONGEST = 300  # characters of a text in a file
KINDS: dict[str, str] = {"SVG": "image/svg+xml", "PDF": "application/pdf", "PNG": "image/png"}
_FONT = "sans-serif"  # always available where text is measured and drawn
_FONTS = "Source Sans 3, Source Sans Pro, Helvetica, Arial, sans-serif"  # in an SVG, whose reader may have them
_LABEL = {"labelColor": look.QUIET[False], "titleColor": look.QUIET[False], "titleFontWeight": "normal"}
_QUIET_AXIS = {"labelFontSize": 11, "titleFontSize": 12, "ticks": False, "domain": False, "gridColor": "#e2e6e8"}
CONFIG: dict[str, Any] = {
    "background": look.GROUND[False],
    "font": _FONT,
    "padding": 8,
    "view": {"stroke": None},
    "axis": {**_LABEL, **_QUIET_AXIS},
    "axisDiscrete": {"grid": False},
    "legend": {**_LABEL, "labelFontSize": 12},
    "text": {"color": look.QUIET[False], "fontSize": 11},
    "title": {
        "anchor": "start",
        "color": look.INK[False],
        "fontSize": 14,
        "fontWeight": 600,
        "subtitleColor": look.QUIET[False],
        "offset": 12,
    },
}


def is_dark() -> bool:
    return st.context.theme.type == "dark"


def show_chart(chart: Any, question: str, name: str, about: str = "", printed: Any = None) -> None:
    """A chart under its question, with its files; nothing if it is None. `printed` is the chart in files, if it differs
    from the one on the page."""
    if chart is None:
        return
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.subheader(escape(question, "label", 120), anchor=False, width="content")
        offer_chart_files(printed or chart, question, name, about)
    if about:
        st.caption(escape(about, "label", messages.LONGEST))
    draw_chart(chart, name)


def draw_chart(chart: Any, name: str) -> None:
    """A chart alone, in the theme of the page."""
    st.altair_chart(look.apply_theme(chart, dark=is_dark()), key=name)


@st.fragment
def offer_chart_files(chart: Any, title: str, name: str, about: str = "") -> None:
    """A menu of files of a chart, each made when it is clicked."""
    with st.popover(
        "Save chart",
        type="tertiary",
        icon=":material/download:",
        help="The chart on white, for print.",
        key=f"{name}-chart-files",
        on_change="rerun",
        width="content",
    ) as menu:
        if not menu.open:
            return

        def maker(kind: str) -> Callable[[], bytes]:
            return lambda: convert_spec(chart_spec(chart, title, about), kind)

        for kind, mime in KINDS.items():
            st.download_button(
                kind,
                maker(kind),
                file_name=f"{file_stem(name)}.{kind.lower()}",
                mime=mime,
                key=f"{name}-{kind}",
                on_click="ignore",
                width="stretch",
            )


def chart_spec(chart: Any, title: str, about: str = "", width: int = WIDTH) -> dict[str, Any]:
    """The Vega-Lite specification of a chart in a file, with its title; every text in it is plain text."""
    spec: dict[str, Any] = chart.to_dict()
    spec["title"] = {"text": escape(title, most=120), **({"subtitle": escape(about, most=160)} if about else {})}
    spec["config"] = CONFIG
    if not {"hconcat", "vconcat", "concat"} & spec.keys():
        spec |= {"width": width, "autosize": {"type": "fit-x", "contains": "padding"}}
    cleaned: dict[str, Any] = _clean_texts(spec)
    return cleaned


def _clean_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _clean_texts(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_clean_texts(each) for each in value]
    return escape(value, most=LONGEST) if isinstance(value, str) else value


def convert_spec(spec: dict[str, Any], kind: str) -> bytes:
    """A specification as a file of a kind. Addresses in it are never requested."""
    import vl_convert  # 30 MB, and needed by few visits

    same: dict[str, Any] = {"vl_version": "6.4", "allowed_base_urls": []}
    if kind == "SVG":
        svg = str(vl_convert.vegalite_to_svg(spec, **same))
        return svg.replace(f'font-family="{_FONT}"', f'font-family="{_FONTS}"').encode()
    if kind == "PDF":
        return bytes(vl_convert.vegalite_to_pdf(spec, **same))
    return bytes(vl_convert.vegalite_to_png(spec, scale=2.0, **same))

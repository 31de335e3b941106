"""Charts as files: SVG, PDF and PNG, made on the server by vl-convert, without a browser and without a network.

They are drawn on white, whatever the theme of the page. Texts in them are foreign: each is made plain text again here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.results.rendering import escape
from leaderboard.components import look

WIDTH = 640  # pixels of a chart, which has none of its own on the page
LONGEST = 300  # characters of a text in a file
KINDS: dict[str, str] = {"SVG": "image/svg+xml", "PDF": "application/pdf", "PNG": "image/png"}
_FONT = "sans-serif"  # the one that is surely there when text is measured and drawn
_FONTS = "Source Sans 3, Source Sans Pro, Helvetica, Arial, sans-serif"  # the board's, where who reads an SVG has it
_LABEL = {"labelColor": look.QUIET[False], "titleColor": look.QUIET[False], "titleFontWeight": "normal"}
CONFIG: dict[str, Any] = {
    "background": look.GROUND[False],
    "font": _FONT,
    "padding": 8,
    "view": {"stroke": None},
    "axis": {
        **_LABEL,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "ticks": False,
        "domain": False,
        "gridColor": "#e2e6e8",
    },
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


def spec(drawn: Any, title: str, about: str = "", width: int = WIDTH) -> dict[str, Any]:
    """The Vega-Lite specification of a chart as it is printed: with its title, and no text that is more than text."""
    made: dict[str, Any] = drawn.to_dict()
    made["title"] = {"text": escape(title, most=120), **({"subtitle": escape(about, most=160)} if about else {})}
    made["config"] = CONFIG
    if not {"hconcat", "vconcat", "concat"} & made.keys():
        made |= {"width": width, "autosize": {"type": "fit-x", "contains": "padding"}}
    plain: dict[str, Any] = _plain(made)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return escape(value, most=LONGEST) if isinstance(value, str) else value


def converted(made: dict[str, Any], kind: str) -> bytes:
    """A specification as a file of a kind. No address that a specification might hold is ever asked for."""
    import vl_convert  # 30 MB, and wanted by few visits

    same: dict[str, Any] = {"vl_version": "6.4", "allowed_base_urls": []}
    if kind == "SVG":
        drawn = str(vl_convert.vegalite_to_svg(made, **same))
        return drawn.replace(f'font-family="{_FONT}"', f'font-family="{_FONTS}"').encode()
    if kind == "PDF":
        return bytes(vl_convert.vegalite_to_pdf(made, **same))
    return bytes(vl_convert.vegalite_to_png(made, scale=2.0, **same))


def file(draw: Callable[[], dict[str, Any]], kind: str) -> Callable[[], bytes]:
    """What makes the file when it is asked for."""
    return lambda: converted(draw(), kind)

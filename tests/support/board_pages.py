"""Pages of the board run without a browser."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from leaderboard import launch


def run_page(name: str, **query: str) -> AppTest:
    """A page of the board after its first run, with `query` in its address. Fails if it raises."""
    app = AppTest.from_file(str(launch.APP), default_timeout=90)
    app.run()
    app.switch_page(f"../pages/{name}.py")
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def page_text(app: AppTest) -> str:
    """All text on a page, without the escapes of Markdown."""
    texts = [*app.text, *app.code, *app.error], [*app.caption, *app.warning]
    return "\n".join(
        [*(e.value for e in texts[0]), *(e.value.replace("\\", "").replace("\u2060", "") for e in texts[1])]
    )

"""The board's server, which `streamlit run` starts: Streamlit's own routes and two of ours."""

from __future__ import annotations

import streamlit as st
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

BASE = f"/{st.get_option('server.baseUrlPath').strip('/')}".rstrip("/")


def decline(request: Request) -> Response:
    """Below its own address a page finds none of the server's files, and asks at the root next.

    A browser reports every status from 400 on as a failed request, so this answers 300.
    """
    return Response(status_code=300)


def redirect_to_first_page(request: Request) -> RedirectResponse:
    """The first page is also found under its name."""
    return RedirectResponse(f"{BASE}/?{request.url.query}".rstrip("?"))


app = st.App(
    "app.py",
    routes=[Route(f"{BASE}/{{page}}/_stcore/{{name}}", decline), Route(f"{BASE}/leaderboard", redirect_to_first_page)],
)

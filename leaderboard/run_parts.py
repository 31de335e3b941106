"""The parts of the page Runs: the list, which keeps itself up to date, and one run in full."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from harness.errors import UserError
from harness.results.rendering import escape
from leaderboard import data
from leaderboard.analysis import logs, runs
from leaderboard.components import downloads, parts, score_charts
from leaderboard.components.state import Address

ALL = "all"
NEWEST = "newest"  # the stage that is at work, or failed, or ended last
LIVE_SECONDS = 3


class Chosen(NamedTuple):
    """What the filters leave: the statuses that are listed, words in the method's name, and the run shown in full."""

    statuses: tuple[str, ...]
    method: str
    run: str


def filters(address: Address) -> Chosen:
    """The row of filters. Without a store says what to do and ends the page."""
    try:
        log = data.log(data.location(), runs.NEWEST)
    except UserError as error:
        parts.trouble(error)
        st.stop()
    if log.empty:
        parts.nothing_yet(0)
        st.stop()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        status = address.select("Status", [ALL, *runs.STATUSES], "status", width=140)
        method = address.text("Method", "method", placeholder="part of a name", width=180)
        run = _run(address, log)
    return Chosen(() if status == ALL else (status,), method, run)


def _run(address: Address, log: pd.DataFrame) -> str:
    """The run to show in full: of the newest ones, or any that the address names."""
    names = list(log["id"])
    asked = st.query_params.get("run", "")
    if asked and asked not in names and data.run(data.location(), asked) is not None:
        names = [asked, *names]
    told = {escape(name, most=60): name for name in names}
    chosen = address.select("Run", ["none", *told], "run", width=260)
    return str(told.get(chosen, ""))


def body(chosen: Chosen) -> None:
    """The list, renewed by itself while something is running, and below it one run."""
    log = data.log(data.location(), runs.NEWEST, chosen.statuses)
    live = runs.is_live(data.log(data.location(), runs.NEWEST))
    st.fragment(_list, run_every=LIVE_SECONDS if live else None)(chosen)
    if chosen.run:
        st.fragment(_one, run_every=LIVE_SECONDS if live else None)(chosen.run)
    elif len(log):
        st.caption("Choose a run above, or click one in the list, for its stages, times, environment and messages.")


def _list(chosen: Chosen) -> None:
    place = data.location()
    log = data.log(place, runs.NEWEST, chosen.statuses)
    log = log[log["method"].str.contains(chosen.method, case=False, regex=False)]
    parts.told(f"{runs.counts(log) or 'no runs'}, newest first" + (f", at most {runs.NEWEST}" if len(log) else ""))
    if log.empty:
        return
    shown = runs.listed(log, data.progress(place, tuple(log["id"])))
    height = min(38 + 34 * len(shown), 420)
    parts.frame(shown, "runs", runs.LIST, on_select=_choose, selection_mode="single-row", height=height)
    st.session_state["listed"] = list(shown["run"])
    parts.offer_frame(shown, "Runs", "runs")
    if st.session_state.pop("clicked", False):
        st.rerun(scope="app")  # the run stands outside of the part that a click draws anew


def _choose() -> None:
    """A click on a row of the list shows that run."""
    rows = st.session_state["runs"]["selection"]["rows"]
    listed: list[str] = st.session_state.get("listed", [])
    if rows and rows[0] < len(listed):
        st.session_state["run"] = escape(listed[rows[0]], most=60)
        st.session_state["clicked"] = True
        st.session_state.pop("log", None)  # the stages of another run
        st.query_params.pop("log", None)


def _one(name: str) -> None:
    """One run in full."""
    place = data.location()
    run = data.run(place, name)
    if run is None:
        st.info("This run is no longer in the store.")
        return
    seed = runs.seed_of({key: run[key] for key in ("align_seed", "finetune_seed")})
    st.subheader(escape(f"{run['method']} seed {seed}", "label", 80), anchor=False)
    parts.told(f"{run['status']}: {run['suite']}, protocol {run['protocol']}, {run['source']}, base {run['base']}")
    if run["error"]:
        st.error("A stage failed. `alignboard resume` tries again what failed.", icon=":material/error:")
        st.code(_lines(run["error"]), language=None, wrap_lines=True)
    links = data.links(place, (name,))
    done = run["status"] == "done"
    if not done:
        _logs(run, links)
    if links.empty:
        st.text("No stage is done yet.")
    else:
        _stages(links)
    if done:
        _logs(run, links)
    _surroundings(run)


def _lines(text: str) -> str:
    """A message of several lines, each of them cleaned."""
    return "\n".join(escape(line, most=2000) for line in text.splitlines()[:200])


def _stages(links: pd.DataFrame) -> None:
    stages = runs.stages(links)
    parts.frame(stages, "stages", runs.STAGES)
    parts.offer_frame(stages, "Stages", "stages")
    parts.chart(score_charts.timeline(runs.timeline(links)), "Where did the time go?", "timeline")


def _logs(run: dict[str, Any], links: pd.DataFrame) -> None:
    """The end of the log of one stage, which follows the stage while it is worked on."""
    found = logs.listed(run, links)
    if not found:
        if not links.empty:
            st.caption("The logs of these stages are not on this machine.")
        return
    live = run["status"] in data.OPEN
    st.subheader("What is happening?" if live else "What happened?", anchor=False)
    address = Address()
    by_name = {NEWEST: logs.newest(found)} | {log.stage: log for log in found}
    log = by_name[address.select("Log of the stage", list(by_name), "log", width=260, always=True)]
    address.tell()
    text = logs.read(log, live)
    parts.told(f"{log.stage}: {text.state}{', ' + text.extent if text.lines else ''}")
    with st.container(height=min(420, 40 + 22 * len(text.lines)), border=False, autoscroll=True):
        st.code(text.last, language=None, wrap_lines=True)
    st.download_button(
        "Download the log",
        text.whole,
        file_name=f"{downloads.stem(log.stage.replace(' ', '-'), 'log')}.txt",
        mime="text/plain",
        icon=":material/download:",
        on_click="ignore",
    )


def _surroundings(run: dict[str, Any]) -> None:
    with st.expander("Environment, data and code"):
        facts = runs.facts(run)
        parts.frame(facts, "facts", {"what": "", "value": st.column_config.TextColumn("")})
        parts.offer_frame(facts, "Environment, data and code", "environment")
    with st.expander("Recipe"):
        flat = runs.settings(run["recipe"] or {})
        fields = pd.DataFrame({"field": list(flat), "value": [str(value) for value in flat.values()]})
        parts.frame(fields, "recipe-fields")
        parts.offer_frame(fields, "Recipe", "recipe")

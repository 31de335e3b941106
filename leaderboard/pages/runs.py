"""Runs: what is running, what failed and why; of one run its stages, logs, environment and recipe."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from harness.errors import UserError
from harness.results.labels import shown_recipe
from harness.results.rendering import escape
from harness.storage.store.schema import SUPERSEDED
from leaderboard import data
from leaderboard.analysis import logs, runs
from leaderboard.components import charts, downloads, messages, score_charts, tables
from leaderboard.components.state import Address

ALL = "all"
NEWEST_LOG = "newest"
LIVE_SECONDS = 3
RUN_LIST = {
    "status": st.column_config.TextColumn("Status", width=96),
    "method": st.column_config.TextColumn("Method", width=220),
    "seed": st.column_config.TextColumn("Seed", width=64),
    "suite": st.column_config.TextColumn("Suite"),
    "protocol": st.column_config.TextColumn("Protocol", width=90),
    "source": st.column_config.TextColumn("Source"),
    "started": st.column_config.DatetimeColumn("Started (UTC)", format="YYYY-MM-DD HH:mm", width=150),
    "minutes": st.column_config.NumberColumn("Minutes", format="%.1f", width=84, help="From start to end."),
    "stages": st.column_config.NumberColumn("Stages", width=76, help="Finished stages."),
    "views": st.column_config.TextColumn("Views", width=84, help="Scored views of all tasks, of those expected."),
    "message": st.column_config.TextColumn("What failed"),
    "run": st.column_config.TextColumn("Run"),
}
STAGES = {
    "stage": st.column_config.TextColumn("Stage", width=170),
    "result": st.column_config.TextColumn("Result", width=110, help="Finished stages are reused, not computed again."),
    "runs": st.column_config.NumberColumn("Runs", width=60, help="Runs that share this stage."),
    "seconds": st.column_config.NumberColumn("Seconds", format="%.1f", width=90),
    "device seconds": st.column_config.NumberColumn("Device seconds", format="%.1f", width=120),
    "thousand tokens": st.column_config.NumberColumn("1,000 tokens", format="%.0f", width=110),
    "tokens per second": st.column_config.NumberColumn("Tokens / s", format="%.0f", width=100),
    "MiB": st.column_config.NumberColumn("Peak MiB", format="%.0f", width=90),
    "device": st.column_config.TextColumn("Device"),
    "precision": st.column_config.TextColumn("Precision", width=84),
    "started": st.column_config.DatetimeColumn("Started (UTC)", format="YYYY-MM-DD HH:mm:ss", width=170),
    "fingerprint": st.column_config.TextColumn("Artifact"),
}


class RunFilter(NamedTuple):
    """The statuses to list, words in the method's name, and the run to show in full."""

    statuses: tuple[str, ...]
    method: str
    run: str


def choose(address: Address) -> RunFilter:
    """The filters. Without a store or a run says what to do and ends the page."""
    place = data.location()
    try:
        log = data.newest_runs(place, runs.NEWEST)
    except UserError as error:
        messages.report_store_error(error)
        st.stop()
    if log.empty:
        messages.suggest_first_run()
        st.stop()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        status = address.select("Status", [ALL, *runs.STATUSES], "status", width=140)
        method = address.text("Method", "method", placeholder="part of a name", width=180)
        ids = list(log["id"])
        asked = st.query_params.get("run", "")
        if asked and asked not in ids and data.run(place, asked) is not None:
            ids = [asked, *ids]  # an older run that the address names
        names = {escape(name, most=60): name for name in ids}
        chosen = address.select("Run", ["none", *names], "run", width=260)
    return RunFilter(() if status == ALL else (status,), method, str(names.get(chosen, "")))


def show_list(chosen: RunFilter) -> None:
    place = data.location()
    log = data.newest_runs(place, runs.NEWEST, chosen.statuses)
    log = log[log["method"].str.contains(chosen.method, case=False, regex=False)]
    log = log.sort_values("created", ascending=False, kind="stable")
    limit = f", at most {runs.NEWEST}" if len(log) else ""
    messages.write(f"{runs.status_counts(log) or 'no runs'}, newest first{limit}")
    if log.empty:
        return
    listed = runs.list_runs(log, data.progress(place, tuple(log["id"])))
    height = min(38 + 34 * len(listed), 420)
    tables.show_frame(listed, "runs", RUN_LIST, on_select=open_clicked_run, selection_mode="single-row", height=height)
    st.session_state["listed"] = list(listed["run"])
    tables.offer_frame(listed, "Runs", "runs")
    if st.session_state.pop("clicked", False):
        st.rerun(scope="app")  # the run is drawn outside of the fragment that a click redraws


def open_clicked_run() -> None:
    rows = st.session_state["runs"]["selection"]["rows"]
    listed: list[str] = st.session_state.get("listed", [])
    if rows and rows[0] < len(listed):
        st.session_state["run"] = escape(listed[rows[0]], most=60)
        st.session_state["clicked"] = True
        st.session_state.pop("log", None)  # it names a stage of another run
        st.query_params.pop("log", None)


def show_run(name: str) -> None:
    place = data.location()
    run = data.run(place, name)
    if run is None:
        st.info("This run is no longer in the store.")
        return
    st.subheader(escape(f"{run['method']} seed {runs.seed_text(run)}", "label", 80), anchor=False)
    messages.write(f"{run['status']}: {run['suite']}, protocol {run['protocol']}, {run['source']}, base {run['base']}")
    if run["status"] == SUPERSEDED:
        st.info("Closed: it can no longer be resumed, and its scores are in no table. Run its command again.")
        messages.write(str(run["error"] or ""))
    elif run["error"]:
        st.error("A stage failed. `alignboard resume` tries it again.", icon=":material/error:")
        lines = (escape(line, most=2000) for line in run["error"].splitlines()[:200])
        st.code("\n".join(lines), language=None, wrap_lines=True)
    links = data.links(place, (name,))
    done = run["status"] == "done"
    if not done:
        show_logs(run, links)
    if links.empty:
        st.text("No stage is done yet.")
    else:
        shared = data.sharing_runs(place, tuple(links["fingerprint"]))
        stages = runs.list_stages(links, shared)
        own = stages[stages["result"] == "computed"]["device seconds"].sum()
        messages.write(f"{own:.0f} device seconds of its own. The column Runs counts the runs that share a stage.")
        tables.show_frame(stages, "stages", STAGES)
        tables.offer_frame(stages, "Stages", "stages")
        bars = score_charts.timeline_bars(runs.stage_timeline(links, shared))
        charts.show_chart(bars, "Where did the time go?", "timeline")
    if done:
        show_logs(run, links)
    show_environment(run)


def show_logs(run: dict[str, Any], links: pd.DataFrame) -> None:
    """The end of the log of one stage, which is followed while the stage runs."""
    files = logs.find_logs(run, links)
    if not files:
        if not links.empty:
            st.caption("The logs of these stages are not on this machine.")
        return
    live = run["status"] in runs.OPEN
    st.subheader("What is happening?" if live else "What happened?", anchor=False)
    address = Address()
    by_name = {NEWEST_LOG: logs.newest_log(files)} | {log.stage: log for log in files}
    log = by_name[address.select("Log of the stage", list(by_name), "log", width=260, always=True)]
    address.show_notices()
    text = logs.read_log(log, live)
    messages.write(f"{log.stage}: {text.state}{', ' + text.extent if text.lines else ''}")
    with st.container(height=min(420, 40 + 22 * len(text.lines)), border=False, autoscroll=True):
        st.code(text.last, language=None, wrap_lines=True)
    st.download_button(
        "Download the log",
        text.whole,
        file_name=f"{downloads.file_stem(log.stage.replace(' ', '-'), 'log')}.txt",
        mime="text/plain",
        icon=":material/download:",
        on_click="ignore",
    )


def show_environment(run: dict[str, Any]) -> None:
    with st.expander("Environment, data and code"):
        facts = runs.run_facts(run)
        tables.show_frame(facts, "facts", {"what": "", "value": st.column_config.TextColumn("")})
        tables.offer_frame(facts, "Environment, data and code", "environment")
    with st.expander("Recipe"):
        settings = shown_recipe(run)
        fields = pd.DataFrame({"field": list(settings), "value": [str(value) for value in settings.values()]})
        tables.show_frame(fields, "recipe-fields")
        tables.offer_frame(fields, "Recipe", "recipe")


st.title("Runs", anchor=False)
address = Address()
chosen = choose(address)
address.show_notices()
log = data.newest_runs(data.location(), runs.NEWEST, chosen.statuses)
every = data.newest_runs(data.location(), runs.NEWEST)
refresh = LIVE_SECONDS if every["status"].isin(runs.OPEN).any() else None
st.fragment(show_list, run_every=refresh)(chosen)
if chosen.run:
    st.fragment(show_run, run_every=refresh)(chosen.run)
elif len(log):
    st.caption("Choose a run above, or click one in the list, for its stages, times, environment and messages.")

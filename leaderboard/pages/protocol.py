"""Protocol: for each task, what is measured and how, its licence and its citation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from harness.results.labels import newest_described
from harness.results.rendering import escape
from harness.results.tables import frame_records
from leaderboard import data
from leaderboard.analysis import protocol
from leaderboard.analysis.board import FACETS
from leaderboard.components import filters, messages, tables
from leaderboard.components.state import Address

RULES = (
    "A task's score is the plain mean over its languages, the average the plain mean over the tasks of the suite. "
    "Neither exists unless every part of it has a score.",
    "The headline takes the checkpoint that is best on the training language's dev set; oracle takes, for each "
    "language, the one that is best on its own dev set.",
    "A row is one method with one configuration; its seeds are averaged, and the spread is their standard deviation. "
    "Runs share a table only if suite, protocol, recipe, base, source and list of languages are the same.",
    "Controls: mbert is the base without any alignment; continued-mlm trains on the same text and steps without "
    "alignment; shuffled-pairs is the same method on permuted partners.",
)
COLUMNS = {
    "task": st.column_config.TextColumn("Task", width=100),
    "title": st.column_config.TextColumn("Title"),
    "family": st.column_config.TextColumn("Family", width=110),
    "metric": st.column_config.TextColumn("Metric", width=100),
    "languages": st.column_config.NumberColumn("Languages", width=90),
    "trained": st.column_config.TextColumn("Training", width=110),
    "licence": st.column_config.TextColumn("Licence of XTREME's data"),
}


def show_task(run: Mapping[str, Any], task: str) -> None:
    card = run["card"]["tasks"][task]
    with st.expander(escape(f"{task}: {card['title']}", "label", 120)):
        for name, text in protocol.task_facts(card, list((run["views"] or {}).get(task, []))):
            st.caption(name)
            st.text(text)
        settings = protocol.task_settings(run, task)
        if not settings.empty:
            st.caption("Settings")
            tables.show_frame(settings, f"settings-{task}")


st.title("Protocol", anchor=False)
address = Address()
groups = filters.scored_groups()
with st.container(horizontal=True, vertical_alignment="bottom"):
    key = filters.select_key(address, groups)
address.show_notices()
summaries = data.summaries(data.location(), key)
messages.write(f"{key.suite}, protocol {key.protocol}, {key.recipe} recipe, source {key.source}")
kinds = [f"{facet.label}: {facet.help}" for facet in FACETS if facet.name in ("protocol", "recipe")]
messages.write_notes([*messages.source_notes(key.source), *kinds])
for rule in RULES:
    st.text(rule)
run = newest_described(frame_records(summaries.drop_duplicates("run")))
if not run:
    st.info("These runs are too old to describe their tasks. Run the same command again.")
    st.code(f"alignboard run METHOD --suite {escape(key.suite, most=60)}", language="bash")
    st.stop()
overview = protocol.task_overview(run, summaries)
tables.show_frame(overview, "tasks", COLUMNS)
tables.offer_frame(overview, f"Tasks of {key.suite}", "tasks")
for task in overview["task"]:
    show_task(run, str(task))

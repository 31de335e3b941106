"""The parts of the page Protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from harness.results.rendering import escape
from harness.results.tables import TableKey
from leaderboard import data
from leaderboard.analysis import protocol
from leaderboard.components import parts
from leaderboard.components.state import Address

RULES = (
    "A task's score is the plain mean over its languages, the average the plain mean over the tasks of the suite. "
    "Neither exists unless every part of it has a score.",
    "The headline takes the checkpoint that is best on the training language's dev set; oracle takes, for each "
    "language, the one that is best on its own dev set.",
    "A row is one method with one configuration; its seeds are averaged, and the spread is their standard deviation. "
    "Runs stand in one table only where suite, protocol, recipe, base, source and list of languages are the same.",
    "Controls: mbert is the base without any alignment; continued-mlm trains on the same text and steps without "
    "alignment; shuffled-pairs is the same method on permuted partners.",
)
COLUMNS = {
    "task": st.column_config.TextColumn("Task", pinned=True, width=100),
    "title": st.column_config.TextColumn("Title"),
    "family": st.column_config.TextColumn("Family", width=110),
    "metric": st.column_config.TextColumn("Measure", width=100),
    "languages": st.column_config.NumberColumn("Languages", width=90),
    "trained": st.column_config.TextColumn("Training", width=110),
    "licence": st.column_config.TextColumn("Licence"),
}


def filters(address: Address) -> tuple[TableKey, pd.DataFrame]:
    """The row of filters."""
    groups = parts.groups()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        key = parts.key(address, groups)
    return key, data.summaries(data.location(), key)


def body(key: TableKey, summaries: pd.DataFrame) -> None:
    """The rules, the tasks at a glance, then each in full."""
    parts.told(f"{key.suite}, protocol {key.protocol}, {key.recipe} recipe, source {key.source}")
    for rule in RULES:
        st.text(rule)
    run = protocol.newest(summaries)
    if not run:
        st.info("These runs do not tell what their tasks are: they are older than this. Give their command again.")
        st.code(f"alignboard run METHOD --suite {escape(key.suite, most=60)}", language="bash")
        return
    shown = protocol.overview(run, summaries)
    parts.frame(shown, "tasks", COLUMNS)
    parts.offer_frame(shown, f"Tasks of {key.suite}", "tasks")
    for task in shown["task"]:
        _task(run, str(task))


def _task(run: Mapping[str, Any], task: str) -> None:
    card = run["card"]["tasks"][task]
    with st.expander(escape(f"{task}: {card['title']}", "label", 120)):
        for name, text in protocol.lines(card, list((run["views"] or {}).get(task, []))):
            st.caption(name)
            st.text(text)
        settings = protocol.settings(run, task)
        if not settings.empty:
            st.caption("Settings")
            parts.frame(settings, f"settings-{task}")

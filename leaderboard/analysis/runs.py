"""What the page Runs shows: the list of runs, and of one run its stages, their times, its surroundings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import streamlit as st

from harness.results.rendering import clean
from leaderboard.data import OPEN

NEWEST = 200
STATUSES = ("running", "planned", "failed", "interrupted", "done")
ORDER = ("sample", "pretrain", "align", "finetune", "predict", "embed", "score", "project")

LIST = {
    "status": st.column_config.TextColumn("Status", pinned=True, width=96),
    "method": st.column_config.TextColumn("Method", width=170),
    "seed": st.column_config.TextColumn("Seed", width=64),
    "suite": st.column_config.TextColumn("Suite"),
    "protocol": st.column_config.TextColumn("Protocol", width=90),
    "source": st.column_config.TextColumn("Source"),
    "started": st.column_config.DatetimeColumn("Started (UTC)", format="YYYY-MM-DD HH:mm", width=150),
    "minutes": st.column_config.NumberColumn("Minutes", format="%.1f", width=84, help="From the start to the end."),
    "stages": st.column_config.NumberColumn("Stages", width=76, help="Stages that are there."),
    "views": st.column_config.TextColumn("Views", width=84, help="Task and language pairs scored, of those expected."),
    "message": st.column_config.TextColumn("What failed"),
    "run": st.column_config.TextColumn("Run"),
}
STAGES = {
    "stage": st.column_config.TextColumn("Stage", pinned=True, width=170),
    "found": st.column_config.TextColumn("Made", width=110, help="A stage that was there already is not made again."),
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


def listed(log: pd.DataFrame, progress: pd.DataFrame, now: datetime | None = None) -> pd.DataFrame:
    """The list of runs, newest first. `progress` has `stages`, `scored` and `expected` by run."""
    now = now or datetime.now(UTC)
    known = progress.set_index("run") if len(progress) else pd.DataFrame()
    lines = []
    for record in log.to_dict("records"):
        row: Mapping[Any, Any] = known.loc[record["id"]] if record["id"] in known.index else {}
        ended = (
            record["finished"] if not _missing(record["finished"]) else now if record["status"] == "running" else None
        )
        lines.append(
            {
                "status": record["status"],
                "method": record["method"] + (f" ({record['transform']})" if record["transform"] else ""),
                "seed": seed_of(record),
                "suite": record["suite"],
                "protocol": record["protocol"],
                "source": record["source"],
                "started": record["created"],
                "minutes": None if ended is None else (ended - record["created"]).total_seconds() / 60,
                "stages": row.get("stages"),
                "views": f"{int(row['scored'])}/{int(row['expected'])}" if row.get("expected") else "",
                "message": "" if _missing(record["error"]) else clean(gist(record["error"]))[:200],
                "run": record["id"],
            }
        )
    return pd.DataFrame(lines, columns=list(LIST))


def gist(error: str) -> str:
    """A failure in one line: the stage and the last line of its traceback; a message without one as it is."""
    stage, traceback, lines = error.partition(": Traceback (most recent call last):\n")
    return f"{stage}: {lines.strip().splitlines()[-1]}" if traceback and lines.strip() else error


def _missing(value: Any) -> bool:
    return value is None or bool(pd.isna(value))


def seed_of(record: Mapping[Any, Any]) -> str:
    """The seed, or "alignment/fine-tuning" where the two differ."""
    seeds = ["" if _missing(record[name]) else str(int(record[name])) for name in ("align_seed", "finetune_seed")]
    return seeds[0] if seeds[0] == seeds[1] else "/".join(seeds)


def counts(log: pd.DataFrame) -> str:
    """How many runs are in each state, in words."""
    numbers = log["status"].value_counts()
    return ", ".join(f"{numbers[status]} {status}" for status in STATUSES if status in numbers)


def is_live(log: pd.DataFrame) -> bool:
    return bool(log["status"].isin(OPEN).any())


def stages(links: pd.DataFrame) -> pd.DataFrame:
    """The stages of one run in the order of their start."""
    lines = []
    for record in links.sort_values("started", na_position="last").to_dict("records"):
        seconds = _seconds(record)
        work, tokens = _number(record["device_seconds"]), _number(record["tokens"])
        memory = _number(record["peak_memory_bytes"])
        lines.append(
            {
                "stage": stage_name(record["kind"], record["task"]),
                "found": "found" if record["hit"] else "made",
                "seconds": seconds,
                "device seconds": work,
                "thousand tokens": None if tokens is None else tokens / 1000,
                "tokens per second": tokens / work if tokens and work else None,
                "MiB": None if memory is None else memory / 2**20,
                "device": record["device"],
                "precision": record["precision"],
                "started": record["started"],
                "fingerprint": record["fingerprint"],
            }
        )
    return pd.DataFrame(lines, columns=list(STAGES))


def stage_name(kind: str, task: Any) -> str:
    """A stage in words: its kind, and its task where it has one."""
    return clean(kind if _missing(task) else f"{kind} {task}")


def timeline(links: pd.DataFrame) -> pd.DataFrame:
    """The stages that this run made itself, as bars: `stage`, `kind`, `start` and `end` in seconds from the first."""
    own = links[~links["hit"].astype(bool) & links["started"].notna() & links["finished"].notna()]
    if own.empty:
        return pd.DataFrame(columns=["stage", "kind", "start", "end"])
    begin = own["started"].min()
    rows = own.sort_values("started")
    return pd.DataFrame(
        {
            "stage": [stage_name(kind, task) for kind, task in zip(rows["kind"], rows["task"], strict=True)],
            "kind": list(rows["kind"]),
            "start": [(at - begin).total_seconds() for at in rows["started"]],
            "end": [(at - begin).total_seconds() for at in rows["finished"]],
        }
    )


def _seconds(record: Mapping[Any, Any]) -> float | None:
    if _missing(record["started"]) or _missing(record["finished"]):
        return None
    return float((record["finished"] - record["started"]).total_seconds())


def _number(value: Any) -> float | None:
    return None if _missing(value) else float(value)


def facts(run: Mapping[str, Any]) -> pd.DataFrame:
    """What a run was made of and where: data, code, machine, packages."""
    host, packages = dict(run["host"] or {}), dict(run["packages"] or {})
    memory = host.pop("memory_bytes", None)
    pairs: dict[str, Any] = {
        "run": run["id"],
        "base": f"{run['base']} {run['base_fingerprint'][:12]}".strip(),
        "data": f"{run['source']} {run['data_fingerprint'][:12]}".strip(),
        "recipe": f"{run['recipe_kind']} {run['recipe_hash'][:12]}".strip(),
        "languages": ", ".join(run["languages"]),
        "code": f"{run['code_version'][:12]}{' with changes' if run['dirty'] is True else ''}"
        if run["code_version"]
        else "",
        **{f"host {name}": value for name, value in host.items()},
        "host memory": f"{memory / 2**30:.1f} GiB" if isinstance(memory, (int, float)) else "",
        **{f"package {name}": value for name, value in packages.items()},
    }
    lines = [{"what": name, "value": _text(value)} for name, value in pairs.items() if _text(value)]
    return pd.DataFrame(lines, columns=["what", "value"])


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value) if value is not None else ""


def settings(recipe: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """A recipe's fields by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in recipe.items():
        flat |= settings(value, f"{before}{name}.") if isinstance(value, Mapping) and value else {before + name: value}
    return flat

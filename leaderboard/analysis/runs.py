"""The page Runs: the list of runs; and of one run its stages, their times, its environment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from harness.results.labels import row_identity, row_labels
from harness.results.rendering import clean
from harness.results.tables import frame_records, seed_label
from harness.storage.store.queries import GROUP

NEWEST = 200  # runs in the list
OPEN = ("planned", "running")
STATUSES = ("running", "planned", "failed", "interrupted", "done", "superseded")
RUN_COLUMNS = (
    *("status", "method", "seed", "suite", "protocol", "source"),
    *("started", "minutes", "stages", "views", "message", "run"),
)
STAGE_COLUMNS = (
    *("stage", "result", "runs", "seconds", "device seconds", "thousand tokens", "tokens per second"),
    *("MiB", "device", "precision", "started", "fingerprint"),
)


def list_runs(log: pd.DataFrame, progress: pd.DataFrame) -> pd.DataFrame:
    """The list of runs with `RUN_COLUMNS`. `progress` has `stages`, `scored` and `expected` by run."""
    now = datetime.now(UTC)
    known = progress.set_index("run") if len(progress) else pd.DataFrame()
    names = name_rows(log)
    lines = []
    for record in log.to_dict("records"):
        done: Mapping[Any, Any] = known.loc[record["id"]] if record["id"] in known.index else {}
        ended = now if record["status"] == "running" else None
        ended = ended if _is_missing(record["finished"]) else record["finished"]
        lines.append(
            {
                "status": record["status"],
                "method": names[record["id"]],
                "seed": seed_text(record),
                "suite": record["suite"],
                "protocol": record["protocol"],
                "source": record["source"],
                "started": record["created"],
                "minutes": None if ended is None else (ended - record["created"]).total_seconds() / 60,
                "stages": done.get("stages"),
                "views": f"{int(done['scored'])}/{int(done['expected'])}" if done.get("expected") else "",
                "message": "" if _is_missing(record["error"]) else clean(error_summary(record["error"]))[:200],
                "run": record["id"],
            }
        )
    return pd.DataFrame(lines, columns=list(RUN_COLUMNS))


def name_rows(log: pd.DataFrame) -> dict[str, str]:
    """The row that each run belongs to, by its id: named as in the table of its group, among the runs of the list."""
    names: dict[str, str] = {}
    for _, group in log.groupby(list(GROUP), sort=False):
        identities = {record["id"]: row_identity(record) for record in frame_records(group)}
        labels = row_labels(dict.fromkeys(identities.values()))
        names |= {run: labels[identity] for run, identity in identities.items()}
    return names


def error_summary(error: str) -> str:
    """A failure on one line: the stage and the last line of its traceback; an error without a traceback unchanged."""
    stage, traceback, lines = error.partition(": Traceback (most recent call last):\n")
    return f"{stage}: {lines.strip().splitlines()[-1]}" if traceback and lines.strip() else error


def _is_missing(value: Any) -> bool:
    return value is None or bool(pd.isna(value))


def seed_text(record: Mapping[Any, Any]) -> str:
    """The seed, or "alignment/fine-tuning" if the two differ."""
    seed = seed_label(record)
    return "" if seed is None else str(seed)


def status_counts(log: pd.DataFrame) -> str:
    """The number of runs in each status: "1 failed, 8 done"."""
    counts = log["status"].value_counts()
    return ", ".join(f"{counts[status]} {status}" for status in STATUSES if status in counts)


def is_own(links: pd.DataFrame, shared: Mapping[str, int]) -> pd.Series:
    """Which stages a run computed: those that it did not reuse, and those that no other run uses, which it reused only
    when its command was given again. `shared` counts the runs of a stage by fingerprint."""
    alone = links["fingerprint"].map(lambda name: shared.get(name) == 1).astype(bool)
    return ~links["hit"].astype(bool) | alone


def list_stages(links: pd.DataFrame, shared: Mapping[str, int]) -> pd.DataFrame:
    """The stages of one run with `STAGE_COLUMNS`, in the order of their start."""
    lines = []
    links = links.assign(own=is_own(links, shared))
    for record in links.sort_values("started", na_position="last").to_dict("records"):
        ended = not _is_missing(record["started"]) and not _is_missing(record["finished"])
        numbers = ("device_seconds", "tokens", "peak_memory_bytes")
        work, tokens, memory = (None if _is_missing(record[name]) else float(record[name]) for name in numbers)
        lines.append(
            {
                "stage": stage_title(record["kind"], record["task"]),
                "result": "computed" if record["own"] else "reused",
                "runs": shared.get(record["fingerprint"], 1),
                "seconds": (record["finished"] - record["started"]).total_seconds() if ended else None,
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
    return pd.DataFrame(lines, columns=list(STAGE_COLUMNS))


def stage_title(kind: str, task: Any) -> str:
    """The kind of a stage and its task, if it has one."""
    return clean(kind if _is_missing(task) else f"{kind} {task}")


def stage_timeline(links: pd.DataFrame, shared: Mapping[str, int]) -> pd.DataFrame:
    """The stages that this run computed, as bars: `stage`, `start` and `end` in seconds since the first began."""
    own = links[is_own(links, shared) & links["started"].notna() & links["finished"].notna()]
    rows = own.sort_values("started")
    begin = own["started"].min()
    return pd.DataFrame(
        {
            "stage": [stage_title(kind, task) for kind, task in zip(rows["kind"], rows["task"], strict=True)],
            "start": [(at - begin).total_seconds() for at in rows["started"]],
            "end": [(at - begin).total_seconds() for at in rows["finished"]],
        }
    )


def run_facts(run: Mapping[str, Any]) -> pd.DataFrame:
    """The data, code, machine and packages of a run: `what`, `value`. Empty values are left out."""
    host, packages = dict(run["host"] or {}), dict(run["packages"] or {})
    memory = host.pop("memory_bytes", None)
    changes = " with changes" if run["dirty"] is True else ""
    facts: dict[str, Any] = {
        "run": run["id"],
        "base": f"{run['base']} {run['base_fingerprint'][:12]}".strip(),
        "data": f"{run['source']} {run['data_fingerprint'][:12]}".strip(),
        "recipe": f"{run['recipe_kind']} {run['recipe_hash'][:12]}".strip(),
        "languages": run["languages"],
        "code": f"{run['code_version'][:12]}{changes}" if run["code_version"] else "",
        **{f"host {name}": value for name, value in host.items()},
        "host memory": f"{memory / 2**30:.1f} GiB" if isinstance(memory, (int, float)) else "",
        **{f"package {name}": value for name, value in packages.items()},
    }

    def text(value: Any) -> str:
        if isinstance(value, (list, tuple)):
            return ", ".join(map(str, value))
        return "" if value is None else str(value)

    lines = [{"what": name, "value": text(value)} for name, value in facts.items() if text(value)]
    return pd.DataFrame(lines, columns=["what", "value"])

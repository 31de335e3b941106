"""A store of made-up results, shaped like the demo's: six methods, six tasks, two seeds, one run unfinished."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.storage.store import RunRow, ScoreRow, Store

METHODS = {"mbert": 40.0, "continued-mlm": 42.0, "info-snt": 50.0, "cz-snt": 52.0, "ml-ctl": 54.0, "ml-ctl-cz": 56.0}
LANGUAGES = ("qaa", "qab", "qac", "qad", "qae", "qaf", "qag")
FAR = LANGUAGES[1:]
VIEWS = {"xnli": LANGUAGES, "pawsx": LANGUAGES, "udpos": LANGUAGES, "panx": LANGUAGES, "bucc2018": FAR, "tatoeba": FAR}
METRIC = {
    "xnli": "accuracy",
    "pawsx": "accuracy",
    "udpos": "f1",
    "panx": "f1",
    "bucc2018": "f1",
    "tatoeba": "accuracy",
}
BORN = datetime(2026, 1, 1, tzinfo=UTC)


def run_row(method: str, seed: int, **changes: object) -> RunRow:
    name = "-".join(str(part) for part in (method, seed, *changes.items()))
    settings = {
        "id": f"run-{name}",
        "method": method,
        "suite": "xtreme-align",
        "protocol": "mini",
        "source": "babel",
        "base": "mini-mbert",
        "languages": LANGUAGES,
        "languages_hash": "l7",
        "recipe_hash": "recipe1",
        "align_seed": seed,
        "finetune_seed": seed,
        "status": "done",
        "created": BORN + timedelta(minutes=seed),
    }
    return RunRow(**{**settings, **changes})  # type: ignore[arg-type]


def scores(level: float, seed: int, tasks: tuple[str, ...] = tuple(VIEWS)) -> list[ScoreRow]:
    rng = random.Random(f"{level}-{seed}")
    return [
        ScoreRow(
            stage=f"score-{task}-{level}-{seed}",
            task=task,
            view=view,
            language=view,
            split="test",
            protocol="mini",
            metric=METRIC[task],
            value=level + 3 * VIEWS[task].index(view) + rng.random(),
            n=500,
            selection="" if task in ("bucc2018", "tatoeba") else "english",
        )
        for task in tasks
        for view in VIEWS[task]
    ]


def store_run(store: Store, run: RunRow, rows: list[ScoreRow]) -> None:
    store.add_run(run)
    store.put_scores(run.id, rows)
    store.refresh_summary(run.id, VIEWS, METRIC)


def fill_store(store: Store) -> None:
    """Everything complete, but for the second seed of ml-ctl-cz: it stopped inside panx."""
    for method, level in METHODS.items():
        for seed in (1, 2):
            rows = scores(level, seed)
            if (method, seed) == ("ml-ctl-cz", 2):
                store_run(store, run_row(method, seed, status="interrupted"), rows[:24])
            else:
                store_run(store, run_row(method, seed), rows)
    store_run(store, run_row("ml-ctl", 1, transform="shuffled-pairs"), scores(39.0, 1))


def write_store(path: Path) -> Path:
    """Makes the store at `path`, and a second table in it: another protocol."""
    store = Store.open(path, create=True)
    fill_store(store)
    store_run(store, run_row("mbert", 1, protocol="official", languages_hash="l2"), scores(60.0, 1, ("xnli",)))
    store.close()
    return path

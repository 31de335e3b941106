"""A store for the board with all that its pages read: runs, stages, and the artifacts that lie behind the scores."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from harness.evaluation.item_statistics import write_statistics
from harness.experiments.cards import ablation_cards, task_cards
from harness.files import EXAMPLES, LOG, STATISTICS
from harness.statistics import Ratio
from harness.storage.store import RunRow, ScoreRow, StageRow, Store
from tests.support.fake_store import LANGUAGES, METHODS, METRIC, VIEWS, run_row, store_run

ITEMS = 40  # of each view
RATIOS = (
    Ratio("accuracy", {"correct": 1}, {"items": 1}),
    Ratio("f1", {"tp": 2}, {"pred": 1, "gold": 1}),
)
CARD = {
    "docstring": "A method of tests.\n\nReference: nobody. Objective: simple\n    L = 1 - cos(x, y)\nInputs: pairs.",
    "reference": "nobody 2026",
    "objective": "one minus the cosine of translations",
    "formula": r"\mathcal{L} = 1 - \cos(x, y)",
    "symbols": "x, y: the two sides of a pair.",
    "control": "continued-mlm",
    "needs": ["parallel"],
}


def fingerprint(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def artifact_path(home: Path, name: str) -> Path:
    place = home / "artifacts" / "objects" / name[:2] / name
    place.mkdir(parents=True, exist_ok=True)
    return place


def scored(home: Path, run: str, level: float, task: str) -> list[ScoreRow]:
    """The scores of one task, with the statistics and the examples that they come from."""
    stage, rng = fingerprint("score", run, task), random.Random(f"{run}-{task}")
    selection = "" if task in ("bucc2018", "tatoeba") else "english"
    rows, items, texts = [], [], []
    for place, view in enumerate(VIEWS[task]):
        right = [int(rng.random() * 100 < level + 3 * place) for _ in range(ITEMS)]
        counts = ("correct", "items") if METRIC[task] == "accuracy" else ("tp", "pred", "gold")
        for at, hit in enumerate(right):
            key = {"selection": selection, "view": view, "item": f"{task}-{at}"}
            items.append({**key, "cluster": f"{task}-{at // 2}", **dict.fromkeys(counts, 1), counts[0]: hit})
            said = "yes" if hit else "no"
            texts.append({**key, "text": f"sentence {at} of {view}", "gold": "yes", "prediction": said})
        value = 100 * sum(right) / ITEMS
        same: dict[str, Any] = {"split": "test", "protocol": "mini", "metric": METRIC[task], "selection": selection}
        rows.append(ScoreRow(stage=stage, task=task, view=view, language=view, value=value, n=ITEMS, **same))
    write_statistics(artifact_path(home, stage) / STATISTICS, pa.Table.from_pandas(pd.DataFrame(items)), RATIOS)
    pd.DataFrame(texts).to_parquet(artifact_path(home, stage) / EXAMPLES)
    return rows


def curve(run: str) -> list[ScoreRow]:
    """Dev scores of a fine-tuning."""
    same: dict[str, Any] = {"split": "dev", "protocol": "mini", "metric": "accuracy", "selection": "curve", "n": 40}
    stage = fingerprint("finetune", run)
    return [
        ScoreRow(stage=stage, task="xnli", view=view, language=view, step=step, value=40.0 + step, **same)
        for view in LANGUAGES[:3]
        for step in (10, 20, 30)
    ]


def stages(home: Path, run: RunRow) -> list[StageRow]:
    """An alignment with its loss curves, and a fine-tuning."""
    align = fingerprint("align", run.id)
    losses = [{"step": step, "contrast": 3 - step / 50, "mlm": 6 - step / 90} for step in (20, 40, 60)]
    (artifact_path(home, align) / "trace.json").write_text(json.dumps({"losses": losses}), encoding="utf-8")
    (artifact_path(home, align) / LOG).write_text("2026-01-01 10:00:00Z end   done in 50 s\n", encoding="utf-8")
    same: dict[str, Any] = {"status": "done", "device": "cpu", "precision": "fp32", "peak_memory_bytes": 2**29}
    times = [
        {"started": run.created + timedelta(seconds=at), "finished": run.created + timedelta(seconds=at + 50)}
        for at in (0, 60)
    ]
    seconds = 10.0 + len(run.method)
    return [
        StageRow(fingerprint=align, kind="align", tokens=3_000_000, device_seconds=seconds, **times[0], **same),
        StageRow(
            fingerprint=fingerprint("finetune", run.id),
            kind="finetune",
            task="xnli",
            device_seconds=5.0,
            tokens=9000,
            **times[1],
            **same,
        ),
    ]


def add_full_run(store: Store, home: Path, method: str, level: float, seed: int, **changes: Any) -> RunRow:
    """One run with everything behind it. `tasks` names those that it has scores of."""
    tasks: Sequence[str] = changes.pop("tasks", tuple(VIEWS))
    tables = ablation_cards(method, {}, str(changes.get("transform", "")))
    card = {**CARD, "tasks": task_cards(VIEWS), "ablations": tables}
    recipe = {"method": method, "align": {"steps": 100, "learning_rate": 1e-4}, "seed_of": "tests"}
    run = run_row(method, seed, **changes)
    run = replace(run, card=card, recipe={**recipe, **run.recipe}, host={"cpu": "a cpu"}, packages={"torch": "2"})
    store_run(store, run, [row for task in tasks for row in scored(home, run.id, level, task)])
    store.put_scores(run.id, curve(run.id))
    if method != "mbert":
        for stage in stages(home, run):
            store.put_stage(stage)
            store.link_stage(run.id, stage.fingerprint, False)
            store.add_alignment(run.id, {"pivot": "qaa", "languages": list(LANGUAGES[1:4])})
    return run


def add_map(store: Store, home: Path, run: RunRow, task: str = "tatoeba") -> None:
    """Measures and a map of a run, as `alignboard project` leaves them."""
    stage, rng = fingerprint("project", run.id), random.Random(run.id)
    points = [
        {"language": view, "pair": pair, "side": side, "text": f"{side} {pair}"}
        | {name: rng.random() for name in ("pca_x", "pca_y", "tsne_x", "tsne_y")}
        for view in VIEWS[task]
        for pair in range(4)
        for side in ("source", "target")
    ]
    (artifact_path(home, stage) / "projection.json").write_text(json.dumps({"points": points}), encoding="utf-8")
    store.put_stage(StageRow(fingerprint=stage, kind="project", task=task, status="done"))
    store.link_stage(run.id, stage, False)
    same: dict[str, Any] = {"stage": stage, "task": task, "split": "intrinsic", "protocol": "mini", "n": 4}
    rows = [
        ScoreRow(view=view, language=view, metric=name, value=rng.random(), **same)
        for view in VIEWS[task]
        for name in ("retrieval", "cosine_gap", "cka", "separation", "anisotropy")
    ]
    store.put_scores(run.id, rows)


def write_board_store(path: Path, home: Path) -> Path:
    """Like `fake_store.write_store` with artifacts: six methods, a shuffled control, a failure, an external system, and
    a single run under another protocol."""
    store = Store.open(path, create=True)
    for method, level in METHODS.items():
        for seed in (1, 2):
            run = add_full_run(store, home, method, level, seed)
            if seed == 1:
                add_map(store, home, run)
    add_full_run(store, home, "ml-ctl", 43.0, 1, transform="shuffled-pairs")
    add_full_run(
        store,
        home,
        "cz-snt",
        50.0,
        1,
        recipe_hash="recipe2",
        recipe={"align": {"steps": 200, "learning_rate": 1e-4}},
        status="interrupted",
        tasks=("xnli",),
    )
    add_full_run(store, home, "ann-system", 70.0, 1, kind="external", base="ann-large", recipe_hash="")
    store.add_run(run_row("info-snt", 3, status="failed", error="the disk is full\nremedy: free some space"))
    add_full_run(store, home, "mbert", 60.0, 1, protocol="official", languages_hash="l2", tasks=("xnli",))
    store.close()
    return path


HOSTILE = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "[x](http://evil.example) ![i](http://evil.example/i.png)",
    "http://evil.example www.evil.example",
    '=HYPERLINK("http://evil.example")',
    "$\\href{http://evil.example}{x}$ \\input{/etc/passwd}",
    "\u202eevil\u202c :red[x] {{7*7}}",
    "x" * 10_000,
)


def write_hostile_store(path: Path, home: Path) -> Path:
    """A store whose every name, description and message is hostile."""
    store = Store.open(path, create=True)
    for place, name in enumerate(HOSTILE):
        card = {**CARD, "docstring": name, "objective": name, "reference": name, "control": name}
        card |= {"formula": name, "symbols": name}
        run = add_full_run(store, home, name, 40.0 + place, 1, suite=HOSTILE[0], source=HOSTILE[2], base=HOSTILE[1])
        add_map(store, home, run)
        tasks = {task: {**about, "title": name, "licence": name} for task, about in task_cards(VIEWS).items()}
        store.add_run(
            replace(run, card={**card, "tasks": tasks}, recipe={"x": name, name: name}, packages={name: name})
        )
        named = {"stages": [[fingerprint("align", run.id), name, name], [f"../../{name}", name, None]]}
        store.add_run(replace(run, id=f"failed-{place}", status="failed", error=name, method=name, card=named))
        (artifact_path(home, fingerprint("align", run.id)) / LOG).write_text("\n".join(HOSTILE), encoding="utf-8")
    for text in (artifact_path(home, fingerprint("score", f"run-{HOSTILE[0]}-1", "xnli")) / EXAMPLES,):
        if text.exists():
            pd.read_parquet(text).assign(text=HOSTILE[1], prediction=HOSTILE[0]).to_parquet(text)
    store.close()
    return path

"""A run on a Ray cluster: `python -m tests.support.ray_run HOME ADDRESS [METHODS EPOCHS]` prints how it ended."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.experiments.executors.ray_cluster import Needs, RayCluster
from harness.experiments.plan import RunPlan, plan_runs
from harness.experiments.recipe import make_recipe
from harness.experiments.runner import Runner
from harness.protocols import Suite
from harness.registry import SUITES
from harness.storage.shared import open_artifacts
from harness.storage.store import Store
from tests.support.tiny_runs import TINY, RecordingDisplay

METHODS = ("mbert", "ml-ctl")


def plans(*methods: str, changes: Sequence[str] = ()) -> list[RunPlan]:
    """Runs of two tasks, one of which is fine-tuned for a few seconds."""
    SUITES._local["two"] = (Suite("two", "Two", ("pawsx", "tatoeba"), "For these tests."), None)  # type: ignore[assignment]
    tiny = [change for change in TINY if not change.startswith("tasks.") or change.startswith("tasks.pawsx.")]
    where = {"base": "init:1x32", "source": "babel:size=small", "suite": "two", "protocol": "mini"}
    changes = (*tiny, "tasks.pawsx.epochs=10", *changes)
    return plan_runs([make_recipe(method=method, changes=changes, **where) for method in methods], [0])


def main() -> None:
    home, (methods, epochs) = Path(sys.argv[1]), sys.argv[3:] or (",".join(METHODS), "10")
    work = plans(*methods.split(","), changes=(f"tasks.pawsx.epochs={epochs}",))
    artifacts, display = open_artifacts(home / "artifacts"), RecordingDisplay()
    executor = RayCluster.on(artifacts, sys.argv[2], None, "auto", Needs())
    store = Store.open(home / "board.db", create=True)
    report = Runner(store, artifacts, executor, display).run(work)
    store.close()
    failures = [failure.message for failure in report.failures]
    print(json.dumps({"computed": display.made, "failures": failures, "finished": report.finished}))


if __name__ == "__main__":
    main()

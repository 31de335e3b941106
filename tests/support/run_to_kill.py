"""A process to be killed: runs ml-ctl-cz, saves a checkpoint at every step, and stops in the middle of one stage.

`python -m tests.support.run_to_kill HOME KIND` prints "in the middle of KIND: STEPS" when a stage of that kind has a
checkpoint and work left, then waits to be killed.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

from harness import stopping
from harness.training import loop as training
from tests.support.tiny_runs import run_plans, tiny_plans

STOP_AFTER = {"align": 4, "finetune": 3}


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    stopping.GRACE = 1.0  # seconds that it waits below after a signal
    home, kind = Path(sys.argv[1]), sys.argv[2]
    training.CHECKPOINT_SECONDS = 0.0
    step = training.Run.step

    def watched(self: training.Run) -> None:
        ours = self.checkpoint is not None and (self.checkpoint.name == "loop") == (kind == "finetune")
        pretraining = self.settings.by_tokens
        if ours and not pretraining and self.trace.steps == STOP_AFTER[kind]:
            self.save()
            print(f"in the middle of {kind}:{json.dumps(self.trace.steps)}", flush=True)
            while True:
                time.sleep(0.1)
        step(self)

    training.Run.step = watched  # type: ignore[method-assign]
    run_plans(home, tiny_plans("ml-ctl-cz"))


if __name__ == "__main__":
    main()

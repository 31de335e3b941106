"""Edits each module of a copy of the code in turn and plans two runs again: which stages have another fingerprint?

`python -m tests.support.edit_modules COPY` prints JSON: for each module the stages whose closure holds it (`holding`),
these with all that depends on them (`expected`), and the stages that miss (`missed`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from harness import code
from harness.experiments.plan import RunPlan, plan_runs
from harness.experiments.recipe import make_recipe
from harness.experiments.stage import Stage

METHODS = ("mbert", "ml-ctl-cz")


def plans() -> list[RunPlan]:
    common = {"base": "init:1x64", "source": "babel:size=small", "suite": "xtreme-align", "protocol": "mini"}
    return plan_runs([make_recipe(method=method, **common) for method in METHODS], [0])


def label(plan: RunPlan, stage: Stage) -> str:
    return " ".join(filter(None, (plan.recipe.method, stage.kind, stage.task)))


def with_dependants(plan: RunPlan, holding: set[str]) -> set[str]:
    """The fingerprints of some stages of a plan and of all that reads them."""
    found = set(holding)
    for stage in plan.stages:
        if found & set(stage.inputs.values()):
            found.add(stage.fingerprint)
    return found


def main(copy: Path) -> None:
    before = plans()
    closures = {s.fingerprint: code.closure((type(s).__module__, *s.modules)) for plan in before for s in plan.stages}
    edits = {}
    for path in sorted(path for room in ("harness", "methods", "tasks") for path in (copy / room).rglob("*.py")):
        parts = path.relative_to(copy).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        path.write_text(text + "\nEDITED = True\n", encoding="utf-8")
        code.clear_caches()
        after = plans()
        path.write_text(text, encoding="utf-8")
        holding = {fingerprint for fingerprint, modules in closures.items() if module in modules}
        edits[module] = {
            "holding": [label(p, s) for p in before for s in p.stages if s.fingerprint in holding],
            "expected": [label(p, s) for p in before for s in p.stages if s.fingerprint in with_dependants(p, holding)],
            "missed": [
                label(p, old)
                for p, q in zip(before, after, strict=True)
                for old, new in zip(p.stages, q.stages, strict=True)
                if old.fingerprint != new.fingerprint
            ],
        }
    print(json.dumps(edits))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

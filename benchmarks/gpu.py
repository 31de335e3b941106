"""Everything that needs a GPU, in one run of at most eight minutes: correctness first, then speed beside its peers.

    python -m benchmarks.gpu [--device cuda|cpu] [--minutes 8] [--out FILE.json] [--only PART ...] [--toy]

Needs torch, transformers, tokenizers, safetensors, numpy, scipy and pydantic, and no installation. The JSON is written
after every part, so that what was measured before an interruption is kept; a part that fails is reported and the next
one runs; parts that would start after the time is over are skipped. `--toy` runs every part at a size for a test.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import training
from benchmarks.training import Setting
from harness.evaluation.retrieval import mine
from harness.provenance import device_name, peak_memory
from harness.training.loop import Run, Step, TrainSettings
from validation import smoke

# Official sizes (XTREME, Hu et al. 2020): training examples x epochs, tokens of each, and test items of all languages.
OFFICIAL = {
    "xnli": (392_702 * 5, 41, 15 * 5_010),
    "pawsx": (49_401 * 5, 56, 7 * 2_000),
    "udpos": (21_253 * 10, 30, 60_000),
    "panx": (20_000 * 10, 25, 330_000),
    "squad (xquad, mlqa)": (88_000 * 2, 170, 13_000 + 46_000),
    "tydiqa": (3_700 * 2, 190, 5_000),
}
TEST_TOKENS, POOL_SENTENCES = 45, 1_700_000  # tokens of a test item; sentences of BUCC's pools and Tatoeba

Figures = dict[str, Any]


class Machine:
    """The device, the size of the work, and what earlier parts measured."""

    def __init__(self, device: str, *, toy: bool) -> None:
        self.device, self.toy = device, toy
        self.done: dict[str, Figures] = {}
        arguments = ["--device", device, "--steps", "4" if toy else "20", *(["--batch", "4"] if toy else [])]
        self.options = smoke.parse_arguments(arguments)

    def setting(self, **changes: Any) -> Setting:
        shape = (2, 64, 500, 4, 4) if self.toy else (12, 768, 119_547, 64, 32)
        return Setting(*shape, device=self.device, precision="bf16")._replace(**changes)


def correctness(machine: Machine) -> Figures:
    """Every method in bf16 against fp32, and variable-length attention against the block reference."""
    world = smoke.SmokeWorld(machine.options)
    return smoke.report(world, smoke.check_attention(world), smoke.train_all(world))


def resume(machine: Machine) -> Figures:
    """Six steps at once, and three with a checkpoint and three resumed: the largest difference of a weight."""
    world = smoke.SmokeWorld(machine.options)
    ends = []
    with tempfile.TemporaryDirectory() as folder:
        for stops in ((6,), (3, 6)):
            for stop in stops:
                torch.manual_seed(0)
                encoder = world.start.clone().to(world.device)
                objective = training.AlignmentObjective(encoder)
                pairs = [
                    (row, row[::-1]) for row in training.sentences(machine.setting(vocabulary=400), 64, 20, 0.3, 0)
                ]
                settings = TrainSettings(6, 1e-4, 8, precision="bf16" if machine.device == "cuda" else "fp32")
                run = Run(Step(encoder, objective), pairs, objective.collate, settings, Path(folder) / str(len(stops)))
                run.resume()
                while run.trace.steps < stop:
                    run.step()
                run.save()
            ends.append([p.detach().clone() for p in encoder.parameters()])
    gap = max(float((a - b).abs().max()) for a, b in zip(*ends, strict=True))
    print(f"resumed weights differ by {gap:.1e}")
    return {"largest difference": gap}


def waits(machine: Machine) -> Figures:
    """Which methods wait for the device inside a step: steps under CUDA's debug mode for synchronisation."""
    if machine.device != "cuda":
        print("waits for the device are not looked for: they need a GPU")
        return {}
    world, found = smoke.SmokeWorld(machine.options), {}
    for name, cls in smoke.methods().items():
        run = world.run(cls, "bf16")
        for _ in range(2):
            run.step()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(50):
                run.step()
            found[name] = "none"
        except RuntimeError as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            found[name] = f"{Path(place.filename).name}:{place.lineno} {place.line}"
        finally:
            torch.cuda.set_sync_debug_mode("default")
        print(f"{name:16} {found[name]}", flush=True)
    return found


def matmul(machine: Machine) -> Figures:
    """The rate of bf16 matrix products, in 10^12 operations a second: what the share of the peak is taken of."""
    size = 256 if machine.toy else 8192
    a, b = (torch.randn(size, size, device=machine.device, dtype=torch.bfloat16) for _ in range(2))
    seconds = training.measure({"harness": lambda: a @ b}, 10, machine.device)["harness"]
    rate = 2 * size**3 / seconds / 1e12
    print(f"bf16 products of {size}: {rate:.1f} TFLOP/s")
    return {"teraflops": rate}


def steps(machine: Machine) -> Figures:
    """Alignment, fine-tuning and encoding beside their peers (`benchmarks.training`)."""
    return training.run(machine.setting(), 2 if machine.toy else 9)


def utilisation(machine: Machine) -> Figures:
    """Fine-tuning in batches of about 32k tokens: tokens a second, and the share of the measured rate of products."""
    setting = machine.setting(batch=8 if machine.toy else 840)
    contestant = training.finetuning(setting)["harness"]
    seconds = training.measure({"harness": contestant}, 5, machine.device)["harness"]
    tokens = setting.batch * 39
    operations = 6 * tokens * 12 * setting.layers * setting.hidden**2  # of the layers' weights, forward and backward
    figures = {"tokens a second": tokens / seconds, "peak bytes": peak_memory(torch.device(machine.device))}
    if rate := machine.done.get("matmul", {}).get("teraflops"):
        figures["share of products"] = operations / seconds / 1e12 / rate
    print(", ".join(f"{name} {value:,.2f}" for name, value in figures.items()))
    return figures


def mining(machine: Machine) -> Figures:
    """Margin mining between two pools of random vectors."""
    rows, width = (500, 32) if machine.toy else (400_000, 768)
    x, y = (torch.randn(rows, width, device=machine.device) for _ in range(2))
    start = time.perf_counter()
    mine(x, y, k=4)
    seconds = time.perf_counter() - start
    print(f"{rows:,} x {rows:,} x {width}: {seconds:.1f} s")
    return {"rows": rows, "width": width, "seconds": seconds}


def suite(machine: Machine) -> Figures:
    """The time of the nine tasks at their official sizes, projected from the measured steps of 32 and encoding."""
    measured = machine.done["steps"]
    setting = machine.setting()
    step, encoding = (measured[name]["harness"] for name in ("finetuning", "encoding"))
    encoded = 16 * setting.batch * 27 / encoding
    minutes = {}
    for task, (examples, tokens, tests) in OFFICIAL.items():
        trained = examples / 32 * step * max(1.0, tokens / 39)
        minutes[task] = (trained + tests * TEST_TOKENS / encoded) / 60
    minutes["bucc2018, tatoeba"] = POOL_SENTENCES * 27 / encoded / 60
    for task, value in minutes.items():
        print(f"{task:20} {value:8.1f} min")
    print(f"{'nine tasks':20} {sum(minutes.values()):8.1f} min (projected)")
    return {"minutes": minutes, "total": sum(minutes.values())}


PARTS: dict[str, Callable[[Machine], Figures]] = {
    part.__name__: part for part in (matmul, steps, utilisation, suite, correctness, resume, waits, mining)
}


def run_parts(machine: Machine, names: list[str], seconds: float, out: Path | None) -> list[str]:
    """Runs parts until the time is over, and returns the names of those that failed or were skipped."""
    start, missing = time.monotonic(), []
    for name in names:
        print(f"\n{name}: {(PARTS[name].__doc__ or '').partition(chr(10))[0]}", flush=True)
        if time.monotonic() - start > seconds:
            print("skipped: the time is over")
            missing.append(name)
            continue
        began = time.monotonic()
        try:
            machine.done[name] = {**PARTS[name](machine), "took": time.monotonic() - began}
        except Exception:  # the other parts are worth their time on a lent machine
            traceback.print_exc()
            missing.append(name)
        if out is not None:
            out.write_text(json.dumps(machine.done, indent=1, default=str) + "\n", encoding="utf-8")
    return missing


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--out", type=Path, metavar="FILE")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--toy", action="store_true", help="sizes for a test")
    options = parser.parse_args(arguments)
    machine = Machine(options.device, toy=options.toy)
    print(f"{device_name(options.device)}, {platform.machine()}, torch {torch.__version__}")
    missing = run_parts(machine, options.only, 60 * options.minutes, options.out)
    print(f"\n{'failed or skipped: ' + ', '.join(missing) if missing else 'all parts done'}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())

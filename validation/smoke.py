"""Smoke test: every method trains, with the same loss in half precision.

    python -m validation.smoke [--device cpu|cuda] [--base FOLDER] [--out FILE.json] [--steps 20] [--batch N]

Trains every registered method, and fine-tunes on one task, twice from the same start on babel: in fp32 and under bf16
autocast, without dropout. The loss is the mean of the weighted terms over the second half of the steps. A row is ok if
both losses agree within 2% of the fp32 loss, or within 0.02 where that is below 1 (a CZ-NCE loss may be negative).
Rates are those of bf16 over the same steps; memory is the peak of the GPU, or on a CPU of the process so far. Without
--base the encoder is random: 2 layers x 64 on a CPU, BERT-base with the vocabulary size of mBERT on a GPU. On a GPU,
variable-length attention is compared with the dense reference first.

Exits with 0 if every row is ok, else with 1. Needs torch, transformers and pydantic alone, and no installation: if the
package is not installed, the methods are read from pyproject.toml.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertConfig

from harness.data.babel import Babel
from harness.data.corpora import SourceCorpora
from harness.data.sample import SampleSettings, draw_sample
from harness.method import Batch
from harness.modeling import attention
from harness.modeling.attention import Layout, attend
from harness.modeling.encoder import Encoder
from harness.modeling.packing import PackedText, pack
from harness.modeling.tokenizer import Tokenizer
from harness.provenance import device_name, peak_memory
from harness.records import Corpus
from harness.registry import METHODS, Origin
from harness.task import TrainedSettings
from harness.training.loop import Run, Step, TrainSettings, to_device
from harness.training.loop import precision as autocast
from harness.training.pretraining import learn_tokenizer
from tasks.pawsx import PAWSX

TOLERANCE = 0.02
PRECISIONS = ("fp32", "bf16")
PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


class SmokeSize(NamedTuple):
    """The shape of a random encoder (vocabulary None: that of the tokenizer), and the pairs of a batch."""

    layers: int
    hidden: int
    vocabulary: int | None
    batch: int


SIZES = {"cpu": SmokeSize(2, 64, None, 8), "cuda": SmokeSize(12, 768, 119_547, 64)}


@dataclass(frozen=True)
class TrainingMeasure:
    """The figures of one training in one precision: rates per second, memory in bytes."""

    loss: float
    steps_per_second: float
    tokens_per_second: float
    peak_bytes: int


@dataclass(frozen=True)
class SmokeRow:
    """The figures of one training in fp32 and in bf16."""

    name: str
    fp32: TrainingMeasure
    bf16: TrainingMeasure

    @property
    def gap(self) -> float:
        """The difference of the losses relative to the fp32 loss, or to 1 where that is smaller."""
        return abs(self.bf16.loss - self.fp32.loss) / max(abs(self.fp32.loss), 1.0)

    @property
    def ok(self) -> bool:
        return self.gap <= TOLERANCE  # False where a loss is NaN


class SmokeWorld:
    """Babel at a small size: a sample of pairs, a training set, and the encoder that all trainings start from."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.steps, self.batch = options.steps, options.batch or SIZES[options.device].batch
        self.device, self.learning_rate = torch.device(options.device), options.learning_rate
        self.machine = device_name(options.device)
        self.source = Babel.open("size=small")
        self.languages = self.source.manifest([]).languages(Corpus.PARALLEL)
        parallel: Any = self.source.corpus(Corpus.PARALLEL, self.languages)
        dictionary: Any = self.source.corpus(Corpus.DICTIONARY, self.languages)
        self.sample = draw_sample(parallel, dictionary, SampleSettings(size=2048)).pairs
        texts = [text for pair in parallel for text in (pair.source, pair.target)]
        self.start = disable_dropout(
            Encoder.load(options.base) if options.base else random_encoder(texts, options.device)
        )
        self.max_length = min(128, self.start.max_length)

    def settings(self, precision: str) -> TrainSettings:
        return TrainSettings(self.steps, self.learning_rate, self.batch, schedule="constant", precision=precision)

    def run(self, cls: Any, precision: str) -> Run:
        """A training of a method with its default settings, before its first step."""
        encoder = self.start.clone().to(self.device)
        reads = SourceCorpora(self.sample, encoder.tokenizer, self.source, self.languages, self.max_length, cls.needs)
        torch.manual_seed(0)
        method = cls()
        method.build(encoder, reads)
        step = Step(encoder, method.to(self.device))
        return Run(step, method.examples(reads), method.collate, self.settings(precision), None)

    def align(self, cls: Any, precision: str) -> TrainingMeasure:
        return measure(self.run(cls, precision))

    def finetune(self, precision: str) -> TrainingMeasure:
        """Paraphrase identification on the pivot's training set."""
        task, settings = PAWSX(), TrainedSettings(max_length=self.max_length)
        torch.manual_seed(0)
        model = task.build(self.start.clone().to(self.device), settings).to(self.device)
        model.head.initialise(model.encoder.config.initializer_range)  # type: ignore[operator]
        records = self.source.task(task.spec, self.source.pivot, "train")
        tokenizer = model.encoder.tokenizer
        examples: Any = task.encode(tokenizer, records, settings, gold=True)

        def collate(chosen: Sequence[Any], rng: Any) -> Batch:
            return task.collate(chosen, tokenizer.special_ids)

        return measure(Run(Step(model.encoder, model.head), examples, collate, self.settings(precision), None))


def random_encoder(texts: Sequence[str], device: str) -> Encoder:
    """A random BERT of the size for this device, with word pieces learned from the texts."""
    size = SIZES[device]
    tokenizer = Tokenizer(learn_tokenizer(texts, 4000, 128))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=size.vocabulary or tokenizer.vocab_size,
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.hidden // 64,
        intermediate_size=4 * size.hidden,
        max_position_embeddings=128,
        pad_token_id=tokenizer.pad_id,
    )
    return Encoder.fresh(config, tokenizer)


def disable_dropout(encoder: Encoder) -> Encoder:
    """Sets all dropout rates of the encoder to 0: random masks differ between precisions."""
    encoder.config.hidden_dropout_prob = encoder.config.attention_probs_dropout_prob = 0.0
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return encoder


def methods() -> dict[str, Any]:
    """Every registered method that is trained; from pyproject.toml where the package is not installed."""
    if not METHODS.names():
        points = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["entry-points"][METHODS.group]
        for name, value in points.items():
            METHODS.add(name, EntryPoint(name, value, METHODS.group).load(), Origin("pyproject.toml", value))
    return {name: cls for name in METHODS.names() if (cls := METHODS.get(name)).trains}


def measure(run: Run) -> TrainingMeasure:
    """Trains, and measures the second half of the steps."""
    if run.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(run.device)
    warm = run.settings.steps // 2
    for _ in range(warm):
        run.step()
    run.read_losses()
    tokens, clock = run.trace.tokens, time.perf_counter()
    for _ in range(run.settings.steps - warm):
        run.step()
    losses = run.read_losses()  # waits for the device
    seconds = time.perf_counter() - clock
    weights = term_weights(run)
    return TrainingMeasure(
        sum(weights[name] * value for name, value in losses.items()),
        (run.settings.steps - warm) / seconds,
        (run.trace.tokens - tokens) / seconds,
        peak_memory(run.device),
    )


@torch.no_grad()
def term_weights(run: Run) -> dict[str, float]:
    """The weight of each term of the loss."""
    run.module.eval()
    batch = run.collate([run.examples[i] for i in range(2)], np.random.default_rng(0))
    return {name: term.weight for name, term in run.module(to_device(batch, run.device), 0).items()}


@dataclass(frozen=True)
class ErrorCheck:
    """A relative distance from a reference, and the largest that is allowed."""

    name: str
    gap: float
    limit: float

    @property
    def ok(self) -> bool:
        return self.gap <= self.limit


def attention_checks(device: torch.device, backend: str, dtype: torch.dtype) -> list[ErrorCheck]:
    """A back end in `dtype` compared with the dense reference in float32: output and gradients of q, k and v."""
    lengths, others = (3, 128, 1, 64, 17), (20, 5, 128, 64, 2)
    cases = {"within a sequence": (lengths, False), "causal": (lengths, True), "over a partner": (others, False)}
    checks = []
    for name, (keys, causal) in cases.items():
        layouts = [Layout.of(n).to(device) for n in (lengths, keys)]
        generator = torch.Generator().manual_seed(0)
        rows = (sum(lengths), sum(keys), sum(keys), sum(lengths))
        *inputs, weight = (torch.randn(n, 4, 64, generator=generator).to(device, dtype) for n in rows)
        values = _attention_with_gradients(inputs, weight, layouts, causal, backend)
        reference = _attention_with_gradients([t.float() for t in inputs], weight, layouts, causal, "block")
        checks.append(ErrorCheck(f"{backend} {name}", max(map(relative_distance, values, reference)), TOLERANCE))
    return checks


def _attention_with_gradients(
    inputs: Sequence[Tensor], weight: Tensor, layouts: Sequence[Layout], causal: bool, backend: str
) -> list[Tensor]:
    leaves = [t.clone().requires_grad_() for t in inputs]
    with attention.backend(backend):
        out = attend(leaves[0], leaves[1], leaves[2], layouts[0], layouts[1], causal)
    return [out.detach(), *torch.autograd.grad((out.float() * weight.float()).sum(), leaves)]


def encoder_checks(world: SmokeWorld, backend: str, precision: str) -> list[ErrorCheck]:
    """An encoder with a back end compared with the dense reference in fp32: last states and gradient of the weights.

    Allowed is twice the distance of the dense reference in the same precision.
    """
    encoder = world.start.clone().to(world.device).eval()
    ids = encoder.tokenizer.encode([pair.source for pair in world.sample[: world.batch]], world.max_length).ids
    text = pack([ids[i] for i in range(len(ids))]).to(world.device)
    made, dense, exact = (
        _states_and_gradient(encoder, text, *how)
        for how in ((backend, precision), ("block", precision), ("block", "fp32"))
    )
    parts = zip(("states", "gradient"), made, dense, exact, strict=True)
    return [
        ErrorCheck(f"{backend} encoder {name}", relative_distance(a, c), 2 * relative_distance(b, c) + 1e-3)
        for name, a, b, c in parts
    ]


def _states_and_gradient(encoder: Encoder, text: PackedText, backend: str, precision: str) -> tuple[Tensor, Tensor]:
    encoder.zero_grad()
    with attention.backend(backend), autocast(precision, text.ids.device):
        states = encoder(text).tokens()
    weight = torch.randn(states.shape, generator=torch.Generator().manual_seed(0)).to(states.device)
    (states.float() * weight).sum().backward()
    return states.detach(), torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None])


def relative_distance(values: Tensor, reference: Tensor) -> float:
    return float((values.float() - reference.float()).norm() / reference.float().norm())


def check_attention(world: SmokeWorld) -> list[ErrorCheck]:
    """Runs and prints the checks of variable-length attention; none without a GPU."""
    if world.device.type != "cuda":
        print("variable-length attention is not checked: it needs a GPU\n")
        return []
    checks = attention_checks(world.device, "varlen", torch.bfloat16) + encoder_checks(world, "varlen", "bf16")
    for check in checks:
        print(f"{check.name:28} differs by {check.gap:.2%}, allowed {check.limit:.2%}   {verdict(check.ok)}")
    print()
    return checks


def train_all(world: SmokeWorld) -> list[SmokeRow]:
    """Trains every method and the fine-tuning; prints each row."""
    jobs: dict[str, Callable[[str], TrainingMeasure]] = {
        name: partial(world.align, cls) for name, cls in methods().items()
    }
    jobs["fine-tuning (pawsx)"] = world.finetune
    print(f"{'':20} {'fp32 loss':>10} {'bf16 loss':>10} {'ratio':>7} {'steps/s':>8} {'tokens/s':>9} {'GB':>6}")
    rows = []
    for name, job in jobs.items():
        rows.append(SmokeRow(name, *(job(precision) for precision in PRECISIONS)))
        print(line(rows[-1]), flush=True)
    return rows


def line(row: SmokeRow) -> str:
    fp32, bf16 = row.fp32, row.bf16
    ratio = bf16.loss / fp32.loss if fp32.loss else math.nan
    rates = f"{bf16.steps_per_second:8.1f} {bf16.tokens_per_second:9,.0f} {bf16.peak_bytes / 1e9:6.2f}"
    return f"{row.name:20} {fp32.loss:10.4f} {bf16.loss:10.4f} {ratio:7.4f} {rates}   {verdict(row.ok)}"


def verdict(ok: bool) -> str:
    return "ok" if ok else "FAILED"


def report(world: SmokeWorld, checks: Sequence[ErrorCheck], rows: Sequence[SmokeRow]) -> dict[str, Any]:
    """All figures, and the machine."""
    return {
        "device": world.machine,
        "torch": torch.__version__,
        "steps": world.steps,
        "batch": world.batch,
        "learning_rate": world.learning_rate,
        "attention": [{**asdict(check), "ok": check.ok} for check in checks],
        "rows": [{**asdict(row), "gap": row.gap, "ok": row.ok} for row in rows],
    }


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m validation.smoke", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=tuple(SIZES), default="cpu", help="where to train (cpu)")
    parser.add_argument("--base", metavar="FOLDER", help="a checkpoint to start from; without it a random encoder")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write what was measured as JSON")
    parser.add_argument("--steps", metavar="N", type=int, default=20, help="of each training, at least 2 (20)")
    parser.add_argument("--batch", metavar="N", type=int, help="pairs in a batch (8 on a CPU, 64 on a GPU)")
    parser.add_argument("--learning-rate", metavar="X", type=float, default=2e-5, help="held constant (2e-5)")
    parser.add_argument(
        "--threads", metavar="N", type=int, default=1, help="of the CPU: small products gain nothing (1)"
    )
    options = parser.parse_args(arguments)
    if options.steps < 2:
        parser.error("--steps must be at least 2")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; use --device cpu")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    torch.set_num_threads(options.threads)
    world = SmokeWorld(options)
    start = options.base or "a random encoder"
    print(f"{world.machine}, torch {torch.__version__}, {start}, {world.steps} steps of {world.batch}\n")
    checks = check_attention(world)
    rows = train_all(world)
    if options.out:
        options.out.write_text(json.dumps(report(world, checks, rows), indent=1) + "\n", encoding="utf-8")
    failed = [check.name for check in checks if not check.ok] + [row.name for row in rows if not row.ok]
    print(f"\n{'FAILED: ' + ', '.join(failed) if failed else 'all ok'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

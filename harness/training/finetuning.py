"""Fine-tuning around the one training loop: the dev curve, the steps that a selection keeps, and exact resume.

XTREME's rule: evaluate at a fixed cadence and after the last update, keep the first step with the strictly best score.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.files import write_atomically, write_json
from harness.method import Batch
from harness.modeling.encoder import Encoder
from harness.modeling.packing import PackedText, pack, token_batches
from harness.modeling.tokenizer import Ragged
from harness.task import ENGLISH, Fit, Point, TrainedSettings
from harness.training.checkpoint import unique_tensors
from harness.training.loop import Step, Trace, TrainSettings, Watch, train
from harness.training.loop import precision as autocast

TOKENS_PER_BATCH = {"cpu": 4096, "cuda": 65536}  # without gradient
CHECKPOINT_SECONDS = 30.0

Metrics = dict[str, float]


class Model(nn.Module):
    """An encoder under a task's head."""

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head


@dataclass(frozen=True)
class Training:
    """What is trained on: indexable examples, and how some of them become a batch (randomness only from `rng`)."""

    examples: Sequence[Any]
    collate: Callable[[Sequence[Any], np.random.Generator], Batch]


def finetune(
    model: Model,
    training: Training,
    evaluate: Callable[[], Mapping[str, Metrics]] | None,
    settings: TrainedSettings,
    *,
    metric: str,
    pivot: str,
    seed: int,
    checkpoint: Path,
    watch: Watch | None = None,
    precision: str = "fp32",
) -> Fit:
    """Trains `model` in place and returns its dev curve and the weights of the kept steps.

    `evaluate` gives the dev metrics of each view for the model as it is; `metric` is what is maximised. The selection
    "english" is the pivot's best step; where other views are evaluated too, each has its own (its oracle). Without
    `evaluate` there is no curve, and the model of the last step is kept. A call with the `checkpoint` folder of a
    killed one goes on where that was, and ends in the same bits.
    """
    chosen = train_settings(settings, len(training.examples), seed, precision)
    every = settings.evaluate_every or updates_per_epoch(settings, len(training.examples))
    curve = Curve(checkpoint, metric, pivot)

    def record(step: int) -> None:
        curve.add(step, evaluate() if evaluate else {pivot: {}}, model)

    trace = train(
        Step(model.encoder, model.head),
        training.examples,
        training.collate,
        chosen,
        checkpoint=curve.loop,
        watch=watch,
        evaluate=record,
        evaluate_every=every if evaluate else None,
    )
    return curve.fit(trace)


def updates_per_epoch(settings: TrainedSettings, examples: int) -> int:
    """Optimiser steps in which every example is seen, the last of them with the first of the next pass."""
    return math.ceil(examples / (settings.batch_size * settings.accumulation))


def train_settings(settings: TrainedSettings, examples: int, seed: int, precision: str) -> TrainSettings:
    """The loop's settings for a task's fine-tuning on so many examples."""
    steps = round(settings.epochs * examples / (settings.batch_size * settings.accumulation))
    return TrainSettings(
        steps=max(1, steps),
        learning_rate=settings.learning_rate,
        batch=settings.batch_size,
        accumulation=settings.accumulation,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        clip=settings.clip,
        adam_epsilon=settings.adam_epsilon,
        precision=precision,
        seed=seed,
        checkpoint_seconds=CHECKPOINT_SECONDS,
    )


class Curve:
    """The dev curve of one fine-tuning on disk, and the weights of the steps that are or may become kept.

    The loop's checkpoint may be older than the newest point: a killed run goes back to it and evaluates some steps
    again. So beside the best weights so far, those that were best at the checkpoint stay on disk.
    """

    def __init__(self, folder: Path, metric: str, pivot: str) -> None:
        self.folder, self.metric, self.pivot = folder, metric, pivot
        self.loop, self.states = folder / "loop", folder / "states"
        self.states.mkdir(parents=True, exist_ok=True)
        self.file = folder / "curve.json"
        self.points: list[Point] = []
        if self.file.is_file():
            self.points = [Point(*point) for point in json.loads(self.file.read_text())]

    def add(self, step: int, metrics: Mapping[str, Metrics], model: nn.Module) -> None:
        """Records an evaluation; weights come to the disk before the curve that names them."""
        self.points = [p for p in self.points if p.step < step]
        self.points += [Point(step, view, dict(values)) for view, values in metrics.items()]
        needed = set(self.kept(step).values())
        if step in needed:
            write_atomically(self._state(step), lambda file: save_file(unique_tensors(model.state_dict()), file))
        write_json(self.file, self.points)
        needed |= set(self.kept(self._checkpointed()).values())
        for file in self.states.iterdir():
            if file not in {self._state(n) for n in needed}:
                file.unlink()

    def kept(self, until: int) -> dict[str, int]:
        """The best step of each selection among the points up to `until`; the first one wins a tie."""
        best: dict[str, Point] = {}
        for point in self.points:
            view = point.view
            if point.step <= until and (view not in best or self._score(point) > self._score(best[view])):
                best[view] = point
        if not best:
            return {}
        oracles = {view: point.step for view, point in best.items()} if len(best) > 1 else {}
        return {ENGLISH: best[self.pivot].step, **oracles}

    def fit(self, trace: Trace) -> Fit:
        """The finished curve with the kept weights, on the host."""
        kept = self.kept(self.points[-1].step)
        states = {step: load_file(self._state(step)) for step in sorted(set(kept.values()))}
        return Fit(self.points, kept, states, trace)

    def _score(self, point: Point) -> float:
        return point.metrics[self.metric]

    def _state(self, step: int) -> Path:
        return self.states / f"{step}.safetensors"

    def _checkpointed(self) -> int:
        """The step of the loop's newest checkpoint, 0 without one."""
        file = self.loop / "state.json"
        return int(json.loads(file.read_text())["trace"]["steps"]) if file.is_file() else 0


class Swept(NamedTuple):
    """One batch of a sweep: its row numbers, its text, and what the model made of it (float32, on the host)."""

    rows: np.ndarray
    text: PackedText
    output: Tensor


def sweep(
    encoder: Encoder,
    forward: Callable[[PackedText], Tensor],
    ids: Ragged,
    segments: Ragged | None = None,
    *,
    precision: str = "fp32",
) -> Iterator[Swept]:
    """Runs `forward` over all rows of `ids` without gradient: similar lengths together, longest first."""
    device = encoder.input_embeddings.device
    for rows in token_batches(ids.lengths, TOKENS_PER_BATCH["cuda" if device.type == "cuda" else "cpu"]):
        kinds = None if segments is None else [segments[i] for i in rows]
        text = pack([ids[i] for i in rows], special_ids=encoder.tokenizer.special_ids, segments=kinds)
        with torch.inference_mode(), autocast(precision, device):
            output = forward(text.to(device)).float().cpu()
        yield Swept(rows, text, output)

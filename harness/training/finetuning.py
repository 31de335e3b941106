"""Fine-tuning on top of the training loop: the dev curve, the best steps of each selection, and exact resume.

XTREME's rule: evaluate at a fixed cadence and after the last update, keep the first step with the strictly best score.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.errors import UserError
from harness.files import file_digest, read_json, seal, text_digest, unseal, write_atomically, write_json, write_text
from harness.method import Batch
from harness.modeling.encoder import Encoder
from harness.modeling.packing import PackedText, pack, token_batches
from harness.modeling.tokenizer import Ragged
from harness.task import ENGLISH, Fit, Point, TrainedSettings
from harness.training import distributed
from harness.training.checkpoint import discard_damaged, unique_tensors
from harness.training.loop import Step, Trace, TrainSettings, Watch, train
from harness.training.loop import precision as autocast
from harness.training.outputs import kept_outputs

TOKENS_PER_BATCH = {"cpu": 4096, "cuda": 65536}  # without gradient

Metrics = dict[str, float]


class Model(nn.Module):
    """An encoder with the head of a task."""

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head


@dataclass(frozen=True)
class Training:
    """The training data: indexable examples, and the function that makes a batch of some (random by `rng` alone)."""

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
    """Trains `model` in place and returns its dev curve and the weights of the best steps.

    `evaluate` returns the dev metrics of each view for the current model; `metric` is maximised. The selection
    "english" is the best step of the pivot; where other views are evaluated too, each has its own (its oracle). Without
    `evaluate` there is no curve, and the model of the last step is kept. A call with the `checkpoint` folder of a
    killed one resumes it, bit-exactly. Of several processes the first one evaluates, and returns the curve.
    """
    chosen = train_settings(settings, len(training.examples), seed, precision)
    every = settings.evaluate_every or updates_per_epoch(settings, len(training.examples))
    module = Step(model.encoder, model.head)
    if distributed.rank() > 0:
        trace = train(module, training.examples, training.collate, chosen, checkpoint=loop_folder(checkpoint))
        return Fit([], {}, {}, trace)
    curve = Curve(checkpoint, metric, pivot)

    def record(step: int) -> None:
        curve.add(step, evaluate() if evaluate else {pivot: {}}, model)

    trace = train(
        module,
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
    """The number of optimiser steps of an epoch, rounded up."""
    return math.ceil(examples / (settings.batch_size * settings.accumulation))


def train_settings(settings: TrainedSettings, examples: int, seed: int, precision: str) -> TrainSettings:
    """The settings of the loop for fine-tuning on this number of examples."""
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
    )


def loop_folder(checkpoint: Path) -> Path:
    """Where the loop keeps its state in the checkpoint of a fine-tuning."""
    return checkpoint / "loop"


class Curve:
    """The dev curve of one fine-tuning on disk, and the weights of the best steps.

    The checkpoint of the loop may be older than the newest point: a resumed run starts there and evaluates some steps
    again. So the weights that were best at the checkpoint stay on disk, too. Where a file is not as it was written,
    everything starts again.
    """

    def __init__(self, folder: Path, metric: str, pivot: str) -> None:
        self.folder, self.metric, self.pivot = folder, metric, pivot
        self.loop, self.states = loop_folder(folder), folder / "states"
        self.file, self.sealed = folder / "curve.json", folder / "digests.json"
        self.points: list[Point] = []
        self._digests: dict[str, str] = {}  # of the weights
        if self.file.is_file() and not self._open():
            discard_damaged(folder)
            self.points, self._digests = [], {}
        self.states.mkdir(parents=True, exist_ok=True)

    def _open(self) -> bool:
        """Reads the curve; whether it and all weights that it needs are as they were written."""
        try:
            known = unseal(read_json(self.sealed))
            if file_digest(self.file) not in known["curves"]:
                return False
            self._digests = known["states"]
            self.points = [Point(*point) for point in read_json(self.file)]
            best = {*self.best_steps(self.points[-1].step).values(), *self.best_steps(self._checkpoint_step()).values()}
            files = [self._state(step) for step in best]
            intact = all(file_digest(file) == self._digests[file.name] for file in files)
        except (OSError, ValueError, LookupError, TypeError):
            return False
        return intact

    def add(self, step: int, metrics: Mapping[str, Metrics], model: nn.Module) -> None:
        """Records an evaluation. The weights are written before the curve that refers to them.

        Raises UserError for a score that is NaN or infinite: no step is better or worse than such a one.
        """
        for view, values in metrics.items():
            for name, value in values.items():
                if not math.isfinite(value):
                    what = f"{view}: the dev score {name} is {value} at step {step}"
                    raise UserError(what, expected="a finite number", remedy="correct the metric of the task")
        self.points = [p for p in self.points if p.step < step]
        self.points += [Point(step, view, dict(values)) for view, values in metrics.items()]
        needed = set(self.best_steps(step).values())
        if step in needed:
            file = self._state(step)
            write_atomically(file, lambda part: save_file(unique_tensors(model.state_dict()), part))
            self._digests[file.name] = file_digest(file)
        text = json.dumps(self.points)
        curves = [text_digest(text), *([file_digest(self.file)] if self.file.is_file() else [])]
        write_json(self.sealed, seal({"curves": curves, "states": self._digests}))  # a kill may come between the two
        write_text(self.file, text)
        needed |= set(self.best_steps(self._checkpoint_step()).values())
        for file in self.states.iterdir():
            if file not in {self._state(n) for n in needed}:
                file.unlink()

    def best_steps(self, until: int) -> dict[str, int]:
        """The best step of each selection among the points up to `until`; the earliest of equal ones."""
        best: dict[str, Point] = {}
        for point in self.points:
            view = point.view
            if point.step <= until and (
                view not in best or point.metrics[self.metric] > best[view].metrics[self.metric]
            ):
                best[view] = point
        if not best:
            return {}
        oracles = {view: point.step for view, point in best.items()} if len(best) > 1 else {}
        return {ENGLISH: best[self.pivot].step, **oracles}

    def fit(self, trace: Trace) -> Fit:
        """The finished curve with the weights of the best steps, on the host."""
        kept = self.best_steps(self.points[-1].step)
        for step in set(kept.values()):
            file = self._state(step)
            if file_digest(file) != self._digests[file.name]:
                remedy = "give the same command again: what is damaged is computed again"
                raise UserError("the content has changed since it was written", file=file, remedy=remedy)
        states = {step: load_file(self._state(step)) for step in sorted(set(kept.values()))}
        return Fit(self.points, kept, states, trace)

    def _state(self, step: int) -> Path:
        return self.states / f"{step}.safetensors"

    def _checkpoint_step(self) -> int:
        """The step of the newest checkpoint of the loop, 0 without one."""
        file = self.loop / "state.json"
        return int(read_json(file)["trace"]["steps"]) if file.is_file() else 0


class Swept(NamedTuple):
    """One batch of a sweep: its row numbers, its text, and the output of the model (float32, on the host)."""

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
    """Runs `forward` on all rows of `ids` without gradient, in batches of similar length, longest first.

    Inside `harness.training.outputs.keep_outputs` outputs that an earlier process has kept are not computed again.
    """
    device = encoder.input_embeddings.device
    for rows in token_batches(ids.lengths, TOKENS_PER_BATCH["cuda" if device.type == "cuda" else "cpu"]):
        kinds = None if segments is None else [segments[i] for i in rows]
        text = pack([ids[i] for i in rows], special_ids=encoder.tokenizer.special_ids, segments=kinds)
        compute, kept = partial(_output, encoder, forward, text, rows, precision), kept_outputs()
        yield Swept(rows, text, compute() if kept is None else kept.get(rows, compute))


def _output(
    encoder: Encoder, forward: Callable[[PackedText], Tensor], text: PackedText, rows: np.ndarray, precision: str
) -> Tensor:
    device = encoder.input_embeddings.device
    with torch.inference_mode(), autocast(precision, device):
        output = forward(text.to(device)).float().cpu()
        if not output.isfinite().all():
            raise _not_finite_error(encoder, text.to(device), rows)
    return output


def _not_finite_error(encoder: Encoder, text: PackedText, rows: np.ndarray) -> UserError:
    """The error for outputs that are not finite: the first layer whose states are not, and a sentence of them."""
    states, where, row = encoder(text, range(encoder.depth + 1)), "the head", 0
    for layer in range(encoder.depth + 1):
        broken = ~states.tokens(layer).isfinite().all(1)
        if broken.any():
            where, row = f"layer {layer} (0 is the embeddings)", int(text.layout.owner[broken][0])
            break
    ids = text.ids[text.layout.owner == row]
    return UserError(
        f"NaN or infinity in the output of {where}",
        found=f"sentence {rows[row] + 1} of the stage: {encoder.tokenizer.hf.decode(ids)[:80]!r}",
        remedy="check the base; lower the learning rate of what was trained on it, or its precision may be too low",
    )

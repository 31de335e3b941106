"""The one training loop: pre-training, alignment and fine-tuning all run through `train`.

The order of examples is a function of (seed, epoch), every random choice of a batch a function of (seed, step), and a
checkpoint holds weights, optimiser, cursor and the generators of dropout: a killed run ends as if undisturbed.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.errors import UserError
from harness.files import replace_folder, restore_folder
from harness.training import distributed
from harness.training.checkpoint import flatten, load_tensors, unflatten, unique_tensors
from harness.training.order import Order

Batch = dict[str, Any]
LOG_EVERY = 20  # steps between readings of the loss: reading waits for the device


class TermLike(Protocol):
    """A loss term as methods give it: `sum` over `count` items, and the weight of their mean."""

    @property
    def sum(self) -> Tensor: ...
    @property
    def count(self) -> float: ...
    @property
    def weight(self) -> float: ...


class Objective(Protocol):
    """What the loop trains beside the encoder: a method, or a task's head."""

    def loss(self, encoder: Any, batch: Batch, step: int) -> dict[str, Any]: ...
    def after_step(self, encoder: Any) -> None: ...


class Step(nn.Module):
    """The encoder and the objective as one module: what is optimised, checkpointed and wrapped."""

    def __init__(self, encoder: nn.Module, objective: nn.Module) -> None:
        super().__init__()
        self.encoder, self.objective = encoder, objective

    def forward(self, batch: Batch, step: int) -> dict[str, Any]:
        return self.objective.loss(self.encoder, batch, step)  # type: ignore[operator, no-any-return]


@dataclass(frozen=True)
class TrainSettings:
    """Settings of the loop. `batch` counts examples, or tokens where `by_tokens`; per micro-batch and rank."""

    steps: int
    learning_rate: float
    batch: int
    by_tokens: bool = False
    accumulation: int = 1
    schedule: str = "linear"  # or "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    clip: float | None = 1.0
    adam_epsilon: float = 1e-8
    adam_betas: tuple[float, float] = (0.9, 0.999)
    precision: str = "fp32"  # or "bf16", "fp16"
    seed: int = 0
    checkpoint_seconds: float = 60.0


class Rate(NamedTuple):
    """Progress of a run: steps done of `total`, steps and tokens per second, seconds left, smoothed loss terms."""

    step: int
    total: int
    steps_per_second: float
    tokens_per_second: float
    seconds_left: float
    losses: dict[str, float]


class Watch(Protocol):
    """Whoever shows the progress of a run."""

    def update(self, rate: Rate) -> None: ...


@dataclass
class Trace:
    """What a run leaves beside the weights: loss curves by term, and what it read."""

    losses: list[dict[str, float]] = field(default_factory=list)
    examples: int = 0
    tokens: int = 0
    steps: int = 0


def train(
    module: Step,
    examples: Sequence[Any],
    collate: Callable[[Sequence[Any], np.random.Generator], Batch],
    settings: TrainSettings,
    *,
    checkpoint: Path | None = None,
    watch: Watch | None = None,
    evaluate: Callable[[int], None] | None = None,
    evaluate_every: int | None = None,
) -> Trace:
    """Trains `module` in place for `settings.steps` optimiser steps and returns the trace.

    With `checkpoint`, states are saved there by time, a run found there is continued, and the folder is the caller's to
    remove. `evaluate(step)` is called every `evaluate_every` steps and after the last. Raises UserError where the loss
    is no longer finite.
    """
    run = Run(module, examples, collate, settings, checkpoint)
    run.resume()
    pace = Pace(settings, run.trace)
    if watch is not None:
        watch.update(pace.rate(run.trace, {}))
    last_save = time.monotonic()
    while run.trace.steps < settings.steps:
        run.step()
        step = run.trace.steps
        if step % LOG_EVERY == 0 or step == settings.steps:
            losses = run.read_losses()
            if watch is not None:
                watch.update(pace.rate(run.trace, losses))
        if evaluate is not None and (step == settings.steps or (evaluate_every and step % evaluate_every == 0)):
            module.eval()
            evaluate(step)
        if checkpoint is not None and time.monotonic() - last_save >= settings.checkpoint_seconds:
            run.save()
            last_save = time.monotonic()
    module.eval()
    return run.trace


class Run:
    """One run of the loop: module, optimiser, scaler, order and trace, and how they are saved."""

    def __init__(
        self,
        module: Step,
        examples: Sequence[Any],
        collate: Callable[[Sequence[Any], np.random.Generator], Batch],
        settings: TrainSettings,
        checkpoint: Path | None,
    ) -> None:
        self.module, self.examples, self.collate, self.settings = module, examples, collate, settings
        self.checkpoint = checkpoint
        self.device = next(module.parameters()).device
        torch.manual_seed(settings.seed)
        self.optimizer = _optimizer(module, settings)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "fp16")
        self.order = Order(len(examples), settings.seed)
        lengths = getattr(examples, "lengths", None)
        self.lengths = None if lengths is None else np.asarray(lengths)
        self.cursor = 0
        self.trace = Trace()
        self._pending: dict[str, Tensor] = {}
        self._pending_steps = 0

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def step(self) -> None:
        """One optimiser step over `accumulation` micro-batches."""
        self.module.train()
        step = self.trace.steps
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, step)
        means = self._gradients(step)
        self.scaler.unscale_(self.optimizer)
        if self.settings.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.module.objective.after_step(self.module.encoder)  # type: ignore[operator]
        self.trace.steps += 1
        self._pending_steps += 1
        for name, mean in means.items():
            self._pending[name] = self._pending.get(name, torch.zeros_like(mean)) + mean

    def _gradients(self, step: int) -> dict[str, Tensor]:
        """Fills `.grad` with that of the weighted sum of the terms' means over all micro-batches and ranks."""
        sums: dict[str, Tensor] = {}
        counts: dict[str, float] = {}
        weights: dict[str, float] = {}
        buffers: dict[str, list[Tensor | None]] = {}
        for micro in range(self.settings.accumulation):
            terms = self._forward(step, micro)
            joint = self.settings.accumulation == 1
            if joint:
                self._backward_joint(terms)
            for name, term in terms.items():
                sums[name] = sums.get(name, torch.zeros_like(term.sum.detach())) + term.sum.detach()
                counts[name] = counts.get(name, 0.0) + float(term.count)
                weights[name] = float(term.weight)
            if not joint:
                self._backward_each(terms, buffers)
        total = _reduced_counts(counts, self.device)
        if buffers:
            self._join(buffers, {n: weights[n] / max(total[n], 1.0) for n in buffers})
        distributed.reduce_gradients(self.parameters)
        return {n: distributed.reduce_sum(sums[n]) / max(total[n], 1.0) for n in sums}

    def _forward(self, step: int, micro: int) -> dict[str, Any]:
        numbers, self.cursor = self._next()
        self.trace.examples += len(numbers)
        world, rank = distributed.world_size(), distributed.rank()
        mine = np.array_split(np.asarray(numbers), world)[rank]
        rng = np.random.default_rng([self.settings.seed, step, micro, rank])
        batch = self.collate([self.examples[i] for i in mine], rng)
        self.trace.tokens += sum(v.tokens for v in batch.values() if hasattr(v, "tokens"))
        with precision(self.settings.precision, self.device):
            return self.module(to_device(batch, self.device), step)  # type: ignore[no-any-return]

    def _next(self) -> tuple[list[int], int]:
        size = self.settings.batch * distributed.world_size()
        if not self.settings.by_tokens:
            return self.order.take(self.cursor, size)
        assert self.lengths is not None, "batches by tokens need examples with lengths"
        return self.order.take_tokens(self.cursor, size, self.lengths)

    def _backward_joint(self, terms: dict[str, Any]) -> None:
        """One micro-batch: the counts are known before the backward pass, so all terms go through it together."""
        total = _reduced_counts({n: float(t.count) for n, t in terms.items()}, self.device)
        parts = [t.sum * (t.weight / max(total[n], 1.0)) for n, t in terms.items()]
        self.scaler.scale(torch.stack([p.float() for p in parts]).sum()).backward()  # type: ignore[no-untyped-call]

    def _backward_each(self, terms: dict[str, Any], buffers: dict[str, list[Tensor | None]]) -> None:
        """Several micro-batches: each term's gradient is summed apart, since its divisor is known only at the end."""
        parameters = self.parameters
        for place, (name, term) in enumerate(terms.items(), start=1):
            gradients = torch.autograd.grad(
                self.scaler.scale(term.sum.float()), parameters, retain_graph=place < len(terms), allow_unused=True
            )
            known = buffers.setdefault(name, [None] * len(parameters))
            for i, gradient in enumerate(gradients):
                if gradient is not None:
                    before = known[i]
                    known[i] = gradient if before is None else before + gradient

    def _join(self, buffers: dict[str, list[Tensor | None]], factors: dict[str, float]) -> None:
        for i, parameter in enumerate(self.parameters):
            parts = [gradient * factors[n] for n, g in buffers.items() if (gradient := g[i]) is not None]
            parameter.grad = torch.stack(parts).sum(0) if parts else None

    def read_losses(self) -> dict[str, float]:
        """Means of the terms since the last reading, appended to the trace."""
        losses = {n: float(v) / self._pending_steps for n, v in self._pending.items()}
        self._pending, self._pending_steps = {}, 0
        if not all(map(math.isfinite, losses.values())):
            raise UserError(
                f"the loss is no longer finite at step {self.trace.steps}",
                found=", ".join(f"{n} = {v}" for n, v in losses.items()),
                remedy="lower the learning rate, or use --precision fp32",
            )
        self.trace.losses.append({"step": float(self.trace.steps), **losses})
        return losses

    def save(self) -> None:
        """Writes a checkpoint beside the old one and replaces it in one rename."""
        if self.checkpoint is None or distributed.rank() != 0:
            return
        temporary = self.checkpoint.with_name(self.checkpoint.name + ".tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file(unique_tensors(self.module.state_dict()), temporary / "module.safetensors")
        tensors, plain = flatten(self.optimizer.state_dict()["state"])
        save_file(tensors | self._generators(), temporary / "optimizer.safetensors")
        state = {
            "cursor": self.cursor,
            "trace": self.trace.__dict__,
            "pending": {n: float(v) for n, v in self._pending.items()},
            "pending_steps": self._pending_steps,
            "optimizer": plain,
            "scaler": self.scaler.state_dict(),
        }
        (temporary / "state.json").write_text(json.dumps(state))
        replace_folder(temporary, self.checkpoint)

    def resume(self) -> None:
        """Continues from the checkpoint, if there is one."""
        if self.checkpoint is None:
            return
        restore_folder(self.checkpoint)
        if not self.checkpoint.is_dir():
            return
        device = str(self.device)
        load_tensors(self.module, load_file(self.checkpoint / "module.safetensors", device=device))
        state = json.loads((self.checkpoint / "state.json").read_text())
        stored = load_file(self.checkpoint / "optimizer.safetensors")
        self._restore_generators(stored)
        full = self.optimizer.state_dict()
        full["state"] = unflatten(stored, state["optimizer"])
        self.optimizer.load_state_dict(full)
        self.scaler.load_state_dict(state["scaler"])
        self.cursor, self.trace = state["cursor"], Trace(**state["trace"])
        self._pending = {n: torch.tensor(v, device=self.device) for n, v in state["pending"].items()}
        self._pending_steps = state["pending_steps"]

    def _generators(self) -> dict[str, Tensor]:
        states = {"generator.cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["generator.cuda"] = torch.cuda.get_rng_state(self.device)
        return states

    def _restore_generators(self, stored: dict[str, Tensor]) -> None:
        torch.set_rng_state(stored.pop("generator.cpu"))
        cuda = stored.pop("generator.cuda", None)
        if cuda is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(cuda, self.device)


class Pace:
    """Steps and tokens per second since this process started, and the time left."""

    def __init__(self, settings: TrainSettings, trace: Trace) -> None:
        self.total, self.start = settings.steps, time.monotonic()
        self.steps, self.tokens = trace.steps, trace.tokens

    def rate(self, trace: Trace, losses: dict[str, float]) -> Rate:
        seconds = max(time.monotonic() - self.start, 1e-9)
        pace = (trace.steps - self.steps) / seconds
        left = (self.total - trace.steps) / pace if pace else math.inf
        return Rate(trace.steps, self.total, pace, (trace.tokens - self.tokens) / seconds, left, losses)


def learning_rate(settings: TrainSettings, step: int) -> float:
    """The rate of the 0-based `step`: linear warm-up, then linear decay to 0 or constant."""
    if step < settings.warmup_steps:
        return settings.learning_rate * step / max(1, settings.warmup_steps)
    if settings.schedule == "constant":
        return settings.learning_rate
    rest = max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * max(0.0, (settings.steps - step) / rest)


def precision(name: str, device: torch.device) -> AbstractContextManager[Any]:
    """The autocast of a precision name; fp32 has none."""
    if name == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype={"bf16": torch.bfloat16, "fp16": torch.float16}[name])


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with everything that can move on `device`."""
    return {name: value.to(device) if hasattr(value, "to") else value for name, value in batch.items()}


def _optimizer(module: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW without weight decay on biases and layer norms."""
    decay: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            (plain if parameter.ndim < 2 or "LayerNorm" in name else decay).append(parameter)
    groups = [{"params": decay, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]],
        lr=settings.learning_rate,
        betas=settings.adam_betas,
        eps=settings.adam_epsilon,
        fused=True,
    )


def _reduced_counts(counts: dict[str, float], device: torch.device) -> dict[str, float]:
    if distributed.world_size() == 1:
        return counts
    names = sorted(counts)
    total = distributed.reduce_sum(torch.tensor([counts[n] for n in names], device=device))
    return dict(zip(names, total.tolist(), strict=True))

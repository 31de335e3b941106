"""The training loop: pre-training, alignment and fine-tuning all run through `train`.

The order of the examples depends on (seed, epoch) alone, the random choices of a batch on (seed, step) alone, and a
checkpoint holds weights, optimiser, cursor and the generators of dropout. So a resumed run is bit-exact.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness import provenance, stopping
from harness.barriers import reach
from harness.errors import UserError
from harness.files import file_digests, read_json, replace_folder, restore_folder, seal, unseal, write_json
from harness.training import distributed
from harness.training.checkpoint import discard_damaged, flatten, load_tensors, unflatten, unique_tensors
from harness.training.order import Order

if TYPE_CHECKING:
    from harness.method import Batch, Term

STATE = "state.json"  # of a checkpoint: the cursor, the trace, and the digests of the other files
CHECKPOINT_SECONDS = 30.0
LOG_EVERY = 20  # steps between readings of the loss: reading waits for the device
LOWEST_SCALE = 2.0**-14  # of fp16's loss, which begins at 2^16 and halves where gradients overflow


class Objective(Protocol):
    """What is trained with the encoder: a method, or the head of a task. See `harness.method.Method`."""

    def counts(self, batch: Batch, step: int) -> dict[str, float] | None: ...
    def loss(self, encoder: Any, batch: Batch, step: int) -> dict[str, Term]: ...
    def after_step(self, encoder: Any) -> None: ...


class Step(nn.Module):
    """The encoder and the objective as one module: what is optimised, checkpointed and wrapped."""

    def __init__(self, encoder: nn.Module, objective: nn.Module) -> None:
        super().__init__()
        self.encoder, self.objective = encoder, objective

    def forward(self, batch: Batch, step: int) -> dict[str, Term]:
        return self.objective.loss(self.encoder, batch, step)  # type: ignore[operator, no-any-return]

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        """The count of each term of the loss on `batch`. Where the objective cannot tell it from the batch, the loss is
        computed for it, in evaluation mode and without gradient."""
        counts: dict[str, float] | None = self.objective.counts(batch, step)  # type: ignore[operator]
        if counts is None:
            self.eval()
            with torch.no_grad():
                counts = {name: float(term.count) for name, term in self(batch, step).items()}
            self.train()
        return counts


@dataclass(frozen=True)
class TrainSettings:
    """Settings of the loop. `batch` is the size of a micro-batch on all ranks: examples, or tokens with `by_tokens`."""

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
    checkpoint_seconds: float | None = None  # CHECKPOINT_SECONDS
    stop_step: int | None = None  # ends the training early, under the schedule of all `steps`

    @property
    def last_step(self) -> int:
        return self.steps if self.stop_step is None else self.stop_step


class Rate(NamedTuple):
    """Progress of a run: steps done of `total`, speed, seconds left, and the recent means of the loss terms."""

    step: int
    total: int
    steps_per_second: float
    tokens_per_second: float
    seconds_left: float
    losses: dict[str, float]


class Watch(Protocol):
    """Shows the progress of a run."""

    def update(self, rate: Rate) -> None: ...


@dataclass
class Trace:
    """The record of a run: the loss curve of each term, how many examples, tokens and steps it took, and its cost up to
    the checkpoint that it was resumed from, in device seconds of all ranks."""

    losses: list[dict[str, float]] = field(default_factory=list)
    examples: int = 0
    tokens: int = 0
    steps: int = 0
    earlier_seconds: float = field(default=0.0, compare=False)

    def to_json(self) -> dict[str, Any]:
        """All but the cost, which is not the same when a run is repeated."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.compare}


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
    """Trains `module` in place for `settings.last_step` optimiser steps and returns the trace.

    With `checkpoint`, the state is saved in that folder every `checkpoint_seconds`, and a run that was saved there is
    resumed; the caller removes the folder. A damaged state is not used. After a request to stop (`harness.stopping`)
    the step is finished and the state saved. `evaluate(step)` is called every `evaluate_every` steps and after the
    last. Raises UserError where the loss is not finite.
    """
    run = Run(module, examples, collate, settings, checkpoint)
    distributed.in_turn(run.resume)
    distributed.start_alike(module.state_dict().values(), run.trace.steps)
    pace = Pace(settings, run.trace)
    if watch is not None:
        watch.update(pace.rate(run.trace, {}))
    save_every = CHECKPOINT_SECONDS if settings.checkpoint_seconds is None else settings.checkpoint_seconds
    last_save = time.monotonic()
    while run.trace.steps < settings.last_step:
        run.step()
        step = run.trace.steps
        if step % LOG_EVERY == 0 or step == settings.last_step:
            losses = run.read_losses()
            if watch is not None:
                watch.update(pace.rate(run.trace, losses))
        if evaluate is not None and (step == settings.last_step or (evaluate_every and step % evaluate_every == 0)):
            module.eval()
            evaluate(step)
        if checkpoint is not None and time.monotonic() - last_save >= save_every:
            run.save()
            last_save = time.monotonic()
        if distributed.total(stopping.requested()) and step < settings.last_step:
            stopping.leave(run.save)
    module.eval()
    return run.trace


class Run:
    """One run of the loop: module, optimiser, scaler, order and trace, with its checkpoints."""

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
        self._started = provenance.device_clock(self.device)

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def step(self) -> None:
        """One optimiser step over `accumulation` micro-batches."""
        self.module.train()
        step = self.trace.steps
        distributed.seed_rank(self.settings.seed, step)
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
        """Sets `.grad` to the gradient of the loss of the step, and returns the mean of each term.

        The loss is the weighted sum of the terms' means over all micro-batches and ranks. Its divisors are known before
        the first backward pass, so each micro-batch needs one.
        """
        batches = [self._collate(step, micro) for micro in range(self.settings.accumulation)]
        known = [self._counts(batch, step) for batch in batches] if len(batches) > 1 else []
        divisors = self._divisors(known) if known else {}
        sums: dict[str, Tensor] = {}
        for micro, batch in enumerate(batches):
            with precision(self.settings.precision, self.device):
                terms: dict[str, Term] = self.module(batch, step)
            counts = {name: float(term.count) for name, term in terms.items()}
            if not known:
                divisors = self._divisors([counts])
            elif distributed.world_size() == 1 and not counts.items() <= known[micro].items():
                name = type(self.module.objective).__name__
                raise ValueError(f"{name}.counts gives {known[micro]}, but its loss counts {counts}")
            parts = [term.sum * (term.weight / divisors[name]) for name, term in terms.items()]
            self.scaler.scale(torch.stack([p.float() for p in parts]).sum()).backward()  # type: ignore[no-untyped-call]
            for name, term in terms.items():
                sums[name] = sums.get(name, torch.zeros_like(term.sum.detach())) + term.sum.detach()
        distributed.reduce_gradients(self.parameters)
        return {name: distributed.reduce_sum(total) / divisors[name] for name, total in sums.items()}

    def _collate(self, step: int, micro: int) -> Batch:
        """This rank's part of a micro-batch, on the device."""
        size = self.settings.batch
        if self.settings.by_tokens:
            assert self.lengths is not None, "batches by tokens need examples with lengths"
            numbers, self.cursor = self.order.take_tokens(self.cursor, size, self.lengths)
        else:
            numbers, self.cursor = self.order.take(self.cursor, size)
        self.trace.examples += len(numbers)
        rng = np.random.default_rng([self.settings.seed, step, micro, distributed.rank()])
        batch = self.collate([self.examples[i] for i in distributed.own_part(numbers)], rng)
        self.trace.tokens += distributed.total(sum(v.tokens for v in batch.values() if hasattr(v, "tokens")))
        return to_device(batch, self.device)

    def _counts(self, batch: Batch, step: int) -> dict[str, float]:
        with precision(self.settings.precision, self.device):
            return self.module.counts(batch, step)

    def _divisors(self, counts: Sequence[dict[str, float]]) -> dict[str, Any]:
        """The count of each term over all micro-batches and ranks, at least 1. Several ranks sum it on the device, and
        do not wait for it."""
        totals = {name: sum(part[name] for part in counts) for name in counts[0]}
        if distributed.world_size() == 1:
            return {name: max(total, 1.0) for name, total in totals.items()}
        names = sorted(totals)
        summed = torch.tensor([totals[name] for name in names], dtype=torch.float64, device=self.device)
        return dict(zip(names, distributed.reduce_sum(summed).clamp(min=1.0).unbind(), strict=True))

    def read_losses(self) -> dict[str, float]:
        """The mean of each term since the last call, which is appended to the trace."""
        losses = {n: float(v) / self._pending_steps for n, v in self._pending.items()}
        self._pending, self._pending_steps = {}, 0
        overflown = self.scaler.is_enabled() and self.scaler.get_scale() < LOWEST_SCALE  # and no step was taken
        if overflown or not all(map(math.isfinite, losses.values())):
            raise UserError(
                f"the {'gradients are not' if overflown else 'loss is no longer'} finite at step {self.trace.steps}",
                found=", ".join(f"{n} = {v}" for n, v in losses.items()),
                remedy="lower the learning rate" + (", or use --precision fp32" * (self.settings.precision != "fp32")),
            )
        self.trace.losses.append({"step": float(self.trace.steps), **losses})
        return losses

    def save(self) -> None:
        """Writes a checkpoint beside the old one, which it then replaces."""
        if self.checkpoint is None or distributed.rank() != 0:
            return
        temporary = self.checkpoint.with_name(self.checkpoint.name + ".tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file(unique_tensors(self.module.state_dict()), temporary / "module.safetensors")
        tensors, plain = flatten(self.optimizer.state_dict()["state"])
        tensors["generator.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["generator.cuda"] = torch.cuda.get_rng_state(self.device)
        save_file(tensors, temporary / "optimizer.safetensors")
        seconds = distributed.world_size() * (provenance.device_clock(self.device) - self._started)
        state = {
            "cursor": self.cursor,
            "trace": {**self.trace.__dict__, "earlier_seconds": self.trace.earlier_seconds + seconds},
            "pending": {n: float(v) for n, v in self._pending.items()},
            "pending_steps": self._pending_steps,
            "optimizer": plain,
            "scaler": self.scaler.state_dict(),
        }
        reach("checkpoint written")
        write_json(temporary / STATE, seal({**state, "files": file_digests(temporary)}))
        replace_folder(temporary, self.checkpoint)

    def resume(self) -> None:
        """Resumes from the checkpoint, if there is one that is as it was written."""
        if self.checkpoint is None:
            return
        restore_folder(self.checkpoint)
        if not self.checkpoint.is_dir():
            return
        try:
            state = unseal(read_json(self.checkpoint / STATE))
            intact = state["files"] == {n: d for n, d in file_digests(self.checkpoint).items() if n != STATE}
        except (OSError, ValueError):
            intact = False
        if not intact:
            discard_damaged(self.checkpoint)
            return
        device = str(self.device)
        load_tensors(self.module, load_file(self.checkpoint / "module.safetensors", device=device))
        stored = load_file(self.checkpoint / "optimizer.safetensors")
        torch.set_rng_state(stored.pop("generator.cpu"))
        cuda = stored.pop("generator.cuda", None)
        if cuda is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(cuda, self.device)
        full = self.optimizer.state_dict()
        full["state"] = unflatten(stored, state["optimizer"])
        self.optimizer.load_state_dict(full)
        self.scaler.load_state_dict(state["scaler"])
        self.cursor, self.trace = state["cursor"], Trace(**state["trace"])
        self._pending = {n: torch.tensor(v, device=self.device) for n, v in state["pending"].items()}
        self._pending_steps = state["pending_steps"]


class Pace:
    """The speed of this process, and the time left."""

    def __init__(self, settings: TrainSettings, trace: Trace) -> None:
        self.total, self.start = settings.last_step, time.monotonic()
        self.steps, self.tokens = trace.steps, trace.tokens

    def rate(self, trace: Trace, losses: dict[str, float]) -> Rate:
        seconds = max(time.monotonic() - self.start, 1e-9)
        pace = (trace.steps - self.steps) / seconds
        left = (self.total - trace.steps) / pace if pace else math.inf
        return Rate(trace.steps, self.total, pace, (trace.tokens - self.tokens) / seconds, left, losses)


def learning_rate(settings: TrainSettings, step: int) -> float:
    """The learning rate of the 0-based `step`: linear warm-up, then linear decay to 0 or constant."""
    if step < settings.warmup_steps:
        return settings.learning_rate * step / max(1, settings.warmup_steps)
    if settings.schedule == "constant":
        return settings.learning_rate
    rest = max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * max(0.0, (settings.steps - step) / rest)


def precision(name: str, device: torch.device) -> AbstractContextManager[Any]:
    """The autocast of a precision; none for fp32."""
    if name == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype={"bf16": torch.bfloat16, "fp16": torch.float16}[name])


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on `device`, which the host does not wait for."""
    return {name: _moved(value, device) for name, value in batch.items()}


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return (value.pin_memory() if device.type == "cuda" else value).to(device, non_blocking=True)
    return value.to(device) if hasattr(value, "to") else value


def _optimizer(module: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW without weight decay on biases and layer norms."""
    decay: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            (plain if parameter.ndim < 2 or "LayerNorm" in name else decay).append(parameter)
    groups = [{"params": decay, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    used, betas = [g for g in groups if g["params"]], settings.adam_betas
    return torch.optim.AdamW(used, lr=settings.learning_rate, betas=betas, eps=settings.adam_epsilon, fused=True)

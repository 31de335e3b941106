"""Settings of pre-training and alignment: typed, frozen parts of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class FrozenSettings(BaseModel):
    """Settings that cannot change and know no field but their own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Beta = Annotated[float, Field(ge=0, lt=1)]


class AlignSettings(FrozenSettings):
    """The alignment stage. `batch_size` counts pairs per micro-batch and device: 2n - 2 negatives each in contrast.

    With `recompute_tokens` the backward pass computes activations again, those of so many tokens at a time: the batch
    may exceed memory, for about a third more time. `stop_step` ends the training after so many of its `steps`, with
    the learning rates, the order and the draws of the whole: to measure an encoder along its training.
    """

    steps: int = Field(60_000, gt=0, le=10**9)
    batch_size: int = Field(64, gt=0, le=10**6)
    accumulation: int = Field(1, gt=0, le=10**6)
    learning_rate: float = Field(2e-5, gt=0)
    schedule: Literal["linear", "constant"] = "linear"
    warmup_steps: int = Field(0, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    clip: float | None = Field(1.0, gt=0)
    adam_betas: tuple[Beta, Beta] = (0.9, 0.999)
    adam_epsilon: float = Field(1e-8, gt=0)
    max_length: int = Field(128, gt=2, le=2**20)
    recompute_tokens: int | None = Field(None, gt=0, le=10**9)
    stop_step: int | None = Field(None, gt=0, exclude_if=lambda value: value is None)  # keeps the hashes of before it

    @model_validator(mode="after")
    def _steps_are_in_order(self) -> AlignSettings:
        if self.stop_step is not None and self.stop_step > self.steps:
            raise ValueError(f"stop_step={self.stop_step} is beyond steps={self.steps}")
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps={self.warmup_steps} contradicts steps={self.steps}: warm-up never ends")
        return self


class PretrainSettings(FrozenSettings):
    """A small encoder from scratch: its shape, its WordPiece vocabulary, and its masked-LM training.

    The defaults suit a small made-up world; real text of several languages needs a vocabulary of 20,000 and more.
    With 0 steps the weights stay random, so that all later training starts from scratch.
    """

    layers: int = Field(4, gt=0, le=1000)
    hidden: int = Field(128, gt=0, le=2**16)
    vocab_size: int = Field(4000, gt=100, le=10**7)
    max_length: int = Field(128, gt=2, le=2**16)
    steps: int = Field(8000, ge=0, le=10**9)
    batch_tokens: int = Field(512, gt=0, le=10**8)
    learning_rate: float = Field(2e-3, gt=0)
    mask_rate: float = Field(0.2, gt=0, lt=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    seed: int = Field(0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _heads_fit(self) -> PretrainSettings:
        if self.hidden % self.heads:
            raise ValueError(f"hidden={self.hidden} is no multiple of its {self.heads} heads")
        return self

    @property
    def heads(self) -> int:
        return max(8, self.hidden // 64)

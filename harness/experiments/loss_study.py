"""The study cz-nce: a method with InfoNCE and with CZ-NCE over batch sizes, and both gradients on frozen pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.sample import load_sample
from harness.errors import UserError
from harness.experiments.plan import RunPlan
from harness.experiments.recipe import Recipe, full_config
from harness.experiments.stage import LostInputError, Stage
from harness.registry import CONTRASTS
from harness.storage.artifacts import Artifacts

if TYPE_CHECKING:
    from torch import Tensor

    from harness.evaluation.gradients import GradientFigures
    from harness.modeling.encoder import Encoder

PAIRS = 512  # frozen, at most
TEMPERATURES = (0.02, 0.05, 0.1, 0.2)  # besides that of the methods
SIZES = (4, 16, 64, 256, 512)


def batch_changes(recipe: Recipe, size: int) -> list[str]:
    """The settings under which the recipe trains with batches of `size` on as many pairs in all."""
    assert recipe.align is not None
    pairs = recipe.align.steps * recipe.align.batch_size
    return [f"align.batch_size={size}", f"align.steps={max(1, round(pairs / size))}"]


def temperature_of(recipe: Recipe) -> float:
    return float(full_config(recipe)["temperature"])


def gradients_on_frozen_pairs(plans: Mapping[str, RunPlan], artifacts: Artifacts) -> Iterator[GradientFigures]:
    """The gradients of both losses on pairs of the sample, as vectors of the base and of the encoders that some runs
    trained, by a name for each.

    A vector is the sum of the means over tokens after the first and the last layer, as in ML-CTL, without its
    projection head, which is not kept. Raises UserError for too small a sample.
    """
    from harness.evaluation.gradients import measure_gradients
    from harness.modeling.encoder import Encoder

    first = next(iter(plans.values()))
    pairs = load_sample(_artifact(first, "sample", artifacts)).pairs
    distinct = list({pair.sentence: pair for pair in pairs}.values())[:PAIRS]
    sizes = [size for size in SIZES if size <= len(distinct)]
    if not sizes:
        raise UserError(
            "the sample is too small for this study",
            found=f"{len(distinct)} sentence pairs",
            expected=f"at least {SIZES[0]}",
            remedy="raise --set sample.size=N",
        )
    temperatures = sorted({*TEMPERATURES, temperature_of(first.recipe)})
    made = (stage for stage in first.stages if stage.kind == "pretrain")
    base = next((_path(stage, artifacts) for stage in made), Path(first.recipe.base))
    places = {"before alignment": base, **{name: _artifact(plan, "align", artifacts) for name, plan in plans.items()}}
    assert first.recipe.align is not None
    for state, path in places.items():
        encoder = Encoder.load(path).eval()
        sides = ([pair.source for pair in distinct], [pair.target for pair in distinct])
        x, y = (_sentence_vectors(encoder, texts, first.recipe.align.max_length) for texts in sides)
        yield from measure_gradients(CONTRASTS.get("nce"), state, x, y, sizes, temperatures)


def _artifact(plan: RunPlan, kind: str, artifacts: Artifacts) -> Path:
    return _path(next(stage for stage in plan.stages if stage.kind == kind), artifacts)


def _path(stage: Stage, artifacts: Artifacts) -> Path:
    found = artifacts.find(stage.fingerprint)
    if found is None:
        raise LostInputError(stage.fingerprint, stage.title)
    return found.path


def _sentence_vectors(encoder: Encoder, texts: Sequence[str], max_length: int) -> Tensor:
    """(n, H)"""
    import torch

    from harness.modeling.packing import PackedText
    from harness.training.finetuning import sweep

    def forward(text: PackedText) -> Tensor:
        states = encoder(text, layers=(1, -1))
        return torch.as_tensor(states.mean(1) + states.mean(-1))

    ids = encoder.tokenizer.encode(texts, min(max_length, encoder.max_length)).ids
    vectors = torch.zeros(len(texts), encoder.width)
    for swept in sweep(encoder, forward, ids):
        vectors[swept.rows] = swept.output
    return vectors

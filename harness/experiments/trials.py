"""Learning rates that are tried in fine-tuning, and the choice among them on the pivot's dev set.

Every rate is a stage of its own. The stage that predicts reads all of them and uses the best one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from harness.errors import UsageError
from harness.task import ENGLISH, TaskSettings, TaskSpec, TrainedSettings

CHOICE = "choice.json"  # the trials of a predicting stage, the best first
MODEL = "model"  # the role of a fine-tuned model among the inputs of a predicting stage


class LearningRateTrial(NamedTuple):
    """A fine-tuning with its score on the pivot's dev set, in percent."""

    rate: str
    fingerprint: str
    score: float


def check_trials(spec: TaskSpec, settings: TaskSettings, changes: Mapping[str, Any]) -> None:
    """Raises UsageError for rates that cannot be tried, or that have no effect."""
    rates = settings.learning_rates if isinstance(settings, TrainedSettings) else ()
    if any(rate <= 0 for rate in rates) or len(set(rates)) < len(rates):
        raise UsageError(
            f"the learning rates of {spec.name} cannot be tried",
            found=", ".join(map(str, rates)),
            expected="different rates above 0",
        )
    if len(rates) > 1 and "dev" not in spec.splits:
        raise UsageError(
            f"{spec.name} has no dev set that could choose a learning rate",
            found=f"learning_rates={list(rates)}",
            remedy=f"give a single one, --set tasks.{spec.name}.learning_rate={rates[0]:g}",
        )
    if rates and "learning_rate" in changes:
        raise UsageError(
            f"learning_rate has no effect where learning_rates are tried: {spec.name}",
            found=f"learning_rate={changes['learning_rate']}",
            remedy=f"give --set tasks.{spec.name}.learning_rates=[{changes['learning_rate']}]",
        )


def model_inputs(tried: Sequence[tuple[TrainedSettings, str]]) -> dict[str, str]:
    """The roles of fine-tuned models, given by settings and fingerprint, among the inputs of a predicting stage."""
    if len(tried) == 1:
        return {MODEL: tried[0][1]}
    return {f"{MODEL} {settings.learning_rate:g}": fingerprint for settings, fingerprint in tried}


def trials(inputs: Mapping[str, str]) -> dict[str, str]:
    """The fingerprints of the models among a predicting stage's inputs by rate; a single one has the rate ""."""
    return {role[len(MODEL) :].strip(): name for role, name in inputs.items() if role.partition(" ")[0] == MODEL}


def choose(
    tried: Mapping[str, Mapping[str, Any]], fingerprints: Mapping[str, str], metric: str
) -> list[LearningRateTrial]:
    """Trials from what each rate's fine-tuning left, the best one first; of equal ones the first in order stays."""
    found = [LearningRateTrial(rate, fingerprints[rate], pivot_score(fit, metric)) for rate, fit in tried.items()]
    return sorted(found, key=lambda trial: -trial.score)


def pivot_score(fit: Mapping[str, Any], metric: str) -> float:
    """The pivot's dev score at the step that selection on the pivot kept."""
    step, pivot = fit["kept"][ENGLISH], fit["pivot"]
    point = next(p for p in fit["curve"] if p["step"] == step and p["view"] == pivot)
    return float(point["metrics"][metric])

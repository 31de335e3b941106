"""What each method needs and what its terms move: a lacking corpus is refused by the plan, gradients stay in bounds.

The methods of one term are here together; the others' own tests ask of each term what it reaches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from harness.errors import UserError
from harness.experiments import plan
from harness.experiments.recipe import make_recipe
from harness.records import Corpus
from harness.registry import METHODS
from tests.support.small_babel import Trial, isolated, method_class, source

NEEDS = [(name, need) for name in METHODS.names() for need in sorted(METHODS.get(name).needs)]


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


class Without:
    """The small source without one corpus."""

    def __init__(self, kind: Corpus) -> None:
        self.kind, self.pivot, self.own_languages = kind, source().pivot, True

    def manifest(self, specs: Sequence[Any]) -> Any:
        whole = source().manifest(specs)
        return replace(whole, corpora=tuple(cell for cell in whole.corpora if cell.kind != self.kind))


@pytest.mark.parametrize(("name", "need"), NEEDS)
def test_a_source_without_what_a_method_needs_is_refused_by_name(
    name: str, need: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "cached_source", lambda uri: Without(need))
    recipe = make_recipe(method=name, base="init:2x64", source="babel:size=small", suite="xtreme-align")
    with pytest.raises(UserError, match=f"{name} needs a corpus that the source does not have") as refused:
        plan.plan_run(recipe, 0)
    assert refused.value.expected == need
    assert str(need) not in (refused.value.found or "").split(", ")


def test_every_trained_method_needs_something() -> None:
    assert {name for name, _ in NEEDS} == {name for name in METHODS.names() if METHODS.get(name).trains}


# Term: whether it reaches the lowest layer, the last one, the language-model head, and what the method trains beside.
REACHES = {
    "continued-mlm": {"mlm": (True, True, True, None)},
    "xlm": {"tlm": (True, True, True, None), "mlm": (True, True, True, None)},
    "dict-mlm": {"mlm": (True, True, True, True)},
    "info-snt": {"contrast": (True, True, False, True), "mlm_source": (True, True, True, False)},
    "cz-snt": {"contrast": (True, True, False, True), "mlm_target": (True, True, True, False)},
    "ml-ctl": {"contrast": (True, True, False, True), "mlm_source": (True, True, True, False)},
    "ml-ctl-cz": {"contrast": (True, True, False, True), "mlm_target": (True, True, True, False)},
    "word-contrast": {"contrast": (True, True, False, True)},
    "l2-align": {"align": (True, True, False, None)},
}


@pytest.mark.parametrize(("name", "term"), [(name, term) for name, terms in REACHES.items() for term in terms])
def test_a_term_has_gradients_exactly_where_it_should(name: str, term: str) -> None:
    trial = Trial(name, dropout=0.0)
    trial.method.loss(trial.encoder, trial.batch(), 0)[term].sum.backward()
    blocks, head = trial.encoder.blocks, trial.encoder.model.cls.predictions.transform.dense.weight
    own = [p for p in trial.method.parameters() if p.requires_grad]
    found = (
        moved([blocks[0].attention.self.query.weight]),
        moved([blocks[-1].output.dense.weight]),
        moved([head]),
        moved(own) if own else None,
    )
    assert found == REACHES[name][term]
    frozen = [p for p in (*trial.method.parameters(), *trial.encoder.parameters()) if not p.requires_grad]
    assert all(p.grad is None for p in frozen)
    assert method_class(name).trains


def moved(weights: Sequence[Any]) -> bool:
    return any(p.grad is not None and bool(p.grad.any()) for p in weights)

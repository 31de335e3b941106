"""Settings of methods that would train nonsense are refused by name, before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from harness.errors import UsageError, UserError
from harness.experiments.plan import plan_run
from harness.experiments.recipe import Recipe, make_recipe
from harness.records import Corpus
from harness.registry import METHODS
from methods.objectives.momentum import Queue
from tests.support.small_babel import corpora, method_class
from tests.support.tiny_runs import WORLD


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("ppa", {"temperature": 0.0}),
        ("ppa", {"temperature": -0.05}),
        ("ppa", {"width": 0}),
        ("ppa", {"queue": 0}),
        ("ppa", {"momentum": 1.5}),
        ("infoxlm", {"temperature": 0.0}),
        ("infoxlm", {"xlco_weight": float("nan")}),
        ("dict-mlm", {"exchange_rate": 1.5}),
        ("xlm-k", {"mention_mask_rate": 2.0}),
        ("xlm-k", {"queue": 0}),
        ("xlm-align", {"rounds": 0}),
        ("mmte", {"layers": 0}),
        ("mmte", {"dropout": -0.1}),
        ("ml-ctl-cz", {"temperature": 0.0}),
        ("info-snt", {"temperature": float("inf")}),
        ("xlm", {"mlm_weight": -1.0}),
        ("continued-mlm", {"mask_rate": 0.0}),
        ("align-mlm", {"share": 0.0}),
    ],
)
def test_a_value_that_would_train_nonsense_is_refused(name: str, setting: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(setting))):
        method_class(name).Config(**setting)


def changed(method: str, *changes: str) -> Recipe:
    return make_recipe(method=method, base="init:1x64", source=WORLD, suite="xnli,xquad,udpos", changes=changes)


def test_a_batch_of_one_pair_is_refused_where_negatives_come_from_the_batch() -> None:
    one = ("align.batch_size=1", "align.accumulation=64")
    with pytest.raises(UsageError, match=r"no negatives for info-snt(.|\n)*accumulation=64(.|\n)*adds no negatives"):
        plan_run(changed("info-snt", *one), 0)
    plan_run(changed("ppa", *one), 0)  # a queue holds its negatives


def test_only_tasks_on_what_a_method_changes_are_fine_tuned_with_it() -> None:
    stages = plan_run(changed("ppa-switch"), 0).stages
    assert {stage.task for stage in stages if stage.kind == "finetune" and stage.parameters["hook"]} == {"xnli"}


def test_no_number_of_any_method_may_be_infinite_or_none_at_all() -> None:
    asked = 0
    for name in METHODS.names():
        config = METHODS.get(name).Config
        for field, info in config.model_fields.items():
            if info.annotation is float:
                for value in (float("nan"), float("inf"), -1.0):
                    with pytest.raises(ValidationError, match=field):
                        config(**{field: value})
                    asked += 1
    assert asked > 60


@pytest.mark.parametrize(("name", "missing"), [("word-contrast", "word of the sample"), ("xlm-k", "mention")])
def test_a_maximal_length_that_cuts_off_all_words_is_refused(name: str, missing: str) -> None:
    cls = method_class(name)
    reads = corpora(cls)
    short = type(reads)(reads.sample, reads.tokenizer, reads.source, reads.languages, 2, cls.needs)
    with pytest.raises(UserError, match=f"every {missing}.* beyond the maximal length") as refused:
        cls().examples(short)
    assert refused.value.remedy == "raise align.max_length"


def test_methods_on_sentences_need_no_dictionary() -> None:
    for name in ("info-snt", "cz-snt"):
        assert method_class(name).needs == {Corpus.PARALLEL}
    for name in ("ml-ctl", "ml-ctl-cz"):
        assert method_class(name).needs == {Corpus.PARALLEL, Corpus.DICTIONARY}


def test_a_queue_knows_what_its_vectors_are_of() -> None:
    queue = Queue(4, 2, members=2)
    asked = torch.tensor([[1, 2], [5, 5], [9, 4]])
    assert queue.exclusion_mask(asked).all(), "an empty queue has no negatives"
    for about in ([[1, 3], [4, 5]], [[6, 7]]):
        queue.add(torch.ones(len(about), 2), torch.tensor(about))
        queue.push()
    assert queue.exclusion_mask(asked).tolist() == [
        [True, False, False, True],
        [False, True, False, True],
        [False, True, False, True],
    ]
    queue.add(torch.ones(2, 2), torch.tensor([[8, 8], [2, 2]]))  # the second overwrites the first place
    queue.push()
    assert queue.item_ids.tolist() == [[2, 2], [4, 5], [6, 7], [8, 8]]
    assert queue.exclusion_mask(asked)[0].tolist() == [True, False, False, False]

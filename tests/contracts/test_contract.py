"""What every method keeps: it learns, resumes to the bit, exports a plain checkpoint, and says what it is.

The suite runs over all registered methods.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModel, AutoModelForMaskedLM

from harness.registry import METHODS
from harness.training.loop import train
from tests.support.small_babel import Trial, isolated, method_class, sample, settings

TRAINED = [name for name in METHODS.names() if METHODS.get(name).trains]
ALL = TRAINED
HALVED = ("ml-ctl-cz", "l2-align", "xlm-e", "word-contrast")  # in CI; benchmarks.gpu tries all
PARTS = ("Reference:", "Objective:", "Inputs:", "Relations:")


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


def test_the_suite_covers_the_registered_methods() -> None:
    assert set(TRAINED) >= {"continued-mlm", "info-snt", "cz-snt", "ml-ctl", "ml-ctl-cz"}


@pytest.mark.parametrize("name", METHODS.names())
def test_a_method_documents_itself(name: str) -> None:
    cls = method_class(name)
    assert cls.name == name
    assert cls.reference
    assert cls.objective
    assert all(part in cls.__doc__ for part in PARTS)
    described = inspect.getdoc(cls.Config) or ""
    assert not [field for field in cls.Config.model_fields if f"{field}:" not in described.replace(",", ":")]
    with pytest.raises(ValidationError, match="Extra inputs"):
        cls.Config(no_such_setting=1)
    with pytest.raises(ValidationError, match="frozen"):
        cls.Config().no_such_setting = 1


@pytest.mark.parametrize("name", ALL)
def test_a_few_steps_lower_the_loss(name: str) -> None:
    trial = Trial(name, dropout=0.0)
    trial.examples = [trial.examples[i] for i in range(12)]
    run, batch = trial.run(learning_rate=2e-3), trial.batch(12)
    for _ in range(2):
        run.step()
    before = _evaluated(trial, batch)
    for _ in range(8):
        run.step()
        assert all(map(math.isfinite, run.read_losses().values()))
    assert _evaluated(trial, batch) < before


def _evaluated(trial: Trial, batch: Any) -> float:
    trial.step.eval()
    with torch.no_grad():
        return float(trial.loss(batch))


@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_the_encoder_and_the_head(name: str) -> None:
    trial = Trial(name)
    run = trial.run()
    for _ in range(2):
        run.step()
    trial.loss(trial.method.collate(trial.spread(), np.random.default_rng(0))).backward()
    weights = [*trial.encoder.base.named_parameters(), *trial.method.named_parameters()]
    without = [n for n, p in weights if p.requires_grad and p.ndim > 1 and (p.grad is None or not p.grad.any())]
    assert not without
    assert not [n for n, p in weights if not p.requires_grad and p.grad is not None]


NOT_RELEASED = {"amber", "ppa", "ppa-switch", "mmte", "veco2"}
NOT_COMPARED = {"l2-align", "xlm", "dict-mlm", "cz-snt"}


@pytest.mark.parametrize("name", sorted(set(TRAINED) - {"continued-mlm"}))
def test_a_card_says_whether_the_released_code_was_compared(name: str) -> None:
    """`continued-mlm` has no code of its own: its masking is tested against BERT's."""
    said = " ".join((method_class(name).__doc__ or "").partition("Released code:")[2].split())
    assert said
    assert (said == "none was to be had; the formulas were not compared with any.") == (name in NOT_RELEASED)
    assert ("to 1e-6 or better" in said) == (name not in NOT_RELEASED | NOT_COMPARED)


class Killed(Exception):
    pass


@pytest.mark.parametrize("name", ALL)
def test_resume_is_bit_exact(name: str, tmp_path: Path) -> None:
    whole, broken, again = (Trial(name) for _ in range(3))
    chosen = settings(checkpoint_seconds=0.0)
    trace = train(whole.step, whole.examples, whole.method.collate, chosen)
    steps = 0

    def dying(examples: Sequence[Any], rng: np.random.Generator) -> Any:
        nonlocal steps
        steps += 1
        if steps == 4:
            raise Killed
        return broken.method.collate(examples, rng)

    with pytest.raises(Killed):
        train(broken.step, broken.examples, dying, chosen, checkpoint=tmp_path / "state")
    assert train(again.step, again.examples, again.method.collate, chosen, checkpoint=tmp_path / "state") == trace
    for (key, a), b in zip(whole.step.state_dict().items(), again.step.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.parametrize("name", ALL)
def test_the_export_is_a_plain_checkpoint(name: str, tmp_path: Path) -> None:
    trial = Trial(name)
    plain = set(trial.encoder.state_dict())
    trial.run().step()
    trial.step.eval()
    exported = trial.method.export(trial.encoder)
    assert set(exported.state_dict()) == plain, "heads, queues and decoders stay behind"
    exported.save(tmp_path)
    model = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    text = trial.batch(4)["text"]
    with torch.no_grad():
        ours = exported(text, layers=(1, -1))
        rows = (tensor.split(text.lengths) for tensor in (text.ids, text.segments, ours.tokens(1), ours.tokens()))
        for ids, segments, first, last in zip(*rows, strict=True):
            states = model(ids[None], token_type_ids=segments[None], output_hidden_states=True).hidden_states
            torch.testing.assert_close(states[1][0], first, atol=1e-5, rtol=0)
            torch.testing.assert_close(states[-1][0], last, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in HALVED else pytest.mark.long) for n in ALL],  # benchmarks.gpu does all, too
)
def test_half_precision_gives_nearly_the_same_loss(name: str) -> None:
    means = {}
    for precision in ("fp32", "bf16"):
        run = Trial(name).run(precision=precision)
        for _ in range(5):
            run.step()
        means[precision] = run.read_losses()
    for term, full in means["fp32"].items():
        assert means["bf16"][term] == pytest.approx(full, abs=0.02 * max(abs(full), 1.0)), term


@pytest.mark.parametrize("name", ALL)
def test_counts_are_those_of_the_loss(name: str) -> None:
    trial = Trial(name)
    batch = trial.batch(7)
    counts = trial.method.counts(batch, 0)
    assert counts is not None, "accumulation would cost another pass"
    assert {term: float(made.count) for term, made in trial.method.loss(trial.encoder, batch, 0).items()} == counts


@pytest.mark.parametrize("name", ALL)
def test_recomputed_activations_give_the_same_gradients(name: str) -> None:
    trial = Trial(name, dropout=0.0)
    trial.step.double()  # batch norm in xlm-k multiplies rounding errors by thousands
    batch, found = trial.batch(12), []
    for tokens in (None, 60):
        trial.encoder.recompute = tokens
        torch.manual_seed(0)
        loss = trial.loss(batch)
        loss.backward()
        gradients = {n: p.grad.clone() for n, p in trial.step.named_parameters() if p.grad is not None}
        found.append((float(loss.detach()), gradients))
        trial.step.zero_grad(set_to_none=True)
    (loss, direct), (again, recomputed) = found
    assert again == pytest.approx(loss, rel=1e-5)
    assert direct.keys() == recomputed.keys()
    for weight, gradient in direct.items():
        assert (gradient - recomputed[weight]).abs().max() <= 1e-5 * max(1.0, gradient.abs().max()), weight


@pytest.mark.parametrize("name", ALL)
def test_two_micro_batches_make_a_step(name: str) -> None:
    trial = Trial(name)
    run = trial.run(batch=6, accumulation=2)
    for _ in range(3):
        run.step()
    assert run.trace.examples == 36
    assert all(map(math.isfinite, run.read_losses().values()))


# The contrastive methods, computed again in float64 from the paper's formulas and a plain model, sentence by sentence.


class Expected:
    """The loss of a batch by hand: one unpadded pass of the exported model per sentence, loops over the formulas."""

    def __init__(self, trial: Trial, examples: Sequence[Any], batch: Any, folder: Path) -> None:
        trial.encoder.save(folder)
        self.model = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
        self.model.eval()
        self.examples, self.n, self.config = examples, len(examples), trial.method.config
        self.words, self.decoupled = trial.method.words, trial.method.decoupled
        self.head = [p.double() for p in trial.method.head.parameters()]
        self.batch, self.lengths = batch, batch["text"].lengths
        self.passes = [self._pass(ids) for ids in batch["text"].ids.split(self.lengths)]

    def _pass(self, ids: torch.Tensor) -> Any:
        return self.model(input_ids=ids[None], output_hidden_states=True)

    def total(self) -> float:
        source, target = self.masked_lm()
        return self.contrast() + 0.1 * (source + target) / 2

    def masked_lm(self) -> tuple[float, float]:
        """Mean cross-entropy of each language's masked tokens."""
        losses: tuple[list[float], list[float]] = ([], [])
        ends = np.cumsum(self.lengths)
        for position, label in zip(self.batch["positions"].tolist(), self.batch["labels"].tolist(), strict=True):
            row = int(np.searchsorted(ends, position, side="right"))
            logits = self.passes[row].logits[0, position - int(ends[row] - self.lengths[row])]
            losses[row >= self.n].append(float(logits.exp().sum().log() - logits[label]))
        return float(np.mean(losses[0])), float(np.mean(losses[1]))

    def contrast(self) -> float:
        vectors = [self._vector(row) for row in range(2 * self.n)]
        anchors = range(2 * self.n if self.config.symmetric else self.n)
        return float(np.mean([self._loss(anchor, vectors) for anchor in anchors]))

    def _vector(self, row: int) -> np.ndarray:
        first, last = (self.passes[row].hidden_states[layer][0] for layer in (1, -1))
        u = first.mean(0) + last.mean(0)
        if self.words:
            example = self.examples[row % self.n]
            start, end = example.source_span if row < self.n else example.target_span
            u = torch.cat([u, sum(h[start:end].sum(0) for h in (first, last)) / (end - start)])
        w1, b1, w2, b2 = self.head
        return (w2 @ torch.clamp(w1 @ u + b1, min=0) + b2).numpy()

    def _loss(self, anchor: int, vectors: list[np.ndarray]) -> float:
        partner = (anchor + self.n) % (2 * self.n)
        group = [example.sentence for example in self.examples] * 2
        others = [
            k
            for k in range(2 * self.n)
            if k not in (anchor, partner) and not (self.config.exclude_same_sentence and group[k] == group[anchor])
        ]
        positive = math.exp(_cosine(vectors[anchor], vectors[partner]) / 0.07)
        negatives = sum(math.exp(_cosine(vectors[anchor], vectors[k]) / 0.07) for k in others)
        return -math.log(positive / (negatives if self.decoupled else positive + negatives))


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def _with_repeats(trial: Trial, n: int) -> list[Any]:
    """Examples among which one sentence comes back with another word."""
    examples = sorted((trial.examples[i] for i in range(len(trial.examples))), key=lambda e: e.sentence)
    twice = next(i for i in range(1, len(examples)) if examples[i].sentence == examples[i - 1].sentence)
    chosen = [*examples[twice - 1 : twice + 1], *examples[:n]][:n]
    assert len({e.sentence for e in chosen}) < n
    return chosen


@pytest.mark.parametrize("code_exact", [False, True])
@pytest.mark.parametrize("name", ["info-snt", "cz-snt", "ml-ctl", "ml-ctl-cz"])
@torch.no_grad()
def test_the_loss_is_that_of_the_paper(name: str, code_exact: bool, tmp_path: Path) -> None:
    trial = Trial(name, dropout=0.0, code_exact=code_exact)
    trial.step.eval()
    examples = _with_repeats(trial, 6)
    batch = trial.method.collate(examples, np.random.default_rng(1))
    expected = Expected(trial, examples, batch, tmp_path)
    trial.step.double()
    terms = {n: float(term.sum / term.count) for n, term in trial.method.loss(trial.encoder, batch, 0).items()}
    source, target = expected.masked_lm()
    assert terms["contrast"] == pytest.approx(expected.contrast(), rel=1e-9)
    assert terms["mlm_source"] == pytest.approx(source, rel=1e-5)  # the head's logits are rounded to float32
    assert terms["mlm_target"] == pytest.approx(target, rel=1e-5)
    assert float(trial.loss(batch)) == pytest.approx(expected.total(), rel=1e-5)


def test_the_released_script_anchors_the_pivot_alone() -> None:
    for exact, anchors in ((False, 24), (True, 12)):
        trial = Trial("ml-ctl-cz", code_exact=exact)
        assert trial.method.loss(trial.encoder, trial.batch(12), 0)["contrast"].count == anchors


def test_the_released_script_starts_from_a_random_head_and_lower_case() -> None:
    pairs = [replace(pair, source=pair.source.title()) for pair in sample()]
    plain, exact = Trial("cz-snt", pairs=pairs), Trial("cz-snt", pairs=pairs, code_exact=True)
    assert plain.encoder.model.cls.predictions.decoder.weight is plain.encoder.input_embeddings
    assert exact.encoder.model.cls.predictions.decoder.weight is not exact.encoder.input_embeddings
    assert [pair.source for pair in plain.examples.pairs] == [pair.source for pair in pairs]
    assert [pair.source for pair in exact.examples.pairs] == [pair.source.lower() for pair in pairs]


@pytest.mark.parametrize(
    "against", [{"symmetric": True}, {"lowercase": False}, {"separate_passes": False}, {"masked_contrast": False}]
)
def test_the_released_script_cannot_be_contradicted(against: dict[str, bool]) -> None:
    config = method_class("ml-ctl-cz").Config
    (field, value) = next(iter(against.items()))
    with pytest.raises(ValidationError, match=f"code_exact contradicts {field}={value}"):
        config(code_exact=True, **against)
    assert config(code_exact=True, **{field: not value}).code_exact

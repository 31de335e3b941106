"""Training steps and encoding side by side: the harness, Hugging Face with padding, and the released ML-CTL recipe.

    python -m benchmarks.training [--layers 12] [--hidden 768] [--vocabulary 119547] [--pairs 64] [--batch 32]
        [--runs 7] [--threads 1] [--device cpu|cuda] [--precision fp32|bf16] [--only alignment finetuning encoding]
        [--json FILE]

Alignment is CZ-NCE on sentence means with masked LM on both sides, of pairs of about 27 tokens a side; fine-tuning is
classification of pairs as long as those of XNLI; encoding means over the last layer. Token ids are random, weights too.
The peers use transformers' own models with padding to the longest of the batch ("dynamic"), batches of similar length
("length-grouped"), or 128 tokens ("fixed"). "released recipe" is fixed padding, four passes (each side plain and
masked), the vocabulary head on every token, fp32. All update with fused AdamW. The contestants take turns; printed are
medians and the ratio to the harness.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, PreTrainedModel

from harness.method import Batch, Term
from harness.modeling.encoder import Encoder, States
from harness.modeling.packing import PackedText, pack
from harness.modeling.tokenizer import Ragged, Tokenizer
from harness.training.finetuning import sweep
from harness.training.loop import Run, Step, TrainSettings, precision
from harness.training.pretraining import learn_tokenizer
from methods.objectives.contrastive import cz_nce
from methods.objectives.masking import masked_batch, masked_lm
from tasks.families.heads import PairHead

TEMPERATURE, FIXED, LABELS, FIRST_ID = 0.07, 128, 3, 200
Sentence = np.ndarray
Contestant = Callable[[], Any]  # one step


class Setting(NamedTuple):
    """The encoder's shape, the sizes of the batches, and where and how it runs."""

    layers: int
    hidden: int
    vocabulary: int
    pairs: int
    batch: int
    device: str
    precision: str

    @property
    def config(self) -> BertConfig:
        heads = max(1, self.hidden // 64)
        return BertConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=heads,
            intermediate_size=4 * self.hidden,
            num_labels=LABELS,
        )

    def encoder(self) -> Encoder:
        torch.manual_seed(0)
        tokenizer = Tokenizer(learn_tokenizer(["a b c d"], 101, 512))
        return Encoder.fresh(self.config, tokenizer).to(self.device)


class AlignmentObjective(nn.Module):
    """CZ-NCE over sentence means and masked LM; examples are pairs of sentences."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.tokenizer, self.vocabulary = encoder.tokenizer, encoder.config.vocab_size

    def collate(self, pairs: Sequence[tuple[Sentence, Sentence]], rng: np.random.Generator) -> Batch:
        text = pack([x for x, _ in pairs] + [y for _, y in pairs], special_ids=self.tokenizer.special_ids)
        return masked_batch(text, self.tokenizer, rng)

    def counts(self, batch: Batch, step: int) -> None:
        return None

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        states = encoder(batch["text"])
        x, y = states.mean().chunk(2)
        mlm = masked_lm(encoder, states.tokens(), batch["positions"], batch["labels"])
        return {"contrast": Term(cz_nce(x, y, temperature=TEMPERATURE), 1.0), "mlm": mlm}

    def after_step(self, encoder: Encoder) -> None:
        """Nothing to update."""


class LabelledRow(NamedTuple):
    ids: Sentence
    label: int


def lengths(rng: np.random.Generator, count: int, mean: float, spread: float) -> list[int]:
    """Log-normal lengths with this mean, from 5 to 128, as sentences have."""
    values = rng.lognormal(np.log(mean) - spread**2 / 2, spread, count)
    return [int(n) for n in np.clip(values, 5, FIXED)]


def sentences(setting: Setting, count: int, mean: float, spread: float, seed: int) -> list[Sentence]:
    rng = np.random.default_rng(seed)
    return [rng.integers(FIRST_ID, setting.vocabulary, n) for n in lengths(rng, count, mean, spread)]


def padded(rows: Sequence[Sentence], width: int | None, device: str) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask`, padded to `width` or to the longest row."""
    width = width or max(map(len, rows))
    ids = np.zeros((len(rows), width), dtype=np.int64)
    mask = np.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)], mask[number, : len(row)] = row, 1
    return {"input_ids": torch.from_numpy(ids).to(device), "attention_mask": torch.from_numpy(mask).to(device)}


def mean_states(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


def update(model: nn.Module, loss: Callable[[], Tensor], setting: Setting, half: str) -> Contestant:
    """A step of a peer: loss, backward pass, clipping, AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, fused=True)

    def step() -> None:
        with precision(half, torch.device(setting.device)):
            value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def masked(batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """15% of the tokens replaced by a mask, and the labels, -100 elsewhere."""
    chosen = (torch.rand(batch["input_ids"].shape, device=batch["input_ids"].device) < 0.15) & (
        batch["attention_mask"] > 0
    )
    labels = batch["input_ids"].masked_fill(~chosen, -100)
    return {**batch, "input_ids": batch["input_ids"].masked_fill(chosen, 103)}, labels


def alignment(setting: Setting) -> dict[str, Contestant]:
    count = 40 * setting.pairs
    sides = (sentences(setting, count, 27, 0.45, seed) for seed in (1, 2))
    pairs = list(zip(*sides, strict=True))
    ours = own_step(setting, pairs, AlignmentObjective)
    return {
        "harness": ours,
        "HF, dynamic": padded_alignment(setting, pairs, None, setting.precision, released=False),
        "released recipe": padded_alignment(setting, pairs, FIXED, "fp32", released=True),
    }


def own_step(setting: Setting, examples: Sequence[Any], objective: Callable[[Encoder], Any]) -> Contestant:
    encoder = setting.encoder()
    made = objective(encoder).to(setting.device)
    settings = TrainSettings(10**6, 2e-5, setting.pairs, schedule="constant", precision=setting.precision)
    return Run(Step(encoder, made), examples, made.collate, settings, None).step


def padded_alignment(setting: Setting, pairs: Sequence[Any], width: int | None, half: str, *, released: bool) -> Any:
    torch.manual_seed(0)
    model = BertForMaskedLM(setting.config).to(setting.device).train()
    batches = _random_batches(pairs, setting.pairs)

    def loss() -> Tensor:
        chosen = next(batches)
        total: Tensor = torch.zeros((), device=setting.device)
        vectors = []
        for side in (0, 1):
            batch = padded([pair[side] for pair in chosen], width, setting.device)
            inputs, labels = masked(batch)
            states = model.bert(**inputs).last_hidden_state
            scored = states if released else states[labels >= 0]
            targets = labels.flatten() if released else labels[labels >= 0]
            total = total + cross_entropy(model.cls(scored).flatten(0, -2).float(), targets)
            plain = model.bert(**batch).last_hidden_state if released else states
            vectors.append(mean_states(plain, batch["attention_mask"]).float())
        return total + cz_nce(vectors[0], vectors[1], temperature=TEMPERATURE) / (2 * len(chosen))

    return update(model, loss, setting, half)


def finetuning(setting: Setting) -> dict[str, Contestant]:
    rows = sentences(setting, 60 * setting.batch, 39, 0.5, 3)
    examples = [LabelledRow(row, number % LABELS) for number, row in enumerate(rows)]
    return {
        "harness": own_step(setting._replace(pairs=setting.batch), examples, _classifier),
        "HF, length-grouped": padded_finetuning(setting, examples, None, grouped=True),
        "HF, dynamic": padded_finetuning(setting, examples, None, grouped=False),
        "HF, fixed": padded_finetuning(setting, examples, FIXED, grouped=False),
    }


def _classifier(encoder: Encoder) -> Any:
    head: Any = PairHead(encoder, LABELS)
    head.initialise(0.02)
    head.collate = lambda chosen, _: {
        "text": pack([e.ids for e in chosen]),
        "labels": torch.tensor([e.label for e in chosen]),
    }
    return head


def padded_finetuning(setting: Setting, examples: Sequence[LabelledRow], width: int | None, *, grouped: bool) -> Any:
    torch.manual_seed(0)
    model = BertForSequenceClassification(setting.config).to(setting.device).train()
    batches = (_grouped_batches if grouped else _random_batches)(examples, setting.batch)

    def loss() -> Tensor:
        chosen = next(batches)
        labels = torch.tensor([e.label for e in chosen]).to(setting.device)
        return model(**padded([e.ids for e in chosen], width, setting.device), labels=labels).loss  # type: ignore[no-any-return]

    return update(model, loss, setting, setting.precision)


def encoding(setting: Setting) -> dict[str, Contestant]:
    rows = sentences(setting, 16 * setting.batch, 27, 0.45, 4)
    ids, encoder = Ragged.of([row.tolist() for row in rows]), setting.encoder().eval()
    model: PreTrainedModel = BertForMaskedLM(setting.config).bert.to(setting.device).eval()
    model.load_state_dict(encoder.base.state_dict())
    device, half = torch.device(setting.device), setting.precision

    def harness(layer: int = -1) -> list[Tensor]:
        def means(text: PackedText) -> Tensor:
            states: States = encoder(text, layers=(layer,))
            return states.mean(layer)

        return [swept.output for swept in sweep(encoder, means, ids, precision=half)]

    def sentence_transformers() -> list[Tensor]:
        order = sorted(range(len(rows)), key=lambda n: -len(rows[n]))
        out = []
        for start in range(0, len(order), setting.batch):
            batch = padded([rows[n] for n in order[start : start + setting.batch]], None, setting.device)
            with torch.inference_mode(), precision(half, device):
                out.append(mean_states(model(**batch).last_hidden_state, batch["attention_mask"]).float().cpu())
        return out

    distance = 1 - torch.cosine_similarity(torch.cat(harness()), torch.cat(sentence_transformers())).min()
    assert distance < (1e-4 if half == "fp32" else 1e-2), f"the vectors differ by a cosine of {distance}"
    early = max(1, 2 * setting.layers // 3)
    return {
        "harness": harness,
        "sentence-transformers' way": sentence_transformers,
        f"harness, layer {early}": lambda: harness(early),
    }


def _random_batches(examples: Sequence[Any], size: int) -> Iterator[list[Any]]:
    rng = np.random.default_rng(0)
    while True:
        order = rng.permutation(len(examples))
        yield from ([examples[i] for i in order[n : n + size]] for n in range(0, len(order) - size + 1, size))


def _grouped_batches(examples: Sequence[LabelledRow], size: int) -> Iterator[list[LabelledRow]]:
    """As the Trainer's sampler: within random groups of 50 batches, sorted by length."""
    rng = np.random.default_rng(0)
    while True:
        order = rng.permutation(len(examples))
        groups = (order[n : n + 50 * size] for n in range(0, len(order), 50 * size))
        ordered = [i for group in groups for i in sorted(group, key=lambda n: -len(examples[n].ids))]
        yield from ([examples[i] for i in ordered[n : n + size]] for n in range(0, len(ordered) - size + 1, size))


CONTESTS: dict[str, Callable[[Setting], dict[str, Contestant]]] = {
    "alignment": alignment,
    "finetuning": finetuning,
    "encoding": encoding,
}


def measure(contestants: dict[str, Contestant], runs: int, device: str) -> dict[str, float]:
    """Median seconds of each contestant's step; they take turns after one step to warm up."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(runs + 1):
        for name, step in contestants.items():
            _wait(device)
            start = time.perf_counter()
            step()
            _wait(device)
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def run(setting: Setting, runs: int, only: Sequence[str] = tuple(CONTESTS)) -> dict[str, dict[str, float]]:
    """Runs and prints contests; returns the median seconds of a step by contest and contestant."""
    figures = {}
    for name in only:
        medians = measure(CONTESTS[name](setting), runs, setting.device)
        figures[name] = medians
        for contestant, seconds in medians.items():
            ratio = seconds / medians["harness"]
            print(f"{name:11} {contestant:28} {1e3 * seconds:10.1f} ms {ratio:7.2f} x", flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("layers", 12), ("hidden", 768), ("vocabulary", 119_547), ("pairs", 64), ("batch", 32)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--only", choices=CONTESTS, nargs="+", default=list(CONTESTS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    setting = Setting(*(getattr(options, name) for name in Setting._fields))
    machine = platform.processor() or platform.machine()
    print(f"{machine}, torch {torch.__version__}, {options.threads} thread(s), {setting}")
    figures = run(setting, options.runs, options.only)
    if options.json:
        options.json.write_text(json.dumps({"setting": setting._asdict(), "seconds": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()

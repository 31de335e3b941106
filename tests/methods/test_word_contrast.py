"""word-contrast and l2-align: the same word pairs, with negatives and without."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel

from harness.data.matching import Lexicon
from harness.errors import UserError
from harness.records import Corpus, Span
from methods.objectives.word_vectors import WordFinder, first_occurrences
from tests.support.small_babel import Trial, corpora, isolated, sample, tokenizer
from validation.probes.words import l2_align, word_contrast

NAMES = ("word-contrast", "l2-align")


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


class Words:
    """The states of a batch's word pairs by hand: matched in the text, one unpadded pass per sentence."""

    def __init__(self, trial: Trial, numbers: list[int], folder: Path, subword: str, identical: bool) -> None:
        trial.encoder.save(folder)
        model = AutoModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float64).eval()
        reads = corpora(type(trial.method))
        entries: Any = reads.records(Corpus.DICTIONARY)
        chosen = {sample()[i].sentence: sample()[i] for i in numbers}
        self.x, self.y, self.pivot, self.foreign, self.others, self.ends = [], [], [], [], ([], []), []
        for pair in chosen.values():
            matches = Lexicon([e for e in entries if e.language == pair.language]).matches(pair.source, pair.target)
            states = [self._states(model, reads.tokenizer.hf, text) for text in (pair.source, pair.target)]
            self.pivot.append(states[0][0])
            self.foreign.append(states[1][0])
            paired: tuple[list[Any], list[Any]] = ([], [])
            for spans in matches:
                a, b = (t[slice(*span)] for t, span in zip((pair.source, pair.target), spans, strict=True))
                if identical or a != b:
                    for side, state, span, told in zip((self.x, self.y), states, spans, paired, strict=True):
                        side.append(self._word(*state, span, subword))
                        told.append(span)
            for text, state, told, others in zip((pair.source, pair.target), states, paired, self.others, strict=True):
                words = self._words(reads.tokenizer.hf, text)
                free = [w for w in words if not any(w.start < s.end and s.start < w.end for s in told)]
                others.extend(self._word(*state, word, subword) for word in free)
            last = [self._word(*states[0], word, subword) for word in self._words(reads.tokenizer.hf, pair.source)]
            self.ends.append([states[0][0][0], *last, states[0][0][-1]])

    @staticmethod
    @torch.no_grad()
    def _states(model: Any, tokenizer: Any, text: str) -> Any:
        out = tokenizer(text, return_offsets_mapping=True)
        return model(torch.tensor([out.input_ids])).last_hidden_state[0].numpy(), out.offset_mapping

    @staticmethod
    def _words(tokenizer: Any, text: str) -> list[Span]:
        """The code points of each word of a text: a piece and those after it that start with ##."""
        out = tokenizer(text, return_offsets_mapping=True)
        words: list[list[int]] = []
        for piece, (start, end) in zip(tokenizer.convert_ids_to_tokens(out.input_ids), out.offset_mapping, strict=True):
            if piece.startswith("##"):
                words[-1][1] = end
            elif end > start:
                words.append([start, end])
        return [Span(*word) for word in words]

    @staticmethod
    def _word(states: np.ndarray, offsets: Any, span: Any, subword: str) -> np.ndarray:
        inside = [i for i, (a, b) in enumerate(offsets) if a < span.end and b > span.start and b > a]
        kept = {"first": inside[:1], "last": inside[-1:], "mean": inside}[subword]
        return sum(states[i] for i in kept) / len(kept)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def prepared(name: str, numbers: list[int], **config: Any) -> tuple[Trial, Any]:
    """A method that has moved away from its original weights, and a batch; in float64."""
    trial = Trial(name, dropout=0.0, **config)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in trial.encoder.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    trial.step.eval().double()
    return trial, trial.method.collate([trial.examples[i] for i in numbers], np.random.default_rng(0))


@pytest.mark.parametrize("candidates", ["aligned", "all"])
@pytest.mark.parametrize(("strength", "subword"), [("weak", "first"), ("strong", "first"), ("strong", "mean")])
@torch.no_grad()
def test_the_contrast_is_that_of_the_papers(strength: str, subword: str, candidates: str, tmp_path: Path) -> None:
    numbers = list(range(5))
    trial, batch = prepared("word-contrast", numbers, strength=strength, subword=subword, candidates=candidates)
    words = Words(trial, numbers, tmp_path, subword, identical=False)
    first, second = (p.numpy() for p in trial.method.head.parameters())
    x, y, *rest = ([second @ np.maximum(first @ v, 0) for v in side] for side in (words.x, words.y, *words.others))
    assert min(map(len, rest)) > 10
    more = rest if candidates == "all" else ([], [])
    losses = []
    for own, other, here, there in ((x, y, *more), (y, x, *reversed(more))):
        for i, anchor in enumerate(own):
            candidates = [*other, *there]
            if strength == "strong":
                candidates += [*here, *(v for j, v in enumerate(own) if j != i)]
            total = sum(math.exp(cosine(anchor, c) / 0.1) for c in candidates)
            losses.append(-math.log(math.exp(cosine(anchor, other[i]) / 0.1) / total))
    terms = trial.method.loss(trial.encoder, batch, 0)
    assert terms["contrast"].count == len(losses) > 10
    assert float(terms["contrast"].sum / terms["contrast"].count) == pytest.approx(np.mean(losses), rel=1e-9)


@torch.no_grad()
def test_the_regulariser_of_word_contrast_is_the_norm_of_all_changes() -> None:
    trial, batch = prepared("word-contrast", [0, 1], regulariser=0.3)
    original = Trial("word-contrast", dropout=0.0).encoder
    pairs = zip(trial.encoder.base.parameters(), original.base.parameters(), strict=True)
    squares = [((a - b.double()) ** 2).sum() for a, b in pairs]
    term = trial.method.loss(trial.encoder, batch, 0)["distance"]
    assert float(term.sum) == pytest.approx(math.sqrt(float(sum(squares))), rel=1e-6)
    assert (term.count, term.weight) == (1.0, 0.3)


@pytest.mark.parametrize("subword", ["last", "mean"])
@torch.no_grad()
def test_the_loss_of_l2_align_is_that_of_the_paper(subword: str, tmp_path: Path) -> None:
    numbers = [0, 3, 5, 8]
    trial, batch = prepared("l2-align", numbers, subword=subword, regulariser=0.5, form="sum")
    (tmp_path / "old").mkdir()
    now = Words(trial, numbers, tmp_path, subword, identical=True)
    before = Words(Trial("l2-align", dropout=0.0), numbers, tmp_path / "old", subword, identical=True)
    align = sum(float(((a - b) ** 2).sum()) for a, b in zip(now.x, now.y, strict=True))
    stay = sum(float(((a - b) ** 2).sum()) for a, b in zip(now.pivot, before.pivot, strict=True))
    expected = (align + 0.5 * stay) / len(now.pivot)
    assert stay > 0.01
    assert float(trial.loss(batch)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("subword", ["last", "mean"])
@torch.no_grad()
def test_the_loss_of_l2_align_is_that_of_the_released_script(subword: str, tmp_path: Path) -> None:
    """Each term a mean of its own over words and units, [CLS] and [SEP] aligned too, towards the frozen encoder."""
    numbers = [0, 3, 5, 8]
    trial, batch = prepared("l2-align", numbers, subword=subword, regulariser=0.5)
    (tmp_path / "old").mkdir()
    now = Words(trial, numbers, tmp_path, subword, identical=True)
    before = Words(Trial("l2-align", dropout=0.0), numbers, tmp_path / "old", subword, identical=True)
    pairs = [*zip(now.y, before.x, strict=True)]
    pairs += [(y[end], x[end]) for y, x in zip(now.foreign, before.pivot, strict=True) for end in (0, -1)]
    align = np.mean([(a - b) ** 2 for a, b in pairs])
    ends = [[*zip(a, b, strict=True)] for a, b in zip(now.ends, before.ends, strict=True)]
    stay = np.mean([(a - b) ** 2 for sentence in ends for a, b in sentence])
    terms = trial.method.loss(trial.encoder, batch, 0)
    found = {name: float(term.sum / term.count) for name, term in terms.items()}
    assert found["align"] == pytest.approx(align, rel=1e-5)
    assert found["stay"] == pytest.approx(stay, rel=1e-5)
    assert float(trial.loss(batch)) == pytest.approx(align + 0.5 * stay, rel=1e-5)


@pytest.mark.parametrize("form", ["released", "sum"])
def test_the_drift_of_the_pivot_is_logged_and_not_minimized(form: str, tmp_path: Path) -> None:
    numbers = [0, 3, 5, 8]
    trial, batch = prepared("l2-align", numbers, form=form)
    (tmp_path / "old").mkdir()
    now = Words(trial, numbers, tmp_path, "last", identical=True)
    before = Words(Trial("l2-align", dropout=0.0), numbers, tmp_path / "old", "last", identical=True)
    changes = [(a - b) ** 2 for a, b in zip(now.pivot, before.pivot, strict=True)]
    drift = trial.method.loss(trial.encoder, batch, 0)["drift"]
    assert float(drift.sum / drift.count) == pytest.approx(np.concatenate(changes).mean(), rel=1e-5)
    assert drift.weight == 0
    assert not drift.sum.requires_grad
    logged = Trial("l2-align", form=form).run()
    for _ in range(3):
        logged.step()
    assert logged.read_losses()["drift"] > 0


def keep_embeddings(trial: Trial) -> list[torch.Tensor]:
    """The embeddings of every later pass, each with its gradient."""
    held: list[torch.Tensor] = []
    embed = trial.encoder.embed

    def embed_and_keep(*given: Any) -> torch.Tensor:
        held.append(embed(*given))
        held[-1].retain_grad()
        return held[-1]

    trial.encoder.embed = embed_and_keep
    return held


def test_the_released_form_moves_the_foreign_words_alone() -> None:
    trial, batch = prepared("l2-align", [0, 1, 2])
    held = keep_embeddings(trial)
    trial.method.loss(trial.encoder, batch, 0)["align"].sum.backward()
    moved = held[0].grad.abs().sum(1) > 0
    assert moved.tolist() == [i >= batch["pivot"].tokens for i in range(batch["text"].tokens)]


def test_the_original_encoder_takes_no_gradient_and_does_not_change() -> None:
    for name in NAMES:
        trial = Trial(name)
        run = trial.run()
        before = {n: v.clone() for n, v in trial.method.original.state_dict().items()}
        for _ in range(2):
            run.step()
            assert all(math.isfinite(v) for v in run.read_losses().values())
        assert all(torch.equal(v, before[n]) for n, v in trial.method.original.state_dict().items())
        assert not any(module.training for module in trial.method.original.modules())
    assert Trial("word-contrast", regulariser=0.0).method.original is None
    assert Trial("l2-align", regulariser=0.0, form="sum").method.original is None


def test_the_regulariser_of_l2_align_changes_only_the_pivot_side() -> None:
    trial, batch = prepared("l2-align", [0, 1, 2])
    held = keep_embeddings(trial)
    trial.method.loss(trial.encoder, batch, 0)["stay"].sum.backward()
    moved = held[0].grad.abs().sum(1) > 0
    assert moved.tolist() == [i < batch["pivot"].tokens for i in range(batch["text"].tokens)]


@pytest.mark.parametrize("candidates", ["aligned", "all"])
@torch.no_grad()
def test_words_of_a_repeated_sentence_are_not_negatives_of_themselves(candidates: str) -> None:
    trial = Trial("word-contrast", dropout=0.0, candidates=candidates)
    numbers = [i for i in range(len(sample())) if trial.examples[i].words][:3]
    once, twice = (
        trial.method.loss(
            trial.encoder, trial.method.collate([trial.examples[i] for i in rows], np.random.default_rng(0)), 0
        )["contrast"]
        for rows in (numbers, [numbers[1], *numbers, numbers[0]])
    )
    assert twice.count == once.count
    assert float(twice.sum) == pytest.approx(float(once.sum), rel=1e-5)


def test_words_of_a_sentence_are_pieces_with_those_that_continue_them() -> None:
    text = sample()[0].source
    ids = tokenizer().hf(text).input_ids
    found = WordFinder(tokenizer()).words(np.array(ids))
    pieces = tokenizer().hf.convert_ids_to_tokens(ids)
    words = ["".join(piece.removeprefix("##") for piece in pieces[a:b]) for a, b in found]
    assert "".join(words) == "".join(text.split())
    assert any(b - a > 1 for a, b in found)
    assert not any(pieces[a].startswith("##") for a, _ in found)
    assert WordFinder(tokenizer()).words(np.array(ids[:1])) == []


def test_first_occurrences_of_word_ids() -> None:
    names = torch.tensor([(7, 0), (7, 1), (2, 0), (7, 1), (2, 0), (2, 1)])
    assert first_occurrences(names).tolist() == [0, 1, 2, 5]
    assert first_occurrences(names[:0]).tolist() == []


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_word_pairs_gives_no_gradient(name: str) -> None:
    trial = Trial(name, regulariser=0.0, **({"form": "sum"} if name == "l2-align" else {}))
    batch = trial.method.collate([trial.examples[0]._replace(words=())], np.random.default_rng(0))
    for term in trial.method.loss(trial.encoder, batch, 0).values():
        assert not term.sum.detach()
        term.sum.backward()
    assert not any(p.grad.any() for p in trial.encoder.parameters() if p.grad is not None)


def test_one_word_pair_alone_has_no_negatives() -> None:
    for strength in ("weak", "strong"):
        trial = Trial("word-contrast", strength=strength, dropout=0.0)
        example = next(e for e in (trial.examples[i] for i in range(64)) if e.words)
        batch = trial.method.collate([example._replace(words=example.words[:1])], np.random.default_rng(0))
        assert float(trial.method.loss(trial.encoder, batch, 0)["contrast"].sum.detach()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_without_word_pairs_is_refused(name: str) -> None:
    strange = [replace(pair, source="?", target="!", source_span=None, target_span=None) for pair in sample()[:3]]
    with pytest.raises(UserError, match="matches no sentence of the sample"):
        Trial(name, pairs=strange)


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_words_in_context_find_their_translations(seed: int) -> None:
    found = word_contrast(seed)
    assert found["words"] > max(found["words_base"], found["words_without"]) + 5


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_words_find_their_translations_without_negatives_and_the_pivot_stays(seed: int) -> None:
    found = l2_align(seed)
    assert found["words"] > found["words_base"] + 5
    assert found["moved"] < found["moved_without"]

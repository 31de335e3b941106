"""A new base: the same tokenizer in every process, specials first, and a masked-LM loss that falls."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.errors import UserError
from harness.experiments.recipe import make_recipe
from harness.modeling.tokenizer import Tokenizer
from harness.storage.artifacts import Artifacts
from harness.storage.usage import in_use
from harness.training.pretraining import SPECIAL, RunningText, learn_tokenizer, new_encoder, pretrain
from harness.training.settings import PretrainSettings
from methods.objectives.pretraining import MaskedLanguageModel
from tests.support.cli_calls import run_command

TEXTS = [f"{a}{b}o {b}{c}a l{c}{a}e ver{b} {a}!" for a in ("ka", "bo", "ßi", "né") for b in "pqrstv" for c in "mnzx"]
SCRIPT = (
    "from tests.training.test_pretraining import TEXTS\nfrom harness.training.pretraining import learn_tokenizer\n"
    "print(sorted(learn_tokenizer(TEXTS, 120, 32).get_vocab().items()))"
)


def test_the_vocabulary_is_the_same_in_every_process() -> None:
    """Where a string has another hash."""
    root = Path(__file__).parents[2]
    printed = subprocess.check_output([sys.executable, "-c", SCRIPT], cwd=root, text=True)
    assert printed == f"{sorted(learn_tokenizer(TEXTS, 120, 32).get_vocab().items())}\n"


def test_special_tokens_come_first_and_words_are_cut_as_bert_cuts_them() -> None:
    tokenizer = learn_tokenizer(TEXTS, 120, 32)
    assert [tokenizer.convert_ids_to_tokens(i) for i in range(5)] == list(SPECIAL)
    ids = tokenizer("kapo né!", "ßiqo").input_ids
    assert ids[0] == tokenizer.cls_token_id
    assert ids.count(tokenizer.sep_token_id) == 2
    assert tokenizer.unk_token_id not in ids
    assert tokenizer("##ka").input_ids[1] != tokenizer.convert_tokens_to_ids("##k")


def test_a_new_encoder_learns() -> None:
    settings = PretrainSettings(
        layers=1, hidden=64, vocab_size=120, steps=60, batch_tokens=300, learning_rate=5e-3, max_length=32
    )
    encoder, trace = pretrain(TEXTS, settings, MaskedLanguageModel, torch.device("cpu"))
    assert trace.losses[-1]["mlm"] < trace.losses[0]["mlm"] - 0.5
    assert encoder.depth == 1
    assert encoder.max_length == 32


def test_zero_steps_leave_the_weights_of_a_new_encoder() -> None:
    settings = PretrainSettings(layers=1, hidden=64, vocab_size=120, steps=0, max_length=32)
    encoder, trace = pretrain(TEXTS, settings, MaskedLanguageModel, torch.device("cpu"))
    assert (trace.steps, trace.losses) == (0, [])
    fresh = new_encoder(settings, encoder.tokenizer)
    for ours, theirs in zip(encoder.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    changes = ["pretrain.steps=0"]
    chosen = make_recipe(method="align-mlm", base="init:1x64", source="babel", suite="xtreme", changes=changes)
    assert chosen.pretrain is not None
    assert chosen.pretrain.steps == 0


def test_a_second_sentence_is_a_second_segment() -> None:
    texts = ["kapo.", "né kapo. ßiqo né!", "3.5 kapo", "né? kapo. né."]
    tokenizer = Tokenizer(learn_tokenizer(texts, 120, 32))
    read = RunningText.encode(texts, tokenizer, 32)
    assert len(read) == len(read.lengths) == 4
    for number, (text, pairs) in enumerate(
        zip(texts, (None, ("né kapo.", "ßiqo né!"), None, ("né?", "kapo. né.")), strict=True)
    ):
        expected = tokenizer.encode([text], 32) if pairs is None else tokenizer.encode_pairs(pairs[:1], pairs[1:], 32)
        ids, segments = read[number]
        assert ids.tolist() == expected.ids[0].tolist()
        assert segments.tolist() == expected.segments[0].tolist()
        assert read.lengths[number] == len(ids)
        assert set(segments.tolist()) == ({0} if pairs is None else {0, 1})


def test_no_text_is_refused() -> None:
    with pytest.raises(UserError, match="no text to pre-train on"):
        pretrain([], PretrainSettings(), MaskedLanguageModel, torch.device("cpu"))


def test_command_writes_into_the_current_folder_if_it_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path / "home"))
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    small = [word for change in ("steps=0", "vocab_size=101") for word in ("--set", change)]
    given = ("--source", "babel:size=small", "--out", ".", "--shape", "1x16", "--device", "cpu")
    assert run_command("pretrain", *given, *small) == 0
    assert (tmp_path / "out" / "config.json").is_file()
    artifacts = Artifacts(tmp_path / "home" / "artifacts")
    assert in_use(artifacts, []) >= set(artifacts.fingerprints()) > set(), "gc keeps it, and before it a checkpoint"

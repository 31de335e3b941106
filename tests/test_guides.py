"""Guides: the methods in README and docs/adding-a-method.md load as plug-ins and train, and links have targets."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import registry
from harness.method import SamplePair
from harness.modeling.tokenizer import Tokenizer
from harness.records import Corpus, MonoSentence
from harness.registry import Registry, load_plugin
from harness.training.loop import Step, TrainSettings, train
from tests.support.installed import install
from tests.support.tiny import tiny_encoder

ROOT = Path(__file__).resolve().parent.parent
GUIDES = ("README.md", "docs/adding-a-method.md")
SENTENCES = [("a cat sat.", "ein kater."), ("no dog ran", "kein hund"), ("we eat fish", "wir essen"), ("go!", "geh")]


def files(guide: str) -> list[str]:
    """The code blocks that are whole files: those that register a method."""
    text = (ROOT / guide).read_text(encoding="utf-8")
    return [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "@register(" in block]


@dataclass
class SmallCorpora:
    """Four sentence pairs, and their pivot sides as monolingual text."""

    tokenizer: Tokenizer
    sample: Sequence[SamplePair]
    pivot: str = "en"
    languages: tuple[str, ...] = ("de",)
    max_length: int = 32

    def records(self, kind: Corpus) -> Sequence[Any]:
        assert kind is Corpus.MONO
        return [MonoSentence(str(n), "en", source) for n, (source, _) in enumerate(SENTENCES)]


def trained(cls: Any) -> list[dict[str, float]]:
    """Loss curves of a few steps; the encoder must have moved."""
    encoder = tiny_encoder()
    pairs = [SamplePair(n, "de", source, target, None, None) for n, (source, target) in enumerate(SENTENCES)]
    corpora = SmallCorpora(encoder.tokenizer, pairs)
    method = cls(cls.Config())
    method.build(encoder, corpora)
    before = encoder.blocks[0].attention.self.query.weight.detach().clone()
    settings = TrainSettings(steps=3, learning_rate=1e-3, batch=4)
    trace = train(Step(encoder, method), method.examples(corpora), method.collate, settings)
    assert not torch.equal(before, encoder.blocks[0].attention.self.query.weight)
    return trace.losses


@pytest.mark.parametrize(("guide", "number"), [(guide, n) for guide in GUIDES for n in range(len(files(guide)))])
def test_method_from_a_guide_trains(guide: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own: Registry[Any] = Registry("method", "alignboard.methods")
    monkeypatch.setattr(registry, "METHODS", own)
    monkeypatch.setattr(registry, "_plugins", [])
    before = set(own.names())
    plugin = tmp_path / f"guide_{number}.py"
    plugin.write_text(files(guide)[number], encoding="utf-8")
    load_plugin(plugin)
    (name,) = set(own.names()) - before
    cls = own.get(name)
    assert cls.reference
    assert cls.objective
    for losses in trained(cls):
        assert all(math.isfinite(value) for value in losses.values())


def test_guides_contain_methods() -> None:
    assert [len(files(guide)) for guide in GUIDES] == [1, 2]


def test_readme_method_has_at_most_40_lines() -> None:
    code = [line for line in files("README.md")[0].splitlines() if line.strip()]
    assert len(code) <= 40


def test_third_party_method_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(install(Path(__file__).parent / "plugins" / "stranger", tmp_path))
    own: Registry[Any] = Registry("method", "alignboard.methods")
    assert "distance" in trained(own.get("squared-distance"))[-1]


def test_links_in_docs_have_targets() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"

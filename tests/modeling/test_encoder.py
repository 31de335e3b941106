"""Packed states equal padded ones, for BERT and XLM-R shapes; early exit, hooks, spans, clones and checkpoints."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, BertConfig, BertForMaskedLM, BertForPreTraining, XLMRobertaConfig

from harness.errors import UserError
from harness.modeling import attention
from harness.modeling.encoder import Encoder
from harness.modeling.packing import PackedText, Spans, TokenSubset, pack
from harness.modeling.tokenizer import Tokenizer
from tests.support.tiny_encoder import tiny_encoder, tiny_tokenizer

LENGTHS = (7, 3, 12, 3, 1, 9)


def make(kind: str) -> Encoder:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
    sizes["vocab_size"] = 90
    config = (
        BertConfig(**sizes, max_position_embeddings=40)
        if kind == "bert"
        else XLMRobertaConfig(**sizes, max_position_embeddings=42, type_vocab_size=1, pad_token_id=1)
    )
    return Encoder.fresh(config, tiny_tokenizer()).eval()


def batch(seed: int = 0) -> PackedText:
    rng = np.random.default_rng(seed)
    return pack([rng.integers(5, 90, n) for n in LENGTHS])


def padded(encoder: Encoder, text: PackedText) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, mask) as an ordinary padded batch."""
    width = max(LENGTHS)
    ids = torch.full((len(LENGTHS), width), int(encoder.config.pad_token_id))
    mask = torch.zeros(len(LENGTHS), width, dtype=torch.long)
    for row, (start, n) in enumerate(zip(text.starts, LENGTHS, strict=True)):
        ids[row, :n] = text.ids[start : start + n]
        mask[row, :n] = 1
    return ids, mask


@pytest.mark.parametrize("kind", ["bert", "xlm-r"])
@pytest.mark.parametrize("backend", ["block", "padded"])
def test_packed_equals_padded_in_loss_and_gradients(kind: str, backend: str) -> None:
    encoder, text = make(kind), batch()
    ids, mask = padded(encoder, text)
    weight = torch.randn(encoder.width, generator=torch.Generator().manual_seed(1))

    with attention.backend(backend):
        packed_loss = (encoder(text).tokens(-1) @ weight).tanh().mean()
    packed_loss.backward()
    packed_gradients = {n: p.grad.clone() for n, p in encoder.named_parameters() if p.grad is not None}

    encoder.zero_grad()
    encoder.model.set_attn_implementation("eager")
    states = encoder.base(input_ids=ids, attention_mask=mask).last_hidden_state[mask.bool()]
    padded_loss = (states @ weight).tanh().mean()
    padded_loss.backward()

    assert torch.allclose(packed_loss, padded_loss, atol=1e-6)
    assert len(packed_gradients) > 20
    for name, parameter in encoder.named_parameters():
        if parameter.grad is not None:
            assert torch.allclose(packed_gradients[name], parameter.grad, atol=1e-5), name


@pytest.mark.parametrize("kind", ["bert", "xlm-r"])
@pytest.mark.parametrize("backend", ["block", "padded"])
@pytest.mark.parametrize("positions", [[0, 7, 10, 22, 25, 26], [1, 2, 6, 12, 30, 34], [11], []])
def test_states_of_some_rows_equal_those_of_all_in_values_and_gradients(
    kind: str, backend: str, positions: list[int]
) -> None:
    encoder, text = make(kind), batch()
    rows = TokenSubset.of(torch.tensor(positions, dtype=torch.long), text.lengths)
    weight = torch.randn(encoder.width, generator=torch.Generator().manual_seed(1))
    with attention.backend(backend):
        some, every = encoder.at(text, rows), encoder(text).tokens()[rows.index]
        assert torch.allclose(some, every, atol=1e-6)
        assert some.shape == (len(positions), encoder.width)
        gradients = []
        for states in (some, every):
            encoder.zero_grad()
            (states @ weight).tanh().sum().backward()
            gradients.append({n: p.grad for n, p in encoder.named_parameters() if p.grad is not None and p.grad.any()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-5), name


def test_recomputing_keeps_few_activations_and_the_same_states() -> None:
    encoder, rng = make("bert"), np.random.default_rng(0)
    text = pack([rng.integers(5, 90, 12) for _ in range(40)])
    states, kept = [], []
    for tokens in (None, 48, 1):  # 48: four sequences at a time; 1: fewer than any has
        encoder.recompute = tokens
        saved: dict[int, int] = {}

        def note(tensor: torch.Tensor, saved: dict[int, int] = saved) -> torch.Tensor:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            passed = encoder(text, layers=(1, -1))
        states.append((passed.tokens(1), passed.tokens()))
        kept.append(sum(saved.values()))
    for found in states[1:]:
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(states[0], found, strict=True))
    weights = sum(p.untyped_storage().nbytes() for p in encoder.base.parameters())
    assert kept[1] - weights < (kept[0] - weights) / 5


def test_first_rows_are_the_first_token_of_each_sequence() -> None:
    encoder, text = make("bert"), batch()
    assert text.first.index.tolist() == list(text.starts)
    assert torch.allclose(encoder.at(text, text.first), encoder(text).cls(), atol=1e-6)


def test_layers_are_those_of_hidden_states_and_no_further_layer_runs() -> None:
    encoder, text = make("bert"), batch()
    ids, mask = padded(encoder, text)
    states = encoder(text, layers=(0, 1, 2))
    with pytest.raises(KeyError, match="was not requested"):
        states.tokens(3)
    ran: list[int] = []
    for number, block in enumerate(encoder.blocks, start=1):
        block.attention.register_forward_hook(lambda *_, n=number: ran.append(n))
    encoder(text, layers=(1,))
    assert ran == [1]
    encoder.model.set_attn_implementation("eager")
    expected = encoder.base(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    for layer in (0, 1, 2):
        assert torch.allclose(states.tokens(layer), expected[layer][mask.bool()], atol=1e-5)


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="layer 4 of an encoder with 3 layers"):
        make("bert")(batch(), layers=(4,))


def test_means_cls_spans_and_attention_agree_with_plain_indexing() -> None:
    encoder = make("bert")
    text = pack([[2, 10, 11, 3], [2, 12, 3]], special_ids={2, 3})
    states = encoder(text, layers=(2, 3))
    hidden = states.tokens(3)
    assert torch.allclose(states.mean(3), torch.stack([hidden[:4].mean(0), hidden[4:].mean(0)]), atol=1e-6)
    assert torch.allclose(states.mean(3, specials=False), torch.stack([hidden[1:3].mean(0), hidden[5]]), atol=1e-6)
    assert torch.equal(states.cls(3), hidden[[0, 4]])
    spans = Spans.of([(1, 3), (4, 7), (2, 3)])
    expected = torch.stack([hidden[1:3].mean(0), hidden[4:7].mean(0), hidden[2]])
    assert torch.allclose(states.spans(spans, 3), expected, atol=1e-6)
    encoder.model.set_attn_implementation("eager")
    full = encoder.base(input_ids=text.ids[None, :4], output_attentions=True).attentions[2][0]
    assert torch.allclose(states.attention(3)[0], full, atol=1e-5)


def test_after_attention_sees_and_changes_each_layer() -> None:
    encoder, text = make("bert"), batch()
    seen: list[int] = []

    def same(layer: int, hidden: torch.Tensor) -> torch.Tensor:
        seen.append(layer)
        return hidden

    plain = encoder(text).tokens()
    assert torch.equal(encoder(text, after_attention=same).tokens(), plain)
    assert seen == [1, 2, 3]
    assert not torch.equal(encoder(text, after_attention=lambda _, h: h + 1).tokens(), plain)


def test_a_clone_is_independent_and_may_be_shallower() -> None:
    encoder = make("bert")
    twin = encoder.clone(layers=2)
    assert twin.depth == 2
    assert encoder.depth == 3
    with torch.no_grad():
        twin.input_embeddings.zero_()
    assert encoder.input_embeddings.abs().sum() > 0


def test_plain_auto_model_loads_what_was_saved(tmp_path: Path) -> None:
    encoder, text = make("bert"), batch()
    encoder.pooler = torch.nn.Linear(32, 32)
    encoder.save(tmp_path)
    again = Encoder.load(tmp_path).eval()
    assert torch.equal(again(text).tokens(), encoder(text).tokens())
    assert again.pooler is not None
    plain = AutoModel.from_pretrained(tmp_path)
    assert torch.equal(plain.pooler.dense.weight, encoder.pooler.weight)
    assert torch.equal(plain.embeddings.word_embeddings.weight, encoder.input_embeddings)


def test_file_format_of_the_weights_does_not_change_the_encoder(tmp_path: Path) -> None:
    saved = make("bert")
    saved.pooler = torch.nn.Linear(32, 32)
    saved.save(tmp_path / "safetensors")
    whole = BertForPreTraining.from_pretrained(tmp_path / "safetensors")
    whole.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    whole.config.save_pretrained(tmp_path / "bin")
    torch.save(whole.state_dict(), tmp_path / "bin" / "pytorch_model.bin")
    for other in ("shards", "bin"):
        saved.tokenizer.hf.save_pretrained(tmp_path / other)
        assert not (tmp_path / other / "model.safetensors").exists()
        loaded = Encoder.load(tmp_path / other)
        assert loaded.initialised == ()
        assert loaded.state_dict().keys() == saved.state_dict().keys()
        for name, weight in loaded.state_dict().items():
            assert torch.equal(weight, saved.state_dict()[name]), name


def test_checkpoint_without_some_weights_of_the_encoder_is_refused(tmp_path: Path) -> None:
    encoder = make("bert")
    encoder.save(tmp_path)
    lost = "bert.encoder.layer.1.output.dense.weight"
    weights = {name: value for name, value in load_file(tmp_path / "model.safetensors").items() if name != lost}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=re.escape(f"without 1 of its weights, such as {lost}")):
        Encoder.load(tmp_path)


@pytest.mark.parametrize("content", [None, "{}", '{"model_type": "gpt2"}', "not json"])
def test_a_base_that_is_not_an_encoder_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match="the base is no encoder"):
        Encoder.load(tmp_path)


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("bert", {"num_hidden_layers": 1}, "weights that config.json has no place for"),
        ("bert", {"num_hidden_layers": 0}, "a model without a layer"),
        ("bert", {"is_decoder": True}, "a decoder"),
        ("bert", {"position_embedding_type": "relative_key"}, "positions of the type 'relative_key'"),
        ("xlm-roberta", {"pad_token_id": None}, "no pad_token_id"),
    ],
)
def test_configuration_of_another_model_than_the_weights_is_refused(
    tmp_path: Path, kind: str, changes: dict[str, Any], words: str
) -> None:
    make(kind).save(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(UserError, match=words):
        Encoder.load(tmp_path)


class Shell:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch RAN",)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("vocab.txt", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("model.safetensors", b"cut", "no encoder that can be used here"),
        ("pytorch_model.bin", b"cut", "no encoder that can be used here"),
        ("pytorch_model.bin", {"a": Shell()}, "hold code, which is never run"),
        ("config.json", b"[" * 200_000, "no encoder that can be used here"),
        ("config.json", b"[]", "no encoder that can be used here"),
        ("tokenizer.json", b'{"model": {}}', "no tokenizer can be loaded"),
    ],
)
def test_files_that_cannot_be_read_are_refused(
    file: str, content: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make("bert").save(tmp_path)
    if file == "pytorch_model.bin":
        (tmp_path / "model.safetensors").unlink()
    if isinstance(content, bytes):
        whole = (tmp_path / file).read_bytes() if content == b"cut" and (tmp_path / file).exists() else b"PK\3\4"
        (tmp_path / file).write_bytes(whole[:20_000] if content == b"cut" else content)
    else:
        torch.save(content, tmp_path / file)
    with pytest.raises(UserError, match=words):
        Encoder.load(tmp_path)
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (None, "no entry beside the special tokens"),  # the file is missing
        (1, "no tokenizer can be loaded"),  # without the unknown token
        (100, "lacks a part"),
    ],
)
def test_vocabulary_that_is_missing_or_cut_is_refused(tmp_path: Path, kept: int | None, words: str) -> None:
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(295))]
    torch.manual_seed(0)
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertForMaskedLM(BertConfig(vocab_size=len(entries), **size)).save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(entries[:-9]))  # spare embeddings are allowed
    assert Encoder.load(tmp_path).tokenizer.vocab_size == 291
    file.write_text("\n".join(entries[:kept]))
    if kept is None:
        file.unlink()
    with pytest.raises(UserError, match=words):
        Encoder.load(tmp_path)


def test_a_tokenizer_that_reads_text_unlike_the_training_is_refused(tmp_path: Path) -> None:
    """transformers rebuilds BERT's tokenizer with the defaults of a missing tokenizer_config.json."""
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Ärger", "ARGER", "arger", *"ABCabc"]
    (tmp_path / "vocab.txt").write_text("\n".join(entries))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match=r"lower-cased, but 5 of 9 entries of the vocabulary have capitals"):
        Tokenizer.load(tmp_path)
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": false}')
    cased = Tokenizer.load(tmp_path)
    assert cased.hf.convert_ids_to_tokens(cased.encode(["Ärger"], 9).ids[0].tolist()) == ["[CLS]", "Ärger", "[SEP]"]
    cased.hf.save_pretrained(tmp_path)
    settings.write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": false, "strip_accents": true}')
    with pytest.raises(UserError, match=r"tokenizer.json splits a text in another way than tokenizer_config.json says"):
        Tokenizer.load(tmp_path)


def test_a_base_whose_tokenizer_adds_no_special_tokens_is_refused(tmp_path: Path) -> None:
    make("bert").save(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"post_processor": None}))
    with pytest.raises(UserError, match=r"does not add the special tokens(.|\n)*\[CLS\] before a text"):
        Encoder.load(tmp_path)


def test_weights_that_are_not_finite_or_of_other_shapes_are_named(tmp_path: Path) -> None:
    encoder = make("bert")
    name = "bert.encoder.layer.1.output.dense.weight"
    encoder.model.get_parameter(name).data[0, 0] = float("nan")
    encoder.save(tmp_path)
    with pytest.raises(UserError, match=f"NaN or infinity in 1 of the weights, such as {name}"):
        Encoder.load(tmp_path)
    weights = load_file(tmp_path / "model.safetensors") | {name: torch.zeros(3, 3)}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=rf"{name} is \(3, 3\), and config.json asks for \("):
        Encoder.load(tmp_path)


def test_cross_attention_uses_only_the_partner_sequence() -> None:
    from harness.modeling.attention import Layout, attend

    torch.manual_seed(0)
    q_layout, k_layout = Layout.of((2, 5, 3)), Layout.of((4, 1, 6))
    q, k, v = torch.randn(10, 2, 8), torch.randn(11, 2, 8), torch.randn(11, 2, 8)
    expected = []
    for q_rows, k_rows in (((0, 2), (0, 4)), ((2, 7), (4, 5)), ((7, 10), (5, 11))):
        a = (q[slice(*q_rows)].transpose(0, 1) @ k[slice(*k_rows)].permute(1, 2, 0) / 8**0.5).softmax(-1)
        expected.append((a @ v[slice(*k_rows)].transpose(0, 1)).transpose(0, 1))
    for name in ("block", "padded"):
        with attention.backend(name):
            assert torch.allclose(attend(q, k, v, q_layout, k_layout), torch.cat(expected), atol=1e-5)


def test_causal_attention_sees_no_later_token() -> None:
    from harness.modeling.attention import Layout, attend

    torch.manual_seed(0)
    layout = Layout.of((6, 2, 5))
    q, k, v = torch.randn(3, 13, 2, 8).unbind(0)
    changed = v.clone()
    changed[5] += 100
    for name in ("block", "padded"):
        with attention.backend(name):
            before, after = (attend(q, k, w, layout, layout, causal=True) for w in (v, changed))
        assert torch.equal(before[:5], after[:5])
        assert not torch.equal(before[5], after[5])
        assert torch.equal(before[6:], after[6:])


def test_a_saved_encoder_does_not_depend_on_what_was_tokenized(tmp_path: Path) -> None:
    encoder, saved = tiny_encoder(), set()
    for length in (4, 8):
        encoder.tokenizer.encode(["the cat sees the dog", "the dog"], length)
        encoder.save(tmp_path / str(length))
        saved.add((tmp_path / str(length) / "tokenizer.json").read_bytes())
    assert len(saved) == 1

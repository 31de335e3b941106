"""A Hugging Face encoder over packed text, with the hidden states of any layer.

Supported are the BERT-shaped encoders (BERT, RoBERTa, XLM-R and their kin), whose layers are self-attention followed by
a feed-forward block. Layers are numbered as in `hidden_states`: 0 is the embeddings, 1 the first layer, -1 the last.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import AutoModel, AutoModelForMaskedLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from harness.errors import UsageError, UserError
from harness.modeling import attention
from harness.modeling.attention import Layout
from harness.modeling.packing import PackedText, Spans, TokenSubset, segment_mean
from harness.modeling.pretrained import loading_errors, no_encoder, position_shift, pretrained, supported_config
from harness.modeling.tokenizer import Tokenizer

SPARE_ROWS = 127  # embeddings without a token: their number is often rounded up to a multiple of 128
AfterAttention = Callable[[int, Tensor], Tensor]


class States:
    """The hidden states of the requested layers on one packed batch. Any other layer raises KeyError."""

    def __init__(self, text: PackedText, hidden: dict[int, Tensor], encoder: Encoder) -> None:
        self.text, self._hidden, self._encoder = text, hidden, encoder

    def tokens(self, layer: int = -1) -> Tensor:
        """(T, H) the state of each token."""
        number = self._encoder.layer(layer)
        if number not in self._hidden:
            raise KeyError(f"layer {layer} was not requested; this pass has {sorted(self._hidden)}")
        return self._hidden[number]

    def mean(self, layer: int = -1, specials: bool = True) -> Tensor:
        """(B, H) the mean over the tokens of each sequence, with or without special tokens, in float32."""
        states, owner = self.tokens(layer), self.text.layout.owner
        if specials:
            return segment_mean(states, owner, self.text.layout.offsets.diff())
        kept = (~self.text.special).to(states.dtype)  # no boolean index, which would wait for the device
        sizes = kept.new_zeros(len(self.text)).index_add(0, owner, kept)
        return segment_mean(states * kept.unsqueeze(1), owner, sizes)

    def cls(self, layer: int = -1) -> Tensor:
        """(B, H) the state of each sequence's first token."""
        return self.tokens(layer)[self.text.layout.offsets[:-1].long()]

    def spans(self, spans: Spans, layer: int = -1) -> Tensor:
        """(S, H) the mean over the tokens of each span, in float32."""
        return spans.mean(self.tokens(layer))

    def attention(self, layer: int) -> list[Tensor]:
        """One (heads, L, L) matrix of attention probabilities per sequence, recomputed from queries and keys.

        The layer below must be among the requested layers.
        """
        number = self._encoder.layer(layer)
        block = self._encoder.blocks[number - 1].attention.self
        below = self.tokens(number - 1)
        heads, size = block.num_attention_heads, block.attention_head_size
        q, k = (project(below).view(-1, heads, size).transpose(0, 1) for project in (block.query, block.key))
        pieces = zip(q.split(self.text.lengths, dim=1), k.split(self.text.lengths, dim=1), strict=True)
        return [(a @ b.transpose(1, 2) * block.scaling).softmax(-1) for a, b in pieces]


class Encoder(nn.Module):
    """A masked language model as an encoder, with its tokenizer and the pooler of the checkpoint, if it has one.

    `initialised` names the weights of the masked-LM head that the checkpoint lacked and that are random.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        pooler: nn.Linear | None = None,
        initialised: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        model.set_attn_implementation(attention.NAME)
        self.recompute: int | None = None  # tokens; see `_recomputed`
        self.model, self.tokenizer, self.pooler, self.initialised = model, tokenizer, pooler, initialised
        self.shift = position_shift(model.config)

    @classmethod
    def load(cls, path: str | Path, cache: Path | None = None) -> Encoder:
        """An encoder from a checkpoint folder or a hub name, whatever the format of its weights.

        A masked-LM head that the checkpoint lacks gets random weights (seed torch first). Raises UserError where it is
        no supported encoder, or where weights of the encoder itself are missing.
        """
        config = supported_config(path)
        source = {**pretrained(path), "dtype": torch.float32, "ignore_mismatched_sizes": True}
        with _quiet(), loading_errors(path, no_encoder):
            model, found = AutoModelForMaskedLM.from_pretrained(**source, output_loading_info=True)
            pooled = any("pooler.dense." in name for name in found["unexpected_keys"])
            pooler = AutoModel.from_pretrained(**source).pooler.dense if pooled else None
        missing = sorted(found["missing_keys"])
        if lost := [name for name in missing if name.startswith(model.base_model_prefix)]:
            raise no_encoder(path, f"a checkpoint without {len(lost)} of its weights, such as {lost[0]}")
        if surplus := sorted(name for name in found["unexpected_keys"] if "encoder.layer." in name):
            raise no_encoder(path, f"{len(surplus)} weights that config.json has no place for, such as {surplus[0]}")
        if found["mismatched_keys"]:
            name, here, needed = sorted(found["mismatched_keys"])[0]
            shapes = f"{name} is {tuple(here)}, and config.json asks for {tuple(needed)}"
            raise no_encoder(path, f"weights of other shapes than config.json asks for: {shapes}")
        if infinite := [name for name, weight in model.named_parameters() if not weight.isfinite().all()]:
            raise no_encoder(path, f"NaN or infinity in {len(infinite)} of the weights, such as {infinite[0]}")
        tokenizer = Tokenizer.load(path, cache)
        tokenizer.check_frame(path)
        spare = config.vocab_size - tokenizer.vocab_size
        if not 0 <= spare <= max(SPARE_ROWS, config.vocab_size // 100):
            raise UserError(
                "the tokenizer does not belong to the weights, or lacks a part",
                file=str(path),
                found=f"{tokenizer.vocab_size} entries in the tokenizer, {config.vocab_size} embeddings",
                expected="one entry for each embedding, but for a few spare ones",
                remedy="fetch the files of the tokenizer again",
            )
        return cls(model, tokenizer, pooler, tuple(missing))

    @classmethod
    def fresh(cls, config: Any, tokenizer: Tokenizer) -> Encoder:
        """A randomly initialised encoder of this configuration (seed torch first)."""
        return cls(AutoModelForMaskedLM.from_config(config), tokenizer)

    @property
    def config(self) -> Any:
        return self.model.config

    @property
    def base(self) -> Any:
        return self.model.base_model

    @property
    def blocks(self) -> Any:
        return self.base.encoder.layer

    @property
    def depth(self) -> int:
        return len(self.blocks)

    @property
    def width(self) -> int:
        return int(self.config.hidden_size)

    @property
    def max_length(self) -> int:
        return int(self.config.max_position_embeddings) - self.shift

    @property
    def input_embeddings(self) -> nn.Parameter:
        """(V, H) the word embeddings."""
        weight: nn.Parameter = self.base.get_input_embeddings().weight
        return weight

    def layer(self, number: int) -> int:
        """A layer number from 0 to `depth`; negative ones count from the last. Raises ValueError for any other."""
        resolved = number if number >= 0 else self.depth + 1 + number
        if not 0 <= resolved <= self.depth:
            raise UsageError(f"layer {number} of an encoder with {self.depth} layers (0 is the embeddings)")
        return resolved

    def embed(self, text: PackedText, added: Tensor | None = None) -> Tensor:
        """(T, H) the embeddings after layer norm and dropout; `added` (T, H) is added to their sum before."""
        segments = text.segments if self.config.type_vocab_size > 1 else torch.zeros_like(text.segments)
        words = functional.embedding(text.ids, self.input_embeddings)
        embeddings: Tensor = self.base.embeddings(
            inputs_embeds=(words if added is None else words + added)[None],
            token_type_ids=segments[None],
            position_ids=(text.positions + self.shift)[None],
        )
        return embeddings[0]

    def forward(
        self,
        text: PackedText,
        layers: Sequence[int] = (-1,),
        after_attention: AfterAttention | None = None,
        added: Tensor | None = None,
    ) -> States:
        """The states of `layers`; stops at the highest of them.

        `after_attention(layer, hidden (T, H)) -> (T, H)` is called between self-attention and feed-forward of a layer.
        `added` (T, H) is added to the embeddings before their layer norm, such as a language embedding.
        """
        wanted = sorted({self.layer(n) for n in layers})
        embedded = self.embed(text, added)
        if self.recompute and after_attention is None and torch.is_grad_enabled():
            states = self._recomputed(embedded, text.layout, wanted)
        else:
            states = self._through_blocks(embedded, text.layout, wanted, after_attention)
        return States(text, dict(zip(wanted, states, strict=True)), self)

    def _through_blocks(
        self, hidden: Tensor, layout: Layout, wanted: Sequence[int], after_attention: AfterAttention | None = None
    ) -> list[Tensor]:
        """The states (T, H) of the `wanted` layers for the embeddings (T, H) of packed sequences."""
        kept = [hidden] if 0 in wanted else []
        hidden = hidden[None]
        for number, block in enumerate(self.blocks[: max(wanted)], start=1):
            attended, _ = block.attention(hidden, None, layout=layout)
            if after_attention is not None:
                attended = after_attention(number, attended[0])[None]
            hidden = block.feed_forward_chunk(attended)
            if number in wanted:
                kept.append(hidden[0])
        return kept

    def _recomputed(self, hidden: Tensor, layout: Layout, wanted: Sequence[int]) -> list[Tensor]:
        """`_through_blocks` over groups of sequences of about `recompute` tokens, each computed again in the backward
        pass, which holds the activations of one group instead of all.

        The states of all sequences are there before the loss, so in-batch contrast sees every negative, and gradients
        are those of the whole batch (Gao et al. 2021, "GradCache", arXiv 2101.06983; Chen et al. 2016, arXiv
        1604.06174). Dropout draws differ from those of one pass.
        """
        assert self.recompute is not None
        parts: list[list[Tensor]] = []
        start = first = 0
        ends = np.cumsum(layout.lengths)
        while first < len(ends):
            last = max(first + 1, int(np.searchsorted(ends, start + self.recompute, side="right")))
            stop = int(ends[last - 1])
            part = (hidden[start:stop], layout.rows(first, last), wanted)
            parts.append(checkpoint(self._through_blocks, *part, use_reentrant=False))
            first, start = last, stop
        return [torch.cat(states) for states in zip(*parts, strict=True)]

    def at(self, text: PackedText, rows: TokenSubset, added: Tensor | None = None) -> Tensor:
        """(N, H) the last layer's states of these tokens alone: `encoder(text).tokens()[rows.index]`, without the
        queries and the feed-forward block of the other tokens in the last layer."""
        below = self(text, layers=(-2,), added=added).tokens(-2)
        block, chosen = self.blocks[-1], below[rows.index]
        layer = block.attention.self
        q, k, v = (
            project(states).view(-1, layer.num_attention_heads, layer.attention_head_size)
            for project, states in ((layer.query, chosen), (layer.key, below), (layer.value, below))
        )
        dropout = layer.dropout.p if layer.training else 0.0
        mixed = attention.attend(q, k, v, rows.layout, text.layout, dropout=dropout, scale=layer.scaling)
        states: Tensor = block.feed_forward_chunk(block.attention.output(mixed.flatten(1), chosen))
        return states

    def mlm_logits(self, hidden: Tensor) -> Tensor:
        """(N, V) the logits of the masked-LM head for last-layer states (N, H); pass only the masked positions."""
        head: Any = self.model.cls if self.config.model_type == "bert" else self.model.lm_head
        logits: Tensor = head(hidden)
        return logits

    def reset_mlm_head(self) -> None:
        """Gives the masked-LM head random weights; its output matrix is no longer tied to the embeddings."""
        config = copy.deepcopy(self.config)
        config.tie_word_embeddings = False
        fresh = type(self.model)(config)
        name = "cls" if self.config.model_type == "bert" else "lm_head"
        setattr(self.model, name, getattr(fresh, name).to(self.input_embeddings.device))
        self.config.tie_word_embeddings = False

    def clone(self, layers: int | None = None) -> Encoder:
        """A copy with the same tokenizer, of the first `layers` layers or of all."""
        tokenizer, self.tokenizer = self.tokenizer, None  # type: ignore[assignment]
        try:
            twin = copy.deepcopy(self)
        finally:
            self.tokenizer = tokenizer
        twin.tokenizer = tokenizer
        if layers is not None:
            twin.base.encoder.layer = twin.blocks[:layers]
            twin.config.num_hidden_layers = layers
        return twin

    def share_embeddings(self, other: Encoder) -> None:
        """Takes the word embeddings of `other`, also in the language-model head where that is tied to them."""
        output = self.model.get_output_embeddings()
        is_tied = output.weight is self.input_embeddings
        self.base.get_input_embeddings().weight = other.input_embeddings
        if is_tied:
            output.weight = other.input_embeddings

    def set_dropout(self, rate: float) -> None:
        """Sets the dropout of this training. The configuration keeps its own, and so does the saved checkpoint."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = rate

    def train(self, mode: bool = True) -> Encoder:
        """Sets training mode, with dropout; an encoder without trainable weights (a teacher) stays in evaluation."""
        return super().train(mode and any(p.requires_grad for p in self.parameters()))

    def save(self, folder: Path) -> None:
        """Writes a checkpoint that plain `AutoModel.from_pretrained` loads, pooler included, with its tokenizer."""
        state = self.model.state_dict()
        if self.pooler is not None:
            prefix = f"{self.model.base_model_prefix}.pooler.dense."
            state |= {prefix + name: value for name, value in self.pooler.state_dict().items()}
        backend = self.tokenizer.hf.backend_tokenizer
        backend.no_truncation()  # else the file depends on what was tokenized last
        backend.no_padding()
        with _quiet():
            self.model.save_pretrained(folder, state_dict=state)
            self.tokenizer.hf.save_pretrained(folder)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides transformers' reports and progress bars: unused pooler and NSP weights are expected."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)

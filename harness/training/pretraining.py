"""A small encoder from scratch: a WordPiece tokenizer, and masked-LM training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, PreTrainedTokenizerFast

from harness.errors import UserError
from harness.method import Method
from harness.modeling.encoder import Encoder
from harness.modeling.tokenizer import Encoded, Tokenizer
from harness.training.loop import Step, Trace, TrainSettings, Watch, train
from harness.training.settings import PretrainSettings

SENTENCE_END = re.compile(r"(?<=[.!?\u0964\u3002\u061f])\s+")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WARM_UP = 0.06  # share of the steps


def learn_tokenizer(texts: Sequence[str], vocab_size: int, max_length: int) -> PreTrainedTokenizerFast:
    """A cased WordPiece tokenizer in BERT's style (accents kept, Chinese characters apart).

    The same texts give the same vocabulary in every process. The trainer breaks ties by the ids of the pieces, and
    numbers single continuing letters in the order of a hash table, so these letters are given in sorted order.
    """
    fast = _word_piece({})
    split, normalise = fast.pre_tokenizer.pre_tokenize_str, fast.normalizer.normalize_str
    letters = {letter for text in texts for word, _ in split(normalise(text)) for letter in word[1:]}
    special = [*SPECIAL, *(f"##{letter}" for letter in sorted(letters))]
    trainer = trainers.WordPieceTrainer(
        vocab_size=max(vocab_size, len(special)), special_tokens=special, show_progress=False
    )
    fast.train_from_iterator(texts, trainer)
    fast = _word_piece(fast.get_vocab())
    ids = [(name, fast.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    fast.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=fast, model_max_length=max_length, **names)


def _word_piece(vocabulary: dict[str, int]) -> FastTokenizer:
    """A WordPiece tokenizer that adds no special tokens."""
    fast = FastTokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    fast.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    fast.decoder = decoders.WordPiece()
    return fast


def new_encoder(settings: PretrainSettings, tokenizer: Tokenizer) -> Encoder:
    """A randomly initialised BERT of the settings' shape, seeded by them."""
    torch.manual_seed(settings.seed)
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=4 * settings.hidden,
        max_position_embeddings=settings.max_length,
        pad_token_id=tokenizer.pad_id,
        hidden_dropout_prob=settings.dropout,
        attention_probs_dropout_prob=settings.dropout,
    )
    return Encoder.fresh(config, tokenizer)


@dataclass(frozen=True)
class RunningText:
    """Tokenised texts in their order. A text of several sentences is a pair, cut after its first sentence, so that the
    separator and the second segment are trained too, as in BERT."""

    single: Encoded
    paired: Encoded
    place: np.ndarray  # (N,): the row in `single`, or the number of single texts and the row in `paired`

    @classmethod
    def encode(cls, texts: Sequence[str], tokenizer: Tokenizer, max_length: int) -> RunningText:
        parts = [SENTENCE_END.split(text.strip(), maxsplit=1) for text in texts]
        sizes = np.array([len(part) for part in parts])
        pairs = [part for part in parts if len(part) == 2]
        place = np.empty(len(texts), dtype=np.int64)
        place[np.argsort(sizes, kind="stable")] = np.arange(len(texts))
        single = tokenizer.encode([part[0] for part in parts if len(part) == 1], max_length)
        return cls(single, tokenizer.encode_pairs([a for a, _ in pairs], [b for _, b in pairs], max_length), place)

    @property
    def lengths(self) -> np.ndarray:
        lengths: np.ndarray = np.concatenate([self.single.ids.lengths, self.paired.ids.lengths])[self.place]
        return lengths

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        row, singles = int(self.place[number]), len(self.single.ids)
        text, row = (self.single, row) if row < singles else (self.paired, row - singles)
        return text.ids[row], text.segments[row]


def pretrain(
    texts: Sequence[str],
    settings: PretrainSettings,
    objective: type[Method],
    device: torch.device,
    *,
    checkpoint: Path | None = None,
    watch: Watch | None = None,
) -> tuple[Encoder, Trace]:
    """Learns a tokenizer from `texts` and trains a new encoder on them. Raises UserError where there is no text."""
    if not texts:
        raise UserError("there is no text to pre-train on", expected="at least one sentence")
    tokenizer = Tokenizer(learn_tokenizer(texts, settings.vocab_size, settings.max_length))
    encoder = new_encoder(settings, tokenizer).to(device)
    method: Any = objective(objective.Config(mask_rate=settings.mask_rate))  # type: ignore[call-arg]
    method.tokenizer = tokenizer
    loop = TrainSettings(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        batch=settings.batch_tokens,
        by_tokens=True,
        warmup_steps=int(settings.steps * _WARM_UP),
        weight_decay=0.01,
        seed=settings.seed,
    )
    examples = RunningText.encode(texts, tokenizer, settings.max_length)
    trace = train(Step(encoder, method), examples, method.collate, loop, checkpoint=checkpoint, watch=watch)  # type: ignore[arg-type]
    return encoder, trace

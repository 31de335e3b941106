"""Tiny tokenizers and encoders that tests make in memory."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, PreTrainedTokenizerFast

from harness.modeling.encoder import Encoder
from harness.modeling.tokenizer import Tokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?"


def tiny_tokenizer() -> Tokenizer:
    """A WordPiece tokenizer of single characters: 5 special tokens, letters, and their continuations."""
    vocabulary = {t: i for i, t in enumerate((*SPECIAL, *LETTERS, *(f"##{c}" for c in LETTERS)))}
    fast = FastTokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    fast.normalizer = normalizers.BertNormalizer(lowercase=True)
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    fast.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=fast, **names))


def tiny_encoder(seed: int = 0, layers: int = 2, hidden: int = 16) -> Encoder:
    """A random BERT over `tiny_tokenizer`."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * hidden,
        max_position_embeddings=64,
    )
    return Encoder.fresh(config, tokenizer)

"""Contextual word retrieval: does a word find its translation among the words of all sentences? No training."""

from __future__ import annotations

from dataclasses import replace

from tasks.families.word_links import WordRetrievalFamily
from tasks.word_alignment import SPEC as ALIGNMENT

SPEC = replace(
    ALIGNMENT,
    name="word-retrieval",
    title="Word retrieval",
    metric="accuracy",
    citation='Cao, Kitaev and Klein, "Multilingual Alignment of Contextual Word Representations", ICLR 2020',
    description=(
        "Words with one sure link, by CSLS among the linked words of all sentences, both directions. Words that are "
        "the same string on both sides are left out."
    ),
)


class WordRetrievalInContext(WordRetrievalFamily):
    """Words of gold links in their sentences."""

    spec = SPEC

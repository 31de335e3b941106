"""Surface tokens from CoNLL-U: a multiword token stays one token with the tag of its head word.

The head is the word with the fewest ancestors in the sentence's graph of basic and enhanced relations. Ties are broken
by the precedence of tags, then by position. This is what the official conversion to CoNLL-2006 does (options for fused
forms, networkx 1.11).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.lines import shorten
from harness.data.prepare.tagging import TaggedToken
from harness.data.prepare.text import content_error, lines

_PRECEDENCE = {
    "es": "VERB AUX PRON ADP DET",
    "fr": "VERB AUX PRON NOUN ADJ ADV ADP DET PART SCONJ CONJ",
    "it": "VERB AUX ADV PRON ADP DET INTJ",
}
_DEFAULT = "VERB NOUN PROPN PRON ADJ NUM ADV INTJ AUX ADP DET PART CCONJ SCONJ X PUNCT"


@dataclass
class _Graph:
    """One sentence: words by id, the heads of each in all layers, and the multiword tokens by their first id."""

    words: dict[int, TaggedToken] = field(default_factory=dict)
    heads: dict[int, set[int]] = field(default_factory=dict)
    spans: dict[int, tuple[int, str]] = field(default_factory=dict)  # first id -> last id, surface form


def precedence(language: str) -> Sequence[str]:
    """Tags in their order of precedence as the head of a multiword token."""
    return _PRECEDENCE.get(language, _DEFAULT).split()


def surface_sentences(path: Path, order: Sequence[str], unranked: set[str]) -> Iterator[list[TaggedToken]]:
    """The sentences of a CoNLL-U file in surface tokens. Tags of a tie that are not in `order` are added to `unranked`
    and rank lowest; the official conversion fails on the whole file in that case.

    Raises UserError if a line is not CoNLL-U or ids do not count from 1. A last sentence without a blank line after it
    is lost, as in the official conversion.
    """
    ranks = {tag: rank for rank, tag in reversed(list(enumerate(order)))}
    graph = _Graph()
    for number, text in lines(path):
        if text and not text.startswith("#"):
            _add_line(graph, path, number, text)
        elif not text and graph.words:
            yield list(_surface_tokens(graph, ranks, unranked))
            graph = _Graph()


def _add_line(graph: _Graph, path: Path, number: int, text: str) -> None:
    """Adds a line to the sentence."""
    try:
        columns = text.split("\t")
        name, form, tag, head, enhanced = (columns[i] for i in (0, 1, 3, 6, 8))
        first, _, last = name.partition("-")
        if len(columns) != 10 or (last and int(first) > int(last)):
            raise ValueError
        if "." in name or name == "_":  # an empty node, which only the enhanced layer has
            return
        layers = [] if last or enhanced == "_" else [pair.split(":")[0] for pair in enhanced.split("|")]
        heads = set() if last else {int(head), *(int(layer) for layer in layers if layer.isdigit())}
    except (ValueError, IndexError) as error:
        expected = "ten columns with ids and heads"
        raise content_error(path, number, "this is not CoNLL-U", shorten(text), expected) from error
    if last:
        graph.spans[int(first)] = int(last), form
        return
    if name != str(len(graph.words) + 1):
        expected = f"the id {len(graph.words) + 1}"
        raise content_error(path, number, "ids that do not count from 1", shorten(text), expected)
    graph.words[int(name)], graph.heads[int(name)] = TaggedToken(form, tag), heads


def _surface_tokens(graph: _Graph, ranks: Mapping[str, int], unranked: set[str]) -> Iterator[TaggedToken]:
    position = 1
    while position <= len(graph.words):
        span = graph.spans.get(position)
        if span is None:
            yield graph.words[position]
            position += 1
            continue
        last, form = span
        ids = [number for number in range(position, last + 1) if number in graph.words]
        yield TaggedToken(form, graph.words[_head(graph, ids, ranks, unranked)].tag)
        position = max(last, position) + 1


def _head(graph: _Graph, ids: Sequence[int], ranks: Mapping[str, int], unranked: set[str]) -> int:
    depth = {number: len(_ancestors(graph, number)) for number in ids}
    highest = [number for number in ids if depth[number] == min(depth.values())]
    if len(highest) == 1:
        return highest[0]
    unranked |= {graph.words[number].tag for number in highest} - ranks.keys()
    return min(highest, key=lambda number: ranks.get(graph.words[number].tag, len(ranks)))


def _ancestors(graph: _Graph, number: int) -> set[int]:
    """All words (and the root, 0) from which a path of relations leads to a word, without the word itself."""
    found: set[int] = set()
    waiting = [number]
    while waiting:
        for head in graph.heads.get(waiting.pop(), ()):
            if head not in found:
                found.add(head)
                waiting.append(head)
    return found - {number}

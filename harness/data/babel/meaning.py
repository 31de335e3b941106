"""The meaning of sentences as sets of situations, so that entailment and contradiction are set relations.

A situation gives every attribute of the event one value. A positive sentence is true where each attribute is in the set
that the sentence allows; a negated one is true everywhere else. Both sentences of a pair are about the same event.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.data.babel.concepts import concepts, leaves
from harness.data.babel.world import Event, Name, Phrase

ENTAILMENT, NEUTRAL, CONTRADICTION = "entailment", "neutral", "contradiction"
Denotation = Mapping[str, frozenset[str]]  # allowed values by constrained attribute


def denotation(event: Event) -> Denotation:
    """The constraints of the event, ignoring negation."""
    found: dict[str, frozenset[str]] = {
        "verb": leaves(event.verb),
        "tense": frozenset(("future" if event.future else "past",)),
    }
    for role, phrase in (("agent", event.agent), ("patient", event.patient), ("recipient", event.recipient)):
        if phrase is not None:
            found |= _participant(role, phrase)
    if event.place is not None:
        found["place.relation"] = frozenset((event.place.relation,))
        if event.place.ground is not None:
            found |= _participant("place", event.place.ground)
    for name, value in (("time", event.time), ("manner", event.manner)):
        if value is not None:
            found[name] = frozenset((value,))
    return found


def _participant(role: str, phrase: Phrase) -> Denotation:
    head = phrase.head
    if isinstance(head, Name):
        root = {"PER": "person", "LOC": "place", "ORG": "organisation"}[head.type]
        kinds = frozenset((root,)) if root == "organisation" else leaves(root)
        return {f"{role}.kind": kinds, f"{role}.name": frozenset((" ".join(filter(None, (*head.stems, head.marker))),))}
    found = {f"{role}.kind": leaves(head)}
    if phrase.adjective is not None:
        found[f"{role}.{concepts()[phrase.adjective].kind}"] = frozenset((phrase.adjective,))
    if phrase.number is not None:
        found[f"{role}.number"] = frozenset((phrase.number,))
    return found


def entails(narrow: Denotation, wide: Denotation) -> bool:
    """Whether every situation of `narrow` is one of `wide`."""
    return all(name in narrow and narrow[name] <= allowed for name, allowed in wide.items())


def are_disjoint(one: Denotation, other: Denotation) -> bool:
    return any(not (one[name] & other[name]) for name in one.keys() & other.keys())


def inference_label(premise: Event, hypothesis: Event) -> str:
    """Entailment if the premise's situations are a subset of the hypothesis's, contradiction if they are disjoint."""
    p, h = denotation(premise), denotation(hypothesis)
    if not premise.negated and not hypothesis.negated:
        return ENTAILMENT if entails(p, h) else CONTRADICTION if are_disjoint(p, h) else NEUTRAL
    if not premise.negated:
        return ENTAILMENT if are_disjoint(p, h) else CONTRADICTION if entails(p, h) else NEUTRAL
    if not hypothesis.negated:
        return CONTRADICTION if entails(h, p) else NEUTRAL
    return ENTAILMENT if entails(h, p) else NEUTRAL


def same_meaning(one: Event, other: Event) -> bool:
    return one.negated == other.negated and denotation(one) == denotation(other)

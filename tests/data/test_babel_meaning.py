"""Entailment and paraphrase in babel, held against an enumeration of the situations that a sentence allows."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from harness.data.babel import meaning
from harness.data.babel.concepts import concepts, leaves
from harness.data.babel.gloss import EXAMPLES, gloss_text
from harness.data.babel.grammar import realise
from harness.data.babel.lexicon import lexicon
from harness.data.babel.pairs import nli_items, paraphrase_items
from harness.data.babel.settings import parse_settings
from harness.data.babel.world import Event, Name, Phrase

# A reading of the meaning of its own: situations are enumerated, and each sentence is looked up in them.
Situation = dict[str, str]


def holds(event: Event, situation: Situation) -> bool:
    claims = [situation["verb"] in leaves(event.verb), situation["tense"] == str(event.future)]
    for role, phrase in roles(event):
        if isinstance(phrase.head, Name):
            claims.append(situation[f"{role}/name"] == str((phrase.head.stems, phrase.head.marker)))
        else:
            claims.append(situation[f"{role}/kind"] in leaves(phrase.head))
        if phrase.adjective:
            claims.append(situation[f"{role}/{concepts()[phrase.adjective].kind}"] == phrase.adjective)
        if phrase.number:
            claims.append(situation[f"{role}/number"] == phrase.number)
    if event.place:
        claims.append(situation["relation"] == event.place.relation)
    claims += [situation[name] == getattr(event, name) for name in ("time", "manner") if getattr(event, name)]
    return all(claims) != event.negated


def roles(event: Event) -> Iterator[tuple[str, Phrase]]:
    ground = event.place.ground if event.place else None
    for role, phrase in zip("apro", (event.agent, event.patient, event.recipient, ground), strict=True):
        if phrase is not None:
            yield role, phrase


def situations(one: Event, other: Event) -> Iterator[Situation]:
    """Every situation that the two sentences can tell apart; a named person has the kind of a person."""
    choices: dict[str, set[str]] = {"verb": {"other"}, "tense": {"True", "False"}, "relation": {"other"}}
    choices |= {"time": {"other"}, "manner": {"other"}}
    for event in (one, other):
        choices["verb"] |= leaves(event.verb)
        choices["relation"] |= {event.place.relation} if event.place else set()
        choices["time"] |= {event.time} if event.time else set()
        choices["manner"] |= {event.manner} if event.manner else set()
        for role, phrase in roles(event):
            name = choices.setdefault(f"{role}/name", {"nobody"})
            kinds = choices.setdefault(f"{role}/kind", {"other"})
            if isinstance(phrase.head, Name):
                name.add(str((phrase.head.stems, phrase.head.marker)))
            else:
                kinds |= leaves(phrase.head)
            if phrase.adjective:
                choices.setdefault(f"{role}/{concepts()[phrase.adjective].kind}", {"other"}).add(phrase.adjective)
            if phrase.number:
                choices.setdefault(f"{role}/number", {"other"}).add(phrase.number)
    thinned = {name: representatives(name, values, (one, other)) for name, values in choices.items()}
    for values in itertools.product(*thinned.values()):
        situation = dict(zip(thinned, values, strict=True))
        named = [r for r in "apr" if situation.get(f"{r}/name", "nobody") != "nobody"]
        if all(situation[f"{r}/kind"] in leaves("person") for r in named):
            yield situation


def representatives(name: str, values: set[str], events: tuple[Event, Event]) -> list[str]:
    """One value for each way in which the two sentences may judge it: the others add nothing."""
    heads = [p.head for e in events for r, p in roles(e) if name == f"{r}/kind" and not isinstance(p.head, Name)]
    verbs = [e.verb for e in events] if name == "verb" else []
    people = ["person"] if name.endswith("/kind") and name[0] in "apr" else []
    groups = [leaves(gloss) for gloss in (*heads, *verbs, *people)]
    pool = sorted(values | (leaves("person") if people else set()))
    if not groups:
        return pool
    return list({tuple(value in group for group in groups): value for value in pool}.values())


def test_entailment_agrees_with_an_enumeration_of_situations() -> None:
    seen = set()
    for premise, hypothesis, _, label in nli_items(0, "test", 150):
        assert label == meaning.inference_label(premise, hypothesis)
        for negated in (premise.negated, True):
            first = dataclasses.replace(premise, negated=negated)
            where = [s for s in situations(first, hypothesis) if holds(first, s)]
            assert where, "a premise that never holds"
            truth = sorted({holds(hypothesis, s) for s in where})
            expected = "neutral" if len(truth) > 1 else "entailment" if truth[0] else "contradiction"
            assert meaning.inference_label(first, hypothesis) == expected
            seen.add((expected, negated, hypothesis.negated))
    assert len(seen) >= 8


def test_paraphrases_hold_in_the_same_situations_and_others_do_not() -> None:
    for first, second, _, label in paraphrase_items(0, "test", 100):
        same = all(holds(first, s) == holds(second, s) for s in situations(first, second))
        assert label == str(int(same))


def test_relation_knows_monotonicity() -> None:
    dog, animal = (Event("kick", Phrase("baker"), Phrase(head)) for head in ("dog", "animal"))
    no_dog, no_animal = (dataclasses.replace(e, negated=True) for e in (dog, animal))
    assert meaning.inference_label(dog, animal) == "entailment"
    assert meaning.inference_label(animal, dog) == "neutral"
    assert meaning.inference_label(no_animal, no_dog) == "entailment"
    assert meaning.inference_label(no_dog, no_animal) == "neutral"
    assert meaning.inference_label(dog, no_animal) == "contradiction"
    assert meaning.inference_label(no_animal, dog) == "contradiction"


def test_the_gloss_of_a_text_has_the_meaning_of_each_word() -> None:
    settings = parse_settings("")
    for code, language in settings.languages.items():
        for event, style in EXAMPLES:
            words = realise(event, lexicon(settings.seed, language), style)
            found = gloss_text(settings, code, " ".join(word.form for word in words)).split()
            assert all(word.gloss in gloss.split("/") for word, gloss in zip(words, found, strict=True)), code
    assert gloss_text(settings, "qah", "Xyzzy, 3!") == "Xyzzy, 3!"

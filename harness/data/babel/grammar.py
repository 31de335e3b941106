"""Realises events as sentences: word order, adpositions, cases and agreement of a language.

Every word has the slot of the event that it expresses, so word links between languages, tags and names are known by
construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.data.babel.concepts import RELATIONS, concept
from harness.data.babel.lexicon import BabelLexicon
from harness.data.babel.world import Event, Name, Phrase, Place


class Word(NamedTuple):
    """`slot` names the part of the event (`agent.head`); `gloss` the concept, with its case after a hyphen."""

    form: str
    gloss: str
    tag: str  # universal part of speech
    slot: str
    entity: str = "O"


@dataclass(frozen=True, slots=True)
class Style:
    """Choices of expression that do not change the meaning. An event without an agent is always passive."""

    passive: bool = False
    front: str = ""  # "" | "time" | "place"
    dative: bool = False  # the recipient without its adposition, right after the verb
    synonyms: frozenset[str] = frozenset()  # the slots that take a concept's second word


PLAIN = Style()
ROLES = ("agent", "patient", "recipient", "place")
SYNONYM_SLOTS = ("verb", "time", *(f"{role}.{part}" for role in ROLES for part in ("head", "adj")))
Words = list[Word]
Links = frozenset[tuple[int, int]]  # positions (source, target)


def realise(event: Event, words: BabelLexicon, style: Style = PLAIN, stop: str = ".") -> tuple[Word, ...]:
    """The sentence for an event in a language, full stop (or question mark) included."""
    return (*_Realiser(words, style).sentence(event), Word(stop, stop, "PUNCT", "stop"))


def text(words: Sequence[Word]) -> str:
    """Running text: words separated by blanks, punctuation attached to the word before it."""
    return " ".join(word.form for word in words).replace(" ,", ",").replace(" .", ".").replace(" ?", "?")


def character_span(sentence: Sequence[Word], first: int, last: int) -> tuple[int, int]:
    """The code points [start, end) of the words from `first` to `last` in the sentence's text."""
    start = len(text(sentence[:first])) + (1 if first else 0)
    return start, len(text(sentence[: last + 1]))


def name_words(name: Name, words: BabelLexicon) -> tuple[Word, ...]:
    """The words of a name in its citation form."""
    return tuple(_Realiser(words, PLAIN).name(name, None, "name", ""))


class _Realiser:
    """Realises events in one language and one style."""

    def __init__(self, words: BabelLexicon, style: Style) -> None:
        self._words, self._style, self._language = words, style, words.language

    def sentence(self, event: Event) -> Words:
        clause = self._clause(event)
        if event.speaker is None or event.speech is None:
            return clause
        speaker = self._phrase(event.speaker, "speaker")
        said = [self._word(event.speech, "speech", suffix=self._agreement(event.speaker))]
        that = [self._word("that-clause", "that")]
        return {
            "SVO": [*speaker, *said, *that, *clause],
            "SOV": [*speaker, *clause, *that, *said],
            "VSO": [*said, *speaker, *that, *clause],
        }[self._language.order]

    def _clause(self, event: Event) -> Words:
        passive = event.patient is not None and (self._style.passive or event.agent is None)
        subject, subject_role = (event.patient, "patient") if passive else (event.agent, "agent")
        assert subject is not None, "a clause has a subject"
        place, time = self._place(event.place), self._optional(event.time, "time")
        front = {"time": time, "place": place}.get(self._style.front, [])
        place, time = [] if place is front else place, [] if time is front else time
        around = [*place, *self._optional(event.manner, "manner")]
        aux, neg, verb = self._verb(event, subject, passive)
        ordered = self._order_words(
            self._phrase(subject, subject_role), (aux, neg, verb), self._objects(event, passive), around, time
        )
        comma = [Word(",", ",", "PUNCT", "comma")] if front else []
        return [*front, *comma, *ordered]

    def _order_words(
        self, subject: Words, verb: tuple[Words, Words, Words], objects: Words, around: Words, time: Words
    ) -> Words:
        aux, neg, main = verb
        return {
            "SVO": [*subject, *aux, *neg, *main, *objects, *around, *time],
            "SOV": [*subject, *time, *around, *objects, *neg, *main, *aux],
            "VSO": [*aux, *neg, *main, *subject, *objects, *around, *time],
        }[self._language.order]

    def _verb(self, event: Event, subject: Phrase, passive: bool) -> tuple[Words, Words, Words]:
        aux = [self._word("will", "aux.future")] if event.future else []
        aux += [self._word("was", "aux.passive")] if passive else []
        neg = [self._word("not", "neg")] if event.negated else []
        return aux, neg, [self._word(event.verb, "verb", suffix=self._agreement(subject))]

    def _objects(self, event: Event, passive: bool) -> Words:
        objects = [] if passive or event.patient is None else self._phrase(event.patient, "patient", "ACC")
        recipient = self._recipient(event.recipient)
        agent: Words = []
        if passive and event.agent is not None:
            agent = self._adpositional("by", "agent.adp", self._phrase(event.agent, "agent", "INS"))
        dative = self._style.dative and not passive
        return [*recipient, *objects] if dative else [*objects, *recipient, *agent]

    def _recipient(self, recipient: Phrase | None) -> Words:
        if recipient is None:
            return []
        phrase = self._phrase(recipient, "recipient", "DAT")
        bare = self._style.dative and not self._style.passive
        return phrase if bare else self._adpositional("for", "recipient.adp", phrase)

    def _place(self, place: Place | None) -> Words:
        if place is None:
            return []
        if place.ground is None:
            return [self._word(RELATIONS[place.relation], "place.adp")]
        phrase = self._phrase(place.ground, "place", "LOC")
        if self._language.case and place.relation == "in":
            return phrase
        return self._adpositional(place.relation, "place.adp", phrase)

    def _adpositional(self, adposition: str, slot: str, phrase: Words) -> Words:
        word = [self._word(adposition, slot)]
        return [*word, *phrase] if self._language.adposition == "before" else [*phrase, *word]

    def _phrase(self, phrase: Phrase, role: str, case: str = "") -> Words:
        if isinstance(phrase.head, Name):
            return self.name(phrase.head, phrase.title, role, case)
        determiner = self._optional(phrase.determiner, f"{role}.det")
        number = self._optional(phrase.number, f"{role}.num")
        suffix = case if self._language.case else ""
        adjective = [self._word(phrase.adjective, f"{role}.adj", suffix=suffix)] if phrase.adjective else []
        noun = [self._word(phrase.head, f"{role}.head", suffix=suffix)]
        after = self._language.adjective == "after"
        return [*determiner, *number, *(noun + adjective if after else adjective + noun)]

    def name(self, name: Name, title: str | None, role: str, case: str) -> Words:
        suffix = case if self._language.case else ""
        stems = [Word(self._words.names[s], s, "PROPN", f"{role}.name{i}") for i, s in enumerate(name.stems)]
        if suffix:
            last = stems[-1]
            stems[-1] = last._replace(form=last.form + self._words.suffixes[suffix], gloss=f"{last.gloss}-{suffix}")
        marker = [self._word(name.marker, f"{role}.marker")] if name.marker else []
        parts = stems + marker if self._language.adjective == "before" else marker + stems
        tagged = [part._replace(entity=f"{'I' if i else 'B'}-{name.type}") for i, part in enumerate(parts)]
        return [*self._optional(title, f"{role}.title"), *tagged]

    def _agreement(self, subject: Phrase) -> str:
        if not self._language.agreement:
            return ""
        head = subject.head
        personal = head.type != "LOC" if isinstance(head, Name) else concept(head).kind in ("person", "pronoun")
        return "PERS" if personal else "OTHER"

    def _optional(self, gloss: str | None, slot: str) -> Words:
        return [self._word(gloss, slot)] if gloss else []

    def _word(self, gloss: str, slot: str, suffix: str = "") -> Word:
        forms = self._words.forms[gloss]
        form = forms[-1] if slot in self._style.synonyms else forms[0]
        if suffix:
            return Word(form + self._words.suffixes[suffix], f"{gloss}-{suffix}", concept(gloss).tag, slot)
        return Word(form, gloss, concept(gloss).tag, slot)


def word_links(source: Sequence[Word], target: Sequence[Word]) -> tuple[Links, Links]:
    """(sure, possible) word links. Sure: between words of the same slot. Possible, in addition: from a function word
    without counterpart to the head that expresses the same thing (an adposition to a case-marked noun)."""
    places = {word.slot: j for j, word in enumerate(target)}
    back = {word.slot: i for i, word in enumerate(source)}
    sure = {(i, places[word.slot]) for i, word in enumerate(source) if word.slot in places}
    extra = {(i, j) for i, word in enumerate(source) for j in _heads_for(word, places)}
    extra |= {(i, j) for j, word in enumerate(target) for i in _heads_for(word, back)}
    return frozenset(sure), frozenset(sure | extra)


def _heads_for(word: Word, others: dict[str, int]) -> list[int]:
    if word.slot in others:
        return []
    if word.slot.startswith("aux."):
        return [others["verb"]]
    role, _, part = word.slot.partition(".")
    heads = [others[slot] for slot in (f"{role}.head", f"{role}.name0") if slot in others]
    return heads if part in ("adp", "det") else []

"""The nine tasks as records: the same items in every language, except for `qa_native`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.data.babel import edits
from harness.data.babel.corpora import FREE
from harness.data.babel.dice import Dice
from harness.data.babel.grammar import realise, text, word_links
from harness.data.babel.languages import PIVOT
from harness.data.babel.lexicon import BabelLexicon, lexicon
from harness.data.babel.pairs import text_pairs
from harness.data.babel.reading import READINGS, questions
from harness.data.babel.sentences import (
    DISTRACTORS,
    NER_PROFILE,
    POOL_PROFILE,
    POS_PROFILE,
    Statement,
    mining_pool,
    retrieval_statements,
    statements,
)
from harness.data.babel.settings import BabelSettings
from harness.records import AlignedPair, PoolSentence, Question, Record, TaggedSentence, TextPair

GENERATORS = {  # by task
    **{"xnli": "nli", "pawsx": "paraphrase", "udpos": "pos", "panx": "ner"},
    **{"xquad": "qa", "mlqa": "qa_crossed", "tydiqa": "qa_native"},
    **{"bucc2018": "mining", "tatoeba": "retrieval", "sentence-geometry": "retrieval"},
    **dict.fromkeys(("word-alignment", "word-retrieval", "static-retrieval"), "links"),
}
TRAINED = ("nli", "paraphrase", "pos", "ner")
SPLITS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(TRAINED, ("train", "dev", "test")),
    **dict.fromkeys(READINGS, ("train", "test")),
    "mining": ("dev", "test"),
    "retrieval": ("test",),
    "links": ("test",),
}


def item_count(settings: BabelSettings, task: str, split: str) -> int:
    """The number of items in a split; for mining and retrieval, the number of translated pairs."""
    if split == "train":
        name = READINGS[task].trained_on if task in READINGS else task
        return int(getattr(settings.sizes, name))
    return settings.sizes.dev if split == "dev" else settings.sizes.test


def record_count(settings: BabelSettings, task: str, split: str) -> int:
    """The number of records in a cell."""
    number = item_count(settings, task, split)
    if "train" in SPLITS[task] or task == "links":
        return number
    return 2 * (number + (number * DISTRACTORS // 100 if task == "mining" else 0))


def pair_task(settings: BabelSettings, task: str, view: str, split: str) -> list[TextPair]:
    """Sentence pairs of `nli` and `paraphrase`, parallel across views."""
    return list(text_pairs(settings, task, view, split, item_count(settings, task, split)))


def tag_task(settings: BabelSettings, task: str, view: str, split: str) -> list[TaggedSentence]:
    """Tagged sentences of `pos` (universal tags) and `ner` (BIO), parallel across views."""
    profile = POS_PROFILE if task == "pos" else NER_PROFILE
    words = _lexicon(settings, view)
    found = []
    drawn = statements(settings.seed, task, split, item_count(settings, task, split), profile)
    for i, (event, style) in enumerate(drawn):
        sentence = realise(event, words, style)
        tags = tuple(word.tag if task == "pos" else word.entity for word in sentence)
        forms = tuple(word.form for word in sentence)
        found.append(TaggedSentence(f"{task}-{split}-{view}-{i:06}", forms, tags, f"{task}-{split}-{i:06}"))
    return found


def mining_task(settings: BabelSettings, task: str, view: str, split: str) -> list[PoolSentence]:
    """One pool per side: translated statements and distractors, most of which differ from one of those in one thing."""
    shared, source_only, target_only = mining_pool(settings.seed, split, item_count(settings, task, split))
    source = _side(settings, "source", view, [*shared, *source_only], len(shared), f"{task}-{split}-{view}")
    return source + _side(settings, "target", PIVOT, [*shared, *target_only], len(shared), f"{task}-{split}-{view}")


def retrieval_task(settings: BabelSettings, task: str, view: str, split: str) -> list[PoolSentence]:
    """Pairs of translations: every source sentence has one partner, and many have a close variant in the pool."""
    drawn, prefix = (
        retrieval_statements(settings.seed, split, item_count(settings, task, split)),
        f"{task}-{split}-{view}",
    )
    source = _side(settings, "source", view, drawn, len(drawn), prefix)
    return source + _side(settings, "target", PIVOT, drawn, len(drawn), prefix)


def _side(
    settings: BabelSettings, side: str, code: str, drawn: Sequence[Statement], shared: int, prefix: str
) -> list[PoolSentence]:
    """One side of a pool in its own random order. Statement i < `shared` has a partner on the other side."""
    words = _lexicon(settings, code)
    other = "t" if side == "source" else "s"
    task_split = prefix.rpartition("-")[0]
    found = []
    for i in Dice("order", prefix, side).shuffled(range(len(drawn))):
        partners = (f"{prefix}-{other}{i:06}",) if i < shared else ()
        cluster = f"{task_split}-{i:06}" if i < shared else f"{task_split}-{side}-{i:06}"
        sentence = text(realise(drawn[i].event, words, drawn[i].style))
        found.append(PoolSentence(f"{prefix}-{side[0]}{i:06}", side, sentence, partners, cluster))
    return found


def link_task(settings: BabelSettings, task: str, view: str, split: str) -> list[AlignedPair]:
    """Translations with gold word links; a quarter of them are free."""
    pivot, words = _lexicon(settings, PIVOT), _lexicon(settings, view)
    dice = Dice(task, settings.seed, split, view)
    found = []
    drawn = statements(settings.seed, task, split, item_count(settings, task, split), POOL_PROFILE)
    for i, (event, style) in enumerate(drawn):
        source = realise(event, pivot, style)
        target = realise(event, words, edits.random_style(dice) if dice.chance(FREE) else style)
        forms = tuple(word.form for word in source), tuple(word.form for word in target)
        sure, possible = word_links(source, target)
        name = f"{task}-{split}-{view}-{i:06}"
        found.append(AlignedPair(name, view, *forms, sure, possible, f"{task}-{split}-{i:06}"))
    return found


def reading_task(settings: BabelSettings, task: str, view: str, split: str) -> list[Question]:
    """Questions on passages, of `qa`, `qa_crossed` and `qa_native`."""
    return questions(settings, task, view, split, item_count(settings, task, split))


def _lexicon(settings: BabelSettings, code: str) -> BabelLexicon:
    return lexicon(settings.seed, settings.languages[code])


Maker = Callable[[BabelSettings, str, str, str], Sequence[Record]]
MAKERS: dict[str, Maker] = {
    "nli": pair_task,
    "paraphrase": pair_task,
    "pos": tag_task,
    "ner": tag_task,
    **dict.fromkeys(READINGS, reading_task),
    "mining": mining_task,
    "retrieval": retrieval_task,
    "links": link_task,
}


def views(settings: BabelSettings, task: str, split: str) -> tuple[str, ...]:
    """The views that have this split. Only the pivot has training data, and it is never the foreign side of a pool.
    Views with questions in another language come last."""
    if split == "train":
        return (PIVOT,)
    own = tuple(code for code in settings.languages if "train" in SPLITS[task] or code != PIVOT)
    crossed = task in READINGS and READINGS[task].crossed
    return (*own, *(f"{one}.{other}" for one in own for other in own if crossed and one != other))

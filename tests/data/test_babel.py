"""The made-up world: the same bytes everywhere, exact gold, disjoint splits, and languages that differ as declared."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Sequence
from typing import Any

import pytest

from harness.data.babel import LANGUAGES, Babel
from harness.data.babel.gloss import EXAMPLES
from harness.data.babel.grammar import realise
from harness.data.babel.lexicon import lexicon
from harness.data.source import Manifest, open_source
from harness.errors import UsageError, UserError
from harness.records import Corpus, PoolSentence, Record, TaggedSentence, TextPair
from harness.task import TaskSpec
from tasks.families.tagging import Tagging
from tests.support.record_lines import record_line

NAMES = ("xnli", "pawsx", "udpos", "panx", "bucc2018", "tatoeba")
TAGS = ("ADJ", "ADP", "ADV", "AUX", "DET", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "VERB")
GOLDEN = "9efd6d8efd2fb81c9fc8d36c8dc64188610a1523b015ce43e76c5bce33de88a9"


def spec(task: str) -> TaskSpec:
    return TaskSpec(task, task, Tagging.family, "f1", (), {}, "", "", "")


SPECS = [spec(task) for task in NAMES]


@pytest.fixture(scope="module")
def babel() -> Babel:
    source = open_source("babel:size=small")
    assert isinstance(source, Babel)
    return source


@pytest.fixture(scope="module")
def manifest(babel: Babel) -> Manifest:
    return babel.manifest(SPECS)


@pytest.fixture(scope="module")
def cells(babel: Babel, manifest: Manifest) -> dict[tuple[str, str, str], Sequence[Record]]:
    return {(c.task, c.view, c.split): babel.task(spec(c.task), c.view, c.split) for c in manifest.tasks}


def texts(record: Record) -> list[str]:
    if isinstance(record, TextPair):
        return [record.first, record.second]
    return [" ".join(record.words)] if isinstance(record, TaggedSentence) else [record.text]  # type: ignore[union-attr]


def bare(text: str) -> str:
    return re.sub(r"[ ,.]+", " ", text).strip()


# The same bytes


def test_the_bytes_of_the_small_size_are_golden(
    babel: Babel, manifest: Manifest, cells: dict[tuple[str, str, str], Sequence[Record]]
) -> None:
    digest = hashlib.sha256()
    for records in cells.values():
        digest.update("\n".join(map(record_line, records)).encode())
    for cell in manifest.corpora:
        digest.update("\n".join(map(record_line, babel.corpus(cell.kind, [cell.language]))).encode())
    assert digest.hexdigest() == GOLDEN, "the data changed: if that is meant, measure docs/babel.md again"


def test_another_seed_is_another_world(babel: Babel) -> None:
    other = open_source("babel:size=small,seed=1")
    assert other.task(spec("xnli"), "qaa", "test") != babel.task(spec("xnli"), "qaa", "test")
    one, two = ([cell.fingerprint for cell in source.manifest(SPECS).tasks] for source in (babel, other))
    assert set(one).isdisjoint(two)


# What the manifest promises


def test_manifest_counts_what_is_there(
    babel: Babel, manifest: Manifest, cells: dict[tuple[str, str, str], Sequence[Record]]
) -> None:
    for cell in manifest.tasks:
        assert len(cells[cell.task, cell.view, cell.split]) == cell.count
    for kind_cell in manifest.corpora:
        assert len(babel.corpus(kind_cell.kind, [kind_cell.language])) == kind_cell.count
    fingerprints = [c.fingerprint for c in (*manifest.tasks, *manifest.corpora)]  # type: ignore[attr-defined]
    assert len(set(fingerprints)) == len(fingerprints)


@pytest.mark.parametrize("task", NAMES)
@pytest.mark.parametrize("size", ["small", "demo", "large"])
def test_every_language_has_500_test_items(task: str, size: str) -> None:
    manifest = open_source(f"babel:size={size}").manifest([spec(task)])
    foreign = [code for code in LANGUAGES if code != "qaa"]
    trained = task in ("xnli", "pawsx", "udpos", "panx")
    assert manifest.views(task, "test") == (("qaa", *foreign) if trained else tuple(foreign))
    for view in manifest.views(task, "test"):
        cell = manifest.cell(task, view, "test")
        assert cell is not None
        assert cell.count >= (500 if trained else 1000)


def test_ids_are_unique_and_clusters_join_languages(cells: dict[tuple[str, str, str], Sequence[Record]]) -> None:
    for (task, view, split), records in cells.items():
        assert len({r.id for r in records}) == len(records)
        other = cells.get((task, "qab", split), records)
        assert {r.cluster for r in records} == {r.cluster for r in other}, (task, view, split)


def test_asking_for_what_is_not_there_says_what_is(babel: Babel) -> None:
    with pytest.raises(UserError, match="test: qaa qab"):
        babel.task(spec("xnli"), "qab", "train")
    with pytest.raises(UserError, match="qab, qac"):
        babel.corpus(Corpus.PARALLEL, ["qaa"])


# Splits


def test_no_sentence_is_in_two_splits(
    babel: Babel, manifest: Manifest, cells: dict[tuple[str, str, str], Sequence[Record]]
) -> None:
    owner: dict[str, str] = {}
    for (_, view, split), records in cells.items():
        for record in records:
            pivot = view == "qaa" or (isinstance(record, PoolSentence) and record.side == "target")
            for text in texts(record) if pivot else ():
                assert owner.setdefault(bare(text), split) == split
    corpora = [r.text for r in babel.corpus(Corpus.MONO, ["qaa"])]  # type: ignore[union-attr]
    corpora += [r.source for r in babel.corpus(Corpus.PARALLEL, babel.languages[1:])]  # type: ignore[union-attr]
    for line in corpora:
        for text in re.split(r"(?<=\.) ", line):
            assert owner.setdefault(bare(text), "corpus") == "corpus"


def test_half_of_the_test_names_are_unseen(babel: Babel, cells: dict[tuple[str, str, str], Sequence[Record]]) -> None:
    def names(split: str) -> list[str]:
        found: list[str] = []
        for record in cells["panx", "qaa", split]:
            assert isinstance(record, TaggedSentence)
            found += [w for w, t in zip(record.words, record.tags or (), strict=True) if t != "O"]
        return found

    known = set(names("train")) | {w for r in babel.corpus(Corpus.MONO, ["qaa"]) for w in bare(r.text).split()}  # type: ignore[union-attr]
    unseen = sum(name not in known for name in names("test")) / len(names("test"))
    assert 0.3 < unseen < 0.6


# Gold


def test_labels_and_tags_are_the_tasks_own(cells: dict[tuple[str, str, str], Sequence[Record]]) -> None:
    found: dict[str, set[str]] = {}
    for (task, _, _), records in cells.items():
        for r in records:
            if isinstance(r, TextPair):
                found.setdefault(task, set()).add(r.label or "")
            elif isinstance(r, TaggedSentence):
                assert len(r.tags or ()) == len(r.words)
                found.setdefault(task, set()).update(r.tags or ())
    assert found["xnli"] == {"entailment", "neutral", "contradiction"}
    assert found["pawsx"] == {"0", "1"}
    assert found["panx"] == {"O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"}
    assert found["udpos"] == {*TAGS}


def test_names_are_well_formed_spans(cells: dict[tuple[str, str, str], Sequence[Record]]) -> None:
    for (task, _, _), records in cells.items():
        for record in records if task == "panx" else ():
            assert isinstance(record, TaggedSentence)
            for before, tag in itertools.pairwise(("O", *(record.tags or ()))):
                assert not tag.startswith("I-") or before[2:] == tag[2:]


@pytest.mark.parametrize("code", [code for code in LANGUAGES if code != "qaa"])
def test_every_sure_link_joins_translations(babel: Babel, code: str) -> None:
    known = {(e.source, e.target) for e in babel.corpus(Corpus.DICTIONARY, [code])}  # type: ignore[union-attr]
    names = lexicon(0, LANGUAGES[code]).names
    for pair in babel.corpus(Corpus.ALIGNMENT, [code]):
        assert pair.sure <= pair.possible  # type: ignore[union-attr]
        for i, j in pair.sure:  # type: ignore[union-attr]
            source, target = pair.source[i], pair.target[j]  # type: ignore[union-attr]
            named = source in names and target.startswith(names[source])
            assert (source, target) in known or named or source == target in ".,"


def test_entities_are_mentioned_at_their_span(babel: Babel) -> None:
    for entity in babel.corpus(Corpus.ENTITIES, babel.languages):
        start, end = entity.span  # type: ignore[union-attr]
        mention = entity.mention[start:end]  # type: ignore[union-attr]
        name = entity.name  # type: ignore[union-attr]
        assert mention == name or (LANGUAGES[entity.language].case and mention.split()[0].startswith(name.split()[0]))  # type: ignore[union-attr]


def test_entities_are_related_to_others_alike_in_every_language(babel: Babel) -> None:
    by_language: dict[str, list[Any]] = {code: list(babel.corpus(Corpus.ENTITIES, [code])) for code in babel.languages}
    facts = {
        code: [(entity.entity, [relation.object for relation in entity.relations]) for entity in entities]
        for code, entities in by_language.items()
    }
    assert all(told == facts[babel.pivot] for told in facts.values())
    for code, entities in by_language.items():
        forms = {form for forms in lexicon(0, LANGUAGES[code]).forms.values() for form in forms}
        named = {entity.entity: entity.name for entity in entities}
        assert len(named) == len(entities)
        for entity in entities:
            names = [relation.name for relation in entity.relations]
            assert len(set(names)) == len(names)
            assert set(names) <= forms
            for relation in entity.relations:
                assert relation.object != entity.entity
                stem = named[relation.object].split()[0]
                assert any(w.startswith(stem) for w in entity.description.split()), "the description tells the relation"
    assert any(len(told) > 1 for _, told in facts[babel.pivot]), "a relation tells which of two is meant"
    more = list(Babel.open("size=small,entities=90").corpus(Corpus.ENTITIES, [babel.pivot]))
    assert more[:50] == by_language[babel.pivot], "a longer list leaves the shorter one as it is"


def test_partners_are_mutual_and_sentences_single(cells: dict[tuple[str, str, str], Sequence[Record]]) -> None:
    for (task, view, _), records in cells.items():
        if task not in ("bucc2018", "tatoeba"):
            continue
        pool = [r for r in records if isinstance(r, PoolSentence)]
        sides = [r.side for r in pool]
        assert sides == sorted(sides), "source sentences come first"
        by_id = {r.id: r for r in pool}
        for record in pool:
            assert record.partners is not None
            assert (task == "tatoeba") <= (len(record.partners) == 1)
            back = [(by_id[p].partners, by_id[p].cluster) for p in record.partners]
            assert all(pair == ((record.id,), record.cluster) for pair in back)
        lone = sum(not r.partners for r in pool)
        assert (lone > 0) == (task == "bucc2018")
        assert len({(r.side, r.text) for r in pool}) == len(pool), view


def test_translated_training_sets_follow_the_pivots(babel: Babel) -> None:
    train = {r.cluster: r.label for task in ("xnli", "pawsx") for r in babel.task(spec(task), "qaa", "train")}  # type: ignore[union-attr]
    translated = {r.cluster: r.label for r in babel.corpus(Corpus.TRANSLATED_TRAIN, ["qaf"])}  # type: ignore[union-attr]
    assert translated == train


def test_images_are_exact_and_near_for_near_meanings(babel: Babel) -> None:
    one, other = (babel.corpus(Corpus.IMAGES, [code]) for code in ("qaa", "qah"))
    assert [r.features for r in one] == [r.features for r in other]  # type: ignore[union-attr]
    assert all(x * 8 == int(x * 8) for x in one[0].features)  # type: ignore[union-attr]


# Languages


@pytest.mark.parametrize("code", [code for code in LANGUAGES if code != "qaa"])
def test_a_language_leaves_its_neighbour_in_what_it_declares(code: str) -> None:
    language = LANGUAGES[code]
    near = LANGUAGES[language.neighbour]
    apart = {f.name for f in dataclasses.fields(language) if getattr(language, f.name) != getattr(near, f.name)}
    declared = {
        "qab": {"cognates", "loans"},
        "qac": {"script"},
        "qad": {"script", "adjective"},
        "qae": {"script", "adposition"},
        "qaf": {"script", "order"},
        "qag": {"script", "order"},
        "qah": {"script", "case", "agreement"},
    }
    assert apart - {"code", "step", "neighbour"} == declared[code]


def glosses(code: str) -> list[str]:
    words = lexicon(0, LANGUAGES[code])
    return [" ".join(w.gloss for w in realise(event, words, style)) for event, style in EXAMPLES]


def test_word_order_is_as_declared() -> None:
    shown = {code: glosses(code)[0] for code in LANGUAGES}
    assert shown["qaa"] == shown["qab"] == shown["qac"] == "red dog not kick three baker in wet garden dawn ."
    assert shown["qad"] == "dog red not kick three baker in garden wet dawn ."
    assert shown["qae"] == "dog red not kick three baker garden wet in dawn ."
    assert shown["qaf"] == "dog red dawn garden wet in three baker not kick ."
    assert shown["qag"] == "not kick dog red three baker garden wet in dawn ."
    assert shown["qah"] == "dog red dawn garden-LOC wet-LOC three baker-ACC not kick-OTHER ."


def test_words_are_shared_as_declared() -> None:
    pivot = lexicon(0, LANGUAGES["qaa"]).forms
    same = {c: sum(lexicon(0, LANGUAGES[c]).forms[g] == pivot[g] for g in pivot) / len(pivot) for c in LANGUAGES}
    qab, qac = LANGUAGES["qab"], LANGUAGES["qac"]
    assert same["qab"] == pytest.approx((qab.cognates + qab.loans) / 100, abs=0.06)
    assert all(same[c] == pytest.approx(qac.loans / 100, abs=0.06) for c in LANGUAGES if c > "qab")


def test_one_altered_property_leaves_the_rest_alone(babel: Babel) -> None:
    altered = open_source("babel:size=small,qaf.order=SVO")
    assert altered.task(spec("udpos"), "qae", "test") == babel.task(spec("udpos"), "qae", "test")
    one, other = (s.task(spec("udpos"), "qaf", "test") for s in (altered, babel))
    assert one != other
    assert [sorted(r.words) for r in one] == [sorted(r.words) for r in other]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("sise=small", "did you mean 'size'"),
        ("size=huge", "small"),
        ("seed=-1", "whole number"),
        ("seed", "name=value"),
        ("seed=1,seed=2", "twice"),
        ("qzz.order=SVO", "unknown language of babel 'qzz'"),
        ("qaf.order=OVS", "SVO, SOV, VSO"),
        ("qaf.word=SVO", "adposition"),
        ("qaf.loans=101", "percentage"),
    ],
)
def test_wrong_settings_name_what_exists(location: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        open_source(f"babel:{location}")


# Difficulty


@pytest.mark.long
def test_shallow_baselines_are_poor() -> None:
    from validation.babel_calibration import pair_baselines, tag_baselines

    source = open_source("babel:nli=3000,paraphrase=3000")
    bounds = {"xnli": 66.0, "pawsx": 58.0, "udpos": 91.0, "panx": 50.0}
    for task, bound in bounds.items():
        train, test = (source.task(spec(task), "qaa", split) for split in ("train", "test"))
        found = (
            pair_baselines(train, test)  # type: ignore[arg-type]
            if task in ("xnli", "pawsx")
            else tag_baselines(train, test, task)  # type: ignore[arg-type]
        )
        assert max(found.values()) < bound, (task, found)

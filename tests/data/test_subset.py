"""A source limited to some of its languages."""

from __future__ import annotations

import pytest

from harness.data.languages import language
from harness.data.source import absolute_uri, open_source
from harness.errors import UsageError
from harness.records import Corpus
from harness.registry import TASKS

BABEL = "babel:size=small"


def test_subset_holds_its_languages_and_the_pivot_unchanged() -> None:
    specs = [TASKS.get("udpos").spec, TASKS.get("mlqa").spec]
    whole, part = open_source(BABEL), open_source(f"subset:qac+qab,{BABEL}")
    everything, manifest = whole.manifest(specs), part.manifest(specs)
    assert {view for cell in manifest.tasks for view in cell.view.split(".")} == {"qaa", "qab", "qac"}
    assert manifest.languages(Corpus.PARALLEL) == ("qab", "qac")
    assert set(manifest.tasks) <= set(everything.tasks), "with the fingerprints of the whole source"
    assert set(manifest.corpora) <= set(everything.corpora)
    assert list(part.task(specs[0], "qab", "test")) == list(whole.task(specs[0], "qab", "test"))
    assert part.name == "subset:qac+qab,babel:size=small"
    assert absolute_uri(f"subset:qab,{BABEL}") == f"subset:qab,{BABEL}"


def test_subset_is_transformed_like_any_source() -> None:
    spec = TASKS.get("udpos").spec
    plain, turned = (open_source(f"{change}subset:qab,{BABEL}") for change in ("", "transformed:inversion:qab,"))
    first, other = (source.task(spec, "qab", "test")[0] for source in (plain, turned))
    assert other.words == first.words[::-1]


@pytest.mark.parametrize("location", ["subset:qab", f"subset:,{BABEL}", f"subset:qzz,{BABEL}"])
def test_subset_without_a_source_or_of_unknown_languages_is_refused(location: str) -> None:
    with pytest.raises(UsageError):
        open_source(location)


@pytest.mark.parametrize("change", ["subset:qab,", "transformed:inversion:qab,", "transformed:script:qab,subset:qab,"])
def test_languages_of_a_changed_source_keep_their_properties(change: str) -> None:
    name = open_source(f"{change}babel:size=small,qab.order=VSO").name
    assert language("qab", name) == language("qab", "babel:size=small,qab.order=VSO")

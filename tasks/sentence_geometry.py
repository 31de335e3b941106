"""Sentence geometry: how the vectors of Tatoeba's sentences lie to those of their translations. No training."""

from __future__ import annotations

from harness.task import TaskSpec
from tasks.families.geometry import GeometrySettings, SentenceGeometry
from tasks.tatoeba import SPEC as TATOEBA

SPEC = TaskSpec(
    name="sentence-geometry",
    title="Geometry of sentences",
    family=SentenceGeometry.family,
    metric="strong_retrieval",
    languages=TATOEBA.languages,
    labels=(),
    protocols={
        "official": GeometrySettings(max_length=512),
        "mini": GeometrySettings(max_length=64),
        "alignboard": GeometrySettings(max_length=512),
    },
    variants=TATOEBA.variants,
    licence=TATOEBA.licence,
    citation=TATOEBA.citation,
    description=(
        "Strong retrieval: the translation is nearer than every other sentence of both languages, mean of both "
        "directions. Also weak and CSLS retrieval, CKA, RSIM, a language probe, alignment, uniformity, mean cosine, "
        "isotropy and hubness. Set `layer` for another layer."
    ),
    splits=("test",),
)


class GeometryOfTatoeba(SentenceGeometry):
    """Measures on the data of `tatoeba`."""

    spec = SPEC

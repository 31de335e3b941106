"""The suites: named lists of tasks that one table shows."""

from __future__ import annotations

from harness.protocols import Suite

XTREME_ALIGN = Suite(
    name="xtreme-align",
    title="XTREME, six tasks",
    tasks=("xnli", "pawsx", "udpos", "panx", "bucc2018", "tatoeba"),
    description="The tasks of the ML-CTL paper: classification, tagging and retrieval, without question answering.",
)

XTREME = Suite(
    name="xtreme",
    title="XTREME, nine tasks",
    tasks=("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc2018", "tatoeba"),
    description="All tasks of XTREME: those six and question answering.",
)

ALIGNMENT = Suite(
    name="alignment",
    title="Intrinsic measures of alignment",
    tasks=("word-alignment", "word-retrieval", "static-retrieval", "sentence-geometry"),
    description="How well words and sentences are aligned, without training: links, retrieval, geometry of vectors.",
)

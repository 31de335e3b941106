"""The tasks' own settings are XTREME's, and docs/protocol.md says what they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.data.babel import Babel
from harness.data.folder import Folder
from harness.data.hub import Hub
from harness.experiments.recipe import PROTOCOLS
from harness.registry import SUITES, TASKS
from harness.task import TaskSpec, TrainedSettings
from tasks.families.bitext_mining import MiningSettings
from tasks.families.pools import PoolSettings
from tasks.families.question_answering import AnswerSettings
from tasks.families.tagging import TagSettings

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
ALIGN = ("xnli", "pawsx", "udpos", "panx", "bucc2018", "tatoeba")
QA = ("xquad", "mlqa", "tydiqa")
NAMES = (*ALIGN[:4], *QA, *ALIGN[4:])


def specs() -> list[TaskSpec]:
    return [TASKS.get(name).spec for name in NAMES]


def rows(spec: TaskSpec) -> list[str]:
    """The page's table rows for a task, one for each protocol."""
    cells: Any = qa_cells if spec.name in QA else trained_cells if spec.trained else pool_cells
    return [
        f"| {' | '.join([f'`{spec.name}`', f'`{protocol}`', *cells(settings)])} |"
        for protocol, settings in spec.protocols.items()
    ]


def rate(value: float) -> str:
    return f"{value:.0e}".replace("e-0", "e-")


def trained_cells(s: TrainedSettings) -> list[str]:
    caps = " / ".join("all" if cap is None else f"{cap:,}" for cap in (s.max_train, s.max_dev, s.max_test))
    return [
        ", ".join(rate(each) for each in s.learning_rates or (s.learning_rate,)),
        f"{s.batch_size} x {s.accumulation}",
        f"{s.epochs:g}",
        str(s.max_length),
        str(s.warmup_steps),
        "epoch" if s.evaluate_every is None else f"{s.evaluate_every} updates",
        "as configured" if s.attention_dropout else "none",
        "-" if s.seed is None else str(s.seed),
        caps,
    ]


def qa_cells(s: AnswerSettings) -> list[str]:
    windows = [str(n) for n in (s.doc_stride, s.question_length, s.answer_length, s.best)]
    cells = trained_cells(s)
    return [*cells[:5], *windows, *cells[6:8], cells[8].replace(" / all", "", 1)]


def pool_cells(s: PoolSettings) -> list[str]:
    margin = [str(s.neighbours), s.margin] if isinstance(s, MiningSettings) else ["-", "-"]
    layer = "8 of 12" if s.layer is None else "last" if s.layer == -1 else str(s.layer)
    return [layer, s.pooling, str(s.max_length), *margin]


def variants() -> list[str]:
    """The page's table rows of what differs by kind of base."""
    return [
        f"| `{spec.name}` | `{protocol}` | {variant.name} | {changes_text(variant.changes)} |"
        for spec in specs()
        for protocol, known in spec.variants.items()
        for variant in known
    ]


def changes_text(changes: Mapping[str, Any]) -> str:
    named = {name: value if isinstance(value, tuple) else (value,) for name, value in changes.items()}
    return "; ".join(
        f"{name} {', '.join(rate(v) if isinstance(v, float) else str(v) for v in values)}"
        for name, values in named.items()
    )


def choices() -> list[str]:
    return [
        f"| `{spec.name}` | {choice.name} | {choice.here} | {choice.official} |"
        for spec in specs()
        for choice in spec.choices
    ]


def deviations() -> str:
    """The page's list of deviations, as the tasks declare them."""
    return "\n".join(f"- `{spec.name}`: {'; '.join(spec.deviations)}." for spec in specs() if spec.deviations)


def test_the_protocol_page_lists_every_setting() -> None:
    page = PAGE.read_text(encoding="utf-8")
    listed = [row for spec in specs() for row in rows(spec)]
    missing = [row for row in [*listed, *variants(), *choices()] if row not in page]
    assert not missing, "\n".join(missing)
    assert deviations() in page


def test_official_settings_are_those_of_the_scripts() -> None:
    official = {spec.name: spec.protocols["official"] for spec in specs()}
    for name, kind, epochs, cadence, seed in (
        ("xnli", TrainedSettings, 5, 100, 42),
        ("pawsx", TrainedSettings, 5, 200, 42),
        ("udpos", TagSettings, 10, 500, 1),
        ("panx", TagSettings, 10, 1000, 1),
    ):
        assert official[name] == kind(epochs=epochs, evaluate_every=cadence, seed=seed), name
    qa = AnswerSettings(
        learning_rate=3e-5,
        batch_size=4,
        accumulation=8,
        epochs=3,
        max_length=384,
        warmup_steps=500,
        weight_decay=1e-4,
        seed=42,
    )
    assert [official[name] for name in QA] == [qa] * 3
    assert (qa.doc_stride, qa.question_length, qa.answer_length, qa.best) == (128, 64, 30, 20)
    assert official["bucc2018"] == MiningSettings(max_length=512, pooling="cls")
    assert official["tatoeba"] == PoolSettings(max_length=512, pooling="mean")
    defaults = TrainedSettings()
    assert (defaults.learning_rate, defaults.batch_size, defaults.accumulation) == (2e-5, 8, 4)
    assert (defaults.warmup_steps, defaults.weight_decay, defaults.clip, defaults.adam_epsilon) == (0, 0.0, 1.0, 1e-8)
    assert defaults.attention_dropout
    assert defaults.max_length == 128


@pytest.mark.parametrize(
    ("name", "languages"),
    [
        ("xnli", 15),
        ("pawsx", 7),
        ("udpos", 33),
        ("panx", 40),
        ("xquad", 11),
        ("mlqa", 7),
        ("tydiqa", 9),
        ("bucc2018", 4),
        ("tatoeba", 36),
    ],
)
def test_languages_are_those_of_xtreme(name: str, languages: int) -> None:
    spec = TASKS.get(name).spec
    assert spec.name == name
    assert len(set(spec.languages)) == len(spec.languages) == languages
    assert ("en" in spec.languages) == spec.trained


def test_every_location_is_complete() -> None:
    for spec in specs():
        for source in (Folder, Babel, Hub):
            assert set(source.locations(spec)) == set(spec.splits), source
        assert set(spec.protocols) == set(PROTOCOLS)
        assert all((spec.licence, spec.citation, spec.description, spec.title))


def test_the_suite_names_registered_tasks() -> None:
    for name, tasks in (("xtreme-align", ALIGN), ("xtreme", NAMES)):
        suite = SUITES.get(name)
        assert suite.name == name
        assert suite.tasks == tasks
        assert all(task in TASKS for task in suite.tasks)

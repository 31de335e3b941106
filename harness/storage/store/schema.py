"""The tables of the store, and one record per table that callers fill.

Two rows on the same data and base differ in seeds alone when their `recipe_hash` is equal: it covers every setting but
the seeds. `serial` counts the runs that were added, so the newest has the highest one, whatever clocks say.
Text columns that do not apply hold "" rather than NULL, so that unique constraints see them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

REVISION: Final = "0007"  # the newest migration: what this version of the code reads and writes

STAGE_STATUSES: Final = ("planned", "running", "done", "failed", "interrupted")
SUPERSEDED: Final = "superseded"  # a run that never ends, since its data, its base or its settings have changed
STATUSES: Final = (*STAGE_STATUSES, SUPERSEDED)
UNFINISHED: Final = ("planned", "running", "failed", "interrupted")  # what `alignboard resume` runs again
KINDS: Final = ("trained", "external", "published")
RECIPES: Final = ("matched", "paper")
AVERAGE: Final = "average"  # the task name of the mean over tasks
LATER: Final = ("views", "alignment")  # columns of a run that its `RunRow` does not hold


class UtcTime(sa.TypeDecorator[datetime]):
    """A time in UTC. Values read are aware even from back ends without time zones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        assert value is None or value.tzinfo is not None, "a time needs a time zone"
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JsonOf(sa.TypeDecorator[Any]):
    """A JSON object (dict) or list. Reading anything else raises ValueError, since the file is damaged."""

    impl = sa.JSON
    cache_ok = True

    def __init__(self, kind: type[dict[str, Any]] | type[list[Any]]) -> None:
        super().__init__()
        self.kind = kind

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        if not isinstance(value, self.kind):
            raise ValueError(f"a column of {self.kind.__name__} holds {str(value)[:40]!r}")
        return value


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One (method, base, recipe, seed pair), trained here, scored from outside, or taken from a publication."""

    id: str
    method: str
    suite: str
    protocol: str
    source: str = ""
    kind: str = "trained"
    config: Mapping[str, Any] = field(default_factory=dict)
    base: str = ""
    base_fingerprint: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    recipe_hash: str = ""
    recipe_kind: str = "matched"
    data_fingerprint: str = ""
    languages: tuple[str, ...] = ()
    languages_hash: str = ""
    align_seed: int | None = None
    finetune_seed: int | None = None
    transform: str = ""
    status: str = "planned"
    error: str | None = None
    code_version: str | None = None
    dirty: bool | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    created: datetime = field(default_factory=now)
    finished: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """One stage and its cost. `artifact` is the path of its folder under the artifact root."""

    fingerprint: str
    kind: str
    task: str | None = None
    status: str = "planned"
    artifact: str | None = None
    started: datetime | None = None
    finished: datetime | None = None
    device_seconds: float | None = None
    peak_memory_bytes: int | None = None
    tokens: int | None = None
    examples: int | None = None
    device: str = ""
    precision: str = ""
    threads: int | None = None
    host: Mapping[str, Any] = field(default_factory=dict)
    code_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One score. `selection` is "" for a task that selects no checkpoint; `n` counts the items behind `value`."""

    stage: str
    task: str
    view: str
    language: str
    split: str
    protocol: str
    metric: str
    value: float
    n: int
    selection: str = ""
    step: int = 0


metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _one_of(column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


def _text(name: str, **settings: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, **settings)


run = sa.Table(
    "run",
    metadata,
    _text("id", primary_key=True),
    _text("kind"),
    _text("method"),
    sa.Column("config", JsonOf(dict), nullable=False),
    _text("base"),
    _text("base_fingerprint"),
    sa.Column("recipe", JsonOf(dict), nullable=False),
    _text("recipe_hash"),
    _text("recipe_kind"),
    _text("protocol"),
    _text("suite"),
    _text("source"),
    _text("data_fingerprint"),
    sa.Column("languages", JsonOf(list), nullable=False),
    _text("languages_hash"),
    sa.Column("align_seed", sa.BigInteger),
    sa.Column("finetune_seed", sa.BigInteger),
    _text("transform"),
    _text("status"),
    sa.Column("error", sa.Text),
    sa.Column("code_version", sa.Text),
    sa.Column("dirty", sa.Boolean),
    sa.Column("packages", JsonOf(dict), nullable=False),
    sa.Column("host", JsonOf(dict), nullable=False),
    sa.Column("card", JsonOf(dict), nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    sa.Column("finished", UtcTime),
    sa.Column("serial", sa.BigInteger, nullable=False, server_default="0"),
    _text("owner", server_default=""),  # the process that runs it, and when that last said that it lives
    sa.Column("heartbeat", UtcTime),
    _text("version", server_default=""),  # of its plan: rows of any other version are refused
    # written after the run itself: the views that each task must score, and what is known of the alignment data
    *(sa.Column(name, JsonOf(dict), nullable=False, server_default="{}") for name in LATER),
    _one_of("kind", KINDS),
    _one_of("recipe_kind", RECIPES),
    _one_of("status", STATUSES),
)

stage = sa.Table(
    "stage",
    metadata,
    _text("fingerprint", primary_key=True),
    _text("kind"),
    sa.Column("task", sa.Text),
    _text("status"),
    sa.Column("artifact", sa.Text),
    sa.Column("started", UtcTime),
    sa.Column("finished", UtcTime),
    sa.Column("device_seconds", sa.Double),
    sa.Column("peak_memory_bytes", sa.BigInteger),
    sa.Column("tokens", sa.BigInteger),
    sa.Column("examples", sa.BigInteger),
    _text("device"),
    _text("precision"),
    sa.Column("threads", sa.Integer),
    sa.Column("host", JsonOf(dict), nullable=False),
    sa.Column("code_version", sa.Text),
    _one_of("status", STAGE_STATUSES),
)

run_stage = sa.Table(
    "run_stage",
    metadata,
    sa.Column("run", sa.Text, sa.ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("fingerprint", sa.Text, sa.ForeignKey("stage.fingerprint", ondelete="CASCADE"), primary_key=True),
    sa.Column("hit", sa.Boolean, nullable=False),
)

# What a score is. A test score may come from any stage and step; on dev sets every step has a score, its `point`.
SCORE_KEY: Final = ("run", "task", "view", "split", "selection", "metric", "point")

score = sa.Table(
    "score",
    metadata,
    sa.Column("run", sa.Text, sa.ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    *(_text(name, primary_key=True) for name in SCORE_KEY[1:6]),
    sa.Column("point", sa.BigInteger, primary_key=True, autoincrement=False),
    # no foreign key: scores of published and external runs have no stage of ours
    *(_text(name) for name in ("stage", "language", "protocol")),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("n", sa.BigInteger, nullable=False),
)

summary = sa.Table(
    "summary",
    metadata,
    sa.Column("run", sa.Text, sa.ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    *(_text(name, primary_key=True) for name in ("task", "split", "selection", "metric")),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("n_views", sa.Integer, nullable=False),
    sa.Column("expected_views", sa.Integer, nullable=False),
    sa.Column("complete", sa.Boolean, nullable=False),
    _text("origin", server_default=""),  # `harness.storage.store.averages.origin` of the scores behind the value
)

# the item parts of the variance of a difference of two rows under one task; `first` and `second` are digests of what
# each row was computed from, `code` that of the statistics
comparison = sa.Table(
    "comparison",
    metadata,
    *(_text(name, primary_key=True) for name in ("code", "first", "second")),
    sa.Column("item_variance", sa.Double, nullable=False),
    sa.Column("interaction", sa.Double, nullable=False),
    sa.Column("clusters", sa.BigInteger, nullable=False),
)

# the ranks and marks of one table of results; `key` is a digest of what they were computed from, `code` that of the
# statistics
verdict = sa.Table(
    "verdict",
    metadata,
    *(_text(name, primary_key=True) for name in ("code", "key")),
    sa.Column("found", JsonOf(dict), nullable=False),
)

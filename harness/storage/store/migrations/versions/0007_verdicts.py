"""Averages know what they were computed from, and the ranks and marks of tables are kept."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

from harness.files import json_digest

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("summary", sa.Column("origin", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "verdict",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("code", "key")),
        sa.Column("found", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("code", "key", name="pk_verdict"),
    )
    _fill_origins()


def downgrade() -> None:
    op.drop_table("verdict")
    op.drop_column("summary", "origin")


def _fill_origins() -> None:
    key = ("run", "task", "split", "selection", "metric")
    summary = sa.table("summary", *map(sa.column, (*key, "origin")))
    score = sa.table("score", *map(sa.column, (*key, "stage", "view")))
    connection = op.get_bind()
    ordered = sa.select(summary).order_by(summary.c.run, summary.c.split)
    for (run, split), rows in groupby(connection.execute(ordered).all(), key=lambda row: (row.run, row.split)):
        scores = connection.execute(sa.select(score).where(score.c.run == run, score.c.split == split)).all()
        for row in rows:
            same = [summary.c[name] == getattr(row, name) for name in key]
            connection.execute(sa.update(summary).where(*same).values(origin=_origin(row, scores)))


def _origin(summary: sa.Row[Any], scores: Sequence[sa.Row[Any]]) -> str:
    """A digest of metric, selection, and the views of each score stage, as the store of this revision writes it."""
    stages: dict[str, list[str]] = {}
    for row in scores:
        if (row.task, row.metric) == (summary.task, summary.metric) and row.selection in (summary.selection, ""):
            stages.setdefault(row.stage, []).append(row.view)
    return json_digest([summary.metric, summary.selection, {stage: sorted(views) for stage, views in stages.items()}])

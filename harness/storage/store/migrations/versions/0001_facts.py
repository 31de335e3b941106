"""Runs, the stages that they share, and scores."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _run()
    _stage()
    op.create_table(
        "run_stage",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("hit", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("run", "fingerprint", name="pk_run_stage"),
        sa.ForeignKeyConstraint(["run"], ["run.id"], name="fk_run_stage_run", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["fingerprint"], ["stage.fingerprint"], name="fk_run_stage_fingerprint", ondelete="CASCADE"
        ),
    )
    _score()


def downgrade() -> None:
    for name in ("score", "run_stage", "stage", "run"):
        op.drop_table(name)


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON, nullable=False)


def _run() -> None:
    op.create_table(
        "run",
        *_text("id", "kind", "method"),
        _json("config"),
        *_text("base", "base_fingerprint"),
        _json("recipe"),
        *_text("recipe_hash", "recipe_kind", "protocol", "suite", "source", "data_fingerprint"),
        _json("languages"),
        *_text("languages_hash"),
        sa.Column("align_seed", sa.BigInteger),
        sa.Column("finetune_seed", sa.BigInteger),
        *_text("transform", "status"),
        sa.Column("error", sa.Text),
        sa.Column("code_version", sa.Text),
        sa.Column("dirty", sa.Boolean),
        _json("packages"),
        _json("host"),
        _json("card"),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
        sa.CheckConstraint("kind IN ('trained', 'external', 'published')", name="ck_run_kind"),
        sa.CheckConstraint("recipe_kind IN ('matched', 'paper')", name="ck_run_recipe_kind"),
        sa.CheckConstraint("status IN ('planned', 'running', 'done', 'failed', 'interrupted')", name="ck_run_status"),
    )


def _stage() -> None:
    op.create_table(
        "stage",
        *_text("fingerprint", "kind"),
        sa.Column("task", sa.Text),
        *_text("status"),
        sa.Column("artifact", sa.Text),
        sa.Column("started", sa.DateTime(timezone=True)),
        sa.Column("finished", sa.DateTime(timezone=True)),
        sa.Column("device_seconds", sa.Double),
        sa.Column("peak_memory_bytes", sa.BigInteger),
        sa.Column("tokens", sa.BigInteger),
        sa.Column("examples", sa.BigInteger),
        *_text("device", "precision"),
        sa.Column("threads", sa.Integer),
        _json("host"),
        sa.Column("code_version", sa.Text),
        sa.PrimaryKeyConstraint("fingerprint", name="pk_stage"),
        sa.CheckConstraint("status IN ('planned', 'running', 'done', 'failed', 'interrupted')", name="ck_stage_status"),
    )


def _score() -> None:
    key = ("run", "stage", "task", "view", "language", "split", "protocol", "selection", "step", "metric")
    op.create_table(
        "score",
        *_text(*key[:8]),
        sa.Column("step", sa.BigInteger, nullable=False),
        *_text("metric"),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(*key, name="pk_score"),
        sa.ForeignKeyConstraint(["run"], ["run.id"], name="fk_score_run", ondelete="CASCADE"),
    )

"""What is derived from scores, so that a board only reads: summaries and comparisons."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    key = ("run", "task", "split", "selection", "metric")
    op.create_table(
        "summary",
        *(sa.Column(name, sa.Text, nullable=False) for name in key),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("n_views", sa.Integer, nullable=False),
        sa.Column("expected_views", sa.Integer, nullable=False),
        sa.Column("complete", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint(*key, name="pk_summary"),
        sa.ForeignKeyConstraint(["run"], ["run.id"], name="fk_summary_run", ondelete="CASCADE"),
    )
    pair = ("contrast", "method_a", "method_b", "task")
    figures = ("estimate", "low", "high", "p", "p_adjusted", "df")
    op.create_table(
        "comparison",
        *(sa.Column(name, sa.Text, nullable=False) for name in pair),
        *(sa.Column(name, sa.Double) for name in figures),
        sa.PrimaryKeyConstraint(*pair, name="pk_comparison"),
    )


def downgrade() -> None:
    op.drop_table("comparison")
    op.drop_table("summary")

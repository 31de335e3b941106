"""Comparisons keep what items add to the variance of a difference; tests follow from it and the scores."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.drop_table("comparison")  # nothing was ever written to it
    key = ("code", "first", "second")
    op.create_table(
        "comparison",
        *(sa.Column(name, sa.Text, nullable=False) for name in key),
        sa.Column("item_variance", sa.Double, nullable=False),
        sa.Column("interaction", sa.Double, nullable=False),
        sa.Column("clusters", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(*key, name="pk_comparison"),
    )


def downgrade() -> None:
    op.drop_table("comparison")
    pair = ("contrast", "method_a", "method_b", "task")
    figures = ("estimate", "low", "high", "p", "p_adjusted", "df")
    op.create_table(
        "comparison",
        *(sa.Column(name, sa.Text, nullable=False) for name in pair),
        *(sa.Column(name, sa.Double) for name in figures),
        sa.PrimaryKeyConstraint(*pair, name="pk_comparison"),
    )

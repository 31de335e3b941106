"""What groups of languages need to know of a run: the views of each of its tasks, and its alignment data."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for name in ("views", "alignment"):
        op.add_column("run", sa.Column(name, sa.JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    for name in ("views", "alignment"):
        op.drop_column("run", name)

"""The status `superseded`, and the order in which runs were added, which no clock decides."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_FORMER = ("planned", "running", "done", "failed", "interrupted")


def upgrade() -> None:
    _limit_statuses((*_FORMER, "superseded"))
    op.add_column("run", sa.Column("serial", sa.BigInteger, nullable=False, server_default="0"))
    # of the runs that are there, nothing else tells which came first
    op.execute("UPDATE run SET serial = (SELECT count(*) FROM run AS former WHERE former.created <= run.created)")


def downgrade() -> None:
    op.drop_column("run", "serial")
    op.execute("UPDATE run SET status = 'interrupted' WHERE status = 'superseded'")
    _limit_statuses(_FORMER)


def _limit_statuses(statuses: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{status}'" for status in statuses)
    with op.batch_alter_table("run") as batch:  # SQLite copies the table
        batch.drop_constraint("ck_run_status", type_="check")
        batch.create_check_constraint("ck_run_status", f"status IN ({listed})")

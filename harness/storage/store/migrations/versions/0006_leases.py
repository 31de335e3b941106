"""Runs know the process that works on them, and a score is one row, whichever stage it comes from."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_KEY = ("run", "task", "view", "split", "selection", "metric")
_OTHERS = ("stage", "language", "protocol", "step", "value", "n")
_POINT = "CASE WHEN split = 'dev' THEN step ELSE 0 END"


def upgrade() -> None:
    op.add_column("run", sa.Column("owner", sa.Text, nullable=False, server_default=""))
    op.add_column("run", sa.Column("heartbeat", sa.DateTime(timezone=True)))
    op.add_column("run", sa.Column("version", sa.Text, nullable=False, server_default=""))
    op.execute("UPDATE run SET status = 'interrupted' WHERE status = 'running'")  # nothing tells whether they are
    _replace_scores((*_KEY, "point"))
    # of several rows for one cell the one whose stage ended last
    names = _listed((*_KEY, *_OTHERS))
    op.execute(
        f"INSERT INTO score ({names}, point) SELECT {names}, point FROM (SELECT former.*, {_POINT} AS point, "
        f"row_number() OVER (PARTITION BY {_listed(_KEY)}, {_POINT} ORDER BY stage.finished IS NULL, "
        "stage.finished DESC, former.stage) AS place FROM former_score AS former "
        "LEFT JOIN (SELECT fingerprint, finished FROM stage) AS stage ON stage.fingerprint = former.stage) AS ranked "
        "WHERE place = 1"
    )
    op.drop_table("former_score")


def downgrade() -> None:
    _replace_scores(("run", "stage", *_KEY[1:3], "language", "split", "protocol", "selection", "step", "metric"))
    names = _listed((*_KEY, *_OTHERS))
    op.execute(f"INSERT INTO score ({names}) SELECT {names} FROM former_score")
    op.drop_table("former_score")
    for name in ("owner", "heartbeat", "version"):
        op.drop_column("run", name)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _replace_scores(key: tuple[str, ...]) -> None:
    """Moves the rows to `former_score`, and makes an empty table with another primary key."""
    op.rename_table("score", "former_score")
    if op.get_bind().dialect.name == "postgresql":  # names of constraints are unique in a schema
        op.execute("ALTER TABLE former_score RENAME CONSTRAINT pk_score TO pk_former_score")
        op.execute("ALTER TABLE former_score RENAME CONSTRAINT fk_score_run TO fk_former_score_run")
    columns: list[sa.Column[object]] = [
        sa.Column(name, sa.Text, nullable=False) for name in (*_KEY, "stage", "language", "protocol")
    ]
    numbers = ("step", "n", "point") if "point" in key else ("step", "n")
    columns += [sa.Column(name, sa.BigInteger, nullable=False) for name in numbers]
    op.create_table(
        "score",
        *columns,
        sa.Column("value", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint(*key, name="pk_score"),
        sa.ForeignKeyConstraint(["run"], ["run.id"], name="fk_score_run", ondelete="CASCADE"),
    )

"""The first schema: tunings, their trials with raw run times, and the records of races and confirmations."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

# Spelt out again, not imported from `tables`: a migration must keep doing what it did when it was written.
_JSON = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
_BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "infer_opt_tuning",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("request_key", sa.String(128), nullable=False),
        sa.Column("request", _JSON, nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("finished_ms", sa.BigInteger),
        sa.Column("result", _JSON),
    )
    op.create_index("infer_opt_tuning_request", "infer_opt_tuning", ["request_key"])
    op.create_table(
        "infer_opt_trial",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("tuning_id", sa.String(32), sa.ForeignKey("infer_opt_tuning.id"), nullable=False),
        sa.Column("phase", sa.String(32), nullable=False),
        sa.Column("config_key", sa.String(32), nullable=False),
        sa.Column("saved_ms", sa.BigInteger, nullable=False),
        sa.Column("body", _JSON, nullable=False),
        sa.Column("run_times", _BLOB, nullable=False),
        sa.UniqueConstraint("tuning_id", "phase", "config_key", name="infer_opt_trial_once"),
    )
    op.create_table(
        "infer_opt_record",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("tuning_id", sa.String(32), sa.ForeignKey("infer_opt_tuning.id"), nullable=False),
        sa.Column("phase", sa.String(32), nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("saved_ms", sa.BigInteger, nullable=False),
        sa.Column("payload", _JSON, nullable=False),
    )
    op.create_index("infer_opt_record_phase", "infer_opt_record", ["tuning_id", "phase"])

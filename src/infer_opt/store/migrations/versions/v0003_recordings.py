"""Recordings of monitors: their samples in chunks, and what was found in them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"

_JSON = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
_BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the three tables; a store of before holds no recording."""
    op.create_table(
        "infer_opt_recording",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("about", _JSON, nullable=False),
        sa.Column("interval_us", sa.BigInteger, nullable=False),
        sa.Column("writer", sa.String(160), nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("saved_ms", sa.BigInteger, nullable=False),
        sa.Column("samples", sa.BigInteger, nullable=False),
        sa.Column("lost", sa.BigInteger, nullable=False),
        sa.Column("finished_ms", sa.BigInteger),
        sa.Column("summary", _JSON),
    )
    op.create_table(
        "infer_opt_recording_chunk",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("recording_id", sa.String(32), sa.ForeignKey("infer_opt_recording.id"), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("body", _BLOB, nullable=False),
        sa.UniqueConstraint("recording_id", "position", name="infer_opt_recording_chunk_once"),
    )
    op.create_table(
        "infer_opt_recording_event",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("recording_id", sa.String(32), sa.ForeignKey("infer_opt_recording.id"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("body", _JSON, nullable=False),
        sa.UniqueConstraint("recording_id", "kind", "sequence", name="infer_opt_recording_event_once"),
    )

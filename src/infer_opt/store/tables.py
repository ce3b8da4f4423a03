"""The tables as this release reads and writes them; `migrations/versions` says how a database came to hold them."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql

# MySQL's plain TEXT and BLOB end at 64 kB, less than the run times of one long trial.
Json = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
Blob = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")

# SQLite numbers rows by itself in a column that is exactly INTEGER.
RowNumber = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData()

# `number` is the order of arrival, whatever the clocks of the writers say.
tunings = Table(
    "infer_opt_tuning",
    metadata,
    Column("number", RowNumber, primary_key=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("request_key", String(128), nullable=False),
    Column("subject_key", String(128)),
    Column("request", Json, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("finished_ms", BigInteger),
    Column("result", Json),
    Index("infer_opt_tuning_request", "request_key"),
    Index("infer_opt_tuning_subject", "subject_key"),
)

trials = Table(
    "infer_opt_trial",
    metadata,
    Column("number", RowNumber, primary_key=True),
    Column("tuning_id", String(32), ForeignKey("infer_opt_tuning.id"), nullable=False),
    Column("phase", String(32), nullable=False),
    Column("config_key", String(32), nullable=False),
    Column("saved_ms", BigInteger, nullable=False),
    Column("body", Json, nullable=False),
    Column("run_times", Blob, nullable=False),
    UniqueConstraint("tuning_id", "phase", "config_key", name="infer_opt_trial_once"),
)

records = Table(
    "infer_opt_record",
    metadata,
    Column("number", RowNumber, primary_key=True),
    Column("tuning_id", String(32), ForeignKey("infer_opt_tuning.id"), nullable=False),
    Column("phase", String(32), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("saved_ms", BigInteger, nullable=False),
    Column("payload", Json, nullable=False),
    Index("infer_opt_record_phase", "tuning_id", "phase"),
)

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

# One session of a monitor. `saved_ms` moves with every write, `writer` names the process that writes: a recording
# without `finished_ms` is being written, or was cut off.
recordings = Table(
    "infer_opt_recording",
    metadata,
    Column("number", RowNumber, primary_key=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("about", Json, nullable=False),
    Column("interval_us", BigInteger, nullable=False),
    Column("writer", String(160), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("saved_ms", BigInteger, nullable=False),
    Column("samples", BigInteger, nullable=False),
    Column("lost", BigInteger, nullable=False),
    Column("finished_ms", BigInteger),
    Column("summary", Json),
)

# Samples as columns (`chunks.py`), at whatever resolution. `position` is how many samples came before the first of
# them, so that it orders chunks of all resolutions.
recording_chunks = Table(
    "infer_opt_recording_chunk",
    metadata,
    Column("number", RowNumber, primary_key=True),
    Column("recording_id", String(32), ForeignKey("infer_opt_recording.id"), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("size", Integer, nullable=False),
    Column("body", Blob, nullable=False),
    UniqueConstraint("recording_id", "position", name="infer_opt_recording_chunk_once"),
)

# Findings, alerts and notices: `sequence` counts those of one kind, `position` is that of their sample.
recording_events = Table(
    "infer_opt_recording_event",
    metadata,
    Column("number", RowNumber, primary_key=True),
    Column("recording_id", String(32), ForeignKey("infer_opt_recording.id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("body", Json, nullable=False),
    UniqueConstraint("recording_id", "kind", "sequence", name="infer_opt_recording_event_once"),
)

# What `bench` and `profile` found, whole: a tuning's parts stand in tables of their own. `kept_results.py` reads and
# writes the document.
results = Table(
    "infer_opt_result",
    metadata,
    Column("number", RowNumber, primary_key=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("subject", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("size", Integer, nullable=False),
    Column("document", Blob, nullable=False),
)

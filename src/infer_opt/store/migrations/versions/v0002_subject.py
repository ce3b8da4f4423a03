"""What a tuning was about, apart from how much it tried: later tunings of the same look up its trials."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; tunings of before have none, and guide nobody."""
    op.add_column("infer_opt_tuning", sa.Column("subject_key", sa.String(128)))
    op.create_index("infer_opt_tuning_subject", "infer_opt_tuning", ["subject_key"])

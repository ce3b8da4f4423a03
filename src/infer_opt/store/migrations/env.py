"""Run by Alembic whenever a store is opened that is behind this release, on the connection that the store holds."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    # The store has begun a transaction that it commits only when every step is done, SQLite included.
    transactional_ddl=True,
)
context.run_migrations()

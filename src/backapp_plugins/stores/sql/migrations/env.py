"""What alembic runs around the migrations, in the transaction that it was handed."""

from alembic import context

from backapp_plugins.stores.sql.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,  # SQLite rebuilds a table where others alter it
)
with context.begin_transaction():
    context.run_migrations()

"""What Alembic runs: the revisions, on the connection that `core.store.migrate` opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=False, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()

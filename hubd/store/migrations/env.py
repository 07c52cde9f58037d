"""What alembic runs to get at the database: the connection is handed in by ``hubd.store.migrating``."""

from alembic import context

from hubd.store.migrating import VERSIONS
from hubd.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSIONS,
    transactional_ddl=True,
)
context.run_migrations()

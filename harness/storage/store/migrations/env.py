"""Runs migrations on the connection that the caller opened; its transaction is the caller's too."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()

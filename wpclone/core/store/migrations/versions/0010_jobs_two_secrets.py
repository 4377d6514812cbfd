"""A restore has the secrets of two sites."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("ALTER TABLE jobs MODIFY secrets VARBINARY(32768) NULL")


def downgrade() -> None:
    op.execute("ALTER TABLE jobs MODIFY secrets VARBINARY(8192) NULL")

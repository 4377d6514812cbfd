"""One writer per site."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("""
CREATE TABLE site_locks (
  site_key VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  job_id VARCHAR(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  KEY site_locks_of_job (job_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4
""")


def downgrade() -> None:
    op.execute("DROP TABLE site_locks")

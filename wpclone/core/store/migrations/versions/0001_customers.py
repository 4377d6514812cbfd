"""Who owns jobs and clones, and their caps; NULL is no cap."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
CREATE TABLE customers (
  customer_id VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  running_jobs INT UNSIGNED NULL,
  live_clones INT UNSIGNED NULL,
  requests_per_minute INT UNSIGNED NULL,
  created_at DATETIME(6) NOT NULL
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4
""")


def downgrade() -> None:
    op.execute("DROP TABLE customers")

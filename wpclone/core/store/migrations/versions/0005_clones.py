"""Clones; the TTL counts from ready_at. guard_key is encrypted."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("""
CREATE TABLE clones (
  clone_id VARCHAR(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  customer_id VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  runtime VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  source_url TEXT NOT NULL,
  url TEXT NOT NULL,
  ttl_seconds DECIMAL(12, 3) NOT NULL,
  guard_key VARBINARY(512) NULL,
  admin_login VARCHAR(255) NOT NULL,
  facts JSON NOT NULL,
  created_at DATETIME(6) NOT NULL,
  updated_at DATETIME(6) NOT NULL,
  ready_at DATETIME(6) NULL,
  expires_at DATETIME(6) NULL,
  synced_expires_at DATETIME(6) NULL,
  KEY clones_of_customer (customer_id, created_at, clone_id),
  KEY clones_live (customer_id, state),
  KEY clones_newest (created_at, clone_id),
  KEY clones_to_expire (state, expires_at),
  CONSTRAINT clones_state CHECK (state IN ('creating', 'ready', 'deleting', 'deleted', 'failed')),
  CONSTRAINT clones_ready CHECK (state <> 'ready' OR (ready_at IS NOT NULL AND expires_at IS NOT NULL))
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4
""")


def downgrade() -> None:
    op.execute("DROP TABLE clones")

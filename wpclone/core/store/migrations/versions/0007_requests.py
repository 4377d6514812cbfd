"""Idempotency: what the first request with a key got."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("""
CREATE TABLE requests (
  customer_id VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  method VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  request_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  body_hash BINARY(32) NOT NULL,
  resource_id VARCHAR(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  created_at DATETIME(6) NOT NULL,
  PRIMARY KEY (customer_id, method, request_id),
  KEY requests_by_age (created_at),
  KEY requests_of_resource (resource_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4
""")


def downgrade() -> None:
    op.execute("DROP TABLE requests")

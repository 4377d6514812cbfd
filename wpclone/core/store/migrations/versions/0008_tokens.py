"""Bearer tokens, as keyed hashes."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("""
CREATE TABLE tokens (
  token_hash BINARY(32) NOT NULL PRIMARY KEY,
  customer_id VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  is_admin BOOLEAN NOT NULL,
  created_at DATETIME(6) NOT NULL,
  KEY tokens_of_customer (customer_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4
""")


def downgrade() -> None:
    op.execute("DROP TABLE tokens")

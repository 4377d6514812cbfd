"""What a restore put aside at its target, for a rollback; `leaving_by` is the job that takes it back or drops it."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("""
CREATE TABLE kept_sets (
  job_id VARCHAR(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  site_key VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  becomes VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL,
  leaving_by VARCHAR(24) CHARACTER SET ascii COLLATE ascii_bin NULL,
  since DATETIME(6) NOT NULL,
  kept_until DATETIME(6) NOT NULL,
  KEY kept_sets_due (state, kept_until),
  KEY kept_sets_of_site (site_key, state),
  KEY kept_sets_leaving (leaving_by),
  CONSTRAINT kept_sets_state CHECK (state IN ('kept', 'leaving', 'rolled_back', 'released')),
  CONSTRAINT kept_sets_leave CHECK (state = 'kept' OR (becomes IS NOT NULL AND leaving_by IS NOT NULL))
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4
""")


def downgrade() -> None:
    op.execute("DROP TABLE kept_sets")

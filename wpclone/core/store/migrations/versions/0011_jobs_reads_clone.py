"""A clone that another clone job copies is held, as one that a restore reads is."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("""
ALTER TABLE jobs
  ADD COLUMN reads_clone VARCHAR(24) CHARACTER SET ascii COLLATE ascii_bin NULL,
  ADD KEY jobs_reading (reads_clone, status)
""")


def downgrade() -> None:
    op.execute("ALTER TABLE jobs DROP KEY jobs_reading, DROP COLUMN reads_clone")

"""Jobs: what is asked for, where it is, under which fence. The row is its own outbox (rung_until, enqueue_seq)."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("""
CREATE TABLE jobs (
  job_id VARCHAR(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  customer_id VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  priority VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  revision BIGINT NOT NULL,
  fence BIGINT NOT NULL,
  enqueue_seq BIGINT NOT NULL,
  definition_version INT NOT NULL,
  request JSON NOT NULL,
  secrets VARBINARY(8192) NULL,
  result JSON NULL,
  error JSON NULL,
  verdict VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NULL,
  progress TINYINT UNSIGNED NOT NULL DEFAULT 0,
  status_message TEXT NOT NULL,
  attempt INT NOT NULL DEFAULT 0,
  lapses INT NOT NULL DEFAULT 0,
  clone_id VARCHAR(24) CHARACTER SET ascii COLLATE ascii_bin NULL,
  retry_of VARCHAR(24) CHARACTER SET ascii COLLATE ascii_bin NULL,
  needs_attention BOOLEAN NOT NULL DEFAULT FALSE,
  waits_for_cap BOOLEAN NOT NULL DEFAULT FALSE,
  traceparent VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  created_at DATETIME(6) NOT NULL,
  updated_at DATETIME(6) NOT NULL,
  deadline_at DATETIME(6) NOT NULL,
  next_run_at DATETIME(6) NOT NULL,
  rung_until DATETIME(6) NOT NULL,
  completed_at DATETIME(6) NULL,
  cancel_requested_at DATETIME(6) NULL,
  estimated_completion DATETIME(6) NULL,
  KEY jobs_of_customer (customer_id, created_at, job_id),
  KEY jobs_running (customer_id, status),
  KEY jobs_newest (created_at, job_id),
  KEY jobs_to_ring (status, rung_until),
  KEY jobs_ended (kind, status, completed_at),
  KEY jobs_of_clone (clone_id, kind, status),
  KEY jobs_needing_attention (needs_attention),
  CONSTRAINT jobs_kind CHECK (kind IN ('clone', 'restore', 'delete')),
  CONSTRAINT jobs_status CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
  CONSTRAINT jobs_priority CHECK (priority IN ('high', 'normal', 'low')),
  CONSTRAINT jobs_verdict CHECK (verdict IN ('fail', 'cancel')),
  CONSTRAINT jobs_progress CHECK (progress <= 100),
  CONSTRAINT jobs_counts CHECK (revision >= 1 AND fence >= 0 AND enqueue_seq >= 1 AND attempt >= 0 AND lapses >= 0),
  CONSTRAINT jobs_end CHECK ((completed_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled'))),
  CONSTRAINT jobs_no_completed_verdict CHECK (status <> 'completed' OR (verdict IS NULL AND cancel_requested_at IS NULL))
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4
""")


def downgrade() -> None:
    op.execute("DROP TABLE jobs")

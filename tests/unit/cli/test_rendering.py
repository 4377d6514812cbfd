"""What a person reads of a job."""

from wpclone.cli.rendering import job_text
from wpclone.v2 import job_pb2


def test_a_dry_run_says_what_a_clone_would_be_and_why_it_would_be_refused() -> None:
    job = job_pb2.Job(job_id="clone-0123456789ab", type="clone", status="completed", progress=100)
    job.result.rows, job.result.files, job.result.bytes = 900, 3000, 5_000_000
    job.result.report.update({
        "dry_run": True, "room": {"needed_bytes": 70_000_000, "free_bytes": 10_000_000, "most_bytes": 1},
        "source": {"wp_version": "6.1", "php_version": "8.2", "db_version": "10.11"},
        "excluded": [{"kind": "path", "glob": "*.zip", "count": 3, "bytes": 2_000_000}],
        "left_out_tables": [{"name": "forum", "reason": "r"}], "left_out_files_count": 4, "withheld_constants": {"MY_KEY": "r"},
        "refusals": [{"reason": "TOO_LITTLE_SPACE", "message": "No room."}],
    })  # fmt: skip
    text = job_text(job)
    for words in (
        "about 900 rows, 3000 files",
        "WordPress 6.1",
        "*.zip: 3",
        "1 tables, 4 files",
        "MY_KEY",
        "TOO_LITTLE_SPACE: No room.",
    ):
        assert words in text
    assert "password" not in text

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


def test_a_restore_says_what_changed_what_is_in_conflict_and_how_long_it_can_be_taken_back() -> None:
    job = job_pb2.Job(job_id="restore-0123456789ab", type="restore", status="completed", progress=100)
    job.result.target_url, job.result.clone_id = "https://shop.example", "clone-0123456789ab"
    job.result.rollback_until.FromJsonString("2030-01-02T03:04:05Z")
    counts = {"inserted": 1, "updated": 2, "deleted": 0, "kept": 3, "conflicts": 7}
    table: dict[str, str | int] = {"name": "wp_posts", "how": "rows", **counts, "note": ""}
    still = {**table, "name": "wp_terms", "how": "nothing"}
    conflict = {"table": "posts", "key": "5", "conflict": "both changed", "taken": "target"}
    job.result.report.update({
        "tables": [table, still], "files": {"added": 4, "changed": 0, "removed": 1, "bytes": 2_000_000},
        "conflicts": [conflict] * 6, "conflict_count": 7,
    })  # fmt: skip
    text = job_text(job)
    for words in (
        "wp_posts: 1 inserted, 2 updated, 3 kept", "files: 4 added, 0 changed, 1 removed", "posts 5: both changed, target's",
        "and 2 more", "2030-01-02T03:04:05Z", "https://shop.example",
    ):  # fmt: skip
        assert words in text
    assert "wp_terms" not in text


def test_a_clone_says_what_its_rewriting_did() -> None:
    job = job_pb2.Job(job_id="clone-0123456789ab", type="clone", status="completed", progress=100)
    job.result.clone_url, job.result.rows = "http://c.localhost", 900
    assert "rewritten" not in job_text(job)
    job.result.report.update(
        {"rewrite": {"seen": 5000, "changed": {"text": 20, "json": 3}, "rewritten": 41, "left": {"BASE64": 2, "BARE_HOST": 7}}}
    )
    text = job_text(job)
    assert "41 addresses, in 23 of 5000 values" in text
    assert "BARE_HOST 7, BASE64 2" in text

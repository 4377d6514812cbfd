from datetime import UTC, datetime

from tests.support.scripted_service import job
from wpclone.cli.view import ONE_LINE_EVERY, View, failure, fold
from wpclone.v2 import job_pb2


def lines(*seen: tuple[float, job_pb2.Job]) -> list[str]:
    """What a person is told of these revisions at these seconds."""
    view: View | None = None
    told = []
    for seconds, one in seen:
        view, line = fold(view, one, seconds=seconds)
        told += [line] if line is not None else []
    return told


def test_each_step_gets_one_line_and_the_end_another() -> None:
    told = lines(
        (0.0, job(1, "pending")),
        (0.1, job(2, step="preflight")),
        (0.2, job(3, step="preflight", progress=1)),
        (0.5, job(4, step="copy_files", progress=10)),
        (0.9, job(5, step="copy_files", progress=40)),
        (1.5, job(6, "completed")),
    )
    assert told == ["  0 %  pending", "  0 %  preflight", " 10 %  copy_files", "100 %  completed"]


def test_a_long_step_gives_a_sign_of_life_now_and_then() -> None:
    seen = [(float(second), job(second + 1, step="copy_files", progress=second)) for second in range(25)]
    assert len(lines(*seen)) == 1 + int(24 / ONE_LINE_EVERY)


def test_another_attempt_is_told() -> None:
    first, second = job(1, step="copy_files"), job(2, step="copy_files")
    second.steps[0].attempts = 2
    assert len(lines((0, first), (0.1, second))) == 2


def test_a_cancel_is_told_while_the_job_still_runs() -> None:
    asked = job(2, step="copy_files")
    asked.cancel_requested_at.FromDatetime(datetime(2030, 1, 1, tzinfo=UTC))
    assert lines((0, job(1, step="copy_files")), (0.1, asked))[-1] == "  0 %  copy_files (cancelling)"


def test_a_failure_tells_step_reason_and_what_to_do() -> None:
    failed = job(3, "failed")
    failed.needs_attention = True
    assert lines((0, failed)) == ["  0 %  failed: WordPress refused the username or password"]
    told = failure(failed)
    assert told[0] == "step preflight, reason LOGIN_REFUSED"
    assert "operator" in told[1]
    assert told[-1].endswith(f"wpclone job get {failed.job_id}")

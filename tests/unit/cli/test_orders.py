from datetime import timedelta
from pathlib import Path

import pytest

from wpclone.cli.complaint import Trouble
from wpclone.cli.exits import Exit
from wpclone.cli.orders import Content, copies, finished, order, orders_of_file
from wpclone.cli.sites import site


def written(directory: Path, text: str) -> Path:
    path = directory / "orders.jsonl"
    path.write_text(text)
    return path


def test_a_file_has_rest_bodies_of_both_spellings(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '# two sites\n{"source_url": "https://a.example", "source_username": "u", "source_password": "p", "ttl_minutes": 30}\n\n'
        '{"source": {"agent": {"url": "https://b.example/x.php", "key": "k"}}}\n',
    )
    first, second = finished(orders_of_file(path), ttl=timedelta(minutes=89, seconds=1), request_id="batch")
    assert (first.source_url, first.ttl_minutes, first.request_id) == ("https://a.example", 30, "batch-1")
    assert (second.source.agent.key, second.ttl_minutes, second.request_id) == ("k", 90, "batch-2")


def test_a_priority_is_for_those_that_name_none(tmp_path: Path) -> None:
    path = written(tmp_path, '{"source_url": "https://a.example", "priority": "high"}\n{"source_url": "https://b.example"}\n')
    made = finished(orders_of_file(path), ttl=None, request_id=None, priority="low")
    assert [request.priority for request in made] == ["high", "low"]
    assert finished(orders_of_file(path), ttl=None, request_id=None)[1].priority == ""


def test_bad_lines_are_all_named_and_no_value_is_repeated(tmp_path: Path) -> None:
    path = written(tmp_path, 'secret-one\n["secret-two"]\n{"pasword": "secret-three"}\n{"ttl_minutes": "secret-four"}\n')
    with pytest.raises(Trouble) as raised:
        orders_of_file(path)
    assert raised.value.exit is Exit.USAGE
    assert raised.value.hints == (
        "line 1: is not JSON",
        "line 2: is not a JSON object",
        "line 3: has unknown fields: pasword",
        "line 4: has a field of the wrong type",
    )


def test_a_file_without_orders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="names no clones"):
        orders_of_file(written(tmp_path, "# nothing\n"))


def test_copies_of_one_order_get_ids_of_their_own() -> None:
    one = order(site("https://a.example", "u", "p", is_agent=False), Content(["X"], ["*.zip"], ["logs"]))
    made = finished(copies(one, 3), ttl=None, request_id="r")
    assert [request.request_id for request in made] == ["r-1", "r-2", "r-3"]
    assert not made[0].HasField("ttl_minutes")
    last = made[2]
    assert (*last.keep_constants, *last.exclude_paths, *last.exclude_tables) == ("X", "*.zip", "logs")
    assert [request.source.admin_login.password for request in made] == ["p"] * 3

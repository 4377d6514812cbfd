import json
from pathlib import Path

import pytest

from wpclone.standalone.firewall import Firewall, Opening
from wpclone.standalone.routes import CDS_FILE, RDS_FILE, Route, routes, write_routes

A = Route("clone-aaaaaaaaaaaa", "clone-aaaaaaaaaaaa.localhost", 21000)
B = Route("clone-bbbbbbbbbbbb", "clone-bbbbbbbbbbbb.localhost", 21001)


def test_each_clone_has_a_virtual_host_of_its_name_and_a_cluster_at_its_port() -> None:
    rds, cds = routes([B, A])
    hosts = rds["resources"][0]["virtual_hosts"]
    assert [host["name"] for host in hosts] == [A.clone_id, B.clone_id, "nobody"]
    assert hosts[0]["domains"] == [A.host, f"{A.host}:*"]
    assert [cluster["name"] for cluster in cds["resources"]] == [A.clone_id, B.clone_id]
    assert '"port_value": 21000' in json.dumps(cds["resources"][0])
    assert routes([A, B]) == (rds, cds)


def test_no_host_matches_two_clones_and_an_unknown_one_is_answered_404() -> None:
    rds, _ = routes([])
    (nobody,) = rds["resources"][0]["virtual_hosts"]
    assert nobody["domains"] == ["*"]
    assert nobody["routes"][0]["direct_response"]["status"] == 404


def test_a_new_cluster_is_written_before_its_route_and_removed_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("wpclone.standalone.routes._replace", lambda path, _: written.append(path.name))
    write_routes(tmp_path, [A])
    write_routes(tmp_path, [], removing=True)
    assert written == [CDS_FILE, RDS_FILE, RDS_FILE, CDS_FILE]


def test_the_files_are_json_and_replaced_whole(tmp_path: Path) -> None:
    write_routes(tmp_path, [A])
    write_routes(tmp_path, [A, B])
    assert len(json.loads((tmp_path / CDS_FILE).read_text())["resources"]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [CDS_FILE, RDS_FILE]


def test_the_firewall_table_is_named_after_the_run_and_replaced_in_one_script() -> None:
    wall = Firewall("wpt-a.b/1", range(200000, 200100), (3307, 8081))
    script = wall.rules([Opening(200003, 21003)])
    assert wall.table == "wpclone_wpt_a_b_1"
    assert script.splitlines()[:3] == [
        "table inet wpclone_wpt_a_b_1",
        "delete table inet wpclone_wpt_a_b_1",
        "table inet wpclone_wpt_a_b_1 {",
    ]
    assert "meta skuid 200000-200099 jump clone" in script
    assert "meta skuid 200003 tcp dport { 3307, 8081 } accept" in script

import os
from pathlib import Path

from workers.removal import remove_tree


async def test_a_tree_goes_with_all_below_it_and_what_links_lead_to_stays(tmp_path: Path) -> None:
    kept, tree = tmp_path / "kept", tmp_path / "tree"
    kept.mkdir()
    (kept / "file").write_text("x")
    for number in range(30):
        below = tree / f"d{number % 3}" / f"e{number}"
        below.mkdir(parents=True)
        for name in ("a", "b", os.fsdecode(b"\xff")):
            (below / name).write_text("x")
    (tree / "to directory").symlink_to(kept)
    (tree / "to file").symlink_to(kept / "file")
    (tree / "to nothing").symlink_to(tree / "gone")
    await remove_tree(tree)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "file").read_text() == "x"


async def test_what_has_gone_already_and_a_lone_file_are_no_trouble(tmp_path: Path) -> None:
    await remove_tree(tmp_path / "never")
    (tmp_path / "file").write_text("x")
    await remove_tree(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []

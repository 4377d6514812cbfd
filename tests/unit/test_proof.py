"""Counting what the rewriter did: nothing is counted twice or lost, and long lists of places are cut fairly."""

from dataclasses import replace

from wpclone.wordpress.control import Cursor
from wpclone.wordpress.proof import MOST_PLACES, MOST_PLACES_LATER, Place, Proof, key_text, shares, together
from wpclone.wordpress.table_ranges import NOTHING, Range, extended

PROOF = Proof(10, {"text": 2, "json": 1}, 7, {"BASE64": 2}, (Place("ID=1", "a", "BASE64"), Place("ID=2", "a", "BASE64")))


def places(count: int, reason: str = "BASE64") -> tuple[Place, ...]:
    return tuple(Place(f"ID={i}", "a", reason) for i in range(count))


def test_two_counts_together_are_their_sums() -> None:
    both = together(PROOF, Proof(5, {"json": 4}, 1, {"TOO_DEEP": 1}, (Place("ID=3", "b", "TOO_DEEP"),)))
    assert (both.seen, both.rewritten) == (15, 8)
    assert (both.changed, both.left) == ({"text": 2, "json": 5}, {"BASE64": 2, "TOO_DEEP": 1})
    assert [place.key for place in both.places] == ["ID=1", "ID=2", "ID=3"]


def test_a_cursor_comes_back_from_its_text_with_its_counts() -> None:
    cursor = Cursor(ranges=(replace(NOTHING, until=("31",), rows=3, proof=PROOF),), full=True)
    assert Cursor.from_text(cursor.text()) == cursor
    assert cursor.whole.proof == PROOF


def test_ranges_keep_few_places_and_count_all() -> None:
    small = Range(("31",), 1, 1, 1000, 0, 0, 0, 1, Proof(1, {}, 0, {"BASE64": 200}, places(200)))
    large = replace(small, size=9 << 20)
    ranges: tuple[Range, ...] = ()
    for more in (small, small, large, large):
        ranges = extended(ranges, more, keyed=True)
    assert [len(one.proof.places) for one in ranges] == [MOST_PLACES, MOST_PLACES_LATER, MOST_PLACES_LATER]
    assert sum(one.left["BASE64"] for one in ranges) == 800


def test_each_table_and_reason_has_its_share_of_a_cut_list() -> None:
    kept = shares({"wp_posts": places(100) + places(1, "TOO_DEEP"), "wp_options": places(2), "wp_links": ()}, 10)
    assert {table: len(found) for table, found in kept.items()} == {"wp_posts": 8, "wp_options": 2, "wp_links": 0}
    assert "TOO_DEEP" in {place.reason for place in kept["wp_posts"]}
    assert kept["wp_posts"][:3] == list(places(3))


def test_a_key_is_told_with_its_columns_and_as_hex_when_it_is_no_text() -> None:
    assert key_text([b"ID"], [b"12"]) == "ID=12"
    assert key_text([b"a", b"b"], ["é".encode(), b"\x00\xff"]) == "a=é, b=0x00ff"
    assert key_text([], []) == ""
    assert len(key_text([b"a"], [b"x" * 1000])) == 120

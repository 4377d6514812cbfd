"""Three-way merging on a real MariaDB: what only one side changed is that side's, the rest is told and resolved by policy."""

import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support.merging import Versions, remember, three_versions
from tests.support.servers import Mariadb
from workers.merge.decide import Policy
from workers.merge.merge import How, Merged, MergedTable


@pytest.fixture
async def versions(mariadb_server: Mariadb) -> AsyncIterator[Versions]:
    with three_versions(mariadb_server) as made:
        assert await remember(made) == 4 + 3 + 3 + 1 + 1 + 1
        yield made


def table(merged: Merged, name: str) -> MergedTable:
    return next(one for one in merged.tables if one.name == f"wp_{name}")


def titles(versions: Versions) -> dict[int, str]:
    rows: list[tuple[Any, ...]] = versions.result("SELECT ID, post_title FROM wp_posts ORDER BY ID")
    return dict(rows)


async def test_nothing_changes_where_the_clone_changed_nothing(versions: Versions) -> None:
    versions.at_target("UPDATE wp_posts SET post_title = 'edited' WHERE ID = 1", "DELETE FROM wp_posts WHERE ID = 2")
    merged = await versions.merge()
    assert {one.how for one in merged.tables} == {How.NOTHING}
    assert merged.conflict_count == 0
    assert table(merged, "posts").counts.kept == 2
    assert titles(versions) == {1: "edited", 3: "three", 4: "order 4"}


async def test_rows_that_only_the_clone_changed_are_taken_and_those_of_the_target_survive(versions: Versions) -> None:
    versions.at_clone(
        "UPDATE wp_posts SET post_title = 'redesigned' WHERE ID = 1", "DELETE FROM wp_posts WHERE ID = 2",
        "INSERT INTO wp_posts (ID, post_title, post_content) VALUES (20, 'landing page', '')",
    )  # fmt: skip
    versions.at_target(
        "UPDATE wp_posts SET post_title = 'corrected' WHERE ID = 3", "INSERT INTO wp_posts VALUES (30, 'news', '', 'post', 0)"
    )
    merged = await versions.merge()
    counts = table(merged, "posts").counts
    assert (counts.inserted, counts.updated, counts.deleted, counts.kept, counts.conflicts) == (1, 1, 1, 2, 0)
    assert titles(versions) == {1: "redesigned", 3: "corrected", 4: "order 4", 20: "landing page", 30: "news"}


async def test_the_same_change_on_both_sides_is_no_conflict(versions: Versions) -> None:
    same = "UPDATE wp_posts SET post_title = 'same' WHERE ID = 1"
    versions.at_clone(same, "DELETE FROM wp_posts WHERE ID = 2")
    versions.at_target(same, "DELETE FROM wp_posts WHERE ID = 2")
    merged = await versions.merge()
    assert (table(merged, "posts").how, merged.conflict_count) == (How.NOTHING, 0)


@pytest.mark.parametrize(
    ("policy", "title", "taken"), [(Policy.KEEP_TARGET, "theirs", "target"), (Policy.TAKE_CLONE, "ours", "clone")]
)
async def test_a_row_that_both_changed_is_told_and_goes_by_the_policy(
    versions: Versions, policy: Policy, title: str, taken: str
) -> None:
    versions.at_clone(
        "UPDATE wp_posts SET post_title = 'ours' WHERE ID = 1", "UPDATE wp_posts SET post_title = 'new' WHERE ID = 2"
    )
    versions.at_target("UPDATE wp_posts SET post_title = 'theirs' WHERE ID = 1")
    merged = await versions.merge(policy)
    assert merged.conflicts == ({"table": "posts", "key": "1", "conflict": "both changed", "taken": taken},)
    assert titles(versions) == {1: title, 2: "new", 3: "three", 4: "order 4"}


async def test_deleted_on_one_side_and_changed_on_the_other_is_a_conflict(versions: Versions) -> None:
    versions.at_clone("DELETE FROM wp_posts WHERE ID = 1", "UPDATE wp_posts SET post_title = 'ours' WHERE ID = 2")
    versions.at_target("UPDATE wp_posts SET post_title = 'theirs' WHERE ID = 1", "DELETE FROM wp_posts WHERE ID = 2")
    merged = await versions.merge()
    assert [(one["key"], one["conflict"]) for one in merged.conflicts] == [
        ("1", "deleted in the clone"), ("2", "deleted at the target"),
    ]  # fmt: skip
    assert titles(versions) == {1: "theirs", 3: "three", 4: "order 4"}


async def test_a_number_given_out_on_both_sides_is_a_conflict_and_the_losers_meta_goes_with_it(versions: Versions) -> None:
    versions.at_clone(
        "INSERT INTO wp_posts (ID, post_title, post_content) VALUES (5, 'our page', '')",
        "INSERT INTO wp_postmeta VALUES (13, 5, 'layout', 'wide'), (14, 1, 'b', 'ours')",
        "INSERT INTO wp_term_relationships VALUES (5, 1)",
    )  # fmt: skip
    versions.at_target(
        "INSERT INTO wp_posts (ID, post_title, post_content) VALUES (5, 'their page', '')",
        "INSERT INTO wp_postmeta VALUES (13, 5, 'layout', 'narrow')",
    )
    merged = await versions.merge()
    assert [(one["table"], one["key"], one["conflict"]) for one in merged.conflicts] == [("posts", "5", "both inserted")]
    assert titles(versions)[5] == "their page"
    assert versions.result("SELECT meta_value FROM wp_postmeta WHERE post_id = 5") == [("narrow",)]
    assert versions.result("SELECT meta_value FROM wp_postmeta WHERE post_id = 1 ORDER BY meta_id") == [("1",), ("ours",)]
    assert versions.result("SELECT COUNT(*) FROM wp_term_relationships WHERE object_id = 5") == [(0,)]


async def test_a_number_given_out_on_both_sides_goes_to_the_clone_when_it_is_to_be_taken(versions: Versions) -> None:
    versions.at_clone(
        "INSERT INTO wp_posts (ID, post_title, post_content) VALUES (5, 'our page', '')",
        "INSERT INTO wp_postmeta VALUES (13, 5, 'layout', 'wide')",
    )
    versions.at_target(
        "INSERT INTO wp_posts (ID, post_title, post_content) VALUES (5, 'their page', '')",
        "INSERT INTO wp_postmeta VALUES (13, 5, 'layout', 'narrow'), (14, 5, 'extra', 'x')",
    )
    await versions.merge(Policy.TAKE_CLONE)
    assert titles(versions)[5] == "our page"
    assert versions.result("SELECT meta_key, meta_value FROM wp_postmeta WHERE post_id = 5") == [("layout", "wide")]


async def test_meta_rows_that_got_the_same_number_are_two_rows(versions: Versions) -> None:
    versions.at_clone("INSERT INTO wp_postmeta VALUES (13, 1, 'ours', 'x'), (14, 1, 'ours too', 'y')")
    versions.at_target(
        "INSERT INTO wp_postmeta VALUES (13, 2, 'theirs', 'z')", "UPDATE wp_postmeta SET meta_value = '4' WHERE meta_id = 11"
    )
    merged = await versions.merge()
    assert merged.conflict_count == 0
    found = versions.result("SELECT meta_id, post_id, meta_key, meta_value FROM wp_postmeta WHERE meta_id > 12 ORDER BY meta_id")
    assert found[0] == (13, 2, "theirs", "z")
    assert {row[1:] for row in found[1:]} == {(1, "ours", "x"), (1, "ours too", "y")}
    assert versions.result("SELECT meta_value FROM wp_postmeta WHERE meta_key = '_stock'") == [("4",)]


async def test_the_same_topic_of_one_post_is_not_said_twice(versions: Versions) -> None:
    versions.at_clone("INSERT INTO wp_postmeta VALUES (13, 1, '_thumbnail_id', '70'), (14, 1, '_edit_lock', 'us')")
    versions.at_target("INSERT INTO wp_postmeta VALUES (15, 1, '_thumbnail_id', '80'), (16, 1, '_edit_lock', 'them')")
    merged = await versions.merge()
    assert [(one["key"], one["conflict"]) for one in merged.conflicts] == [("13", "both inserted")]
    assert table(merged, "postmeta").how is How.NOTHING
    assert versions.result("SELECT meta_value FROM wp_postmeta WHERE meta_key = '_thumbnail_id'") == [("80",)]
    await versions.merge(Policy.TAKE_CLONE)
    assert versions.result("SELECT meta_value FROM wp_postmeta WHERE meta_key = '_thumbnail_id'") == [("70",)]


async def test_orders_are_the_targets_and_the_clones_never_travel(versions: Versions) -> None:
    versions.at_clone(
        "UPDATE wp_posts SET post_title = 'test order' WHERE ID = 4",
        "UPDATE wp_postmeta SET meta_value = '0.01' WHERE meta_id = 12",
        "INSERT INTO wp_posts VALUES (5, 'a test order', '', 'shop_order', 0), (6, 'our page', '', 'page', 0),"
        " (7, 'ours', '', 'page', 0)",
        "INSERT INTO wp_postmeta VALUES (13, 5, '_total', '1'), (14, 6, 'layout', 'wide'), (15, 7, 'layout', 'wide')",
    )  # fmt: skip
    versions.at_target(
        "INSERT INTO wp_posts VALUES (6, 'a real order', '', 'shop_order', 0)",
        "INSERT INTO wp_postmeta VALUES (14, 6, '_total', '77')",
        "UPDATE wp_posts SET post_title = 'order 4 paid' WHERE ID = 4",
    )  # fmt: skip
    for policy in (Policy.KEEP_TARGET, Policy.TAKE_CLONE):
        merged = await versions.merge(policy)
        assert [(one["key"], one["conflict"]) for one in merged.conflicts] == [("6", "the number of an order")]
        assert titles(versions) == {1: "one", 2: "two", 3: "three", 4: "order 4 paid", 6: "a real order", 7: "ours"}
        meta = versions.result("SELECT post_id, meta_key, meta_value FROM wp_postmeta ORDER BY post_id")
        assert meta == [(1, "a", "1"), (2, "_stock", "5"), (4, "_total", "9.99"), (6, "_total", "77"), (7, "layout", "wide")]


async def test_counts_that_follow_from_other_rows_are_the_targets(versions: Versions) -> None:
    versions.at_clone("UPDATE wp_posts SET post_title = 'ours' WHERE ID = 1", "UPDATE wp_term_taxonomy SET description = 'ours'")
    versions.at_target("UPDATE wp_posts SET comment_count = 3 WHERE ID IN (1, 2)", "UPDATE wp_term_taxonomy SET count = 9")
    merged = await versions.merge()
    assert merged.conflict_count == 0
    assert versions.result("SELECT ID, post_title, comment_count FROM wp_posts ORDER BY ID") == [
        (1, "ours", 3), (2, "two", 3), (3, "three", 0), (4, "order 4", 0),
    ]  # fmt: skip
    assert versions.result("SELECT description, count FROM wp_term_taxonomy") == [("ours", 9)]


async def test_options_are_known_by_name_whatever_their_numbers(versions: Versions) -> None:
    versions.at_clone(
        "UPDATE wp_options SET option_value = 'two' WHERE option_name = 'theme'",
        "UPDATE wp_options SET option_value = 'http://clone.test' WHERE option_id = 1",
        "INSERT INTO wp_options VALUES (4, 'ours', 'x')",
    )  # fmt: skip
    versions.at_target(
        "INSERT INTO wp_options VALUES (4, 'theirs', 'y')", "UPDATE wp_options SET option_value = 'Renamed' WHERE option_id = 2"
    )
    merged = await versions.merge()
    assert merged.conflict_count == 0
    found = versions.result("SELECT option_name, option_value FROM wp_options ORDER BY option_name")
    assert found == [("blogname", "Renamed"), ("ours", "x"), ("siteurl", "http://site.test"), ("theirs", "y"), ("theme", "two")]


async def test_without_a_base_content_is_replaced_and_orders_stay(versions: Versions) -> None:
    versions.at_clone(
        "DELETE FROM wp_posts WHERE ID IN (2, 4)",
        "DELETE FROM wp_postmeta",
        "INSERT INTO wp_postmeta VALUES (14, 1, 'ours', 'x')",
    )
    versions.at_target(
        "INSERT INTO wp_posts VALUES (5, 'their page', '', 'page', 0), (6, 'a real order', '', 'shop_order', 0)",
        "INSERT INTO wp_postmeta VALUES (13, 5, 'layout', 'narrow'), (14, 6, '_total', '77')",
    )
    merged = await versions.merge(base=False)
    assert not merged.has_base
    assert titles(versions) == {1: "one", 3: "three", 4: "order 4", 6: "a real order"}
    meta = versions.result("SELECT post_id, meta_key, meta_value FROM wp_postmeta ORDER BY post_id")
    assert meta == [(1, "ours", "x"), (4, "_total", "9.99"), (6, "_total", "77")]


async def test_a_table_with_other_columns_is_a_conflict_as_a_whole(versions: Versions) -> None:
    versions.at_target("ALTER TABLE wp_terms DROP COLUMN name, ADD COLUMN label TEXT")
    merged = await versions.merge()
    assert [(one["table"], one["taken"]) for one in merged.conflicts] == [("wp_terms", "target")]
    assert table(merged, "terms").how is How.NOTHING
    assert table(await versions.merge(Policy.TAKE_CLONE), "terms").how is How.WHOLE


async def test_a_column_that_the_clone_added_is_no_change_of_the_rows(versions: Versions) -> None:
    versions.at_clone("ALTER TABLE wp_terms ADD COLUMN slug VARCHAR(20) NOT NULL DEFAULT ''")
    assert (await versions.merge()).conflict_count == 0


async def test_a_table_without_a_key_is_taken_whole_or_not_at_all(mariadb_server: Mariadb) -> None:
    with three_versions(mariadb_server) as versions:
        for side in (versions.at_clone, versions.at_target):
            side("ALTER TABLE wp_term_relationships DROP PRIMARY KEY")
        await remember(versions)
        assert table(await versions.merge(), "term_relationships").how is How.NOTHING
        versions.at_clone("INSERT INTO wp_term_relationships VALUES (2, 1)")
        assert table(await versions.merge(), "term_relationships").how is How.WHOLE
        versions.at_target("INSERT INTO wp_term_relationships VALUES (3, 1)")
        merged = await versions.merge()
        assert (table(merged, "term_relationships").how, merged.conflict_count) == (How.NOTHING, 1)


async def test_a_key_whose_order_is_not_that_of_the_columns_finds_its_rows(mariadb_server: Mariadb) -> None:
    with three_versions(mariadb_server) as versions:
        for side in (versions.at_clone, versions.at_target):  # as WooCommerce's wc_product_attributes_lookup
            side("ALTER TABLE wp_term_relationships DROP PRIMARY KEY, ADD COLUMN stock INT, ADD PRIMARY KEY (term_taxonomy_id,"
                " object_id)", "REPLACE INTO wp_term_relationships VALUES (1, 2, 10), (2, 1, 20)")  # fmt: skip
        await remember(versions)
        versions.at_clone("INSERT INTO wp_term_relationships VALUES (3, 3, 30)")
        versions.at_target("UPDATE wp_term_relationships SET stock = 9 WHERE object_id = 1 AND term_taxonomy_id = 2")
        assert table(await versions.merge(), "term_relationships").how is How.ROWS
        found = versions.result("SELECT object_id, term_taxonomy_id, stock FROM wp_term_relationships ORDER BY 1, 2")
        assert found == [(1, 1, None), (1, 2, 9), (2, 1, 20), (3, 3, 30)]


async def test_a_base_that_was_not_finished_is_none(versions: Versions) -> None:
    versions.server.execute("DELETE FROM wpclone_base WHERE name = ''", database=versions.places.base)
    assert not (await versions.merge()).has_base


async def test_values_that_join_to_the_same_text_are_different_rows(versions: Versions) -> None:
    versions.at_clone("UPDATE wp_postmeta SET meta_key = 'a1', meta_value = '' WHERE meta_id = 10")
    assert table(await versions.merge(), "postmeta").counts.updated == 1


async def test_numbers_that_print_alike_are_different_values(mariadb_server: Mariadb) -> None:
    with three_versions(mariadb_server) as versions:
        for side in (versions.at_clone, versions.at_target):
            side("ALTER TABLE wp_posts ADD COLUMN price FLOAT", "UPDATE wp_posts SET price = 1234567 WHERE ID < 3")
        await remember(versions)
        versions.at_clone("UPDATE wp_posts SET price = 1234568 WHERE ID = 1")
        versions.at_clone("UPDATE wp_posts SET price = 1234569, comment_count = 1 WHERE ID = 2")  # put, with the target's count
        merged = await versions.merge()
        assert table(merged, "posts").counts.updated == 2
        assert versions.result("SELECT ID, price + 0e0, comment_count FROM wp_posts WHERE ID < 3 ORDER BY ID") == [
            (1, 1234568.0, 0),
            (2, 1234569.0, 0),
        ]


async def test_an_option_that_a_damaged_site_has_twice_costs_no_base(mariadb_server: Mariadb) -> None:
    with three_versions(mariadb_server) as versions:
        for side in (versions.at_clone, versions.at_target):
            side("ALTER TABLE wp_options DROP KEY option_name", "INSERT INTO wp_options VALUES (7, 'theme', 'two')")
        await remember(versions)
        versions.at_clone("UPDATE wp_options SET option_value = 'Renamed' WHERE option_name = 'blogname'")
        versions.at_target("INSERT INTO wp_options VALUES (9, 'target_only', 'x')")
        merged = await versions.merge()
        assert (merged.has_base, merged.conflict_count, table(merged, "options").counts.updated) == (True, 0, 1)
        rows = versions.result("SELECT option_name, option_value FROM wp_options ORDER BY 1, 2")
        assert rows == [
            ("blogname", "Renamed"),
            ("siteurl", "http://site.test"),
            ("target_only", "x"),
            ("theme", "one"),
            ("theme", "two"),
        ]


VALUES = (None, "a", "b", "c")
CASES = {100 + i: case for i, case in enumerate(itertools.product(VALUES, repeat=3))}
"""Every combination of what a row is in the base, the clone and the target; None is no row."""


def fill(write: Callable[..., None], place: int) -> None:
    """Make a side's terms and options what the cases say."""
    write("DELETE FROM wp_terms WHERE term_id >= 100", "DELETE FROM wp_options WHERE option_id >= 100")
    there = {number: case[place] for number, case in CASES.items() if case[place] is not None}
    write("INSERT INTO wp_terms (term_id, name) VALUES " + ", ".join(f"({number}, '{value}')" for number, value in there.items()))
    # Options get other numbers on each side.
    rows = ", ".join(f"({number + 1000 * place}, 'o{number}', '{value}')" for number, value in there.items())
    write(f"INSERT INTO wp_options VALUES {rows}")


def merged_value(case: tuple[str | None, ...], policy: Policy) -> tuple[str | None, bool]:
    """What a row becomes, and whether it is in conflict."""
    before, clone, now = case
    if now in (clone, before):
        return clone, False
    if clone == before:
        return now, False
    return (clone if policy is Policy.TAKE_CLONE else now), True


@pytest.mark.parametrize("policy", [Policy.KEEP_TARGET, Policy.TAKE_CLONE])
async def test_every_combination_of_base_clone_and_target_gives_what_the_rule_says(
    mariadb_server: Mariadb, policy: Policy
) -> None:
    with three_versions(mariadb_server) as versions:
        fill(versions.at_clone, 0)
        await remember(versions)
        fill(versions.at_clone, 1)
        fill(versions.at_target, 2)
        merged = await versions.merge(policy)
        expected = {number: merged_value(case, policy) for number, case in CASES.items()}
        values = {number: value for number, (value, _) in expected.items() if value is not None}
        conflicts = sum(conflict for _, conflict in expected.values())
        assert dict(versions.result("SELECT term_id, name FROM wp_terms WHERE term_id >= 100")) == values
        options = versions.result("SELECT option_name, option_value FROM wp_options WHERE option_name LIKE 'o1%'")
        assert dict(options) == {f"o{number}": value for number, value in values.items()}
        for name in ("terms", "options"):
            assert table(merged, name).counts.conflicts == conflicts, name

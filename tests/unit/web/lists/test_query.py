"""The search, the order and the page of a list."""

from __future__ import annotations

import pytest

from compat_auth.web.lists.query import MAX_TEXT, ListQuery, Pager

SORTS = ("name", "used")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({}, ("", "name", 1)),
        ({"q": "  etl ", "sort": "used", "page": "3"}, ("etl", "used", 3)),
        ({"q": "x" * 200}, ("x" * MAX_TEXT, "name", 1)),
        ({"q": "a\0b"}, ("", "name", 1)),
        ({"sort": "password"}, ("", "name", 1)),
        ({"page": "0"}, ("", "name", 1)),
        ({"page": "-2"}, ("", "name", 1)),
        ({"page": "²"}, ("", "name", 1)),
        ({"page": "9" * 5000}, ("", "name", 1)),
        ({"page": "99999"}, ("", "name", 10_000)),
    ],
    ids=["none", "all", "long", "nul", "sort", "zero", "negative", "no-digit", "huge", "beyond"],
)
def test_a_value_that_makes_no_sense_counts_as_the_default(
    args: dict[str, str], expected: tuple[str, str, int]
) -> None:
    query = ListQuery.from_args(args, SORTS)

    assert (query.text, query.sort, query.page) == expected


@pytest.mark.parametrize(
    ("page", "total", "expected"),
    [(1, 0, (1, "", "")), (1, 20, (1, "", "")), (1, 21, (2, "", "2")), (2, 41, (3, "1", "3")), (9, 41, (3, "2", ""))],
)
def test_the_links_lead_to_pages_that_exist(page: int, total: int, expected: tuple[int, str, str]) -> None:
    pager = Pager(ListQuery("a&b", "name", page), total)

    pages, before, after = expected
    assert pager.pages == pages
    assert pager.previous == (f"?q=a%26b&sort=name&page={before}" if before else "")
    assert pager.following == (f"?q=a%26b&sort=name&page={after}" if after else "")

"""The tables of the documentation, and the place where they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpora.judge import Verdict
from corpora.page import PAGE, write_between
from corpora.path_table import path_table
from corpora.peer_servers import STARTS
from corpora.peers import page_of

VERDICTS = [
    Verdict("headers", "identity-x-user", "let through", "arrived: x-user: mallory | x", "/api/v2/x"),
    Verdict("headers", "identity-x-auth", "let through", "arrived: x-auth: mallory", "/api/v2/x"),
    Verdict("headers", "application-age", "passed", "", "/api/v2/x"),
    Verdict("paths", "plain-1", "passed", "", "/"),
    Verdict("paths", "plain-2", "refused", "400"),
    Verdict("paths", "plain-3", "ambiguous", "", "/changed"),
    Verdict("paths", "dot-segment-1", "ambiguous", "", "/changed"),
]


def test_a_row_counts_the_verdicts_of_a_server() -> None:
    text = page_of({"some server": ("1.2", VERDICTS)}, "2026-01-01")

    assert "| some server 1.2 |  | 0 / 1 / 0 / **2** / 0 / 0 | 1 / 1 / **2** / 0 / 0 / 0 |  |  |" in text
    assert "| some server | let through | headers | 2 | `identity-x-user` | `arrived: x-user: mallory ¦ x` |" in text


def test_the_table_of_paths_shows_what_arrived_changed() -> None:
    text = path_table({"some server": ("1.2", VERDICTS)})

    assert "| plain | 1 / 1 / 1 |" in text
    assert "| `/.` | `/changed` | some server |" in text


def test_a_table_replaces_the_one_before(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x -->\nold\n<!-- end of x -->\nb\n")

    for text in ("one", "two"):
        write_between(text, "x", page)

    assert page.read_text() == "a\n<!-- x -->\n\ntwo\n\n<!-- end of x -->\nb\n"


def test_a_page_without_a_place_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n")

    with pytest.raises(ValueError, match="no comments for x"):
        write_between("one", "x", page)

    assert page.read_text() == "a\n"


@pytest.mark.parametrize("mark", ["corpora", "paths", "times"])
def test_the_documentation_has_a_table_for_each_program(mark: str) -> None:
    _, _, table = PAGE.read_text(encoding="utf-8").partition(f"<!-- {mark} -->")

    assert "|---|" in table.partition(f"<!-- end of {mark} -->")[0]


def test_every_server_that_can_be_started_is_in_the_documentation() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert [name for name in STARTS if f"| {name} " not in text] == []

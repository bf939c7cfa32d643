"""The report summarises what is stored, and its texts are safe wherever they are read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_auth.cli.usage.markdown import as_markdown
from compat_auth.cli.usage.terminal import as_lines, sparkline
from compat_auth.store.migration import open_store
from compat_auth.store.tables.usage import DAY_S, UsageKey, UsageRows, UsageSums
from compat_auth.usage.forecast import Forecast, forecast
from compat_auth.usage.report import Filters, export, make_report
from compat_auth.usage.texts import as_csv, as_json

TODAY = 20_000
NOW = TODAY * DAY_S + 3600
EVIL = '=HYPERLINK("http://evil")\n| <script>alert(1)</script> \x1b[31m\u202e'


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[UsageRows]:
    rows = UsageRows(open_store(f"sqlite:///{tmp_path / 'store.db'}"))
    with rows.database.write():
        pass
    yield rows
    rows.close()


def add(
    rows: UsageRows,
    *,
    ago: int = 0,
    user: str = "alice",
    backend: str = "basic_auth",
    client: str = "curl",
    operation: str = "GET /api/v1/dags",
    outcome: str = "granted",
    count: int = 1,
) -> None:
    day = TODAY - ago
    key = UsageKey(day, user, backend, client, "10.1.2.0/24", operation, outcome)
    rows.add([(key, UsageSums(count, 0, day * DAY_S, day * DAY_S + 60))])


def test_a_report_says_who_would_fail_without_a_backend(rows: UsageRows) -> None:
    add(rows)
    add(rows, user="bob", backend="kerberos", ago=5)
    add(rows, user="carol", outcome="refused")
    add(rows, user="dave", ago=100)
    add(rows, user="erin", operation="lane")

    report = make_report(rows, Filters(days=90), NOW)

    found = {name: {row["principal"] for row in rows} for name, rows in report.affected.items()}
    assert found == {"basic_auth": {"alice", "erin"}, "kerberos": {"bob"}}


def test_a_report_has_days_progress_and_the_old_api(rows: UsageRows) -> None:
    for ago in range(30):
        add(rows, ago=ago, count=10 * (ago + 1))
    add(rows, ago=1, operation="GET /api/v2/dags", backend="personal_token", count=7)

    report = make_report(rows, Filters(days=3), NOW)

    basic = next(one for one in report.backends if one.name == "basic_auth")
    assert (report.recorded_since, basic.by_day) == (TODAY - 29, (30, 20, 10))
    assert (basic.first_week, basic.last_week) == (270, 50)
    assert basic.forecast == Forecast("ends", TODAY)
    assert [(row["operation"], row["count"]) for row in report.old_operations] == [("GET /api/v1/dags", 60)]


def test_filters_drill_down_to_one_script(rows: UsageRows) -> None:
    add(rows)
    add(rows, client="wget", operation="GET /api/v2/pools")
    add(rows, user="bob")

    report = make_report(rows, Filters(user="alice", client="wget", network="10.1.2.0/24"), NOW)

    assert [row["operation"] for row in report.operations] == ["GET /api/v2/pools"]
    assert make_report(rows, Filters(network="10.9.9.0/24"), NOW).scripts == ()
    assert make_report(rows, Filters(operation="/api/v2/"), NOW).scripts[0]["client"] == "wget"


def test_long_tables_are_cut_and_the_report_says_so(rows: UsageRows) -> None:
    for number in range(120):
        add(rows, user=f"user{number:03}")

    report = make_report(rows, Filters(), NOW)

    assert len(report.scripts) == 100
    assert "scripts" in report.truncated
    assert len(export(rows, Filters(), NOW)) == 120


def test_a_store_that_was_never_made_has_an_empty_report(tmp_path: Path) -> None:
    rows = UsageRows(open_store(f"sqlite:///{tmp_path / 'none.db'}"))

    report = make_report(rows, Filters(), NOW)

    assert (report.backends, report.recorded_since, list(tmp_path.iterdir())) == ((), None, [])
    assert "No usage is recorded yet." in "\n".join(as_lines(report))


def test_a_filter_that_finds_nothing_does_not_say_that_nothing_is_recorded(rows: UsageRows) -> None:
    add(rows, ago=7)

    report = make_report(rows, Filters(user="alcie"), NOW)

    terminal, markdown = "\n".join(as_lines(report)), as_markdown(report)
    assert report.recorded_since == TODAY - 7
    assert [("No usage for this choice." in text, "db upgrade" in text) for text in (terminal, markdown)] == [
        (True, False)
    ] * 2


def test_the_first_day_of_a_report_is_that_of_all_usage(rows: UsageRows) -> None:
    add(rows, ago=50, user="bob")
    add(rows, ago=7)

    assert make_report(rows, Filters(user="alice"), NOW).recorded_since == TODAY - 50


@pytest.mark.parametrize(
    ("user", "shown"),
    [
        ("x;=1+1", "x;'=1+1"),
        ("x; =1+1", "x;' =1+1"),
        ('x;"=1+1', 'x;\'""=1+1'),
        ("a,@b|+c", "a,'@b|'+c"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("alice", "alice"),
        ("a-b", "a-b"),
    ],
    ids=["semicolon", "space", "quote", "comma", "wide", "name", "hyphen"],
)
def test_no_separator_begins_a_formula_in_a_csv(user: str, shown: str, rows: UsageRows) -> None:
    add(rows, user=user)

    line = as_csv(export(rows, Filters(), NOW)).split("\r\n")[1]

    assert line.startswith(f'"{shown}","basic_auth",')
    assert line.endswith('"')


def test_json_is_ascii(rows: UsageRows) -> None:
    add(rows, user="a\x9b2J\u202eb")

    assert as_json(make_report(rows, Filters(), NOW)).isascii()


def test_no_cell_of_a_csv_is_a_formula_and_no_row_has_a_second_line(rows: UsageRows) -> None:
    for user in (EVIL, "+1", "-1", "@x", "\t=1", "  =1", '"', "'", "a,b"):
        add(rows, user=user)

    lines = as_csv(export(rows, Filters(), NOW)).split("\r\n")

    cells = [row[0] for row in csv.reader(io.StringIO("\r\n".join(lines)))][1:]
    assert len(cells) == 9
    assert not [cell for cell in cells if cell.lstrip(" ")[:1] in "=+-@\t\r"]


def test_a_name_cannot_forge_a_line_of_the_terminal_or_of_markdown(rows: UsageRows) -> None:
    add(rows, user=EVIL)
    report = make_report(rows, Filters(user=EVIL), NOW)

    terminal, markdown = "\n".join(as_lines(report)), as_markdown(report)

    assert "\x1b" not in terminal + markdown
    assert "\u202e" not in terminal + markdown
    assert "<script>" not in markdown
    assert all(line.count("|") - line.count("\\|") in (0, 5, 6, 8) for line in markdown.split("\n"))
    assert json.loads(as_json(report))["scripts"][0]["principal"] == EVIL


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        pytest.param([5] * 10, Forecast("too little data"), id="ten-days"),
        pytest.param([5] * 30, Forecast("no end"), id="steady"),
        pytest.param(list(range(30)), Forecast("no end"), id="rising"),
        pytest.param([10, 0, 10, 0, 9] * 6, Forecast("unclear"), id="noise"),
        pytest.param(list(range(40, 10, -1)), Forecast("ends", 139), id="falling-by-one-a-day"),
        pytest.param([9] * 20 + [0] * 10, Forecast("over", 119), id="over"),
    ],
)
def test_a_forecast_is_a_line_or_says_why_there_is_none(counts: list[int], found: Forecast) -> None:
    assert forecast(counts, 100) == found


def test_a_sparkline_has_a_block_for_each_day_or_for_several() -> None:
    assert sparkline([0, 1, 8, 4]) == "·▁█▄"
    assert len(sparkline(range(90))) == 30
    assert sparkline([0, 0]) == "··"
    assert sparkline([]) == ""

"""The difference of two clocks, and when it is too large."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from compat_auth.cli.doctor.peers.clocks import ahead_of_date, describe_clock


@pytest.mark.parametrize(
    ("date", "ahead_s"),
    [
        pytest.param(formatdate(1000, usegmt=True), 0, id="equal"),
        pytest.param(formatdate(900, usegmt=True), 99, id="ahead"),
        pytest.param(formatdate(1100, usegmt=True), -100, id="behind"),
        pytest.param("yesterday", None, id="no-date"),
        pytest.param("", None, id="none"),
    ],
)
def test_a_date_is_compared(date: str, ahead_s: float | None) -> None:
    assert ahead_of_date({"date": date}, 1000, 1000) == ahead_s


@pytest.mark.parametrize(
    ("ahead_s", "status"), [(0, "ok"), (-16, "warning"), (31, "failure"), (-31, "failure")], ids=str
)
def test_a_difference_is_a_failure_beyond_the_limit(ahead_s: float, status: str) -> None:
    assert describe_clock("clock X", ahead_s, limit_s=30, why="tokens end early").status == status

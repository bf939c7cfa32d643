"""Times on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from compat_auth.cli.stages.moments import parse_moment, parse_window, spell_moment, spell_window
from compat_auth.errors import InvalidValue
from compat_auth.stages.rules import DAY_S, WEEK_S


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        pytest.param("2027-01-31", "2027-01-31T00:00:00", id="date"),
        pytest.param("2027-01-31T09:00:01Z", "2027-01-31T09:00:01", id="utc"),
        pytest.param("2027-01-31T09:00", "2027-01-31T09:00:00", id="without-an-offset"),
        pytest.param("2027-01-31T09:00:00+01:00", "2027-01-31T08:00:00", id="with-an-offset"),
    ],
)
def test_a_moment_is_read_in_utc(text: str, moment: str) -> None:
    assert parse_moment(text, option="--until") == at(moment)


@pytest.mark.parametrize("text", ["", "soon", "2027-13-01", "1969-01-01", "2027-01-01T00:00:00.5Z"])
def test_a_moment_that_is_none_is_refused_with_its_option(text: str) -> None:
    with pytest.raises(InvalidValue, match="--until"):
        parse_moment(text, option="--until")


def test_a_daily_window_opens_every_day_at_that_time() -> None:
    window = parse_window("daily 09:00 15m")

    assert (window.length_s, window.every_s) == (900, DAY_S)
    assert window.end_at(at("2027-02-03T09:14:59")) == at("2027-02-03T09:15:00")
    assert window.end_at(at("2027-02-03T08:59:59")) is None


@pytest.mark.parametrize("day", range(7))
def test_a_weekly_window_opens_on_its_day(day: int) -> None:
    name = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[day]
    # A Monday.
    moments = [at("2027-01-11T09:30:15") + number * DAY_S for number in range(7)]

    window = parse_window(f"weekly {name} 09:30:15 1h")

    assert window.every_s == WEEK_S
    assert [window.end_at(moment) is not None for moment in moments] == [number == day for number in range(7)]
    assert spell_window(window) == f"weekly {name} 09:30:15 3600s"
    assert parse_window(spell_window(window)) == window


def test_a_window_between_two_moments_opens_once() -> None:
    window = parse_window("2027-01-11T09:00:00Z/2027-01-11T10:00:00Z")

    assert (window.start, window.length_s, window.every_s) == (at("2027-01-11T09:00:00"), 3600, 0)
    assert spell_window(window) == "2027-01-11T09:00:00Z/2027-01-11T10:00:00Z"
    assert spell_window(parse_window("daily 09:00 1h")) == "daily 09:00:00 3600s"
    assert spell_moment(window.start) == "2027-01-11T09:00:00Z"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("daily", id="too-short"),
        pytest.param("hourly 09:00 1m", id="no-such-period"),
        pytest.param("weekly noday 09:00 1m", id="no-such-day"),
        pytest.param("daily 24:00 1m", id="no-such-hour"),
        pytest.param("daily 9 1m", id="no-minutes"),
        pytest.param("daily 09:00 1w", id="no-such-unit"),
        pytest.param("daily 09:00 1d", id="no-end"),
        pytest.param("2027-01-11/2027-01-10", id="ends-before-it-begins"),
        pytest.param("2027-01-11/", id="no-second-moment"),
    ],
)
def test_a_window_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="window"):
        parse_window(text)

"""Rules of stages: what can be written, and when a window is open."""

from __future__ import annotations

import pytest

from compat_auth.errors import InvalidValue
from compat_auth.stages.rules import DAY_S, WEEK_S, Window, parse_operation, spelled
from support.staged import NOON, brownout, rule


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        pytest.param(NOON - 0.001, None, id="a-moment-before"),
        pytest.param(NOON, NOON + 60, id="its-first-second"),
        pytest.param(NOON + 59.999, NOON + 60, id="its-last-moment"),
        pytest.param(NOON + 60, None, id="its-end"),
        pytest.param(NOON + WEEK_S, None, id="a-week-later"),
    ],
)
def test_a_window_is_open_to_the_second(moment: float, end: int | None) -> None:
    assert Window(NOON, 60).end_at(moment) == end


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        pytest.param(NOON - 0.001, None, id="before-the-first"),
        pytest.param(NOON + 30, NOON + 60, id="in-the-first"),
        pytest.param(NOON + DAY_S - 0.001, None, id="before-the-second"),
        pytest.param(NOON + DAY_S, NOON + DAY_S + 60, id="in-the-second"),
        pytest.param(NOON + 1000 * DAY_S + 59.9, NOON + 1000 * DAY_S + 60, id="years-later"),
        pytest.param(NOON + 1000 * DAY_S + 60, None, id="after-that"),
    ],
)
def test_a_recurring_window_opens_again_to_the_second(moment: float, end: int | None) -> None:
    assert Window(NOON, 60, DAY_S).end_at(moment) == end


def test_the_next_window_is_known() -> None:
    once, daily = Window(NOON, 60), Window(NOON, 60, DAY_S)

    assert (once.next_start(NOON - 5), once.next_start(NOON)) == (NOON, None)
    assert (daily.next_start(NOON - 5), daily.next_start(NOON + 1)) == (NOON, NOON + DAY_S)


@pytest.mark.parametrize(
    ("start", "length_s", "every_s"),
    [
        pytest.param(NOON, 0, 0, id="empty"),
        pytest.param(NOON, -1, 0, id="ends-before-it-begins"),
        pytest.param(NOON, DAY_S, DAY_S, id="as-long-as-its-period"),
        pytest.param(-1, 60, 0, id="before-the-epoch"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(start: int, length_s: int, every_s: int) -> None:
    with pytest.raises(InvalidValue, match="window"):
        Window(start, length_s, every_s)


@pytest.mark.parametrize(
    ("stage", "more", "word"),
    [
        pytest.param("brownout", {}, "window", id="brownout-without-a-window"),
        pytest.param("warn", {"windows": (Window(NOON, 60),)}, "window", id="window-without-a-brownout"),
        pytest.param("throttle", {}, "per minute", id="throttle-without-a-number"),
        pytest.param("off", {"per_minute": 3}, "per minute", id="number-without-a-throttle"),
        pytest.param("warn", {"deprecated": NOON, "sunset": NOON - 1}, "sunset", id="sunset-before-the-deprecation"),
        pytest.param("gone", {}, "stage", id="no-stage"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(stage: str, more: dict[str, object], word: str) -> None:
    with pytest.raises(InvalidValue, match=word):
        rule(stage, "basic_auth", **more)  # type: ignore[arg-type]  # one is no stage


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("dags", id="no-path"),
        pytest.param("get /api/v2/dags", id="lower-case-method"),
        pytest.param("FETCH /api/v2/dags", id="no-method"),
        pytest.param("GET /a?b=c", id="query"),
        pytest.param("GET /a{b}", id="brace-in-a-segment"),
        pytest.param("/" + "a" * 600, id="too-long"),
        pytest.param("GET /a\r\nX: y", id="line-break"),
    ],
)
def test_an_operation_with_a_mistake_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="operation"):
        parse_operation(text)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        pytest.param("GET:/api/v2/dags", "GET /api/v2/dags", id="as-oauth-spells-it"),
        pytest.param("/api/v2/dags/", "/api/v2/dags/", id="any-method"),
        pytest.param("v1", "v1", id="v1"),
        pytest.param("", "", id="any"),
    ],
)
def test_an_operation_has_one_spelling(text: str, same: str) -> None:
    assert spelled(text) == same


def test_the_severity_of_a_brownout_depends_on_the_window() -> None:
    one = brownout(NOON, 60)

    assert [one.severity(moment) for moment in (NOON - 1, NOON, NOON + 60)] == [1, 3, 1]

"""When a token is valid, to the second."""

from __future__ import annotations

from typing import Any

import pytest

from compat_auth.errors import InvalidToken
from compat_auth.tokens.jose.registered_claims import check_times, in_whole_seconds, numeric_date, whole_time

NOW = 1_800_000_000
LIFETIME_S = 3600
LEEWAY_S = 30


def check(**claims: Any) -> None:
    check_times(claims, NOW, leeway_s=LEEWAY_S, max_lifetime_s=LIFETIME_S, read_time=whole_time)


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"exp": NOW - LEEWAY_S + 1}, id="ended-within-the-leeway"),
        pytest.param({"exp": NOW + LIFETIME_S}, id="longest-without-iat"),
        pytest.param({"exp": NOW + 10 + LIFETIME_S, "iat": NOW + 10}, id="longest-with-iat"),
        pytest.param({"exp": NOW + 60, "iat": NOW + LEEWAY_S}, id="issued-within-the-leeway"),
        pytest.param({"exp": NOW + 60, "nbf": NOW + LEEWAY_S}, id="begins-within-the-leeway"),
        pytest.param({"exp": NOW + 11, "iat": NOW + 10}, id="of-one-second"),
        pytest.param({"exp": NOW + 60, "iat": NOW, "nbf": 0}, id="begun-at-the-epoch"),
    ],
)
def test_at_the_bound_a_token_is_valid(claims: dict[str, Any]) -> None:
    check(**claims)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        pytest.param({}, "exp: missing", id="no-end"),
        pytest.param({"exp": NOW - LEEWAY_S}, "exp: expired", id="ended"),
        pytest.param({"exp": NOW + LIFETIME_S + 1}, "lives longer", id="too-long-without-iat"),
        pytest.param({"exp": NOW + LIFETIME_S, "iat": NOW - 1}, "lives longer", id="too-long-with-iat"),
        pytest.param({"exp": NOW + 600, "iat": NOW + LEEWAY_S + 1}, "iat: in the future", id="not-yet-issued"),
        pytest.param({"exp": NOW + 600, "nbf": NOW + LEEWAY_S + 1}, "nbf: not yet valid", id="not-yet-begun"),
        pytest.param({"exp": NOW + 10, "iat": NOW + 10}, "not after iat", id="ends-as-it-begins"),
        pytest.param({"exp": NOW + 9, "iat": NOW + 10}, "not after iat", id="ends-before-it-begins"),
    ],
)
def test_beyond_the_bound_it_is_not(claims: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidToken, match=reason):
        check(**claims)


def test_each_time_is_rounded_down_and_nothing_else() -> None:
    claims = {"exp": 10.9, "iat": 1.5, "nbf": 2.7, "weight": 3.5, "sub": "alice"}

    assert in_whole_seconds(claims) == {"exp": 10, "iat": 1, "nbf": 2, "weight": 3.5, "sub": "alice"}


@pytest.mark.parametrize("value", [True, -1, "1", None])
def test_what_is_no_time_is_refused_by_both_readings(value: object) -> None:
    for read in (whole_time, numeric_date):
        with pytest.raises(InvalidToken, match=r"^exp: not a"):
            read({"exp": value}, "exp")


def test_a_time_may_have_a_fraction_only_where_others_write_it() -> None:
    assert numeric_date({"exp": 1.5}, "exp") == 1.5
    assert numeric_date({"exp": 0}, "exp") == 0
    assert numeric_date({}, "exp") is None
    assert whole_time({"exp": 0}, "exp") == 0
    assert whole_time({}, "exp") is None
    with pytest.raises(InvalidToken):
        whole_time({"exp": 1.5}, "exp")

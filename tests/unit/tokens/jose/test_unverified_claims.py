"""The times of a token that nobody has verified: read so that no revoked token is taken for a valid one."""

from __future__ import annotations

from typing import Any

import pytest

from compat_auth.tokens.jose.unverified_claims import claimed_in


@pytest.mark.parametrize(
    ("value", "issued", "expires"),
    [
        pytest.param(1_800_000_000, 1_800_000_000, 1_800_000_000, id="whole"),
        pytest.param(1_800_000_000.5, 1_800_000_000, 1_800_000_001, id="fraction"),
        pytest.param(1_800_000_000.0, 1_800_000_000, 1_800_000_000, id="float-of-a-whole-number"),
        pytest.param(-0.5, -1, 0, id="before-the-epoch"),
        pytest.param(2**63 - 1, 2**63 - 1, 2**63 - 1, id="largest-that-a-store-holds"),
    ],
)
def test_the_issue_of_a_token_is_rounded_down_and_its_end_up(value: float, issued: int, expires: int) -> None:
    found = claimed_in({"iat": value, "exp": value})

    assert (found.issued, found.expires) == (issued, expires)
    assert (type(found.issued), type(found.expires)) == (int, int)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), float("-inf"), 1e300, 2.0**63, 2**63, 10**400, True, "1800000000", None, []],
    ids=["nan", "inf", "minus-inf", "huge", "float-too-large", "too-large", "absurd", "bool", "text", "null", "list"],
)
def test_a_time_that_no_store_holds_counts_as_missing(value: Any) -> None:
    found = claimed_in({"iat": value, "exp": value})

    assert (found.issued, found.expires) == (None, None)

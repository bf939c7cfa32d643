"""What a personal token may be: names, scopes, days."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from compat_auth.errors import (
    InvalidValue,
)
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens
from support.token_world import DAY, NOON, World


def test_a_token_lives_ninety_days_unless_told_otherwise(tokens: PersonalTokens) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl"), by="alice")

    assert datetime.fromtimestamp(made.token.expires - 1, UTC).date().isoformat() == "2027-02-22"


@pytest.mark.parametrize("days", [0, -1, 367, 10**9])
def test_a_last_day_that_is_past_or_too_far_ahead_is_refused(tokens: PersonalTokens, days: int) -> None:
    with pytest.raises(InvalidValue, match="1 to 366 days"):
        tokens.create("alice", PersonalTokenRequest("etl", days=days), by="alice")


def test_the_longest_life_is_as_configured(world: World) -> None:
    service = world.service(max_days=7)

    made = service.create("alice", PersonalTokenRequest("etl"), by="alice")

    assert made.token.expires <= NOON + 8 * DAY
    with pytest.raises(InvalidValue):
        service.create("alice", PersonalTokenRequest("other", days=8), by="alice")


@pytest.mark.parametrize("name", ["", "x" * 65, " etl", "etl ", "e\ntl", "e\x00tl", "e\u202etl"])
def test_a_name_that_could_mislead_or_not_be_stored_is_refused(tokens: PersonalTokens, name: str) -> None:
    with pytest.raises(InvalidValue, match="name"):
        tokens.create("alice", PersonalTokenRequest(name), by="alice")


@pytest.mark.parametrize("name", ["x", "x" * 64, "Täglicher Lauf 日本"])
def test_a_name_of_1_to_64_characters_is_taken(tokens: PersonalTokens, name: str) -> None:
    assert tokens.create("alice", PersonalTokenRequest(name), by="alice").token.name == name


@pytest.mark.parametrize("scopes", [(), ("get /a",), ("reed",), ("dags:",), ("dags:~",), ("read",) * 51])
def test_a_scope_that_means_nothing_is_refused_at_once(tokens: PersonalTokens, scopes: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValue, match="scope"):
        tokens.create("alice", PersonalTokenRequest("etl", scopes), by="alice")

"""Personal tokens by their text: what works, until when, for whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text as sql

from compat_auth.crypto.personal_token_format import make_text
from compat_auth.directory import DirectoryUser
from compat_auth.errors import (
    CompatAuthError,
)
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens
from compat_auth.scopes import parse_scope
from compat_auth.store.tables.personal_tokens import CREDENTIAL_KIND
from support.token_world import DAY, NOON, OLDER, PEPPER, World, works


def test_a_token_vouches_for_its_owner_within_its_limits(tokens: PersonalTokens) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl", ("GET /api/v2/dags", "read"), 1), by="alice")

    token, identity = tokens.verification.verify(made.text)

    assert token == made.token
    assert (identity.username, identity.directory, identity.upstream_id) == ("alice", "users", "1")
    assert identity.scopes == (parse_scope("GET /api/v2/dags"), parse_scope("GET /"))
    assert identity.expires_at == made.token.expires
    assert identity.credential_id == CREDENTIAL_KIND + made.token.id


def test_the_database_holds_no_secret(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl"), by="alice")
    tokens.rows.database.close()

    secret = made.text.removeprefix("cat_pat_")[12:44].encode()
    assert all(secret not in path.read_bytes() for path in world.folder.iterdir())
    assert secret.decode() not in repr(made)


def test_the_last_day_counts(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl", days=1), by="alice")
    last_moment = datetime(2026, 11, 25, 23, 59, 59, tzinfo=UTC).timestamp()

    world.clock.now = last_moment
    before = works(tokens, made.text)
    world.clock.now = last_moment + 1
    after = works(tokens, made.text)

    assert (before, after) == (True, False)


def test_a_disabled_owner_stays_out_until_enabled(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("zoë", PersonalTokenRequest("etl"), by="zoë")

    world.users.users["zoë"] = DirectoryUser("zoë", active=False)
    disabled = works(tokens, made.text)
    world.clock.now += 10 * DAY
    world.users.users["zoë"] = DirectoryUser("zoë")

    assert (disabled, works(tokens, made.text)) == (False, True)


def test_all_tokens_of_a_user_die_with_the_user(tokens: PersonalTokens, world: World) -> None:
    first, second = (tokens.create("zoë", PersonalTokenRequest(name), by="zoë") for name in ("a", "b"))
    del world.users.users["zoë"]
    gone = works(tokens, first.text)

    world.clock.now += 3600
    world.users.users["zoë"] = DirectoryUser("zoë")

    assert (gone, works(tokens, second.text), works(tokens, first.text)) == (False, False, False)
    assert tokens.list("zoë") == ()


def test_a_directory_that_is_misconfigured_for_a_while_kills_no_token(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("zoë", PersonalTokenRequest("etl"), by="zoë")
    known = world.users.users.pop("zoë")
    gone = works(tokens, made.text)

    world.clock.now += 3599
    world.users.users["zoë"] = known
    back = works(tokens, made.text)
    world.clock.now += 3600

    assert (gone, back, works(tokens, made.text)) == (False, True, True)


def test_a_later_user_of_that_name_does_not_inherit(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl"), by="alice")

    world.users.users["alice"] = DirectoryUser("alice", upstream_id="2")

    assert not works(tokens, made.text)


def test_a_user_of_that_name_in_another_directory_does_not_inherit(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl"), by="alice")

    world.users.name = "elsewhere"

    assert not works(tokens, made.text)


def test_an_overlap_does_not_outlive_the_old_end(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl", days=1), by="alice")
    tokens.refresh(made.token, overlap_s=7 * DAY)

    world.clock.now = made.token.expires

    assert not works(tokens, made.text)


def test_a_pepper_is_rotated_without_a_token_being_lost(world: World) -> None:
    made = world.service(peppers=(OLDER,)).create("alice", PersonalTokenRequest("etl"), by="alice")

    during = world.service(peppers=(PEPPER, OLDER))
    used = works(during, made.text)

    assert used
    assert works(world.service(peppers=(PEPPER,)), made.text)


def test_a_token_whose_pepper_is_not_known_does_not_work(world: World) -> None:
    made = world.service(peppers=(OLDER,)).create("alice", PersonalTokenRequest("etl"), by="alice")

    assert not works(world.service(peppers=(PEPPER,)), made.text)


def test_scopes_that_cannot_be_read_are_no_scopes(tokens: PersonalTokens) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl"), by="alice")
    with tokens.rows.database.write() as connection:
        connection.execute(sql("UPDATE compat_auth_personal_tokens SET scopes = '[\"everything\"]'"))

    assert not works(tokens, made.text)


def test_no_error_repeats_a_token(tokens: PersonalTokens) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl"), by="alice")
    tokens.revoke(made.token)

    for text in (made.text, make_text(made.token.id).value, make_text().value, made.text[:-1] + "!"):
        with pytest.raises(CompatAuthError) as caught:
            tokens.verification.verify(text)
        assert text[20:] not in str(caught.value)


def test_a_token_that_dies_in_the_middle_of_a_listing_is_no_accident(tokens: PersonalTokens) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl"), by="alice")

    assert not replace(made.token, revoked=1).is_alive(NOON)
    assert not made.token.is_alive(made.token.expires)
    assert made.token.is_alive(NOON)

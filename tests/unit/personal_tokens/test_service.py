"""Personal tokens made, listed, refreshed and revoked."""

from __future__ import annotations

import pytest

from compat_auth.authn.revocation_events import RevocationEvent
from compat_auth.directory import DirectoryUser
from compat_auth.errors import (
    InvalidValue,
    NameTaken,
    NoSuchToken,
    NoSuchUser,
    NotPermitted,
)
from compat_auth.personal_tokens.owners import UnknownOwner
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens
from compat_auth.scopes import parse_scope
from compat_auth.store.tables.personal_tokens import CREDENTIAL_KIND
from support.token_world import DAY, World, works


def test_a_name_is_unique_among_the_tokens_of_a_user_that_are_alive(tokens: PersonalTokens, world: World) -> None:
    first = tokens.create("alice", PersonalTokenRequest("etl", days=1), by="alice")
    tokens.create("zoë", PersonalTokenRequest("etl"), by="zoë")
    with pytest.raises(NameTaken):
        tokens.create("alice", PersonalTokenRequest("etl"), by="alice")

    tokens.revoke(first.token)
    second = tokens.create("alice", PersonalTokenRequest("etl", days=1), by="alice")
    world.clock.now = second.token.expires
    third = tokens.create("alice", PersonalTokenRequest("etl"), by="alice")

    assert works(tokens, third.text)
    assert not works(tokens, second.text)


def test_a_user_has_so_many_tokens_and_no_more(world: World) -> None:
    service = world.service(per_user_limit=2)
    for name in ("a", "b"):
        service.create("alice", PersonalTokenRequest(name), by="alice")

    with pytest.raises(InvalidValue, match="already has 2 tokens"):
        service.create("alice", PersonalTokenRequest("c"), by="alice")
    service.create("zoë", PersonalTokenRequest("c"), by="zoë")


def test_a_limited_credential_makes_no_wider_token(tokens: PersonalTokens) -> None:
    within = (parse_scope("GET /api/"), parse_scope("POST /compat-auth/api/personal-tokens"))
    narrow = tokens.create("alice", PersonalTokenRequest("narrow", ("GET /api/v2/dags",), within=within), by="alice")
    wide = tokens.create("alice", PersonalTokenRequest("wide", ("all",)), by="alice")

    assert works(tokens, narrow.text)
    for scopes in (("all",), ("read",), ("POST /api/v2/dags",)):
        with pytest.raises(NotPermitted):
            tokens.create("alice", PersonalTokenRequest("wider", scopes, within=within), by="alice")
    with pytest.raises(NotPermitted):
        tokens.refresh(wide.token, within=within)


def test_an_unknown_or_disabled_owner_gets_no_token(tokens: PersonalTokens, world: World) -> None:
    world.users.users["zoë"] = DirectoryUser("zoë", active=False)

    for owner in ("nobody", "zoë"):
        with pytest.raises(NoSuchUser):
            tokens.create(owner, PersonalTokenRequest("etl"), by="operator")


def test_a_refreshed_token_is_its_owners_of_today(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl"), by="alice")
    world.users.users["alice"] = DirectoryUser("alice", upstream_id="2")

    again = tokens.refresh(made.token)

    assert (works(tokens, made.text), works(tokens, again.text)) == (False, True)


def test_an_e_mail_address_is_no_owner(tokens: PersonalTokens, world: World) -> None:
    world.users.users["mallory@example.com"] = DirectoryUser("alice", upstream_id="1")

    with pytest.raises(UnknownOwner):
        tokens.create("mallory@example.com", PersonalTokenRequest("etl"), by="mallory")


def test_a_refresh_kills_the_old_secret_at_once_and_says_so(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl", days=1), by="alice")

    again = tokens.refresh(made.token, days=10)

    assert (works(tokens, made.text), works(tokens, again.text)) == (False, True)
    assert again.token.id == made.token.id
    assert again.token.expires == made.token.expires + 9 * DAY
    assert world.heard == [RevocationEvent(credential_id=CREDENTIAL_KIND + made.token.id)]


@pytest.mark.parametrize("days", [1, 5, 90, 300])
def test_a_refresh_that_names_no_days_gives_as_many_as_before(tokens: PersonalTokens, world: World, days: int) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl", days=days), by="alice")
    world.clock.now += DAY
    first = tokens.refresh(made.token)
    world.clock.now += DAY

    second = tokens.refresh(first.token)

    assert first.token.expires == made.token.expires + DAY
    assert second.token.expires == made.token.expires + 2 * DAY


def test_a_refresh_gives_as_many_days_as_the_last_refresh_that_named_some(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl", days=50), by="alice")
    shorter = tokens.refresh(made.token, days=3)
    world.clock.now += 10 * DAY

    again = tokens.refresh(shorter.token)

    assert again.token.expires == shorter.token.expires + 10 * DAY


def test_a_refresh_gives_no_more_days_than_are_allowed_now(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl", days=50), by="alice")

    again = world.service(max_days=7).refresh(made.token)

    assert again.token.expires == made.token.expires - 43 * DAY


def test_a_refresh_with_an_overlap_lets_both_work_for_that_long(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl"), by="alice")
    again = tokens.refresh(made.token, overlap_s=60)

    both = works(tokens, made.text), works(tokens, again.text)
    world.clock.now += 60

    assert both == (True, True)
    assert (works(tokens, made.text), works(tokens, again.text)) == (False, True)


def test_a_second_refresh_ends_an_overlap(tokens: PersonalTokens) -> None:
    first = tokens.create("alice", PersonalTokenRequest("etl"), by="alice")
    second = tokens.refresh(first.token, overlap_s=60)
    third = tokens.refresh(second.token)

    assert [works(tokens, made.text) for made in (first, second, third)] == [False, False, True]


@pytest.mark.parametrize("overlap_s", [-1, 7 * DAY + 1])
def test_an_overlap_that_makes_no_sense_is_refused(tokens: PersonalTokens, overlap_s: int) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl"), by="alice")

    with pytest.raises(InvalidValue, match="overlap"):
        tokens.refresh(made.token, overlap_s=overlap_s)


def test_of_two_refreshes_at_once_one_fails(tokens: PersonalTokens) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl"), by="alice")
    tokens.refresh(made.token)

    with pytest.raises(NoSuchToken):
        tokens.refresh(made.token)


def test_a_revoked_token_is_dead_for_good_and_that_is_announced(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl"), by="alice")

    tokens.revoke(made.token)

    assert not works(tokens, made.text)
    assert world.heard == [RevocationEvent(credential_id=CREDENTIAL_KIND + made.token.id)]
    with pytest.raises(NoSuchToken):
        tokens.revoke(made.token)
    with pytest.raises(NoSuchToken):
        tokens.refresh(made.token)
    with pytest.raises(NoSuchToken):
        tokens.get(made.token.id)


def test_a_token_that_is_revoked_is_in_no_list(tokens: PersonalTokens) -> None:
    kept, gone = (tokens.create("alice", PersonalTokenRequest(name), by="alice") for name in ("kept", "gone"))
    tokens.create("zoë", PersonalTokenRequest("hers"), by="zoë")

    tokens.revoke(gone.token)

    assert tokens.list("alice") == (kept.token,)
    assert [token.name for token in tokens.list()] == ["kept", "hers"]


def test_switched_off_nothing_works_but_listing_and_deleting(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", PersonalTokenRequest("etl"), by="alice")
    off = world.service(enabled=False)

    assert not works(off, made.text)
    with pytest.raises(NotPermitted):
        off.create("alice", PersonalTokenRequest("x"), by="alice")
    with pytest.raises(NotPermitted):
        off.refresh(made.token)
    assert off.list("alice") == (made.token,)
    off.revoke(off.get(made.token.id))
    assert off.list("alice") == ()


def test_all_tokens_of_a_user_are_revoked_at_once(tokens: PersonalTokens, world: World) -> None:
    made = [tokens.create("alice", PersonalTokenRequest(name), by="alice") for name in ("a", "b")]
    other = tokens.create("zoë", PersonalTokenRequest("a"), by="zoë")

    assert tokens.revoke_all("alice") == 2

    assert [works(tokens, token.text) for token in (*made, other)] == [False, False, True]
    assert world.heard == [RevocationEvent("alice")]

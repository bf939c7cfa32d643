"""Personal tokens: what works, until when, for whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from sqlalchemy import text as sql

from compat_auth.config import PersonalTokenSettings
from compat_auth.directory import DirectoryUser
from compat_auth.errors import (
    CompatAuthError,
    InvalidValue,
    NameTaken,
    NoSuchToken,
    NoSuchUser,
    NotAuthenticated,
    NotPermitted,
)
from compat_auth.peppers import Peppers
from compat_auth.personal_tokens import PersonalTokens, Wish
from compat_auth.revocation import Revocation, Revocations
from compat_auth.scopes import parse_scope
from compat_auth.store.migration import open_store
from compat_auth.store.personal_token_rows import CREDENTIAL_KIND, PersonalTokenRows
from compat_auth.token_format import make_text
from compat_auth.token_owners import TokenOwners, UnknownOwner

NOON = int(datetime(2026, 11, 24, 12, tzinfo=timezone.utc).timestamp())
DAY = 86400
PEPPER = b"a-pepper-of-more-than-32-bytes-0123456789"
OLDER = b"an-older-pepper-of-more-than-32-bytes-0123"


@dataclass
class Users:
    """A directory whose users come and go."""

    name: str = "users"
    users: dict[str, DirectoryUser] = field(
        default_factory=lambda: {"alice": DirectoryUser("alice", upstream_id="1"), "zoë": DirectoryUser("zoë")}
    )

    def find(self, username: str) -> DirectoryUser | None:
        return self.users.get(username)


@dataclass
class Clock:
    now: float = NOON

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """All that a service needs, to be changed under its feet."""

    folder: Path
    users: Users = field(default_factory=Users)
    clock: Clock = field(default_factory=Clock)
    heard: list[Revocation | None] = field(default_factory=list["Revocation | None"])
    revocations: Revocations = field(default_factory=Revocations)

    def service(self, *, peppers: tuple[bytes, ...] = (PEPPER,), **rules: object) -> PersonalTokens:
        return PersonalTokens(
            PersonalTokenRows(open_store(f"sqlite:///{self.folder / 'store.db'}")),
            Peppers(peppers),
            TokenOwners((self.users,)),
            revocations=self.revocations,
            rules=PersonalTokenSettings.model_validate(rules),
            now=self.clock,
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.revocations.listen(world.heard.append)
    return world


@pytest.fixture
def tokens(world: World) -> Iterator[PersonalTokens]:
    service = world.service()
    yield service
    service.rows.database.close()


def works(service: PersonalTokens, text: str) -> bool:
    try:
        service.vouch(text)
    except NotAuthenticated:
        return False
    return True


def test_a_token_vouches_for_its_owner_within_its_limits(tokens: PersonalTokens) -> None:
    made = tokens.create("alice", Wish("etl", ("GET /api/v2/dags", "read"), 1), by="alice")

    token, identity = tokens.vouch(made.text)

    assert token == made.token
    assert (identity.username, identity.directory, identity.upstream_id) == ("alice", "users", "1")
    assert identity.scopes == (parse_scope("GET /api/v2/dags"), parse_scope("GET /"))
    assert identity.expires_at == made.token.expires
    assert identity.credential_id == CREDENTIAL_KIND + made.token.id


def test_the_database_holds_no_secret(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", Wish("etl"), by="alice")
    tokens.rows.database.close()

    secret = made.text.removeprefix("cat_pat_")[12:44].encode()
    assert all(secret not in path.read_bytes() for path in world.folder.iterdir())
    assert secret.decode() not in repr(made)


def test_the_last_day_counts(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", Wish("etl", days=1), by="alice")
    last_moment = datetime(2026, 11, 25, 23, 59, 59, tzinfo=timezone.utc).timestamp()

    world.clock.now = last_moment
    before = works(tokens, made.text)
    world.clock.now = last_moment + 1
    after = works(tokens, made.text)

    assert (before, after) == (True, False)


def test_a_token_lives_ninety_days_unless_told_otherwise(tokens: PersonalTokens) -> None:
    made = tokens.create("alice", Wish("etl"), by="alice")

    assert datetime.fromtimestamp(made.token.expires - 1, timezone.utc).date().isoformat() == "2027-02-22"


@pytest.mark.parametrize("days", [0, -1, 367, 10**9])
def test_a_last_day_that_is_past_or_too_far_ahead_is_refused(tokens: PersonalTokens, days: int) -> None:
    with pytest.raises(InvalidValue, match="1 to 366 days"):
        tokens.create("alice", Wish("etl", days=days), by="alice")


def test_the_longest_life_is_as_configured(world: World) -> None:
    service = world.service(max_days=7)

    made = service.create("alice", Wish("etl"), by="alice")

    assert made.token.expires <= NOON + 8 * DAY
    with pytest.raises(InvalidValue):
        service.create("alice", Wish("other", days=8), by="alice")


@pytest.mark.parametrize("name", ["", "x" * 65, " etl", "etl ", "e\ntl", "e\x00tl", "e\u202etl"])
def test_a_name_that_could_mislead_or_not_be_stored_is_refused(tokens: PersonalTokens, name: str) -> None:
    with pytest.raises(InvalidValue, match="name"):
        tokens.create("alice", Wish(name), by="alice")


@pytest.mark.parametrize("name", ["x", "x" * 64, "Täglicher Lauf 日本"])
def test_a_name_of_1_to_64_characters_is_taken(tokens: PersonalTokens, name: str) -> None:
    assert tokens.create("alice", Wish(name), by="alice").token.name == name


def test_a_name_is_unique_among_the_tokens_of_a_user_that_are_alive(tokens: PersonalTokens, world: World) -> None:
    first = tokens.create("alice", Wish("etl", days=1), by="alice")
    tokens.create("zoë", Wish("etl"), by="zoë")
    with pytest.raises(NameTaken):
        tokens.create("alice", Wish("etl"), by="alice")

    tokens.revoke(first.token)
    second = tokens.create("alice", Wish("etl", days=1), by="alice")
    world.clock.now = second.token.expires
    third = tokens.create("alice", Wish("etl"), by="alice")

    assert works(tokens, third.text)
    assert not works(tokens, second.text)


def test_a_user_has_so_many_tokens_and_no_more(world: World) -> None:
    service = world.service(per_user_limit=2)
    for name in ("a", "b"):
        service.create("alice", Wish(name), by="alice")

    with pytest.raises(InvalidValue, match="2 tokens already"):
        service.create("alice", Wish("c"), by="alice")
    service.create("zoë", Wish("c"), by="zoë")


@pytest.mark.parametrize("scopes", [(), ("get /a",), ("reed",), ("dags:",), ("dags:~",), ("read",) * 51])
def test_a_scope_that_means_nothing_is_refused_at_once(tokens: PersonalTokens, scopes: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValue, match="scope"):
        tokens.create("alice", Wish("etl", scopes), by="alice")


def test_a_limited_credential_makes_no_wider_token(tokens: PersonalTokens) -> None:
    within = (parse_scope("GET /api/"), parse_scope("POST /compat-auth/api/personal-tokens"))
    narrow = tokens.create("alice", Wish("narrow", ("GET /api/v2/dags",), within=within), by="alice")
    wide = tokens.create("alice", Wish("wide", ("all",)), by="alice")

    assert works(tokens, narrow.text)
    for scopes in (("all",), ("read",), ("POST /api/v2/dags",)):
        with pytest.raises(NotPermitted):
            tokens.create("alice", Wish("wider", scopes, within=within), by="alice")
    with pytest.raises(NotPermitted):
        tokens.refresh(wide.token, within=within)


def test_an_unknown_or_disabled_owner_gets_no_token(tokens: PersonalTokens, world: World) -> None:
    world.users.users["zoë"] = DirectoryUser("zoë", active=False)

    for owner in ("nobody", "zoë"):
        with pytest.raises(NoSuchUser):
            tokens.create(owner, Wish("etl"), by="operator")


def test_a_disabled_owner_stays_out_until_enabled(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("zoë", Wish("etl"), by="zoë")

    world.users.users["zoë"] = DirectoryUser("zoë", active=False)
    disabled = works(tokens, made.text)
    world.clock.now += 10 * DAY
    world.users.users["zoë"] = DirectoryUser("zoë")

    assert (disabled, works(tokens, made.text)) == (False, True)


def test_all_tokens_of_a_user_die_with_the_user(tokens: PersonalTokens, world: World) -> None:
    first, second = (tokens.create("zoë", Wish(name), by="zoë") for name in ("a", "b"))
    del world.users.users["zoë"]
    gone = works(tokens, first.text)

    world.clock.now += 3600
    world.users.users["zoë"] = DirectoryUser("zoë")

    assert (gone, works(tokens, second.text), works(tokens, first.text)) == (False, False, False)
    assert tokens.list("zoë") == ()


def test_a_directory_that_is_misconfigured_for_a_while_kills_no_token(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("zoë", Wish("etl"), by="zoë")
    known = world.users.users.pop("zoë")
    gone = works(tokens, made.text)

    world.clock.now += 3599
    world.users.users["zoë"] = known
    back = works(tokens, made.text)
    world.clock.now += 3600

    assert (gone, back, works(tokens, made.text)) == (False, True, True)


def test_a_later_user_of_that_name_does_not_inherit(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", Wish("etl"), by="alice")

    world.users.users["alice"] = DirectoryUser("alice", upstream_id="2")

    assert not works(tokens, made.text)


def test_a_user_of_that_name_in_another_directory_does_not_inherit(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", Wish("etl"), by="alice")

    world.users.name = "elsewhere"

    assert not works(tokens, made.text)


def test_a_refreshed_token_is_its_owners_of_today(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", Wish("etl"), by="alice")
    world.users.users["alice"] = DirectoryUser("alice", upstream_id="2")

    again = tokens.refresh(made.token)

    assert (works(tokens, made.text), works(tokens, again.text)) == (False, True)


def test_an_e_mail_address_is_no_owner(tokens: PersonalTokens, world: World) -> None:
    world.users.users["mallory@example.com"] = DirectoryUser("alice", upstream_id="1")

    with pytest.raises(UnknownOwner):
        tokens.create("mallory@example.com", Wish("etl"), by="mallory")


def test_a_refresh_kills_the_old_secret_at_once_and_says_so(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", Wish("etl", days=1), by="alice")

    again = tokens.refresh(made.token, days=10)

    assert (works(tokens, made.text), works(tokens, again.text)) == (False, True)
    assert again.token.id == made.token.id
    assert again.token.expires == made.token.expires + 9 * DAY
    assert world.heard == [Revocation(credential_id=CREDENTIAL_KIND + made.token.id)]


def test_a_refresh_with_an_overlap_lets_both_work_for_that_long(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", Wish("etl"), by="alice")
    again = tokens.refresh(made.token, overlap_s=60)

    both = works(tokens, made.text), works(tokens, again.text)
    world.clock.now += 60

    assert both == (True, True)
    assert (works(tokens, made.text), works(tokens, again.text)) == (False, True)


def test_an_overlap_does_not_outlive_the_old_end(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", Wish("etl", days=1), by="alice")
    tokens.refresh(made.token, overlap_s=7 * DAY)

    world.clock.now = made.token.expires

    assert not works(tokens, made.text)


def test_a_second_refresh_ends_an_overlap(tokens: PersonalTokens) -> None:
    first = tokens.create("alice", Wish("etl"), by="alice")
    second = tokens.refresh(first.token, overlap_s=60)
    third = tokens.refresh(second.token)

    assert [works(tokens, made.text) for made in (first, second, third)] == [False, False, True]


@pytest.mark.parametrize("overlap_s", [-1, 7 * DAY + 1])
def test_an_overlap_that_makes_no_sense_is_refused(tokens: PersonalTokens, overlap_s: int) -> None:
    made = tokens.create("alice", Wish("etl"), by="alice")

    with pytest.raises(InvalidValue, match="overlap"):
        tokens.refresh(made.token, overlap_s=overlap_s)


def test_of_two_refreshes_at_once_one_fails(tokens: PersonalTokens) -> None:
    made = tokens.create("alice", Wish("etl"), by="alice")
    tokens.refresh(made.token)

    with pytest.raises(NoSuchToken):
        tokens.refresh(made.token)


def test_a_revoked_token_is_dead_for_good_and_that_is_announced(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", Wish("etl"), by="alice")

    tokens.revoke(made.token)

    assert not works(tokens, made.text)
    assert world.heard == [Revocation(credential_id=CREDENTIAL_KIND + made.token.id)]
    with pytest.raises(NoSuchToken):
        tokens.revoke(made.token)
    with pytest.raises(NoSuchToken):
        tokens.refresh(made.token)
    with pytest.raises(NoSuchToken):
        tokens.get(made.token.id)


def test_a_token_that_is_revoked_is_in_no_list(tokens: PersonalTokens) -> None:
    kept, gone = (tokens.create("alice", Wish(name), by="alice") for name in ("kept", "gone"))
    tokens.create("zoë", Wish("hers"), by="zoë")

    tokens.revoke(gone.token)

    assert tokens.list("alice") == (kept.token,)
    assert [token.name for token in tokens.list()] == ["kept", "hers"]


def test_switched_off_nothing_works_but_listing_and_deleting(tokens: PersonalTokens, world: World) -> None:
    made = tokens.create("alice", Wish("etl"), by="alice")
    off = world.service(enabled=False)

    assert not works(off, made.text)
    with pytest.raises(NotPermitted):
        off.create("alice", Wish("x"), by="alice")
    with pytest.raises(NotPermitted):
        off.refresh(made.token)
    assert off.list("alice") == (made.token,)
    off.revoke(off.get(made.token.id))
    assert off.list("alice") == ()


def test_the_secret_of_one_token_with_the_id_of_another_is_neither(tokens: PersonalTokens) -> None:
    first, second = (tokens.create("alice", Wish(name), by="alice") for name in ("a", "b"))

    for text in (make_text(first.token.id).value, make_text(second.token.id).value, make_text().value):
        assert not works(tokens, text)


def test_a_wrong_checksum_asks_nobody(tokens: PersonalTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tokens.create("alice", Wish("etl"), by="alice")
    asked: list[str] = []
    monkeypatch.setattr(PersonalTokenRows, "find", lambda _self, token_id: asked.append(token_id))

    assert not works(tokens, made.text[:-1] + ("a" if made.text[-1] != "a" else "b"))
    assert asked == []


def test_an_unknown_id_costs_as_many_digests_as_a_wrong_secret(
    tokens: PersonalTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tokens.create("alice", Wish("etl"), by="alice")
    refreshed = tokens.refresh(tokens.create("alice", Wish("b"), by="alice").token, overlap_s=60)
    real = Peppers.digest
    done: list[str] = []

    def digest(peppers: Peppers, pepper_id: str, value: str) -> bytes:
        done.append(value)
        return real(peppers, pepper_id, value)

    monkeypatch.setattr(Peppers, "digest", digest)
    counts: list[int] = []

    for token_id in ("", made.token.id, refreshed.token.id):
        del done[:]
        works(tokens, make_text(token_id).value)
        counts.append(len(done))

    assert counts == [2, 2, 2]


def test_a_pepper_is_rotated_without_a_token_being_lost(world: World) -> None:
    made = world.service(peppers=(OLDER,)).create("alice", Wish("etl"), by="alice")

    during = world.service(peppers=(PEPPER, OLDER))
    used = works(during, made.text)

    assert used
    assert works(world.service(peppers=(PEPPER,)), made.text)


def test_a_token_whose_pepper_is_not_known_does_not_work(world: World) -> None:
    made = world.service(peppers=(OLDER,)).create("alice", Wish("etl"), by="alice")

    assert not works(world.service(peppers=(PEPPER,)), made.text)


def test_a_row_that_was_written_past_us_does_not_work(tokens: PersonalTokens) -> None:
    forged = make_text()
    made = tokens.create("alice", Wish("etl"), by="alice")
    with tokens.rows.database.write() as connection:
        connection.execute(sql("UPDATE compat_auth_personal_tokens SET id = :id"), {"id": forged.id})

    assert not works(tokens, forged.value)
    assert not works(tokens, made.text)


def test_scopes_that_cannot_be_read_are_no_scopes(tokens: PersonalTokens) -> None:
    made = tokens.create("alice", Wish("etl"), by="alice")
    with tokens.rows.database.write() as connection:
        connection.execute(sql("UPDATE compat_auth_personal_tokens SET scopes = '[\"everything\"]'"))

    assert not works(tokens, made.text)


def test_all_tokens_of_a_user_are_revoked_at_once(tokens: PersonalTokens, world: World) -> None:
    made = [tokens.create("alice", Wish(name), by="alice") for name in ("a", "b")]
    other = tokens.create("zoë", Wish("a"), by="zoë")

    assert tokens.revoke_all("alice") == 2

    assert [works(tokens, token.text) for token in (*made, other)] == [False, False, True]
    assert world.heard == [Revocation("alice")]


def test_no_error_repeats_a_token(tokens: PersonalTokens) -> None:
    made = tokens.create("alice", Wish("etl"), by="alice")
    tokens.revoke(made.token)

    for text in (made.text, make_text(made.token.id).value, make_text().value, made.text[:-1] + "!"):
        with pytest.raises(CompatAuthError) as caught:
            tokens.vouch(text)
        assert text[20:] not in str(caught.value)


def test_a_token_that_dies_in_the_middle_of_a_listing_is_no_accident(tokens: PersonalTokens) -> None:
    made = tokens.create("alice", Wish("etl"), by="alice")

    assert not replace(made.token, revoked=1).is_alive(NOON)
    assert not made.token.is_alive(made.token.expires)
    assert made.token.is_alive(NOON)

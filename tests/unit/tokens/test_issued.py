"""Tokens issued to callers: each is in the store, is recognized, and ends where its user wants it to."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import jwt
import pytest

from compat_auth.authn.revocation_events import RevocationEvent, RevocationEvents
from compat_auth.authn.users.lookup import UserLookup
from compat_auth.credentials import Basic, Credential
from compat_auth.errors import BackendUnavailable, InvalidToken, NoSuchUser
from compat_auth.identity import Identity, Token
from compat_auth.store.migration import open_store
from compat_auth.store.tables.denylist import DenylistEntry, DenylistRows, IssuedToken
from compat_auth.tokens import issued as module
from compat_auth.tokens.denylist import Denylist, digest_of, signed_digest
from compat_auth.tokens.issued import MAX_LIFETIME_S, IssuedTokens, UpstreamLogout
from compat_auth.tokens.jose.registered_claims import CLOCK_SKEW_S
from compat_auth.tokens.strategies import Kind, Strategy
from compat_auth.tokens.upstream_login import UpstreamLogin
from support.stand_ins import Clock

NOW = 1_800_000_000
SECRET = "s" * 64  # of tests
BASIC = Basic("anna", "right")
ANNA = Identity("anna", "basic_auth", credential_id="c1")
COMPLETE = Identity("anna", "basic_auth", credential_id="c1", upstream_id="7")


def signed(**claims: Any) -> str:
    return jwt.encode({"sub": "7", "iat": NOW, "exp": NOW + 600, **claims}, SECRET, algorithm="HS512")


def with_claims(**claims: Any) -> str:
    """Return a JWT with any claims; its signature is text."""
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.signature"


class Signing:
    """Makes tokens `t1`, `t2`, …, and records the identities that it gets."""

    def __init__(self) -> None:
        self.asked: list[tuple[Identity, Credential, Kind]] = []
        self.names: Iterator[str] = (f"t{number}" for number in range(1, 100))
        self.copies: list[tuple[str, str, int]] = []

    def issue(self, identity: Identity, credential: Credential, kind: Kind) -> Token:
        self.asked.append((identity, credential, kind))
        return Token(signed(jti=next(self.names)), NOW + 600)

    def copy(self, subject: str, jti: str, expires_at: int) -> str | None:
        self.copies.append((subject, jti, expires_at))
        return f"copy of {jti}" if jti != "unknown" else None


class Completing:
    """Knows the upstream's key of anna; of others what a test says."""

    error: Exception | None = None

    def complete(self, identity: Identity) -> Identity:
        if self.error is not None:
            raise self.error
        return COMPLETE if identity.username == "anna" else identity


class Upstream:
    """Notes what it is to revoke, and fails while it is away."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.away = False
        self.accepted: set[str] = set()

    def accepts(self, token: str) -> bool:
        return token in self.accepted

    def log_out(self, token: str) -> None:
        self.told.append(token)
        if self.away:
            raise BackendUnavailable("the upstream is away")

    def revoke_issued(self, issued: IssuedToken) -> None:
        self.log_out(issued.jti)


class World:
    """Issued tokens over a store of their own.

    Attributes:
        accepted: The claims of the tokens that the upstream accepts, by token; None: it cannot be known.
        heard: The revocations that other processes hear of.
    """

    def __init__(
        self, folder: Path, *, sub_is_username: bool = False, with_upstream: bool = True, has_keys: bool = True
    ) -> None:
        self.heard: list[RevocationEvent | None] = []
        events = RevocationEvents()
        events.listen(self.heard.append)
        self.database = open_store(f"sqlite:///{folder / 'store.db'}")
        self.rows = DenylistRows(self.database)
        self.clock = Clock()
        self.denylist = Denylist(self.rows, events, now=lambda: NOW, monotonic=self.clock)
        self.signing, self.completing, self.upstream = Signing(), Completing(), Upstream()
        self.accepted: dict[str, Mapping[str, Any] | None] = {}
        self.signed: set[str] = set()
        self.now = NOW
        self.tokens = IssuedTokens(
            cast("Strategy", self.signing),
            cast("UserLookup", self.completing),
            self.denylist,
            self.read,
            sub_is_username,
            self.upstream if with_upstream else None,
            is_signed=self.signed.__contains__ if has_keys else None,
            now=lambda: self.now,
        )

    def read(self, token: str) -> Mapping[str, Any] | None:
        if token not in self.accepted:
            raise InvalidToken("not the upstream's")
        return self.accepted[token]

    def issue(self, identity: Identity = ANNA, kind: Kind = "token") -> str:
        return self.tokens.issue(identity, BASIC, kind).value

    def is_revoked(self, token: str) -> bool:
        self.denylist.read()
        return self.denylist.is_revoked(token)


Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[World] = []

    def make_world(**options: Any) -> World:
        made.append(World(tmp_path, **options))
        return made[-1]

    yield make_world
    for world in made:
        world.database.close()


def test_a_token_is_made_for_the_complete_identity_and_stored(make: Make) -> None:
    world = make()

    token = world.tokens.issue(ANNA, BASIC, "cli")

    assert world.signing.asked == [(COMPLETE, BASIC, "cli")]
    assert token.expires_at == NOW + 600
    assert world.rows.find("t1") == IssuedToken(
        "t1", digest_of(token.value), "anna", "7", "c1", NOW, NOW + 600, "basic_auth"
    )


def test_a_token_that_is_revoked_already_is_made_again_a_second_later(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    world.denylist.revoke(DenylistEntry("jti", "t1", NOW + 600))

    token = world.issue()

    assert len(slept) == 1
    assert slept[0] > 1
    assert [kind for _, _, kind in world.signing.asked] == ["token", "token"]
    assert not world.is_revoked(token)
    assert world.rows.find("t2") is not None


@pytest.mark.parametrize(
    ("claims", "expires"), [({}, NOW + 600), ({"exp": None}, NOW + MAX_LIFETIME_S)], ids=["expires", "expires-never"]
)
def test_a_token_that_another_made_is_stored_once(make: Make, claims: dict[str, Any], expires: int) -> None:
    world = make()
    token = signed(jti="theirs", **claims)

    world.tokens.record(ANNA, token)
    stored = world.rows.find("theirs")
    world.now += 5
    world.tokens.record(Identity("bob", "basic_auth"), token)

    assert stored == IssuedToken("theirs", digest_of(token), "anna", "7", "c1", NOW, expires, "basic_auth")
    assert world.rows.find("theirs") == stored


@pytest.mark.parametrize("jti", ["", "x" * 1000], ids=["none", "too-long"])
def test_a_token_without_a_name_is_stored_by_the_digest_of_its_signed_text(make: Make, jti: str) -> None:
    world = make()
    token = signed(jti=jti)

    world.tokens.record(ANNA, token)
    assert world.tokens.revoke(token) is False

    assert world.rows.find(signed_digest(token)) is not None
    assert world.is_revoked(token)
    assert signed_digest(token) in world.denylist._by_kind["digest"]


def respelled(token: str) -> list[str]:
    """Return spellings of a token that PyJWT accepts, too."""
    head, _, signature = token.rpartition(".")
    return [
        f"{token}==",
        f"{token}!",
        f"{head}.!{signature}",
        f"{head}.{signature.replace('-', '+').replace('_', '/')}=",
    ]


@pytest.mark.parametrize("jti", ["", "x" * 1000, "named"], ids=["none", "too-long", "named"])
def test_the_origin_of_a_token_is_known_in_every_spelling_of_its_signature(make: Make, jti: str) -> None:
    world = make()
    token = signed(jti=jti)
    world.tokens.record(ANNA, token)

    origins = [world.tokens.origin_of(spelling) for spelling in (token, *respelled(token))]

    assert origins == [module.TokenOrigin("anna", ("basic_auth",))] * 5


def test_the_row_of_a_token_that_an_older_version_stored_by_its_whole_text_is_found(make: Make) -> None:
    world = make()
    token = signed(jti="")
    world.rows.add(
        IssuedToken(digest_of(token).hex(), digest_of(token), "anna", "7", "c1", NOW, NOW + 600, "basic_auth")
    )
    world.accepted[token] = {"sub": "7"}

    origins = [world.tokens.origin_of(spelling) for spelling in (token, *respelled(token))]
    known = world.tokens.find(token)

    assert origins == [module.TokenOrigin("anna", ("basic_auth",))] * 5
    assert known is not None
    assert known.username == "anna"


def test_two_tokens_without_a_name_that_differ_in_the_signature_alone_are_both_known(make: Make) -> None:
    world = make()
    token = signed(jti="")
    # An algorithm such as ES256 signs the same text differently each time.
    other = f"{token.rpartition('.')[0]}.{'A' * 86}"
    for each in (token, other):
        world.tokens.record(ANNA, each)
        world.accepted[each] = {"sub": "7"}

    known = [world.tokens.find(each) for each in (token, other)]

    assert [found and found.username for found in known] == ["anna", "anna"]
    assert world.tokens.origin_of(other) == module.TokenOrigin("anna", ("basic_auth",))


def test_a_token_without_a_name_ends_with_the_session_that_it_was_made_from(make: Make) -> None:
    world = make()
    token, other = signed(jti="", sub="7"), signed(jti="", sub="9")
    world.tokens.record(ANNA, token)
    world.tokens.record(Identity("bob", "basic_auth", credential_id="c2"), other)

    world.tokens.revoke_session(tokens=(), credential_id="c1")

    assert [world.is_revoked(each) for each in (token, f"{token}==", other)] == [True, True, False]


def test_a_token_of_the_upstream_is_known_with_the_user_that_it_was_issued_to(make: Make) -> None:
    world = make()
    token, foreign = world.issue(), signed(jti="foreign")
    for each in (token, foreign):
        world.accepted[each] = {"sub": "7", "jti": "x"}

    known, other = world.tokens.find(token), world.tokens.find(foreign)

    assert known is not None
    assert other is not None
    assert (known.username, known.subject, known.claims) == ("anna", "7", {"sub": "7", "jti": "x"})
    assert (other.username, other.subject) == ("", "7")


def test_where_the_subject_is_the_user_name_it_is_the_user(make: Make) -> None:
    world = make(sub_is_username=True)
    world.accepted["token"] = {"sub": "zoe"}

    known = world.tokens.find("token")

    assert known is not None
    assert known.username == "zoe"


def test_what_the_upstream_refuses_is_unknown(make: Make) -> None:
    world = make()

    assert world.tokens.find(world.issue()) is None
    assert world.tokens.find("no token") is None


@pytest.mark.parametrize(("after_s", "is_known"), [(599, True), (600, False)])
def test_a_token_that_only_the_store_can_vouch_for_is_known_until_it_expires(
    make: Make, after_s: int, is_known: bool
) -> None:
    world = make()
    token, invented = world.issue(), signed(jti="t1", sub="8")
    world.accepted[token] = world.accepted[invented] = None
    world.now = NOW + after_s

    known = world.tokens.find(token)

    assert (known is not None) == is_known
    assert known is None or known.claims["jti"] == "t1"
    assert world.tokens.find(invented) is None


def test_without_a_store_nobody_vouches_for_a_token(make: Make) -> None:
    world = make()
    world.accepted["token"] = None

    assert world.tokens.find("token") is None
    assert world.tokens.find(signed(jti="a")) is None


def test_a_revoked_token_is_known_no_longer_and_was_valid_once(make: Make) -> None:
    world = make()
    token = world.issue()
    world.accepted[token] = {"sub": "7", "jti": "t1", "exp": NOW + 600}

    answers = [world.tokens.revoke(token), world.tokens.revoke(token)]

    assert answers == [True, False]
    assert world.tokens.find(token) is None
    assert world.denylist._by_kind["jti"]["t1"].expires == NOW + 600 + CLOCK_SKEW_S


def test_a_token_of_ours_that_seems_expired_is_revoked_too(make: Make) -> None:
    world = make()
    token = world.issue()

    assert world.tokens.revoke(token) is False

    assert world.is_revoked(token)


@pytest.mark.parametrize("token", ["no token", signed(jti="foreign")])
def test_what_nobody_knows_is_not_revoked(make: Make, token: str) -> None:
    world = make()
    world.issue()

    assert world.tokens.revoke(token) is False
    assert not world.is_revoked(token)


def test_a_token_is_revoked_at_the_upstream_if_it_has_a_list(make: Make) -> None:
    world, without = make(), make(with_upstream=False)

    answers = [world.tokens.revoke_upstream("token"), without.tokens.revoke_upstream("token")]

    assert answers == [False, False]
    assert (world.upstream.told, without.upstream.told) == (["token"], [])


def test_a_token_that_a_key_of_the_upstreams_has_signed_is_revoked_though_it_is_unknown(make: Make) -> None:
    world = make()
    token = signed()
    world.signed.add(token)

    assert world.tokens.revoke(token) is True

    assert world.is_revoked(token)


@pytest.mark.parametrize(
    "expires",
    [None, NOW + 400 * 86400 + 0.5, 2**63 - 1, 2**63, 1e300, str(NOW + 400 * 86400)],
    ids=["never", "fraction", "largest-of-the-store", "too-large", "huge-float", "text"],
)
@pytest.mark.parametrize("name", ["a" * 32, ""], ids=["jti", "no-jti"])
def test_a_revoked_token_stays_revoked_for_as_long_as_a_verifier_may_accept_it(
    make: Make, expires: object, name: str
) -> None:
    world = make()
    token = with_claims(sub="7", iat=NOW, exp=expires, jti=name)
    world.signed.add(token)

    revoked = world.tokens.revoke(token)

    kind, key = ("jti", name) if name else ("digest", signed_digest(token))
    world.denylist.read()
    assert revoked
    assert world.is_revoked(token)
    assert NOW + 400 * 86400 < world.denylist._by_kind[kind][key].expires < 2**63


@pytest.mark.parametrize("until", [2**63 - 1, 2**70], ids=["largest-of-the-store", "too-large"])
def test_a_credential_with_an_end_that_no_store_holds_is_revoked_by_its_text(make: Make, until: int) -> None:
    world = make()

    world.tokens.revoke_text("opaque", until=until)

    assert world.is_revoked("opaque")


def test_after_a_logout_everywhere_a_new_token_with_a_fraction_of_a_second_is_valid(make: Make) -> None:
    world = make()
    before, after = (
        with_claims(sub="7", iat=NOW + offset, exp=NOW + 600.5, jti=f"t{offset}") for offset in (-0.5, 1.5)
    )

    world.tokens.revoke_all(ANNA)

    assert (world.is_revoked(before), world.is_revoked(after)) == (True, False)


def test_a_token_that_only_the_upstream_can_verify_is_revoked_here_if_it_accepts_it(make: Make) -> None:
    world = make(has_keys=False)
    accepted, refused = signed(jti="accepted"), signed(jti="refused")
    world.upstream.accepted.add(accepted)

    answers = [world.tokens.revoke_upstream(token) for token in (accepted, accepted, refused, "opaque")]

    assert answers == [True, False, False, False]
    assert [world.is_revoked(token) for token in (accepted, refused)] == [True, False]
    assert world.upstream.told == [accepted, accepted, refused, "opaque"]


@pytest.mark.parametrize(
    ("with_upstream", "has_keys", "token", "may_be"),
    [
        (False, False, signed(), True),
        (True, False, signed(), False),
        (False, True, signed(), False),
        (False, False, "opaque", False),
    ],
)
def test_only_where_nobody_can_say_a_token_may_be_valid(
    make: Make, with_upstream: bool, has_keys: bool, token: str, may_be: bool
) -> None:
    world = make(with_upstream=with_upstream, has_keys=has_keys)

    assert world.tokens.may_be_valid(token) == may_be


def test_an_upstream_that_cannot_be_asked_is_named(make: Make) -> None:
    world = make()
    world.upstream.away = True

    with pytest.raises(BackendUnavailable):
        world.tokens.revoke_upstream("token")


@pytest.mark.parametrize(("until", "expires"), [(NOW + 60, NOW + 60), (None, NOW + MAX_LIFETIME_S)])
def test_a_credential_is_revoked_by_its_text_until_it_ends(make: Make, until: int | None, expires: int) -> None:
    world = make()

    world.tokens.revoke_text("opaque", until=until)

    assert world.is_revoked("opaque")
    assert world.denylist._by_kind["digest"][signed_digest("opaque")].expires == expires + CLOCK_SKEW_S


def test_a_session_takes_its_tokens_and_what_was_made_from_it_along(make: Make) -> None:
    world = make()
    made = world.issue()
    other = world.issue(Identity("bob", "basic_auth", credential_id="c2"))
    cookie = signed(jti="cookie")
    world.accepted[cookie] = {"sub": "7", "jti": "cookie"}
    world.heard.clear()

    world.tokens.revoke_session(tokens=[cookie], credential_id="c1")

    assert [world.is_revoked(token) for token in (cookie, made, other)] == [True, True, False]
    assert world.upstream.told == [cookie, "t1"]
    assert len(world.heard) == 2


def test_a_session_from_which_nothing_was_made_is_not_announced(make: Make) -> None:
    world = make()
    world.issue()
    world.heard.clear()

    world.tokens.revoke_session(tokens=[], credential_id="c9")
    world.tokens.revoke_session(tokens=[], credential_id="")

    assert world.heard == []


def test_a_session_ends_without_a_store_and_without_a_list_at_the_upstream(make: Make) -> None:
    world = make(with_upstream=False)

    world.tokens.revoke_session(tokens=["opaque"], credential_id="c1")

    assert world.heard == []


def test_an_upstream_that_is_away_does_not_stop_a_logout(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    world = make()
    made = [world.issue(), world.issue()]
    world.upstream.away = True

    with caplog.at_level(logging.WARNING, logger="compat_auth.given_tokens"):
        world.tokens.revoke_session(tokens=["a", "b"], credential_id="c1")

    assert world.upstream.told[:2] == ["a", "b"]
    # Of those in the store only one is tried.
    assert len(world.upstream.told) == 3
    assert all(world.is_revoked(token) for token in made)
    assert len(caplog.records) == 3


@pytest.mark.parametrize("sub_is_username", [True, False])
def test_all_tokens_of_a_user_end_and_nobody_elses(make: Make, sub_is_username: bool) -> None:
    world = make(sub_is_username=sub_is_username)
    mine = world.issue()
    subject = "anna" if sub_is_username else "7"
    foreign = jwt.encode({"sub": subject, "iat": NOW, "jti": "f"}, SECRET, algorithm="HS512")
    stranger = jwt.encode({"sub": "9", "iat": NOW, "jti": "g"}, SECRET, algorithm="HS512")
    later = jwt.encode({"sub": subject, "iat": NOW + 1, "jti": "h"}, SECRET, algorithm="HS512")
    world.heard.clear()

    world.tokens.revoke_all(ANNA)

    assert world.is_revoked(mine)
    assert [world.is_revoked(token) for token in (foreign, stranger, later)] == [True, False, False]
    assert world.denylist._by_kind["sub"][subject].expires == NOW + MAX_LIFETIME_S
    assert world.upstream.told == ["t1"]
    assert len(world.heard) == 1


@pytest.mark.parametrize(
    ("error", "upstream_id", "subjects"), [(NoSuchUser("gone"), "12", {"12"}), (NoSuchUser("gone"), "", set[str]())]
)
def test_a_user_whom_no_directory_knows_has_the_key_that_the_identity_names(
    make: Make, error: Exception, upstream_id: str, subjects: set[str]
) -> None:
    world = make()
    world.issue()
    world.completing.error = error

    world.tokens.revoke_all(Identity("zoe", "basic_auth", upstream_id=upstream_id))
    world.denylist.read()

    assert set(world.denylist._by_kind["sub"]) == subjects


def test_nothing_is_revoked_by_halves_while_the_directories_are_away(make: Make) -> None:
    world = make()
    world.issue()
    world.completing.error = BackendUnavailable("ldap is away")

    with pytest.raises(BackendUnavailable):
        world.tokens.revoke_all(ANNA)


@pytest.mark.parametrize(
    ("username", "subject", "is_mine"), [("anna", "9", True), ("bob", "7", False), ("", "7", True), ("", "9", False)]
)
def test_a_token_belongs_to_the_user_whom_it_names(make: Make, username: str, subject: str, is_mine: bool) -> None:
    known = module.KnownToken({"sub": subject}, username)

    assert make().tokens.is_of(known, ANNA) == is_mine


def test_the_upstream_revokes_a_copy_of_a_token_that_was_not_kept() -> None:
    signing, upstream = Signing(), Upstream()
    logout = UpstreamLogout(cast("UpstreamLogin", upstream), cast("Strategy", signing))
    issued = IssuedToken("t1", b"", "anna", "7", "c1", NOW, NOW + 600, "basic_auth")

    logout.revoke_issued(issued)
    logout.revoke_issued(IssuedToken("unknown", b"", "anna", "7", "c1", NOW, NOW + 600))
    logout.log_out("token")

    assert upstream.told == ["copy of t1", "token"]
    assert signing.copies[0] == ("7", "t1", NOW + 600)

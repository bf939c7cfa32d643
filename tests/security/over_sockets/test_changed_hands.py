"""An e-mail address or a chosen user name that changes hands: whoever has it now is not who had it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from compat_auth.authn.users.account_links import FirstUseLinks
from compat_auth.authn.users.lookup import UserLookup
from compat_auth.config import parse_settings
from compat_auth.credentials import Bearer
from compat_auth.directory import DirectoryUser
from compat_auth.net.https_client import Endpoint
from compat_auth.outcome import Accept, Outcome
from compat_auth.store.migration import open_store
from compat_auth.store.tables.pinned_subjects import Pin, PinnedSubjects
from compat_auth.tokens.keys.jwks_cache import JwksCache
from compat_auth_backends.google_openid import GoogleOpenIdBackend
from compat_auth_backends.oidc import OidcBackend
from compat_auth_backends.openid.issuer import Issuer
from support.stub_issuer import AUDIENCE, StubIssuer, running_issuer, sign

GOOGLE = "https://accounts.google.com"


@dataclass
class Users:
    """A directory that finds users by name and by e-mail address."""

    known: dict[str, DirectoryUser] = field(default_factory=dict[str, DirectoryUser])
    name: str = "users"

    def find(self, username: str) -> DirectoryUser | None:
        return next((user for user in self.known.values() if username in (user.username, user.email)), None)


@dataclass
class Google:
    """The backend, those whom it finds, and whom it holds to which account."""

    issuer: StubIssuer
    users: Users
    pins: PinnedSubjects
    subjects: dict[str, str] = field(default_factory=dict[str, str])

    def ask(self, subject: str, email: str = "zoe@example.org") -> Outcome:
        now = int(time.time())
        claims = {
            "iss": GOOGLE, "aud": "web", "azp": "web", "sub": subject, "email": email, "email_verified": True,
            "iat": now, "exp": now + 3600,
        }  # fmt: skip
        settings = parse_settings({"google_openid": {"audience": "web"}}, origin="test").google_openid
        endpoint = Endpoint.parse(f"{self.issuer.url}/jwks", where="test")
        backend = GoogleOpenIdBackend(
            settings,
            JwksCache(lambda: endpoint, algorithms=("RS256",)),
            UserLookup((self.users,)),
            links=FirstUseLinks(GOOGLE, self.subjects, self.pins),
        )
        return backend.authenticate(Bearer(sign(claims, typ="JWT")))


def user(username: str, email: str, *, active: bool = True) -> DirectoryUser:
    return DirectoryUser(username, active=active, email=email)


def name_in(outcome: Outcome) -> str:
    """Return who came in, or the reason why nobody did."""
    return outcome.identity.username if isinstance(outcome, Accept) else repr(outcome)


@pytest.fixture
def issuer() -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        yield stub


@pytest.fixture
def pins(tmp_path: Path) -> Iterator[PinnedSubjects]:
    database = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield PinnedSubjects(database)
    database.close()


@pytest.fixture
def google(issuer: StubIssuer, pins: PinnedSubjects) -> Google:
    return Google(issuer, Users({"zoë": user("zoë", "zoe@example.org")}), pins)


def test_the_next_owner_of_an_address_does_not_come_in_as_the_one_before(google: Google) -> None:
    before = google.ask("1001")

    after = google.ask("2002")

    assert name_in(before) == "zoë"
    assert "an account that is not" in name_in(after)
    assert [pin.subject for pin in google.pins.of_user()] == ["1001"]


def test_who_was_held_to_an_account_stays_that_user_whatever_address_the_account_has_now(google: Google) -> None:
    google.ask("1001")
    google.users.known["bob"] = user("bob", "bob@example.org")

    assert name_in(google.ask("1001", "bob@example.org")) == "zoë"
    assert name_in(google.ask("1001", "nobody@example.org")) == "zoë"


def test_a_user_who_was_given_a_former_users_address_is_not_the_former_user(google: Google) -> None:
    google.ask("1001")
    google.users.known["new"] = user("new", "zoe@example.org")
    google.users.known["zoë"] = user("zoë", "zoe@example.com")

    assert name_in(google.ask("2002")) == "new"
    assert name_in(google.ask("1001")) == "zoë"


def test_nobody_is_held_to_an_account_before_an_active_user_was_found(google: Google) -> None:
    google.users.known["zoë"] = user("zoë", "zoe@example.org", active=False)

    refused = [google.ask("1001"), google.ask("1001", "nobody@example.org")]

    assert not any(isinstance(outcome, Accept) for outcome in refused)
    assert google.pins.of_user() == []


def test_a_pinned_user_who_is_disabled_later_is_out(google: Google) -> None:
    google.ask("1001")
    google.users.known["zoë"] = user("zoë", "zoe@example.org", active=False)

    assert "disabled" in name_in(google.ask("1001"))


def test_a_pinned_name_that_another_user_has_as_an_address_does_not_find_that_other(google: Google) -> None:
    google.users.known = {"zoë@home": user("zoë@home", "zoe@example.org")}
    google.ask("1001")
    google.users.known = {"mallory": user("mallory", "zoë@home")}

    assert "an account that is not" in name_in(google.ask("1001"))


def test_what_the_operator_has_written_down_beats_what_was_pinned(google: Google) -> None:
    google.ask("1001")
    google.subjects = {"2002": "zoë"}

    written_down, pinned = google.ask("2002", "new@example.org"), google.ask("1001")

    assert name_in(written_down) == "zoë"
    assert "linked to an account that is not" in name_in(pinned)


def test_a_written_down_account_is_not_pinned(google: Google) -> None:
    google.subjects = {"1001": "zoe@example.org"}

    assert name_in(google.ask("1001", "other@example.org")) == "zoë"
    assert google.pins.of_user() == []


def test_a_pin_that_the_operator_has_removed_lets_the_next_account_in(google: Google) -> None:
    google.ask("1001")

    google.pins.remove("zoë")

    assert name_in(google.ask("2002")) == "zoë"
    assert "an account that is not" in name_in(google.ask("1001"))


@pytest.mark.parametrize("claim", ["email", "preferred_username"])
def test_oidc_holds_accounts_to_users_where_the_claim_can_change_hands(
    issuer: StubIssuer, tmp_path: Path, claim: str
) -> None:
    url = f"sqlite:///{tmp_path / 'oidc.db'}"
    table = {"issuer": issuer.url, "audience": AUDIENCE, "username_claim": claim}
    settings = parse_settings({"oidc": {"issuers": [table]}, "database_url": url}, origin="test")
    backend = OidcBackend.from_settings(settings)

    def ask(subject: str, name: str) -> Outcome:
        told: dict[str, Any] = {"sub": subject, claim: name, "email_verified": True}
        return backend.authenticate(Bearer(sign(issuer.claims(**told))))

    first, other = ask("one", "zoe@example.org"), ask("other", "zoe@example.org")
    moved = ask("one", "new@example.org")

    assert [name_in(first), name_in(moved)] == ["zoe@example.org"] * 2
    assert "an account that is not" in name_in(other)


def test_oidc_needs_no_pin_where_the_name_is_the_subject(issuer: StubIssuer, tmp_path: Path) -> None:
    table = {"issuer": issuer.url, "audience": AUDIENCE}
    database = tmp_path / "never-made" / "oidc.db"
    settings = parse_settings({"oidc": {"issuers": [table]}, "database_url": f"sqlite:///{database}"}, origin="test")

    outcome = OidcBackend.from_settings(settings).authenticate(Bearer(issuer.token(sub="zoë")))

    assert name_in(outcome) == "zoë"


def test_a_user_name_that_somebody_chose_to_be_anothers_address_is_not_pinned(
    issuer: StubIssuer, pins: PinnedSubjects
) -> None:
    table = {"issuer": issuer.url, "audience": AUDIENCE, "username_claim": "preferred_username"}
    settings = parse_settings({"oidc": {"issuers": [table]}}, origin="test").oidc.issuers[0]
    checker = Issuer(settings, "test", links=FirstUseLinks(issuer.url, {}, pins))
    backend = OidcBackend((checker,), UserLookup((Users({"zoë": user("zoë", "zoe@example.org")}),)))

    stranger = backend.authenticate(Bearer(issuer.token(sub="mallory", preferred_username="zoe@example.org")))
    zoe = backend.authenticate(Bearer(issuer.token(sub="zoë", preferred_username="zoë")))

    assert "e-mail address" in name_in(stranger)
    assert name_in(zoe) == "zoë"
    assert [(pin.subject, pin.username) for pin in pins.of_user()] == [("zoë", "zoë")]
    assert all(isinstance(pin, Pin) for pin in pins.of_user())

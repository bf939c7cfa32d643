"""Auth managers that are neither FAB's nor Simple: what works with them, and what is refused with a reason."""

from __future__ import annotations

import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import jwt
import pytest

from compat_auth.airflow.auth_managers import active_auth_manager
from compat_auth.airflow.in_process import InProcess
from compat_auth.airflow.managers.other import KeycloakManager, OtherManager
from compat_auth.credentials import Absent, Basic, Bearer
from compat_auth.errors import BackendUnavailable, NoSuchUser, NotAuthenticated, NotPermitted
from compat_auth.identity import Identity
from compat_auth.scopes import parse_scopes
from compat_auth.tokens.cache import TokenCache
from support.airflow_stand_ins import activate

ANN = Identity("ann", "basic_auth", directory="auth_manager")
PAIR = Basic("ann", "right")
REFUSED = (
    Identity("ann", "kerberos"),
    Identity("ann", "oidc", directory="mapping"),
    Identity("ann", "personal_token", directory="auth_manager", scopes=parse_scopes(("read",))),
)


class Plain:
    """The base of the others."""

    def generate_jwt(self, user: Any, *, expiration_time_in_seconds: int) -> str:
        return f"cookie-{user.username}-{expiration_time_in_seconds}"


class AwsAuthManager(Plain):
    """Known by its name."""


class SiteManager(Plain):
    """A site's own, with a look-up."""

    def find_user(self, username: str) -> Any:
        if username == "broken":
            raise KeyError(username)
        return SimpleNamespace(username=username) if username == "ann" else None

    def generate_api_jwt(self, user: Any, *, expiration_time_in_seconds: int) -> str:
        return f"api-{user.username}-{expiration_time_in_seconds}"


class KeycloakAuthManager(Plain):
    """Known by its name."""


class KeycloakSubclass(KeycloakAuthManager):
    """A site's own."""


def strategy(manager: OtherManager) -> InProcess:
    return InProcess(manager, TokenCache(10, time.time), 600)


@pytest.mark.parametrize(
    ("manager", "kind"),
    [
        (object(), OtherManager),
        (AwsAuthManager(), OtherManager),
        (SiteManager(), OtherManager),
        (KeycloakAuthManager(), KeycloakManager),
        (KeycloakSubclass(), KeycloakManager),
    ],
)
def test_no_manager_keeps_airflow_from_starting(
    monkeypatch: pytest.MonkeyPatch, manager: object, kind: type[OtherManager]
) -> None:
    activate(monkeypatch, manager)

    assert type(active_auth_manager()) is kind


@pytest.mark.parametrize("identity", REFUSED)
@pytest.mark.parametrize(
    ("manager", "way"),
    [
        (OtherManager(object()), "bring a token of Airflow's own"),
        (OtherManager(AwsAuthManager()), r"SAML and get a token at /auth/login/token"),
        (KeycloakManager(KeycloakAuthManager()), "user name and password of Keycloak"),
        (KeycloakManager(KeycloakSubclass()), "user name and password of Keycloak"),
    ],
)
def test_whom_the_manager_cannot_make_from_a_name_is_refused_with_a_reason(
    manager: OtherManager, way: str, identity: Identity
) -> None:
    for credential in (Absent(), Bearer("x"), PAIR):
        with pytest.raises(NotPermitted, match=f"makes no user from a name.*{way}"):
            strategy(manager).obtain(identity, credential, fresh=False)
    with pytest.raises(NotPermitted, match="makes no user from a name"):
        manager.find("ann")


def test_a_manager_without_passwords_says_so() -> None:
    manager = OtherManager(AwsAuthManager())

    with pytest.raises(NotPermitted, match="AwsAuthManager has no passwords that can be checked"):
        manager.check("ann", "x")
    with pytest.raises(NotPermitted, match="no login for passwords"):
        strategy(manager).obtain(ANN, PAIR, fresh=False)


def test_a_manager_of_a_site_s_own_that_finds_users_signs_for_them() -> None:
    manager = OtherManager(SiteManager())

    token = strategy(manager).obtain(Identity("ann", "kerberos"), Absent(), fresh=False)

    assert token.value == "api-ann-600"
    assert (manager.knows_names, manager.find("bob")) == (True, None)
    with pytest.raises(NoSuchUser, match="unknown to SiteManager"):
        manager.mint(Identity("bob", "kerberos"), 60)
    with pytest.raises(BackendUnavailable, match="find_user raised KeyError"):
        manager.find("broken")


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put the provider's own login in place; yields whom it was asked about."""
    asked: list[str] = []

    def create_token_for(username: str, password: str, expiration_time_in_seconds: int) -> str:
        asked.append(username)
        if username == "away":
            raise ConnectionError("no Keycloak")
        if password != "right":
            error: Any = Exception("Invalid credentials")
            error.status_code = 403
            raise error
        now = int(time.time())
        inner = jwt.encode({"exp": now + 60}, "k" * 32)
        claims = {"name": username.lower(), "user_id": "7", "access_token": inner}
        end = {} if username == "endless" else {"exp": now + expiration_time_in_seconds}
        if username == "endless":
            claims.pop("access_token")
        return jwt.encode({**claims, **end}, "k" * 32)

    name = "airflow.providers.keycloak.auth_manager.services.token"
    module: Any = ModuleType(name)
    module.create_token_for = create_token_for
    monkeypatch.setitem(sys.modules, name, module)
    return asked


def test_keycloak_checks_a_password_and_its_own_token_s_end_is_the_end(logins: list[str]) -> None:
    manager = KeycloakManager(KeycloakAuthManager())

    accepted = manager.check("Ann", "right")

    assert accepted is not None
    assert accepted.user.username == "ann"
    assert accepted.token is not None
    assert accepted.token.expires_at <= time.time() + 60
    assert [manager.check(*pair) for pair in (("ann", "wrong"), ("", "right"), ("ann", ""))] == [None] * 3
    assert logins == ["Ann", "ann"]


@pytest.mark.parametrize("username", ["away", "endless"])
def test_a_keycloak_that_gives_no_usable_answer_is_not_a_no(logins: list[str], username: str) -> None:
    with pytest.raises(BackendUnavailable):
        KeycloakManager(KeycloakAuthManager()).check(username, "right")
    assert logins == [username]


def test_a_keycloak_user_s_token_is_cached_for_that_password_alone(logins: list[str]) -> None:
    tokens = strategy(KeycloakManager(KeycloakAuthManager()))

    first, again = (tokens.obtain(ANN, PAIR, fresh=False) for _ in range(2))

    assert (first, logins) == (again, ["ann"])
    with pytest.raises(NotAuthenticated):
        tokens.obtain(ANN, Basic("ann", "wrong"), fresh=False)
    tokens.issue(ANN, PAIR, "token")
    assert logins == ["ann"] * 3
    with pytest.raises(NotPermitted, match="login page of its own"):
        tokens.issue(ANN, PAIR, "session")
    assert b"right" not in repr(tokens).encode()

"""Who a user object says the caller is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from flask_login import AnonymousUserMixin, UserMixin  # pyright: ignore[reportMissingTypeStubs]  # no stubs
from werkzeug.local import LocalProxy

from compat_auth.authn.users.objects import identity_of, is_disabled
from compat_auth.guard import IdentityUser
from compat_auth.identity import Identity


class LoginUser(UserMixin):  # type: ignore[misc]  # flask-login has no stubs
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


class DisabledLoginUser(LoginUser):
    @property
    def is_active(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]  # as the manual says
        return False


class FabUser:
    __tablename__ = "ab_user"
    is_authenticated = True
    is_anonymous = False

    def __init__(self, *, active: bool | None) -> None:
        self.id = 7
        self.username = "zoë"
        self.email = "zoe@example.org"
        self.active = active
        self.roles = [SimpleNamespace(name="Viewer"), SimpleNamespace(name="Op")]

    @property
    def is_active(self) -> bool | None:
        return self.active

    def get_id(self) -> str:
        return str(self.id)


@pytest.mark.parametrize(
    "user",
    [
        pytest.param(None, id="nobody"),
        pytest.param(LocalProxy[object](lambda: None), id="proxy-for-nobody"),
        pytest.param("", id="empty-name"),
        pytest.param("a\nb", id="name-with-a-line-break"),
        pytest.param(AnonymousUserMixin(), id="anonymous"),
        pytest.param(LoginUser(id=1), id="only-a-database-key"),
        pytest.param(LoginUser(username=None, id="alice"), id="username-is-null"),
        pytest.param(SimpleNamespace(username="alice", is_authenticated=False), id="not-authenticated"),
        pytest.param({"username": "alice", "is_active": False}, id="disabled-mapping"),
        pytest.param(FabUser(active=False), id="disabled-fab-user"),
        pytest.param(object(), id="no-user-at-all"),
    ],
)
def test_what_names_no_active_user_has_no_identity(user: object) -> None:
    assert identity_of(user, backend="session") is None


@pytest.mark.parametrize(
    "user",
    [
        pytest.param(DisabledLoginUser(id="alice"), id="flask-login"),
        pytest.param(FabUser(active=False), id="fab"),
        pytest.param(FabUser(active=None), id="fab-null-means-off"),
        pytest.param({"username": "alice", "active": False}, id="mapping"),
        pytest.param(SimpleNamespace(username="alice", is_active=lambda: False), id="method-as-in-old-flask-login"),
        pytest.param(LocalProxy(lambda: FabUser(active=False)), id="behind-a-proxy"),
    ],
)
def test_a_disabled_user_is_told_apart_and_has_no_identity(user: object) -> None:
    assert is_disabled(user)
    assert identity_of(user, backend="session") is None


ACTIVE_OR_NOBODY: list[object] = [None, "alice", AnonymousUserMixin(), FabUser(active=True), LoginUser(id="alice")]


@pytest.mark.parametrize("user", ACTIVE_OR_NOBODY)
def test_nobody_and_an_active_user_are_not_disabled(user: object) -> None:
    assert not is_disabled(user)


def test_a_fab_user_brings_number_email_and_sorted_roles() -> None:
    user = LocalProxy(lambda: FabUser(active=True))

    identity = identity_of(user, backend="session")

    assert identity == Identity(
        "zoë", "session", subject="7", email="zoe@example.org", roles=("Op", "Viewer"), upstream_id="7"
    )


def test_the_number_of_another_applications_user_is_not_an_upstream_key() -> None:
    user = LoginUser(id=1, username="mallory")

    identity = identity_of(user, backend="session")

    assert identity == Identity("mallory", "session", subject="1")


@pytest.mark.parametrize(
    "user",
    [
        pytest.param("alice", id="name"),
        pytest.param({"username": "alice"}, id="mapping"),
        pytest.param(LoginUser(id="alice"), id="smallest-flask-login-user"),
        pytest.param(SimpleNamespace(username="alice"), id="plain-object"),
    ],
)
def test_every_shape_of_user_gives_the_same_identity(user: object) -> None:
    assert identity_of(user, backend="mine") == Identity("alice", "mine", subject="alice")


def test_an_identity_signed_in_before_is_kept_and_vouched_for_anew() -> None:
    user = IdentityUser(Identity("alice", "basic_auth", email="a@example.org", upstream_id="3", expires_at=99))

    identity = identity_of(user, backend="session")

    assert identity == Identity("alice", "session", email="a@example.org", upstream_id="3", expires_at=99)


def test_a_role_list_that_is_a_string_is_not_split_into_letters() -> None:
    identity = identity_of({"username": "alice", "roles": "Admin"}, backend="mine")

    assert identity is not None
    assert identity.roles == ()


class Detached:
    """A user of FAB whose session a module has closed: what is loaded lazily raises."""

    username = "alice"
    active = is_active = is_authenticated = True
    is_anonymous = False

    def get_id(self) -> str:
        return "7"

    @property
    def roles(self) -> list[str]:
        raise LookupError("Parent instance is not bound to a Session")

    groups = roles


def test_a_user_whose_roles_and_groups_cannot_be_loaded_any_more_has_a_name() -> None:
    identity = identity_of(Detached(), backend="old")

    assert identity is not None
    assert (identity.username, identity.roles, identity.groups) == ("alice", (), ())


def test_a_user_of_whom_nobody_can_tell_whether_it_is_active_is_not_believed() -> None:
    class Unloaded(Detached):
        @property
        def active(self) -> bool:  # type: ignore[override]
            raise LookupError("Parent instance is not bound to a Session")

    with pytest.raises(LookupError):
        identity_of(Unloaded(), backend="old")

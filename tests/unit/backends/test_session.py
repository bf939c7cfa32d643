"""The signed-in user of the app around us; and nobody at all."""

from __future__ import annotations

import flask
import pytest
from flask_login import (  # pyright: ignore[reportMissingTypeStubs]  # no stubs
    LoginManager,
    UserMixin,
    login_user,  # pyright: ignore[reportUnknownVariableType]
)

from compat_auth.credentials import Absent, Basic, Bearer, Credential, Negotiate, Unrecognised
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth_backends import deny_all, session
from compat_auth_backends.deny_all import DenyAllBackend
from compat_auth_backends.session import SessionBackend


class User(UserMixin):  # type: ignore[misc]  # flask-login has no stubs
    def __init__(self, name: str) -> None:
        self.id = name

    @property
    def is_active(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]  # as the manual says
        return self.id != "disabled"


def make_app() -> flask.Flask:
    app = flask.Flask("app")
    app.secret_key = "only for this test"
    manager = LoginManager(app)
    manager.user_loader(User)  # pyright: ignore[reportUnknownMemberType]  # no stubs
    return app


def answer_for(name: str | None, credential: Credential | None = None) -> Outcome:
    with make_app().test_request_context("/"):
        if name is not None:
            login_user(User(name), force=True)
        return SessionBackend().authenticate(credential or Absent())


def test_the_signed_in_user_is_accepted() -> None:
    assert answer_for("alice") == Accept(Identity("alice", "session", subject="alice"))


def test_a_signed_in_but_disabled_user_is_refused() -> None:
    assert isinstance(answer_for("disabled"), Reject)


def test_nobody_signed_in_is_left_to_the_next_backend() -> None:
    assert answer_for(None) == Skip()


def test_an_explicit_credential_is_not_the_sessions_business() -> None:
    assert answer_for("alice", Basic("bob", "pw")) == Skip()


def test_an_app_without_a_login_manager_has_no_session() -> None:
    with flask.Flask("app").test_request_context("/"):
        assert SessionBackend().authenticate(Absent()) == Skip()


def test_the_module_guards_a_view_by_the_cookie_and_invites_nobody() -> None:
    app = make_app()
    app.config["COMPAT_AUTH"] = {}
    session.init_app(app)
    app.get("/")(session.requires_authentication(lambda: "in"))
    app.get("/sign-in", endpoint="sign-in")(lambda: str(login_user(User("alice"))))
    client = app.test_client()

    before = client.get("/")
    client.get("/sign-in")
    after = client.get("/")

    assert (before.status_code, after.status_code) == (401, 200)
    assert "WWW-Authenticate" not in before.headers


@pytest.mark.parametrize(
    "credential",
    [Absent(), Basic("alice", "pw"), Bearer("token"), Negotiate(b"token"), Unrecognised("Digest")],
    ids=lambda credential: type(credential).__name__,
)
def test_deny_all_refuses_every_kind_of_credential(credential: Credential) -> None:
    backend = DenyAllBackend()

    assert type(credential) in backend.kinds
    assert backend.authenticate(credential) == Reject("deny_all", 403)


def test_deny_all_answers_403_in_an_app() -> None:
    app = flask.Flask("app")
    app.config["COMPAT_AUTH"] = {}
    deny_all.init_app(app)
    app.get("/")(deny_all.requires_authentication(lambda: "in"))

    assert app.test_client().get("/").status_code == 403

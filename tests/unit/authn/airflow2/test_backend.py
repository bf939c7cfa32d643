"""An unmodified Airflow 2 module, read so that it fails closed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import flask
import pytest
from flask_login import LoginManager, UserMixin, login_user

from compat_auth.authn.airflow2.backend import LegacyBackend, LegacyModule
from compat_auth.credentials import Absent, Basic, Bearer, Credential
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.outcome import Accept, Outcome, Reject, Skip

BASIC = Basic("alice", "pässwörd")


class Module:
    """Runs one function in the place of the guarded one."""

    def __init__(self, behave: Any) -> None:
        self.behave = behave
        self.apps: list[flask.Flask] = []

    def init_app(self, app: flask.Flask) -> None:
        self.apps.append(app)

    def requires_authentication(self, function: Any) -> Any:
        return lambda: self.behave(function)


def make_app() -> flask.Flask:
    app = flask.Flask("test")
    app.secret_key = "x"
    manager: Any = LoginManager(app)
    manager.user_loader(lambda _id: None)
    return app


def ask(behave: Any, credential: Credential = BASIC) -> Outcome:
    with make_app().test_request_context():
        return LegacyBackend(Module(behave), "old").authenticate(credential)


def naming(user: Any) -> Any:
    def behave(function: Any) -> Any:
        flask.g.user = user
        return function()

    return behave


def test_a_user_in_g_is_accepted_and_never_reused() -> None:
    outcome = ask(naming("alice"))

    assert isinstance(outcome, Accept)
    assert (outcome.identity.username, outcome.reusable_s) == ("alice", 0)


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(lambda _function: "welcome", id="without-calling-the-view"),
        pytest.param(lambda function: (function(), 401), id="with-a-refusing-status"),
    ],
)
def test_a_yes_that_is_none_does_not_count(behave: Any) -> None:
    assert isinstance(ask(behave), Skip)


def test_a_yes_without_a_user_is_403() -> None:
    assert ask(lambda function: function()) == Reject("accepted the request but named no user", 403)


def test_a_disabled_user_is_refused() -> None:
    assert isinstance(ask(naming(SimpleNamespace(username="bob", is_active=False))), Reject)


def test_abort_is_an_answer() -> None:
    assert isinstance(ask(lambda _function: flask.abort(403)), Skip)


@pytest.mark.parametrize("behave", [lambda _f: ("down", 503), lambda _f: None, lambda _f: 1 / 0])
def test_whatever_cannot_be_read_is_unavailable(behave: Any) -> None:
    with pytest.raises(BackendUnavailable):
        ask(behave)


def test_what_is_unavailable_stays_so() -> None:
    def behave(_function: Any) -> Any:
        raise BackendUnavailable("mine")

    with pytest.raises(BackendUnavailable, match="mine"):
        ask(behave)


@pytest.mark.parametrize("credential", [Absent(), Bearer("x")])
def test_a_refusal_of_what_many_share_judges_nothing(credential: Credential) -> None:
    outcome = ask(lambda _f: ("no", 401, {"WWW-Authenticate": "Bearer"}), credential)

    assert outcome == Skip(("Bearer",))


def test_only_the_headers_of_a_success_that_belong_to_it_are_kept() -> None:
    def behave(function: Any) -> Any:
        flask.g.user = "alice"
        response = function()
        response.headers["WWW-Authenticate"] = "Negotiate x"
        response.headers["Set-Cookie"] = "evil=1"
        return response

    outcome = ask(behave)

    assert isinstance(outcome, Accept)
    assert outcome.headers == (("WWW-Authenticate", "Negotiate x"),)


class User(UserMixin):  # type: ignore[misc]  # flask-login has no stubs
    id = "alice"


def test_a_module_leaves_nothing_in_the_session() -> None:
    def behave(function: Any) -> Any:
        login_user(User())
        return function()

    with make_app().test_request_context():
        flask.session["theirs"] = 1
        flask.session.modified = False
        outcome = LegacyBackend(Module(behave), "old").authenticate(BASIC)

        assert isinstance(outcome, Accept)
        assert dict(flask.session) == {"theirs": 1}
        assert not flask.session.modified


def test_a_refusal_leaves_no_user_for_the_next_backend() -> None:
    def claims(_function: Any) -> Any:
        flask.g.user = "admin"
        login_user(User())
        return "no", 401

    with make_app().test_request_context():
        LegacyBackend(Module(claims), "one").authenticate(BASIC)
        outcome = LegacyBackend(Module(lambda function: function()), "two").authenticate(BASIC)

    assert outcome == Reject("accepted the request but named no user", 403)


def test_a_module_is_initialised_once_for_each_app() -> None:
    module = Module(None)
    backend, app = LegacyBackend(module, "old"), make_app()

    backend.init_app(app)
    backend.init_app(app)

    assert module.apps == [app]


def test_a_module_without_the_contract_is_refused() -> None:
    with pytest.raises(ConfigError, match="init_app"):
        LegacyBackend(cast("LegacyModule", SimpleNamespace()), "old")

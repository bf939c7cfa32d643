"""How a module's answers are read, as [airflow2_modules] says."""

from __future__ import annotations

from typing import Any

import flask
import jwt
import pytest
from flask import Response
from flask_login import LoginManager

from compat_auth.authn.airflow2.backend import LegacyBackend
from compat_auth.authn.airflow2.reading import Reading
from compat_auth.config import parse_settings
from compat_auth.credentials import Absent, Bearer, Unrecognised, parse_in_any_spelling
from compat_auth.errors import AmbiguousCredentials, BackendUnavailable, MalformedCredentials
from compat_auth.outcome import Accept, Outcome, Reject, Skip


class Refused(Exception):
    """What a library raises."""


class Module:
    """Runs one function in the place of the guarded one."""

    def __init__(self, behave: Any, start: Any = None) -> None:
        self.behave = behave
        self.start = start

    def init_app(self, app: flask.Flask) -> None:
        if self.start is not None:
            self.start(app)

    def requires_authentication(self, function: Any) -> Any:
        return lambda: self.behave(function)


def make_app() -> flask.Flask:
    app = flask.Flask("test")
    app.secret_key = "x"
    manager: Any = LoginManager(app)
    manager.user_loader(lambda _id: None)
    return app


def ask(module: Module, **reading: Any) -> Outcome:
    app = make_app()
    backend = LegacyBackend(module, "old", reading=Reading(**reading))
    backend.init_app(app)
    with app.test_request_context():
        return backend.authenticate(Bearer("t"))


def raising(error: BaseException) -> Any:
    def behave(_function: Any) -> Any:
        raise error

    return behave


def naming(user: Any, **headers: str) -> Any:
    def behave(function: Any) -> Any:
        flask.g.user = user
        response = flask.make_response(function())
        response.headers.extend(headers)
        return response

    return behave


def test_an_exception_is_503_unless_the_operator_has_said_that_it_refuses() -> None:
    with pytest.raises(BackendUnavailable):
        ask(Module(raising(ValueError("hunter2"))))

    assert isinstance(ask(Module(raising(ValueError())), accident_refuses=True), Skip)


@pytest.mark.parametrize("error", [ConnectionError(), TimeoutError(), OSError(), SystemExit(), BackendUnavailable("x")])
def test_a_network_that_fails_is_503_whatever_the_operator_has_said(error: BaseException) -> None:
    with pytest.raises(BackendUnavailable):
        ask(Module(raising(error)), accident_refuses=True)


@pytest.mark.parametrize("error", [jwt.DecodeError(), jwt.ExpiredSignatureError(), jwt.InvalidAudienceError()])
def test_a_bad_jwt_is_refused_as_airflow_2_did(error: Exception) -> None:
    assert isinstance(ask(Module(raising(error))), Skip)


def test_a_jwt_whose_keys_cannot_be_fetched_is_503() -> None:
    with pytest.raises(BackendUnavailable):
        ask(Module(raising(jwt.PyJWKClientConnectionError("x"))))


def test_an_exception_after_the_function_was_called_accepts_nobody() -> None:
    def behave(function: Any) -> Any:
        flask.g.user = "alice"
        function()
        raise ValueError

    assert isinstance(ask(Module(behave), accident_refuses=True), Skip)


@pytest.mark.parametrize("status", [401, 403, 422])
def test_an_error_handler_that_the_module_has_registered_answers_for_it(status: int) -> None:
    def start(app: flask.Flask) -> None:
        app.register_error_handler(Refused, lambda _: Response(status=status))

    assert isinstance(ask(Module(raising(Refused()), start)), Skip)


@pytest.mark.parametrize("status", [200, 302, 500])
def test_an_error_handler_never_lets_anybody_in(status: int) -> None:
    def behave(function: Any) -> Any:
        flask.g.user = "alice"
        function()
        raise Refused

    def start(app: flask.Flask) -> None:
        app.register_error_handler(Refused, lambda _: Response(status=status))

    with pytest.raises(BackendUnavailable):
        ask(Module(behave, start))


def test_a_success_without_a_name_is_the_account_that_the_operator_has_named() -> None:
    unnamed = Module(lambda function: function())

    refused = ask(unnamed)
    accepted = ask(unnamed, user_when_unnamed="robot")

    assert isinstance(refused, Reject)
    assert isinstance(accepted, Accept)
    assert (accepted.identity.username, accepted.identity.backend) == ("robot", "old")


@pytest.mark.parametrize("user", [{"username": "bob", "active": False}, {"username": ""}, object(), 7])
def test_that_account_does_not_stand_for_a_user_who_is_disabled_or_cannot_be_read(user: object) -> None:
    assert isinstance(ask(Module(naming(user)), user_when_unnamed="robot"), Reject)


def test_only_named_headers_of_a_success_reach_the_client() -> None:
    sent = {"Server-Authorization": "s", "X-Signed": "x", "Set-Cookie": "c=1", "Location": "/", "X-Other": "o"}

    outcome = ask(Module(naming("alice", **sent)), answer_headers=frozenset({"x-signed"}))

    assert isinstance(outcome, Accept)
    assert outcome.headers == (("Server-Authorization", "s"), ("X-Signed", "x"))


def test_no_setting_lets_a_cookie_or_a_redirect_through() -> None:
    names = ["Set-Cookie", "location", "Content-Length", "X-Signed"]
    settings = parse_settings({"airflow2_modules": {"answer_headers": names}}, origin="test")

    assert Reading.from_settings("old", settings).answer_headers == frozenset({"x-signed"})


def test_functions_that_a_module_registers_for_each_request_run_for_its_own() -> None:
    ran: list[str] = []

    def note(name: str, result: Any = None) -> Any:
        def hook(*response: Any) -> Any:
            ran.append(name)
            return response[0] if response else result

        return hook

    def start(app: flask.Flask) -> None:
        app.before_request(note("before"))
        app.after_request(note("after"))

    app = make_app()
    app.before_request(note("theirs"))
    app.add_url_rule("/", view_func=lambda: "page")
    backend = LegacyBackend(Module(naming("alice"), start), "old")
    backend.init_app(app)

    app.test_client().get("/")
    page, ran[:] = list(ran), []
    with app.test_request_context():
        outcome = backend.authenticate(Absent())

    assert isinstance(outcome, Accept)
    assert (page, ran) == (["theirs"], ["before", "after"])


def test_an_answer_before_the_request_is_the_modules_answer() -> None:
    def start(app: flask.Flask) -> None:
        app.before_request(lambda: Response("no", 401))

    assert isinstance(ask(Module(naming("alice"), start)), Skip)


def test_an_answer_of_200_before_the_request_lets_nobody_in() -> None:
    def start(app: flask.Flask) -> None:
        app.before_request(lambda: "yes")

    assert isinstance(ask(Module(naming("alice"), start)), Skip)


@pytest.mark.parametrize("value", ["Bearer a!b", "Bearer a b", "Basic !!", "Negotiate $"])
def test_a_spelling_of_its_own_reaches_a_module(value: str) -> None:
    credential = parse_in_any_spelling(value)

    assert credential == Unrecognised(value.partition(" ")[0])


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("Bearer a, Bearer b", AmbiguousCredentials),
        ("Bearer", MalformedCredentials),
        ("Bearer a\x00b", MalformedCredentials),
        ("", MalformedCredentials),
    ],
)
def test_what_is_no_single_credential_reaches_none(value: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_in_any_spelling(value)

"""A chain that is asked without Flask's request decides as one that is asked with it: verdict, identity, headers, audit line."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import flask
import pytest
from flask import Flask
from flask_login import AnonymousUserMixin  # pyright: ignore[reportMissingTypeStubs]  # flask-login has no stubs

from compat_auth import audit
from compat_auth.authn.airflow2.backend import LegacyBackend, LegacyModule
from compat_auth.authn.chain import Chain
from compat_auth.backend import Backend, CredentialKind
from compat_auth.credentials import Absent, Basic, Credential
from compat_auth.errors import CompatAuthError
from compat_auth.facts import answers_without_flask, request_facts
from compat_auth.gateway.chain_runner import ChainRunner
from compat_auth.gateway.decision import Granted
from compat_auth.http.request import Presented
from compat_auth.identity import Identity
from compat_auth.outcome import Outcome, Skip
from compat_auth.peer import Peer
from compat_auth.tokens.upstream_refusals import UpstreamRefusals
from support.native_world import CREDENTIALS, SURROUNDINGS, World, presented_by
from support.stand_ins import Issuing, basic, give_token


class NativeIssuer(Issuing):
    """Needs no Flask, as ours that sign."""

    answers_without_flask: ClassVar[bool] = True


class Contexts(Backend):
    """Skips, and notes whether there was a Flask request."""

    name = "contexts"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Absent, Basic})
    answers_without_flask: Any = True

    def __init__(self) -> None:
        self.had_flask: list[bool] = []

    def authenticate(self, credential: Credential) -> Outcome:
        del credential
        self.had_flask.append(flask.has_request_context())
        return Skip()


class OldStyle(Contexts):
    """The same of a site, which knows nothing of the flag."""

    def authenticate(self, credential: Credential) -> Outcome:
        _ = flask.request.headers
        return super().authenticate(credential)


@pytest.fixture(scope="module", params=["strict", "airflow2"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"), request.param)
    yield made
    made.close()


def runner_of(world: World, *more: Backend, first: bool = False) -> ChainRunner:
    chain = world.chain
    backends = (*more, *chain.backends) if first else (*chain.backends, *more)
    issuer = NativeIssuer(give_token)
    made = Chain(backends, chain.mode, reserves=chain.reserves)
    return ChainRunner(made, world.app, issuer, UpstreamRefusals(time.monotonic))


def run(
    runner: ChainRunner, presented: Presented, monkeypatch: pytest.MonkeyPatch
) -> tuple[object, list[audit.AuditEvent]]:
    """Return a summary of the decision, and the lines in the audit log."""
    lines: list[audit.AuditEvent] = []
    with monkeypatch.context() as patched:
        patched.setattr(audit, "record", lines.append)
        try:
            decision, for_s = runner.run(presented, fresh=False, for_upstream=True)
        except CompatAuthError as error:
            return (type(error), str(error)), lines
    if not isinstance(decision, Granted):
        return decision, lines
    headers = [(name, b"" if name == b"set-cookie" else value) for name, value in decision.headers]
    return (decision.identity, decision.bearer, headers, decision.used is None, round(for_s, -1)), lines


@pytest.mark.parametrize("name", CREDENTIALS)
def test_with_and_without_flask_the_decision_is_the_same(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers, peer = world.credentials()[name]
    runner = runner_of(world)

    for where, method, asked in itertools.product(SURROUNDINGS, ("GET", "DELETE"), (False, True)):
        presented = presented_by([*headers, *SURROUNDINGS[where]], peer, method, asked=asked)
        native = run(runner, presented, monkeypatch)
        by_flask = run(runner, replace(presented, facts=None), monkeypatch)

        assert native == by_flask, (where, method, asked)


def test_the_credentials_of_this_page_are_good_and_bad(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = runner_of(world)

    accepted = {
        name
        for name, (headers, peer) in world.credentials().items()
        if run(runner, presented_by(headers, peer, "GET"), monkeypatch)[1][0].result == "accept"
    }

    assert set(world.credentials()) == set(CREDENTIALS)
    assert accepted == {
        *("right password", "right password, not ASCII", "token", "token as a password", "session", "named proxy"),
        "named proxy beside a session",
    }


@pytest.mark.parametrize("name", CREDENTIALS)
def test_no_backend_of_ours_gets_a_flask_request(world: World, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    headers, peer = world.credentials()[name]
    pushed: list[object] = []
    monkeypatch.setattr(Flask, "request_context", lambda _app, environ: pushed.append(environ))

    run(runner_of(world), presented_by(headers, peer, "GET"), monkeypatch)

    assert pushed == []


@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_a_backend_that_needs_flask_has_it_wherever_it_stands(
    world: World, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    theirs, ours = OldStyle(), Contexts()
    backends = [backend for backend in world.chain.backends if backend.name == "basic_auth"]
    chain = Chain((theirs, ours, *backends) if first else (ours, theirs, *backends))
    runner = ChainRunner(chain, world.app, NativeIssuer(give_token), UpstreamRefusals(time.monotonic))

    decided = run(
        runner, presented_by([(b"authorization", basic("alice", "secret").encode())], Peer(), "GET"), monkeypatch
    )

    assert decided[1][0].result == "accept"
    assert (theirs.had_flask, ours.had_flask) == ([True], [first])


def test_an_issuer_that_does_not_know_the_flag_has_flasks_request(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def obtain(identity: Identity, *_: object) -> Any:
        seen.append(flask.request.remote_addr or "")
        return give_token(identity, Absent(), None, False)  # as the function is called elsewhere

    chain, issuer = world.chain, Issuing(obtain)
    runner = ChainRunner(chain, world.app, issuer, UpstreamRefusals(time.monotonic))

    run(runner, presented_by([(b"authorization", basic("alice", "secret").encode())], Peer(), "GET"), monkeypatch)

    assert seen == ["192.0.2.7"]


@pytest.mark.parametrize("name", ["session", "right password", "nothing", "wrong password", "named proxy"])
def test_a_module_of_airflow_2_sees_the_request_and_spoils_nothing(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    def requires_authentication(_function: Any) -> Any:
        def decorated() -> Any:
            seen.append(flask.request.headers.get("Cookie"))
            flask.g.user = SimpleNamespace(username="module", is_active=False)
            return flask.Response(status=401)

        return decorated

    module = SimpleNamespace(init_app=lambda _app: None, requires_authentication=requires_authentication)
    legacy = LegacyBackend(cast("LegacyModule", module), "site_auth")
    headers, peer = world.credentials()[name]
    runner = runner_of(world, legacy, first=True)
    presented = presented_by(headers, peer, "GET")

    native = run(runner, presented, monkeypatch)
    by_flask = run(runner, replace(presented, facts=None), monkeypatch)

    assert native == by_flask
    assert len(set(seen)) <= 1


def test_a_login_manager_of_the_site_is_asked_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    user = SimpleNamespace(username="alice", is_active=True, is_authenticated=True, is_anonymous=False)

    world.app.login_manager.request_loader(lambda request: user if request.cookies.get("theirs") else None)  # type: ignore[attr-defined]  # flask-login sets it
    decided = run(runner_of(world), presented_by([(b"cookie", b"theirs=1")], Peer(), "GET"), monkeypatch)
    world.close()

    assert decided[1][0].result == "accept"
    assert decided[1][0].username == "alice"


@pytest.mark.parametrize("change", ["user_loader", "request_loader", "anonymous_user"])
def test_the_session_needs_flask_once_somebody_can_be_logged_in(tmp_path: Path, change: str) -> None:
    world = World(tmp_path)
    session = next(backend for backend in world.chain.backends if backend.name == "session")
    before = answers_without_flask(session)
    manager: Any = world.app.login_manager  # type: ignore[attr-defined]  # flask-login sets it

    if change == "anonymous_user":
        manager.anonymous_user = type("Somebody", (AnonymousUserMixin,), {})
    else:
        getattr(manager, change)(lambda _key: None)
    after = answers_without_flask(session)
    world.close()

    assert (before, after) == (True, False)


def test_the_facts_end_with_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    headers, peer = world.credentials()["right password"]

    run(runner_of(world), presented_by(headers, peer, "GET"), monkeypatch)

    with pytest.raises(RuntimeError):
        _ = request_facts().client

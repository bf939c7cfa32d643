"""Airflow 2's `default`: nobody in particular."""

from __future__ import annotations

import flask
import pytest

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.backend import Backend
from compat_auth.credentials import Absent, Basic, Bearer, Credential
from compat_auth.directory import DirectoryUser
from compat_auth.gateway.decision import Granted, Refused
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Skip
from compat_auth_backends import default
from compat_auth_backends.default import DefaultBackend
from support.stand_ins import make_decider, presented


class Nobody:
    name = "airflow_db"

    def find(self, username: str) -> DirectoryUser | None:
        del username
        return None


def test_whoever_presents_nothing_is_anonymous() -> None:
    outcome = DefaultBackend(UserLookup(())).authenticate(Absent())

    assert outcome == Accept(Identity("anonymous", "default", subject="anonymous"))


@pytest.mark.parametrize("credential", [Basic("alice", "wrong"), Bearer("token")])
def test_a_credential_is_never_turned_into_nobody(credential: Credential) -> None:
    assert DefaultBackend(UserLookup(())).authenticate(credential) == Skip()


async def test_the_gate_asks_it_although_there_is_no_cookie() -> None:
    backend: Backend = DefaultBackend(UserLookup(()))

    decision = await make_decider(backend).decide(presented(None))

    assert isinstance(decision, Granted)
    assert decision.identity.username == "anonymous"


async def test_an_upstream_without_such_a_user_refuses_it() -> None:
    decision = await make_decider(DefaultBackend(UserLookup((Nobody(),)))).decide(presented(None))

    assert isinstance(decision, Refused)
    assert decision.status == 403


def test_a_view_of_a_flask_app_is_open_to_everybody_but_a_wrong_credential() -> None:
    app = flask.Flask("app")
    app.config["COMPAT_AUTH"] = {"upstream": {"url": "http://127.0.0.1:1"}}
    default.init_app(app)
    app.add_url_rule("/", view_func=default.requires_authentication(lambda: "open"))

    assert app.test_client().get("/").text == "open"
    assert app.test_client().get("/", headers={"Authorization": "Basic YTpi"}).status_code == 401

"""Modules written for Airflow 2 run as they are: in the chain, in the gateway, and in a third party's app."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import flask
import pytest
from flask.testing import FlaskClient
from flask_login import current_user

from compat_auth.composition.decider import create_flask_app
from compat_auth.config import Settings, parse_settings
from compat_auth.errors import BackendUnavailable
from compat_auth.extension import CompatAuth, current_identity, requires_authentication
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Granted, Refused, Unclaimed
from support.stand_ins import Issuing, basic, give_token, presented

GOOD = basic("alice", "wonderland")
WRONG = basic("alice", "wrong")
NAMES_A_USER = ["legacy_modules.logs_in", "legacy_modules.sets_g_user"]


@pytest.fixture(autouse=True)
def modules_on_the_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    yield
    for name in [name for name in sys.modules if name.startswith("legacy_modules")]:
        del sys.modules[name]


def settings(*modules: str) -> Settings:
    return parse_settings({"auth_backends": list(modules)}, origin="test")


def decider(*modules: str) -> Decider:
    app = create_flask_app(settings(*modules))
    return Decider(app.extensions["compat_auth"].chain, app, Issuing(give_token))


def third_party(*modules: str) -> FlaskClient:
    app = flask.Flask("third party")
    app.secret_key = "theirs"
    CompatAuth(app, settings(*modules))

    @app.get("/guarded")
    @requires_authentication
    def guarded() -> str:
        return f"{current_identity.username} {current_user.username}"

    return app.test_client()


@pytest.mark.parametrize("module", NAMES_A_USER)
async def test_a_module_that_names_a_user_lets_the_user_into_the_gateway(module: str) -> None:
    decision = await decider(module).decide(presented(GOOD))

    assert isinstance(decision, Granted)
    assert (decision.identity.username, decision.identity.backend) == ("alice", module)


@pytest.mark.parametrize("module", NAMES_A_USER)
async def test_a_wrong_password_is_refused_with_the_modules_own_challenge(module: str) -> None:
    assert await decider(module).decide(presented(WRONG)) == Refused(401, ("Basic",))


async def test_a_tuple_is_an_answer() -> None:
    decision = await decider("legacy_modules.answers_tuple").decide(presented(None))

    assert isinstance(decision, Unclaimed)
    assert decision.challenges == ('Basic realm="old"',)


async def test_a_module_that_raises_is_unavailable() -> None:
    with pytest.raises(BackendUnavailable) as caught:
        await decider("legacy_modules.raises").decide(presented(GOOD))

    assert "hunter2" not in str(caught.value)


async def test_a_user_named_before_a_refusal_is_not_the_next_modules_user() -> None:
    for modules in itertools.permutations(NAMES_A_USER):
        assert isinstance(await decider(*modules).decide(presented(WRONG)), Refused)


@pytest.mark.parametrize("module", NAMES_A_USER)
def test_a_third_partys_view_knows_the_user_and_its_session_stays_as_it_was(module: str) -> None:
    answer = third_party(module).get("/guarded", headers={"Authorization": GOOD})

    assert (answer.status_code, answer.text) == (200, "alice alice")
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("module", "status", "challenges"),
    [
        ("legacy_modules.logs_in", 401, ["Basic"]),
        ("legacy_modules.sets_g_user", 401, ["Basic"]),
        ("legacy_modules.answers_tuple", 401, ['Basic realm="old"']),
        ("legacy_modules.raises", 503, []),
    ],
)
def test_a_third_partys_view_refuses_with_challenges_and_nothing_else(
    module: str, status: int, challenges: list[str]
) -> None:
    answer = third_party(module).get("/guarded", headers={"Authorization": WRONG})

    assert answer.status_code == status
    assert answer.headers.getlist("WWW-Authenticate") == challenges
    assert not {"Set-Cookie", "Location"} & set(answer.headers.keys())

"""The chain in an asynchronous app, in the words that asfquart's documentation uses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends
from flask import Flask
from quart import Quart
from starlette.applications import Starlette

from compat_auth import guard
from compat_auth.asgi import CompatAuth, caller, current_identity, require, requires_authentication, session
from compat_auth.errors import ConfigError
from compat_auth.extension import CompatAuth as FlaskExtension
from compat_auth.identity import Identity
from compat_auth.tokens.jose.jwt import read_unverified
from support.async_apps import KINDS, SESSIONS, Site, settings_in
from support.stand_ins import basic

ALICE = {"Authorization": basic("alice", "wonder")}


async def name() -> dict[str, Any]:
    return {"name": current_identity.username}


def plain_name() -> dict[str, Any]:
    return {"name": current_identity.username}


async def read() -> Any:
    found = await session.read(expiry_time=3600)
    return {"session": found}


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(request.param, settings_in(tmp_path))


def test_a_view_that_asks_for_it_is_guarded_and_any_other_is_not(site: Site) -> None:
    site.route("/closed", name, requires_authentication)
    site.route("/open", read)

    answers = [site.ask("/open"), site.ask("/closed"), site.ask("/closed", headers=ALICE)]

    assert [answer.status_code for answer in answers] == [200, 401, 200]
    assert answers[1].headers["WWW-Authenticate"] == 'Bearer, Basic realm="Airflow", charset="UTF-8"'
    assert answers[1].headers["Content-Type"] == "application/problem+json"
    assert answers[2].json() == {"name": "alice"}


def test_a_view_that_is_not_async_is_guarded_and_runs_on_a_thread(site: Site) -> None:
    site.route("/closed", plain_name, require)

    assert site.ask("/closed").status_code == 401
    assert site.ask("/closed", headers=ALICE).json() == {"name": "alice"}


def test_a_session_is_written_read_and_cleared_with_await(site: Site) -> None:
    async def write() -> dict[str, Any]:
        await session.write({"uid": "carol", "fullname": "Carol", "foobar": 42})
        return {}

    async def clear() -> dict[str, Any]:
        await session.clear()
        return {}

    for path, view in (("/write", write), ("/read", read), ("/clear", clear)):
        site.route(path, view)
    site.route("/closed", name, require)

    before = site.ask("/read").json()
    answer = site.ask("/write")
    found = site.ask("/read").json()
    who = site.ask("/closed").json()
    site.ask("/clear")
    after = site.ask("/read").json()

    assert before == after == {"session": None}
    assert answer.headers["Cache-Control"] == "no-store"
    assert found == {"session": {"uid": "carol", "fullname": "Carol", "foobar": 42}}
    assert who == {"name": "carol"}


def test_a_session_is_written_without_await_as_asfquart_has_it(site: Site) -> None:
    async def write() -> dict[str, Any]:
        session.write({"uid": "carol"})
        return {"seen": await session.read()}

    site.route("/write", write)
    site.route("/read", read)

    assert site.ask("/write").json() == {"seen": {"uid": "carol"}}
    assert site.ask("/read").json() == {"session": {"uid": "carol"}}


def test_what_was_not_written_is_an_error_although_nobody_waited(site: Site) -> None:
    async def write() -> dict[str, Any]:
        session.write({"no": "uid"})
        return {}

    site.route("/write", write)

    assert site.ask("/write").status_code == 500


def test_what_the_view_has_made_of_an_error_stays(site: Site) -> None:
    async def write() -> dict[str, Any]:
        with pytest.raises(ValueError, match="uid"):
            await session.write({"no": "uid"})
        return {"told": True}

    site.route("/write", write)

    assert site.ask("/write").json() == {"told": True}


def test_the_token_handler_on_the_app_says_who_comes_and_every_member_comes_back(site: Site) -> None:
    site.route("/closed", read, require)

    answer = site.bearer("words", "/closed")

    assert answer.json() == {"session": SESSIONS["words"]}
    assert site.bearer("unknown", "/closed").status_code == 401


@pytest.mark.parametrize("path", ["/open", "/closed"])
def test_asfquarts_own_example_checks_its_scopes_by_hand(site: Site, path: str) -> None:
    async def check() -> dict[str, Any]:
        found = await session.read()
        assert found is not None
        return {
            "may": "scopeA" in found.metadata["scope"],
            "role": found.isRole,
            "dn": found.dn,
            "fullname": found.fullname,
        }

    site.route("/open", check)
    site.route("/closed", check, require)

    assert site.bearer("words", path).json() == {"may": True, "role": True, "dn": None, "fullname": "The Bot"}


@pytest.mark.parametrize(
    ("required", "statuses"),
    [
        ({"any_of": ["scope:scopeA", "scope:admin"]}, {"words": 200, "whole": 403, "both": 403}),
        ({"all_of": "scope:scopeA"}, {"words": 200, "whole": 403}),
        ({"any_of": "scope:admin"}, {"words": 403, "whole": 403}),
        ({"all_of": ("role:member", "mfa")}, {"words": 403, "whole": 200}),
    ],
    ids=str,
)
def test_a_view_requires_words_of_the_applications_own(
    site: Site, required: dict[str, Any], statuses: dict[str, int]
) -> None:
    site.route("/closed", name, require(**required))

    found = {token: site.bearer(token, "/closed").status_code for token in statuses}

    assert found == statuses


def test_a_browser_is_led_to_the_login_and_back_and_logs_out(site: Site) -> None:
    site.route("/closed", name, require)
    browser = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin", "Origin": "http://site.example"}

    led = site.ask("/closed?a=1&b=2", headers=browser)
    form = site.ask(led.headers["Location"])
    token = form.text.partition('name="token" value="')[2].partition('"')[0]
    fields = {"username": "alice", "password": "wonder", "token": token, "next": "/closed?a=1&b=2"}
    logged_in = site.ask("/compat-auth/login", "POST", data=fields, headers=browser)
    inside = site.ask("/closed", headers=browser)
    logout = site.ask("/compat-auth/logout")
    token = logout.text.partition('name="token" value="')[2].partition('"')[0]
    site.ask("/compat-auth/logout", "POST", data={"token": token}, headers=browser)
    outside = site.ask("/closed", headers=browser)

    assert (led.status_code, led.headers["Location"]) == (302, "/compat-auth/login?next=/closed%3Fa%3D1%26b%3D2")
    assert (logged_in.status_code, logged_in.headers["Location"]) == (303, "/closed?a=1&b=2")
    assert inside.json() == {"name": "alice"}
    assert outside.status_code == 302


def test_whoami_and_the_apps_own_404_stand_beside_each_other(site: Site) -> None:
    answers = [site.bearer("limited", "/compat-auth/whoami"), site.ask("/nowhere")]

    assert (answers[0].status_code, answers[0].json()["username"]) == (200, "reader")
    assert answers[1].status_code == 404
    assert "Airflow" not in answers[1].text


@pytest.mark.parametrize("kind", KINDS)
def test_an_identity_becomes_a_jwt(kind: str, tmp_path: Path) -> None:
    token = {"strategy": "shared_secret", "secret": "k" * 64, "audience": "my-api"}
    site = Site(kind, settings_in(tmp_path, token=token), issues_tokens=True)

    async def mint() -> dict[str, Any]:
        return {"token": (await site.compat_auth.mint_token(current_identity)).value}

    site.route("/mint", mint, require)

    minted = site.ask("/mint", headers=ALICE).json()["token"]
    given = site.ask("/auth/token", "POST", json={"username": "alice", "password": "wonder"})
    wrong = site.ask("/auth/token", "POST", json={"username": "alice", "password": "x"})
    limited = site.bearer("limited", "/auth/token")
    keys = site.ask("/.well-known/jwks.json")

    assert {read_unverified(each)["sub"] for each in (minted, given.json()["access_token"])} == {"alice"}
    assert (given.status_code, wrong.status_code, limited.status_code) == (201, 401, 403)
    assert keys.json() == {"keys": []}


def test_fastapi_asks_for_the_caller_before_it_looks_at_parameters(tmp_path: Path) -> None:
    site = Site("fastapi", settings_in(tmp_path))
    asked: list[str] = []

    @site.app.get("/items/{number}")  # type: ignore[untyped-decorator]  # the app is of any kind
    async def item(number: int, who: Annotated[Identity, Depends(caller(any_of="user:alice"))]) -> dict[str, Any]:
        asked.append(who.username)
        return {"number": number}

    answers = [site.ask("/items/x"), site.bearer("whole", "/items/x"), site.ask("/items/7", headers=ALICE)]

    assert [answer.status_code for answer in answers] == [401, 403, 200]
    assert asked == ["alice"]


class AnyAsgi:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize(
    ("app", "advice"),
    [(Flask("x"), r"compat_auth\.extension"), (AnyAsgi(), "gateway"), ("text", "gateway")],
    ids=["flask", "any-asgi", "text"],
)
def test_an_app_of_an_unknown_kind_is_an_error_that_says_what_to_do(app: Any, advice: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=advice):
        CompatAuth(app, settings_in(tmp_path))


@pytest.mark.parametrize("app", [Quart("x"), Starlette(), AnyAsgi()], ids=["quart", "starlette", "any-asgi"])
def test_the_flask_extension_takes_no_asynchronous_app(app: Any) -> None:
    with pytest.raises(ConfigError, match=r"compat_auth\.asgi"):
        FlaskExtension(app)


def test_an_app_that_has_started_cannot_be_guarded_any_more(tmp_path: Path) -> None:
    app = Starlette()
    app.middleware_stack = app.build_middleware_stack()

    with pytest.raises(ConfigError, match="before its first request"):
        CompatAuth(app, settings_in(tmp_path))


def test_quart_has_its_settings_in_its_config(tmp_path: Path) -> None:
    app = Quart("x")
    app.config["COMPAT_AUTH"] = settings_in(tmp_path, auth_backends=["basic_auth"])

    compat_auth = CompatAuth(app)

    assert [backend.name for backend in compat_auth.chain.backends] == ["basic_auth"]


def test_the_identity_is_the_same_object_for_flask_and_for_others() -> None:
    assert current_identity is guard.current_identity

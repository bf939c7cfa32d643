"""No place answers a browser with a challenge for which it opens a password dialog; programs get every challenge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import bcrypt
import flask
import pytest

from compat_auth.composition.gate import GateParts
from compat_auth.credentials import Absent
from compat_auth.extension import CompatAuth, requires_authentication
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.health import whoami_page
from compat_auth.gateway.middleware import Page
from compat_auth.http.asgi import RawHeaders, Receive, Scope, Send, respond
from compat_auth.outcome import Reject
from support.stand_ins import GOOD, Behind, call, http_scope, make_airflow, make_decider, make_gate, rules, scripted

BASIC = 'Basic realm="Airflow"'
SCRIPT: RawHeaders = [(b"sec-fetch-mode", b"cors"), (b"sec-fetch-site", b"same-origin"), (b"sec-fetch-dest", b"empty")]
PAGE: RawHeaders = [(b"sec-fetch-mode", b"navigate"), (b"sec-fetch-site", b"none"), (b"sec-fetch-dest", b"document")]
OLD_SCRIPT: RawHeaders = [
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"application/json"),
    (b"accept-language", b"en"),
]
BROWSERS = {"script": SCRIPT, "page": PAGE, "script-over-plain-http": OLD_SCRIPT}
PROGRAM: RawHeaders = [(b"user-agent", b"curl/8.14.1"), (b"accept", b"*/*")]
WRONG: RawHeaders = [(b"authorization", GOOD.encode())]
Ask = Callable[[RawHeaders], Awaitable[list[str]]]


def refusing() -> Decider:
    """Return a decider that knows nobody: no password, no session."""
    password = scripted("basic_auth", Reject("wrong"), invites=(BASIC,))
    session = scripted("session", Reject("ended"), takes=frozenset({Absent}), alike=False)
    return make_decider(session, password)


async def in_gateway(headers: RawHeaders) -> list[str]:
    return await _challenges(make_gate(Behind(), refusing()), b"/api/v2/dags", headers)


def own_page(parts: GateParts) -> dict[str, Page]:
    return {"whoami": whoami_page(parts.identification, parts.refusals)}


async def at_our_own_page(headers: RawHeaders) -> list[str]:
    return await _challenges(make_gate(Behind(), refusing(), pages=own_page), b"/compat-auth/whoami", headers)


async def in_airflow(headers: RawHeaders) -> list[str]:
    async def behind(_scope: Scope, _receive: Receive, send: Send) -> None:
        await respond(send, 401)

    return await _challenges(make_airflow(behind, refusing(), rules(), ["/api/"]), b"/api/v2/dags", headers)


async def by_forward_auth(headers: RawHeaders) -> list[str]:
    gate = make_gate(Behind(), refusing(), trusted=["192.0.2.0/24"])
    asked = [(b"x-original-uri", b"/api/v2/dags"), (b"x-original-method", b"GET"), *headers]
    return await _challenges(gate, b"/compat-auth/forward-auth/nginx", asked)


async def _challenges(app: Any, path: bytes, headers: RawHeaders) -> list[str]:
    answer = await call(app, {**http_scope(path, headers), "root_path": ""})
    assert answer.status == 401
    return [value.decode() for value in answer.values(b"www-authenticate")]


places = pytest.mark.parametrize("ask", [in_gateway, at_our_own_page, in_airflow, by_forward_auth])


@places
@pytest.mark.parametrize("headers", BROWSERS.values(), ids=BROWSERS)
@pytest.mark.parametrize("credential", [[], WRONG], ids=["ended-session", "wrong-password"])
async def test_a_browser_gets_a_401_that_opens_no_dialog(ask: Ask, headers: RawHeaders, credential: RawHeaders) -> None:
    # Airflow's own refusal of a page's script has none, and stays as it is.
    assert set(await ask([*headers, *credential])) <= {"Bearer"}


@places
@pytest.mark.parametrize("credential", [[], WRONG], ids=["nothing", "wrong-password"])
async def test_a_program_gets_the_challenge_that_it_waits_for(ask: Ask, credential: RawHeaders) -> None:
    assert await ask([*PROGRAM, *credential]) == [BASIC]


@pytest.fixture
def app(tmp_path: Path) -> flask.Flask:
    users = tmp_path / "users"
    users.write_text(f"alice:{bcrypt.hashpw(b'x', bcrypt.gensalt(4)).decode()}\n", encoding="utf-8")
    users.chmod(0o600)
    app = flask.Flask("guarded")
    app.config["COMPAT_AUTH"] = {
        "auth_backends": ["basic_auth"],
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(users)},
    }
    CompatAuth(app)

    @app.get("/guarded")
    @requires_authentication
    def guarded() -> str:
        return "in"

    return app


@pytest.mark.parametrize("headers", BROWSERS.values(), ids=BROWSERS)
def test_a_view_of_a_flask_app_opens_no_dialog_in_a_browser(app: flask.Flask, headers: RawHeaders) -> None:
    answer = app.test_client().get("/guarded", headers=[(name.decode(), value.decode()) for name, value in headers])

    assert (answer.status_code, answer.headers.getlist("WWW-Authenticate")) == (401, ["Bearer"])


def test_a_view_of_a_flask_app_asks_a_program_for_a_password(app: flask.Flask) -> None:
    answer = app.test_client().get("/guarded")

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")

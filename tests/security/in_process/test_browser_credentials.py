"""Another site's page cannot act with a credential that the browser adds by itself: gateway, plugin, Flask, forward-auth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import bcrypt
import flask
import pytest
from starlette.middleware.cors import CORSMiddleware

from compat_auth.credentials import Absent, Basic, Bearer, Negotiate, Unrecognised
from compat_auth.extension import CompatAuth, requires_authentication
from compat_auth.gateway.decider import Decider
from compat_auth.http.asgi import ASGIApp, RawHeaders, Receive, Scope, Send
from compat_auth.outcome import Accept
from support.stand_ins import (
    ALICE,
    GOOD,
    Behind,
    basic,
    call,
    http_scope,
    make_airflow,
    make_decider,
    make_gate,
    rules,
    scripted,
)

EVIL: Final = b"https://evil.example"
FRIEND: Final = b"https://friend.example"
OWN: Final = b"http://gateway.example"
SITE, MODE, ORIGIN, TYPE = b"sec-fetch-site", b"sec-fetch-mode", b"origin", b"content-type"
FORM: Final = (TYPE, b"text/plain")
JSON: Final = (TYPE, b"application/json")
ADDED_BY_BROWSERS: Final = {
    "basic": GOOD.encode(),
    "negotiate": b"Negotiate YWJj",
    "ntlm": b"NTLM TlRMTVNTUAAB",
    "digest": b'Digest username="alice"',
}
FROM_ELSEWHERE: Final[dict[str, RawHeaders]] = {
    "form-of-another-site": [(SITE, b"cross-site"), (MODE, b"navigate"), (ORIGIN, EVIL), FORM],
    "form-of-another-host-of-ours": [(SITE, b"same-site"), (MODE, b"navigate"), (ORIGIN, b"https://x.example"), FORM],
    "script-without-cors": [(SITE, b"cross-site"), (MODE, b"no-cors"), (ORIGIN, EVIL), FORM],
    "script-with-cors": [(SITE, b"cross-site"), (MODE, b"cors"), (ORIGIN, EVIL), FORM],
    "page-that-hides-its-origin": [(SITE, b"cross-site"), (MODE, b"navigate"), (ORIGIN, b"null"), FORM],
    "script-that-hides-its-origin": [(SITE, b"cross-site"), (MODE, b"cors"), (ORIGIN, b"null"), JSON],
    "site-alone": [(SITE, b"cross-site")],
    "odd-site": [(SITE, b"")],
    "two-sites": [(SITE, b"same-origin"), (SITE, b"cross-site")],
    "old-browser": [(ORIGIN, EVIL), FORM],
    "old-browser-without-origin-of-its-own": [(ORIGIN, b"null"), FORM],
    "other-port": [(ORIGIN, OWN + b":8443"), FORM],
    "two-origins": [(ORIGIN, OWN), (ORIGIN, EVIL)],
}
UNSAFE: Final = ("POST", "PUT", "PATCH", "DELETE")


def believing() -> Decider:
    """Return a decider that takes every credential for alice's."""
    kinds = frozenset({Absent, Basic, Bearer, Negotiate, Unrecognised})
    return make_decider(scripted("all", Accept(ALICE, reusable_s=60), takes=kinds))


def in_gateway(app: ASGIApp) -> ASGIApp:
    return make_gate(app, believing(), trusted=["10.0.0.0/8"])


def in_airflow(app: ASGIApp) -> ASGIApp:
    """Return the gate as it stands inside Airflow, where the CORS middleware of the application is in front of it."""
    inner = app.app if isinstance(app, CORSMiddleware) else app
    instance = make_airflow(inner, believing(), rules(), ["/api/"])
    stack = CORSMiddleware(instance, **with_cors_of(app)) if isinstance(app, CORSMiddleware) else instance

    async def airflow(scope: Scope, receive: Receive, send: Send) -> None:
        await stack({"root_path": "", **scope, "app": airflow}, receive, send)

    return airflow


def with_cors_of(app: CORSMiddleware) -> dict[str, Any]:
    return {
        "allow_origins": app.allow_origins,
        "allow_methods": app.allow_methods,
        "allow_headers": app.allow_headers,
        "allow_credentials": True,
    }


places = pytest.mark.parametrize("place", [in_gateway, in_airflow])
Place = Callable[[ASGIApp], ASGIApp]


def friendly(app: ASGIApp) -> CORSMiddleware:
    """Return the app with CORS settings that let one origin send Authorization."""
    return CORSMiddleware(
        app,
        allow_origins=[FRIEND.decode()],
        allow_methods=["GET", "POST", "PATCH"],
        allow_headers=["authorization", "content-type"],
        allow_credentials=True,
    )


def reached(behind: Behind) -> list[str]:
    """Return the methods of the requests that reached the upstream, without preflights."""
    return [scope["method"] for scope in behind.scopes if scope["method"] != "OPTIONS"]


@places
@pytest.mark.parametrize("authorization", ADDED_BY_BROWSERS.values(), ids=ADDED_BY_BROWSERS)
@pytest.mark.parametrize("source", FROM_ELSEWHERE.values(), ids=FROM_ELSEWHERE)
async def test_another_origin_does_not_act_with_what_the_browser_adds(
    place: Place, authorization: bytes, source: RawHeaders
) -> None:
    behind = Behind()
    app = place(behind)

    answers = [
        await call(app, http_scope(headers=[(b"authorization", authorization), *source], method=method))
        for method in UNSAFE
    ]

    assert [answer.status for answer in answers] == [403] * 4
    assert reached(behind) == []


@places
@pytest.mark.parametrize("source", FROM_ELSEWHERE.values(), ids=FROM_ELSEWHERE)
async def test_another_origin_does_not_act_with_a_cookie_or_a_client_certificate(
    place: Place, source: RawHeaders
) -> None:
    behind = Behind()

    answer = await call(place(behind), http_scope(headers=[(b"cookie", b"a=b"), *source], method="POST"))

    assert answer.status == 403
    assert reached(behind) == []


@places
async def test_a_credential_that_was_checked_a_moment_ago_is_no_way_around(place: Place) -> None:
    behind = Behind()
    app = place(behind)
    await call(app, http_scope(headers=[(b"authorization", GOOD.encode())], method="POST"))

    answer = await call(
        app, http_scope(headers=[(b"authorization", GOOD.encode()), (SITE, b"cross-site")], method="POST")
    )

    assert answer.status == 403
    assert reached(behind) == ["POST"]


@places
@pytest.mark.parametrize(
    ("method", "headers"),
    [
        pytest.param("POST", [(b"authorization", GOOD.encode())], id="program"),
        pytest.param("POST", [(b"authorization", b"Bearer a.b"), (SITE, b"cross-site"), (ORIGIN, EVIL)], id="bearer"),
        pytest.param("POST", [(b"authorization", GOOD.encode()), (SITE, b"same-origin"), (ORIGIN, OWN)], id="own-page"),
        pytest.param("POST", [(b"authorization", GOOD.encode()), (ORIGIN, OWN)], id="own-page-of-old-browser"),
        pytest.param("POST", [(b"authorization", GOOD.encode()), (ORIGIN, OWN + b":80")], id="own-page-with-port"),
        pytest.param("DELETE", [(b"authorization", GOOD.encode()), (SITE, b"none")], id="the-users-own-doing"),
        pytest.param("GET", [(b"authorization", GOOD.encode()), (SITE, b"cross-site")], id="link-from-elsewhere"),
    ],
)
async def test_programs_bearers_and_our_own_pages_are_not_affected(
    place: Place, method: str, headers: RawHeaders
) -> None:
    behind = Behind()

    answer = await call(place(behind), http_scope(headers=headers, method=method))

    assert answer.status == 200
    assert reached(behind) == [method]


@places
async def test_behind_a_proxy_that_speaks_https_the_own_origin_is_https(place: Place) -> None:
    if place is in_airflow:
        scheme: dict[str, Any] = {"scheme": "https"}  # Airflow's own server has read the header
    else:
        scheme = {}
    headers = [
        (b"authorization", GOOD.encode()),
        (ORIGIN, b"https://gateway.example"),
        (b"x-forwarded-proto", b"https"),
    ]

    answer = await call(place(Behind()), {**http_scope(headers=headers, method="POST", client="10.0.0.1"), **scheme})

    assert answer.status == 200


@places
@pytest.mark.parametrize(
    ("method", "source", "status"),
    [
        pytest.param("PATCH", [(SITE, b"cross-site"), (MODE, b"cors"), (ORIGIN, FRIEND), JSON], 200, id="script"),
        pytest.param("POST", [(ORIGIN, FRIEND), JSON], 200, id="script-of-old-browser"),
        pytest.param("POST", [(SITE, b"cross-site"), (MODE, b"navigate"), (ORIGIN, FRIEND)], 403, id="form"),
        pytest.param("POST", [(SITE, b"cross-site"), (MODE, b"no-cors"), (ORIGIN, FRIEND)], 403, id="no-cors"),
        pytest.param("POST", [(SITE, b"cross-site"), (MODE, b"cors"), (ORIGIN, EVIL), JSON], 403, id="other-origin"),
        pytest.param("DELETE", [(SITE, b"cross-site"), (MODE, b"cors"), (ORIGIN, FRIEND)], 403, id="other-method"),
    ],
)
async def test_a_script_of_an_origin_that_the_upstreams_cors_settings_allow_acts(
    place: Place, method: str, source: RawHeaders, status: int
) -> None:
    behind = Behind()
    app = place(friendly(behind))

    answer = await call(app, http_scope(headers=[(b"authorization", GOOD.encode()), *source], method=method))

    assert answer.status == status
    assert reached(behind) == ([method] if status == 200 else [])


@places
async def test_an_allowed_origin_has_no_use_of_a_cookie(place: Place) -> None:
    headers = [(b"cookie", b"a=b"), (SITE, b"same-site"), (MODE, b"cors"), (ORIGIN, FRIEND), JSON]

    answer = await call(place(friendly(Behind())), http_scope(headers=headers, method="POST"))

    assert answer.status == 403


class Answering:
    """Answers every request with the same head, and remembers what came."""

    def __init__(self, status: int, headers: RawHeaders) -> None:
        self.answer = (status, headers)
        self.seen: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(scope)
        status, headers = self.answer
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


ALLOWS_ORIGIN: Final = (b"access-control-allow-origin", FRIEND)
ALLOWS_HEADER: Final = (b"access-control-allow-headers", b"Content-Type, Authorization")


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        pytest.param(200, [ALLOWS_ORIGIN], id="not-the-header"),
        pytest.param(200, [ALLOWS_ORIGIN, (b"access-control-allow-headers", b"*")], id="any-header-but-authorization"),
        pytest.param(200, [ALLOWS_HEADER], id="no-origin"),
        pytest.param(200, [ALLOWS_HEADER, ALLOWS_ORIGIN, ALLOWS_ORIGIN], id="two-origins"),
        pytest.param(200, [ALLOWS_HEADER, (b"access-control-allow-origin", FRIEND + b".evil")], id="longer-origin"),
        pytest.param(200, [ALLOWS_HEADER, (b"access-control-allow-origin", b"null")], id="null"),
        pytest.param(200, [ALLOWS_HEADER, (b"access-control-allow-origin", b"*")], id="everybody-without-credentials"),
        pytest.param(405, [ALLOWS_ORIGIN, ALLOWS_HEADER], id="no-preflight-here"),
        pytest.param(302, [ALLOWS_ORIGIN, ALLOWS_HEADER], id="redirect"),
    ],
)
async def test_an_answer_that_does_not_let_the_origin_send_the_header_excuses_nothing(
    status: int, headers: RawHeaders
) -> None:
    gate = make_gate(Answering(status, headers), believing())
    source = [(SITE, b"cross-site"), (MODE, b"cors"), (ORIGIN, FRIEND), FORM]

    answer = await call(gate, http_scope(headers=[(b"authorization", GOOD.encode()), *source], method="POST"))

    assert answer.status == 403


async def test_where_everybody_may_send_the_header_a_script_may_that_had_to_ask_first() -> None:
    gate = make_gate(Answering(200, [ALLOWS_HEADER, (b"access-control-allow-origin", b"*")]), believing())
    source = [(SITE, b"cross-site"), (MODE, b"cors"), (ORIGIN, EVIL), JSON]

    answer = await call(gate, http_scope(headers=[(b"authorization", GOOD.encode()), *source], method="POST"))

    assert answer.status == 200


async def test_the_preflight_carries_no_credential_and_no_header_of_the_caller() -> None:
    upstream = Answering(405, [])
    source = [(SITE, b"cross-site"), (MODE, b"cors"), (ORIGIN, FRIEND), JSON, (b"cookie", b"a=b"), (b"x-own", b"1")]

    await call(
        make_gate(upstream, believing()), http_scope(headers=[(b"authorization", GOOD.encode()), *source], method="PUT")
    )

    (preflight,) = upstream.seen
    headers = dict(preflight["headers"])
    # Ours, not the caller's: it finds the lines of both servers.
    assert len(headers.pop(b"x-request-id")) == 32
    assert (preflight["method"], headers) == (
        "OPTIONS",
        {
            b"host": b"gateway.example",
            b"origin": FRIEND,
            b"access-control-request-method": b"PUT",
            b"access-control-request-headers": b"authorization",
        },
    )


@pytest.fixture
def app(tmp_path: Path) -> flask.Flask:
    """A Flask app with the extension, whose own CORS settings allow one origin."""
    hashed = bcrypt.hashpw("pässwörd".encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"alice:{hashed}\n", encoding="utf-8")
    app = flask.Flask("third party")
    app.config["COMPAT_AUTH"] = {
        "auth_backends": ["basic_auth"],
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(tmp_path / "users")},
    }
    CompatAuth(app)

    @app.route("/guarded", methods=["GET", "POST"])
    @requires_authentication
    def guarded() -> str:
        return "in"

    @app.after_request
    def allow(answer: flask.Response) -> flask.Response:
        if flask.request.headers.get("Origin") == FRIEND.decode():
            answer.headers["Access-Control-Allow-Origin"] = FRIEND.decode()
            answer.headers["Access-Control-Allow-Headers"] = "authorization"
        return answer

    return app


@pytest.mark.parametrize("source", FROM_ELSEWHERE.values(), ids=FROM_ELSEWHERE)
def test_a_view_of_a_flask_app_is_not_reached_with_a_remembered_password(app: flask.Flask, source: RawHeaders) -> None:
    sent = [("Authorization", basic("alice", "pässwörd")), *((name.decode(), value.decode()) for name, value in source)]

    answer = app.test_client().post("/guarded", headers=sent, base_url="http://gateway.example")

    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("source", "status"),
    [
        pytest.param({}, 200, id="program"),
        pytest.param({"Sec-Fetch-Site": "same-origin"}, 200, id="own-page"),
        pytest.param({"Origin": "http://gateway.example"}, 200, id="own-page-of-old-browser"),
        pytest.param({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, 200, id="allowed-script"),
        pytest.param({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403, id="form-of-allowed-origin"),
    ],
)
def test_a_view_of_a_flask_app_is_reached_by_programs_own_pages_and_allowed_scripts(
    app: flask.Flask, source: dict[str, str], status: int
) -> None:
    if "Sec-Fetch-Mode" in source:
        source = {**source, "Origin": FRIEND.decode()}
    headers = {"Authorization": basic("alice", "pässwörd"), **source}

    answer = app.test_client().post("/guarded", headers=headers, base_url="http://gateway.example")

    assert answer.status_code == status

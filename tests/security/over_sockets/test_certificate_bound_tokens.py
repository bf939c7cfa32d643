"""A personal token that is bound to a client certificate is worth nothing to somebody who has only its text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import flask
import jwt
import pytest

from compat_auth.app import Gateway
from compat_auth.client_certificates import thumbprint_of
from compat_auth.config import Settings
from compat_auth.extension import CompatAuth, current_identity, requires_authentication
from compat_auth.http.asgi import RawHeaders
from compat_auth.peer import FROM_SOCKET, tls_extension
from support.certificates import Authority, Issued
from support.security.token_gateway import make_token, opened, settings_with_tokens
from support.security.upstream import Recorder
from support.stand_ins import FRONT, Sent, basic, call, http_scope

DAGS = b"/api/v2/dags"
PROXY, OTHER_PROXY, CLIENT = "10.0.0.5", "10.0.0.9", "192.0.2.1"
NGINX = b"x-ssl-client-cert"
CA = Authority()
OWN, OTHERS = CA.issue(), CA.issue("CN=mallory,O=Example")
THUMBPRINT = thumbprint_of(OWN.der)
Shows = dict[str, Any]


def by_tls(certificate: Issued | None) -> Shows:
    """Return the scope's part of a client that shows a certificate to our own listener."""
    tls = tls_extension(certificate.der) if certificate is not None else {}
    return {"extensions": {**tls, FROM_SOCKET: True}}


def settings_of(folder: Path, upstream: Recorder, **more: Any) -> Settings:
    section = {"ca_file": str(CA.write(folder / "ca.pem")), **more.pop("client_certificate", {})}
    tls = {"tls_cert": "server.pem", "tls_key": "server.key"}
    return settings_with_tokens(folder, upstream.port, serve=tls, client_certificate=section, **more)


def behind_nginx(folder: Path, upstream: Recorder, **more: Any) -> Settings:
    section = {"proxies": [f"{PROXY}/32"], "forwarded": "nginx", **more.pop("client_certificate", {})}
    return settings_of(folder, upstream, trusted_proxies=["10.0.0.0/8"], client_certificate=section, **more)


@pytest.fixture
def settings(tmp_path: Path, upstream: Recorder) -> Settings:
    return settings_of(tmp_path, upstream)


@pytest.fixture
def token(settings: Settings) -> str:
    return make_token(settings, certificate=THUMBPRINT).text


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with opened(settings) as gateway:
        yield gateway


async def ask(
    gateway: Gateway,
    *headers: tuple[bytes, bytes],
    shows: Shows | None = None,
    path: bytes = DAGS,
    client: str = CLIENT,
    method: str = "GET",
    body: bytes = b"",
) -> Sent:
    scope = {**http_scope(path, list(headers), client=client, method=method), **(shows or by_tls(None))}
    return await call(gateway, scope, body)


def bearer(token: str) -> tuple[bytes, bytes]:
    return (b"authorization", b"Bearer " + token.encode())


SPELLINGS: list[Callable[[str], tuple[bytes, bytes]]] = [
    bearer,
    lambda token: (b"x-api-key", token.encode()),
    lambda token: (b"authorization", basic("alice", token).encode()),
    lambda token: (b"authorization", basic("__token__", token).encode()),
]


@pytest.mark.parametrize("spell", SPELLINGS, ids=["bearer", "api-key", "basic", "basic-any-user"])
async def test_it_works_beside_its_certificate_alone(
    gateway: Gateway, token: str, upstream: Recorder, spell: Callable[[str], tuple[bytes, bytes]]
) -> None:
    answers = [await ask(gateway, spell(token), shows=by_tls(shown)) for shown in (None, OTHERS, OWN, None, OTHERS)]

    assert [answer.status for answer in answers] == [401, 401, 200, 401, 401]
    assert len(upstream.take()) == 1
    assert b'error="invalid_token"' in b",".join(answers[0].values(b"www-authenticate"))
    # As for a token that nobody knows: the answer says nothing about a certificate.
    assert b"certificate" not in answers[0].body


async def test_an_answer_that_is_remembered_is_for_the_certificate_that_was_shown(gateway: Gateway, token: str) -> None:
    warm = [await ask(gateway, bearer(token), shows=by_tls(OWN)) for _ in range(3)]

    cold = [await ask(gateway, bearer(token), shows=by_tls(shown)) for shown in (None, OTHERS)]

    assert [answer.status for answer in (*warm, *cold)] == [200, 200, 200, 401, 401]


async def test_who_asks_at_the_same_moment_does_not_share_the_owners_answer(gateway: Gateway, token: str) -> None:
    shown = [OWN, None, OTHERS, OWN, None, OTHERS] * 4

    answers = await asyncio.gather(*(ask(gateway, bearer(token), shows=by_tls(one)) for one in shown))

    assert [answer.status for answer in answers] == [200 if one is OWN else 401 for one in shown]


async def test_our_own_pages_ask_for_the_certificate_too(gateway: Gateway, token: str) -> None:
    path = b"/compat-auth/whoami"

    answers = [await ask(gateway, bearer(token), shows=by_tls(shown), path=path) for shown in (OWN, None, OTHERS)]

    assert [answer.status for answer in answers] == [200, 401, 401]
    assert json.loads(answers[0].body)["cnf"] == {"x5t#S256": THUMBPRINT}


async def test_whoami_remembers_for_the_certificate_too(gateway: Gateway, token: str) -> None:
    path = b"/compat-auth/whoami"
    await ask(gateway, bearer(token), shows=by_tls(OWN))

    answers = [await ask(gateway, bearer(token), path=path), await ask(gateway, bearer(token), path=path)]

    assert [answer.status for answer in answers] == [401, 401]


async def test_a_token_without_a_binding_works_with_and_without_a_certificate(
    gateway: Gateway, settings: Settings
) -> None:
    token = make_token(settings).text

    answers = [await ask(gateway, bearer(token), shows=by_tls(shown)) for shown in (None, OWN, OTHERS, None)]

    assert [answer.status for answer in answers] == [200, 200, 200, 200]


async def test_a_revoked_certificate_opens_nothing(tmp_path: Path, upstream: Recorder) -> None:
    crl = tmp_path / "crl.pem"
    crl.write_text(CA.revocations(OWN))
    settings = settings_of(tmp_path, upstream, client_certificate={"crl_file": str(crl)})
    token = make_token(settings, certificate=THUMBPRINT).text

    async with opened(settings) as gateway:
        answer = await ask(gateway, bearer(token), shows=by_tls(OWN))

    assert answer.status == 401


# --- a front proxy ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        pytest.param(PROXY, [(NGINX, OWN.escaped.encode())], 200, id="own"),
        pytest.param(PROXY, [], 401, id="none"),
        pytest.param(PROXY, [(NGINX, b"")], 401, id="empty"),
        pytest.param(PROXY, [(NGINX, OTHERS.escaped.encode())], 401, id="anothers"),
        pytest.param(PROXY, [(NGINX, OWN.escaped.encode())] * 2, 401, id="twice"),
        pytest.param(PROXY, [(NGINX, OWN.escaped.encode() + b"," + OTHERS.escaped.encode())], 401, id="joined"),
        pytest.param(PROXY, [(NGINX, THUMBPRINT.encode())], 401, id="thumbprint"),
        pytest.param(PROXY, [(b"x-forwarded-client-cert", OWN.escaped.encode())], 401, id="header-of-another-proxy"),
        pytest.param(OTHER_PROXY, [(NGINX, OWN.escaped.encode())], 401, id="proxy-that-is-not-named"),
        pytest.param(CLIENT, [(NGINX, OWN.escaped.encode())], 401, id="written-by-the-client"),
    ],
)
async def test_a_forwarded_certificate_counts_from_the_named_proxy_alone(
    tmp_path: Path, upstream: Recorder, client: str, headers: RawHeaders, status: int
) -> None:
    settings = behind_nginx(tmp_path, upstream)
    token = make_token(settings, certificate=THUMBPRINT).text
    own = [(NGINX, OWN.escaped.encode())]

    async with opened(settings) as gateway:
        first = await ask(gateway, bearer(token), *headers, client=client)
        warm = await ask(gateway, bearer(token), *own, client=PROXY)
        again = await ask(gateway, bearer(token), *headers, client=client)

    assert (first.status, warm.status, again.status) == (status, 200, status)
    assert all(b"BEGIN" not in str(request).encode() for request in upstream.take())


async def test_a_proxys_own_certificate_is_not_its_clients(tmp_path: Path, upstream: Recorder) -> None:
    settings = behind_nginx(tmp_path, upstream)
    token = make_token(settings, certificate=THUMBPRINT).text

    async with opened(settings) as gateway:
        answer = await ask(gateway, bearer(token), shows=by_tls(OWN), client=PROXY)

    assert answer.status == 401


@pytest.mark.parametrize("reads", [False, True])
async def test_forward_auth_believes_a_certificate_only_where_it_is_told_to(
    tmp_path: Path, upstream: Recorder, reads: bool
) -> None:
    settings = behind_nginx(tmp_path, upstream, client_certificate={"forward_auth": reads}, forward_auth=FRONT)
    token = make_token(settings, certificate=THUMBPRINT).text
    told = [(b"x-original-uri", DAGS), (b"x-original-method", b"GET")]
    path = b"/compat-auth/forward-auth/nginx"

    async with opened(settings) as gateway:
        with_own = await call(
            gateway, http_scope(path, [*told, bearer(token), (NGINX, OWN.escaped.encode())], client=PROXY)
        )
        without = await call(gateway, http_scope(path, [*told, bearer(token)], client=PROXY))

    assert (with_own.status, without.status) == (200 if reads else 401, 401)


async def test_the_lane_says_nothing_about_it_since_the_front_proxy_would_use_the_answer_for_others(
    tmp_path: Path, upstream: Recorder
) -> None:
    settings = behind_nginx(tmp_path, upstream, forward_auth=FRONT)
    token = make_token(settings, certificate=THUMBPRINT).text
    own = (NGINX, OWN.escaped.encode())
    lane = b"/compat-auth/forward-auth/lane"

    async with opened(settings) as gateway:
        warm = await ask(gateway, bearer(token), own, client=PROXY)
        made = await ask(gateway, bearer(token), own, client=PROXY, path=b"/auth/token", method="POST")
        jwt_of_it = str(json.loads(made.body)["access_token"])
        used = await ask(gateway, bearer(jwt_of_it), own, client=PROXY)
        answers = [
            await ask(gateway, bearer(text), *shown, client=PROXY, path=lane)
            for text in (token, jwt_of_it)
            for shown in ([], [own])
        ]

    assert (warm.status, made.status, used.status) == (200, 201, 200)
    assert [(answer.status, answer.values(b"authorization")) for answer in answers] == [(401, [])] * 4


# --- what is made from it --------------------------------------------------------------------------------------------


async def exchanged(gateway: Gateway, token: str) -> str:
    answer = await ask(gateway, bearer(token), shows=by_tls(OWN), path=b"/auth/token", method="POST")
    assert answer.status == 201, answer.body
    return str(json.loads(answer.body)["access_token"])


async def test_a_jwt_that_is_made_from_it_says_so_and_is_bound_in_the_same_way(gateway: Gateway, token: str) -> None:
    made = await exchanged(gateway, token)

    answers = [await ask(gateway, bearer(made), shows=by_tls(shown)) for shown in (OWN, None, OTHERS, OWN)]

    assert jwt.decode(made, options={"verify_signature": False})["cnf"] == {"x5t#S256": THUMBPRINT}
    assert [answer.status for answer in answers] == [200, 401, 401, 200]


@pytest.mark.parametrize(
    "spell",
    [
        pytest.param(str, id="plain"),
        pytest.param('"{}"'.format, id="quoted"),
        # As Python's http.cookies reads it, and with it Airflow.
        pytest.param(lambda token: '"{}"'.format(token.replace(".e", r".\145", 1)), id="escaped"),
        pytest.param(lambda token: '"' + "".join(f"\\{ord(letter):03o}" for letter in token) + '"', id="all-escaped"),
    ],
)
async def test_the_jwt_as_the_upstreams_cookie_is_bound_too(
    tmp_path: Path, upstream: Recorder, spell: Callable[[str], str]
) -> None:
    settings = settings_of(tmp_path, upstream)
    of_airflow = settings.upstream.model_copy(update={"identity_cookies": ["_token"]})
    settings = settings.model_copy(update={"upstream": of_airflow})
    token = make_token(settings, certificate=THUMBPRINT).text

    async with opened(settings) as gateway:
        cookie = (b"cookie", b"_token=" + spell(await exchanged(gateway, token)).encode())
        answers = [await ask(gateway, cookie, shows=by_tls(shown)) for shown in (OWN, None, OTHERS)]

    assert [answer.status for answer in answers] == [200, 401, 401]


async def test_without_its_certificate_it_becomes_no_jwt(gateway: Gateway, token: str) -> None:
    form = (b"content-type", b"application/x-www-form-urlencoded")
    grants = [
        b"grant_type=client_credentials&client_id=alice&client_secret=%b",
        (
            b"grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=%b"
            b"&subject_token_type=urn:ietf:params:oauth:token-type:access_token"
        ),
    ]

    plain = await ask(gateway, bearer(token), path=b"/auth/token", method="POST")
    answers = [
        await ask(gateway, form, path=b"/auth/token", method="POST", body=grant % token.encode()) for grant in grants
    ]

    assert [answer.status for answer in (plain, *answers)] == [401, 401, 400]


async def test_introspection_shows_the_binding_and_opens_nothing(gateway: Gateway, token: str) -> None:
    form = (b"content-type", b"application/x-www-form-urlencoded")
    caller = (b"authorization", basic("alice", "wonder").encode())

    async def introspect() -> Sent:
        body = b"token=" + token.encode()
        return await ask(gateway, form, caller, path=b"/compat-auth/introspect", method="POST", body=body)

    found = json.loads((await introspect()).body)
    after = await ask(gateway, bearer(token))
    at_once = await asyncio.gather(introspect(), ask(gateway, bearer(token)), introspect(), ask(gateway, bearer(token)))

    assert (found["active"], found["cnf"]) == (True, {"x5t#S256": THUMBPRINT})
    assert (after.status, [answer.status for answer in at_once]) == (401, [200, 401, 200, 401])


async def test_a_caller_who_acts_for_another_user_needs_the_certificate(tmp_path: Path, upstream: Recorder) -> None:
    settings = settings_of(tmp_path, upstream, do_as=[{"callers": ["alice"], "users": ["bob"]}])
    token = make_token(settings, certificate=THUMBPRINT).text
    for_bob = (b"x-do-as", b"bob")

    async with opened(settings) as gateway:
        answers = [await ask(gateway, bearer(token), for_bob, shows=by_tls(shown)) for shown in (OWN, None, OTHERS)]

    assert [answer.status for answer in answers] == [200, 401, 401]


# --- where no certificate can be seen --------------------------------------------------------------------------------


async def test_without_settings_for_certificates_it_opens_nothing(tmp_path: Path, upstream: Recorder) -> None:
    settings = settings_with_tokens(tmp_path, upstream.port)
    token = make_token(settings, certificate=THUMBPRINT).text

    async with opened(settings) as gateway:
        answers = [
            await ask(gateway, bearer(token), shows=by_tls(OWN)),
            await ask(gateway, bearer(token), (NGINX, OWN.escaped.encode())),
        ]

    assert [answer.status for answer in answers] == [401, 401]


def app_of(settings: Settings) -> flask.Flask:
    app = flask.Flask("third party")
    app.config["COMPAT_AUTH"] = settings
    CompatAuth(app)

    @app.route("/guarded")
    @requires_authentication
    def guarded() -> str:
        return current_identity.username

    return app


@pytest.mark.parametrize(
    ("address", "certificate", "status"),
    [(PROXY, OWN, 200), (PROXY, OTHERS, 401), (PROXY, None, 401), (OTHER_PROXY, OWN, 401), (CLIENT, OWN, 401)],
    ids=["own", "anothers", "none", "not-named", "client"],
)
def test_a_flask_view_asks_for_the_certificate_of_the_named_proxy(
    tmp_path: Path, upstream: Recorder, address: str, certificate: Issued | None, status: int
) -> None:
    settings = behind_nginx(tmp_path, upstream)
    token = make_token(settings, certificate=THUMBPRINT).text
    client = app_of(settings).test_client()

    def visit(address: str, certificate: Issued | None) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        if certificate is not None:
            headers["X-SSL-Client-Cert"] = certificate.escaped
        return client.get("/guarded", headers=headers, environ_base={"REMOTE_ADDR": address}).status_code

    found = [visit(address, certificate), visit(PROXY, OWN), visit(address, certificate)]

    assert found == [status, 200, status]


# --- making one ------------------------------------------------------------------------------------------------------


async def make_by_api(gateway: Gateway, certificate: object, shows: Shows | None = None) -> Sent:
    body = json.dumps({"name": "bound", "certificate": certificate}).encode()
    headers = [(b"authorization", basic("alice", "wonder").encode()), (b"content-type", b"application/json")]
    path = b"/compat-auth/api/personal-tokens"
    return await ask(gateway, *headers, path=path, method="POST", body=body, shows=shows)


@pytest.mark.parametrize("wanted", ["shown", THUMBPRINT], ids=["shown", "thumbprint"])
async def test_the_api_makes_one(gateway: Gateway, wanted: str) -> None:
    made = await make_by_api(gateway, wanted, by_tls(OWN))

    content = json.loads(made.body)
    answers = [await ask(gateway, bearer(content["token"]), shows=by_tls(shown)) for shown in (OWN, None)]
    assert (made.status, content["certificate"]) == (201, THUMBPRINT)
    assert [answer.status for answer in answers] == [200, 401]


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param("shown", id="none-is-shown"),
        pytest.param("", id="empty"),
        pytest.param("x", id="short"),
        pytest.param(THUMBPRINT[:-1], id="one-character-less"),
        pytest.param(THUMBPRINT + "=", id="padded"),
        pytest.param(THUMBPRINT[:-1] + "_", id="bits-beyond-the-end"),
        pytest.param("/" * 43, id="another-alphabet"),
        pytest.param(OWN.der.hex(), id="hex"),
        pytest.param(True, id="true"),
        pytest.param(5, id="number"),
        pytest.param(["shown"], id="list"),
    ],
)
async def test_the_api_makes_none_for_what_is_no_certificate(gateway: Gateway, wanted: object) -> None:
    made = await make_by_api(gateway, wanted)

    assert made.status == 422
    assert b"certificate" in made.body


async def test_a_refreshed_token_keeps_its_certificate(gateway: Gateway, settings: Settings) -> None:
    made = make_token(settings, certificate=THUMBPRINT)
    headers = [(b"authorization", basic("alice", "wonder").encode()), (b"content-type", b"application/json")]
    path = b"/compat-auth/api/personal-tokens/" + made.token.id.encode()

    refreshed = json.loads((await ask(gateway, *headers, path=path, method="PATCH", body=b"{}")).body)

    answers = [await ask(gateway, bearer(refreshed["token"]), shows=by_tls(shown)) for shown in (OWN, None)]
    assert (refreshed["certificate"], [answer.status for answer in answers]) == (THUMBPRINT, [200, 401])

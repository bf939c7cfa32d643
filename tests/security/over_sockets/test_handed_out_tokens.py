"""A JWT that a front proxy gets is worth no more than the credential it was made from, and ends with it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import jwt
import pytest

from compat_auth.app import Gateway
from compat_auth.authn.revocation_events import UNHEARD_S
from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable
from compat_auth.store.schema import issued_tokens, personal_tokens
from compat_auth.tokens.issued import IssuedTokens
from support.security.page_browser import Browser
from support.security.token_gateway import make_token, opened, settings_with_tokens
from support.security.upstream import Recorder
from support.stand_ins import FRONT, Sent, basic, call, http_scope

PASSWORD = basic("alice", "wonder")


def settings_of(folder: Path, upstream: Recorder, **more: Any) -> Settings:
    return settings_with_tokens(folder, upstream.port, trusted_proxies=["10.0.0.0/8"], forward_auth=FRONT, **more)


async def asked(gateway: Gateway, *, target: bytes = b"/api/v2/dags", **headers: str) -> Sent:
    told = [(b"x-original-uri", target), (b"x-original-method", b"GET")]
    shown = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return await call(gateway, http_scope(b"/compat-auth/forward-auth/nginx", [*told, *shown], client="10.0.0.1"))


def jwt_in(sent: Sent) -> str:
    assert sent.status == 200, sent.body
    (authorization,) = sent.values(b"authorization")
    return authorization.decode().removeprefix("Bearer ")


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


async def status(gateway: Gateway, token: str) -> int:
    """Return what the gate answers to the JWT itself, as a client would show it who has it."""
    return (await call(gateway, http_scope(headers=[(b"authorization", f"Bearer {token}".encode())]))).status


def written(folder: Path) -> list[tuple[str, str]]:
    """Return (jti, credential) of every token that the store knows to be issued."""
    with closing(sqlite3.connect(folder / "store.db")) as connection, connection:
        return connection.execute(f"SELECT jti, credential_id FROM {issued_tokens.name}").fetchall()  # noqa: S608  # ours


async def revoke(gateway: Gateway, token: str) -> None:
    form = (b"content-type", b"application/x-www-form-urlencoded")
    await call(gateway, http_scope(b"/compat-auth/revoke", [form], method="POST"), b"token=" + token.encode())


@pytest.mark.parametrize("write", [lambda text: f"Bearer {text}", lambda text: basic("alice", text)])
async def test_a_limited_token_becomes_a_jwt_of_seconds(tmp_path: Path, upstream: Recorder, write: Any) -> None:
    settings = settings_of(tmp_path, upstream)
    limited = write(make_token(settings, "GET /api/v2/dags").text)
    async with opened(settings) as gateway:
        token = jwt_in(await asked(gateway, Authorization=limited))
        elsewhere = await asked(gateway, target=b"/api/v2/connections", Authorization=limited)

    claims = claims_of(token)
    assert claims["exp"] - claims["iat"] <= 10
    assert (elsewhere.status, elsewhere.values(b"authorization")) == (403, [])


async def test_a_whole_credential_becomes_a_jwt_of_the_usual_lifetime(tmp_path: Path, upstream: Recorder) -> None:
    settings = settings_of(tmp_path, upstream)
    whole = make_token(settings).text
    async with opened(settings) as gateway:
        tokens = [
            jwt_in(await asked(gateway, Authorization=PASSWORD)),
            jwt_in(await asked(gateway, Authorization=f"Bearer {whole}")),
        ]

    assert [claims["exp"] - claims["iat"] for claims in map(claims_of, tokens)] == [600, 600]


async def test_one_user_s_limited_and_whole_credentials_share_no_jwt(tmp_path: Path, upstream: Recorder) -> None:
    settings = settings_of(tmp_path, upstream)
    shown = [
        PASSWORD,
        *(
            f"Bearer {make_token(settings, *scopes, name=f'token {number}').text}"
            for number, scopes in enumerate([(), (), ("GET /api/v2/dags",), ("GET /api/v2/dags",)])
        ),
    ]
    async with opened(settings) as gateway:
        tokens = [jwt_in(await asked(gateway, Authorization=value)) for value in shown]

    assert len(set(tokens)) == 5


@pytest.mark.parametrize("scopes", [(), ("GET /api/v2/dags",)], ids=["whole", "limited"])
async def test_the_jwt_ends_with_its_personal_token(
    tmp_path: Path, upstream: Recorder, scopes: tuple[str, ...]
) -> None:
    settings = settings_of(tmp_path, upstream)
    text = make_token(settings, *scopes).text
    async with opened(settings) as gateway:
        token = jwt_in(await asked(gateway, Authorization=f"Bearer {text}"))
        other = jwt_in(await asked(gateway, Authorization=PASSWORD))
        before = await status(gateway, token)

        await revoke(gateway, text)
        await asyncio.sleep(UNHEARD_S)

        after, others = await status(gateway, token), await status(gateway, other)
        again = await asked(gateway, Authorization=f"Bearer {text}")

    assert (before, after, others, again.status) == (200, 401, 200, 401)


async def test_the_jwt_ends_with_its_session(tmp_path: Path, upstream: Recorder) -> None:
    settings = settings_of(tmp_path, upstream, auth_backends=["session", "basic_auth"], session={"secret": "s" * 32})
    async with opened(settings) as gateway:
        browser = Browser(gateway)
        await browser.log_in()
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items() if name != "_token")
        token = jwt_in(await asked(gateway, Cookie=cookies))
        before = await status(gateway, token)

        await browser.submit("/compat-auth/logout")
        await asyncio.sleep(UNHEARD_S)

        after = await status(gateway, token)

    assert (before, after) == (200, 401)


@pytest.mark.parametrize("scopes", [None, (), ("GET /api/v2/dags",)], ids=["password", "whole", "limited"])
async def test_many_requests_write_one_token_down(
    tmp_path: Path, upstream: Recorder, scopes: tuple[str, ...] | None
) -> None:
    settings = settings_of(tmp_path, upstream)
    shown = PASSWORD if scopes is None else f"Bearer {make_token(settings, *scopes).text}"
    async with opened(settings) as gateway:
        together = await asyncio.gather(*(asked(gateway, Authorization=shown) for _ in range(20)))
        later = [await asked(gateway, Authorization=shown) for _ in range(20)]

    tokens = {jwt_in(sent) for sent in [*together, *later]}
    assert [claims_of(token)["jti"] for token in tokens] == [jti for jti, _ in written(tmp_path)]
    assert len(tokens) == 1


async def test_what_cannot_be_written_down_is_not_handed_out(
    tmp_path: Path, upstream: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BackendUnavailable("the store is away")

    settings = settings_of(tmp_path, upstream)
    limited = make_token(settings, "GET /api/v2/dags").text
    monkeypatch.setattr(IssuedTokens, "_add", fail)
    async with opened(settings) as gateway:
        answers = [await asked(gateway, Authorization=value) for value in (PASSWORD, f"Bearer {limited}")]

    assert [(sent.status, sent.values(b"authorization")) for sent in answers] == [(503, []), (503, [])]


@pytest.mark.parametrize("scopes", [(), ("GET /api/v2/dags",)], ids=["whole", "limited"])
async def test_a_credential_that_is_revoked_just_before_its_jwt_is_written_down_gets_none(
    tmp_path: Path, upstream: Recorder, monkeypatch: pytest.MonkeyPatch, scopes: tuple[str, ...]
) -> None:
    settings = settings_of(tmp_path, upstream)
    text = make_token(settings, *scopes).text
    add = IssuedTokens._add

    def revoke_first(given: IssuedTokens, *token: Any) -> None:
        # As another process does it: nobody here hears of it.
        with closing(sqlite3.connect(tmp_path / "store.db")) as connection, connection:
            connection.execute(f"UPDATE {personal_tokens.name} SET revoked = 1")  # noqa: S608  # ours
        add(given, *token)

    monkeypatch.setattr(IssuedTokens, "_add", revoke_first)
    async with opened(settings) as gateway:
        sent = await asked(gateway, Authorization=f"Bearer {text}")

    assert (sent.status, sent.values(b"authorization")) == (401, [])


async def test_a_jwt_that_was_revoked_by_itself_is_replaced(tmp_path: Path, upstream: Recorder) -> None:
    settings = settings_of(tmp_path, upstream)
    async with opened(settings) as gateway:
        first = jwt_in(await asked(gateway, Authorization=PASSWORD))
        await revoke(gateway, first)
        await asked(gateway, Authorization=PASSWORD)  # has the store looked at
        await asyncio.sleep(UNHEARD_S)

        second = jwt_in(await asked(gateway, Authorization=PASSWORD))
        statuses = [await status(gateway, token) for token in (first, second)]

    assert statuses == [401, 200]
    assert claims_of(second)["jti"] in [jti for jti, _ in written(tmp_path)]


async def test_a_client_of_the_main_listener_gets_no_jwt_for_a_limited_token(
    tmp_path: Path, upstream: Recorder
) -> None:
    settings = settings_of(tmp_path, upstream)
    told = [(b"x-original-uri", b"/api/v2/version"), (b"x-original-method", b"GET")]
    shown = (b"authorization", f"Bearer {make_token(settings, 'GET /api/v2/version').text}".encode())
    async with opened(settings) as gateway:
        sent = await call(
            gateway, http_scope(b"/compat-auth/forward-auth/nginx", [*told, shown], client="10.0.0.1", port=8088)
        )

    assert (sent.status, sent.values(b"authorization")) == (404, [])
    assert json.loads(sent.body)["status"] == 404


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        ("/compat-auth/api/personal-tokens", (b"content-type", b"text/plain"), b'{"name": "stolen"}'),
        ("/compat-auth/api/personal-tokens", (b"content-type", b"application/json"), b'{"name": "stolen"}'),
        ("/compat-auth/introspect", (b"content-type", b"application/x-www-form-urlencoded"), b"token=x"),
        ("/auth/token", (b"content-type", b"text/plain"), b""),
        ("/auth/token/cli", (b"content-type", b"application/json"), b"{}"),
    ],
)
@pytest.mark.parametrize(
    "source",
    [[(b"sec-fetch-site", b"cross-site")], [(b"sec-fetch-site", b"same-site")], [(b"origin", b"https://evil.example")]],
    ids=["another-site", "another-host", "old-browser"],
)
async def test_our_own_endpoints_do_not_act_for_a_page_of_another_site(
    tmp_path: Path, upstream: Recorder, path: str, headers: tuple[bytes, bytes], body: bytes, source: Any
) -> None:
    shown = [(b"authorization", PASSWORD.encode()), headers]
    async with opened(settings_of(tmp_path, upstream)) as gateway:
        own = await call(gateway, http_scope(path.encode(), shown, method="POST"), body)
        foreign = await call(gateway, http_scope(path.encode(), [*shown, *source], method="POST"), body)

    assert (own.status == 403, foreign.status) == (False, 403)

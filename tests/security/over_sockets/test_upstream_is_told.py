"""A personal token that ends takes the JWTs that were made from it along at the upstream itself, too."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from click.testing import CliRunner

from compat_auth.app import Gateway
from compat_auth.cli import commands
from compat_auth.config import Settings
from compat_auth.http.asgi import RawHeaders
from support.security.token_gateway import make_token, opened, settings_with_tokens
from support.security.upstream import Recorder, recording_upstream
from support.stand_ins import Sent, basic, call, http_scope

SECRET = "t" * 64
ALICE = (b"authorization", basic("alice", "wonder").encode())
LOGOUT = b"/api/v2/auth/logout"


def content(port: int) -> dict[str, Any]:
    return {
        "upstream": {"url": f"http://127.0.0.1:{port}", "profile": "airflow-simple", "roles": {"*": "VIEWER"}},
        "token": {"strategy": "shared_secret", "secret": SECRET},
    }


@pytest.fixture
def settings(tmp_path: Path, upstream: Recorder) -> Settings:
    return settings_with_tokens(tmp_path, upstream.port, **content(upstream.port))


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with opened(settings) as gateway:
        yield gateway


async def jwt_from(gateway: Gateway, text: str) -> str:
    headers: RawHeaders = [(b"authorization", f"Bearer {text}".encode())]
    sent = await call(gateway, http_scope(b"/auth/token", headers, method="POST"))
    assert sent.status == 201, sent.body
    return str(json.loads(sent.body)["access_token"])


async def delete(gateway: Gateway, token_id: str) -> Sent:
    path = f"/compat-auth/api/personal-tokens/{token_id}".encode()
    return await call(gateway, http_scope(path, [ALICE], method="DELETE"))


async def hand_in(gateway: Gateway, text: str) -> Sent:
    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    body = urlencode({"token": text}).encode()
    return await call(gateway, http_scope(b"/compat-auth/revoke", headers, method="POST"), body)


def ended_at(upstream: Recorder) -> list[dict[str, Any]]:
    """Return the claims of every JWT that the upstream was told to revoke."""
    told = [arrived for arrived in upstream.take() if arrived.target == LOGOUT]
    bearers = [value.decode().removeprefix("Bearer ") for one in told for value in one.values(b"authorization")]
    return [jwt.decode(bearer, SECRET, algorithms=["HS512"], audience="apache-airflow") for bearer in bearers]


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


@pytest.mark.parametrize("way", ["api", "revocation endpoint"])
async def test_who_ends_a_personal_token_ends_its_jwts_at_the_upstream(
    gateway: Gateway, settings: Settings, upstream: Recorder, way: str
) -> None:
    made, other = make_token(settings), make_token(settings, name="other")
    made_from = [claims_of(await jwt_from(gateway, made.text)) for _ in range(2)]
    await jwt_from(gateway, other.text)
    upstream.take()

    sent = await (delete(gateway, made.token.id) if way == "api" else hand_in(gateway, made.text))

    assert sent.status in {200, 204}
    told = ended_at(upstream)
    assert {(one["jti"], one["sub"], one["exp"]) for one in told} == {
        (one["jti"], one["sub"], one["exp"]) for one in made_from
    }


async def test_an_upstream_that_is_down_keeps_no_token_alive_here(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as until_it_goes:
        upstream = until_it_goes.enter_context(recording_upstream())
        settings = settings_with_tokens(tmp_path, upstream.port, **content(upstream.port))
        async with opened(settings) as gateway:
            made = make_token(settings)
            token = await jwt_from(gateway, made.text)
            await jwt_from(gateway, made.text)
            until_it_goes.close()

            sent = await delete(gateway, made.token.id)

            bearer = (b"authorization", f"Bearer {token}".encode())
            refused = await call(gateway, http_scope(b"/api/v2/dags", [bearer]))
    assert (sent.status, refused.status) == (204, 401)
    # Once, however many there are: each could take as long as the upstream's time limit.
    assert caplog.text.count("still valid at the upstream itself") == 1
    assert token not in caplog.text


async def test_a_command_tells_the_upstream_as_well(
    gateway: Gateway, settings: Settings, upstream: Recorder, tmp_path: Path
) -> None:
    made = make_token(settings)
    claims = claims_of(await jwt_from(gateway, made.text))
    config = tmp_path / "site.toml"
    config.write_text(
        f"""
        auth_backends = ["personal_token", "basic_auth"]
        database_url = "sqlite:///{tmp_path / "store.db"}"
        [basic_auth]
        directories = ["htpasswd"]
        [lookup]
        directories = ["mapping"]
        [mapping]
        file = "{tmp_path / "users.toml"}"
        [htpasswd]
        file = "{tmp_path / "htpasswd"}"
        [upstream]
        url = "http://127.0.0.1:{upstream.port}"
        profile = "airflow-simple"
        roles = {{ "*" = "VIEWER" }}
        [token]
        strategy = "shared_secret"
        secret = "{SECRET}"
        """,
        encoding="utf-8",
    )
    upstream.take()

    command = ["tokens", "revoke", made.token.id, "--config", str(config)]
    result = CliRunner().invoke(commands, command, catch_exceptions=False)

    assert (result.exit_code, "warning" in result.stderr) == (0, False)
    assert [one["jti"] for one in ended_at(upstream)] == [claims["jti"]]

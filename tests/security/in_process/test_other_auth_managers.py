"""The plugin beside an auth manager that it does not know: Airflow starts, its own tokens pass, nobody else gets in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compat_auth.airflow.composition import compose
from compat_auth.http.asgi import ASGIApp, RawHeaders
from support.airflow_stand_ins import Conf, activate
from support.stand_ins import Behind, Sent, basic, call, http_scope

SETTINGS = "[api]\n[compat_auth]\nauth_backends = personal_token,basic_auth,session\nsession__secret = " + "s" * 40
OWN = (b"authorization", b"Bearer eyJhbGciOiJIUzUxMiJ9.e30.c2ln")


class AwsAuthManager:
    """Known by its name."""


class SiteAuthManager:
    """A site's own, with the interface alone."""

    def generate_jwt(self, user: Any, *, expiration_time_in_seconds: int) -> str:
        raise AssertionError("nobody may be signed for")

    generate_api_jwt = generate_jwt


@pytest.fixture(params=[AwsAuthManager, SiteAuthManager])
def door(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[ASGIApp, Behind]:
    activate(monkeypatch, request.param())
    behind = Behind()
    return compose(behind, Conf(SETTINGS, {}), {"AIRFLOW_HOME": str(tmp_path)}), behind


async def ask(door: ASGIApp, path: str, headers: RawHeaders, *, method: str = "GET") -> Sent:
    return await call(door, {**http_scope(path.encode(), headers, method=method), "root_path": "", "state": {}})


async def test_a_token_of_airflow_s_own_is_for_airflow_to_judge(door: tuple[ASGIApp, Behind]) -> None:
    app, behind = door

    sent = await ask(app, "/api/v2/dags", [OWN])

    assert sent.status == 200
    assert behind.values(b"authorization") == [OWN[1]]


@pytest.mark.parametrize("path", ["/api/v2/dags", "/api/v1/dags", "/auth/token"])
async def test_a_password_is_refused_with_what_to_do_instead(door: tuple[ASGIApp, Behind], path: str) -> None:
    app, behind = door
    method = "POST" if path == "/auth/token" else "GET"

    sent = await ask(app, path, [(b"authorization", basic("ann", "x").encode())], method=method)

    assert (sent.status, behind.scopes) == (403, [])
    # The token endpoint words its own refusals.
    assert path == "/auth/token" or "has no passwords that can be checked; " in json.loads(sent.body)["detail"]


async def test_a_cookie_of_keycloak_s_or_airflow_s_goes_to_airflow_alone(door: tuple[ASGIApp, Behind]) -> None:
    app, behind = door

    await ask(app, "/api/v2/dags", [(b"cookie", b"_token=x; _access_token=y; _refresh_token=z")])

    assert behind.values(b"cookie") == [b"_token=x; _access_token=y; _refresh_token=z"]

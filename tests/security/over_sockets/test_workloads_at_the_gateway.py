"""Workloads at a whole gateway, and in a Flask app: scopes, role accounts, grants, and what ends with what."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import flask
import pytest

from compat_auth.api.oauth.client_grants import CLIENT_ASSERTION, CLIENT_CREDENTIALS, JWT_BEARER
from compat_auth.api.oauth.token_request import EXCHANGE_GRANT, JWT
from compat_auth.app import Gateway
from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.authn.users.role_accounts import BELIEVED_S
from compat_auth.config import Settings
from compat_auth.extension import CompatAuth, current_identity, requires_authentication
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream
from compat_auth.store.migration import open_store
from compat_auth.store.tables.role_accounts import RoleAccount, RoleAccountRows
from compat_auth.tokens.jose.jwt import read_unverified
from support.security.token_gateway import opened, settings_with_tokens
from support.security.upstream import Recorder
from support.stand_ins import Sent, basic, call, http_scope
from support.stub_issuer import OTHER_RSA_KEY, StubIssuer, running_issuer
from support.workload_tokens import rule_for, token_of

FORM = (b"content-type", b"application/x-www-form-urlencoded")
RUNS = b"/api/v2/dags/nightly/dagRuns"


@pytest.fixture(scope="module")
def issuer() -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        yield stub


@pytest.fixture
def settings(tmp_path: Path, upstream: Recorder, issuer: StubIssuer) -> Settings:
    """The role account etl-robot for GitHub with the scope trigger, for Kubernetes without limits."""
    rules = [
        rule_for(platform, tmp_path, issuer=issuer.url, jwks=None, scopes=[scope], name=platform, account=account)
        for platform, scope, account in (
            ("github", "trigger", "etl-robot"),
            ("kubernetes", "all", "etl-robot"),
            ("aws", "all", "alice"),
        )
    ]
    settings = settings_with_tokens(
        tmp_path, upstream.port, auth_backends=["workload", "personal_token", "basic_auth"], workloads=rules
    )
    accounts(settings).add(RoleAccount("etl-robot", "group:data", int(time.time())))
    return settings


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with opened(settings) as gateway:
        yield gateway


def accounts(settings: Settings) -> RoleAccountRows:
    return RoleAccountRows(open_store(settings.database_url.get_secret_value()))


def secret_of(settings: Settings, *scopes: str) -> str:
    tokens = PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream)
    name = " ".join(scopes) or "whole"
    return tokens.create("etl-robot", PersonalTokenRequest(name, scopes or ("all",)), by="test", is_role=True).text


async def ask(gateway: Gateway, method: str, path: bytes, token: str) -> int:
    scope = http_scope(path, [(b"authorization", f"Bearer {token}".encode())], method=method)
    return (await call(gateway, scope)).status


async def post(gateway: Gateway, form: dict[str, str], authorization: str = "") -> Sent:
    headers = [FORM, *([(b"authorization", authorization.encode())] if authorization else [])]
    return await call(gateway, http_scope(b"/auth/token", headers, method="POST"), urlencode(form).encode())


def content(sent: Sent) -> dict[str, Any]:
    assert sent.status == 200, sent.body
    found: dict[str, Any] = json.loads(sent.body)
    return found


async def test_a_job_may_trigger_a_dag_and_nothing_else(
    gateway: Gateway, issuer: StubIssuer, upstream: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="compat_auth.audit")
    token = token_of("github", iss=issuer.url)

    statuses = [
        await ask(gateway, "POST", RUNS, token),
        await ask(gateway, "GET", RUNS + b"/manual", token),
        await ask(gateway, "GET", b"/api/v2/dags", token),
        await ask(gateway, "DELETE", b"/api/v2/dags/nightly", token),
        await ask(gateway, "POST", b"/compat-auth/api/personal-tokens", token),
    ]

    assert statuses == [200, 200, 403, 403, 403]
    assert len(upstream.take()) == 2
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    said = f"rule github: repo:acme/etl:ref:refs/heads/main of {issuer.url}"
    assert [line["reason"] for line in lines if line["result"] == "accept"] == [said]
    assert token not in caplog.text


@pytest.mark.parametrize("changed", [{"repository_id": "75"}, {"key": OTHER_RSA_KEY}, {"event_name": "pull_request"}])
async def test_another_job_is_401_and_never_reaches_the_upstream(
    gateway: Gateway, issuer: StubIssuer, upstream: Recorder, changed: dict[str, Any]
) -> None:
    token = token_of("github", **{"iss": issuer.url, **changed})

    status = await ask(gateway, "POST", RUNS, token)

    assert status == 401
    assert upstream.take() == []


@pytest.mark.parametrize("name", ["workload", "compat_auth_backends.workloads.backend.WorkloadBackend"])
async def test_a_job_that_acts_as_a_person_makes_no_personal_token_whatever_the_list_calls_the_backend(
    settings: Settings, issuer: StubIssuer, name: str
) -> None:
    token = token_of("aws", iss=issuer.url)
    path = b"/compat-auth/api/personal-tokens"

    async with opened(settings.model_copy(update={"auth_backends": [name, "personal_token"]})) as gateway:
        statuses = [await ask(gateway, "GET", RUNS, token), await ask(gateway, "GET", path, token)]

    assert statuses == [200, 403]


@pytest.mark.parametrize("grant", ["assertion", "client_assertion", "exchange"])
async def test_each_grant_gives_a_limited_job_its_own_token_with_its_limits(
    gateway: Gateway, issuer: StubIssuer, grant: str
) -> None:
    token = token_of("github", iss=issuer.url)
    forms = {
        "assertion": {"grant_type": JWT_BEARER, "assertion": token},
        "client_assertion": {
            "grant_type": CLIENT_CREDENTIALS,
            "client_assertion_type": CLIENT_ASSERTION,
            "client_assertion": token,
        },
        "exchange": {"grant_type": EXCHANGE_GRANT, "subject_token": token, "subject_token_type": JWT},
    }

    given = content(await post(gateway, forms[grant]))

    assert given["access_token"] == token
    assert 0 < given["expires_in"] <= 300
    assert [await ask(gateway, "POST", RUNS, token), await ask(gateway, "GET", b"/api/v2/dags", token)] == [200, 403]


async def test_a_job_without_limits_gets_a_jwt_that_ends_with_its_token(gateway: Gateway, issuer: StubIssuer) -> None:
    end = int(time.time()) + 90
    token = token_of("kubernetes", iss=issuer.url, exp=end)

    given = content(await post(gateway, {"grant_type": JWT_BEARER, "assertion": token}))

    claims = read_unverified(given["access_token"])
    assert (claims["exp"], given["scope"]) == (end, "all")
    assert await ask(gateway, "GET", b"/api/v2/dags", given["access_token"]) == 200


async def test_a_jwt_from_a_workload_is_dead_once_the_workloads_token_was_taken_back(
    gateway: Gateway, issuer: StubIssuer
) -> None:
    token = token_of("kubernetes", iss=issuer.url)
    made = content(await post(gateway, {"grant_type": JWT_BEARER, "assertion": token}))["access_token"]
    body = urlencode({"token": token}).encode()

    revoked = await call(gateway, http_scope(b"/compat-auth/revoke", [FORM], method="POST"), body)

    assert revoked.status == 200
    assert [await ask(gateway, "GET", b"/api/v2/dags", one) for one in (token, made)] == [401, 401]


async def test_a_role_account_is_a_client_with_its_personal_token_as_the_secret(
    gateway: Gateway, settings: Settings
) -> None:
    whole, limited = secret_of(settings), secret_of(settings, "trigger")
    grant = {"grant_type": CLIENT_CREDENTIALS}

    by_header = content(await post(gateway, grant, basic("etl-robot", whole)))
    by_form = content(await post(gateway, {**grant, "client_id": "etl-robot", "client_secret": limited}))

    assert read_unverified(by_header["access_token"])["sub"] == "etl-robot"
    assert await ask(gateway, "GET", b"/api/v2/dags", by_header["access_token"]) == 200
    assert by_form["access_token"] == limited
    assert [await ask(gateway, "POST", RUNS, limited), await ask(gateway, "GET", b"/api/v2/dags", limited)] == [
        200,
        403,
    ]


@pytest.mark.parametrize(("name", "password"), [("alice", "wonder"), ("etl-robot", "wonder")])
async def test_a_password_is_no_clients_secret(gateway: Gateway, name: str, password: str) -> None:
    sent = await post(gateway, {"grant_type": CLIENT_CREDENTIALS}, basic(name, password))

    assert (sent.status, json.loads(sent.body)["error"]) == (401, "invalid_client")


async def test_a_role_account_that_is_deleted_takes_its_workloads_with_it(
    gateway: Gateway, settings: Settings, issuer: StubIssuer
) -> None:
    token = token_of("github", iss=issuer.url)
    accounts(settings).delete("etl-robot")
    await asyncio.sleep(BELIEVED_S + 0.1)

    status = await ask(gateway, "POST", RUNS, token)

    assert status == 403


async def test_a_workload_cannot_make_itself_a_credential_that_outlives_its_token(
    gateway: Gateway, issuer: StubIssuer
) -> None:
    token = token_of("aws", iss=issuer.url)
    headers = [(b"authorization", f"Bearer {token}".encode()), (b"content-type", b"application/json")]
    scope = http_scope(b"/compat-auth/api/personal-tokens", headers, method="POST")

    sent = await call(gateway, scope, b'{"name": "for ever"}')

    assert sent.status == 403
    assert await ask(gateway, "GET", b"/api/v2/dags", token) == 200


async def test_the_metadata_names_the_grants(gateway: Gateway) -> None:
    sent = await call(gateway, http_scope(b"/.well-known/oauth-authorization-server"))

    found = json.loads(sent.body)
    assert {CLIENT_CREDENTIALS, JWT_BEARER, EXCHANGE_GRANT} <= set(found["grant_types_supported"])
    assert {"client_secret_basic", "client_secret_post"} <= set(found["token_endpoint_auth_methods_supported"])


def test_a_flask_app_knows_the_job_its_account_and_its_limits(settings: Settings, issuer: StubIssuer) -> None:
    app = flask.Flask("site")
    CompatAuth(app, settings)

    @app.post("/api/v2/dags/nightly/dagRuns")
    @requires_authentication
    def trigger() -> dict[str, object]:
        return {"name": current_identity.username, "role": current_identity.role_account}

    @app.get("/secret")
    @requires_authentication
    def secret() -> str:
        return "secret"

    client = app.test_client()
    job = {"Authorization": f"Bearer {token_of('github', iss=issuer.url)}"}
    other = {"Authorization": f"Bearer {token_of('github', iss=issuer.url, repository_id='75')}"}

    accepted = client.post("/api/v2/dags/nightly/dagRuns", headers=job)

    assert (accepted.status_code, accepted.json) == (200, {"name": "etl-robot", "role": True})
    assert client.get("/secret", headers=job).status_code == 403
    assert client.post("/api/v2/dags/nightly/dagRuns", headers=other).status_code == 401

"""Inside Airflow: what says who the caller is, and was not believed, does not reach Airflow, whatever the path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from compat_auth.airflow.middleware import AirflowMiddleware
from compat_auth.composition.rules import gate_rules
from compat_auth.config import parse_settings
from compat_auth.crypto.personal_token_format import make_text
from compat_auth.errors import ConfigError
from compat_auth.http.asgi import RawHeaders
from compat_auth.http.headers import take_in
from support.certificates import Authority
from support.stand_ins import GOOD, Behind, accepting, call, http_scope, make_airflow, make_decider, rules

PATHS = [b"/api/v2/dags", b"/ui/dags", b"/auth/login", b"/execution/run", b"/", b"/pluginsv2/x"]
OWN_JWT = (b"authorization", b"Bearer eyJhbGciOiJIUzUxMiJ9.e30.c2ln")
CREDENTIALS: list[RawHeaders] = [[], [OWN_JWT], [(b"authorization", GOOD.encode())], [(b"cookie", b"_token=x")]]
IDENTITY = [
    "x-remote-user",
    "remote-user",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-access-token",
    "x-goog-iap-jwt-assertion",
    "x-goog-authenticated-user-email",
    "cf-access-jwt-assertion",
    "x-amzn-oidc-data",
    "x-amzn-oidc-identity",
    "x-pomerium-jwt-assertion",
    "x-ms-client-principal",
    "x-ms-token-aad-id-token",
    "x-auth-request-user",
    "x-authentik-username",
    "x-ssl-client-cert",
    "x-ssl-client-verify",
    "x-ssl-client-s-dn",
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
    "client-cert",
    "client-cert-chain",
    "ssl-client-cert",
    "x-client-dn",
    "tailscale-user-login",
    "impersonate-user",
    "x_remote_user",
    "x_forwarded_user",
    "x.forwarded.user",
    "x-forwarded_user",
    "x_ssl_client_cert",
    "x_goog_iap_jwt_assertion",
    "sm_user",
    "oidc_claim_sub",
    "x-compat-auth-proxy-secret",
    "x_compat_auth_x",
]
OF_APPLICATIONS = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-prefix",
    "x-forwarded-port",
    "forwarded",
    "x-real-ip",
    "x-request-id",
    "x-api-key",
    "airflow-api-version",
    "user-agent",
    "x-csrf-token",
    "x-custom",
    "content-type",
    "range",
    "x-http-method-override",
]


def plugin(behind: Behind, **changed: Any) -> AirflowMiddleware:
    named = replace(rules(), api_key=b"x-api-key", **changed)
    return make_airflow(behind, make_decider(accepting()), named, ["/api/"], trusted=["10.0.0.0/8"])


def reached(behind: Behind) -> list[bytes]:
    return [name for scope in behind.scopes for name, _ in scope["headers"]]


async def send(app: AirflowMiddleware, path: bytes, headers: Sequence[tuple[bytes, bytes]], **more: Any) -> int:
    return (await call(app, {**http_scope(path, list(headers)), **more})).status


@pytest.mark.parametrize("client", ["192.0.2.1", "10.0.0.5"])
@pytest.mark.parametrize("credential", CREDENTIALS, ids=["none", "airflows-jwt", "ours", "cookie"])
@pytest.mark.parametrize("path", PATHS)
async def test_no_identity_header_reaches_airflow(path: bytes, credential: RawHeaders, client: str) -> None:
    behind = Behind()
    app = plugin(behind)

    for name in IDENTITY:
        await send(app, path, [*credential, (name.encode(), b"admin")], client=(client, 5000))

    assert {name.encode() for name in IDENTITY}.isdisjoint(reached(behind))


@pytest.mark.parametrize("path", PATHS[1:])
async def test_what_applications_and_proxies_say_besides_reaches_airflow_unchanged(path: bytes) -> None:
    behind = Behind()
    headers = [(name.encode(), b"1") for name in OF_APPLICATIONS]
    scope = http_scope(path, headers)

    await call(plugin(behind), scope)

    assert behind.scopes[0]["headers"] == scope["headers"]


@pytest.mark.parametrize("name", [b"x-api-key", b"x_api_key", b"x.api.key"])
@pytest.mark.parametrize("path", PATHS[1:])
async def test_a_personal_token_in_its_header_reaches_airflow_on_no_path(path: bytes, name: bytes) -> None:
    behind, token = Behind(), make_text().value

    await send(plugin(behind), path, [(name, token.encode())])

    assert token not in str(behind.scopes)


@pytest.mark.parametrize("path", PATHS)
async def test_a_header_that_the_settings_name_is_dropped_in_every_spelling(path: bytes) -> None:
    behind = Behind()
    app = plugin(behind, identity_headers=frozenset({b"caller-name"}))

    for name in (b"caller-name", b"caller_name", b"caller.name"):
        await send(app, path, [(name, b"admin")])

    assert not {b"caller-name", b"caller_name", b"caller.name"}.intersection(reached(behind))


async def test_a_websocket_gets_none_either() -> None:
    behind = Behind()
    scope = {**http_scope(b"/ui/x", [(b"x-forwarded-user", b"admin")]), "type": "websocket"}

    await call(plugin(behind), scope)

    assert reached(behind) == [b"host"]


async def test_a_header_that_airflow_reads_itself_reaches_it_in_that_spelling_alone() -> None:
    behind = Behind()
    app = plugin(behind, upstream_reads=frozenset({b"x-forwarded-user"}))
    others = [(b"x_forwarded_user", b"eve"), (b"x-forwarded-email", b"eve@example.org")]

    await send(app, b"/auth/login", [(b"x-forwarded-user", b"alice"), *others])

    assert reached(behind) == [b"host", b"x-forwarded-user"]


async def test_beside_an_identity_of_ours_airflow_reads_no_other() -> None:
    behind = Behind()
    app = plugin(behind, upstream_reads=frozenset({b"x-forwarded-user"}))

    status = await send(app, b"/api/v2/dags", [(b"authorization", GOOD.encode()), (b"x-forwarded-user", b"admin")])

    assert (status, b"x-forwarded-user" in reached(behind)) == (200, False)


def test_the_settings_say_which_headers_airflow_reads() -> None:
    settings = parse_settings({"upstream": {"reads_headers": ["X-Forwarded-User"]}}, origin="test")

    assert gate_rules(settings).upstream_reads == {b"x-forwarded-user"}
    with pytest.raises(ConfigError, match="Authorization means something else"):
        parse_settings({"upstream": {"reads_headers": "Authorization"}}, origin="test")


async def test_a_certificate_stays_with_the_gate() -> None:
    behind = Behind()
    pem = Authority().issue().escaped.encode()

    await send(plugin(behind), b"/ui/dags", [(b"x-ssl-client-cert", pem)])

    assert pem not in str(behind.scopes).encode()


@pytest.mark.parametrize("name", [name for name in IDENTITY if "_" not in name and "." not in name])
def test_the_plugin_drops_what_the_gateway_drops(name: str) -> None:
    assert take_in([(b"host", b"gateway.example"), (name.encode(), b"admin")]).kept == []

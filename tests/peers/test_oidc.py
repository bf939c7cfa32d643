"""Access tokens of a real OpenID provider, through a real gateway."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec

from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway
from support.peers.openid_provider import AUDIENCE, GATEWAY_CLIENT, GATEWAY_SECRET, OpenIdProvider, resource
from support.peers.openid_users import gateway_settings

RECOVERY_S = 15
MakeGateway = Callable[..., Gateway]


@pytest.fixture
def oidc_gateway(
    gateway: StartGateway, oidc_provider: OpenIdProvider, echo_upstream: EchoUpstream, airflow_users: str
) -> MakeGateway:
    """Start a gateway that believes the provider; arguments change the issuer's settings."""

    def start(**changed: Any) -> Gateway:
        issuer = {
            "issuer": oidc_provider.issuer,
            "audience": AUDIENCE,
            "scope": "read",
            "username_claim": "preferred_username",
            "introspection": True,
            "client_id": GATEWAY_CLIENT,
            "client_secret": GATEWAY_SECRET,
            "subjects": {"machine": "machine-user"},
            **changed,
        }
        return gateway(
            gateway_settings(echo_upstream, airflow_users, ["basic_auth", "oidc"], oidc={"issuers": [issuer]})
        )

    return start


def ask(gateway: Gateway, token: str) -> requests.Response:
    return gateway.get("/api/v2/dags", headers={"Authorization": f"Bearer {token}"})


def until_status(status: int, gateway: Gateway, token: str) -> requests.Response:
    """Ask until the status comes, for as long as a recovery may take."""
    deadline = time.monotonic() + RECOVERY_S
    while (answer := ask(gateway, token)).status_code != status and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_a_users_signed_access_token_arrives_as_that_user(
    oidc_gateway: MakeGateway, oidc_provider: OpenIdProvider, algorithm: str
) -> None:
    token = oidc_provider.access_token("alice", resource=resource(algorithm=algorithm))

    answer = ask(oidc_gateway(), token)

    assert (answer.status_code, answer.json()["sub"]) == (200, "1")


@pytest.mark.parametrize("kind", ["jwt", "opaque"])
def test_a_machine_arrives_as_the_user_it_is_linked_to(
    oidc_gateway: MakeGateway, oidc_provider: OpenIdProvider, kind: str
) -> None:
    token = oidc_provider.machine_token(resource(kind))

    answer = ask(oidc_gateway(), token)

    assert (answer.status_code, answer.json()["sub"]) == (200, "5")


@pytest.mark.parametrize("kind", ["jwt", "opaque"])
def test_a_machine_that_is_linked_to_nobody_is_refused(
    oidc_gateway: MakeGateway, oidc_provider: OpenIdProvider, kind: str
) -> None:
    token = oidc_provider.machine_token(resource(kind), client="other-machine")

    assert ask(oidc_gateway(), token).status_code == 401


def test_an_opaque_token_arrives_as_its_user_and_is_introspected_once(
    oidc_gateway: MakeGateway, oidc_provider: OpenIdProvider
) -> None:
    token = oidc_provider.access_token("alice", resource=resource("opaque"))
    before = oidc_provider.asked("/token/introspection")

    answers = [ask(oidc_gateway(), token) for _ in range(5)]

    assert [(answer.status_code, answer.json()["sub"]) for answer in answers] == [(200, "1")] * 5
    assert oidc_provider.asked("/token/introspection") == before + 1


def test_an_opaque_token_arrives_by_user_info_where_no_scope_is_asked_for(
    oidc_gateway: MakeGateway, oidc_provider: OpenIdProvider
) -> None:
    gateway = oidc_gateway(introspection=False, userinfo=True, scope="")

    answer = ask(gateway, oidc_provider.access_token("alice"))

    assert (answer.status_code, answer.json()["sub"]) == (200, "1")


@pytest.mark.parametrize("kind", ["jwt", "opaque"])
@pytest.mark.parametrize("user", ["stranger", "disabled"])
def test_a_user_whom_airflow_does_not_know_or_has_disabled_is_forbidden(
    oidc_gateway: MakeGateway, oidc_provider: OpenIdProvider, user: str, kind: str
) -> None:
    token = oidc_provider.access_token(user, resource=resource(kind))

    assert ask(oidc_gateway(), token).status_code == 403


def test_an_id_token_is_no_access_token_and_the_refusal_says_invalid_token(
    oidc_gateway: MakeGateway, oidc_provider: OpenIdProvider
) -> None:
    answer = ask(oidc_gateway(), oidc_provider.id_token("alice"))

    assert answer.status_code == 401
    challenges = answer.headers["WWW-Authenticate"]
    assert 'Bearer realm="Airflow", error="invalid_token"' in challenges
    assert "Basic realm" in challenges


def test_without_a_credential_the_challenge_names_no_error(oidc_gateway: MakeGateway) -> None:
    answer = oidc_gateway().get("/api/v2/dags")

    assert answer.status_code == 401
    assert 'Bearer realm="Airflow"' in answer.headers["WWW-Authenticate"]
    assert "error" not in answer.headers["WWW-Authenticate"]


def test_an_opaque_token_for_another_application_is_refused(
    oidc_gateway: MakeGateway, oidc_provider: OpenIdProvider
) -> None:
    token = oidc_provider.access_token("alice", client="other")

    assert ask(oidc_gateway(), token).status_code == 401


def test_a_token_without_the_scope_is_refused(oidc_gateway: MakeGateway, oidc_provider: OpenIdProvider) -> None:
    token = oidc_provider.machine_token(resource("opaque"), scope="write")

    assert ask(oidc_gateway(), token).status_code == 401


def test_a_revoked_opaque_token_is_not_vouched_for(oidc_gateway: MakeGateway, oidc_provider: OpenIdProvider) -> None:
    token = oidc_provider.access_token("alice", resource=resource("opaque"))
    oidc_provider.revoke(token)

    answer = ask(oidc_gateway(), token)

    assert answer.json() == {"detail": "Invalid JWT token"}  # the upstream's own words: it was not ours


def airflows_own(sub: str) -> str:
    """Return a token that Airflow has signed itself."""
    claims = {"sub": sub, "aud": "apache-airflow", "iat": int(time.time()), "exp": int(time.time()) + 60}
    return jwt.encode(claims, JWT_SECRET, algorithm="HS512")


def test_airflows_own_token_passes(oidc_gateway: MakeGateway) -> None:
    answer = ask(oidc_gateway(), airflows_own("77"))

    assert (answer.status_code, answer.json()["sub"]) == (200, "77")


def test_random_key_ids_do_not_reach_the_provider(oidc_gateway: MakeGateway, oidc_provider: OpenIdProvider) -> None:
    gateway = oidc_gateway()
    assert ask(gateway, oidc_provider.access_token("alice", resource=resource())).status_code == 200
    before = oidc_provider.asked("/jwks")

    statuses = {ask(gateway, forged(oidc_provider, f"random-{number}")).status_code for number in range(30)}

    assert statuses == {401}
    assert oidc_provider.asked("/jwks") - before <= 3


def forged(provider: OpenIdProvider, kid: str) -> str:
    """Return a token in which all but the signature is right."""
    now = int(time.time())
    claims = {"iss": provider.issuer, "aud": AUDIENCE, "sub": "1001", "iat": now, "exp": now + 60, "scope": "read"}
    key = ec.generate_private_key(ec.SECP256R1())
    return jwt.encode(claims, key, algorithm="ES256", headers={"kid": kid, "typ": "at+jwt"})


def test_new_keys_are_believed_soon_and_old_ones_until_they_are_gone(
    oidc_gateway: MakeGateway, oidc_provider: OpenIdProvider
) -> None:
    old = oidc_provider.access_token("alice", resource=resource())
    gateway = oidc_gateway()
    assert ask(gateway, old).status_code == 200
    oidc_provider.rotate()

    new = until_status(200, gateway, oidc_provider.access_token("carol", resource=resource()))

    assert (new.status_code, new.json()["sub"]) == (200, "3")
    assert ask(gateway, old).status_code == 200


def test_a_stopped_provider_is_503_for_whom_it_must_be_asked_and_nothing_for_the_others(
    oidc_gateway: MakeGateway, oidc_provider: OpenIdProvider
) -> None:
    gateway = oidc_gateway()
    checked = oidc_provider.access_token("alice", resource=resource("opaque"))
    unchecked = oidc_provider.access_token("carol", resource=resource("opaque"))
    signed = oidc_provider.access_token("carol", resource=resource())
    assert [ask(gateway, token).status_code for token in (checked, oidc_provider.machine_token(resource()))] == [
        200,
        200,
    ]

    oidc_provider.stop()
    try:
        unavailable = ask(gateway, unchecked)
        others = [ask(gateway, token).status_code for token in (checked, signed)]
    finally:
        oidc_provider.start()

    assert (unavailable.status_code, unavailable.headers["Retry-After"]) == (503, "5")
    assert others == [200, 200]
    again = oidc_provider.access_token("carol", resource=resource("opaque"))
    assert until_status(200, gateway, again).status_code == 200


def test_a_gateway_that_starts_before_its_provider_answers_503_and_recovers(
    oidc_gateway: MakeGateway, oidc_provider: OpenIdProvider
) -> None:
    token = oidc_provider.access_token("alice", resource=resource())
    oidc_provider.stop()
    try:
        # A setting of its own makes it a gateway of its own.
        gateway = oidc_gateway(clients=["web-RS256"])
        unavailable = ask(gateway, token)
    finally:
        oidc_provider.start()

    recovered = until_status(200, gateway, token)

    assert (unavailable.status_code, unavailable.headers["Retry-After"]) == (503, "5")
    assert recovered.status_code == 200


def test_a_provider_that_hangs_under_load_holds_up_nobody_else(
    oidc_gateway: MakeGateway, oidc_provider: OpenIdProvider
) -> None:
    gateway = oidc_gateway()
    opaque = [oidc_provider.access_token("alice", resource=resource("opaque")) for _ in range(16)]
    assert ask(gateway, opaque[0]).status_code == 200
    pid = oidc_provider.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(20) as pool:
            hanging = [pool.submit(ask, gateway, token) for token in opaque[1:]]
            time.sleep(0.5)
            began = time.monotonic()
            others = [ask(gateway, airflows_own(str(number))) for number in range(10)] + [ask(gateway, opaque[0])]
            took_s = time.monotonic() - began
            unavailable = [future.result() for future in hanging]
    finally:
        os.kill(pid, signal.SIGCONT)

    assert [answer.status_code for answer in others] == [200] * 11
    assert took_s < 3
    assert {answer.status_code for answer in unavailable} == {503}
    assert all(answer.headers["Retry-After"] for answer in unavailable)
    assert until_status(200, gateway, opaque[1]).status_code == 200

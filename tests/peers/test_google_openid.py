"""ID tokens of a real OpenID provider under Google's name, through a real gateway."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway
from support.peers.openid_provider import AUDIENCE, OpenIdProvider, resource
from support.peers.openid_users import gateway_settings

RECOVERY_S = 15
MakeGateway = Callable[..., Gateway]


@pytest.fixture
def google_gateway(
    gateway: StartGateway, google: OpenIdProvider, echo_upstream: EchoUpstream, airflow_users: str
) -> MakeGateway:
    """Start a gateway that believes Google; arguments change its settings."""

    def start(**changed: Any) -> Gateway:
        settings = {
            "audience": ["web-RS256", "web-ES256"],
            "hosted_domains": ["example.org"],
            "jwks_url": google.jwks_url,
            **changed,
        }
        backends = ["session", "basic_auth", "google_openid"]
        return gateway(gateway_settings(echo_upstream, airflow_users, backends, google_openid=settings))

    return start


def ask(gateway: Gateway, token: str) -> requests.Response:
    return gateway.get("/api/v2/dags", headers={"Authorization": f"Bearer {token}"})


def test_a_google_user_arrives_as_the_airflow_user_of_that_address(
    google_gateway: MakeGateway, google: OpenIdProvider
) -> None:
    answer = ask(google_gateway(), google.id_token("alice"))

    assert (answer.status_code, answer.json()["sub"]) == (200, "1")


@pytest.mark.parametrize(
    ("user", "client", "status"),
    [
        pytest.param("bob", "web-RS256", 401, id="address-not-verified"),
        pytest.param("carol", "web-RS256", 403, id="no-hosted-domain"),
        pytest.param("disabled", "web-RS256", 403, id="disabled-in-airflow"),
        pytest.param("stranger", "web-RS256", 403, id="unknown-to-airflow"),
        pytest.param("service", "web-RS256", 403, id="service-account-not-listed"),
        pytest.param("alice", "other", 401, id="for-another-application"),
        pytest.param("alice", "web-ES256", 401, id="algorithm-that-google-does-not-use"),
    ],
)
def test_whoever_should_not_come_in_is_refused(
    google_gateway: MakeGateway, google: OpenIdProvider, user: str, client: str, status: int
) -> None:
    assert ask(google_gateway(), google.id_token(user, client=client)).status_code == status


def test_a_service_account_that_is_listed_arrives_as_its_user(
    google_gateway: MakeGateway, google: OpenIdProvider
) -> None:
    gateway = google_gateway(service_accounts=["robot@project.iam.gserviceaccount.com"])

    answer = ask(gateway, google.id_token("service"))

    assert (answer.status_code, answer.json()["sub"]) == (200, "6")


def test_a_pinned_account_keeps_its_user_and_another_account_cannot_take_the_name(
    google_gateway: MakeGateway, google: OpenIdProvider
) -> None:
    gateway = google_gateway(subjects={"1005": "alice@example.org"})

    answers = [ask(gateway, google.id_token(user)) for user in ("stranger", "alice")]

    assert answers[0].json()["sub"] == "1"
    assert answers[1].status_code == 403


def test_a_malformed_bearer_is_left_to_the_upstream(google_gateway: MakeGateway) -> None:
    answer = ask(google_gateway(), "a.b.c")

    assert answer.json() == {"detail": "Invalid JWT token"}  # the upstream's own words


def test_a_refused_token_is_told_so_beside_every_other_challenge(
    google_gateway: MakeGateway, google: OpenIdProvider
) -> None:
    answer = ask(google_gateway(), google.id_token("bob"))

    assert 'Bearer realm="Airflow", error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert 'Basic realm="Airflow"' in answer.headers["WWW-Authenticate"]


def test_google_down_is_503_until_its_keys_are_known_and_nothing_afterwards(
    google_gateway: MakeGateway, google: OpenIdProvider
) -> None:
    first, second = google.id_token("alice"), google.id_token("alice")
    # A setting of its own makes it a gateway of its own, which has seen no key yet.
    gateway = google_gateway(hosted_domains=["example.org", "example.net"])
    google.stop()
    try:
        unavailable = ask(gateway, first)
    finally:
        google.start()
    deadline = time.monotonic() + RECOVERY_S
    while (recovered := ask(gateway, first)).status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    google.stop()
    try:
        later = ask(gateway, second)
    finally:
        google.start()

    assert (unavailable.status_code, unavailable.headers["Retry-After"]) == (503, "5")
    assert (recovered.status_code, later.status_code) == (200, 200)


@pytest.mark.parametrize("order", [["google_openid", "oidc"], ["oidc", "google_openid"]])
def test_several_bearer_backends_take_their_own_tokens_in_any_order(
    order: list[str],
    gateway: StartGateway,
    google: OpenIdProvider,
    oidc_provider: OpenIdProvider,
    echo_upstream: EchoUpstream,
    airflow_users: str,
) -> None:
    running = gateway(
        gateway_settings(
            echo_upstream,
            airflow_users,
            order,
            google_openid={"audience": ["web-RS256"], "jwks_url": google.jwks_url},
            oidc={"issuers": [{"issuer": oidc_provider.issuer, "audience": AUDIENCE, "subjects": {"1003": "carol"}}]},
        )
    )
    tokens = [google.id_token("alice"), oidc_provider.access_token("carol", resource=resource())]

    answers = [ask(running, token) for token in tokens]

    assert [answer.json()["sub"] for answer in answers] == ["1", "3"]

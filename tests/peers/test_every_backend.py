"""Every backend in one chain, in front of a live Airflow 3.3 with FAB: each client as the right user.

In two orders, one the reverse of the other, so that any two backends stand both ways round.
"""

from __future__ import annotations

import base64
import os
import subprocess
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests_kerberos

from support.peers.airflows import JWT_SECRET, Airflow3
from support.peers.fab import added_user, changed_user
from support.peers.gateway import Gateway, StartGateway, call
from support.peers.kerberos import Kdc
from support.peers.kerberos_client import Tickets, negotiate
from support.peers.openid_provider import AUDIENCE, GATEWAY_CLIENT, GATEWAY_SECRET, OpenIdProvider, resource

pytestmark = pytest.mark.peer

CURL_S = 60
BACKENDS = ["session", "basic_auth", "kerberos", "google_openid", "oidc", "token_handler"]
HANDLER = """
def find_session(token):
    users = {"site-token-of-juergen": "jürgen", "site-token-of-disabled": "disabled"}
    return {"uid": users[token]} if token in users else None
"""


@dataclass(frozen=True, slots=True)
class Everything:
    """The one gateway, and those who vouch for its callers."""

    gateway: Gateway
    url: str
    airflow: Airflow3
    tickets: Tickets
    google: OpenIdProvider
    oidc: OpenIdProvider
    backends: list[str]


@pytest.fixture(scope="module", params=[BACKENDS, BACKENDS[::-1]], ids=["as listed", "reversed"])
def everything(
    request: pytest.FixtureRequest,
    airflow_fab: Airflow3,
    gateway: StartGateway,
    kdc: Kdc,
    google: OpenIdProvider,
    oidc_provider: OpenIdProvider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Everything]:
    folder: Path = tmp_path_factory.mktemp("handler")
    (folder / "site_tokens.py").write_text(HANDLER, encoding="utf-8")
    started = gateway(
        {
            "auth_backends": request.param,
            "upstream": {"url": airflow_fab.url},
            "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
            "basic_auth": {"directories": ["airflow_db"], "cache_ttl_s": 0},
            "airflow_db": {"url": airflow_fab.database_url},
            "kerberos": {"keytab": str(kdc.keytab("HTTP/localhost")), "replay_cache": str(kdc.folder / "replays-all")},
            "google_openid": {"audience": ["web-RS256"], "jwks_url": google.jwks_url},
            "oidc": {
                "cache_ttl_s": 1,
                "issuers": [
                    {
                        "issuer": oidc_provider.issuer,
                        "audience": AUDIENCE,
                        "scope": "read",
                        "username_claim": "preferred_username",
                        "introspection": True,
                        "client_id": GATEWAY_CLIENT,
                        "client_secret": GATEWAY_SECRET,
                    }
                ],
            },
            "token_handler": {"handler": "site_tokens:find_session"},
        },
        {**kdc.env, "PYTHONPATH": str(folder)},
    )
    with added_user(airflow_fab, "alice", "pässwörd", "alice@example.org"):
        url = started.url.replace("127.0.0.1", "localhost")
        yield Everything(started, url, airflow_fab, Tickets(kdc), google, oidc_provider, request.param)


def basic(everything: Everything) -> dict[str, str]:
    del everything
    pair = base64.b64encode("alice:pässwörd".encode()).decode("ascii")
    return {"Authorization": f"Basic {pair}"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def ticket(everything: Everything) -> dict[str, str]:
    return negotiate(everything.tickets.token("jürgen"))


def google_token(everything: Everything) -> dict[str, str]:
    # Two ID tokens of one second are one token, and one that was shown is believed for some minutes.
    time.sleep(1.1)
    return bearer(everything.google.id_token("alice"))


def signed_token(everything: Everything) -> dict[str, str]:
    return bearer(everything.oidc.access_token("alice", resource=resource("jwt")))


def opaque_token(everything: Everything) -> dict[str, str]:
    return bearer(everything.oidc.access_token("alice", resource=resource("opaque")))


def site_token(everything: Everything) -> dict[str, str]:
    del everything
    return bearer("site-token-of-juergen")


Present = Callable[[Everything], dict[str, str]]
CLIENTS: list[tuple[Present, str, str]] = [
    (basic, "alice", "basic_auth"),
    (ticket, "jürgen", "kerberos"),
    (google_token, "alice", "google_openid"),
    (signed_token, "alice", "oidc"),
    (opaque_token, "alice", "oidc"),
    (site_token, "jürgen", "token_handler"),
]
every_client = pytest.mark.parametrize(("present", "user", "backend"), CLIENTS)


@every_client
def test_every_kind_of_credential_reads_airflow_s_dags_as_the_right_user(
    everything: Everything, present: Present, user: str, backend: str
) -> None:
    dags = call("GET", f"{everything.url}/api/v2/dags", headers=present(everything))
    who = call("GET", f"{everything.url}/compat-auth/whoami", headers=present(everything)).json()

    assert dags.status_code == 200, dags.text
    assert {dag["dag_id"] for dag in dags.json()["dags"]} == {"tiny", "tiny_daily"}
    assert (who["username"], who["backend"], who["directory"]) == (user, backend, "airflow_db")


@every_client
def test_a_user_whom_airflow_has_disabled_comes_in_by_no_backend(
    everything: Everything, present: Present, user: str, backend: str
) -> None:
    with changed_user(everything.airflow, user, active=False):
        answer = call("GET", f"{everything.url}/compat-auth/whoami", headers=present(everything))

    assert answer.status_code == (401 if backend == "basic_auth" else 403)
    assert user not in answer.text


def test_one_401_invites_every_kind_of_credential(everything: Everything) -> None:
    answer = call("GET", f"{everything.url}/api/v2/dags")

    challenges = answer.headers["WWW-Authenticate"]
    assert answer.status_code == 401
    assert [scheme for scheme in ("Basic", "Negotiate", "Bearer") if scheme in challenges] == [
        "Basic",
        "Negotiate",
        "Bearer",
    ]


def test_curl_and_a_client_that_checks_the_server_come_in_with_a_ticket(
    everything: Everything, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = everything.tickets.environ("jürgen")
    command = ["curl", "--silent", "--fail", "--noproxy", "*", "--negotiate", "--user", ":"]
    curl = subprocess.run(
        [*command, f"{everything.url}/api/v2/dags"],
        env={**os.environ, **environment},
        capture_output=True,
        check=True,
        timeout=CURL_S,
    )
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    required = requests_kerberos.HTTPKerberosAuth(mutual_authentication=requests_kerberos.REQUIRED)

    answer = call("GET", f"{everything.url}/api/v2/dags", auth=required)

    assert b'"dag_id":"tiny"' in curl.stdout
    assert answer.status_code == 200


def test_airflow_s_own_token_passes_the_whole_chain_unchanged(everything: Everything) -> None:
    login = {"username": "admin", "password": "admin"}
    token = call("POST", f"{everything.url}/auth/token", json=login).json()["access_token"]

    assert call("GET", f"{everything.url}/api/v2/connections", headers=bearer(token)).status_code == 200


def test_a_provider_that_is_down_is_503_for_its_own_and_nothing_to_the_others(everything: Everything) -> None:
    fresh = opaque_token(everything)
    everything.oidc.stop()
    try:
        theirs = call("GET", f"{everything.url}/api/v2/dags", headers=fresh)
        others = [
            call("GET", f"{everything.url}/api/v2/dags", headers=present(everything)).status_code
            for present in (basic, ticket, google_token)
        ]
        # Opaque, and so possibly the provider's: no later backend is asked while it cannot be.
        is_later = everything.backends.index("token_handler") > everything.backends.index("oidc")
        perhaps_theirs = call("GET", f"{everything.url}/api/v2/dags", headers=site_token(everything))
    finally:
        everything.oidc.start()

    assert (theirs.status_code, others) == (503, [200] * 3)
    assert perhaps_theirs.status_code == (503 if is_later else 200)
    assert int(theirs.headers["Retry-After"]) > 0

"""What every Airflow 3 promises with either auth manager, at each place where we can stand.

One Airflow at a time: 3.3 by default, another by `TEST_AIRFLOW3`. `tests/support/peers/matrix.py` asks all of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from peers.test_gateway_simple import add_user
from support.peers import seed
from support.peers.airflows import JWT_SECRET, Airflow3
from support.peers.gateway import StartGateway, call, run_compat_auth
from support.peers.plugin import make_plugged_python
from support.peers.process import free_port
from support.peers.seed import SIMPLE_USERS

pytestmark = pytest.mark.peer

PLACES = ("exchange", "shared_secret", "key_pair", "plugin")
KINDS = {"fab": seed.FAB, "simple": seed.SIMPLE}
ADMIN, VIEWER, WRONG = ("admin", "admin"), ("viewer", "viewer"), ("admin", "wrong")
KID = "airflow-own"
SEEN_S = 1.5


@dataclass(frozen=True, slots=True)
class Place:
    """One Airflow with one auth manager, and us in one place.

    Attributes:
        url: Where clients come in.
        airflow: What is behind, or what we are in.
        manager: "fab" or "simple".
        name: One of PLACES.
    """

    url: str
    airflow: Airflow3
    manager: str
    name: str

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        return call(method, self.url + path, **options)

    def token(self, **options: Any) -> str:
        answer = self.ask("POST", "/auth/token", **options)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["access_token"])


def gateway_settings(airflow: Airflow3, manager: str, strategy: str, folder: Any) -> dict[str, Any]:
    """Return the gateway's settings as the how-to pages have them; the Airflow is running afterwards."""
    upstream: dict[str, Any] = {"url": airflow.url, "profile": f"airflow-{manager}"}
    settings: dict[str, Any] = {"upstream": upstream, "token": {"strategy": strategy}}
    if strategy == "exchange":
        airflow.restart()
        return {**settings, "basic_auth": {"directories": ["upstream"]}}
    if manager == "fab":
        settings |= {"basic_auth": {"directories": ["airflow_db"]}, "airflow_db": {"url": airflow.database_url}}
    else:
        upstream["roles"] = SIMPLE_USERS
        for name in SIMPLE_USERS:
            add_user(folder / "users", name, name)
        settings |= {"basic_auth": {"directories": ["htpasswd"]}, "htpasswd": {"file": str(folder / "users")}}
    if strategy == "shared_secret":
        airflow.restart()
        settings["token"]["secret"] = JWT_SECRET
        return settings
    private, public, jwks = folder / "airflow.pem", folder / "airflow.pub", folder / "jwks.json"
    key = Ed25519PrivateKey.generate()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    private.chmod(0o600)
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    keys, trusted = str(folder / "keys.json"), f"{public}#kid={KID}"
    run_compat_auth("keys", "create", "--file", keys)
    jwks.write_text(run_compat_auth("keys", "jwks", "--file", keys, "--trusted", trusted))
    airflow.restart(
        AIRFLOW__API_AUTH__JWT_SECRET=None,
        AIRFLOW__API_AUTH__JWT_ALGORITHM="EdDSA",
        AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH=str(private),
        AIRFLOW__API_AUTH__JWT_KID=KID,
        AIRFLOW__API_AUTH__TRUSTED_JWKS_URL=str(jwks),
    )
    settings["token"] |= {"key_file": keys, "trusted_jwks": [trusted]}
    return {**settings, "serve": {"bind": f"127.0.0.1:{free_port()}"}}


@pytest.fixture(scope="module", params=[(kind, name) for kind in KINDS for name in PLACES], ids="-".join)
def place(
    request: pytest.FixtureRequest, gateway: StartGateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    manager, name = request.param
    folder = tmp_path_factory.mktemp(f"{manager}-{name}")
    if name == "plugin":
        airflow = Airflow3(KINDS[manager], folder, make_plugged_python(tmp_path_factory.mktemp("plugged")))
        airflow.restart(AIRFLOW__COMPAT_AUTH__AUTH_BACKENDS="basic_auth")
        yield Place(airflow.url, airflow, manager, name)
    else:
        airflow = Airflow3(KINDS[manager], folder)
        instance = gateway(gateway_settings(airflow, manager, name, folder))
        yield Place(instance.url, airflow, manager, name)
        instance.process.stop()
    airflow.stop()


@pytest.mark.parametrize("path", ["/api/v2/dags", "/api/v1/dags"])
def test_the_right_password_opens_and_no_other(place: Place, path: str) -> None:
    right = [place.ask("GET", path, auth=pair) for pair in (ADMIN, VIEWER)]
    wrong = [place.ask("GET", path, auth=pair) for pair in (WRONG, ("nobody", "admin"), ("admin", ""))]

    assert [answer.status_code for answer in right] == [200, 200]
    assert [answer.status_code for answer in wrong] == [401] * 3
    assert all("Basic" in answer.headers["WWW-Authenticate"] for answer in wrong)


def test_without_a_credential_nobody_reads_anything(place: Place) -> None:
    statuses = {place.ask("GET", path).status_code for path in ("/api/v2/dags", "/api/v1/dags")}

    assert statuses == {401}


def test_the_caller_s_own_role_decides(place: Place) -> None:
    body = {"logical_date": None}

    refused = place.ask("POST", "/api/v2/dags/tiny/dagRuns", json=body, auth=VIEWER)
    allowed = place.ask("POST", "/api/v2/dags/tiny/dagRuns", json=body, auth=ADMIN)
    allowed_v1 = place.ask("POST", "/api/v1/dags/tiny/dagRuns", json={}, auth=ADMIN)

    assert (refused.status_code, allowed.status_code, allowed_v1.status_code) == (403, 200, 200)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"auth": VIEWER}, id="header"),
        pytest.param({"json": {"username": "viewer", "password": "viewer"}}, id="json"),
        pytest.param({"data": {"grant_type": "password", "username": "viewer", "password": "viewer"}}, id="form"),
    ],
)
@pytest.mark.parametrize("path", ["/auth/token", "/auth/token/cli"])
def test_a_password_gets_a_token_that_works(place: Place, path: str, options: dict[str, Any]) -> None:
    answer = place.ask("POST", path, **options)

    assert answer.status_code == 201, answer.text
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert place.ask("GET", "/api/v2/dags", headers=bearer).status_code == 200
    assert place.ask("GET", "/api/v1/dags", headers=bearer).status_code == 200
    assert (
        place.ask("POST", "/api/v2/dags/tiny/dagRuns", headers=bearer, json={"logical_date": None}).status_code == 403
    )


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"auth": WRONG}, id="header"),
        pytest.param({"json": {"username": "admin", "password": "wrong"}}, id="json"),
        pytest.param({"data": {"username": "admin", "password": "wrong"}}, id="form"),
    ],
)
def test_a_wrong_password_gets_none(place: Place, options: dict[str, Any]) -> None:
    answer = place.ask("POST", "/auth/token", **options)

    assert answer.status_code == 401
    assert "access_token" not in answer.text


@pytest.mark.parametrize(
    "body", ["5", "[]", "{", '{"username": 5, "password": "x"}'], ids=["5", "list", "open", "name"]
)
def test_a_body_that_is_no_login_is_the_client_s_fault(place: Place, body: str) -> None:
    answer = place.ask("POST", "/auth/token", data=body, headers={"Content-Type": "application/json"})

    assert 400 <= answer.status_code < 500


def test_one_user_may_log_in_again_at_once(place: Place) -> None:
    pair = {"username": "viewer", "password": "viewer"}

    # One after the other: at the FAB provider of 3.1.8 logins at one moment disturb each other.
    answers = [place.ask("POST", "/auth/token", json=pair) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [201] * 6


def test_a_revoked_token_is_refused_and_a_later_one_is_not(place: Place) -> None:
    token = place.token(json={"username": "viewer", "password": "viewer"})
    time.sleep(SEEN_S)
    later = place.token(json={"username": "viewer", "password": "viewer"})

    place.ask("POST", "/compat-auth/revoke", data={"token": token})
    time.sleep(SEEN_S)
    statuses = [
        place.ask("GET", "/api/v2/dags", headers={"Authorization": f"Bearer {text}"}).status_code
        for text in (token, later)
    ]

    assert statuses == [401, 200]


def test_airflow_s_own_token_goes_on_working(place: Place) -> None:
    answer = call("POST", f"{place.airflow.url}/auth/token", json={"username": "viewer", "password": "viewer"})

    assert answer.status_code == 201, answer.text
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert place.ask("GET", "/api/v2/dags", headers=bearer).status_code == 200


def test_a_forged_token_opens_nothing(place: Place) -> None:
    answer = place.ask("GET", "/api/v2/dags", headers={"Authorization": "Bearer e30.eyJzdWIiOiIxIn0.c2ln"})

    assert answer.status_code in (401, 403)


def test_users_of_airflow_2_s_api_are_there_or_the_answer_says_why_not(place: Place) -> None:
    answer = place.ask("GET", "/api/v1/users", auth=ADMIN)

    found = json.loads(answer.text)
    if place.manager == "simple":
        assert (answer.status_code, "FabAuthManager" in found["detail"]) == (400, True)
    elif seed.AIRFLOW3 == "airflow30":
        assert answer.status_code == 401
        assert "Airflow 3.0 accepts neither" in found["detail"]
    else:
        assert answer.status_code == 200
        assert {"admin", "viewer"} <= {user["username"] for user in found["users"]}

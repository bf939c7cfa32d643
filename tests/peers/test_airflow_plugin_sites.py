"""The plugin in an Airflow as sites have it: a path in front, tickets, a module of their own, and what paths require."""

import json
import os
import subprocess

import pytest
import requests

from support.peers import seed
from support.peers.airflows import Airflow3
from support.peers.fab import changed_user, log_in_to_ui
from support.peers.gateway import call, curl, toml
from support.peers.kerberos import Kdc
from support.peers.kerberos_client import Tickets, negotiate
from support.peers.place import HERE
from support.peers.plugin import StartPlugged

pytestmark = pytest.mark.peer

ROOT = "/team/airflow"
ADMIN = ("admin", "admin")
VIEWER = ("viewer", "viewer")
KEYS = {
    "key-of-admin": {"username": "admin", "active": True},
    "key-of-viewer": {"username": "viewer", "active": True},
    "key-of-ghost": {"username": "ghost", "active": True},
    "key-of-disabled": {"username": "disabled", "active": True},
}
REQUIRED = [{"path": "/api/v2/pools", "methods": ["DELETE"], "all_of": ["role:Admin"]}]
CURL_S = 60


@pytest.fixture(scope="module")
def tickets(kdc: Kdc) -> Tickets:
    return Tickets(kdc)


@pytest.fixture(scope="module")
def airflow(plugged_airflow: StartPlugged, kdc: Kdc, tmp_path_factory: pytest.TempPathFactory) -> Airflow3:
    folder = tmp_path_factory.mktemp("site")
    (folder / "keys.json").write_text(json.dumps(KEYS))
    (folder / "compat_auth.toml").write_text(toml({"require": REQUIRED, "basic_auth": {"realm": "Here"}}))
    return plugged_airflow(
        seed.FAB,
        AIRFLOW__API__AUTH_BACKENDS="airflow.api.auth.backend.kerberos_auth,airflow.api.auth.backend.basic_auth,api_key_login",
        AIRFLOW__API__BASE_URL=f"http://localhost{ROOT}",
        AIRFLOW__COMPAT_AUTH__CONFIG=str(folder / "compat_auth.toml"),
        AIRFLOW__COMPAT_AUTH__KERBEROS__REPLAY_CACHE=str(folder / "replays"),
        AIRFLOW__KERBEROS__KEYTAB=str(kdc.keytab("HTTP/localhost", "airflow/localhost")),
        PYTHONPATH=str(HERE / "legacy_modules"),
        SITE_API_KEYS=str(folder / "keys.json"),
        **kdc.env,
    )


@pytest.fixture(scope="module")
def url(airflow: Airflow3) -> str:
    return airflow.url.replace("127.0.0.1", "localhost") + ROOT


def get(url: str, **options: object) -> requests.Response:
    return call("GET", url, **options)


def key(name: str) -> dict[str, str]:
    return {"X-Api-Key": f"key-of-{name}"}


def test_a_password_comes_in_below_the_path_in_front_and_where_a_proxy_has_taken_it_off(url: str) -> None:
    below = get(f"{url}/api/v2/dags", auth=ADMIN)
    beside = get(f"{url.removesuffix(ROOT)}/api/v2/dags", auth=ADMIN)

    assert (below.status_code, beside.status_code) == (200, 200)
    assert get(f"{url}/compat-auth/whoami", auth=ADMIN).json()["username"] == "admin"


@pytest.mark.parametrize("root", [ROOT, ""], ids=["below", "beside"])
def test_the_api_of_airflow_2_is_answered_below_the_path_in_front_and_beside_it(url: str, root: str) -> None:
    start = url.removesuffix(ROOT) + root

    dags = get(f"{start}/api/v1/dags", auth=ADMIN)
    forbidden = get(f"{start}/api/v1/connections", auth=VIEWER)
    health = get(f"{start}/api/v1/health")

    assert (dags.status_code, forbidden.status_code, health.status_code) == (200, 403, 200)
    assert "tiny" in {dag["dag_id"] for dag in dags.json()["dags"]}
    assert health.json()["metadatabase"]["status"] == "healthy"
    assert "metadatabase" in get(f"{start}/health").json()


def test_what_a_path_requires_holds_for_the_old_name_as_well(url: str) -> None:
    by_password = call("DELETE", f"{url}/api/v1/pools/x", auth=VIEWER)
    by_the_right_role = call("DELETE", f"{url}/api/v1/pools/x", auth=ADMIN)

    assert (by_password.status_code, by_the_right_role.status_code) == (403, 404)


def test_every_backend_of_the_old_list_invites(url: str) -> None:
    answer = curl(f"{url}/api/v2/dags")

    assert answer.status == 401
    assert answer.all("WWW-Authenticate") == ["Negotiate", 'Basic realm="Here", charset="UTF-8"', "X-Api-Key"]


def test_the_pages_and_the_login_of_airflow_work_below_the_path_in_front(url: str) -> None:
    cookies = log_in_to_ui(f"{url}/auth/login/", "viewer", "viewer")

    assert get(f"{url}/ui/auth/me", cookies=cookies).json()["username"] == "viewer"
    assert get(f"{url}/api/v2/dags", cookies=cookies).status_code == 200
    assert '<base href="' in get(f"{url}/", cookies=cookies).text


@pytest.mark.parametrize("service", ["HTTP", "airflow"])
def test_curl_reads_the_dags_with_a_ticket_from_airflow_s_own_keytab(url: str, tickets: Tickets, service: str) -> None:
    command = ["curl", "--silent", "--fail", "--noproxy", "*", "--negotiate", "--user", ":", "--service-name", service]

    done = subprocess.run(
        [*command, f"{url}/api/v2/dags"],
        env={**os.environ, **tickets.environ("jürgen")},
        capture_output=True,
        check=True,
        timeout=CURL_S,
    )

    assert b'"dag_id":"tiny"' in done.stdout


def test_a_ticket_is_answered_so_that_the_client_knows_the_server(url: str, tickets: Tickets) -> None:
    answer = get(f"{url}/api/v2/dags", headers=negotiate(tickets.token("jürgen")))

    assert answer.status_code == 200
    assert answer.headers["WWW-Authenticate"].startswith("Negotiate ")


@pytest.mark.parametrize("path", ["/auth/token", "/auth/token/cli"])
def test_a_ticket_gets_a_token_of_airflow_s(url: str, tickets: Tickets, path: str) -> None:
    by_ticket = call("POST", url + path, headers=negotiate(tickets.token("jürgen")))
    of_nobody = call("POST", url + path, headers=negotiate(tickets.token("unknown")))

    token = by_ticket.json()["access_token"]
    me = get(f"{url}/ui/auth/me", headers={"Authorization": f"Bearer {token}"})

    assert by_ticket.status_code == 201
    assert by_ticket.headers["WWW-Authenticate"].startswith("Negotiate ")
    assert me.json()["username"] == "jürgen"
    assert of_nobody.status_code == 403


def test_a_ticket_is_good_once(url: str, tickets: Tickets) -> None:
    headers = negotiate(tickets.token("jürgen"))

    first, second = (get(f"{url}/api/v2/dags", headers=headers) for _ in range(2))

    assert (first.status_code, second.status_code) == (200, 401)


@pytest.mark.parametrize("user", ["disabled", "unknown", "alice/admin"])
def test_a_ticket_of_somebody_who_is_no_active_user_is_not_enough(url: str, tickets: Tickets, user: str) -> None:
    answer = get(f"{url}/api/v2/dags", headers=negotiate(tickets.token(user)))

    assert answer.status_code == 403


def test_a_module_written_for_airflow_2_runs_unmodified(url: str) -> None:
    viewer = get(f"{url}/compat-auth/whoami", headers=key("viewer")).json()
    allowed = get(f"{url}/api/v2/dags", headers=key("viewer"))
    forbidden = get(f"{url}/api/v2/connections", headers=key("viewer"))
    admin = get(f"{url}/api/v2/connections", headers=key("admin"))

    assert (viewer["username"], viewer["backend"]) == ("viewer", "api_key_login")
    assert (allowed.status_code, forbidden.status_code, admin.status_code) == (200, 403, 200)


@pytest.mark.parametrize("name", ["ghost", "disabled"])
def test_whom_airflow_does_not_know_or_has_disabled_is_refused_whatever_a_module_says(url: str, name: str) -> None:
    assert get(f"{url}/api/v2/dags", headers=key(name)).status_code == 403


def test_a_user_deactivated_a_moment_ago_is_refused_whatever_a_module_says(url: str, airflow: Airflow3) -> None:
    before = get(f"{url}/api/v2/dags", headers=key("viewer"))

    with changed_user(airflow, "viewer", active=0):
        after = get(f"{url}/api/v2/dags", headers=key("viewer"))

    assert (before.status_code, after.status_code) == (200, 403)


@pytest.mark.parametrize("spelling", ["/api/v2/pools/x", "/api/v2/%70ools/x", "/api%2Fv2/pools/x"])
def test_what_a_path_requires_holds_for_every_credential_and_spelling(url: str, spelling: str) -> None:
    token = call("POST", f"{url}/auth/token", json={"username": "admin", "password": "admin"}).json()["access_token"]

    by_password = call("DELETE", url + spelling, auth=VIEWER)
    by_airflow_s_own_token = call("DELETE", url + spelling, headers={"Authorization": f"Bearer {token}"})
    beside = call("DELETE", url.removesuffix(ROOT) + spelling, headers={"Authorization": f"Bearer {token}"})
    by_the_right_role = call("DELETE", f"{url}/api/v2/pools/x", auth=ADMIN)

    assert [answer.status_code for answer in (by_password, by_airflow_s_own_token, beside)] == [403, 403, 403]
    assert by_password.headers["Content-Type"] == "application/problem+json"
    assert by_the_right_role.status_code == 404

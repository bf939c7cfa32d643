"""Old clients in front of a live Airflow 3.3 with FabAuthManager, by every strategy."""

import re
from typing import Any

import pytest
from werkzeug.security import generate_password_hash

from support.peers.airflows import JWT_SECRET, Airflow3
from support.peers.echo import EchoUpstream
from support.peers.fab import (
    CACHE_TTL_S,
    SLACK_S,
    Deployment,
    changed_user,
    deploy,
    exchange,
    log_in_to_ui,
    runs_of,
    seconds_until,
    shared_secret,
)
from support.peers.gateway import Gateway, StartGateway, call, curl

pytestmark = pytest.mark.peer

ADMIN = ("admin", "admin")
VIEWER = ("viewer", "viewer")
MIXED = ("mixed", "mixed")
CHALLENGE = 'Basic realm="Airflow", charset="UTF-8"'
DAGS = "/api/v2/dags"
CONNECTIONS = "/api/v2/connections"
RUNS = "/api/v2/dags/tiny/dagRuns"
WAYS = ["exchange", "shared_secret", "key_pair-file", "key_pair-http"]


@pytest.fixture(scope="module", params=WAYS)
def deployment(
    request: pytest.FixtureRequest,
    airflow_fab: Airflow3,
    keyed_airflow: Airflow3,
    gateway: StartGateway,
    tmp_path_factory: pytest.TempPathFactory,
) -> Deployment:
    """Each way in turn; Airflow is restarted between them only when its settings differ."""
    return deploy(request.param, airflow_fab, keyed_airflow, gateway, tmp_path_factory.mktemp("keys"))


@pytest.fixture
def instance(deployment: Deployment) -> Gateway:
    """The gateway of the deployment."""
    return deployment.gateway


@pytest.fixture
def wide_instance(deployment: Deployment, gateway: StartGateway) -> Gateway:
    """A gateway that guards the UI's own API as well, which tells who Airflow takes the caller for."""
    settings: dict[str, Any] = {**deployment.settings, "serve": {}}
    settings["upstream"] = {**settings["upstream"], "protect": ["/api/", "/ui/"]}
    return gateway(settings)


def log_in(instance: Gateway, name: str, password: str) -> str:
    answer = instance.post("/auth/token", json={"username": name, "password": password})
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["access_token"]
    return token


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def basic(name: str, password: str) -> tuple[bytes, bytes]:
    return name.encode(), password.encode()


def test_curl_with_user_and_password_gets_the_dags(instance: Gateway) -> None:
    answer = curl("-u", "admin:admin", f"{instance.url}{DAGS}")

    assert answer.status == 200
    assert {dag["dag_id"] for dag in answer.json()["dags"]} == {"tiny", "tiny_daily"}


def test_a_browser_without_a_login_finds_the_way_to_that_of_airflow(instance: Gateway) -> None:
    answer = instance.get("/api/v2/auth/login?next=/dags")

    assert answer.status_code == 307
    assert "/auth/login/" in answer.headers["Location"]
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize(
    "credential",
    [
        pytest.param("admin:wrong", id="wrong-password"),
        pytest.param("nobody:admin", id="unknown-user"),
        pytest.param("disabled:disabled", id="disabled-user"),
        pytest.param("admin:", id="no-password"),
        pytest.param("jürgen:passwort", id="not-ascii"),
    ],
)
def test_curl_with_a_bad_credential_is_asked_for_a_password(instance: Gateway, credential: str) -> None:
    answer = curl("-u", credential, f"{instance.url}{DAGS}")

    assert answer.status == 401
    assert answer.all("WWW-Authenticate") == [CHALLENGE]
    assert answer.all("Set-Cookie") == []


def test_curl_without_a_credential_is_asked_for_a_password(instance: Gateway) -> None:
    answer = curl(f"{instance.url}{DAGS}")

    assert answer.status == 401
    assert answer.all("WWW-Authenticate") == [CHALLENGE]


def test_a_viewer_gets_the_refusal_of_airflow_itself(instance: Gateway) -> None:
    answer = curl("-u", "viewer:viewer", f"{instance.url}{CONNECTIONS}")

    assert answer.status == 403
    assert answer.json() == {"detail": "Forbidden"}


@pytest.mark.parametrize(
    ("name", "password", "username"),
    [
        pytest.param("viewer", "viewer", "viewer", id="by-name"),
        pytest.param("VIEWER", "viewer", "viewer", id="upper-case"),
        pytest.param("Mixed@Example.com", "mixed", "mixed", id="by-e-mail"),
        pytest.param("jürgen", "pässwörd", "jürgen", id="not-ascii"),
    ],
)
def test_airflow_knows_the_caller_by_the_right_name(
    wide_instance: Gateway, name: str, password: str, username: str
) -> None:
    answer = curl("-u", f"{name}:{password}", f"{wide_instance.url}/ui/auth/me")

    assert answer.status == 200
    assert answer.json()["username"] == username


def test_a_user_who_is_deactivated_in_airflow_loses_access_within_the_cache_time(deployment: Deployment) -> None:
    instance, airflow = deployment.gateway, deployment.airflow
    assert instance.get(DAGS, auth=MIXED).status_code == 200

    with changed_user(airflow, "mixed", active=0):
        took_s = seconds_until(
            401, lambda: instance.get(DAGS, auth=MIXED), at_most_s=CACHE_TTL_S + SLACK_S, allowed={200, 403}
        )
    back = instance.get("/compat-auth/whoami", auth=MIXED)

    assert took_s < CACHE_TTL_S + SLACK_S
    assert back.status_code == 200


def test_an_old_password_loses_access_within_the_cache_time_and_the_new_one_works_at_once(
    deployment: Deployment,
) -> None:
    instance, airflow = deployment.gateway, deployment.airflow
    assert instance.get(DAGS, auth=VIEWER).status_code == 200

    with changed_user(airflow, "viewer", password=generate_password_hash("changed")):
        new = instance.get(DAGS, auth=("viewer", "changed"))
        took_s = seconds_until(
            401, lambda: instance.get(DAGS, auth=VIEWER), at_most_s=CACHE_TTL_S + SLACK_S, allowed={200}
        )

    assert new.status_code == 200
    assert took_s < CACHE_TTL_S + SLACK_S


def test_a_post_with_a_body_triggers_one_run(deployment: Deployment) -> None:
    before = runs_of(deployment.airflow, "tiny")

    answer = deployment.gateway.post(RUNS, json={"logical_date": None, "conf": {"word": "grüße"}}, auth=ADMIN)

    assert answer.status_code == 200, answer.text
    assert answer.json()["conf"] == {"word": "grüße"}
    assert runs_of(deployment.airflow, "tiny") == before | {answer.json()["dag_run_id"]}


def test_airflow_s_own_token_passes_unchanged(instance: Gateway) -> None:
    token = log_in(instance, *ADMIN)

    answer = instance.get(DAGS, headers=bearer(token))

    assert answer.status_code == 200


def test_a_tampered_token_gets_the_refusal_of_airflow_itself(instance: Gateway) -> None:
    head, payload, signature = log_in(instance, *VIEWER).split(".")
    tampered = ".".join((head, payload, signature[:-8] + ("A" * 8 if signature[-8:] != "A" * 8 else "B" * 8)))

    answer = instance.get(DAGS, headers=bearer(tampered))

    assert answer.status_code == 403
    assert answer.json() == {"detail": "Invalid JWT token"}


def test_basic_wins_over_the_cookie_of_somebody_mightier(instance: Gateway) -> None:
    cookie = {"_token": log_in(instance, *ADMIN)}
    assert instance.get(CONNECTIONS, cookies=cookie).status_code == 200

    answer = instance.get(CONNECTIONS, cookies=cookie, auth=VIEWER)

    assert answer.status_code == 403
    assert answer.json() == {"detail": "Forbidden"}


def test_basic_wins_over_the_cookie_of_somebody_lesser(instance: Gateway) -> None:
    cookie = {"_token": log_in(instance, *VIEWER)}
    assert instance.get(CONNECTIONS, cookies=cookie).status_code == 403

    answer = instance.get(CONNECTIONS, cookies=cookie, auth=ADMIN)

    assert answer.status_code == 200


def test_a_wrong_password_is_refused_though_the_cookie_is_good(instance: Gateway) -> None:
    cookie = {"_token": log_in(instance, *ADMIN)}

    answer = instance.get(CONNECTIONS, cookies=cookie, auth=("admin", "wrong"))

    assert answer.status_code == 401


def test_airflow_s_login_page_and_what_follows_it_work_through_the_gateway(deployment: Deployment) -> None:
    instance = deployment.gateway
    cookies = log_in_to_ui(f"{instance.url}/auth/login/", *ADMIN)

    me = instance.get("/ui/auth/me", cookies=cookies)
    api = instance.get(CONNECTIONS, cookies=cookies)
    page = instance.get("/", cookies=cookies)

    assert me.json().get("username") == "admin", me.text
    assert api.status_code == 200, api.text
    assert page.status_code == 200, page.text


def test_static_files_pass_as_they_are(deployment: Deployment) -> None:
    page = call("GET", f"{deployment.airflow.url}/auth/login/")
    path = re.search(r'"(/[^"?]+/static/[^"?]+\.css)', page.text)
    assert path is not None, page.text

    direct = call("GET", deployment.airflow.url + path[1])
    through = deployment.gateway.get(path[1])

    assert direct.status_code == 200
    assert through.status_code == 200
    assert through.content == direct.content
    assert through.headers["Content-Type"] == direct.headers["Content-Type"]


def test_the_task_api_of_airflow_sees_no_identity_of_ours(deployment: Deployment) -> None:
    path = "/execution/variables/some"
    direct = call("GET", deployment.airflow.url + path, auth=ADMIN)

    answer = deployment.gateway.get(path, auth=ADMIN)

    assert answer.status_code == direct.status_code
    assert answer.status_code in (401, 403)
    assert answer.json().keys() == direct.json().keys()


@pytest.mark.parametrize("protect", [["/api/"], ["/api/", "/execution/"], ["/"]], ids=" ".join)
def test_not_even_a_mistaken_configuration_gives_the_task_api_an_identity(
    gateway: StartGateway, airflow_fab: Airflow3, echo_upstream: EchoUpstream, protect: list[str]
) -> None:
    settings: dict[str, Any] = shared_secret(airflow_fab)
    instance = gateway({**settings, "upstream": {"url": echo_upstream.url, "protect": protect}})
    assert instance.get(DAGS, auth=ADMIN).json()["authorization"] == "Bearer"

    answer = instance.get("/execution/variables/some", auth=ADMIN)

    assert answer.status_code == 200
    assert answer.json()["authorization"] != "Bearer"


def test_gateways_outlive_their_airflow_and_its_secret(airflow_fab: Airflow3, gateway: StartGateway) -> None:
    by_exchange, by_secret = instances = gateway(exchange(airflow_fab)), gateway(shared_secret(airflow_fab))
    before = [instance.get(DAGS, auth=ADMIN) for instance in instances]
    runs = runs_of(airflow_fab, "tiny")

    airflow_fab.stop()
    down = by_secret.get(DAGS, auth=ADMIN)
    nobody_to_ask = by_exchange.get(DAGS, auth=VIEWER)
    with airflow_fab.changed(AIRFLOW__API_AUTH__JWT_SECRET=f"another-{JWT_SECRET}"):
        triggered = by_exchange.post(RUNS, json={"logical_date": None}, auth=ADMIN)
        refused = by_secret.get(DAGS, auth=ADMIN)
    recovered = [instance.get(DAGS, auth=ADMIN) for instance in instances]

    assert [answer.status_code for answer in before] == [200, 200]
    assert down.status_code == 502
    assert down.headers["Content-Type"] == "application/problem+json"
    assert down.json()["status"] == 502
    # By exchange Airflow is also the one who would check the password.
    assert nobody_to_ask.status_code == 503
    assert int(nobody_to_ask.headers["Retry-After"]) > 0
    assert triggered.status_code == 200, triggered.text
    assert runs_of(airflow_fab, "tiny") == runs | {triggered.json()["dag_run_id"]}
    assert refused.status_code == 403
    assert refused.json() == {"detail": "Invalid JWT token"}
    assert [answer.status_code for answer in recovered] == [200, 200]

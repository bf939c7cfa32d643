"""The oldest Airflow 3 behind the gateway: 3.0.0 as it was when it came out."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest

from compat_auth.airflow.v1.catalog import ROUTER
from compat_auth.airflow.v1.driver import Request, plan
from compat_auth.airflow.v1.messages import Answer, Call
from compat_auth.airflow.v1.problems import V1Problem
from compat_auth.airflow.v1.upstream_facts import UpstreamFacts
from support.peers import seed
from support.peers.airflows import Airflow3
from support.peers.fab import exchange, shared_secret
from support.peers.gateway import Gateway, StartGateway, call, curl
from support.peers.place import HERE, environment
from support.peers.v1_pairs import FAMILIES, NO_BODY, Pair
from support.peers.v1_sent import Description

pytestmark = pytest.mark.peer

DAGS = "/api/v2/dags"
CHALLENGE = 'Basic realm="Airflow", charset="UTF-8"'
PAIRS = tuple(chain.from_iterable(FAMILIES.values()))
# As in 2.11, whose setting for it is off.
_TEST = ("ConnectionApi.test_connection", "ForbiddenException 403")
# Its FAB provider, 2.0.2, takes no token for users, roles and permissions.
_USERS = {
    (name, "UnauthorizedException 401")
    for name in (
        "PermissionApi.get_permissions",
        *(f"RoleApi.{verb}" for verb in ("post_role", "get_roles", "get_role", "patch_role", "delete_role")),
        *(f"UserApi.{verb}" for verb in ("post_user", "get_users", "get_user", "patch_user", "delete_user")),
    )
}

OLDEST = replace(
    seed.FAB_V1,
    name="fab_oldest",
    environment="airflow3-oldest",
    # Where 3.0 has the setting.
    settings=(*seed.FAB_V1.settings, ("AIRFLOW__WEBSERVER__EXPOSE_CONFIG", "True")),
)


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow3]:
    server = Airflow3(OLDEST, tmp_path_factory.mktemp("airflow_oldest"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["exchange", "shared_secret"])
def instance(request: pytest.FixtureRequest, airflow: Airflow3, gateway: StartGateway) -> Gateway:
    return gateway((exchange if request.param == "exchange" else shared_secret)(airflow))


def token_of(airflow: Airflow3) -> str:
    answer = call("POST", f"{airflow.url}/auth/token", json={"username": "admin", "password": "admin"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["access_token"])


def test_curl_with_user_and_password_gets_the_dags(instance: Gateway) -> None:
    answer = curl("-u", "admin:admin", f"{instance.url}{DAGS}")

    assert answer.status == 200
    assert {"plain", "tiny"} <= {dag["dag_id"] for dag in answer.json()["dags"]}


@pytest.mark.parametrize("credential", ["admin:wrong", "nobody:admin", "admin:"])
def test_curl_with_a_bad_credential_is_asked_for_a_password(instance: Gateway, credential: str) -> None:
    answer = curl("-u", credential, f"{instance.url}{DAGS}")

    assert answer.status == 401
    assert answer.all("WWW-Authenticate") == [CHALLENGE]


def test_who_is_deactivated_is_refused_by_the_gateway_s_own_check(airflow: Airflow3, gateway: StartGateway) -> None:
    answer = curl("-u", "disabled:disabled", f"{gateway(shared_secret(airflow)).url}{DAGS}")

    assert answer.status == 401


def test_who_is_deactivated_is_let_in_by_3_0_itself(airflow: Airflow3) -> None:
    """So `exchange` cannot refuse them: the documentation says so."""
    login = {"username": "disabled", "password": "disabled"}

    answer = call("POST", f"{airflow.url}/auth/token", json=login)

    assert answer.status_code == 201


def test_everybody_keeps_the_own_rights(instance: Gateway) -> None:
    admin, viewer = (curl("-u", f"{name}:{name}", f"{instance.url}/api/v2/connections") for name in ("admin", "viewer"))

    assert (admin.status, viewer.status) == (200, 403)


def test_airflow_s_own_token_passes_and_a_tampered_one_does_not(instance: Gateway, airflow: Airflow3) -> None:
    head, payload, signature = token_of(airflow).split(".")

    good, bad = (
        instance.get(DAGS, headers={"Authorization": f"Bearer {head}.{payload}.{end}"})
        for end in (signature, signature[::-1])
    )

    assert good.status_code == 200
    assert bad.status_code in (401, 403)


def test_a_password_buys_a_token_that_airflow_takes(instance: Gateway, airflow: Airflow3) -> None:
    bought = instance.post("/auth/token", json={"username": "admin", "password": "admin"})
    bearer = {"Authorization": f"Bearer {bought.json()['access_token']}"}

    assert bought.status_code == 201
    assert instance.get(DAGS, headers=bearer).status_code == 200
    assert call("GET", airflow.url + DAGS, headers=bearer).status_code == 200


def test_the_official_client_of_airflow_2_is_served(airflow: Airflow3, gateway: StartGateway) -> None:
    settings = {"mode": "airflow2", **exchange(airflow)}
    python = environment("client2") / "bin" / "python"

    done = subprocess.run(
        [python, HERE / "client2_calls.py", gateway(settings).url], capture_output=True, text=True, check=True
    )

    outcomes = json.loads(done.stdout)
    assert len({name for name, _ in outcomes}) == 90
    assert {(name, outcome) for name, outcome in outcomes if "Exception" in outcome} == {_TEST, *_USERS}


def answer_of(airflow: Airflow3, bearer: str, made: Call) -> Answer:
    body = {} if made.body is None else {"json": made.body}
    headers = {"Authorization": f"Bearer {bearer}", "Accept": made.accept}
    answer = call(made.method, airflow.url + made.path, params=list(made.query), headers=headers, **body)
    return Answer(answer.status_code, answer.content)


def calls_of(airflow: Airflow3, bearer: str, pair: Pair) -> Iterator[Call]:
    path, _, query = pair.path.partition("?")
    body = (
        pair.body if isinstance(pair.body, bytes) else b"" if pair.body is NO_BODY else json.dumps(pair.body).encode()
    )
    asked = Request(pair.method, path, query, body, "application/json", pair.headers.get("Accept", ""))
    try:
        _, steps = plan(ROUTER, asked, UpstreamFacts())
        made = next(steps)
        while True:
            yield made
            made = steps.send(answer_of(airflow, bearer, made))
    except (StopIteration, V1Problem):
        return
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        pytest.fail(f"{pair.name}: {exc!r}")


def test_nothing_is_sent_that_it_does_not_know(airflow: Airflow3) -> None:
    document: dict[str, Any] = call("GET", f"{airflow.url}/openapi.json").json()
    bearer, description = token_of(airflow), Description(document)

    unknown = {
        f"{pair.method} {pair.path.partition('?')[0]}: {what}"
        for pair in PAIRS
        for made in calls_of(airflow, bearer, pair)
        if not made.path.startswith("/auth/fab/")  # described elsewhere
        for what in description.unknown_in(made)
    }

    assert unknown == set()

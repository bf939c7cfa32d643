"""Ten modules of Airflow 2, unmodified: live 2.11, the gateway, and inside Airflow 3, with the same verdicts.

With `LEGACY_TABLE=FILE` the verdicts are written there, as the table of docs/how-to/airflow2-module.md.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from support.legacy_world import CASES, VARIABLE_KEY, LegacyCase, Sent, environ_of, legacy_services
from support.peers import seed
from support.peers.airflow2_as import Airflow2As
from support.peers.airflows import JWT_SECRET, Airflow3
from support.peers.gateway import StartGateway, call
from support.peers.place import HERE
from support.peers.plugin import StartPlugged

pytestmark = pytest.mark.peer

# 422: to an exception of PyJWT, Airflow 2.11.
_OUT = (401, 403, 422)
_verdicts: dict[str, dict[str, str]] = defaultdict(dict)


@pytest.fixture(scope="module")
def services() -> Iterator[str]:
    with legacy_services() as url:
        yield url


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Write the table at the end, where that is wanted."""
    yield
    file = os.environ.get("LEGACY_TABLE")
    if file:
        Path(file).write_text(table_of(_verdicts))


@pytest.fixture(params=CASES, ids=[case.module for case in CASES])
def case(request: pytest.FixtureRequest) -> LegacyCase:
    found: LegacyCase = request.param
    return found


def table_of(verdicts: Mapping[str, Mapping[str, str]]) -> str:
    """Return the table: a line for each module, a column for each place."""
    places = list(dict.fromkeys(place for found in verdicts.values() for place in found))
    lines = [f"| The module … | {' | '.join(places)} |", "|---|" + "---|" * len(places)]
    for case in CASES:
        found = verdicts.get(case.module, {})
        lines.append(f"| {case.does} | {' | '.join(found.get(place, '') for place in places)} |")
    return "\n".join([*lines, ""])


def ask(url: str, path: str, case: LegacyCase, sent: Sent, **headers: str) -> str:
    """Return whether the caller gets in, at the API's URL."""
    answer: requests.Response = call(
        case.method, url + path, headers={**sent.headers, **headers}, data=sent.body or None
    )
    if answer.status_code in _OUT:
        return "out"
    return "in" if answer.status_code < 400 else f"{answer.status_code}"


def verdicts(place: str, case: LegacyCase, services: str, url: str, api: str, **headers: str) -> str:
    path = api + case.path
    shown = (case.good(services, path), case.bad(services, path), case.none)
    found = ", ".join(ask(url, path, case, sent, **headers) for sent in shown)
    _verdicts[case.module][place] = found
    return found


@pytest.fixture(scope="module")
def airflow2_url(airflow2_as: Airflow2As, services: str) -> str:
    environ = environ_of(services)
    folders = os.pathsep.join((environ["PYTHONPATH"], str(HERE / "legacy_modules")))
    environ |= {
        "PYTHONPATH": folders,
        "MODULES_BY_HEADER": ",".join(case.name for case in CASES),
        "AIRFLOW_VAR_SITE_JWT_KEY": VARIABLE_KEY,
        # Its server has no other way to a remote user.
        "AIRFLOW__SITE__REMOTE_USER_VARIABLE": "HTTP_X_REMOTE_USER",
    }
    return airflow2_as(auth_backends="module_by_header", auth_role_public=None, **environ).url


def test_airflow_2_lets_in_the_good_and_nobody_else(airflow2_url: str, services: str, case: LegacyCase) -> None:
    found = verdicts("Airflow 2.11", case, services, airflow2_url, "/api/v1", **{"X-Module": case.name})

    assert found == "in, out, out"


def test_the_gateway_has_the_same_verdicts(
    airflow_fab: Airflow3, gateway: StartGateway, services: str, case: LegacyCase
) -> None:
    url = gateway(settings_for(airflow_fab, case), environ_of(services)).url

    found = verdicts("gateway", case, services, url, "/api/v2")

    assert found == "in, out, out"


def settings_for(airflow: Airflow3, case: LegacyCase) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "auth_backends": [case.name],
        "upstream": {"url": airflow.url},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "basic_auth": {"directories": ["airflow_db"]},
        "airflow_db": {"url": airflow.database_url},
        "airflow2_modules": dict(case.settings),
    }
    if "remote_user_proxies" in case.settings:
        settings["trusted_proxies"] = list(case.settings["remote_user_proxies"])
    return settings


def test_a_module_creates_and_changes_users_in_the_name_of_the_administrator(
    airflow_fab: Airflow3, gateway: StartGateway, services: str
) -> None:
    (case,) = [case for case in CASES if case.module == "token_service"]
    url = gateway(settings_for(airflow_fab, case), environ_of(services)).url + "/auth/fab/v1/users/carol"

    def roles(token: str) -> object:
        made = call("GET", url.replace("/auth/fab/v1/users/carol", "/api/v2/dags"), headers={"Authorization": token})
        asked = call("GET", url, headers={"Authorization": "Token service!token"})
        return made.status_code, [role["name"] for role in asked.json()["roles"]]

    created = roles("Token new!token")
    changed = roles("Token promoted!token")

    assert created == (200, ["Viewer"])
    assert changed == (200, ["Op"])


@pytest.fixture(scope="module", autouse=True)
def variable(airflow_fab: Airflow3, gateway: StartGateway) -> None:
    """The Variable with the key of the module that reads it, in the gateway's Airflow."""
    settings = {
        "auth_backends": ["basic_auth"],
        "upstream": {"url": airflow_fab.url},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "basic_auth": {"directories": ["airflow_db"]},
        "airflow_db": {"url": airflow_fab.database_url},
    }
    content = {"key": "site_jwt_key", "value": VARIABLE_KEY}
    gateway(settings).post("/api/v2/variables", json=content, auth=("admin", "admin"))


def test_inside_airflow_3_they_are_the_same(plugged_airflow: StartPlugged, services: str, case: LegacyCase) -> None:
    environ = {
        **environ_of(services),
        "AIRFLOW_VAR_SITE_JWT_KEY": VARIABLE_KEY,
        "AIRFLOW__API__AUTH_BACKENDS": case.name,
        **_own(case),
    }
    airflow = plugged_airflow(seed.FAB, **environ)
    try:
        found = verdicts(_airflow3(), case, services, airflow.url, "/api/v2")
    finally:
        airflow.stop()

    assert found == "in, out, out"


def _own(case: LegacyCase) -> dict[str, str]:
    own = {name: ",".join(value) if isinstance(value, list) else value for name, value in case.settings.items()}
    found = {f"AIRFLOW__COMPAT_AUTH__AIRFLOW2_MODULES__{name.upper()}": value for name, value in own.items()}
    if "remote_user_proxies" in own:
        found["AIRFLOW__COMPAT_AUTH__TRUSTED_PROXIES"] = own["remote_user_proxies"]
    return found


def _airflow3() -> str:
    number = seed.AIRFLOW3.removeprefix("airflow")
    return f"inside Airflow {'3.3' if number == '3' else f'{number[0]}.{number[1:]}'}"

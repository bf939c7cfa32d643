"""The upstream, a live Airflow 3.3, dies at any call of an operation that writes: what is told, and what a retry does."""

from collections.abc import Iterator

import pytest
import requests

from support.peers.cutting_proxy import Cut, CuttingProxy
from support.peers.fab import shared_secret
from support.peers.gateway import StartGateway, call
from support.peers.v1_errands import ADMIN, CALLS, NUMBERS, Errand, Ready, Site, set_one_state_again
from support.peers.v1_pairs import RUN
from support.peers.v1_sides import airflow3_with_runs

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, gateway: StartGateway) -> Iterator[Site]:
    """Airflow, the proxy in front of it, and the gateway in front of that."""
    airflow = airflow3_with_runs(tmp_path_factory.mktemp("faults"))
    airflow.start()
    with CuttingProxy(airflow.url).running() as proxy:
        instance = gateway({**shared_secret(airflow), "mode": "airflow2", "upstream": {"url": proxy.url}})
        login = {"username": ADMIN[0], "password": ADMIN[1]}
        bearer = call("POST", f"{airflow.url}/auth/token", json=login).json()["access_token"]
        yield Site(airflow, proxy, instance, bearer)
    airflow.stop()


def send(site: Site, errand: Errand) -> requests.Response:
    """Send an errand through the gateway."""
    return site.instance.request(errand.method, f"/api/v1{errand.path}", json=errand.body, auth=ADMIN)


@pytest.mark.parametrize(("ready", "calls"), CALLS, ids=lambda value: getattr(value, "__name__", ""))
def test_an_operation_makes_the_calls_at_which_it_is_cut_below(site: Site, ready: Ready, calls: int) -> None:
    errand = ready(site)

    with site.proxy.cutting(Cut.BEFORE):
        answer = send(site, errand)

    assert answer.status_code < 300, answer.text
    assert len(site.proxy.lines) == calls
    assert errand.effect() == errand.wanted


@pytest.mark.parametrize("cut", Cut, ids=lambda cut: cut.name.lower())
@pytest.mark.parametrize(
    ("ready", "number"),
    [pytest.param(ready, n, id=f"{ready.__name__}-{n}") for ready, calls in CALLS for n in range(1, calls + 1)],
)
def test_a_cut_is_told_and_a_retry_completes_what_is_left(site: Site, ready: Ready, number: int, cut: Cut) -> None:
    errand = ready(site)

    with site.proxy.cutting(cut, number, number + 1):
        answer = send(site, errand)
    told = answer.json()["detail"] if answer.status_code >= 300 else ""
    was_done = errand.effect() == errand.wanted
    again = send(site, errand)

    assert answer.status_code == 502, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert told.startswith(("Done: ", "Not known whether done: ", "Nothing was changed"))
    assert told.endswith(("Send the request again to complete it.", "Send the request again."))
    if was_done:
        assert "Nothing was changed" not in told or ready is set_one_state_again
    for secret in ("hush-hush", site.proxy.url, site.airflow.url, site.bearer, "Traceback", "aiohttp"):
        assert secret not in answer.text
    assert again.status_code in (errand.again if was_done else (200, 201, 204)), again.text
    assert errand.effect() == errand.wanted


def runs(site: Site) -> int:
    """Return how many runs DAG `plain` has."""
    return int(site.sql("SELECT count(*) FROM dag_run WHERE dag_id = 'plain'")[0][0])


@pytest.mark.parametrize("cut", [Cut.AFTER, Cut.WITHIN])
def test_a_run_that_nobody_has_named_is_found_again_when_its_answer_is_lost(site: Site, cut: Cut) -> None:
    before = runs(site)

    with site.proxy.cutting(cut, 1):
        answer = site.instance.post("/api/v1/dags/plain/dagRuns", json={}, auth=ADMIN)

    assert answer.status_code == 200, answer.text
    assert answer.json()["dag_run_id"].startswith("manual__")
    assert runs(site) == before + 1


def test_a_run_that_nobody_has_named_and_nobody_can_find_is_named_so_that_a_retry_starts_no_second(site: Site) -> None:
    before = runs(site)

    # What only reads is asked twice before it is given up.
    with site.proxy.cutting(Cut.AFTER, 1, 2, 3):
        answer = site.instance.post("/api/v1/dags/plain/dagRuns", json={}, auth=ADMIN)
    told = answer.json()["detail"]
    run_id = told.split("'")[1]
    again = site.instance.post("/api/v1/dags/plain/dagRuns", json={"dag_run_id": run_id}, auth=ADMIN)

    assert answer.status_code == 502
    assert told.startswith(f"Not known whether done: start run 'manual__{run_id.partition('__')[2]}'. Check whether ")
    assert again.status_code == 409
    assert runs(site) == before + 1


def test_a_run_that_was_not_started_is_started_by_the_retry(site: Site) -> None:
    before = runs(site)

    with site.proxy.cutting(Cut.BEFORE, 1):
        answer = site.instance.post("/api/v1/dags/plain/dagRuns", json={}, auth=ADMIN)
    again = site.instance.post("/api/v1/dags/plain/dagRuns", json={}, auth=ADMIN)

    assert answer.status_code == 502
    assert again.status_code == 200
    assert runs(site) == before + 1


def test_an_event_whose_answer_is_lost_is_not_sent_a_second_time_and_the_client_is_warned(site: Site) -> None:
    number = next(NUMBERS)
    body = {"dataset_uri": "urn:stock", "extra": {"fault": number}}
    count = "SELECT count(*) FROM asset_event WHERE extra LIKE ?"

    with site.proxy.cutting(Cut.AFTER, 2):
        answer = site.instance.post("/api/v1/datasets/events", json=body, auth=ADMIN)

    assert answer.status_code == 502
    assert "Not known whether done: record an event of dataset " in answer.json()["detail"]
    assert answer.json()["detail"].endswith("a second request would do it again.")
    assert site.sql(count, f'%"fault": {number}%') == [(1,)]


def test_the_run_that_the_seed_has_is_as_it_was(site: Site) -> None:
    assert site.has_run(RUN)

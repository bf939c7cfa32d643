"""`/api/v1` in front of a live Airflow 3.3 beside a live 2.11: the same requests, the same answers.

Both have the same DAGs and the same runs of them; whatever the requests make, they make on both sides. `ACCEPTED` names
every difference that is meant, and each has to be there: one that has gone is taken off the list.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from support.peers.airflows import Airflow2, Airflow3
from support.peers.gateway import StartGateway
from support.peers.place import HERE, environment
from support.peers.v1_accepted import ACCEPTED, Accepted
from support.peers.v1_compare import Answer, Difference, differences
from support.peers.v1_pairs import FAMILIES, Pair
from support.peers.v1_sides import airflow2_with_runs, airflow3_with_runs, ask, start_airflow2

pytestmark = pytest.mark.peer

PAIRS = tuple(chain.from_iterable(FAMILIES.values()))
Found = Mapping[str, list[tuple[Pair, Difference]]]
OFFICIAL_CLIENT = HERE / "client2_calls.py"


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Airflow2, Airflow3]]:
    """Both servers, running."""
    both = (airflow2_with_runs(tmp_path_factory.mktemp("two")), airflow3_with_runs(tmp_path_factory.mktemp("three")))
    with ThreadPoolExecutor(2) as threads:
        for started in (threads.submit(start_airflow2, both[0]), threads.submit(both[1].start)):
            started.result()
    yield both
    for airflow in both:
        airflow.stop()


@pytest.fixture(scope="module")
def urls(sides: tuple[Airflow2, Airflow3], gateway: StartGateway) -> tuple[str, str]:
    """Where 2.11 is, and where the gateway is in front of 3.3."""
    airflow2, airflow3 = sides
    settings = {"auth_backends": ["basic_auth"], "mode": "airflow2", "upstream": {"url": airflow3.url}}
    return airflow2.url, gateway(settings).url


@pytest.fixture(scope="module")
def found(urls: tuple[str, str]) -> Found:
    """Every difference, by family."""
    with ThreadPoolExecutor(2) as threads:
        wanted, given = threads.map(lambda url: ask(url, PAIRS), urls)
    answers = iter(zip(wanted, given, strict=True))
    return {family: list(_differing(pairs, answers)) for family, pairs in FAMILIES.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_of_requests_is_answered_as_by_airflow_2(found: Found, family: str) -> None:
    meant = [f"{pair.name}: {difference}" for pair, difference in found[family] if not _accepted(pair, difference)]

    assert meant == []


@pytest.mark.parametrize("accepted", [pytest.param(one, id=f"{one.request} {one.where}") for one in ACCEPTED])
def test_an_accepted_difference_is_still_there(found: Found, accepted: Accepted) -> None:
    everything = chain.from_iterable(found.values())

    assert any(accepted.covers(pair.name, difference.where) for pair, difference in everything)


def test_the_official_client_of_airflow_2_gets_the_same_from_both(found: Found, urls: tuple[str, str]) -> None:
    del found  # first, for its requests make what the calls find

    wanted, given = (_outcomes(url) for url in urls)

    assert len({name for name, _ in wanted}) == 90
    assert given == wanted


def _outcomes(url: str) -> list[tuple[str, str]]:
    python = environment("client2") / "bin" / "python"
    done = subprocess.run([python, OFFICIAL_CLIENT, url], capture_output=True, text=True, check=True)
    return [(name, outcome) for name, outcome in json.loads(done.stdout)]


def _differing(pairs: tuple[Pair, ...], answers: Iterator[tuple[Answer, Answer]]) -> Iterator[tuple[Pair, Difference]]:
    for pair, (wanted, given) in zip(pairs, answers, strict=False):
        for difference in differences(wanted, given, ordered="order_by" in pair.name):
            yield pair, difference


def _accepted(pair: Pair, difference: Difference) -> bool:
    return any(one.covers(pair.name, difference.where) for one in ACCEPTED)

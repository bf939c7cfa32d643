"""A brownout behind nginx and HAProxy with the lane: it begins and ends with the second, by the clock of the wall."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from compat_auth.stages.rules import StageRule
from compat_auth.stages.stored import row_of
from compat_auth.store.migration import open_store
from compat_auth.store.tables.stage_rules import StageRuleRows
from support.peers.generated import Front, basic, running_site, start
from support.staged import brownout

pytestmark = pytest.mark.peer

PATH = "/api/x"
KNOWN_S = 3
LENGTH_S = 4
PAUSE_S = 0.03
MOST_S = 120


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, from when to when, and its answer."""

    began: float
    ended: float
    status: int
    retry_after: str


@pytest.fixture(params=["nginx-lua", "haproxy-lua"])
def front(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Front]:
    (tmp_path / "front").mkdir()
    with running_site(tmp_path) as site:
        found = start(request.param, site, tmp_path / "front")
        try:
            yield found
        finally:
            found.process.stop()


@contextmanager
def stages_of(front: Front) -> Generator[StageRuleRows]:
    rows = StageRuleRows(open_store(f"sqlite:///{front.site.folder / 'store.db'}"))
    try:
        yield rows
    finally:
        rows.close()


def ask(session: requests.Session, front: Front) -> Asked:
    began = time.time()
    answer = session.get(f"{front.url}{PATH}", headers={"Authorization": basic("alice")}, timeout=30)
    return Asked(began, time.time(), answer.status_code, answer.headers.get("Retry-After", ""))


def warm(session: requests.Session, front: Front) -> None:
    """Ask until the front proxy answers without the gateway."""
    deadline = time.monotonic() + MOST_S
    while True:
        seen = len(front.site.seen)
        assert ask(session, front).status == 200
        if len(front.site.seen) == seen:
            return
        assert time.monotonic() < deadline
        time.sleep(PAUSE_S)


def put(rows: StageRuleRows, rule: StageRule) -> None:
    rows.set(row_of(rule, now=int(time.time()), by="test"))


def test_a_brownout_begins_and_ends_with_the_second(front: Front) -> None:
    found: list[Asked] = []
    with requests.Session() as session, stages_of(front) as rows:
        warm(session, front)
        start = int(time.time()) + KNOWN_S
        end = start + LENGTH_S
        put(rows, brownout(start, LENGTH_S, "basic_auth"))

        while not found or found[-1].began < end + 1:
            found.append(ask(session, front))
            time.sleep(PAUSE_S)

    # A request across an edge may get either answer.
    inside = [one for one in found if start <= one.began and one.ended < end]
    outside = [one for one in found if one.ended < start or one.began >= end]
    assert {one.status for one in inside} == {410}
    assert {one.status for one in outside} == {200}
    assert all(0 < int(one.retry_after) <= LENGTH_S for one in inside)


def test_a_login_that_is_on_again_goes_straight_to_the_upstream(front: Front) -> None:
    with requests.Session() as session, stages_of(front) as rows:
        put(rows, brownout(int(time.time()) + 86400, 60, "basic_auth"))
        time.sleep(KNOWN_S)
        front.site.seen.clear()
        staged = [ask(session, front).status for _ in range(5)]
        through_gateway = front.site.seen.count(PATH)
        rows.remove("basic_auth", "", "")

        warm(session, front)

    assert (staged, through_gateway) == ([200] * 5, 5)

"""`compat-auth serve` takes another configuration while it serves: in every worker, or in none, and no request is lost."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
import requests

from compat_auth.cli.demo.upstream import BackgroundServer
from compat_auth.gateway.server.server import bind_socket
from support.certificates import Authority
from support.peers.front_site import Answer, ask, serving
from support.peers.generated import USERS, Upstream, basic
from support.peers.process import free_port
from support.peers.reloading import Reloaded, outcomes, under_load, until

pytestmark = pytest.mark.peer

ALICE: Final = ("Authorization", basic("alice"))
REQUESTS: Final = int(os.environ.get("TEST_RELOAD_REQUESTS", "20000"))
RELOADS: Final = 10
# To be seen, a leak needs more reloads than an everyday run has time for.
GROWTH_RELOADS: Final = int(os.environ.get("TEST_RELOAD_GROWTH", "12"))
FRONTS = pytest.mark.parametrize("front", ["", "nginx"], ids=["plain", "nginx"])
WORKERS = pytest.mark.parametrize("workers", [1, 2])


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with bind_socket(f"127.0.0.1:{free_port()}") as listener, BackgroundServer(Upstream(), listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


Start = Callable[..., Reloaded]


@pytest.fixture
def start(upstream: str, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(*, front: str = "", **settings: Any) -> Reloaded:
            reloaded = Reloaded(stack.enter_context(serving(tmp_path, upstream, front=front, **settings)))
            assert until(lambda: "startup complete" in reloaded.site.log)
            return reloaded

        yield begin


@FRONTS
def test_no_request_is_lost_over_many_reloads(start: Start, front: str) -> None:
    reloaded = start(front=front)
    requests = REQUESTS if not front else REQUESTS // 4

    with under_load(reloaded.site, ALICE[1]) as load:
        applied: list[bool] = []
        while len(applied) < RELOADS or load.count < requests:
            if len(applied) < RELOADS:
                reloaded.change(serve={"cache_entries": 5000 + len(applied)})
                applied.append(reloaded.reload())
            else:
                time.sleep(0.1)

    assert applied == [True] * RELOADS
    assert load.bad == {}
    assert load.count >= requests


@FRONTS
def test_after_a_reload_every_worker_has_the_new_configuration(start: Start, front: str) -> None:
    reloaded = start(front=front)
    before = outcomes(reloaded.site, 10, ALICE)

    reloaded.change(auth_backends=["personal_token"])
    reloaded.reload()
    # nginx has connections that were open: each of them gets one more answer, within a second.
    time.sleep(1.5 if front else 0)
    after = outcomes(reloaded.site, 20, ALICE)

    assert (before, after) == ({200}, {401})


@WORKERS
def test_a_stream_that_began_before_a_reload_ends_as_it_should(start: Start, workers: int) -> None:
    reloaded = start(serve={"workers": workers})
    answers: list[Answer] = []
    asking = threading.Thread(target=lambda: answers.append(ask(reloaded.site.url, "/api/lines", ALICE)))
    asking.start()
    time.sleep(0.3)

    reloaded.change(auth_backends=["deny_all"])
    reloaded.reload()
    asking.join()

    assert [(answer.status, answer.body) for answer in answers] == [(200, b"0\n1\n2\n")]
    assert outcomes(reloaded.site, 5, ALICE) == {403}


def test_another_number_of_workers_is_a_matter_of_a_reload(start: Start) -> None:
    reloaded = start()

    counts = []
    for workers in (3, 1):
        reloaded.change(serve={"workers": workers})
        reloaded.reload()
        counts.append((workers, until(lambda wanted=workers: len(reloaded.workers()) == wanted)))  # type: ignore[misc]

    assert counts == [(3, True), (1, True)]
    assert outcomes(reloaded.site, 5, ALICE) == {200}


def test_plain_http_becomes_https_without_another_listener(start: Start, tmp_path: Path) -> None:
    reloaded = start()
    cert, key = Authority().issue("CN=new").write(tmp_path, "own")

    reloaded.change(serve={"tls_cert": str(cert), "tls_key": str(key)})
    reloaded.reload()
    answer = ask(reloaded.site.url.replace("http:", "https:"), "/api/x", ALICE)

    assert answer.status == 200


def test_a_watched_file_is_enough_and_is_not_read_while_it_is_written(start: Start) -> None:
    reloaded = start(serve={"watch": True})
    file = reloaded.site.folder / "compat_auth.toml"
    text = file.read_text(encoding="utf-8").replace('["personal_token", "basic_auth"]', '["deny_all"]')

    with file.open("w", encoding="utf-8") as writing:
        for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
            writing.write(piece)
            writing.flush()
            time.sleep(0.4)
    applied = until(lambda: reloaded.done == 1)

    assert applied
    assert reloaded.failed == 0
    assert 200 not in outcomes(reloaded.site, 5, ALICE)


def test_without_watch_a_changed_file_waits_for_the_signal(start: Start) -> None:
    reloaded = start()

    reloaded.change(auth_backends=["deny_all"])
    time.sleep(3)

    assert (reloaded.done, outcomes(reloaded.site, 3, ALICE)) == (0, {200})


def test_counters_go_on_over_reloads_and_gauges_are_those_of_the_workers_that_serve(start: Start) -> None:
    reloaded = start(metrics={"bind": f"127.0.0.1:{free_port()}"})
    name = 'compat_auth_decisions_total{backend="basic_auth",outcome="accept",source="chain"}'
    counted, errors = [0.0], []

    for _ in range(3):
        outcomes(reloaded.site, 6, ALICE)
        time.sleep(0.7)
        counted.append(reloaded.metrics()[name])
        reloaded.reload()
        numbers = reloaded.metrics()
        counted.append(numbers[name])
        errors.append(numbers["compat_auth_config_last_reload_successful"])
    settled = until(lambda: reloaded.metrics()["compat_auth_connections"] == 0, 15)

    assert counted == sorted(counted)
    assert counted[-1] > counted[1]
    assert errors == [1.0] * 3
    assert reloaded.metrics()["compat_auth_config_generation"] == 4
    assert reloaded.metrics()['compat_auth_workers{state="serving"}'] == 2
    assert settled


def test_sessions_of_a_secret_that_stays_in_secrets_outlive_a_reload(start: Start) -> None:
    old, new = "o" * 48, "n" * 48
    reloaded = start(auth_backends=["session", "basic_auth"], session={"secret": old})
    cookie = log_in(reloaded)

    reloaded.change(session={"secret": new, "secrets": [old]})
    reloaded.reload()
    kept = outcomes(reloaded.site, 4, ("Cookie", cookie))
    reloaded.change(session={"secret": new, "secrets": []})
    reloaded.reload()
    ended = outcomes(reloaded.site, 4, ("Cookie", cookie))

    assert (kept, ended) == ({200}, {401})


def log_in(reloaded: Reloaded) -> str:
    url = f"{reloaded.site.url}/compat-auth/login"
    with requests.Session() as browser:
        browser.trust_env = False
        token = re.search(r'name="token" value="([^"]+)"', browser.get(url).text)
        assert token is not None
        form = {"username": "alice", "password": USERS["alice"], "token": token[1]}
        done = browser.post(url, data=form, allow_redirects=False)
        assert done.status_code == 303, done.text
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies)


def test_memory_and_open_files_do_not_grow_with_the_number_of_reloads(start: Start) -> None:
    reloaded = start(metrics={"bind": f"127.0.0.1:{free_port()}"})
    process = psutil.Process(reloaded.site.command.pid)

    def measure() -> tuple[int, int]:
        assert until(lambda: len(reloaded.workers()) == 2, 30)
        return process.num_fds(), process.memory_info().rss

    for _ in range(4):
        reloaded.reload()
    files, memory = measure()
    for _ in range(GROWTH_RELOADS):
        outcomes(reloaded.site, 2, ALICE)
        assert reloaded.reload()
    files_after, memory_after = measure()

    assert files_after == files
    # Less than 200 KiB for each: a configuration that is kept by mistake takes megabytes.
    assert memory_after - memory < GROWTH_RELOADS * 200 * 1024


def test_sighup_to_a_worker_changes_nothing(start: Start) -> None:
    reloaded = start()
    before = reloaded.workers()

    for pid in before:
        os.kill(pid, signal.SIGHUP)
    time.sleep(1)

    assert (reloaded.workers(), reloaded.done) == (before, 0)
    assert reloaded.site.log.count("SIGHUP ignored") == 2

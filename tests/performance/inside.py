"""What the plugin costs inside Airflow: a token of Airflow's own that needs nothing from us, and a warm password."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests

from performance.load import Sample, Target, ask, basic, interleave
from performance.programs import Program
from performance.table import Row, at_least, cpu, rate, wrong_in
from support.peers import seed
from support.peers.airflows import Airflow3
from support.peers.plugin import BASIC_AUTH, make_plugged_python

_PATH = "/api/v2/dags?limit=1"
_ADMIN = {"Authorization": basic("admin", "admin")}
CONNECTIONS = 4


def airflow(folder: Path, *, seconds: float, rounds: int) -> list[Row]:
    """Return both P15: two live Airflow 3.3 with FabAuthManager of one environment, alike but for the plugin.

    Both have one worker, which the load keeps busy: on a quiet machine requests for each second of its CPU are its
    throughput, and on a busy one they still say what the plugin costs.
    """
    python = make_plugged_python(folder)
    with ExitStack() as stack:
        without, url = stack.enter_context(_served(folder / "without", python, enabled=False))
        plugged, plugged_url = stack.enter_context(_served(folder / "with", python, enabled=True))
        status, body = ask(plugged.port, _PATH, _ADMIN)
        if status != 200 or b'"dags"' not in body:
            raise RuntimeError(f"a password is answered {status}: the plugin does nothing")
        targets = [
            Target("without", _PATH, _bearer(url), without, (without,)),
            Target("bearer", _PATH, _bearer(plugged_url), plugged, (plugged,)),
            Target("basic", _PATH, _ADMIN, plugged, (plugged,)),
        ]
        interleave(targets, connections=CONNECTIONS, seconds=2, rounds=1)
        found = interleave(targets, connections=CONNECTIONS, seconds=seconds, rounds=rounds)
    plain, bearer, password = found["without"], found["bearer"], found["basic"]
    return [
        at_least(
            "P15a",
            "plugin: Airflow's own token, requests for a second of CPU against Airflow without it",
            0.97,
            _ratios(bearer, plain),
            f"{rate(bearer)} to {rate(plain)}; {cpu(bearer)} to {cpu(plain)}",
            wrong_in(bearer, plain),
        ),
        at_least(
            "P15b",
            "plugin: a warm password, requests for a second of CPU against Airflow's own token",
            0.9,
            _ratios(password, bearer),
            f"{rate(password)} to {rate(bearer)}; {cpu(password)} to {cpu(bearer)}",
            wrong_in(password, bearer),
        ),
    ]


@contextmanager
def _served(folder: Path, python: Path, *, enabled: bool) -> Generator[tuple[Program, str], None, None]:
    folder.mkdir()
    server = Airflow3(seed.FAB, folder, python)
    server.restart(AIRFLOW__FAB__AUTH_BACKENDS=BASIC_AUTH, AIRFLOW__COMPAT_AUTH__ENABLED=str(enabled))
    pid = server.process.pid
    if pid is None:
        raise RuntimeError(server.process.log_tail())
    try:
        yield Program(folder.name, server.port, pid), server.url
    finally:
        server.stop()


def _bearer(url: str) -> dict[str, str]:
    pair = {"username": "admin", "password": "admin"}
    answer = requests.post(f"{url}/auth/token", json=pair, timeout=30, proxies={"http": ""})
    answer.raise_for_status()
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def _ratios(ours: Sequence[Sample], theirs: Sequence[Sample]) -> list[float]:
    return [other.cpu_us / one.cpu_us for one, other in zip(ours, theirs, strict=True)]

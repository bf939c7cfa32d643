"""What can go wrong with a reload: the configuration before goes on, the log says why, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from compat_auth.cli.demo.upstream import BackgroundServer
from compat_auth.gateway.server.server import bind_socket
from support.peers.front_site import ask, serving
from support.peers.generated import Upstream, basic
from support.peers.process import free_port
from support.peers.reloading import Reloaded, outcomes, under_load, until

pytestmark = pytest.mark.peer

ALICE: Final = ("Authorization", basic("alice"))
Start = Callable[..., Reloaded]


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with bind_socket(f"127.0.0.1:{free_port()}") as listener, BackgroundServer(Upstream(), listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def start(upstream: str, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(*, front: str = "", **settings: Any) -> Reloaded:
            return Reloaded(stack.enter_context(serving(tmp_path, upstream, front=front, **settings)))

        yield begin


Spoil = Callable[[Reloaded], None]


def _cut(name: str) -> Spoil:
    def spoil(reloaded: Reloaded) -> None:
        file = reloaded.site.folder / name
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    return spoil


def _config_mode(reloaded: Reloaded) -> None:
    (reloaded.site.folder / "compat_auth.toml").chmod(0o666)


def _config_gone(reloaded: Reloaded) -> None:
    (reloaded.site.folder / "compat_auth.toml").unlink()


def _config_is_a_folder(reloaded: Reloaded) -> None:
    _config_gone(reloaded)
    (reloaded.site.folder / "compat_auth.toml").mkdir()


def _change(**sections: Any) -> Spoil:
    return lambda reloaded: reloaded.change(**sections)


# By what is wrong: how it becomes so, and what the log must name.
SPOILT: Final[dict[str, tuple[Spoil, str]]] = {
    "half a file": (_cut("compat_auth.toml"), "compat_auth.toml"),
    "a file that everybody may write": (_config_mode, "compat_auth.toml"),
    "no file": (_config_gone, "compat_auth.toml"),
    "a folder": (_config_is_a_folder, "compat_auth.toml"),
    "an unknown key": (_change(serve={"wrokers": 3}), "wrokers"),
    "an unknown backend": (_change(auth_backends=["no_such_backend"]), "no_such_backend"),
    "a value out of range": (_change(serve={"workers": 0}), "workers"),
    "half a key file": (_cut("keys.json"), "keys.json"),
    "a missing htpasswd file": (_change(htpasswd={"file": "/nowhere/users"}), "htpasswd.file: /nowhere/users"),
    "a missing certificate": (_change(serve={"tls_cert": "/nowhere/c", "tls_key": "/nowhere/k"}), "/nowhere/c"),
    "half of a pair": (_change(serve={"tls_key": "/etc/hostname"}), "serve.tls_cert"),
    "a missing authority": (_change(upstream={"verify": "/nowhere/ca.pem"}), "upstream.verify: /nowhere/ca.pem"),
    "another address": (_change(serve={"bind": "127.0.0.1:1"}), "serve.bind: cannot change"),
    "an address for metrics": (_change(metrics={"bind": "127.0.0.1:1"}), "metrics.bind: cannot change"),
    "an address for front proxies": (_change(forward_auth={"bind": "127.0.0.1:1"}), "forward_auth.bind: cannot change"),
    "a short secret": (_change(token={"strategy": "shared_secret", "secret": "short"}), "jwt_secret"),
}


@pytest.fixture(scope="module")
def kept(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloaded]:
    """A site of which no test changes the configuration for good."""
    with serving(tmp_path_factory.mktemp("kept"), upstream) as site:
        yield Reloaded(site)


@pytest.fixture
def restored(kept: Reloaded) -> Iterator[Reloaded]:
    folder = kept.site.folder
    before = {name: (folder / name).read_bytes() for name in ("compat_auth.toml", "keys.json")}
    yield kept
    for name, content in before.items():
        file = folder / name
        if file.is_dir():
            file.rmdir()
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(content)


@pytest.mark.parametrize("what", SPOILT)
def test_a_bad_configuration_keeps_the_one_before_and_says_so(restored: Reloaded, what: str) -> None:
    spoil, named = SPOILT[what]
    before, logged = restored.workers(), len(restored.site.log)

    spoil(restored)
    applied = restored.reload()

    log = restored.site.log[logged:]
    assert not applied
    assert named in log
    assert "the configuration is not reloaded, and configuration 1 goes on" in log
    assert "Traceback" not in log
    assert restored.ready() == {"status": "ready", "last_reload": "failed"}
    assert restored.workers() == before
    assert what == "half a key file" or outcomes(restored.site, 3, ALICE) == {200}


def test_a_failure_is_over_with_the_next_reload_that_works(start: Start) -> None:
    reloaded = start(metrics={"bind": f"127.0.0.1:{free_port()}"})
    good = reloaded.config

    reloaded.change(serve={"workers": 0})
    reloaded.reload()
    while_bad = {**reloaded.ready(), **numbers_of(reloaded, good)}
    reloaded.write(good)
    reloaded.reload()
    after = {**reloaded.ready(), **numbers_of(reloaded, good)}

    assert while_bad == {"status": "ready", "last_reload": "failed", "successful": 0.0, "generation": 1.0}
    assert after == {"status": "ready", "successful": 1.0, "generation": 2.0}


def numbers_of(reloaded: Reloaded, good: dict[str, Any]) -> dict[str, float]:
    answer = ask(f"http://{good['metrics']['bind']}", "/metrics").body.decode()
    values = dict(line.rsplit(" ", 1) for line in answer.splitlines() if not line.startswith("#"))
    del reloaded
    return {
        "successful": float(values["compat_auth_config_last_reload_successful"]),
        "generation": float(values["compat_auth_config_generation"]),
    }


# An old module of the site's own: once a flag is there, every process that is forked from then on ends at once, or hangs.
MODULE: Final = """
import os, time
from functools import wraps

CLIENT_AUTH = None
FLAG = {flag!r}

def _at_fork():
    if os.path.exists(FLAG):
        {action}

os.register_at_fork(after_in_child=_at_fork)

def init_app(app):
    pass

def requires_authentication(function):
    @wraps(function)
    def decorated(*args, **kwargs):
        return function(*args, **kwargs)
    return decorated
"""


def test_a_new_worker_that_ends_before_it_could_serve_ends_the_reload(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = tmp_path / "flag"
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "spoilt_auth.py").write_text(MODULE.format(flag=str(flag), action="os._exit(3)"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    reloaded = start()
    before = reloaded.workers()

    # The trial is forked before the module is there; the new workers are forked after it.
    reloaded.change(auth_backends=["spoilt_auth"])
    flag.touch()
    applied = reloaded.reload()
    flag.unlink()
    gone = until(lambda: reloaded.workers() == before, 15)
    still = outcomes(reloaded.site, 6, ALICE)
    reloaded.change(auth_backends=["basic_auth"])
    again = reloaded.reload()

    assert (applied, gone, again) == (False, True, True)
    assert still == {200}
    assert "a new worker ended with status 3 before it could serve" in reloaded.site.log


def test_a_storm_of_signals_loses_no_request_and_ends_with_the_last_configuration(start: Start) -> None:
    reloaded = start()

    with under_load(reloaded.site, ALICE[1]) as load:
        for number in range(300):
            if number == 150:
                reloaded.change(serve={"workers": 3})
            reloaded.ask()
            time.sleep(0.01)
        settled = until(lambda: reloaded.done >= 2 and len(reloaded.workers()) == 3)
        count = load.count
        until(lambda: load.count > count + 200)

    assert settled
    assert load.bad == {}
    assert reloaded.failed == 0
    # Signals while one is under way count as one.
    assert reloaded.done < 20


@pytest.mark.parametrize("pause_s", [0.0, 0.8])
def test_a_stop_during_a_reload_stops(start: Start, pause_s: float) -> None:
    reloaded = start()
    assert ask(reloaded.site.url, "/api/x", ALICE).status == 200

    reloaded.ask()
    time.sleep(pause_s)
    reloaded.site.family = reloaded.site.command.children(recursive=True)
    reloaded.site.signal(signal.SIGTERM)
    reloaded.ask()
    status = reloaded.site.status()

    assert status == 0
    assert until(lambda: not any(one.is_running() for one in reloaded.site.family), 10)


@pytest.mark.parametrize("pause_s", [0.4, 1.2])
def test_a_worker_that_is_killed_during_a_reload_leaves_all_of_one_configuration(start: Start, pause_s: float) -> None:
    reloaded = start()
    before = reloaded.workers()

    reloaded.change(serve={"workers": 3})
    reloaded.ask()
    time.sleep(pause_s)
    for pid in sorted(reloaded.workers())[-1:]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    ended = until(lambda: reloaded.done + reloaded.failed == 1)
    wanted = 3 if reloaded.done else 2
    settled = until(lambda: len(reloaded.workers()) == wanted, 20)

    assert (ended, settled) == (True, True)
    assert before
    assert until(lambda: outcomes(reloaded.site, 6, ALICE) == {200}, 10)


def test_a_token_that_is_revoked_during_a_reload_is_refused_by_all_workers(start: Start) -> None:
    reloaded = start()
    late: list[tuple[float, int | str]] = []

    for delay_s in (0.0, 0.8):
        token, identity = new_token(reloaded)
        assert outcomes(reloaded.site, 8, token) == {200}
        done = reloaded.done
        reloaded.ask()
        time.sleep(delay_s)
        address = f"/compat-auth/api/personal-tokens/{identity}"
        revoked = ask(reloaded.site.url, address, ALICE, method="DELETE")
        assert revoked.status in (200, 204), revoked.body
        # Other processes hear of it within a second.
        time.sleep(1.0)
        while reloaded.done == done:
            late += [(delay_s, one) for one in outcomes(reloaded.site, 3, token) if one != 401]
        late += [(delay_s, one) for one in outcomes(reloaded.site, 12, token) if one != 401]

    assert late == []


def new_token(reloaded: Reloaded) -> tuple[tuple[str, str], str]:
    body = json.dumps({"name": f"token {time.time_ns()}"}).encode()
    json_type = ("Content-Type", "application/json")
    made = ask(reloaded.site.url, "/compat-auth/api/personal-tokens", ALICE, json_type, method="POST", body=body)
    assert made.status == 201, made.body
    return ("Authorization", f"Bearer {made.json()['token']}"), str(made.json()["id"])


def test_a_config_that_nginx_refuses_is_not_taken(start: Start) -> None:
    reloaded = start(front="nginx")

    reloaded.change(forward_auth={"secret": "s" * 40})
    applied = reloaded.reload()

    assert not applied
    assert "forward_auth.secret: cannot change while nginx serves" in reloaded.site.log
    assert outcomes(reloaded.site, 3, ALICE) == {200}


def test_nginx_gets_the_new_configuration_with_the_workers(start: Start) -> None:
    reloaded = start(front="nginx")

    reloaded.change(prefix="/elsewhere/")
    applied = reloaded.reload()
    reads = until(lambda: "nginx reads its files again" in reloaded.site.log, 10)
    arrived = until(lambda: ask(reloaded.site.url, "/elsewhere/whoami", ALICE).status == 200, 10)

    assert (applied, reads, arrived) == (True, True, True)
    assert outcomes(reloaded.site, 6, ALICE) == {200}

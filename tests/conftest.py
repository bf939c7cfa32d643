"""What every test may use: the real peers, each started by the first test that asks for it."""

import gc
import os
from collections.abc import Generator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# First of ours: it replaces `time.sleep` before anything imports it by name.
from support.outside_world import touched  # isort: split

from support.measuring import Measuring
from support.peers.chromium import chromium, chromium_process
from support.peers.fixtures import (
    airflow2,
    airflow_fab,
    airflow_simple,
    authority,
    caddy,
    kdc,
    mariadb,
    nginx,
    pam,
    postgres,
    redis_server,
    second_slapd,
    slapd,
)
from support.peers.groups import is_measured
from support.peers.openid_provider import google, oidc_provider

# No test may depend on how fast the machine is.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")

# Asking for one of these makes a test a peer test.
PEERS = frozenset(
    (
        "airflow2",
        "airflow_fab",
        "airflow_simple",
        "caddy",
        "chromium_process",
        "google",
        "kdc",
        "nginx",
        "oidc_provider",
        "pam",
        "postgres",
        "redis_server",
        "second_slapd",
        "slapd",
    )
)
__all__ = [
    "airflow2",
    "airflow_fab",
    "airflow_simple",
    "authority",
    "caddy",
    "chromium",
    "chromium_process",
    "google",
    "kdc",
    "mariadb",
    "nginx",
    "oidc_provider",
    "pam",
    "postgres",
    "redis_server",
    "second_slapd",
    "slapd",
]
TESTS = Path(__file__).parent
# A folder says what its tests may touch, and so which marker they carry.
MARKERS = {
    "unit": "unit",
    "integration": "integration",
    "security": "security",
    "compat": "compat",
    "peers": "peer",
    "performance": "performance",
}
# Characters of a parameter that can still be read in a test's name.
LONGEST_ID = 100
# What `./test --fast` runs: no sockets, no processes, no sleeps.
FAST = (TESTS / "unit", TESTS / "compat", TESTS / "security" / "in_process")

measuring = Measuring()


def pytest_configure(config: pytest.Config) -> None:
    """Stop before collection when the package is not installed: its backends are found by their entry points."""
    # Files that tests write are for us alone to change, whatever the umask of the developer's shell.
    os.umask(0o022)
    # Each process of xdist imports all that is tested; to see that in one is enough.
    if getattr(config, "workerinput", {}).get("workerid", "gw0") != "gw0":
        measuring.pause()
    try:
        distribution("compat_auth")
    except PackageNotFoundError as exc:
        raise pytest.UsageError(
            "compat_auth is not installed in this environment; run: pip install -e . --group tests"
        ) from exc


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test by its folder, and as a peer test when it asks for a peer: `-m "not peer"` never starts one."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in MARKERS:
            item.add_marker(MARKERS[folder])
        if isinstance(item, pytest.Function) and PEERS.intersection(item.fixturenames):
            item.add_marker("peer")


def pytest_collection_finish() -> None:
    """Leave the thousands of collected tests out of every later collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Measure coverage in this test, or pause it: with a tracer it takes up to five times as long."""
    if is_measured(item.nodeid.partition("::")[0]) and item.get_closest_marker("unmeasured") is None:
        measuring.resume()
    else:
        measuring.pause()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was measured while the process is still waited for: a worker of xdist has 10 s for its exit."""
    if hasattr(session.config, "workerinput"):
        measuring.save()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long value by its argument: what keys and certificates are made of differs from process to process."""
    return argname if isinstance(val, str | bytes) and len(val) > LONGEST_ID else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Return the scheduler of `-n … --dist loadfile`; for the others, xdist's own.

    xdist's `loadgroup` finds no group with pytest 9.2, which has no `_nodeid` any more.
    """
    if config.getvalue("dist") != "loadfile":
        return None
    from support.peers.scheduling import GroupScheduling  # noqa: PLC0415  # only where xdist is in use

    return GroupScheduling(config, log)


def _untouched(item: pytest.Item) -> Generator[None, object, object]:
    """Fail what a test of a fast folder does when it touches the world outside, even when it ends well."""
    if not any(item.path.is_relative_to(folder) for folder in FAST):
        return (yield)
    touched.begin()
    try:
        return (yield)
    finally:
        seen = touched.end()
        if seen:
            pytest.fail(f"A fast test touched {', '.join(seen)}. Move it to tests/integration or over_sockets.")


# What a fixture touches is touched for the test.
pytest_runtest_setup = pytest.hookimpl(wrapper=True)(_untouched)
pytest_runtest_call = pytest.hookimpl(wrapper=True)(_untouched)

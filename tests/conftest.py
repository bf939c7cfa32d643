"""What every test may use: the real peers, each started by the first test that asks for it."""

import os
from importlib.metadata import PackageNotFoundError, distribution

import pytest

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
from support.peers.openid_provider import google, oidc_provider

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


def pytest_configure() -> None:
    """Stop before collection when the package is not installed: its backends are found by their entry points."""
    # Files that tests write are for us alone to change, whatever the umask of the developer's shell.
    os.umask(0o022)
    try:
        distribution("compat_auth")
    except PackageNotFoundError as exc:
        raise pytest.UsageError(
            "compat_auth is not installed in this environment; run: pip install -e . --group tests"
        ) from exc


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that asks for a peer, so that `-m "not peer"` never starts one."""
    for item in items:
        if isinstance(item, pytest.Function) and PEERS.intersection(item.fixturenames):
            item.add_marker(pytest.mark.peer)

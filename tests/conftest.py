"""What every test may use: the real peers, each started by the first test that asks for it."""

from importlib.metadata import PackageNotFoundError, distribution

import pytest

from peers.fixtures import airflow2, airflow_fab, airflow_simple

__all__ = ["airflow2", "airflow_fab", "airflow_simple"]


def pytest_configure() -> None:
    """Stop before collection when the package is not installed: its backends are found by their entry points."""
    try:
        distribution("compat_auth")
    except PackageNotFoundError as exc:
        raise pytest.UsageError(
            "compat_auth is not installed in this environment; run: pip install -e . --group tests"
        ) from exc

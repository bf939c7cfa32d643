"""Which tests run one after the other in one process, for `pytest -n … --dist loadfile`.

A peer that takes long to start is started once: the files that share it are one group. What starts peers of its own, or
none, is a group for itself. The longest come first, so that no process is left alone with one at the end.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path, PurePath
from typing import Final

ROOT: Final = Path(__file__).parents[3]

# By what a run took on two cores.
LONGEST_FIRST: Final = (
    "tests/peers/test_fault_soak.py",
    "airflow_fab",
    "plugged_airflow",
    "tests/peers/test_v1_against_airflow2.py",
    "airflow2_as",
    "tests/performance/test_targets.py",
    "tests/peers/test_which_airflow.py",
    "tests/peers/test_rolling_restarts.py",
    "tests/peers/test_oldest_airflow.py",
    "tests/peers/test_v1_faults.py",
    "tests/peers/test_keycloak_manager.py",
    "tests/peers/test_rolling_upgrade.py",
    "tests/peers/test_restarts.py",
    "airflow_simple",
    "tests/peers/test_ldap.py",
    "tests/peers/test_soak.py",
    "tests/peers/test_stopping.py",
    "tests/peers/test_documented_proxies.py",
    "kdc",
    "tests/peers/test_openapi.py",
    "oidc_provider",
)
# The first of these that a file uses is its group: what takes longest to start.
SHARED: Final = ("plugged_airflow", "airflow2_as", "airflow_fab", "airflow_simple", "kdc", "oidc_provider")
# They use so much that they would make one group of several.
ALONE: Final = frozenset(("test_fault_soak.py", "test_restarts.py"))
# Coverage is not measured where a load or another server takes the time: what they reach of ours, others reach, too.
UNMEASURED: Final = frozenset(
    (
        "test_docs_chromium.py",
        "test_fault_soak.py",
        "test_front_revocations.py",
        "test_oldest_airflow.py",
        "test_restarts.py",
        "test_rolling_restarts.py",
        "test_soak.py",
        "test_token_pages_chromium.py",
        "test_token_replicas.py",
        "test_v1_against_airflow2.py",
        "test_v1_faults.py",
        "test_which_airflow.py",
    )
)


@functools.cache
def group_of(path: str) -> str:
    """Return the group of a test file, given by its path from the root."""
    if not path.startswith("tests/peers/") or PurePath(path).name in ALONE:
        return path
    words = set(re.findall(r"\w+", (ROOT / path).read_text(encoding="utf-8")))
    return next((peer for peer in SHARED if peer in words), path)


def rank(group: str) -> int:
    """Return where a group comes in the run; those that take no time come last."""
    return LONGEST_FIRST.index(group) if group in LONGEST_FIRST else len(LONGEST_FIRST)


def is_measured(path: str) -> bool:
    """Tell whether coverage is measured in a test file, given by its path from the root."""
    return not path.startswith("tests/performance/") and PurePath(path).name not in UNMEASURED

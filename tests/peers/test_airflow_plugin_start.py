"""What the plugin does with the configuration that it finds when Airflow's API server starts."""

from __future__ import annotations

import pytest

from compat_auth.airflow2_config.settings import GENERATED
from support.peers import seed
from support.peers.gateway import call
from support.peers.plugin import StartPlugged

pytestmark = pytest.mark.peer

ADMIN = ("admin", "admin")
DENY_ALL = "airflow.api.auth.backend.deny_all"


def test_the_airflow_cfg_that_airflow_writes_by_itself_does_not_switch_the_plugin_on(
    plugged_airflow: StartPlugged,
) -> None:
    airflow = plugged_airflow(seed.FAB)

    password = call("GET", f"{airflow.url}/api/v2/dags", auth=ADMIN)
    ours = call("GET", f"{airflow.url}/compat-auth/whoami", auth=ADMIN)

    assert f"auth_backends = {GENERATED}" in (airflow.home / "airflow.cfg").read_text()
    assert password.status_code == 401
    assert "json" not in ours.headers["Content-Type"]


def test_an_old_singular_deny_all_denies_and_the_log_says_that_it_is_active(plugged_airflow: StartPlugged) -> None:
    airflow = plugged_airflow(seed.FAB, AIRFLOW__API__AUTH_BACKEND=DENY_ALL, AIRFLOW__API__AUTH_BACKENDS_CMD="echo x")

    refused = call("GET", f"{airflow.url}/api/v2/dags", auth=ADMIN)

    log = airflow.process.log.read_text()
    assert refused.status_code == 403
    assert f"compat_auth: backend 1 of 1 is active: deny_all ({DENY_ALL})" in log
    assert "compat_auth: $AIRFLOW__API__AUTH_BACKENDS_CMD: not used" in log

"""Logs at the start of the API server which backends are active and what is missing, one line each."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from compat_auth.airflow2_config.settings import OldSettings
from compat_auth.backend import Backend
from compat_auth.config import Settings

logger = logging.getLogger(__name__)


def log_start(settings: Settings, backends: Sequence[Backend], old: OldSettings) -> None:
    """Log each active backend, and each missing part that an operator may expect.

    Args:
        settings: The settings in use.
        backends: The chain.
        old: Airflow's configuration.
    """
    for position, backend in enumerate(backends, start=1):
        named = "" if backend.configured_as in ("", backend.name) else f" ({backend.configured_as})"
        logger.info("compat_auth: backend %d of %d is active: %s%s", position, len(backends), backend.name, named)
    for line in (*_missing(settings, backends), *old.unused()):
        logger.warning("compat_auth: %s", line)


def _missing(settings: Settings, backends: Sequence[Backend]) -> list[str]:
    names = {backend.name for backend in backends}
    lines: list[str] = []
    if not names:
        lines.append(
            "no backend is active, so only Airflow's own tokens and cookies work; set [compat_auth] auth_backends"
        )
    if settings.airflow_task.rules and "airflow_task" not in names:
        lines.append("no task can use [compat_auth] airflow_task__rules: airflow_task is not in auth_backends")
    if not settings.session.secret.get_secret_value() and not settings.session.secrets:
        lines.append("no login pages: [compat_auth] session__secret is not set")
    return lines

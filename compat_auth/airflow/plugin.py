"""The plugin (entry-point group `airflow.plugins`). Every process of Airflow imports it, and only the API server uses it.

So this module imports only the modules that find out whether there is anything to do.
"""

from __future__ import annotations

import importlib
import logging
import os
from typing import Any, cast

from airflow.configuration import conf  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
from airflow.plugins_manager import AirflowPlugin  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

from compat_auth.airflow.activation import is_switched_on, user_menu
from compat_auth.airflow.closed_gate import ClosedMiddleware

logger = logging.getLogger(__name__)


def stand_before(app: Any) -> Any:
    """Return the application that answers in front of Airflow's; only the API server calls it, when it starts."""
    try:
        return importlib.import_module("compat_auth.airflow.composition").compose(app, conf, os.environ)
    except Exception as error:  # noqa: BLE001  # whatever it is, an API server that opens without us is open too far
        logger.critical("compat_auth: the API server does not start: %s", error)
        return ClosedMiddleware(str(error))


def _middlewares() -> list[dict[str, Any]]:
    try:
        switched_on = is_switched_on(conf, os.environ)
    except Exception:  # noqa: BLE001  # Airflow goes on without a plugin that raises; the API server has to hear of it
        switched_on = True
    return [{"middleware": stand_before, "args": [], "kwargs": {}, "name": "compat_auth"}] if switched_on else []


def _external_views() -> list[dict[str, str]]:
    try:
        return user_menu(conf, os.environ)
    except Exception:  # noqa: BLE001  # a menu without our entries is no reason to lose the gate
        return []


class CompatAuthPlugin(AirflowPlugin):  # type: ignore[misc]  # Airflow is not installed where types are checked
    """The gate around Airflow's application."""

    name = "compat_auth"
    fastapi_root_middlewares = _middlewares()
    external_views = _external_views()

    def __init_subclass__(cls, **options: Any) -> None:
        """Say where a site makes this a plugin of one team: from 3.4 on, Airflow then leaves our middleware out."""
        super().__init_subclass__(**options)  # pyright: ignore[reportUnknownMemberType]  # Airflow's class
        team: object = getattr(cls, "team_name", None)
        if team is not None and cast("Any", conf).getboolean("core", "multi_team", fallback=False):
            logger.critical(
                "compat_auth: the plugin has team_name %r, so Airflow does not run its middleware and no old client gets in; "
                "install compat_auth without a team",
                team,
            )

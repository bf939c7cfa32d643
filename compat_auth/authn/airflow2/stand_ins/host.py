"""The host of a process's modules: what their stand-ins for Airflow and FAB are made from."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import cast

import flask
from flask import Flask

from compat_auth.authn.airflow2.stand_ins.app_builder import AppBuilder, AuthManager
from compat_auth.authn.airflow2.stand_ins.configuration import AirflowConf
from compat_auth.authn.airflow2.stand_ins.security_manager import security_manager_of
from compat_auth.authn.shared import one_per_settings
from compat_auth.config import Settings, parse_settings


class Host:
    """The settings, options and users that stand-ins are made from. Any thread may use it.

    A module keeps what it imported: the stand-ins ask the host that is in charge when they are used.

    Args:
        settings: Of the process.

    Raises:
        ConfigError: The old airflow.cfg cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        file = settings.airflow2_modules.airflow_cfg
        self.conf = AirflowConf(Path(file).expanduser() if file else None)
        self.appbuilder = AppBuilder(lambda: security_manager_of(settings))

    @property
    def auth_manager(self) -> AuthManager:
        """Airflow's auth manager, around the security manager."""
        return AuthManager(self.appbuilder.sm)


_EXTENSION = "compat_auth_airflow2_host"
_importing: ContextVar[Host | None] = ContextVar("compat_auth_airflow2_importing", default=None)
# Of the settings that were loaded last: for what runs outside of every app, such as a thread that a module starts.
_last: list[Host] = []


def use_host(settings: Settings) -> Host:
    """Return the host of these settings, which modules that are imported from now on in this context find.

    Raises:
        ConfigError: The old airflow.cfg cannot be read.
    """
    host = one_per_settings(settings, Host, lambda: Host(settings))
    _importing.set(host)
    _last[:] = [host]
    return host


def set_host(app: Flask, host: Host) -> None:
    """Let modules find this host while they run in the app."""
    app.extensions.setdefault(_EXTENSION, host)


def current_host() -> Host:
    """Return the host of the current app, else that of the import under way, else the one that was used last."""
    if flask.has_app_context() and (host := flask.current_app.extensions.get(_EXTENSION)) is not None:
        return cast("Host", host)
    found = _importing.get() or next(iter(_last), None)
    return found if found is not None else use_host(parse_settings({}, origin="defaults"))

"""The host of a process's modules: what their stand-ins for Airflow and FAB are made from."""

from __future__ import annotations

from pathlib import Path

from compat_auth.authn.airflow2.stand_ins.configuration import AirflowConf
from compat_auth.authn.airflow2.stand_ins.security_manager import AppBuilder, AuthManager, security_manager_of
from compat_auth.config import Settings, parse_settings
from compat_auth.errors import ConfigError


class Host:
    """What stand-ins are made from. Any thread may use it.

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


_hosts: list[Host] = []


def use_host(settings: Settings) -> Host:
    """Return the host of these settings, which is in charge from now on.

    Raises:
        ConfigError: The old airflow.cfg cannot be read.
    """
    if not _hosts or _hosts[-1].settings is not settings:
        _hosts[:] = [Host(settings)]
    return _hosts[-1]


def current_host() -> Host:
    """Return the host in charge; one of the defaults where a module was imported without a configuration."""
    if not _hosts:
        try:
            use_host(parse_settings({}, origin="defaults"))
        except ConfigError as exc:  # pragma: no cover  # the defaults are in order
            raise AssertionError(exc) from exc
    return _hosts[-1]

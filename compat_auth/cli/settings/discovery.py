"""Finds an Airflow, its configuration and a keytab on this machine, as suggestions for `compat-auth init`."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compat_auth.airflow.keytab import services_in
from compat_auth.airflow2_config.settings import OldSettings, read_airflow_cfg
from compat_auth.cli.diagnosis.simplest_setup import SimplestSetup, find_setup
from compat_auth.errors import CompatAuthError, ConfigError

_CFG_FOLDERS = ("/opt/airflow", "/etc/airflow", "/usr/local/airflow")
_HTTP = "HTTP"
_SYSTEM_KEYTAB = "/etc/krb5.keytab"
_FIRST_URL = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class OldAirflow:
    """An airflow.cfg.

    Attributes:
        path: The file; empty for the environment alone.
        options: What is set there and in the environment.
    """

    path: str
    options: OldSettings

    def text(self, section: str, key: str) -> str:
        """Return the value of an option; empty where it is not set."""
        written = self.options.find((section, key))
        return "" if written is None else written.text.strip()

    @property
    def backends(self) -> str:
        """The list of backends that somebody has chosen; empty without one."""
        written = self.options.find_chosen_list()
        return "" if written is None else written.text.strip()


def suggested_cfg(environ: Mapping[str, str]) -> str:
    """Return the path of the airflow.cfg that Airflow itself would read here, or that of a usual place; else empty."""
    named = environ.get("AIRFLOW_CONFIG")
    homes = [environ.get("AIRFLOW_HOME") or str(Path(environ.get("HOME", "/")) / "airflow"), *_CFG_FOLDERS]
    places = [Path(named)] if named else [Path(home) / "airflow.cfg" for home in homes]
    return next((str(place) for place in places if place.is_file()), "")


def read_old(path: str, environ: Mapping[str, str]) -> OldAirflow:
    """Return the options that an airflow.cfg and the environment set.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        return OldAirflow(path, read_airflow_cfg(path, environ))
    except (OSError, UnicodeDecodeError, configparser.Error) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not an airflow.cfg"
        raise ConfigError(
            f"--airflow-cfg: {path}: cannot be read ({reason}); name another file, or leave it out"
        ) from None


def suggested_url(old: OldAirflow) -> str:
    """Return where this Airflow says that its API is, else where one listens that nobody has configured."""
    return (old.text("api", "base_url") or _FIRST_URL).rstrip("/")


def look_at(url: str) -> SimplestSetup | CompatAuthError:
    """Return the Airflow that answers at a URL, or why none was found."""
    try:
        # No variable of this shell may change what is found.
        return find_setup(url, "sqlite://", {})
    except CompatAuthError as error:
        return error


def suggested_keytab(old: OldAirflow) -> str:
    """Return the path of a keytab with a key that browsers and curl can use; else empty."""
    written = old.options.find_keytab()
    places = [written.text.strip()] if written and written.text.strip() else [_SYSTEM_KEYTAB]
    return next((place for place in places if _HTTP in services_of(place)), "")


def services_of(keytab: str) -> tuple[str, ...]:
    """Return the services in a keytab; none where it cannot be read."""
    try:
        return services_in(Path(keytab))
    except ConfigError:
        return ()

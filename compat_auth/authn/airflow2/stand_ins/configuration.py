"""`airflow.configuration` for a module: the old airflow.cfg, and the environment, as Airflow 2 read them.

An environment variable `AIRFLOW__SECTION__KEY` comes before the file. A default of Airflow's own is not there: a module
that wants one gives `fallback`, and gets `AirflowConfigException` otherwise, as for an option of its own section.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compat_auth.errors import ConfigError

_YES = frozenset(("t", "true", "1"))
_NO = frozenset(("f", "false", "0"))
_NOTHING = object()


class AirflowConfigException(Exception):  # Airflow's name
    """An option is not set, or has a value of another type (`airflow.exceptions.AirflowConfigException`)."""


class AirflowConf:
    """Reads options like `airflow.configuration.conf`.

    Args:
        file: The airflow.cfg of the Airflow 2; None: there is the environment only.
        environ: The environment.

    Raises:
        ConfigError: The file cannot be read.
    """

    def __init__(self, file: Path | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._parser = configparser.ConfigParser(interpolation=None, strict=False)
        if file is not None:
            try:
                self._parser.read_string(file.read_text("utf-8"), source=str(file))
            except (OSError, UnicodeDecodeError, configparser.Error) as exc:
                raise ConfigError(f"airflow2_modules.airflow_cfg: {file}: cannot be read ({exc})") from exc

    def get(self, section: str, key: str, fallback: Any = _NOTHING, **_: Any) -> Any:
        """Return an option as text; `fallback` where it is not set.

        Raises:
            AirflowConfigException: It is not set, and there is no fallback.
        """
        variable = self._environ.get(f"AIRFLOW__{section.upper().replace('.', '_')}__{key.upper()}")
        if variable is not None:
            return os.path.expandvars(variable)
        if self._parser.has_option(section.lower(), key) or self._parser.has_option(section, key):
            place = section if self._parser.has_option(section, key) else section.lower()
            return os.path.expandvars(self._parser.get(place, key))
        if fallback is _NOTHING:
            raise AirflowConfigException(f"section/key [{section}/{key}] not found in config")
        return fallback

    def getboolean(self, section: str, key: str, fallback: Any = _NOTHING, **_: Any) -> Any:
        """Return an option as a truth value; see `get`."""
        value = str(self.get(section, key, fallback)).split("#")[0].strip().lower()
        if value in _YES or value in _NO:
            return value in _YES
        raise AirflowConfigException(f"[{section}/{key}]: neither true nor false")

    def getint(self, section: str, key: str, fallback: Any = _NOTHING, **_: Any) -> Any:
        """Return an option as a whole number; see `get`."""
        return self._number(int, section, key, fallback)

    def getfloat(self, section: str, key: str, fallback: Any = _NOTHING, **_: Any) -> Any:
        """Return an option as a number; see `get`."""
        return self._number(float, section, key, fallback)

    def _number(self, kind: type[int | float], section: str, key: str, fallback: Any) -> Any:
        value = self.get(section, key, fallback)
        try:
            return value if value is None else kind(value)
        except (TypeError, ValueError) as exc:
            raise AirflowConfigException(f"[{section}/{key}]: not a number") from exc

    def getlist(self, section: str, key: str, fallback: Any = _NOTHING, delimiter: str = ",", **_: Any) -> Any:
        """Return an option as a list of texts; see `get`."""
        value = self.get(section, key, fallback)
        return [item.strip() for item in value.split(delimiter)] if isinstance(value, str) else value

    def has_option(self, section: str, option: str, **_: Any) -> bool:
        """Return whether an option is set."""
        return self.get(section, option, None) is not None

    def has_section(self, section: str) -> bool:
        """Return whether the file has a section."""
        return self._parser.has_section(section)

    def getsection(self, section: str, **_: Any) -> dict[str, Any] | None:
        """Return the options of a section of the file, with what the environment says of them; None without one."""
        if not self._parser.has_section(section):
            return None
        return {key: self.get(section, key) for key in self._parser.options(section)}

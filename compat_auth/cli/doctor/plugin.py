"""The settings of the plugin inside Airflow, read from airflow.cfg and the environment without Airflow."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compat_auth.airflow.activation import CONFIG, ENABLED, PREFIX, is_switched_on, old_list, own_variables
from compat_auth.airflow2_config.settings import add_missing, adopted
from compat_auth.cli.diagnosis.checks import directories_of
from compat_auth.config import Settings
from compat_auth.config.loading import merge, old_settings_of, parse_settings, read_toml, read_variables
from compat_auth.errors import ConfigError

# The users of Airflow itself: only its API server can ask them.
_AIRFLOWS = "auth_manager"


@dataclass(frozen=True, slots=True)
class Plugin:
    """The plugin's settings.

    Attributes:
        settings: Without the defaults that follow from Airflow's auth manager.
        place: The file, or "the environment".
        fault: Why they are wrong, or "".
    """

    settings: Settings
    place: str
    fault: str = ""


def read_plugin(airflow_cfg: str, environ: Mapping[str, str]) -> Plugin | None:
    """Return the plugin's settings; None if nothing switches it on.

    Args:
        airflow_cfg: The file, or "".
        environ: The environment.
    """
    conf = configparser.RawConfigParser(strict=False)
    place = airflow_cfg or "the environment"
    try:
        if airflow_cfg:
            conf.read_string(Path(airflow_cfg).read_text(encoding="utf-8-sig"))
        if not is_switched_on(conf, environ):
            return None
        return Plugin(_settings(conf, airflow_cfg, environ), place)
    except (OSError, UnicodeDecodeError, configparser.Error) as exc:
        fault = f"airflow.cfg: {airflow_cfg}: cannot be read ({type(exc).__name__}); name it with --airflow-cfg"
        return Plugin(Settings(), place, fault)
    except ConfigError as error:
        return Plugin(Settings(), place, str(error))


def set_up(settings: Settings) -> list[str]:
    """Return the directories in use that can be asked outside Airflow."""
    return [name for name in directories_of(settings) if name != _AIRFLOWS]


def _settings(conf: configparser.RawConfigParser, airflow_cfg: str, environ: Mapping[str, str]) -> Settings:
    variables = own_variables(conf, environ)
    variables.pop(ENABLED, None)
    home = Path(os.path.expandvars(environ.get("AIRFLOW_HOME") or "~/airflow")).expanduser()
    content: dict[str, Any] = {
        "database_url": f"sqlite:///{home.absolute()}/compat_auth.db",
        "token": {"strategy": "in_process"},
        # Outside Airflow nobody knows its auth manager.
        "basic_auth": {"directories": [_AIRFLOWS]},
    }
    if file := variables.pop(CONFIG, None):
        merge(content, read_toml(Path(file)))
    merge(content, read_variables(variables, prefix=PREFIX))
    if "auth_backends" not in content and (names := old_list(conf, environ)) is not None:
        content["auth_backends"] = names
    add_missing(content, adopted(old_settings_of(airflow_cfg, environ), str(content.get("auth_backends", ""))))
    return parse_settings(content, origin="[compat_auth]", prefix=PREFIX)

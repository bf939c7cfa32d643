"""Load settings from one TOML file and the environment.

Precedence: `COMPAT_AUTH_SECTION__KEY`, then `COMPAT_AUTH_SECTION__KEY_FILE`, then the TOML file, then the default.
"""

from __future__ import annotations

import configparser
import os
import tomllib
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, SecretStr, ValidationError

from compat_auth.airflow2_config.settings import OldSettings, add_missing, adopted, read_airflow_cfg
from compat_auth.config.mistakes import explain_error, section_of
from compat_auth.config.settings import Settings
from compat_auth.crypto.file_modes import read_unwritable
from compat_auth.errors import ConfigError

ENV_PREFIX = "COMPAT_AUTH_"
DEFAULT_FILE = "compat_auth.toml"
# Read elsewhere, before there are settings.
_NO_SETTINGS = frozenset((f"{ENV_PREFIX}CONFIG", f"{ENV_PREFIX}LOG_LEVEL"))


def load_settings(path: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings from a TOML file and the environment.

    Args:
        path: The file; None means `$COMPAT_AUTH_CONFIG`, else `./compat_auth.toml` where it exists, else none.
        environ: The environment; None means the process's own.

    Raises:
        ConfigError: A file cannot be read, a key is unknown, or a value is out of range; says where and the next step.
    """
    environ = os.environ if environ is None else environ
    path = find_file(path, environ)
    content = read_toml(Path(path)) if path else {}
    origin = path or "defaults"
    merge(content, read_variables(environ))
    _adopt_airflow(content, environ)
    return parse_settings(content, origin=origin, variables=environ)


def find_file(path: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the TOML file that `load_settings` reads; None where there is none."""
    return path or environ.get(f"{ENV_PREFIX}CONFIG") or (DEFAULT_FILE if Path(DEFAULT_FILE).exists() else None)


def overriding_variables(path: str, environ: Mapping[str, str]) -> list[str]:
    """Return which variables override a key of the file, as sentences.

    Raises:
        ConfigError: The file cannot be read.
    """
    content = read_toml(Path(path))
    found: list[str] = []
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX) or name in _NO_SETTINGS:
            continue
        place: object = content
        keys, _ = _path_of(name, ENV_PREFIX)
        for key in keys:
            place = cast("dict[str, object]", place).get(key) if isinstance(place, dict) else None
        if place is not None:
            found.append(f"${name} overrides {'.'.join(keys)} of the file")
    return found


def parse_settings(
    content: Mapping[str, Any], *, origin: str, prefix: str = ENV_PREFIX, variables: Container[str] = ()
) -> Settings:
    """Return the settings in a mapping, with sections as nested mappings.

    Args:
        content: The values.
        origin: Where it comes from, for messages.
        prefix: Prefix of the variables for the same keys, for messages.
        variables: Names of the variables that are set.

    Raises:
        ConfigError: A key is unknown or a value is out of range; says where, with the origin's name, and the next step.
    """
    try:
        return Settings.model_validate(content)
    except ValidationError as exc:
        raise ConfigError("\n".join(explain_error(origin, error, prefix, variables) for error in exc.errors())) from exc


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        ConfigError: The file cannot be read, is not TOML, or is writable by others.
    """
    try:
        return tomllib.loads(read_unwritable(path))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read ({exc}); pass --config or set {ENV_PREFIX}CONFIG") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(
            f"{path}: not TOML: {exc}; correct that line: text stands in quotes, sections in [ ]"
        ) from exc


def read_variables(environ: Mapping[str, str], *, prefix: str = ENV_PREFIX) -> dict[str, Any]:
    """Return the values that variables set, with sections as nested mappings.

    Args:
        environ: The environment, with our variables among others.
        prefix: Prefix of our variables.

    Raises:
        ConfigError: The file of a secret cannot be read, or variables set both a section and a text of the same name.
    """
    found: dict[str, Any] = {}
    # Files first, so that the plain variable of the same key wins.
    for name, text in sorted(environ.items(), key=lambda item: not item[0].endswith("_FILE")):
        if not name.startswith(prefix) or name in _NO_SETTINGS:
            continue
        (*sections, key), is_file = _path_of(name, prefix)
        value = text
        if is_file:
            try:
                value = read_unwritable(Path(text)).strip()
            except (OSError, UnicodeDecodeError) as exc:
                raise ConfigError(
                    f"{name}: {text}: cannot be read ({exc}); name a file that this user may read, or unset it"
                ) from exc
        place = found
        for section in sections:
            inner: object = place.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{name}: {section} is also set as a text; unset one of the two")
            place = cast("dict[str, Any]", cast("object", inner))
        if isinstance(place.get(key), dict):
            raise ConfigError(f"{name}: {key} is a section, and keys in it are also set; unset one of the two")
        place[key] = value
    return found


def _path_of(name: str, prefix: str) -> tuple[list[str], bool]:
    """Return the section and key that a variable sets, and whether it names a file with the value."""
    *sections, key = name.removeprefix(prefix).lower().split("__")
    if key.endswith("_file") and _is_secret([*sections, key.removesuffix("_file")]):
        return [*sections, key.removesuffix("_file")], True
    return [*sections, key], False


def _is_secret(path: list[str]) -> bool:
    model: type[BaseModel] = Settings
    *sections, key = path
    for section in sections:
        inner = section_of(model, section)
        if inner is None:
            return False
        model = inner
    return key in model.model_fields and model.model_fields[key].annotation is SecretStr


def merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Merge the second mapping into the first, key by key, also inside sections."""
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            merge(base[key], cast("Mapping[str, Any]", value))
        else:
            base[key] = value


def _adopt_airflow(content: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Take the chain and its backends' settings from Airflow 2's configuration: an old deployment needs no new list.

    Raises:
        ConfigError: The airflow.cfg cannot be read, or has no list of backends.
    """
    old = old_settings_of(content.get("airflow_cfg"), environ)
    if "auth_backends" not in content:
        written = old.find_list()
        if written is not None and (written.text.strip() or not written.place.startswith("$")):
            content["auth_backends"] = written.text
        elif content.get("airflow_cfg"):
            raise ConfigError(
                f"airflow_cfg: {content['airflow_cfg']}: no auth_backends in [api] or [fab]; set auth_backends here"
            )
    add_missing(content, adopted(old, str(content.get("auth_backends", ""))))


def old_settings_of(airflow_cfg: object, environ: Mapping[str, str]) -> OldSettings:
    """Return the settings of Airflow's configuration about logins to its API.

    Args:
        airflow_cfg: The file; a value that is no text, or an empty one, means the environment alone.
        environ: The environment.

    Raises:
        ConfigError: The file cannot be read.
    """
    path = airflow_cfg if isinstance(airflow_cfg, str) else ""
    try:
        return read_airflow_cfg(path, environ)
    except (OSError, UnicodeDecodeError, configparser.Error) as exc:
        raise ConfigError(f"airflow_cfg: {path}: cannot be read ({exc})") from exc

"""Settings from one TOML file, each key also in the environment, secrets also as files.

Precedence: `COMPAT_AUTH_SECTION__KEY`, then `COMPAT_AUTH_SECTION__KEY_FILE`, then the TOML file, then the default.
"""

from __future__ import annotations

import configparser
import difflib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from compat_auth.config.settings import Settings
from compat_auth.errors import ConfigError
from compat_auth.file_modes import read_unwritable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


ENV_PREFIX = "COMPAT_AUTH_"
DEFAULT_FILE = "compat_auth.toml"
# Read elsewhere, before there are settings.
_NO_SETTINGS = frozenset((f"{ENV_PREFIX}CONFIG", f"{ENV_PREFIX}LOG_LEVEL"))


def load_settings(path: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of a TOML file and the environment.

    Args:
        path: The file; None means `$COMPAT_AUTH_CONFIG`, else `./compat_auth.toml` where it exists, else none.
        environ: The environment; None means the process's own.

    Raises:
        ConfigError: A file cannot be read, a key is unknown, or a value is out of range; says where and what to do.
    """
    environ = os.environ if environ is None else environ
    path = path or environ.get(f"{ENV_PREFIX}CONFIG") or (DEFAULT_FILE if Path(DEFAULT_FILE).is_file() else None)
    content = read_toml(Path(path)) if path else {}
    origin = path or "defaults"
    merge(content, read_variables(environ))
    if "auth_backends" not in content:
        _adopt_airflow_list(content, environ)
    return parse_settings(content, origin=origin)


def parse_settings(content: Mapping[str, Any], *, origin: str, prefix: str = ENV_PREFIX) -> Settings:
    """Return the settings that a mapping spells out, sections as mappings in it.

    Args:
        content: What is set.
        origin: Where it comes from, for messages.
        prefix: How the variables begin that set the same, for messages.

    Raises:
        ConfigError: A key is unknown or a value is out of range; says where, by the origin's name, and what to do.
    """
    try:
        return Settings.model_validate(content)
    except ValidationError as exc:
        raise ConfigError("\n".join(_explain(origin, error, prefix) for error in exc.errors())) from exc


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        ConfigError: It cannot be read, is none, or others may write to it.
    """
    try:
        return tomllib.loads(read_unwritable(path))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read ({exc}); pass --config or set {ENV_PREFIX}CONFIG") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: not TOML: {exc}") from exc


def read_variables(environ: Mapping[str, str], *, prefix: str = ENV_PREFIX) -> dict[str, Any]:
    """Return what variables set, sections as mappings in it.

    Args:
        environ: The variables, and others.
        prefix: How ours begin.

    Raises:
        ConfigError: The file of a secret cannot be read, or a variable sets a section and a text at once.
    """
    found: dict[str, Any] = {}
    # Files first, so that the plain variable of the same key wins.
    for name, text in sorted(environ.items(), key=lambda item: not item[0].endswith("_FILE")):
        if not name.startswith(prefix) or name in _NO_SETTINGS:
            continue
        *sections, key = name.removeprefix(prefix).lower().split("__")
        value = text
        if key.endswith("_file") and _is_secret([*sections, key.removesuffix("_file")]):
            key = key.removesuffix("_file")
            try:
                value = read_unwritable(Path(text)).strip()
            except (OSError, UnicodeDecodeError) as exc:
                raise ConfigError(f"{name}: {text}: cannot be read ({exc})") from exc
        place = found
        for section in sections:
            inner: object = place.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{name}: {section} is set as a text too; unset one of the two")
            place = cast("dict[str, Any]", cast("object", inner))
        if isinstance(place.get(key), dict):
            raise ConfigError(f"{name}: {key} is a section, and keys in it are set too; unset one of the two")
        place[key] = value
    return found


def _section_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the model of a section, or None where the name is no section."""
    kind = model.model_fields[name].annotation if name in model.model_fields else None
    # Python 3.10 takes list[str] for a class, which issubclass() then refuses.
    if isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, BaseModel):
        return kind
    return None


def _tables_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the model of a section that may be there several times, or None."""
    kind = model.model_fields[name].annotation if name in model.model_fields else None
    (inner,) = get_args(kind) if get_origin(kind) is list else (None,)
    return inner if isinstance(inner, type) and get_origin(inner) is None and issubclass(inner, BaseModel) else None


def _is_secret(path: list[str]) -> bool:
    model: type[BaseModel] = Settings
    *sections, key = path
    for section in sections:
        inner = _section_of(model, section)
        if inner is None:
            return False
        model = inner
    return key in model.model_fields and model.model_fields[key].annotation is SecretStr


def merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Put what is set elsewhere over what is set here, key by key, also inside sections."""
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            merge(base[key], cast("Mapping[str, Any]", value))
        else:
            base[key] = value


def _adopt_airflow_list(content: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Take the chain from where Airflow 2 had it, so that an old deployment needs no new list."""
    cfg = content.get("airflow_cfg")
    if isinstance(cfg, str) and cfg:
        parser = configparser.RawConfigParser(strict=False)
        try:
            with Path(cfg).open(encoding="utf-8-sig") as lines:
                parser.read_file(lines)
        except (OSError, UnicodeDecodeError, configparser.Error) as exc:
            raise ConfigError(f"airflow_cfg: {cfg}: cannot be read ({exc})") from exc
        for section in ("api", "fab"):
            if parser.has_option(section, "auth_backends"):
                content["auth_backends"] = parser.get(section, "auth_backends")
                return
        raise ConfigError(f"airflow_cfg: {cfg}: no auth_backends in [api] or [fab]; set auth_backends here")
    for variable in ("AIRFLOW__API__AUTH_BACKENDS", "AIRFLOW__FAB__AUTH_BACKENDS"):
        if environ.get(variable):
            content["auth_backends"] = environ[variable]
            return


def _explain(origin: str, error: Any, prefix: str) -> str:
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    variable = prefix + "__".join(path).upper()
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(path[-1], _known_keys(path[:-1]), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(_known_keys(path[:-1]))}"
        return f"{origin}: {key} (or ${variable}): no such setting; {hint}"
    return f"{origin}: {key} (or ${variable}): {error['msg']}"


def _known_keys(path: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for section in path:
        if section.isdigit():  # which table of an array
            continue
        inner = _section_of(model, section) or _tables_of(model, section)
        if inner is None:
            return []
        model = inner
    return sorted(model.model_fields)

"""Reads the variables of the services in a Compose file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from compat_auth.cli.migration.found import OldWorld
from compat_auth.cli.migration.variables import as_compose_expands, parse_variables
from compat_auth.errors import ConfigError

_OPTION = "AIRFLOW__"
_Known = tuple[str, str]  # value and problem


def add_compose(content: Mapping[str, Any], path: Path, world: OldWorld) -> None:
    """Add the variables of all services: Airflow's share theirs.

    Raises:
        ConfigError: No service has one of Airflow's.
    """
    before = len(world.unread)
    named = {**_beside(path), **world.environ}
    found: dict[str, dict[_Known, list[str]]] = {}
    for service, definition in cast("dict[str, Any]", content["services"]).items():
        if isinstance(definition, dict):
            inside = cast("dict[str, Any]", definition)
            for name, known in _variables(inside, str(service), path, named, world).items():
                found.setdefault(name, {}).setdefault(known, []).append(str(service))
    if content.get("include"):
        world.add_unread(
            "include", str(path), "other files are not followed; run `docker compose config`, and name its output"
        )
    for name, values in found.items():
        services = [service for one in values.values() for service in one]
        value, problem = next(iter(values))
        if len(values) > 1:
            problem = "the services do not have the same value"
        place = f"{path}, service {services[0]}"
        world.add_variable(name, value, place, problem)
    if len(world.unread) == before and not any(name.startswith(_OPTION) for name in found):
        raise ConfigError(
            f"{path}: no service has a variable {_OPTION}SECTION__KEY in `environment` or `env_file`; name another file, or "
            "leave it out"
        )


def _variables(
    service: Mapping[str, Any], name: str, path: Path, named: Mapping[str, str], world: OldWorld
) -> dict[str, _Known]:
    place = f"{path}, service {name}"
    if service.get("extends"):
        world.add_unread(
            "extends", place, "other services are not followed; run `docker compose config`, and name its output"
        )
    found: dict[str, _Known] = {}
    for file, is_required in _files(service.get("env_file")):
        written = as_compose_expands(file, named)
        try:
            text = (path.parent / written).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError, ValueError):
            if is_required:
                world.add_unread(
                    f"env_file {file}", place, "it cannot be read here; copy it to where the Compose file expects it"
                )
            continue
        found |= {
            key: (value, problem) for key, value, problem in parse_variables(text, str(path.parent / written), named)
        }
    for key, value in _pairs(service.get("environment")):
        if value is not None:
            found[key] = (as_compose_expands(value, named), "")
        elif key in named:
            found[key] = (named[key], "")
        else:
            found[key] = ("", "its value is that of the shell that starts Compose")
    return found


def _beside(path: Path) -> dict[str, str]:
    """Return the variables in `.env`, which Compose reads by itself."""
    try:
        text = path.with_name(".env").read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return {}
    return {
        name: value for name, value, problem in parse_variables(text, str(path.with_name(".env")), {}) if not problem
    }


def _files(named: object) -> Iterator[tuple[str, bool]]:
    """Yield each file of variables, and whether it must exist."""
    for one in cast("list[object]", named) if isinstance(named, list) else [named]:
        if isinstance(one, str):
            yield one, True
        elif isinstance(one, dict):
            entry = cast("dict[str, object]", one)
            yield str(entry.get("path", "")), entry.get("required") is not False


def _pairs(variables: object) -> Iterator[tuple[str, str | None]]:
    """Yield names and values; None where the value is that of the shell."""
    if isinstance(variables, dict):
        for name, value in cast("dict[str, object]", variables).items():
            yield str(name), None if value is None else str(value)
    elif isinstance(variables, list):
        for one in cast("list[object]", variables):
            name, equals, value = str(one).partition("=")
            yield name, value if equals else None

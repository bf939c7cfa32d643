"""Reads the places where an Airflow 2 is configured: airflow.cfg, variables, Helm values, a Compose file."""

from __future__ import annotations

import configparser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from compat_auth.cli.migration.compose import add_compose
from compat_auth.cli.migration.found import OldWorld
from compat_auth.cli.migration.helm import add_helm
from compat_auth.cli.migration.variables import parse_variables
from compat_auth.errors import ConfigError


def read_sources(paths: list[Path], shell: Mapping[str, str]) -> OldWorld:
    """Return everything that is configured in files: airflow.cfg, webserver_config.py, `.env`, and YAML.

    Args:
        paths: The files.
        shell: Variables of this shell that count; empty: none.

    Raises:
        ConfigError: A file cannot be read, or is none of these.
    """
    world = OldWorld()
    world.environ.update(shell)
    # Compose puts the variables of a file into its own.
    for path in sorted(paths, key=lambda path: path.suffix in (".yaml", ".yml")):
        _reader(path)(path, world)
    for name, value in shell.items():
        world.add_variable(name, value, "this shell")
    world.settle()
    return world


def _reader(path: Path) -> Callable[[Path, OldWorld], None]:
    if path.suffix in (".yaml", ".yml"):
        return _read_yaml
    if path.suffix == ".py":
        return _read_python
    return _read_variables if path.name.startswith(".env") or path.suffix == ".env" else _read_cfg


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise ConfigError(f"{path}: cannot be read ({reason}); name another file") from None


def _read_python(path: Path, world: OldWorld) -> None:
    if world.python[0]:
        raise ConfigError(f"{path}: {world.python[1]} is Python of the web server, too; name one of them")
    world.python = (read_text(path), str(path))


def _read_cfg(path: Path, world: OldWorld) -> None:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(read_text(path))
    except configparser.Error:
        raise ConfigError(
            f"{path}: not an airflow.cfg; a file of variables ends in .env, Helm values or a Compose file in .yaml, and "
            "webserver_config.py in .py"
        ) from None
    for section in parser.sections():
        for key, value in parser.items(section):
            world.add(section, key, str(path), value)


def _read_variables(path: Path, world: OldWorld) -> None:
    for name, value, problem in parse_variables(read_text(path), str(path), world.environ):
        world.add_variable(name, value, str(path), problem)


def _read_yaml(path: Path, world: OldWorld) -> None:
    try:
        import yaml  # noqa: PLC0415  # an extra, for these files alone
    except ImportError:
        raise ConfigError(
            f"{path}: reading YAML needs PyYAML; install the extra `import`, or name airflow.cfg and a file of variables"
        ) from None
    try:
        content = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, RecursionError):
        raise ConfigError(f"{path}: not YAML; correct it, or name another file") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: neither Helm values nor a Compose file; name another file")
    values = cast("dict[str, Any]", content)
    if isinstance(values.get("services"), dict):
        add_compose(values, path, world)
    else:
        add_helm(values, str(path), world)

"""Reads the places where an Airflow 2 is configured: airflow.cfg, variables, Helm values, a Compose file."""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from compat_auth.cli.migration.found import Found
from compat_auth.errors import ConfigError

INDIRECT = {"_cmd": "a command", "_secret": "a secret back end"}
"""Ends of the names of options that say where the value comes from."""
_VARIABLE = re.compile(r"AIRFLOW__([A-Z0-9_]+?)__([A-Z0-9_]+)")
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


@dataclass(slots=True)
class OldWorld:
    """All that is configured.

    Attributes:
        options: By section and key, as Airflow reads them: a variable before the file.
        python: The text of webserver_config.py, and its name; empty without one.
        environ: Variables that webserver_config.py may read.
    """

    options: dict[tuple[str, str], Found] = field(default_factory=dict[tuple[str, str], Found])
    python: tuple[str, str] = field(default=("", ""), repr=False)
    environ: dict[str, str] = field(default_factory=dict[str, str], repr=False)

    def add(self, section: str, key: str, place: str, value: object) -> None:
        """Add an option; what is added later counts."""
        name = (section.lower(), key.lower())
        self.options[name] = Found(f"[{name[0]}] {name[1]}", place, value)

    def add_variables(self, variables: Mapping[str, str], place: str) -> None:
        """Add variables of the environment; those of Airflow's options among them count more than its file."""
        self.environ.update(variables)
        for name, value in variables.items():
            match = _VARIABLE.fullmatch(name)
            if match:
                section, key = match.groups()
                self.add(section, key, f"${name} in {place}", value)


def read_sources(paths: list[Path]) -> OldWorld:
    """Return everything that is configured in files: airflow.cfg, webserver_config.py, `.env`, and YAML.

    Raises:
        ConfigError: A file cannot be read, or is none of these.
    """
    world = OldWorld()
    # Variables count more than a file, so files come first.
    for path in sorted(paths, key=lambda path: path.suffix != ".cfg"):
        _reader(path)(path, world)
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
            # Airflow's parser interpolates, so a percent sign is written twice.
            world.add(section, key, str(path), value.replace("%%", "%"))


def _read_variables(path: Path, world: OldWorld) -> None:
    variables: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise ConfigError(f"{path}:{number}: not NAME=VALUE; correct the line")
        variables[match[1]] = _unquoted(match[2])
    world.add_variables(variables, str(path))


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


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
        _add_compose(values["services"], path, world)
    else:
        _add_helm(values, path, world)


def _add_compose(services: dict[str, Any], path: Path, world: OldWorld) -> None:
    """Add the variables of all services: Airflow's share theirs."""
    for name, service in services.items():
        if isinstance(service, dict):
            variables = dict(_pairs(cast("dict[str, Any]", service).get("environment")))
            world.add_variables(variables, f"{path}, service {name}")


def _add_helm(values: dict[str, Any], path: Path, world: OldWorld) -> None:
    """Add the values of the official chart: `config`, `env`, `extraEnv`, and the Python of the web server."""
    config = values.get("config")
    for section, options in (cast("dict[str, Any]", config) if isinstance(config, dict) else {}).items():
        for key, value in (cast("dict[str, Any]", options) if isinstance(options, dict) else {}).items():
            world.add(section, key, f"{path}, config", value)
    server = values.get("webserver")
    inside = cast("dict[str, Any]", server) if isinstance(server, dict) else {}
    source = inside.get("webserverConfig")
    if isinstance(source, str):
        world.python = (source, f"{path}, webserver.webserverConfig")
    for variables in (values.get("env"), inside.get("env")):
        world.add_variables(dict(_pairs(variables)), str(path))


def _pairs(variables: object) -> Iterator[tuple[str, str]]:
    """Yield names and values of variables, in each way that Compose and Kubernetes spell them."""
    if isinstance(variables, dict):
        for name, value in cast("dict[str, object]", variables).items():
            yield str(name), "" if value is None else str(value)
    elif isinstance(variables, list):
        for one in cast("list[object]", variables):
            if isinstance(one, str) and "=" in one:
                name, _, value = one.partition("=")
                yield name, value
            elif isinstance(one, dict) and "value" in one:
                pair = cast("dict[str, object]", one)
                yield str(pair.get("name", "")), str(pair["value"])

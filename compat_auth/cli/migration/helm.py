"""Reads the values of the official Helm chart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import quote

from compat_auth.cli.migration.found import OldWorld
from compat_auth.errors import ConfigError

_Values = Mapping[str, Any]
_IN_SECRET = "its value is in a Secret of Kubernetes, which is not asked here"  # noqa: S105  # no secret
_IN_MAP = "its text is in a ConfigMap of Kubernetes, which is not asked here; name the file webserver_config.py, too"
_NOT_READ = "it is not read here; name what it sets in a file of variables (.env)"
_ELSEWHERE = "its value comes from another object of Kubernetes, which is not asked here"
_SERVERS = ("webserver", "apiServer")
# The chart makes variables of these.
_TEXTS = {
    "jwtSecret": "AIRFLOW__API_AUTH__JWT_SECRET",
    "webserverSecretKey": "AIRFLOW__WEBSERVER__SECRET_KEY",
}
_NAMES_OF_SECRETS = {
    "jwtSecretName": "AIRFLOW__API_AUTH__JWT_SECRET",
    "webserverSecretKeySecretName": "AIRFLOW__WEBSERVER__SECRET_KEY",
    "apiSecretKeySecretName": "AIRFLOW__API__SECRET_KEY",
}
_DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_CONNECTION = {"user": "postgres", "pass": "postgres", "protocol": "postgresql", "port": 5432, "db": "postgres"}
"""Values of the chart itself for a connection that is given in part."""


def add_helm(values: _Values, file: str, world: OldWorld) -> None:
    """Add the values of the official chart about configuration, variables, secrets, and the Python of the web server.

    Raises:
        ConfigError: There are none.
    """
    before = _size(world)
    _add_config(values, file, world)
    _add_secrets(values, file, world)
    inside = [(f"{name}.", _table(values.get(name))) for name in _SERVERS]
    for prefix, some in [("", values), *inside]:
        _add_variables(prefix, some, file, world)
    for prefix, some in inside:
        _add_python(prefix, some, file, world)
    if _size(world) == before:
        raise ConfigError(
            f"{file}: no `config`, `env`, `extraEnv`, `secret`, `jwtSecret`, `webserverSecretKey`, `data.metadataConnection`, "
            "or `webserver.webserverConfig` of the official chart in it; name the values of that chart alone, or another file"
        )


def _size(world: OldWorld) -> int:
    return world.added + bool(world.python[0])


def _table(value: object) -> _Values:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _add_config(values: _Values, file: str, world: OldWorld) -> None:
    kerberos = _table(values.get("kerberos"))
    if kerberos.get("enabled"):
        # The chart's own [kerberos] section takes its values from here.
        world.add("kerberos", "keytab", f"{file}, kerberos", kerberos.get("keytabPath") or "/etc/airflow.keytab")
        if kerberos.get("principal"):
            world.add("kerberos", "principal", f"{file}, kerberos", kerberos["principal"])
    for section, options in _table(values.get("config")).items():
        for key, value in _table(options).items():
            if value is not None:
                is_plain = isinstance(value, str | int | float)
                world.add(str(section), str(key), f"{file}, config", value, "" if is_plain else "it is not one text")


def _add_secrets(values: _Values, file: str, world: OldWorld) -> None:
    for key, variable in _TEXTS.items():
        if values.get(key):
            world.add_variable(variable, str(values[key]), f"{file}, {key}")
    for key, variable in _NAMES_OF_SECRETS.items():
        if values.get(key):
            world.add_variable(variable, "", f"{file}, {key}", _IN_SECRET)
    if values.get("apiSecretKey"):
        world.add_unread(
            "apiSecretKey", file, "the key of Airflow 3's own sessions; [airflow_session] secret_key is that of 2.x"
        )
    data = _table(values.get("data"))
    connection = _table(data.get("metadataConnection"))
    if data.get("metadataSecretName"):
        world.add_variable(_DATABASE, "", f"{file}, data.metadataSecretName", _IN_SECRET)
    elif connection:
        problem = "" if connection.get("host") else "it has no host, because the chart installs the database itself"
        world.add_variable(_DATABASE, _url(connection), f"{file}, data.metadataConnection", problem)


def _url(connection: _Values) -> str:
    known = {**_CONNECTION, **{key: value for key, value in connection.items() if value is not None}}
    user, password = quote(str(known["user"]), safe=""), quote(str(known["pass"]), safe="")
    mode = f"?sslmode={known['sslmode']}" if known.get("sslmode") and known["protocol"] == "postgresql" else ""
    return f"{known['protocol']}://{user}:{password}@{known.get('host', '')}:{known['port']}/{known['db']}{mode}"


def _add_variables(prefix: str, values: _Values, file: str, world: OldWorld) -> None:
    for key in ("env", "extraEnv"):
        written = values.get(key)
        for name, value, problem in _pairs(written):
            if name:
                world.add_variable(name, value, f"{file}, {prefix}{key}", problem)
            else:
                world.add_unread(f"{prefix}{key}", file, problem)
    for one in _list(values.get("secret")):
        name = str(_table(one).get("envName", ""))
        if name:
            world.add_variable(name, "", f"{file}, {prefix}secret", _IN_SECRET)
        else:
            world.add_unread(f"{prefix}secret", file, _NOT_READ)
    if values.get("extraEnvFrom"):
        world.add_unread(f"{prefix}extraEnvFrom", file, _NOT_READ)


def _add_python(prefix: str, values: _Values, file: str, world: OldWorld) -> None:
    key = "webserverConfig" if prefix == "webserver." else "apiServerConfig"
    source = values.get(key)
    if values.get(f"{key}ConfigMapName"):
        world.add_unread(f"{prefix}{key}ConfigMapName", file, _IN_MAP)
    if not source:
        return
    if isinstance(source, str) and not world.python[0]:
        world.python = (source, f"{file}, {prefix}{key}")
    else:
        world.add_unread(f"{prefix}{key}", file, "another webserver_config.py is read already; compare the two")


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _pairs(variables: object) -> Iterator[tuple[str, str, str]]:
    """Yield names, values and problems of variables, as a table, a list, or a text of YAML; no name where none is known."""
    entries = variables
    if isinstance(variables, str) and variables.strip():
        import yaml  # noqa: PLC0415  # the reader of these values has it already

        try:
            entries = cast("object", yaml.safe_load(variables))
        except (yaml.YAMLError, RecursionError):
            entries = None
        if not (_table(entries) or _list(entries)):
            yield "", "", _NOT_READ
            return
    for name, value in _table(entries).items():
        yield str(name), "" if value is None else str(value), ""
    for one in _list(entries):
        pair = _table(one)
        name = str(pair.get("name", ""))
        if not name:
            yield "", "", _NOT_READ
        elif "value" in pair:
            yield name, str(pair["value"]), ""
        else:
            yield name, "", _ELSEWHERE

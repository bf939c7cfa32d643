"""`airflow.models.Variable` and `Connection` for a module: read through the API of the upstream.

Only Airflow 3 itself may read its database, so they are read in the name of the account that the operator has
named for it. Without one, a module gets an error that says which setting is missing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, cast
from urllib.parse import quote

import flask

from compat_auth.errors import BackendUnavailable

UPSTREAM_READER = "compat_auth_upstream_reader"
"""Key in `app.extensions` of the `UpstreamReader`, where the operator has named an account."""

logger = logging.getLogger("compat_auth.legacy")
_NOTHING = object()


class UpstreamReader(Protocol):
    """Reads objects of the upstream's API. Any thread may call."""

    def read(self, path: str) -> Mapping[str, Any] | None:
        """Return the JSON object at a path below `/api/v2`; None where there is none.

        Raises:
            BackendUnavailable: The upstream could not be asked, or refuses.
        """
        ...


def _read(path: str) -> Mapping[str, Any] | None:
    reader = (
        cast("UpstreamReader | None", flask.current_app.extensions.get(UPSTREAM_READER))
        if flask.has_app_context()
        else None
    )
    if reader is None:
        logger.error(
            "a module of Airflow 2 wants to read %s; set [airflow2_modules] read_as to the name of an Airflow user who may",
            path,
        )
        raise BackendUnavailable(f"{path}: nobody is named to read it; set [airflow2_modules] read_as")
    return reader.read(path)


class Variable:
    """`airflow.models.Variable`, to read."""

    @classmethod
    def get(cls, key: str, default_var: Any = _NOTHING, deserialize_json: bool = False, **_: Any) -> Any:
        """Return the value of a variable.

        Args:
            key: Its key.
            default_var: What is returned where there is none.
            deserialize_json: The value is JSON.

        Raises:
            KeyError: There is none, and no default.
            BackendUnavailable: The upstream could not be asked.
        """
        found = _read(f"/variables/{quote(key, safe='')}")
        if found is None:
            if default_var is _NOTHING:
                raise KeyError(f"Variable {key} does not exist")
            return default_var
        value = found.get("value")
        return json.loads(value) if deserialize_json and isinstance(value, str) else value


class Connection:
    """`airflow.models.Connection`, to read.

    Attributes:
        conn_id: Its id.
        conn_type: Its type.
        host: Host, or None.
        login: User name, or None.
        password: None: Airflow 3 tells it nobody through its API.
        schema: Schema, or None.
        port: Port, or None.
        extra: JSON text, or None.
    """

    _FIELDS: ClassVar[Mapping[str, str]] = {
        "conn_id": "connection_id",
        "conn_type": "conn_type",
        "host": "host",
        "login": "login",
        "password": "password",
        "schema": "schema",
        "port": "port",
        "extra": "extra",
    }

    def __init__(self, **fields: Any) -> None:
        for name in self._FIELDS:
            setattr(self, name, fields.get(name))

    @classmethod
    def get_connection_from_secrets(cls, conn_id: str) -> Connection:
        """Return the connection.

        Raises:
            LookupError: There is none.
            BackendUnavailable: The upstream could not be asked.
        """
        found = _read(f"/connections/{quote(conn_id, safe='')}")
        if found is None:
            raise LookupError(f"The conn_id `{conn_id}` isn't defined")
        return cls(**{name: found.get(member) for name, member in cls._FIELDS.items()})

    def get_password(self) -> str | None:
        """Return the password, where the upstream tells it."""
        return cast("str | None", vars(self).get("password"))

    @property
    def extra_dejson(self) -> dict[str, Any]:
        """The extra field as an object."""
        extra = vars(self).get("extra")
        return cast("dict[str, Any]", json.loads(extra)) if extra else {}


class BaseHook:
    """`airflow.hooks.base.BaseHook`, for its one class method that reads a connection."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Connection:
        """Return the connection; see `Connection.get_connection_from_secrets`."""
        return Connection.get_connection_from_secrets(conn_id)

"""What stands in for Airflow in tests without it: its configuration, and a simple auth manager."""

from __future__ import annotations

import configparser
import secrets
import struct
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any
from uuid import uuid4

import jwt
import pytest


class Conf(configparser.ConfigParser):
    """Airflow's parser in two respects: it has defaults of its own, and get() looks into the environment first."""

    def __init__(self, content: str, environ: dict[str, str]) -> None:
        super().__init__()
        self.read_string(content)
        self.environ = environ

    def has_option(self, section: str, option: str) -> bool:
        return True

    def get(self, section: Any, option: Any, **_: Any) -> Any:  # type: ignore[override]  # as Airflow has it
        variable = f"AIRFLOW__{section}__{option}".upper()
        return self.environ.get(variable) or dict(self.items(section, raw=True)).get(option)


class SimpleAuthManager:
    """Known by its name."""

    def get_users(self) -> list[Any]:
        return [SimpleNamespace(username="op", role="OP"), SimpleNamespace(username="none", role=None)]

    def get_passwords(self) -> dict[str, str]:
        return {"op": "öp", "none": "", "ghost": "ghost"}

    def generate_jwt(self, user: Any, *, expiration_time_in_seconds: int) -> str:
        return f"simple-{user.username}-{expiration_time_in_seconds}"


class SigningAuthManager(SimpleAuthManager):
    """Signs, reads and revokes as Airflow does, with a key that nobody else has.

    Attributes:
        revoked: Airflow's table.
        failure: Raised instead of an answer.
    """

    def __init__(self) -> None:
        self.revoked: set[str] = set()
        self.failure: Exception | None = None
        self._secret = secrets.token_hex(64)

    def generate_jwt(self, user: Any, *, expiration_time_in_seconds: int) -> str:
        now = int(time.time())
        claims = {
            "sub": user.username,
            "jti": uuid4().hex,
            "iat": now,
            "nbf": now,
            "exp": now + expiration_time_in_seconds,
        }
        return jwt.encode({**claims, "aud": "apache-airflow"}, self._secret, algorithm="HS512")

    async def get_user_from_token(self, token: str) -> Any:
        if self.failure is not None:
            raise self.failure
        claims = jwt.decode(token, self._secret, algorithms=["HS512"], audience="apache-airflow")
        if claims["jti"] in self.revoked:
            raise jwt.InvalidTokenError("Token has been revoked")
        return SimpleNamespace(username=claims["sub"])

    def revoke_token(self, token: str) -> None:
        self.revoked.add(jwt.decode(token, options={"verify_signature": False})["jti"])


def activate(monkeypatch: pytest.MonkeyPatch, manager: object) -> None:
    """Make this the auth manager that Airflow's API server has made; None: it has made none yet."""

    def get_auth_manager() -> object:
        if manager is None:
            raise RuntimeError("Auth Manager has not been initialized yet.")
        return manager

    module: Any = ModuleType("airflow.api_fastapi.app")
    module.get_auth_manager = get_auth_manager
    for name in ("airflow", "airflow.api_fastapi"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)


def keytab_entry(realm: str, *components: str) -> bytes:
    """Return one key of a keytab as `kadmin ktadd` writes it."""
    texts = b"".join(struct.pack(">H", len(text)) + text.encode() for text in (realm, *components))
    rest = struct.pack(">IIBHH", 1, 1700000000, 3, 18, 4) + b"keys" + struct.pack(">I", 3)
    body = struct.pack(">H", len(components)) + texts + rest
    return struct.pack(">i", len(body)) + body

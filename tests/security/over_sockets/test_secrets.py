"""No password, token, header or cookie in what is written down, and none in an answer."""

from __future__ import annotations

import base64
import dataclasses
import importlib
import inspect
import pkgutil
import time
from collections.abc import Generator
from pathlib import Path
from types import ModuleType

import pytest

import compat_auth
import compat_auth_backends
from compat_auth.config import Settings
from support.security.gateway import USERS, Gateway, basic, running_gateway, write_config
from support.security.upstream import Recorder

CANARY = "canary-5f1c9e"
_LEGACY = """
from flask import request, abort

def init_app(app):
    pass

def requires_authentication(function):
    def decorated(*args, **kwargs):
        credential = request.authorization
        if credential is not None and credential.username == "raise":
            raise ValueError(f"cannot check {credential.password} of {request.headers['Authorization']}")
        if credential is not None and credential.username == "chain":
            try:
                raise KeyError(credential.password)
            except KeyError as exc:
                raise RuntimeError(credential.password) from exc
        if credential is not None and credential.username == "abort":
            abort(403, credential.password)
        return "no", 401, {"WWW-Authenticate": "Digest"}
    return decorated
"""


@pytest.fixture(scope="module")
def legacy_gateway(tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "mine").mkdir()
    (folder / "mine" / "leaky_backend.py").write_text(_LEGACY, encoding="utf-8")
    # Nothing listens there: every request that is let in ends in a 502.
    config = write_config(folder, "http://127.0.0.1:9", backends='["mine.leaky_backend", "basic_auth"]')
    environ = {"PYTHONPATH": str(folder), "COMPAT_AUTH_LOG_LEVEL": "DEBUG"}
    with running_gateway(config, Recorder(), environ=environ) as gateway:
        yield gateway


def _encoded(username: str, password: str) -> bytes:
    return base64.b64encode(f"{username}:{password}".encode())


ATTEMPTS: dict[str, tuple[list[tuple[bytes, bytes]], int]] = {
    "right": ([(b"Authorization", basic())], 502),
    "wrong": ([(b"Authorization", b"Basic " + _encoded("alice", CANARY))], 401),
    "unknown": ([(b"Authorization", b"Basic " + _encoded("nobody", CANARY))], 401),
    "raise": ([(b"Authorization", b"Basic " + _encoded("raise", CANARY))], 503),
    "chained-exception": ([(b"Authorization", b"Basic " + _encoded("chain", CANARY))], 503),
    "abort": ([(b"Authorization", b"Basic " + _encoded("abort", CANARY))], 401),
    "bearer": ([(b"Authorization", b"Bearer " + CANARY.encode())], 502),
    "malformed-basic": ([(b"Authorization", b"Basic !" + CANARY.encode())], 401),
    "malformed-scheme": ([(b"Authorization", b"(" + CANARY.encode() + b") x")], 401),
    "unknown-scheme": ([(b"Authorization", b"Digest " + CANARY.encode())], 401),
    "two": ([(b"Authorization", b"Basic " + CANARY.encode())] * 2, 400),
    "not-ascii": ([(b"Authorization", b"Basic \xff" + CANARY.encode())], 401),
    "cookie": ([(b"Cookie", b"_token=" + CANARY.encode())], 502),
    "control-character": ([(b"X-A", b"\x01" + CANARY.encode())], 400),
    "too-large": ([(b"X-A", CANARY.encode() * 6000)], 431),
    "websocket": (
        [(b"Cookie", b"_token=" + CANARY.encode()), (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")],
        501,
    ),
}


@pytest.mark.parametrize(("headers", "status"), ATTEMPTS.values(), ids=ATTEMPTS)
def test_neither_the_log_nor_the_answer_holds_what_was_presented(
    legacy_gateway: Gateway, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    written = legacy_gateway.log.stat().st_size

    answer = legacy_gateway.ask(f"/api/v2/x?token={CANARY}", *headers)
    time.sleep(0.1)

    with legacy_gateway.log.open("rb") as log:
        log.seek(written)
        text = log.read()
    secrets = [
        CANARY.encode(),
        USERS["alice"].encode(),
        *(value for _, value in headers if value not in (b"websocket", b"Upgrade")),
    ]
    assert answer.status == status
    for secret in secrets:
        assert secret not in text
        assert secret not in answer.rest
        assert not any(secret in value for _, value in answer.headers)
        if secret.startswith(b"Basic "):
            assert secret.removeprefix(b"Basic ") not in text
    assert b"eyJ" not in text


def test_the_log_says_where_a_backend_broke(legacy_gateway: Gateway) -> None:
    legacy_gateway.ask("/api/v2/x", (b"Authorization", b"Basic " + _encoded("raise", CANARY)))

    time.sleep(0.2)

    assert "ValueError" in legacy_gateway.log.read_text()
    assert "leaky_backend.py:11 in decorated" in legacy_gateway.log.read_text()


# Only Airflow imports it; it defines no class that could show a secret.
NEED_AIRFLOW = {"compat_auth.airflow.plugin"}


def _modules(package: ModuleType) -> list[ModuleType]:
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    names = {info.name for info in found if not info.name.endswith("__main__")}
    return [importlib.import_module(name) for name in sorted(names - NEED_AIRFLOW)]


DATACLASSES = sorted(
    {
        cls
        for package in (compat_auth, compat_auth_backends)
        for module in _modules(package)
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if dataclasses.is_dataclass(cls) and cls.__module__ == module.__name__
    },
    key=lambda cls: f"{cls.__module__}.{cls.__qualname__}",
)
# Words that name a secret; the fields that only sound like one are listed with why.
_SECRET_WORDS = ("password", "token", "secret", "authorization", "cookie", "bearer", "private", "digest_key", "environ")
_HARMLESS = {
    ("Presented", "cookies"),  # whether there are any
    ("GateRules", "identity_cookies"),  # names
    ("GateRules", "own_cookies"),  # names
    ("Accept", "token"),  # a Token, which hides its value
    ("PasswordAccepted", "token"),  # the same
    ("_Kept", "token"),  # the same
    ("RightPassword", "token"),  # the same
    ("TaskToken", "token_id"),  # its public part
    ("KeyPlace", "token_file"),  # where it is
    ("_GuardedEndpoint", "token_file"),  # the same
    ("FoundTokens", "tokens"),  # what is stored of them
    ("NewToken", "token"),  # what is stored of it
    ("TokenRow", "token"),  # the same
    ("LastUse", "token_id"),  # its public part
    ("NamedFile", "is_secret"),  # whether it is one
    ("Site", "private"),  # a Private, which hides its secret
    ("Described", "environment"),  # how a variable is named
    ("ChallengeContext", "is_bearer"),  # whether it was one
}


def _shows_fields(cls: object) -> bool:
    return bool(vars(cls)["__dataclass_params__"].repr)


def test_a_field_that_may_hold_a_secret_is_not_in_the_repr() -> None:
    shown = [
        (cls.__name__, field.name)
        for cls in DATACLASSES
        for field in dataclasses.fields(cls)
        if field.repr and _shows_fields(cls) and any(word in field.name for word in _SECRET_WORDS)
    ]

    assert len(DATACLASSES) > 100
    assert [field for field in shown if field not in _HARMLESS] == []


def test_the_settings_hide_their_secrets(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "token": {"secret": CANARY},
            "airflow_db": {"url": f"postgresql://a:{CANARY}@db/airflow"},
            "database_url": f"postgresql://a:{CANARY}@db/own",
            "redis_url": f"redis://:{CANARY}@cache",
        }
    )

    assert CANARY not in repr(settings)
    assert CANARY not in str(settings.model_dump())

"""What is wrong with a configuration, found by building all of it and asking everything it names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

from compat_auth.app import build_decider, create_app, public_keys
from compat_auth.config import Settings
from compat_auth.config.loading import old_settings_of
from compat_auth.directory import Directory, UserDirectory
from compat_auth.directory_catalog import load_directories
from compat_auth.errors import CompatAuthError, ConfigError
from compat_auth.proxy import ReverseProxy
from compat_auth.redis_connection import RedisConnection
from compat_auth.registry import load_chain
from compat_auth.root_path import RootPath
from compat_auth.sealed_box import sharing_secrets
from compat_auth.store.database import Database
from compat_auth.store.migration import require_known_tables
from compat_auth.strategies import build_strategy
from compat_auth.trust import TrustedProxies
from compat_auth.upstream_path import find_path_fault

# A name that nobody has: looking it up only shows that the directory can be asked.
_NOBODY = "compat-auth check"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: The part of the configuration.
        problem: What is wrong and what to do, or "" when it is right.
        exit_code: What the command ends with for this problem (sysexits.h).
        detail: What was found when it is right.
    """

    what: str
    problem: str = ""
    exit_code: int = 0
    detail: str = ""


@runtime_checkable
class _Checkable(Protocol):
    def problems(self) -> list[str]: ...


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield a finding for each part, in the order of a request's journey."""
    yield _try("auth_backends", lambda: _chain(settings))
    yield from _backends(settings)
    if "basic_auth" in settings.auth_backends or any("basic_auth" in name for name in settings.auth_backends):
        asked = settings.basic_auth.directories
    else:
        asked = []
    for name in dict.fromkeys([*asked, *settings.lookup.directories]):
        yield from _directory(name, settings)
    yield _try("database_url", lambda: _store(settings))
    if url := settings.redis_url.get_secret_value():
        yield _try("redis_url", lambda: _redis(url, settings))
    yield _try("token", lambda: _token(settings))
    yield _try("gateway", lambda: _gateway(settings))
    yield _try("upstream", lambda: _upstream(settings))
    yield from _upstream_path(settings)
    yield from _old_settings(settings)
    if not settings.trusted_proxies:
        yield Finding("trusted_proxies", detail="none: forward headers are dropped, forward-auth is off")


def _try(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, detail=look())
    except CompatAuthError as error:
        return Finding(what, str(error), error.exit_code)


def _chain(settings: Settings) -> str:
    return ", ".join(backend.name for backend in load_chain(settings)) + f"; mode {settings.mode}"


def _store(settings: Settings) -> str:
    url = settings.database_url.get_secret_value()
    require_known_tables(url)
    return f"{Database(url).label}: fit for this version"


def _backends(settings: Settings) -> Iterator[Finding]:
    try:
        backends = load_chain(settings)
    except CompatAuthError:
        return  # has been said
    for backend in backends:
        finding = _try(f"backend {backend.name}", backend.probe)
        if finding.problem or finding.detail:
            yield finding


def _directory(name: str, settings: Settings) -> Iterator[Finding]:
    what = f"directory {name}"
    try:
        (directory,) = load_directories([name], settings)
        if isinstance(directory, UserDirectory):
            directory.find(_NOBODY)
    except CompatAuthError as error:
        yield Finding(what, str(error), error.exit_code)
        return
    problems: list[str] = cast("_Checkable", directory).problems() if isinstance(directory, _Checkable) else []
    yield from (Finding(what, problem, 78) for problem in problems)
    if not problems:
        yield Finding(what, detail=_describe(directory))


def _describe(directory: Directory | UserDirectory) -> str:
    return "can be asked" if isinstance(directory, UserDirectory) else "checks passwords itself"


def _redis(url: str, settings: Settings) -> str:
    sharing_secrets(settings)
    connection = RedisConnection(url)
    connection.ask(lambda redis: redis.ping())
    connection.close()
    return f"{connection.label} answers"


def _token(settings: Settings) -> str:
    build_strategy(settings)
    public_keys(settings)()
    return f"{settings.token.strategy} for {settings.upstream.profile}"


def _gateway(settings: Settings) -> str:
    create_app(settings)
    build_decider(settings, build_strategy(settings)).close()
    return f"{settings.serve.bind}, {settings.serve.workers} worker(s)"


def _upstream(settings: Settings) -> str:
    proxy = ReverseProxy(settings.upstream, TrustedProxies(settings.trusted_proxies))
    asyncio.run(proxy.require_reachable())
    return f"{settings.upstream.url} accepts connections"


def _upstream_path(settings: Settings) -> Iterator[Finding]:
    if settings.upstream.profile == "generic":
        return
    root = RootPath.from_settings(settings).path

    def look() -> str:
        if fault := find_path_fault(settings):
            raise ConfigError(fault)
        return f"callers find us below {root}/ and beside it" if root else "no path in front"

    yield _try("root path", look)


def _old_settings(settings: Settings) -> Iterator[Finding]:
    for line in old_settings_of(settings.airflow_cfg, os.environ).unused():
        yield Finding("Airflow's configuration", detail=line)

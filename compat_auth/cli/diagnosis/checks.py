"""Finds the errors of a configuration: builds everything from it and connects to everything that it names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol, cast, runtime_checkable

from compat_auth.app import create_app
from compat_auth.authn.registry import load_chain
from compat_auth.authn.users.directories import load_directories
from compat_auth.cli.diagnosis.finding import Finding, split_problem
from compat_auth.cli.diagnosis.minted_probe import judge
from compat_auth.cli.diagnosis.upstream_path import find_path_fault, find_way_around
from compat_auth.cli.diagnosis.upstream_probe import UpstreamProbe
from compat_auth.cli.diagnosis.useless_settings import (
    is_serving,
    listening,
    missing_roles,
    own_address,
    passwordless_backends,
    store_folder,
    unused_task_rules,
    wide_networks,
)
from compat_auth.cli.diagnosis.workload_rules import examine_workloads
from compat_auth.config import Settings
from compat_auth.config.loading import old_settings_of
from compat_auth.config.settings import sharing_secrets
from compat_auth.directory import Directory, DirectoryUser, UserDirectory
from compat_auth.errors import BackendUnavailable, CompatAuthError, ConfigError
from compat_auth.http.root_path import RootPath
from compat_auth.store.database import Database
from compat_auth.store.migration import require_known_tables
from compat_auth.store.redis.client import RedisConnection
from compat_auth.tokens.strategies import Minted, build_strategy, public_keys

# Their probe reads files, and connects to nothing.
_BACKENDS_OF_FILES = frozenset({"kerberos", "client_certificate"})
_DIRECTORIES_OF_FILES = frozenset({"htpasswd", "mapping"})
# No user has this name: the look-up only shows that the directory is available.
_NOBODY = "compat-auth check"
# Airflow's [api_auth] jwt_leeway: Airflow rejects a token from further in the future.
_LEEWAY_S = 10
# How far our clock may be behind, or ahead if we use the upstream's own tokens.
_MAX_DIFFERENCE_S = 60


@runtime_checkable
class _Checkable(Protocol):
    def problems(self) -> list[str]: ...


@runtime_checkable
class _Sampled(Protocol):
    def anybody(self) -> DirectoryUser | None: ...


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield one finding per check, in the order of a request's journey; each cause once."""
    said: set[str] = set()
    for finding in _examine(settings):
        if not finding.problem:
            yield finding
        elif finding.cause not in said:
            said.add(finding.cause)
            yield replace(finding, problem=_with_next_step(finding))


def require_usable_files(settings: Settings) -> None:
    """Check the content of the files that the settings name, without a connection.

    Raises:
        ConfigError: A file has an error; says which, and the next step.
    """
    for finding in (*_of_files(settings), _try("token", lambda: _token(settings))):
        if finding.problem:
            raise ConfigError(f"{finding.what}: {_with_next_step(finding)}")


def _of_files(settings: Settings) -> Iterator[Finding]:
    for backend in load_chain(settings):
        if backend.name in _BACKENDS_OF_FILES:
            yield _try(f"backend {backend.name}", backend.probe)
    for name in directories_of(settings):
        if name in _DIRECTORIES_OF_FILES:
            yield from _directory(name, settings)


def _with_next_step(finding: Finding) -> str:
    """Return the problem with a next step other than to run this command again."""
    problem = finding.problem.replace("; see `compat-auth check`", "").replace("; compat-auth check says why", "")
    if split_problem(problem)[2]:
        return problem
    kind, _, name = finding.what.partition(" ")
    section = f"[{name}]" if name else kind
    return f"{problem}; correct {section} in the configuration, or start what it names"


def _examine(settings: Settings) -> Iterator[Finding]:
    yield _try("auth_backends", lambda: _chain(settings))
    yield from _backends(settings)
    for name in directories_of(settings):
        yield from _directory(name, settings)
    yield _try("database_url", lambda: _store(settings))
    if url := settings.redis_url.get_secret_value():
        yield _try("redis_url", lambda: _redis(url, settings))
    yield _try("token", lambda: _token(settings))
    yield _try("gateway", lambda: _gateway(settings))
    yield _try("serve", lambda: listening(settings))
    yield from _upstream(settings)
    yield from _old_settings(settings)
    if problem := unused_task_rules(settings):
        yield Finding("airflow_task", problem, ConfigError.exit_code)
    for problem in wide_networks(settings):
        yield Finding("trusted_proxies", problem, ConfigError.exit_code)
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
    if problem := store_folder(settings):
        raise ConfigError(problem)
    url = settings.database_url.get_secret_value()
    require_known_tables(url)
    return f"{Database(url).label}: fit for this version"


def _backends(settings: Settings) -> Iterator[Finding]:
    try:
        backends = load_chain(settings)
    except CompatAuthError:
        return  # reported already
    for backend in backends:
        finding = _try(f"backend {backend.name}", backend.probe)
        if finding.problem or finding.detail:
            yield finding
    yield from examine_workloads(settings)
    for problem in passwordless_backends(settings, backends):
        yield Finding("token", problem, ConfigError.exit_code)


def directories_of(settings: Settings) -> list[str]:
    """Return the names of the directories in use: for passwords, and for users."""
    takes_passwords = any("basic_auth" in name for name in settings.auth_backends)
    asked = settings.basic_auth.directories if takes_passwords else []
    return list(dict.fromkeys([*asked, *_lookups_of(settings)]))


def _lookups_of(settings: Settings) -> list[str]:
    if settings.lookup.directories:
        return settings.lookup.directories
    # See `UserLookup.from_settings`.
    return ["airflow_db"] if settings.airflow_db.url.get_secret_value() else []


def _directory(name: str, settings: Settings) -> Iterator[Finding]:
    what = f"directory {name}"
    try:
        (directory,) = load_directories([name], settings)
        problems: list[str] = cast("_Checkable", directory).problems() if isinstance(directory, _Checkable) else []
        if not problems and isinstance(directory, UserDirectory):
            directory.find(_NOBODY)
    except CompatAuthError as error:
        yield Finding(what, str(error), error.exit_code)
        return
    yield from (Finding(what, problem, ConfigError.exit_code) for problem in problems)
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
    if problem := missing_roles(settings):
        raise ConfigError(problem)
    return f"{settings.token.strategy} for {settings.upstream.profile}"


def _gateway(settings: Settings) -> str:
    create_app(settings)
    return f"{settings.serve.bind}, {settings.serve.workers} worker(s)"


def _upstream(settings: Settings) -> Iterator[Finding]:
    is_airflow = settings.upstream.profile != "generic"
    try:
        probe = UpstreamProbe.from_settings(settings)
        if problem := own_address(settings):
            raise ConfigError(problem)
        probe.connect()
        if is_airflow:
            found = f"{probe.url} is Airflow {_version(settings, probe)}"
        else:
            found = f"{probe.url} answers {probe.ask('GET', '/').status}"
    except CompatAuthError as error:
        yield Finding("upstream", str(error), error.exit_code)
        return
    yield Finding("upstream", detail=found)
    clock = _try("upstream clock", lambda: _clock(settings, probe))
    yield clock
    if is_airflow:
        if way := find_way_around(settings):
            yield Finding("browsers", detail=way)
        if clock.problem and settings.token.strategy != "exchange":
            yield Finding("upstream token", detail="not checked: the clocks differ; correct that first")
        else:
            yield from _tokens(settings, probe)


def _version(settings: Settings, probe: UpstreamProbe) -> str:
    """Return the version of Airflow, and the path below which clients reach us."""
    try:
        version = probe.version()
    except ConfigError as error:
        # If the path is wrong, Airflow's own page shows the right one.
        raise ConfigError(find_path_fault(settings) or str(error)) from None
    if fault := find_path_fault(settings):
        raise ConfigError(fault)
    root = RootPath.from_settings(settings).path
    return f"{version}; clients reach us below {root}/ and without it" if root else version


def _old_settings(settings: Settings) -> Iterator[Finding]:
    for line in old_settings_of(settings.airflow_cfg, os.environ).unused():
        yield Finding("Airflow's configuration", detail=line)


def _clock(settings: Settings, probe: UpstreamProbe) -> str:
    ahead_s = probe.clock_difference_s()
    limit_s = _LEEWAY_S if settings.token.strategy != "exchange" else _MAX_DIFFERENCE_S
    if ahead_s > limit_s or ahead_s < -_MAX_DIFFERENCE_S:
        direction = "ahead of" if ahead_s > 0 else "behind"
        raise ConfigError(
            f"upstream.url: this machine's clock is {abs(ahead_s):.0f} s {direction} the upstream's, so that tokens are "
            "not yet or no longer valid there; set the clocks of both machines by NTP"
        )
    return "as ours"


def _tokens(settings: Settings, probe: UpstreamProbe) -> Iterator[Finding]:
    """Yield whether the upstream accepts the strategy's tokens; nothing if the strategy cannot be built."""
    try:
        strategy = build_strategy(settings)
    except CompatAuthError:
        return  # reported already
    if isinstance(strategy, Minted):
        yield _try("upstream token", lambda: _judgement(settings, strategy, probe))
    else:
        yield _try("upstream login", lambda: _login(probe))


def _judgement(settings: Settings, strategy: Minted, probe: UpstreamProbe) -> str:
    return judge(settings, strategy, probe, anybody=lambda: _anybody(settings), is_serving=lambda: is_serving(settings))


def _login(probe: UpstreamProbe) -> str:
    probe.require_login()
    return "takes passwords"


def _anybody(settings: Settings) -> DirectoryUser | None:
    """Return an active user whose id in the upstream's database is known, or None."""
    for name in _lookups_of(settings):
        try:
            (directory,) = load_directories([name], settings)
            user = directory.anybody() if isinstance(directory, _Sampled) else None
        except (ConfigError, BackendUnavailable):
            continue  # reported already
        if user is not None:
            return user
    return None

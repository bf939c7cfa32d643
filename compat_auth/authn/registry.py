"""Load backends by their configured names.

A name is a short name or any entry point of the group `compat_auth.backends`, a dotted class, or a module with Airflow
2's contract (dotted, or at the top of Python's path). Airflow's own dotted names are aliases of our backends. An
unknown name stops the start: a chain with a hole is never served. A module for Airflow 2 that exists but cannot run
does not stop it: it stays in the chain, and requests that reach it get 503.
"""

from __future__ import annotations

import difflib
import importlib.util
import sys
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import cast

from compat_auth.audit.log import where_raised
from compat_auth.authn.airflow2.backend import LegacyBackend, LegacyModule
from compat_auth.authn.airflow2.broken import BrokenModule, DeferredModule
from compat_auth.authn.airflow2.imports import import_watched
from compat_auth.authn.airflow2.reading import Reading, RemoteUser
from compat_auth.authn.airflow2.scrutiny import more_open
from compat_auth.authn.airflow2.stand_ins.host import use_host
from compat_auth.authn.airflow2.starting import StartTimeout, is_of_network, within
from compat_auth.authn.extras import remedy_for_missing
from compat_auth.backend import Backend
from compat_auth.config import Settings
from compat_auth.errors import BackendNotFound, ConfigError

GROUP = "compat_auth.backends"

# Similarity of a misspelt name: "basic_auht" has 0.9 with "basic_auth", "site_auth" has 0.74.
_MISSPELT = 0.85
_AIRFLOW = (
    "airflow.api.auth.backend",
    "airflow.auth.managers.fab.api.auth.backend",
    "airflow.providers.fab.auth_manager.api.auth.backend",
)
AIRFLOW_NAMES: dict[str, str] = {
    **{
        f"{package}.{module}": ours
        for package in _AIRFLOW
        for module, ours in (
            ("basic_auth", "basic_auth"),
            ("kerberos_auth", "kerberos"),
            ("session", "session"),
            ("deny_all", "deny_all"),
            ("default", "default"),
        )
    },
    "airflow.contrib.auth.backends.password_auth": "basic_auth",
    "airflow.contrib.auth.backends.kerberos_auth": "kerberos",
    "airflow.providers.google.common.auth_backend.google_openid": "google_openid",
    "airflow.composer.api.backend.composer_auth": "google_openid",
}
"""Airflow's dotted names (2.x `[api] auth_backends`, 3.x `[fab] auth_backends`), and our backend for each."""


class _CannotRun(ConfigError):
    """A module for Airflow 2 exists and cannot run here."""


class _CannotRunYet(_CannotRun):
    """A network failed while a module for Airflow 2 was imported, or the import takes long."""


def installed_backends() -> dict[str, EntryPoint]:
    """Return the installed backends by short name, sorted."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def load_chain(settings: Settings) -> tuple[Backend, ...]:
    """Return the configured backends in the configured order.

    Raises:
        ConfigError: The list is empty, repeats a backend or has an empty item; says the position.
        BackendNotFound: A name is unknown.
    """
    names = settings.auth_backends
    if not names and settings.token.strategy == "in_process":
        # Airflow continues without us, with its own authentication.
        return ()
    if not names or names == [""]:
        raise ConfigError('auth_backends: empty; name at least one backend, or "deny_all" to refuse everybody')
    backends: list[Backend] = []
    _require_known(settings)
    RemoteUser.from_settings(settings)
    use_host(settings)
    for position, name in enumerate(names):
        where = f"auth_backends[{position}]"
        if not name:
            raise ConfigError(f"{where}: empty name (a comma too many?)")
        backend = _load_whatever(name, where, settings)
        backend.configured_as = name
        if backend.name in [earlier.name for earlier in backends]:
            raise ConfigError(f"{where}: {name!r} is {backend.name!r}, which is already in the list; remove one")
        backends.append(backend)
    return tuple(backends)


def _require_known(settings: Settings) -> None:
    modules = settings.airflow2_modules
    for key, names in (
        ("thread_safe", modules.thread_safe),
        ("ignore_body", modules.ignore_body),
        ("accident", modules.accident),
        ("user_when_unnamed", modules.user_when_unnamed),
    ):
        for name in names:
            if name not in settings.auth_backends:
                raise ConfigError(f"airflow2_modules.{key}: {name!r} is not in auth_backends; spell it as there")


def _load_whatever(name: str, where: str, settings: Settings) -> Backend:
    """Return the backend for a name; a module that cannot run never stops the start, and accepts nobody.

    Raises:
        ConfigError: A backend that is not a module for Airflow 2 cannot be set up.
        BackendNotFound: The name is unknown, and this process is not Airflow, whose API server must start anyway.
    """
    try:
        return _load(name, where, settings)
    except _CannotRunYet as exc:
        modules = settings.airflow2_modules
        return DeferredModule(
            name,
            exc,
            lambda: _load(name, where, settings),
            reads_body=name not in modules.ignore_body,
            one_at_a_time=name not in modules.thread_safe,
        )
    except _CannotRun as exc:
        return BrokenModule(name, str(exc))
    except BackendNotFound as exc:
        if settings.token.strategy != "in_process" or _is_misspelt(name):
            raise
        return BrokenModule(name, str(exc))


def _is_misspelt(name: str) -> bool:
    """Return whether a name is so close to an installed backend's that it is a misspelling, not a site's own module."""
    return bool(difflib.get_close_matches(name, installed_backends(), n=1, cutoff=_MISSPELT))


def _load(name: str, where: str, settings: Settings) -> Backend:
    short = AIRFLOW_NAMES.get(name, name)
    found = installed_backends().get(short)
    if found is not None:
        return _from_class(_load_entry_point(found, where), short, where, settings)
    if "." in short or (short == name and _is_module(name)):
        return _from_dotted(short, where, settings)
    installed = installed_backends()
    near = difflib.get_close_matches(short, installed, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "is its package installed?"
    alias = f" (what {name!r} stands for)" if short != name else ""
    raise BackendNotFound(f"{where}: no backend named {short!r}{alias}; {hint} installed: {', '.join(installed)}")


def _is_module(name: str) -> bool:
    # Airflow 2 sites kept their own module in Airflow's config folder, which is on its path: the name has no dot.
    if not name.isidentifier() or name.startswith("_") or name in AIRFLOW_NAMES.values():
        return False
    return importlib.util.find_spec(name) is not None


def _load_entry_point(point: EntryPoint, where: str) -> object:
    try:
        return point.load()
    except ImportError as exc:
        raise ConfigError(f"{where}: {point.name}: cannot be imported ({exc}); {remedy_for_missing(point)}") from exc


def _from_dotted(path: str, where: str, settings: Settings) -> Backend:
    if not all(part.isidentifier() for part in path.split(".")):
        raise BackendNotFound(f"{where}: {path}: neither a module nor a class: not a dotted name")
    module_path, _, attribute = path.rpartition(".")
    if _is_backend(known := getattr(sys.modules.get(module_path), attribute, None)):
        return _from_class(known, path, where, settings)
    try:
        return _from_module(_import(path, where, settings), path, settings)
    except ModuleNotFoundError as exc:
        # Only "this very path is not a module" means that it may be a class; a module that exists but lacks a
        # dependency must report that.
        if exc.name is None or not (path == exc.name or path.startswith(f"{exc.name}.")):
            raise _lacking(path, where, f"needs a module that is not installed: {exc.name}") from exc
    except ImportError as exc:
        raise _lacking(path, where, f"cannot be imported: {exc}") from exc
    try:
        found = getattr(_import(module_path, where, settings), attribute)
    except (ImportError, AttributeError, ValueError) as exc:
        raise BackendNotFound(
            f"{where}: {path}: neither a module nor a class in one; is its folder on PYTHONPATH, its package installed?"
        ) from exc
    return _from_class(found, path, where, settings, module_path)


def _is_backend(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, Backend)


def _import(path: str, where: str, settings: Settings) -> ModuleType:
    """Import the module.

    Raises:
        ImportError: The import raised it.
        _CannotRunYet: A network failed, or the import takes too long.
        _CannotRun: The import raised anything else.
    """
    timeout_s = settings.airflow2_modules.start_timeout_s
    try:
        return within(timeout_s, lambda: import_watched(path))
    except StartTimeout as exc:
        problem = f"its import takes longer than {timeout_s:g} s; give its network calls a timeout"
        raise _CannotRunYet(f"{where}: {path}: {problem}") from exc
    except (ImportError, KeyboardInterrupt):
        raise
    except BaseException as exc:
        # Not the exception's message, which may hold what the module has read.
        problem = f"raised {type(exc).__name__} at {where_raised(exc)} when it was imported; correct the module"
        if is_of_network(exc):
            raise _CannotRunYet(f"{where}: {path}: {problem}, or wait for what it asks") from exc
        raise _CannotRun(f"{where}: {path}: {problem}") from exc


def _lacking(path: str, where: str, problem: str) -> ConfigError:
    # A class reports its own errors; only a module for Airflow 2 was not written for this program.
    is_class = path.rpartition(".")[2][:1].isupper()
    error = ConfigError if is_class else _CannotRun
    return error(f"{where}: {path}: {problem}")


def _from_module(module: ModuleType | LegacyModule, path: str, settings: Settings, imported_as: str = "") -> Backend:
    modules = settings.airflow2_modules
    if not any(hasattr(module, name) for name in ("init_app", "requires_authentication")):
        # Not an auth module at all, so the name is wrong.
        raise BackendNotFound(
            f"auth_backends: {path}: has no init_app() as Airflow 2's contract needs; correct the name"
        )
    if finding := more_open(imported_as or path):
        raise _CannotRun(f"auth_backends: {path}: {finding}")
    try:
        return LegacyBackend(
            module,
            path,
            thread_safe=path in modules.thread_safe,
            reads_body=path not in modules.ignore_body,
            timeout_s=settings.serve.backend_timeout_s,
            start_timeout_s=modules.start_timeout_s,
            imported_as=imported_as or path,
            reading=Reading.from_settings(path, settings),
            host=use_host(settings),
        )
    except ConfigError as exc:
        raise _CannotRun(str(exc)) from exc


def _from_class(found: object, name: str, where: str, settings: Settings, imported_as: str = "") -> Backend:
    if isinstance(found, ModuleType):
        return _from_module(import_watched(found.__name__), name, settings, found.__name__)
    if not isinstance(found, type):
        raise ConfigError(f"{where}: {name}: is a {type(found).__name__}, not a class or module")
    if issubclass(found, Backend):
        backend = found.from_settings(settings)
        backend.name = name
        return backend
    return _from_module(cast("LegacyModule", found()), name, settings, imported_as or found.__module__)

"""Find backends by the names that a configuration may use.

A name is a short name or any entry point of the group `compat_auth.backends`, a dotted class, a module with Airflow 2's
contract (dotted, or at the top of Python's path), or one of Airflow's own dotted names, which stand for ours. A name
that is not found stops the start: a chain with a hole is never served.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import cast

from compat_auth.backend import Backend
from compat_auth.config import Settings
from compat_auth.errors import BackendNotFound, ConfigError
from compat_auth.legacy import LegacyBackend, LegacyModule

GROUP = "compat_auth.backends"

_AIRFLOW = ("airflow.api.auth.backend", "airflow.providers.fab.auth_manager.api.auth.backend")
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
    "airflow.contrib.auth.backends.kerberos_auth": "kerberos",
    "airflow.providers.google.common.auth_backend.google_openid": "google_openid",
}
"""Airflow's dotted names (2.x `[api] auth_backends`, 3.x `[fab] auth_backends`) and what stands in for them here."""


def installed_backends() -> dict[str, EntryPoint]:
    """Return what is installed, by short name, sorted."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def load_chain(settings: Settings) -> tuple[Backend, ...]:
    """Return the configured backends in the configured order.

    Raises:
        ConfigError: The list is empty, repeats a backend or has an empty item; says at which position.
        BackendNotFound: A name means nothing here.
    """
    names = settings.auth_backends
    if not names or names == [""]:
        raise ConfigError('auth_backends: empty; name at least one backend, or "deny_all" to let nobody in')
    backends: list[Backend] = []
    for position, name in enumerate(names):
        where = f"auth_backends[{position}]"
        if not name:
            raise ConfigError(f"{where}: empty name (a comma too many?)")
        backend = _load(name, where, settings)
        backend.configured_as = name
        if backend.name in [earlier.name for earlier in backends]:
            raise ConfigError(f"{where}: {name!r} is {backend.name!r}, which is in the list already; remove one")
        backends.append(backend)
    return tuple(backends)


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
    # Airflow 2 sites kept a module of their own in Airflow's config folder, which is on its path: no dot in the name.
    if not name.isidentifier() or name.startswith("_") or name in AIRFLOW_NAMES.values():
        return False
    return importlib.util.find_spec(name) is not None


def _load_entry_point(point: EntryPoint, where: str) -> object:
    try:
        return point.load()
    except ImportError as exc:
        raise ConfigError(
            f"{where}: {point.name}: cannot be imported ({exc}); run: pip install 'compat_auth[{point.name}]'"
        ) from exc


def _from_dotted(path: str, where: str, settings: Settings) -> Backend:
    if not all(part.isidentifier() for part in path.split(".")):
        raise BackendNotFound(f"{where}: {path}: neither a module nor a class: not a dotted name")
    try:
        return _from_module(importlib.import_module(path), path)
    except ModuleNotFoundError as exc:
        # Only "this very path is not a module" means that it may be a class; a module that exists and lacks
        # a dependency of its own has to say so.
        if exc.name is None or not (path == exc.name or path.startswith(f"{exc.name}.")):
            raise ConfigError(f"{where}: {path}: needs a module that is not installed: {exc.name}") from exc
    except ImportError as exc:
        raise ConfigError(f"{where}: {path}: cannot be imported: {exc}") from exc
    module_path, _, attribute = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_path), attribute)
    except (ImportError, AttributeError) as exc:
        raise BackendNotFound(
            f"{where}: {path}: neither a module nor a class in one; is its folder on PYTHONPATH, its package installed?"
        ) from exc
    return _from_class(found, path, where, settings)


def _from_module(module: ModuleType, path: str) -> Backend:
    return LegacyBackend(module, path)


def _from_class(found: object, name: str, where: str, settings: Settings) -> Backend:
    if isinstance(found, ModuleType):
        return LegacyBackend(found, name)
    if not isinstance(found, type):
        raise ConfigError(f"{where}: {name}: is a {type(found).__name__}, not a class or module")
    if issubclass(found, Backend):
        backend = found.from_settings(settings)
        backend.name = name
        return backend
    return LegacyBackend(cast("LegacyModule", found()), name)

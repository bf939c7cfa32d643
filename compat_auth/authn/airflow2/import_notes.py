"""Record which of Airflow's names the site's own modules failed to import; see `compat_auth.authn.airflow2.imports`.

The records belong to the process, as `sys.meta_path` does. Any thread may call.
"""

from __future__ import annotations

import sys
import sysconfig
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType

ROOTS = frozenset(("airflow", "flask_appbuilder"))
"""Top-level names of Airflow 2 on which a module may depend."""
OURS = frozenset(("compat_auth", "compat_auth_backends"))
"""Our own top-level names; their imports are not watched."""

_INSTALLED = frozenset(("site-packages", "dist-packages"))
_STANDARD = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})

_now = threading.local()
_lock = threading.Lock()
_watched: set[str] = set()
_auth_packages: set[str] = set()
_failures: dict[str, str] = {}
_uses: dict[str, set[str]] = {}
_stand_ins: dict[str, set[str]] = {}


def note_auth_module(name: str) -> None:
    """Record that a module is an auth module, so that its whole package is the site's own, installed or not."""
    with _lock:
        _auth_packages.add(name.partition(".")[0])


def note_watched(name: str) -> None:
    """Record that a module's failed imports are recorded from now on."""
    with _lock:
        _watched.add(name)


def is_watched(name: str) -> bool:
    """Return whether a module's failed imports are recorded."""
    return name in _watched


@contextmanager
def probing() -> Generator[None]:
    """While this lasts, this thread only looks whether something can be imported: failures are not the module's."""
    before = is_probing()
    _now.probing = True
    try:
        yield
    finally:
        _now.probing = before


def is_probing() -> bool:
    """Return whether this thread only looks whether something can be imported."""
    return bool(getattr(_now, "probing", False))


def note_failure(importer: str, wanted: str) -> None:
    """Record that a module cannot import a name."""
    failure = f"{importer} cannot import {wanted}"
    with _lock:
        # Of "airflow" and "airflow.www", the second is more specific.
        if importer not in _failures or failure.startswith(f"{_failures[importer]}."):
            _failures[importer] = failure


def note_use(importer: str, *used: str) -> None:
    """Record that a module uses others; those that are not watched, and so not the site's, do not count."""
    with _lock:
        for name in used:
            # A submodule imports its packages too.
            _uses.setdefault(importer, set()).update(_watched.intersection((name, *packages_of(name))))


def note_stand_in(importer: str, name: str) -> None:
    """Record that a module got a stand-in for a name of Airflow, FAB or Flask."""
    with _lock:
        _stand_ins.setdefault(importer, set()).add(name)


def stand_ins_of(name: str) -> list[str]:
    """Return the names for which a module, and the site's modules that it uses, got stand-ins; sorted."""
    users = {name, *used_by(name)}
    with _lock:
        return sorted({found for user in users for found in _stand_ins.get(user, ())})


def failed_import(name: str) -> str:
    """Return the name of Airflow that the module, or a site's module that it uses, failed to import; "" for none."""
    if not _failures:
        return ""
    with _lock:
        seen: set[str] = set()
        waiting = {name, *packages_of(name)}
        while waiting:
            user = waiting.pop()
            if user in _failures:
                return _failures[user]
            seen.add(user)
            waiting |= _uses.get(user, set()) - seen
    return ""


def used_by(name: str) -> set[str]:
    """Return the names of the site's modules that a module uses, directly or not."""
    with _lock:
        seen: set[str] = set()
        waiting = {name, *packages_of(name)}
        while waiting:
            user = waiting.pop()
            seen.add(user)
            waiting |= _uses.get(user, set()) - seen
    return seen - {name}


def packages_of(name: str) -> Iterator[str]:
    """Yield the names of the packages that a module is in, innermost first."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def is_root(name: str) -> bool:
    """Return whether a dotted name is one of Airflow's."""
    return name.partition(".")[0] in ROOTS


def is_sites(spec: ModuleSpec | None) -> bool:
    """Return whether a module is the site's own: not installed, or in the package of an auth module."""
    if spec is None or not spec.origin or not spec.origin.endswith((".py", ".pyc")):
        return False
    top = spec.name.partition(".")[0]
    if top in ROOTS | OURS:
        return False
    is_installed = not _INSTALLED.isdisjoint(spec.origin.replace("\\", "/").split("/"))
    if not is_installed and spec.origin.startswith(_STANDARD):
        return False
    return not is_installed or top in _auth_packages


def has_name(module: ModuleType, name: str) -> bool:
    """Return whether `from module import name` finds the name in an imported module."""
    try:
        getattr(module, name)
    except Exception:  # noqa: BLE001  # a module's __getattr__ may raise anything
        return f"{module.__name__}.{name}" in sys.modules
    return True

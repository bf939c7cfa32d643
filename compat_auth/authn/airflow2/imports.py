"""Detect failed imports of Airflow's names in a site's module, even where its own `except ImportError` hides them.

A module for Airflow 2 often has a fallback for a missing Airflow, and some fall back to "everybody is admin". Therefore
the module, and what it imports from the site's own folders, runs with an `__import__` that records failures. It sees
every form of the import statement, at import and later; a finder that is asked last sees `importlib` and `pkgutil`. The
imports of a library, and those of Airflow inside Airflow, are not the module's.

Not detected: `"airflow" in sys.modules`, and questions about installed distributions.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import inspect
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any

import flask

from compat_auth.authn.airflow2.import_notes import (
    OURS,
    ROOTS,
    has_name,
    is_probing,
    is_root,
    is_sites,
    is_watched,
    note_auth_module,
    note_failure,
    note_stand_in,
    note_use,
    note_watched,
    packages_of,
)
from compat_auth.authn.airflow2.source import inspect_source
from compat_auth.authn.airflow2.stand_ins.catalog import find, is_stand_in

_MACHINERY = frozenset(("importlib", "pkgutil", __name__))

_now = threading.local()
_lock = threading.Lock()


def import_watched(name: str) -> ModuleType:
    """Import and return the module, and record its failed imports of Airflow's names.

    A module that was imported before, for example by a plugin of Airflow, is not executed again: its source is read.

    Raises:
        BaseException: The import raised it.
    """
    _install()
    if is_root(name) or name.partition(".")[0] in OURS:
        return importlib.import_module(name)
    note_auth_module(name)
    for path in (*reversed([*packages_of(name)]), name):
        inspect_source(path)
    with _watching():
        return importlib.import_module(name)


@contextmanager
def _watching() -> Generator[None]:
    _now.depth = getattr(_now, "depth", 0) + 1
    try:
        yield
    finally:
        _now.depth -= 1


def _watched_import(
    name: str,
    globals: Mapping[str, object] | None = None,  # noqa: A002  # the names of the function that it stands for
    locals: Mapping[str, object] | None = None,  # noqa: A002
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """Do what `builtins.__import__` does, give stand-ins for what Airflow 3 no longer has, and take notes."""
    importer = str((globals or {}).get("__name__", ""))
    airflows = level == 0 and name.partition(".")[0] in ROOTS
    stand_in = _find_stand_in(name, fromlist) if level == 0 else None
    if stand_in is not None:
        _note_items(importer, stand_in, name, fromlist, airflows=airflows)
        # `import a.b` binds a.
        return stand_in if fromlist else find(name.partition(".")[0]) or stand_in
    try:
        with _watching():
            found = builtins.__import__(name, globals, locals, fromlist, level)
    except BaseException:
        if airflows:
            note_failure(importer, name)
        raise
    names = [item for item in fromlist or () if item != "*"]
    if airflows:
        for item in names:
            if not has_name(found, item):
                note_failure(importer, f"{name}.{item}")
        return found
    base = found.__name__ if names or level else name
    used = (base, *(f"{base}.{item}" for item in names))
    for path in used:
        inspect_source(path)
    note_use(importer, *used)
    return _WatchedImportlib(found, importer) if found is importlib else found


def _note_items(
    importer: str, stand_in: ModuleType, name: str, fromlist: Sequence[str] | None, *, airflows: bool
) -> None:
    for item in fromlist or ():
        if item != "*" and airflows and not has_name(stand_in, item):
            note_failure(importer, f"{name}.{item}")
        elif is_stand_in(stand_in, item):
            note_stand_in(importer, f"{name}.{item}")


def _find_stand_in(name: str, fromlist: Sequence[str] | None) -> ModuleType | None:
    """Return the module that stands in for a module of Airflow's, FAB's or Flask's; None: the real one, or none at all."""
    if name == "flask" and fromlist and all(item == "*" or hasattr(flask, item) for item in fromlist):
        return None
    return find(name)


class _WatchedImportlib(ModuleType):
    """`importlib` as a watched module sees it: `import_module` records failures too."""

    def __init__(self, behind: ModuleType, importer: str) -> None:
        super().__init__(behind.__name__, behind.__doc__)
        self._importer = importer

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib, name)

    def import_module(self, name: str, package: str | None = None) -> ModuleType:
        """Do what `importlib.import_module` does; see `_watched_import`."""
        stand_in = find(importlib.util.resolve_name(name, package)) if name.lstrip(".") else None
        if stand_in is not None:
            return stand_in
        try:
            with _watching():
                found = importlib.import_module(name, package)
        except BaseException:
            if name.partition(".")[0] in ROOTS:
                note_failure(self._importer, name)
            raise
        inspect_source(found.__name__)
        note_use(self._importer, found.__name__)
        return found


_BUILTINS: dict[str, object] = {**vars(builtins), "__import__": _watched_import}


class _WatchedLoader:
    """Loads a site's module with builtins that record failures."""

    def __init__(self, behind: Any) -> None:
        self._behind = behind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return the module that the original loader creates."""
        made: ModuleType | None = self._behind.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module; its functions keep these builtins permanently."""
        module.__dict__["__builtins__"] = _BUILTINS
        note_watched(module.__name__)
        self._behind.exec_module(module)


class _SiteFinder:
    """Asked first: watches the site's own code while a watched module imports it."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a site's module; None leaves the module to the next finder."""
        if not getattr(_now, "depth", 0) or name.partition(".")[0] in ROOTS | OURS:
            return None
        spec = _ask_others(self, name, path, target)
        if spec is None or not is_sites(spec) or not hasattr(spec.loader, "exec_module"):
            return None
        spec.loader = _WatchedLoader(spec.loader)  # type: ignore[assignment]  # it has what importlib needs of a loader
        return spec


class _LastFinder:
    """Asked last: records which module wanted a name of Airflow that does not exist."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return None."""
        if is_probing():
            return None
        if name.partition(".")[0] in ROOTS and _ask_others(self, name, path, target, behind=True) is None:
            importer = _importer(inspect.currentframe())
            if importer:
                note_failure(importer, name)
        return None


def _ask_others(
    asker: object, name: str, path: Sequence[str] | None, target: ModuleType | None, *, behind: bool = False
) -> ModuleSpec | None:
    finders = sys.meta_path[sys.meta_path.index(asker) + 1 :] if behind else sys.meta_path  # type: ignore[arg-type]
    for finder in finders:
        if not isinstance(finder, (_SiteFinder, _LastFinder)) and (found := finder.find_spec(name, path, target)):
            return found
    return None


def _importer(frame: FrameType | None) -> str:
    """Return the watched module that causes an import, or ""."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if is_watched(name):
            return name
        top = name.partition(".")[0]
        if top in ROOTS:
            return ""  # an import of Airflow itself
        if name not in _MACHINERY and top not in _MACHINERY and frame.f_code.co_name == "<module>":
            return ""  # a library that works without Airflow
        frame = frame.f_back
    return ""


def _install() -> None:
    with _lock:
        if not any(isinstance(finder, _SiteFinder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _SiteFinder())
        # A finder that was added later would come after it: harmless, because it asks the others itself.
        if not any(isinstance(finder, _LastFinder) for finder in sys.meta_path):
            sys.meta_path.append(_LastFinder())

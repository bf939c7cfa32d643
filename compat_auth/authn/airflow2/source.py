"""Find failed imports of Airflow's names in the source of a site's module that was imported unwatched.

It is not executed again, because the site's application may have set its variables.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator

from compat_auth.authn.airflow2.import_notes import (
    has_name,
    is_root,
    is_sites,
    is_watched,
    note_failure,
    note_use,
    note_watched,
)

# Functions that take a module's name as a text.
_IMPORTERS = frozenset(("import_module", "__import__", "find_spec", "import_string", "resolve_name", "find_loader"))


def inspect_source(name: str) -> None:
    """Record which of Airflow's names an already imported module cannot import, at once or later."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if is_watched(name) or not is_sites(spec):
        return
    note_watched(name)
    source = importlib.util.find_spec(name)
    read = getattr(source.loader if source is not None else None, "get_source", None)
    try:
        tree = ast.parse((read(name) if read is not None else None) or "")
    except (ImportError, OSError, SyntaxError):
        note_failure(name, "any name that can be checked: its source cannot be read")
        return
    package = name if getattr(module, "__path__", None) is not None else name.rpartition(".")[0]
    for wanted, items in _imports(tree, package):
        if is_root(wanted):
            _try(name, wanted, items)
        else:
            used = [wanted, *(f"{wanted}.{item}" for item in items)]
            for path in used:
                inspect_source(path)
            note_use(name, *used)


def _imports(tree: ast.AST, package: str) -> Iterator[tuple[str, list[str]]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from _imports(other, package)
            continue
        match node:
            case ast.Import(names):
                yield from ((alias.name, []) for alias in names)
            case ast.ImportFrom(module, names, level):
                base = (module or "") if not level else _resolved(module or "", level, package)
                yield base, [alias.name for alias in names if alias.name != "*"]
            case ast.Call(func=called, args=[ast.Constant(value=str(text)), *_]) if _name_of(called) in _IMPORTERS:
                yield text.partition(":")[0], []
            case _:
                pass
        yield from _imports(node, package)


def _resolved(module: str, level: int, package: str) -> str:
    try:
        return importlib.util.resolve_name("." * level + module, package)
    except ImportError:
        return module


def _name_of(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def _try(importer: str, wanted: str, items: list[str]) -> None:
    try:
        found = importlib.import_module(wanted)
        for item in items:
            if not has_name(found, item):
                importlib.import_module(f"{wanted}.{item}")
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  # whatever it is, the module would get it
        note_failure(importer, ".".join((wanted, *items[:1])))

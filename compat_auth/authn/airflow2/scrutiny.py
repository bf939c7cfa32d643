"""Look at the source of a module for what would let in more people here than Airflow 2 did, before it runs.

Airflow 2.11 gave a module one function for every request, not the view. A module of 1.10 may still decide by the view's
name or its arguments, and has neither here. Another may accept everybody where a library is missing. Both are found in
the syntax tree of the module, and of the site's own modules that it uses, in the functions that it can reach.

A tree shows what is written, not what it means: a module that hides its intention is found when it is tried
(`compat_auth.authn.airflow2.trial`), or not at all.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from compat_auth.authn.airflow2.import_notes import used_by

_ENTRIES = ("requires_authentication", "init_app")
_OF_VIEW = frozenset(("__name__", "__qualname__", "__module__", "__defaults__", "__dict__", "__closure__", "__code__"))
_OF_ROUTE = frozenset(("endpoint", "url_rule", "view_args", "blueprint", "blueprints"))
# What only writes down what it gets.
_WRITES = frozenset(("debug", "info", "warning", "warn", "error", "exception", "critical", "log", "print", "wraps"))
_IMPORT_ERRORS = frozenset(("ImportError", "ModuleNotFoundError", "Exception", "BaseException"))

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def more_open(name: str) -> str:
    """Return where an imported module decides by what is not there, or accepts everybody; "" for neither.

    Args:
        name: The module's dotted name.
    """
    trees = {path: tree for path in (name, *sorted(used_by(name))) if (tree := _tree_of(path)) is not None}
    reachable = _reachable(trees.values())
    for path, tree in trees.items():
        for line, finding in sorted(_findings(tree, reachable)):
            return f"{_file_of(path)}:{line}: {finding}"
    return ""


def _tree_of(name: str) -> ast.Module | None:
    """Return the syntax tree; None for what has no source, which `source.inspect_source` has reported."""
    module = sys.modules.get(name)
    loader = getattr(getattr(module, "__spec__", None), "loader", None)
    if loader is None:
        try:
            found = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return None
        loader = None if found is None else found.loader
    read = getattr(loader, "get_source", None)
    try:
        source = read(name) if read is not None else None
        return ast.parse(source) if source is not None else None
    except (ImportError, OSError, SyntaxError):
        return None


def _file_of(name: str) -> str:
    return Path(getattr(sys.modules.get(name), "__file__", None) or name).name


def _reachable(trees: Iterable[ast.Module]) -> set[str]:
    """Return the names of functions that the two functions of the contract may call, by name alone."""
    defined: dict[str, list[_Function]] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                defined.setdefault(node.name, []).append(node)
    seen: set[str] = set()
    waiting: list[str] = [*_ENTRIES]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for function in defined.get(name, []):
            waiting.extend(set(_mentioned(function)) - seen)
    return seen


def _mentioned(function: _Function) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name


def _findings(tree: ast.Module, reachable: set[str]) -> Iterator[tuple[int, str]]:
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    fallbacks = set(_fallback_names(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and _catches_import(node) and not _is_in_function(node, parents):
            yield from _open_fallbacks(node)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name in reachable:
            yield from _by_route(node, parents)
            yield from _by_flag(node, fallbacks)
            if node.name == "requires_authentication" and node.args.args:
                yield from _by_view(node, node.args.args[0].arg, parents)


def _by_route(function: _Function, parents: dict[ast.AST, ast.AST]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(function):
        match node:
            case ast.Attribute(value=ast.Name(id="request") | ast.Attribute(attr="request"), attr=attr):
                if attr in _OF_ROUTE and not _is_written_down(node, parents):
                    yield node.lineno, f"decides by request.{attr}, which is not there; decide by request.path"
            case _:
                pass


def _by_view(function: _Function, view: str, parents: dict[ast.AST, ast.AST]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(function):
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=attr) if owner == view and attr in _OF_VIEW:
                if not _is_written_down(node, parents) and not _is_copied(node, parents):
                    yield node.lineno, f"decides by {view}.{attr}: it is never a view, only asks who the caller is"
            case ast.Call(func=ast.Name(id="getattr"), args=[ast.Name(id=owner), *_]) if owner == view:
                if not _is_written_down(node, parents) and not _is_copied(node, parents):
                    yield node.lineno, f"decides by an attribute of {view}, which is never a view"
            case ast.FunctionDef() | ast.AsyncFunctionDef() if node is not function:
                yield from _by_arguments(node, view, parents)
            case _:
                pass


def _by_arguments(inner: _Function, view: str, parents: dict[ast.AST, ast.AST]) -> Iterator[tuple[int, str]]:
    """Yield where the function that replaces the view uses the view's arguments for something other than the view."""
    every = (*inner.args.posonlyargs, *inner.args.args, *inner.args.kwonlyargs, inner.args.vararg, inner.args.kwarg)
    names = {argument.arg for argument in every if argument is not None}
    called = {
        node.func.id for node in ast.walk(inner) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    if view not in called:
        return  # not what replaces the view
    for node in ast.walk(inner):
        if not (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names):
            continue
        if not _goes_to(node, view, parents) and not _is_written_down(node, parents):
            yield node.lineno, f"decides by {node.id}, an argument of the view: there is none here"


def _goes_to(node: ast.AST, view: str, parents: dict[ast.AST, ast.AST]) -> bool:
    """Return whether a name is an argument of a call of the view, or of a call that gets the view, too."""
    above: ast.AST | None = parents.get(node)
    while above is not None and isinstance(above, (ast.Starred, ast.keyword)):
        above = parents.get(above)
    if not isinstance(above, ast.Call):
        return False
    gets = [above.func, *above.args, *(keyword.value for keyword in above.keywords)]
    return any(isinstance(item, ast.Name) and item.id == view for item in gets)


def _is_written_down(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    above: ast.AST | None = parents.get(node)
    while above is not None and not isinstance(above, ast.stmt):
        if isinstance(above, ast.Call) and _name_of(above.func) in _WRITES:
            return True
        above = parents.get(above)
    return False


def _is_copied(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Return whether it is only copied to the function that replaces the view: `decorated.__name__ = view.__name__`."""
    above = parents.get(node)
    return isinstance(above, ast.Assign) and all(
        isinstance(target, ast.Attribute) and target.attr in _OF_VIEW for target in above.targets
    )


def _is_in_function(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    above: ast.AST | None = node
    while above is not None:
        if isinstance(above, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            return True
        above = parents.get(above)
    return False


def _catches_import(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(item is None or _name_of(item) in _IMPORT_ERRORS for item in caught)


def _open_fallbacks(handler: ast.ExceptHandler) -> Iterator[tuple[int, str]]:
    for node in ast.walk(handler):
        finding = "accepts everybody if an import fails; let the import fail"
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.args.args:
            if _grants(node.body, node.args.args[0].arg):
                yield node.lineno, finding
        elif isinstance(node, ast.Lambda) and node.args.args and _name_of(node.body) == node.args.args[0].arg:
            yield node.lineno, finding


def _grants(body: list[ast.stmt], view: str) -> bool:
    """Return whether statements return the view, or call it, before any condition."""
    for statement in body:
        match statement:
            case ast.Return(value=ast.Name(id=returned)) if returned == view:
                return True
            case ast.Return(value=ast.Call(func=ast.Name(id=called))) if called == view:
                return True
            case ast.FunctionDef(body=inner) | ast.AsyncFunctionDef(body=inner):
                if _grants(inner, view):
                    return True
            case ast.If() | ast.Try() | ast.For() | ast.While():
                return False
            case _:
                pass
    return False


def _fallback_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module sets where an import of it fails."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and any(isinstance(item, (ast.Import, ast.ImportFrom)) for item in node.body):
            for handler in node.handlers:
                if _catches_import(handler):
                    for item in ast.walk(handler):
                        if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store):
                            yield item.id


def _by_flag(function: _Function, fallbacks: set[str]) -> Iterator[tuple[int, str]]:
    views = {argument.arg for argument in function.args.args}
    for node in ast.walk(function):
        if not isinstance(node, ast.If):
            continue
        names = {item.id for item in ast.walk(node.test) if isinstance(item, ast.Name)}
        if names and names <= fallbacks and any(_grants(branch, view) for branch in (node.body,) for view in views):
            yield node.lineno, f"accepts everybody if {', '.join(sorted(names))} could not be imported"


def _name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""

"""Reads the assignments of a webserver_config.py without running it: only literals, and variables of the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from compat_auth.cli.migration.variables import has_surrogate
from compat_auth.errors import ConfigError

WAYS = ("AUTH_OID", "AUTH_DB", "AUTH_LDAP", "AUTH_REMOTE_USER", "AUTH_OAUTH")
"""Flask-AppBuilder's constants for AUTH_TYPE, by number."""
_ELSEWHERE = "it comes from a module that is not read here"
_RUNS = ("exec", "globals().update", "locals().update", "vars().update")
_ENVIRON = ("os.environ.get", "os.getenv", "environ.get", "getenv")


@dataclass(frozen=True, slots=True)
class Assignment:
    """One assignment to a name in capitals, at the top of the file or in a block.

    Attributes:
        name: The name.
        line: Line number.
        value: The value, if it can be known.
        problem: Why the value cannot be known; empty if it can.
    """

    name: str
    line: int
    value: object
    problem: str


class _Unknown(Exception):  # not an error: the value is computed
    pass


def read_assignments(source: str, file: str, environ: Mapping[str, str]) -> list[Assignment]:
    """Return the last assignment to each name, in the order of the file.

    Args:
        source: The text of the file.
        file: Its name, for messages.
        environ: The environment in which Airflow 2 ran.

    Raises:
        ConfigError: It is not Python.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError) as exc:
        where = f":{exc.lineno}" if isinstance(exc, SyntaxError) and exc.lineno else ""
        raise ConfigError(f"{file}{where}: not Python 3; correct it, or leave the file out") from None
    found: dict[str, Assignment] = {}
    for name, value, line, is_certain in _assigned(tree.body, is_certain=True):
        problem, known = "", None
        try:
            known = _known(value, environ)
        except _Unknown as exc:
            problem = str(exc)
        if has_surrogate(known):
            problem = "not UTF-8"
        if "{{" in str(known) or "${" in str(known):
            problem = "made by a template"
        if not is_certain:
            problem = "set in a condition, a loop or a function"
        found.pop(name, None)
        found[name] = Assignment(name, line, known, problem)
    return list(found.values())


def _assigned(body: list[ast.stmt], *, is_certain: bool) -> Iterator[tuple[str, ast.expr | str, int, bool]]:
    """Yield names with the expression for each, or with why there is none."""
    for statement in body:
        match statement:
            case ast.Assign(targets=targets, value=value):
                pairs = [pair for target in targets for pair in _pairs(target, value)]
                yield from ((name, one, statement.lineno, is_certain) for name, one in pairs if name.isupper())
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if name.isupper():
                yield name, value, statement.lineno, is_certain
            case ast.AugAssign(target=ast.Name(id=name), value=value) if name.isupper():
                yield name, value, statement.lineno, False
            case ast.ImportFrom():
                yield from ((name, _ELSEWHERE, statement.lineno, is_certain) for name in _imported(statement))
            case ast.Expr(value=ast.Call(func=func)) if ast.unparse(func) in _RUNS:
                yield f"{ast.unparse(func)}()", "it sets names that are not seen here", statement.lineno, is_certain
            case ast.If() | ast.Try() | ast.TryStar() | ast.For() | ast.While() | ast.With() | ast.Match():
                blocks = [getattr(statement, part, []) for part in ("body", "orelse", "finalbody")]
                blocks += [one.body for part in ("handlers", "cases") for one in getattr(statement, part, [])]
                for block in blocks:
                    yield from _assigned(block, is_certain=False)
            case _:
                pass


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr | str]]:
    """Yield the names in a target, each with its expression where that is written out."""
    match target, value:
        case ast.Name(id=name), _:
            yield name, value
        case (
            (ast.Tuple(elts=names) | ast.List(elts=names)),
            (ast.Tuple(elts=values) | ast.List(elts=values)),
        ) if len(names) == len(values) and not any(isinstance(one, ast.Starred) for one in (*names, *values)):
            for one, inner in zip(names, values, strict=True):
                yield from _pairs(one, inner)
        case ast.Subscript(value=mapping, slice=ast.Constant(value=str() as name)), _ if (
            ast.unparse(mapping) == "globals()"
        ):
            yield name, value
        case ast.Tuple() | ast.List() | ast.Starred(), _:
            yield from ((one.id, "computed") for one in ast.walk(target) if isinstance(one, ast.Name))
        case _:
            pass


def _imported(statement: ast.ImportFrom) -> Iterator[str]:
    """Yield the names in capitals that an import may set, but for Flask-AppBuilder's own constants."""
    module = "." * statement.level + (statement.module or "")
    for alias in statement.names:
        if alias.name == "*" and not module.endswith(".security.manager"):
            yield f"from {module} import *"
        elif (alias.asname or alias.name).isupper() and alias.name not in WAYS:
            yield alias.asname or alias.name


def _known(value: ast.expr | str, environ: Mapping[str, str]) -> object:
    """Return the value of an expression.

    Raises:
        _Unknown: Only the program knows it.
    """
    found: object
    if isinstance(value, str):
        raise _Unknown(value)
    match value:
        case ast.Constant():
            found = value.value
        case ast.List() | ast.Tuple():
            found = [_known(one, environ) for one in value.elts]
        case ast.Dict():
            pairs = zip(value.keys, value.values, strict=True)
            found = {_key(key, environ): _known_or_marked(one, environ) for key, one in pairs}
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in WAYS:
            found = name
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            found = -number
        case ast.BinOp(op=ast.Add() | ast.Mult() as op, left=left, right=right):
            found = _computed(op, _known(left, environ), _known(right, environ))
        case _:
            found = _from_environment(value, environ)
    return found


def _known_or_marked(value: ast.expr, environ: Mapping[str, str]) -> object:
    """Return a value in a dictionary; None where only the program knows it."""
    try:
        return _known(value, environ)
    except _Unknown:
        return None


def _key(key: ast.expr | None, environ: Mapping[str, str]) -> str:
    if key is None:
        raise _Unknown("made from another dictionary")
    return str(_known(key, environ))


def _computed(op: ast.operator, left: object, right: object) -> object:
    match op, left, right:
        case ast.Add(), str(), str():
            return left + right
        case ast.Add(), int(), int():
            return left + right
        case ast.Mult(), int(), int() if max(abs(left), abs(right)) < 2**40:
            return left * right
        case _:
            raise _Unknown("computed")


def _from_environment(value: ast.expr, environ: Mapping[str, str]) -> object:
    match value:
        case ast.Call(func=func, args=[ast.Constant(value=str() as name), *rest]) if ast.unparse(func) in _ENVIRON:
            if name in environ:
                return environ[name]
            if rest:
                return _known(rest[0], environ)
            raise _Unknown(f"read from ${name}, which is not set here")
        case ast.Subscript(value=mapping, slice=ast.Constant(value=str() as name)) if ast.unparse(mapping) in (
            "os.environ",
            "environ",
        ):
            if name in environ:
                return environ[name]
            raise _Unknown(f"read from ${name}, which is not set here")
        case _:
            raise _Unknown("computed")

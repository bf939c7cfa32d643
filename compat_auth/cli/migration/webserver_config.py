"""Reads the assignments of a webserver_config.py without running it: only literals, and variables of the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from compat_auth.errors import ConfigError

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
        if not is_certain:
            problem = "set in a condition, a loop or a function"
        found.pop(name, None)
        found[name] = Assignment(name, line, known, problem)
    return list(found.values())


def _assigned(body: list[ast.stmt], *, is_certain: bool) -> Iterator[tuple[str, ast.expr, int, bool]]:
    for statement in body:
        match statement:
            case ast.Assign(targets=targets, value=value):
                names = [target.id for target in targets if isinstance(target, ast.Name)]
                yield from ((name, value, statement.lineno, is_certain) for name in names if name.isupper())
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if name.isupper():
                yield name, value, statement.lineno, is_certain
            case ast.AugAssign(target=ast.Name(id=name), value=value) if name.isupper():
                yield name, value, statement.lineno, False
            case ast.If() | ast.Try() | ast.For() | ast.While() | ast.With():
                blocks = [getattr(statement, part, []) for part in ("body", "orelse", "finalbody")]
                blocks += [handler.body for handler in getattr(statement, "handlers", [])]
                for block in blocks:
                    yield from _assigned(block, is_certain=False)
            case _:
                pass


def _known(value: ast.expr, environ: Mapping[str, str]) -> object:
    """Return the value of an expression.

    Raises:
        _Unknown: Only the program knows it.
    """
    found: object
    match value:
        case ast.Constant():
            found = value.value
        case ast.List() | ast.Tuple():
            found = [_known(one, environ) for one in value.elts]
        case ast.Dict():
            pairs = zip(value.keys, value.values, strict=True)
            found = {_key(key, environ): _known_or_marked(one, environ) for key, one in pairs}
        case ast.Name(id=name) | ast.Attribute(attr=name) if name.startswith("AUTH_"):
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

"""The mutants of a module: each is its code with one small change.

Changed are comparisons, `and` and `or`, conditions, arithmetic, constants, returned values, arguments, assignments, and the
exceptions that are raised or caught; calls whose value nobody uses are left out. Not changed are annotations, docstrings, the
arguments of decorators, of `field` and of `lru_cache`, the members of enumerations, and the words of logs and errors.
"""

from __future__ import annotations

import ast
import copy
import marshal
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Final

from support.changes import FUNCTION, changes_of

_LOG_METHODS: Final = frozenset(("critical", "debug", "error", "exception", "info", "log", "warn", "warning"))
_UNCHANGED_CALLS: Final = frozenset(("TypeVar", "cast", "field", "getLogger", "lru_cache"))
_GENERIC: Final = frozenset(("Literal", "dict", "frozenset", "list", "set", "tuple"))
# A text with as many blanks is a sentence, for people.
_SENTENCE: Final = 3
# What carries a text for people: the reason of a refusal, an error's message.
_SAYS_WHY: Final = ("Error", "Exception", "Reject", "Unavailable", "Refused", "Denied", "NotPermitted", "hint")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change.

    Attributes:
        line: Where it is.
        lines: The lines of its statement: a test that runs none of them cannot notice the change.
        kind: The change, in a few words.
        code: The changed module, compiled.
        owner: Qualified name of the function or class that holds the change; "" for the module.
        defaults: The function's default values, where one of them is changed.
        value: Name and value of an attribute of the class or module, where it is changed.
    """

    line: int
    lines: frozenset[int]
    kind: str
    code: CodeType
    owner: str
    defaults: tuple[list[ast.expr], dict[str, ast.expr]] | None
    value: tuple[str, ast.expr] | None


def mutants_of(source: str, filename: str) -> Iterator[Mutant]:
    """Yield every mutant of a module, each code once."""
    tree = ast.parse(source)
    seen = {_without_places(compile(tree, filename, "exec", dont_inherit=True))}
    parents = {child: above for above in ast.walk(tree) for child in ast.iter_child_nodes(above)}
    for place in list(parents):
        above = _ancestors(place, parents)
        home = _home([place, *above])
        if home is None or _is_text(place, above):
            continue
        lines = _lines_of(place, above)
        line = getattr(place, "lineno", min(lines, default=0))
        for kind, changed in list(changes_of(place, above)):
            _replace(above[0], place, changed)
            code = compile(tree, filename, "exec", dont_inherit=True)
            held = _what_is_held(*home)
            _replace(above[0], changed, place)
            key = _without_places(code)
            if key not in seen:
                seen.add(key)
                yield Mutant(line, lines, kind, code, *held)


def _without_places(code: CodeType) -> bytes:
    constants = tuple(_without_places(one) if isinstance(one, CodeType) else one for one in code.co_consts)
    return marshal.dumps(code.replace(co_linetable=b"", co_consts=constants))


def _ancestors(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> list[ast.AST]:
    above: list[ast.AST] = []
    while node in parents:
        node = parents[node]
        above.append(node)
    return above


def _replace(above: ast.AST, place: ast.AST, by: ast.AST) -> None:
    if "lineno" in by._attributes and not hasattr(by, "lineno"):
        ast.copy_location(by, place)
    ast.fix_missing_locations(by)
    for name, value in ast.iter_fields(above):
        if value is place:
            setattr(above, name, by)
        elif isinstance(value, list):
            value[:] = [by if one is place else one for one in value]


def _lines_of(place: ast.AST, above: list[ast.AST]) -> frozenset[int]:
    statement = next((node for node in [place, *above] if isinstance(node, (ast.stmt, ast.ExceptHandler))), None)
    if statement is None:
        return frozenset()
    body: list[ast.AST] = getattr(statement, "body", None) or getattr(statement, "cases", [])
    end = getattr(body[0], "lineno", statement.lineno + 1) - 1 if body else statement.end_lineno or statement.lineno
    found = set(range(statement.lineno, max(end, statement.lineno) + 1))
    if isinstance(place, ast.expr):
        found.update(range(place.lineno, (place.end_lineno or place.lineno) + 1))
    return frozenset(found)


def _home(path: list[ast.AST]) -> tuple[str, ast.AST | None] | None:
    """Return the function, class or module that holds a node, and its statement; None where nothing is to be changed."""
    for at, above in enumerate(path[1:]):
        child, outer = path[at], path[at + 2 :]
        if child in (getattr(above, "returns", None), getattr(above, "annotation", None)):
            return None
        if isinstance(above, FUNCTION):
            if child in above.decorator_list:
                return None
            is_code = child in above.body or any(isinstance(node, FUNCTION) for node in outer)
            return _name_of([above, *outer]), None if is_code else child
        if isinstance(above, ast.ClassDef) and not any(isinstance(node, FUNCTION) for node in outer):
            is_enum = any(ast.unparse(base).endswith(("Enum", "Flag")) for base in above.bases)
            return (_name_of([above, *outer]), child) if child in above.body and not is_enum else None
        if isinstance(above, ast.Module):
            return ("", child) if isinstance(child, (ast.Assign, ast.AnnAssign)) else None
    return None


def _name_of(path: list[ast.AST]) -> str:
    return ".".join(node.name for node in reversed(path) if isinstance(node, (*FUNCTION, ast.ClassDef)))


def _what_is_held(
    owner: str, held: ast.AST | None
) -> tuple[str, tuple[list[ast.expr], dict[str, ast.expr]] | None, tuple[str, ast.expr] | None]:
    if isinstance(held, ast.arguments):
        named = zip(held.kwonlyargs, held.kw_defaults, strict=True)
        positional = copy.deepcopy(held.defaults)
        return owner, (positional, {arg.arg: copy.deepcopy(value) for arg, value in named if value is not None}), None
    if isinstance(held, (ast.Assign, ast.AnnAssign)) and held.value is not None:
        target = held.targets[0] if isinstance(held, ast.Assign) else held.target
        return owner, None, (ast.unparse(target), copy.deepcopy(held.value))
    return owner, None, None


def _is_text(node: ast.AST, above: list[ast.AST]) -> bool:
    """Tell whether a node is only a type, a name, or words for people."""
    is_words = isinstance(node, ast.Constant) and isinstance(node.value, str)
    path = [node, *above]
    if is_words and (isinstance(above[0], ast.Expr) or str(getattr(node, "value", "")).count(" ") >= _SENTENCE):
        return True
    if any(isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) in ("__all__", "__slots__") for one in path):
        return True
    if any(isinstance(one, ast.Call) and _is_for_people(one, is_words=is_words) for one in path):
        return True
    return is_words and any(
        isinstance(one, ast.Raise) or (isinstance(one, ast.Subscript) and ast.unparse(one.value) in _GENERIC)
        for one in above
    )


def _is_for_people(call: ast.Call, *, is_words: bool) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    target = ast.unparse(call.func).lower()
    is_log = name in _LOG_METHODS and ("log" in target or "warnings" in target)
    return is_log or name in _UNCHANGED_CALLS or (is_words and name.endswith(_SAYS_WHY))

"""Puts a mutant into an imported module: the code of its functions, their defaults, or the value of a name."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from support.mutants import Mutant


def put_in_place(module: ModuleType, mutant: Mutant) -> bool:
    """Change an imported module; return whether that was possible."""
    if mutant.value is not None:
        return _put_value(module, mutant.owner, *mutant.value)
    codes = {(code.co_qualname, code.co_firstlineno): code for code in _codes_in(mutant.code)}
    has_changed = False
    for function in _functions_of(module, module.__name__, set()):
        if function.__qualname__ != mutant.owner and not mutant.owner.startswith(f"{function.__qualname__}."):
            continue
        code = codes.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
        if mutant.defaults is not None:
            positional, named = mutant.defaults
            function.__defaults__ = tuple(_evaluated(one, module) for one in positional)
            function.__kwdefaults__ = {name: _evaluated(one, module) for name, one in named.items()}
            has_changed = True
        elif code is not None and code.co_freevars == function.__code__.co_freevars and code != function.__code__:
            function.__code__ = code
            has_changed = True
    return has_changed


def _functions_of(holder: Any, module: str, seen: set[int]) -> Iterator[FunctionType]:
    """Yield every function that a module or a class of it defines, behind decorators, too; empty their caches."""
    for value in list(vars(holder).values()):
        if isinstance(value, type) and value.__module__ == module and id(value) not in seen:
            seen.add(id(value))
            yield from _functions_of(value, module, seen)
            continue
        for layer in (value, *(getattr(value, name, None) for name in ("fget", "func", "__func__", "__wrapped__"))):
            found = inspect.unwrap(layer) if callable(layer) else None
            if isinstance(found, FunctionType) and found.__module__ == module:
                yield found
            if callable(clear := getattr(layer, "cache_clear", None)):
                clear()


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes_in(constant)


def _evaluated(node: ast.expr, module: ModuleType, names: dict[str, Any] | None = None) -> Any:
    return eval(compile(ast.Expression(node), "value", "eval"), vars(module), names)  # noqa: S307  # our own code


def _put_value(module: ModuleType, owner: str, name: str, node: ast.expr) -> bool:
    holder: Any = module
    for step in owner.split(".") if owner else ():
        holder = getattr(holder, step)
    value = _evaluated(node, module, dict(vars(holder)))
    if holder is module:
        before = vars(module).get(name)
        # Those that have imported the value have it, too.
        for other in list(sys.modules.values()):
            if other is module or getattr(other, "__dict__", {}).get(name) is before:
                setattr(other, name, value)
        return True
    if name in getattr(holder, "__dataclass_fields__", {}):
        return _put_default(holder, name, value)
    try:
        setattr(holder, name, value)
    except (AttributeError, TypeError):
        return False
    return True


def _put_default(holder: Any, name: str, value: Any) -> bool:
    """Give the field of a dataclass another default."""
    parameters = inspect.signature(holder.__init__).parameters.values()
    positional = [one.name for one in parameters if one.default is not one.empty and one.kind is not one.KEYWORD_ONLY]
    if name in positional:
        defaults = list(holder.__init__.__defaults__)
        defaults[positional.index(name)] = value
        holder.__init__.__defaults__ = tuple(defaults)
        return True
    if name in (holder.__init__.__kwdefaults__ or {}):
        holder.__init__.__kwdefaults__[name] = value
        return True
    return False

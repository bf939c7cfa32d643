"""Changes a module in one place at a time and counts the changes that the tests without peers notice.

    .venv/bin/python tests/support/mutation.py [--sample 40] [MODULE …]

A mutant is one change: a comparison turned round, `and` for `or`, a condition negated, a constant altered, a `raise` left
out, None returned. The tests are collected once; each mutant's functions are put in place in a forked process, and nothing is
written. A mutant that no test notices is printed with its place; tests/mutation-survivors.md says why it may live.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import inspect
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
# The tests of each module.
TESTS: Final[dict[str, tuple[str, ...]]] = {
    "compat_auth.authn.chain": ("tests/unit/authn/test_chain.py", "tests/compat/test_matrix.py"),
    "compat_auth.scopes": ("tests/unit/test_scopes.py", "tests/unit/test_scope_bundles.py"),
    "compat_auth.credentials": ("tests/unit/test_credentials.py", "tests/unit/http/test_request.py"),
    "compat_auth.http.paths": ("tests/unit/http/test_paths.py", "tests/unit/http/test_slashes.py"),
    "compat_auth.http.headers": ("tests/unit/http/test_headers.py", "tests/unit/http/test_identity_headers.py"),
    "compat_auth.http.forwarded": ("tests/unit/http/test_forwarded.py", "tests/unit/gateway/test_forward_auth.py"),
    "compat_auth.tokens.jose.jwk": ("tests/unit/tokens/jose", "tests/unit/tokens/keys"),
    "compat_auth.tokens.jose.jwt": ("tests/unit/tokens/jose", "tests/security/in_process/test_jwt_attacks.py"),
    "compat_auth.tokens.jose.registered_claims": (
        "tests/unit/tokens/jose",
        "tests/security/in_process/test_jwt_attacks.py",
    ),
    "compat_auth.tokens.jose.text": ("tests/unit/tokens/jose", "tests/security/in_process/test_jwt_attacks.py"),
    "compat_auth.tokens.jose.unverified_claims": ("tests/unit/tokens/jose", "tests/unit/gateway"),
    **{
        f"compat_auth.gateway.forward_auth.{name}": ("tests/unit/gateway/test_forward_auth.py",)
        for name in ("access", "dialects", "pages", "tokens")
    },
    **{
        f"compat_auth.gateway.{name}": ("tests/unit/gateway", "tests/compat/test_matrix.py")
        for name in ("decider", "chain_runner", "identification", "revocable_grants", "admission", "middleware")
    },
}
LONGEST_S: Final = 60
_UNCHANGED: Final = 77
_OUT: Final = os.dup(1)
TURNED: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def changes_of(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield what a node may be replaced by, and in a few words how."""
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            changed = copy.deepcopy(node)
            changed.ops[at] = TURNED[type(operator)]()
            yield f"{type(operator).__name__} to {type(changed.ops[at]).__name__}", changed
    elif isinstance(node, ast.BoolOp):
        changed_operation = copy.deepcopy(node)
        changed_operation.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "and for or" if isinstance(node.op, ast.Or) else "or for and", changed_operation
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "without not", node.operand
    elif isinstance(node, (ast.If, ast.IfExp)):
        negated = copy.deepcopy(node)
        negated.test = ast.UnaryOp(ast.Not(), negated.test)
        yield "condition negated", negated
    elif isinstance(node, ast.Constant):
        yield from _other_constants(node)
    elif isinstance(node, ast.Raise):
        yield "raise left out", ast.Pass()
    elif isinstance(node, ast.Return) and not (node.value is None or ast.unparse(node.value) == "None"):
        yield "returns None", ast.Return(ast.Constant(None))


def _other_constants(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    value = node.value
    if isinstance(value, bool):
        yield f"{value} to {not value}", ast.Constant(not value)
    elif isinstance(value, int):
        yield f"{value} to {value + 1}", ast.Constant(value + 1)
    elif isinstance(value, str) and value:
        yield f"{value!r} altered", ast.Constant(value + "X")
    elif isinstance(value, bytes) and value:
        yield f"{value!r} altered", ast.Constant(value + b"X")


def _is_code(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Tell whether a change there can change what happens: not in annotations, docstrings, messages and logs."""
    before, above = node, parents.get(node)
    is_constant = isinstance(node, ast.Constant)
    while above is not None:
        is_text = isinstance(above, (ast.JoinedStr, ast.Raise)) or (isinstance(above, ast.Expr) and above.value is node)
        is_type = isinstance(above, ast.arg) or before in (
            getattr(above, "returns", None),
            getattr(above, "annotation", None),
        )
        is_log = isinstance(above, ast.Call) and ast.unparse(above.func).startswith("_log.")
        if (is_text and is_constant) or is_type or is_log:
            return False
        before, above = above, parents.get(above)
    return True


def mutants_of(source: str) -> list[tuple[int, str, ast.Module]]:
    """Return the line, the kind and the code of every mutant of a module."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    found: list[tuple[int, str, ast.Module]] = []
    for index, node in enumerate(ast.walk(tree)):
        if not _is_code(node, parents):
            continue
        for kind, changed in changes_of(node):
            mutant = ast.parse(source)
            place = next(other for number, other in enumerate(ast.walk(mutant)) if number == index)
            _replace(mutant, place, changed)
            found.append((getattr(node, "lineno", 0), kind, ast.fix_missing_locations(mutant)))
    return found


def _replace(tree: ast.AST, place: ast.AST, by: ast.AST) -> None:
    ast.copy_location(by, place)
    for node in ast.walk(tree):
        for name, value in ast.iter_fields(node):
            if value is place:
                setattr(node, name, by)
            elif isinstance(value, list) and any(one is place for one in value):
                setattr(node, name, [by if one is place else one for one in value])


def _functions_of(holder: Any, module: str, seen: set[int]) -> Iterator[Any]:
    """Yield every function that a module or a class of it defines, behind decorators, too."""
    for value in list(vars(holder).values()):
        if isinstance(value, type) and value.__module__ == module and id(value) not in seen:
            seen.add(id(value))
            yield from _functions_of(value, module, seen)
            continue
        for part in (value, *(getattr(value, name, None) for name in ("fget", "func", "__func__", "__wrapped__"))):
            found = inspect.unwrap(part) if callable(part) else None
            if isinstance(found, FunctionType) and found.__module__ == module:
                yield found


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes_in(constant)


def put_in_place(module: ModuleType, mutant: ast.Module) -> bool:
    """Give the functions and constants of an imported module the mutant's code; return whether anything has changed."""
    changed = compile(mutant, str(module.__file__), "exec")
    codes = {code.co_qualname: code for code in _codes_in(changed)}
    has_changed = False
    for function in _functions_of(module, module.__name__, set()):
        code = codes.get(function.__code__.co_qualname)
        if code is not None and code.co_freevars == function.__code__.co_freevars and code != function.__code__:
            function.__code__ = code
            has_changed = True
    for node in mutant.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            value = eval(compile(ast.Expression(node.value), "constant", "eval"), vars(module))  # noqa: S307  # our own code
            if type(value) in (int, str, bytes, bool, tuple, frozenset) and value != vars(module).get(name):
                vars(module)[name] = value
                has_changed = True
    return has_changed


class Mutation:
    """A plugin of pytest that runs the collected tests once for every mutant, each time in a forked process."""

    def __init__(self, module: str, sample: int) -> None:
        self.module = module
        self.sample = sample
        self.tried = self.noticed = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run them without a change, and then with each of the mutants."""
        module = importlib.import_module(self.module)
        mutants = mutants_of(Path(str(module.__file__)).read_text(encoding="utf-8"))
        if self.sample and self.sample < len(mutants):
            mutants = random.Random(self.module).sample(mutants, self.sample)  # noqa: S311
        if self._fails(session, lambda: True):
            raise SystemExit(f"{self.module}: its tests fail without a change")
        for line, kind, mutant in mutants:
            noticed = self._fails(session, lambda mutant=mutant: put_in_place(module, mutant))  # type: ignore[misc]
            if noticed is None:
                continue  # not in a function: what is read at import alone cannot be changed here
            self.tried += 1
            self.noticed += noticed
            if not noticed:
                _say(f"{self.module}:{line}: {kind}")
        _say(f"{self.module}: {self.noticed} of {self.tried} noticed ({len(mutants)} chosen)")
        return True

    def _fails(self, session: pytest.Session, change: Callable[[], bool]) -> bool | None:
        """Return whether a test fails, or does not come to its end; None where the change cannot be made."""
        child = os.fork()
        if child == 0:
            os._exit(self._run(session, change))
        deadline = time.monotonic() + LONGEST_S
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return None if os.waitstatus_to_exitcode(status) == _UNCHANGED else status != 0
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return True

    @staticmethod
    def _run(session: pytest.Session, change: Callable[[], bool]) -> int:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        try:
            if not change():
                return _UNCHANGED
            for index, item in enumerate(session.items):
                following = session.items[index + 1] if index + 1 < len(session.items) else None
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    return 1
        except BaseException:  # noqa: BLE001  # whatever it is, it was noticed
            return 1
        return 0


def _say(line: str) -> None:
    os.write(_OUT, f"{line}\n".encode())


def check(name: str, *, sample: int) -> tuple[int, int]:
    """Print the survivors of a module; return how many mutants there were, and how many were noticed."""
    tests = [test for test in TESTS[name] if (ROOT / test).exists()]
    plugin = Mutation(name, sample)
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:schemathesis", "--capture=no"]
    pytest.main([*options, *tests], plugins=[plugin])
    return plugin.tried, plugin.noticed


def main() -> int:
    """Check the modules that are named, or all, and return 0 when 95 of 100 mutants were noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=0, help="how many mutants of each module at most; 0 for all")
    parser.add_argument("modules", nargs="*", default=list(TESTS))
    given = parser.parse_args()
    os.chdir(ROOT)
    counts = [check(name, sample=given.sample) for name in given.modules]
    tried, noticed = (sum(column) for column in zip(*counts, strict=True))
    sys.stdout.write(f"{noticed} of {tried}: {noticed / max(tried, 1):.1%}\n")
    return 0 if noticed >= 0.95 * tried else 1


if __name__ == "__main__":
    raise SystemExit(main())

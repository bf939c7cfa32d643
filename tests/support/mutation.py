"""Changes a module in one place at a time and counts the changes that the tests without peers notice.

    .venv/bin/python tests/support/mutation.py [--sample 40] [--quick] [MODULE …]

A mutant is one change: a comparison turned round, `and` for `or`, a condition negated, a constant altered, a `raise` left
out, None returned. Each runs in a forked process, whose import of that one module yields the changed code; nothing is
written. A mutant that no test notices is printed with its place; tests/mutation-survivors.md says why it may live.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.machinery
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
IN_PROCESS: Final = "tests/security/in_process"
# Where each module's tests are; unless --quick is given, a mutant that they let live meets the attacks, too.
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
LONGEST_S: Final = 300
# What the tests import and what no mutant changes: imported once, before the first fork.
FIRST: Final = ("flask", "pydantic", "sqlalchemy", "alembic", "jwt", "requests", "bcrypt", "cryptography")
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


def is_noticed(path: Path, mutant: ast.Module, tests: Sequence[str]) -> bool:
    """Return whether a test fails, or does not come to its end, with the mutant in the place of a module."""
    child = os.fork()
    if child == 0:
        os._exit(_run(path, mutant, tests))
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status != 0
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def _run(path: Path, mutant: ast.Module, tests: Sequence[str]) -> int:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    code = compile(mutant, str(path), "exec")
    loader_class: Any = importlib.machinery.SourceFileLoader
    get_code = loader_class.get_code

    def changed(loader: Any, name: str) -> Any:
        return code if loader.path == str(path) else get_code(loader, name)

    loader_class.get_code = changed
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:schemathesis", *tests]))


def check(name: str, *, sample: int, quick: bool) -> tuple[int, int]:
    """Print the survivors of a module; return how many mutants there were, and how many were noticed."""
    path = ROOT / (name.replace(".", "/") + ".py")
    mutants = mutants_of(path.read_text(encoding="utf-8"))
    tests = [test for test in TESTS[name] if (ROOT / test).exists()]
    more = [] if quick else [IN_PROCESS]
    if not pass_without_change(path, [*tests, *more]):
        raise SystemExit(f"{name}: its tests fail without a change")
    tried = mutants if not sample or sample >= len(mutants) else random.Random(name).sample(mutants, sample)  # noqa: S311
    noticed = 0
    for line, kind, mutant in tried:
        if is_noticed(path, mutant, tests) or (more and is_noticed(path, mutant, more)):
            noticed += 1
        else:
            sys.stdout.write(f"{name}:{line}: {kind}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{name}: {noticed} of {len(tried)} noticed ({len(mutants)} in all)\n")
    sys.stdout.flush()
    return len(tried), noticed


def pass_without_change(path: Path, tests: Sequence[str]) -> bool:
    """Return whether the tests pass with the module as it is: else every mutant would be noticed."""
    return not is_noticed(path, ast.parse(path.read_text(encoding="utf-8")), tests)


def main() -> int:
    """Check the modules that are named, or all, and return 0 when 95 of 100 mutants were noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=0, help="how many mutants of each module at most; 0 for all")
    parser.add_argument("--quick", action="store_true", help="only the tests of the module's own room")
    parser.add_argument("modules", nargs="*", default=list(TESTS))
    given = parser.parse_args()
    os.chdir(ROOT)
    for name in FIRST:
        importlib.import_module(name)
    counts = [check(name, sample=given.sample, quick=given.quick) for name in given.modules]
    tried, noticed = (sum(column) for column in zip(*counts, strict=True))
    sys.stdout.write(f"{noticed} of {tried}: {noticed / max(tried, 1):.1%}\n")
    return 0 if noticed >= 0.95 * tried else 1


if __name__ == "__main__":
    raise SystemExit(main())

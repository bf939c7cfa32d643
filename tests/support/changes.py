"""The small changes that make mutants of a module's code: what each kind of node may be replaced by."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

Node = TypeVar("Node", bound=ast.AST)
Changes = Iterator[tuple[str, ast.AST]]
FUNCTION: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_TURNED: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPPOSITE: Final = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)
_EXCHANGED: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.Mod: ast.Add,
}  # fmt: skip


def changes_of(node: ast.AST, above: list[ast.AST]) -> Changes:
    """Yield what a node may be replaced by, and in a few words how; `above` are the nodes that hold it, from the inside."""
    of_its_kind = _CHANGES.get(type(node))
    return iter(()) if of_its_kind is None else of_its_kind(node, above)


def _with(node: Node, **fields: object) -> Node:
    changed = copy.deepcopy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _compared(node: ast.Compare, _above: list[ast.AST]) -> Changes:
    for at, before in enumerate(node.ops):
        turned = _TURNED[type(before)]()
        ops = [*node.ops[:at], turned, *node.ops[at + 1 :]]
        yield f"{type(before).__name__} to {type(turned).__name__}", _with(node, ops=ops)


def _combined(node: ast.BoolOp, _above: list[ast.AST]) -> Changes:
    is_and = isinstance(node.op, ast.And)
    yield "or for and" if is_and else "and for or", _with(node, op=ast.Or() if is_and else ast.And())


def _unary(node: ast.UnaryOp, _above: list[ast.AST]) -> Changes:
    if isinstance(node.op, ast.Not):
        yield "without not", node.operand


def _tested(node: ast.If | ast.IfExp | ast.While, _above: list[ast.AST]) -> Changes:
    yield "condition negated", _with(node, test=_not(node.test))


def _filtered(node: ast.comprehension, _above: list[ast.AST]) -> Changes:
    if node.ifs:
        whole = ast.BoolOp(ast.And(), node.ifs) if len(node.ifs) > 1 else node.ifs[0]
        yield "condition negated", _with(node, ifs=[_not(whole)])


def _not(test: ast.expr) -> ast.expr:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], _OPPOSITE):
        return _with(test, ops=[_TURNED[type(test.ops[0])]()])
    return ast.UnaryOp(ast.Not(), test)


def _calculated(node: ast.BinOp | ast.AugAssign, _above: list[ast.AST]) -> Changes:
    sides = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.value,)
    is_text = any(
        isinstance(side, ast.JoinedStr) or isinstance(getattr(side, "value", 0), (str, bytes)) for side in sides
    )
    if type(node.op) in _EXCHANGED and not is_text:
        exchanged = _EXCHANGED[type(node.op)]()
        yield f"{type(node.op).__name__} to {type(exchanged).__name__}", _with(node, op=exchanged)


def _constant(node: ast.Constant, _above: list[ast.AST]) -> Changes:
    value = node.value
    if isinstance(value, bool):
        yield f"{not value} for {value}", ast.Constant(not value)
    elif isinstance(value, int):
        yield f"{value + 1} for {value}", ast.Constant(value + 1)
    elif isinstance(value, str):
        yield f"{value!r} altered", ast.Constant(value + "X")
    elif isinstance(value, bytes):
        yield f"{value!r} altered", ast.Constant(value + b"X")


def _raised(_node: ast.Raise, _above: list[ast.AST]) -> Changes:
    yield "raise left out", ast.Pass()


def _returned(node: ast.Return, above: list[ast.AST]) -> Changes:
    if node.value is None:
        return
    function = next((one for one in above if isinstance(one, FUNCTION)), None)
    declared = "" if function is None or function.returns is None else ast.unparse(function.returns)
    others: tuple[bool | None, ...] = (True, False) if declared == "bool" else (None,)
    for other in others:
        if not (isinstance(node.value, ast.Constant) and node.value.value is other):
            yield f"returns {other}", ast.Return(ast.Constant(other))


def _caught(node: ast.ExceptHandler, _above: list[ast.AST]) -> Changes:
    if node.type is None:
        return
    caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    for one in caught:
        left: list[ast.expr] = [other for other in caught if other is not one]
        yield f"{ast.unparse(one)} not caught", _with(node, type=ast.Tuple(left, ast.Load()))


def _called(node: ast.Call, _above: list[ast.AST]) -> Changes:
    for at, argument in enumerate(node.args):
        if not isinstance(argument, (ast.Constant, ast.Starred, ast.GeneratorExp, ast.JoinedStr)):
            args = [*node.args[:at], ast.Constant(None), *node.args[at + 1 :]]
            yield f"None for the argument {ast.unparse(argument)}", _with(node, args=args)
    for at, keyword in enumerate(node.keywords):
        if keyword.arg is not None:
            keywords = [*node.keywords[:at], *node.keywords[at + 1 :]]
            yield f"without the argument {keyword.arg}", _with(node, keywords=keywords)


def _stated(node: ast.Expr, _above: list[ast.AST]) -> Changes:
    if isinstance(node.value, (ast.Call, ast.Await)):
        yield "left out", ast.Pass()


def _deleted(_node: ast.Delete, _above: list[ast.AST]) -> Changes:
    yield "left out", ast.Pass()


def _assigned(node: ast.Assign, above: list[ast.AST]) -> Changes:
    if isinstance(node.targets[0], (ast.Attribute, ast.Subscript)):
        yield "assignment left out", ast.Pass()
    elif any(isinstance(one, FUNCTION) for one in above):
        yield "None assigned", _with(node, value=ast.Constant(None))


def _continued(_node: ast.Continue, _above: list[ast.AST]) -> Changes:
    yield "break for continue", ast.Break()


def _broken(_node: ast.Break, _above: list[ast.AST]) -> Changes:
    yield "continue for break", ast.Continue()


_CHANGES: Final[dict[type[ast.AST], Callable[[Any, list[ast.AST]], Changes]]] = {
    ast.Assign: _assigned,
    ast.AugAssign: _calculated,
    ast.BinOp: _calculated,
    ast.BoolOp: _combined,
    ast.Break: _broken,
    ast.Call: _called,
    ast.Compare: _compared,
    ast.Constant: _constant,
    ast.Continue: _continued,
    ast.Delete: _deleted,
    ast.ExceptHandler: _caught,
    ast.Expr: _stated,
    ast.If: _tested,
    ast.IfExp: _tested,
    ast.Raise: _raised,
    ast.Return: _returned,
    ast.UnaryOp: _unary,
    ast.While: _tested,
    ast.comprehension: _filtered,
}

"""Finds the logins of calls in a Python file, and puts a token in their place where it is certain who gets it."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator

from compat_auth.cli.scripts.change import NEEDS_TOKEN, VARIABLE, Change
from compat_auth.cli.scripts.old_paths import Address, between

_METHODS = frozenset(("get", "post", "put", "patch", "delete", "head", "options"))
_LOGINS = frozenset(("HTTPBasicAuth", "BasicAuth", "HTTPKerberosAuth", "HTTPSPNEGOAuth", "HttpNegotiateAuth"))
_PYTHON = f'headers={{"Authorization": f"Bearer {{os.environ[\'{VARIABLE}\']}}"}}'
_ELSEWHERE = f"the login is made elsewhere: send Authorization: Bearer with a personal token from the variable {VARIABLE} in its place"
_OTHER_HOST = (
    "this call is not certainly Airflow's: if it is, remove auth, and send Authorization: Bearer with a personal token"
)
_HAS_HEADERS = "add Authorization: Bearer to the headers of this call, remove auth"
_NO_OS = f"remove auth, add `import os` to the file and to the call: {_PYTHON}"


class PythonFile:
    """A Python file that was parsed, with the positions of its nodes in the text."""

    def __init__(self, text: str) -> None:
        """Parse a file.

        Raises:
            SyntaxError: It is not Python 3.
        """
        self._text = text
        self._mark = 1 if text.startswith("\ufeff") else 0
        if "\r" in text.replace("\r\n", ""):
            raise SyntaxError
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.tree = ast.parse(text[self._mark :])
        except (ValueError, RecursionError, MemoryError):
            raise SyntaxError from None
        self._starts = [self._mark]
        self._lines = text[self._mark :].split("\n")
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)

    def span(self, node: ast.expr | ast.keyword) -> tuple[int, int]:
        """Return where a node begins and ends in the text; `ast` counts bytes of UTF-8."""
        last_line, last_column = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        return self._position(node.lineno, node.col_offset), self._position(last_line, last_column)

    def text_of(self, begin: int, end: int) -> str:
        """Return a piece of the text."""
        return self._text[begin:end]

    def _position(self, line: int, column: int) -> int:
        if self._lines[line - 1].isascii():
            return self._starts[line - 1] + column
        before = self._lines[line - 1].encode("utf-8")[:column].decode("utf-8", "replace")
        return self._starts[line - 1] + len(before)

    def calls(self) -> Iterator[tuple[ast.Call, ast.JoinedStr | None]]:
        """Yield each call, and the f-string around it, in which quotes cannot be added and positions are not exact."""
        waiting: list[tuple[ast.AST, ast.JoinedStr | None]] = [(self.tree, None)]
        while waiting:
            node, around = waiting.pop()
            if isinstance(node, ast.Call):
                yield node, around
            if around is None and isinstance(node, ast.JoinedStr):
                around = node
            waiting += [(child, around) for child in ast.iter_child_nodes(node)]

    def line_of_os(self) -> int | None:
        """Return the line where the file imports `os` for all of it; None if it does not, or binds the name again."""
        imports = [
            node.lineno
            for node in self.tree.body
            if isinstance(node, ast.Import)
            and any(one.name.partition(".")[0] == "os" and one.asname is None for one in node.names)
        ]
        bound = any(
            (isinstance(node, ast.Name) and node.id == "os" and not isinstance(node.ctx, ast.Load))
            or (isinstance(node, ast.arg) and node.arg == "os")
            or (isinstance(node, ast.alias) and node.asname == "os")
            or (isinstance(node, ast.ImportFrom) and any("os" in (one.name, one.asname) for one in node.names))
            for node in ast.walk(self.tree)
        )
        return None if bound or not imports else min(imports)


def python_logins(file: PythonFile, addresses: list[Address]) -> Iterator[Change]:
    """Yield a change for each call with `auth=`."""
    line_of_os = file.line_of_os()
    for call, around in file.calls():
        for keyword in call.keywords:
            if keyword.arg != "auth" or (isinstance(keyword.value, ast.Constant) and keyword.value.value is None):
                continue
            if around is not None:
                yield Change(*file.span(around), None, _ELSEWHERE)
                continue
            note = _why_not(call, keyword, file, addresses)
            if not note and (line_of_os is None or line_of_os >= call.lineno):
                note = _NO_OS
            yield Change(*file.span(keyword), None if note else _PYTHON, note or NEEDS_TOKEN)


def _why_not(call: ast.Call, keyword: ast.keyword, file: PythonFile, addresses: list[Address]) -> str:
    """Return why a person must change a call; empty if nobody must."""
    if not _is_login(keyword.value) or keyword.lineno != keyword.end_lineno:
        return _ELSEWHERE
    url = _url(call)
    if url is None:
        return _OTHER_HOST
    begin, end = file.span(url)
    inside = between(addresses, begin, end)
    if len(inside) != 1 or not inside[0].is_airflow or not _is_whole(file, url, inside[0]):
        return _OTHER_HOST
    names = {one.arg for one in call.keywords}
    return _HAS_HEADERS if None in names or "headers" in names or len(call.args) > 3 else ""


def _is_login(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
        return name in _LOGINS
    return isinstance(value, ast.Tuple) and len(value.elts) == 2


def _url(call: ast.Call) -> ast.expr | None:
    """Return the address of a call of requests or httpx; None for another call."""
    if not isinstance(call.func, ast.Attribute) or any(isinstance(one, ast.Starred) for one in call.args):
        return None
    place = {"request": 1}.get(call.func.attr, 0 if call.func.attr in _METHODS else None)
    if place is None:
        return None
    named = [one.value for one in call.keywords if one.arg == "url"]
    return named[0] if named else (call.args[place] if len(call.args) > place else None)


def _is_whole(file: PythonFile, url: ast.expr, address: Address) -> bool:
    """Return whether an expression is one address, with the old path after its host."""
    begin, end = file.span(url)
    text = file.text_of(begin, end)
    before, after = text[: address.change.begin - begin], text[address.change.end - begin :]
    if any(mark in before for mark in "?#@\\\n") or before.count("://") > 1 or "://" in after or "api/v1" in after:
        return False
    while isinstance(url, ast.Call) and isinstance(url.func, ast.Attribute) and url.func.attr == "format":
        url = url.func.value
    if isinstance(url, ast.BinOp) and isinstance(url.op, ast.Mod):
        url = url.left
    if isinstance(url, ast.BinOp) and isinstance(url.op, ast.Add):
        url = url.right
    return isinstance(url, ast.JoinedStr | ast.Constant) and file.span(url)[0] <= address.change.begin

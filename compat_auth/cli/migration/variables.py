"""Variables of the environment: files with them, and places in a text where one is named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from compat_auth.errors import ConfigError

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BRACED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:?[-+?]|\})")
_QUOTED = {'"': re.compile(r'"((?:[^"\\]|\\.)*)"(.*)'), "'": re.compile(r"'([^']*)'(.*)")}
# A shell's command or variable, and a template's expression.
_LEFT = re.compile(r"\$\{|\$\(|\{\{|\{%|\$[A-Z_][A-Z0-9_]+")
_MAX_NESTED = 8  # a variable that names itself would never end


def problem_in(text: str) -> str:
    """Return why a text is not the value itself; empty where it is."""
    found = _LEFT.search(text)
    if found is not None:
        shown = re.match(r"\$\{?[A-Za-z_][A-Za-z0-9_]*", text[found.start() :])
        return f"it has {shown[0] if shown else found[0]} in it, whose value is not known here"
    return "it has bytes that are not UTF-8" if has_surrogate(text) else ""


def has_surrogate(value: object) -> bool:
    """Return whether a text, or one in a list or table, cannot be written as UTF-8."""
    return any("\ud800" <= character <= "\udfff" for character in str(value)) or "\\ud" in repr(value)


def as_airflow_expands(text: str, variables: Mapping[str, str]) -> str:
    """Return the text as Airflow's `expand_env_var` does: `$NAME` and `${NAME}`, repeatedly."""
    for _ in range(_MAX_NESTED):
        longer = _Expansion(text, variables, has_defaults=False, is_doubled=False).read()
        if longer == text:
            break
        text = longer
    return text


def as_compose_expands(text: str, variables: Mapping[str, str]) -> str:
    """Return the text as Compose does: with defaults, and `$$` for one dollar sign; an unknown variable stays."""
    return _Expansion(text, variables, has_defaults=True, is_doubled=True).read()


def parse_variables(text: str, file: str, known: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield names, values and problems of a file of variables, as Compose and a shell read it.

    Args:
        text: Its content.
        file: Its name, for messages.
        known: Variables that the values may name.

    Raises:
        ConfigError: A line is not NAME=VALUE.
    """
    variables = dict(known)
    for number, line in enumerate(text.splitlines(), start=1):
        written = line.strip()
        if not written or written.startswith("#"):
            continue
        match = _LINE.fullmatch(written)
        if match is None:
            raise ConfigError(f"{file}:{number}: not NAME=VALUE; correct the line")
        value, problem = _value_of(match[2], variables)
        if not problem:
            variables[match[1]] = value
        yield match[1], value, problem


def _value_of(written: str, variables: Mapping[str, str]) -> tuple[str, str]:
    """Return a value and why it cannot be known."""
    quote = written[:1]
    if quote not in _QUOTED:
        if re.search(r"(^|\s)#", written):
            return "", "it has # in it, which only some programs read as a comment; put the value in quotes"
        return _Expansion(written, variables, has_defaults=True, is_doubled=False).read(), ""
    match = _QUOTED[quote].fullmatch(written)
    if match is None:
        return "", "its quote is not closed on the same line"
    if match[2].strip() and not re.match(r"\s+#", match[2]):
        return "", "there is text after its closing quote"
    return (match[1], "") if quote == "'" else _in_double_quotes(match[1], variables)


def _in_double_quotes(text: str, variables: Mapping[str, str]) -> tuple[str, str]:
    if re.search(r"(?<!\\)(?:\\\\)*\\[^\"\\]", text):
        return "", "it has a backslash in it, which programs read in different ways"
    inner = re.sub(r"\\([\"\\])", r"\1", text)
    return _Expansion(inner, variables, has_defaults=True, is_doubled=False).read(), ""


class _Expansion:
    """One reading of a text, from left to right; what is put in is not read again."""

    def __init__(self, text: str, variables: Mapping[str, str], *, has_defaults: bool, is_doubled: bool) -> None:
        self._text = text
        self._variables = variables
        self._has_defaults = has_defaults
        self._is_doubled = is_doubled
        self._at = 0

    def read(self, depth: int = 0) -> str:
        """Return the text up to its end, or up to the brace that closes an inner one."""
        found: list[str] = []
        while self._at < len(self._text):
            if depth and self._text[self._at] == "}":
                break
            found.append(self._next(depth))
        return "".join(found)

    def _next(self, depth: int) -> str:
        start = self._at
        self._at += 1
        if self._text[start] != "$":
            return self._text[start]
        if self._is_doubled and self._text.startswith("$", self._at):
            self._at += 1
            return "$"
        braced = _BRACED.match(self._text, start)
        if braced is not None and depth < _MAX_NESTED:
            return self._braced(braced, depth)
        plain = _NAME.match(self._text, self._at)
        if plain is None:
            return "$"
        self._at = plain.end()
        return self._variables.get(plain[0], f"${plain[0]}")

    def _braced(self, braced: re.Match[str], depth: int) -> str:
        name, how = braced.groups()
        value = self._variables.get(name)
        self._at = braced.end()
        if how == "}":
            return f"${{{name}}}" if value is None else value
        other = self.read(depth + 1)
        is_closed = self._at < len(self._text)
        self._at += is_closed
        whole = self._text[braced.start() : self._at]
        if not (is_closed and self._has_defaults):
            return whole
        counts = value is not None and (value != "" or not how.startswith(":"))
        match how[-1]:
            case "-":
                return value or "" if counts else other
            case "+":
                return other if counts else ""
            case _:
                return value or "" if counts else whole

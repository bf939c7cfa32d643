"""Splits a shell script into commands and words, without running or expanding anything (POSIX 2.3, Token Recognition)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# Deeper substitutions are not written by people.
_DEEPEST = 25
_PLAIN = re.compile(r"""[^\s\\'"`$#;&|<>()]+""")
_HEREDOC = re.compile(r"<<(-?)[ \t]*(?:'([^'\n]*)'|\"([^\"\n]*)\"|\\?([^\s;&|<>()'\"\\`$]+))")


class NotUnderstoodError(Exception):
    """The text is no script of a shell, or one that cannot be split with certainty."""


@dataclass(slots=True)
class Command:
    """A simple command.

    Attributes:
        words: Where its words begin and end, without redirections.
    """

    words: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])


def commands_of(text: str) -> list[Command]:
    """Return the simple commands of a script, also those in `$(…)`; not those in backticks, strings and here-documents.

    Raises:
        NotUnderstoodError: A quote or a substitution is not closed, or the text is beyond this reader.
    """
    reader = _Reader(text)
    reader.commands_until("", 0)
    return [command for command in reader.commands if command.words]


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.commands: list[Command] = []
        self.heredocs: list[tuple[str, bool]] = []

    def commands_until(self, closer: str, depth: int) -> None:
        """Read commands until a closing character, or to the end of the text without one."""
        if depth > _DEEPEST:
            raise NotUnderstoodError
        text, command = self.text, Command()
        while self.position < len(text):
            char = text[self.position]
            if char == closer:
                self._finish(command)
                self.position += 1
                return
            if char == "\n":
                command = self._finish(command)
                self._end_line()
            elif char in ";|)" or (char == "&" and not text.startswith("&>", self.position)):
                command = self._finish(command)
                self.position += 1
            elif self._steps_over(char, depth):
                continue
            elif char == "(":
                command = self._finish(command)
                self.position += 1
                self.commands_until(")", depth + 1)
            else:
                begin, end = self._word(depth, in_substitution=bool(closer))
                # The 2 of `2>&1` belongs to the redirection.
                if not (text[begin:end].isdigit() and text[end : end + 1] in ("<", ">")):
                    command.words.append((begin, end))
        if closer or self.heredocs:
            raise NotUnderstoodError
        self._finish(command)

    def _steps_over(self, char: str, depth: int) -> bool:
        """Step over what is no word: a blank, a comment, a redirection, `((…))`; return False if it is a word."""
        if char in " \t\r":
            self.position += 1
        elif char == "#":
            end = self.text.find("\n", self.position)
            self.position = len(self.text) if end < 0 else end
        elif self.text.startswith(("\\\n", "\\\r\n"), self.position):
            self.position = self.text.index("\n", self.position) + 1
        elif char in "<>&":
            self._redirection(depth)
        elif self.text.startswith("((", self.position):
            self._arithmetic()
        else:
            return False
        return True

    def _finish(self, command: Command) -> Command:
        self.commands.append(command)
        return Command()

    def _end_line(self) -> None:
        """Step over the end of a line, and the here-documents that begin there."""
        self.position += 1
        for delimiter, strips in self.heredocs:
            while True:
                if self.position >= len(self.text):
                    raise NotUnderstoodError
                end = self.text.find("\n", self.position)
                end = len(self.text) if end < 0 else end
                line = self.text[self.position : end].rstrip("\r")
                self.position = end + 1
                if (line.lstrip("\t") if strips else line) == delimiter:
                    break
        self.heredocs = []

    def _redirection(self, depth: int) -> None:
        if self.text.startswith(("<(", ">("), self.position):
            self.position += 2
            self.commands_until(")", depth + 1)
            return
        if self.text.startswith("<<", self.position) and not self.text.startswith("<<<", self.position):
            heredoc = _HEREDOC.match(self.text, self.position)
            if heredoc is None:
                raise NotUnderstoodError
            self.heredocs.append((next(one for one in heredoc.groups()[1:] if one is not None), bool(heredoc[1])))
            self.position = heredoc.end()
            return
        while self.position < len(self.text) and self.text[self.position] in "<>&|":
            self.position += 1
        while self.position < len(self.text) and self.text[self.position] in " \t":
            self.position += 1
        if self.position < len(self.text) and self.text[self.position] not in "\r\n;|&()<>#":
            self._word(depth)

    def _word(self, depth: int, *, in_substitution: bool = False) -> tuple[int, int]:
        text, begin = self.text, self.position
        while self.position < len(text):
            char = text[self.position]
            plain = _PLAIN.match(text, self.position)
            if plain:
                self.position = plain.end()
            elif char == "#":
                self.position += 1
            elif char == "\\":
                self.position += 3 if text.startswith("\\\r\n", self.position) else 2
            elif char in "'\"`$":
                self._quoted(depth)
            else:
                break
        if in_substitution and text[begin : self.position] == "case":
            # Its patterns end with `)`, as the substitution does.
            raise NotUnderstoodError
        return begin, min(self.position, len(text))

    def _quoted(self, depth: int) -> None:
        """Read a quoted text, or a `$` and what belongs to it."""
        text, char = self.text, self.text[self.position]
        if char == "'":
            self._to("'", self.position + 1)
        elif text.startswith("$'", self.position):
            self._to_unescaped("'", self.position + 2)
        elif char == "`":
            self._to_unescaped("`", self.position + 1)
        elif char == '"':
            self.position += 1
            self._inside_double_quotes('"', depth)
        else:
            self._dollar(depth)

    def _inside_double_quotes(self, closer: str, depth: int) -> None:
        text = self.text
        while self.position < len(text):
            char = text[self.position]
            if char == closer:
                self.position += 1
                return
            if char == "\\":
                self.position += 2
            elif char == "`":
                self._to_unescaped("`", self.position + 1)
            elif char == "$":
                self._dollar(depth)
            elif char == "'" and closer == "}":
                # Shells disagree on a single quote in `"${…}"`.
                raise NotUnderstoodError
            elif char == '"':
                self._quoted(depth)
            else:
                self.position += 1
        raise NotUnderstoodError

    def _dollar(self, depth: int) -> None:
        if self.text.startswith("$((", self.position):
            self.position += 1
            self._arithmetic()
        elif self.text.startswith("$(", self.position):
            self.position += 2
            outer, self.heredocs = self.heredocs, []
            self.commands_until(")", depth + 1)
            if self.heredocs:
                raise NotUnderstoodError
            self.heredocs = outer
        elif self.text.startswith("${", self.position):
            if depth > _DEEPEST:
                raise NotUnderstoodError
            self.position += 2
            self._inside_double_quotes("}", depth + 1)
        else:
            self.position += 1

    def _arithmetic(self) -> None:
        depth = 0
        while self.position < len(self.text) and self.text[self.position] not in "'\"`\\":
            depth += {"(": 1, ")": -1}.get(self.text[self.position], 0)
            self.position += 1
            if depth == 0:
                return
        raise NotUnderstoodError

    def _to(self, char: str, position: int) -> None:
        end = self.text.find(char, position)
        if end < 0:
            raise NotUnderstoodError
        self.position = end + 1

    def _to_unescaped(self, char: str, position: int) -> None:
        while position < len(self.text):
            if self.text[position] == char:
                self.position = position + 1
                return
            position += 2 if self.text[position] == "\\" else 1
        raise NotUnderstoodError

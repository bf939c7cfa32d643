"""The result of one check of `compat-auth check`, for people and for programs."""

from __future__ import annotations

import re
from dataclasses import dataclass

# A key with its variable, optionally after a file; a requirement; or one or two words, such as a section and its key.
_WHERE = re.compile(
    r"(?:(?:\S+: )?\S+ \((?:or )?\$\w+\)|requirement '[^']*'|(?:\S*[^\s:] )?\S*[^\s:])(?=: )",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        what: The setting, directory or peer.
        problem: What is wrong and what to do, or "" if it is right.
        exit_code: The command's exit status for this problem (sysexits.h).
        detail: What was found if it is right.
        warning: What works and may not be what was meant, and what to do, or "".
    """

    what: str
    problem: str = ""
    exit_code: int = 0
    detail: str = ""
    warning: str = ""

    def for_programs(self) -> dict[str, object]:
        """Return the finding as `check --json` prints it: `id`, `ok`, `what`, `where`, `next`."""
        if self.warning:
            where, what, next_step = split_problem(self.warning)
            return {"id": self.what, "ok": True, "what": what, "where": where or self.what, "next": next_step}
        if not self.problem:
            return {"id": self.what, "ok": True, "what": self.detail, "where": self.what, "next": ""}
        where, what, next_step = split_problem(self.problem)
        return {"id": self.what, "ok": False, "what": what, "where": where or self.what, "next": next_step}

    @property
    def cause(self) -> str:
        """The text without the parts in parentheses: it is equal for two problems with one cause."""
        return re.sub(r" \([^()]*\)", "", self.problem)


def split_problem(text: str) -> tuple[str, str, str]:
    """Return where, what and the next step of an error's text: "WHERE: WHAT; NEXT STEP"."""
    found = _WHERE.match(text)
    where = found.group() if found else ""
    rest = text[len(where) :].removeprefix(": ")
    what, _, next_step = _cut(rest)
    return where, what, next_step


def _cut(text: str) -> tuple[str, str, str]:
    """Cut at the first semicolon outside parentheses."""
    depth = 0
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth <= 0 and text.startswith("; ", place):
            return text[:place], "; ", text[place + 2 :]
    return text, "", ""

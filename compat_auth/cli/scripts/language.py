"""The language of a script: its first line says it, or else its name."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

_SHEBANG = re.compile(r"\ufeff?#![ \t]*(\S+)(?:[ \t]+(?:-S[ \t]+)?(\S+))?")
_SHELLS = frozenset(("sh", "bash", "dash", "ksh", "zsh", "ash"))
_SHELL_SUFFIXES = frozenset((".sh", ".bash", ".ksh", ".zsh"))
_PYTHON_SUFFIXES = frozenset((".py", ".pyw"))
# Files of other languages whose names have no suffix. With a capital letter they are excluded in any case.
_OTHER_NAMES = frozenset(("makefile", "gnumakefile", "dockerfile", "containerfile", "justfile", "crontab"))


class Language(Enum):
    """The language of a script, as far as a patch has to know it."""

    SHELL = "shell"
    PYTHON = "python"
    OTHER = "other"


def language_of(path: Path, text: str) -> Language:
    """Return the language of a file; OTHER if there is a doubt."""
    shebang = _SHEBANG.match(text)
    if shebang is not None:
        program = shebang[1].rpartition("/")[2]
        program = (shebang[2] or "").rpartition("/")[2] if program == "env" else program
        if re.fullmatch(r"python[\d.]*", program):
            return Language.PYTHON
        return Language.SHELL if program in _SHELLS else Language.OTHER
    if path.suffix in _PYTHON_SUFFIXES:
        return Language.PYTHON
    named_as_shell = path.suffix in _SHELL_SUFFIXES
    plain_name = not path.suffix and path.name.islower() and path.name not in _OTHER_NAMES
    return Language.SHELL if named_as_shell or plain_name else Language.OTHER

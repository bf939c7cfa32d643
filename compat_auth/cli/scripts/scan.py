"""Goes through files and folders, and says for each line with an old call what to put in its place."""

from __future__ import annotations

import contextlib
import difflib
import os
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from compat_auth.cli.scripts.change import Change, apply
from compat_auth.cli.scripts.language import Language, language_of
from compat_auth.cli.scripts.lines import Lines
from compat_auth.cli.scripts.marks import marks_of
from compat_auth.cli.scripts.old_paths import Address, old_paths
from compat_auth.cli.scripts.python_logins import PythonFile, python_logins
from compat_auth.cli.scripts.shell_logins import curls_of, shell_logins
from compat_auth.cli.scripts.shell_words import NotUnderstoodError, commands_of
from compat_auth.errors import ConfigError

MAX_BYTES = 4 * 1024 * 1024
_SKIPPED = frozenset((".git", ".hg", ".svn", ".tox", ".venv", "venv", "node_modules", "__pycache__", ".terraform"))
_CLIENTS = ("airflow_client", "apache-airflow-client")
# A file without any of these has no old call.
_MARKS = ("api/v1", "api/experimental", *_CLIENTS)
_NOT_UTF_8 = "the file names the old API, and is no UTF-8: save it as UTF-8, and run `compat-auth migrate` again"
_TOO_LARGE = f"the file names the old API, and has more than {MAX_BYTES // 1024 // 1024} MiB: look at it yourself"
_BREAKS = "the patch would not be valid Python: change it yourself"


@dataclass(frozen=True, slots=True)
class Place:
    """A line with an old call.

    Attributes:
        number: Of the line, from 1.
        before: The line.
        after: The line with everything replaced that can be.
        notes: What a person must change or look at.
        must_act: Whether something could not be replaced.
    """

    number: int
    before: str
    after: str
    notes: tuple[str, ...]
    must_act: bool


@dataclass(frozen=True, slots=True)
class Script:
    """A file with old calls.

    Attributes:
        path: The file.
        text: Its whole text.
        places: The lines, in order.
    """

    path: Path
    text: str
    places: tuple[Place, ...]

    @property
    def patched(self) -> str:
        """The text with everything replaced that can be."""
        lines = list(Lines(self.text).whole)
        for place in self.places:
            if place.after != place.before:
                lines[place.number - 1] = place.after
        return "".join(lines)

    def patch(self) -> str:
        """Return the differences as a patch for `patch -p0`; empty without any."""
        before, after = Lines(self.text).whole, Lines(self.patched).whole
        lines = list(difflib.unified_diff(before, after, str(self.path), str(self.path)))
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def files_below(path: Path) -> Iterator[Path]:
    """Yield a file, or all files in a folder that may be scripts; links to folders are not followed.

    Raises:
        ConfigError: There is no such file or folder.
    """
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise ConfigError(f"{path}: no such file or folder; name a script, or a folder with scripts")
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        yield from (Path(folder) / name for name in sorted(names))


def look_into(path: Path) -> Script | None:
    """Return the old calls in a file; None where there are none, or the file is no text.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > MAX_BYTES:
            return _unread(path, _TOO_LARGE) if _large_text_has_mark(path) else None
        content = path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror})") from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        return _unread(path, _NOT_UTF_8) if _other_text_has_mark(content) else None
    if not any(mark in text for mark in _MARKS):
        return None
    lines = Lines(text)
    places = tuple(_places(lines, _changes(lines, language_of(path, text))))
    return Script(path, text, places) if places else None


def _changes(lines: Lines, language: Language) -> list[Change]:
    addresses = sorted(old_paths(lines, language), key=lambda one: one.change.begin)
    changes = [address.change for address in addresses]
    if not any(address.may_be_airflow for address in addresses) and not any(one in lines.text for one in _CLIENTS):
        return changes
    logins, read, quiet = _logins(lines.text, language, addresses)
    logins.sort(key=lambda one: one.begin)
    ends = list(accumulate((one.end for one in logins), max))
    for mark in sorted(marks_of(lines, read, quiet), key=lambda one: one.begin):
        before = bisect_left(logins, mark.end, key=lambda one: one.begin)
        if before == 0 or ends[before - 1] <= mark.begin:
            changes.append(mark)
    return _without_broken(lines.text, language, [*changes, *logins])


def _logins(
    text: str, language: Language, addresses: list[Address]
) -> tuple[list[Change], frozenset[int], frozenset[int]]:
    """Return the logins that a reader of the language finds, and where the words begin that it has understood."""
    if language is Language.SHELL:
        with contextlib.suppress(NotUnderstoodError):
            commands = commands_of(text)
            curls = curls_of(text, commands)
            spans = [(command, text[command.words[0][0] : command.words[-1][1]]) for command in commands]
            quiet = {begin for command, span in spans if "curl" not in span for begin, _ in command.words}
            read = {begin for words in curls for begin, _ in words}
            return list(shell_logins(text, curls, addresses)), frozenset(read), frozenset(quiet)
    if language is Language.PYTHON:
        with contextlib.suppress(SyntaxError):
            return list(python_logins(PythonFile(text), addresses)), frozenset(), frozenset()
    return [], frozenset(), frozenset()


def _without_broken(text: str, language: Language, changes: list[Change]) -> list[Change]:
    """Return the changes; those of a Python file that would not be Python any more have no text."""
    if language is Language.PYTHON and _is_python(text) and not _is_python(apply(text, changes)):
        return [replace(one, text=None, note=one.note or _BREAKS) for one in changes]
    return changes


def _is_python(text: str) -> bool:
    try:
        PythonFile(text)
    except SyntaxError:
        return False
    return True


def _places(lines: Lines, changes: list[Change]) -> Iterator[Place]:
    by_line: dict[int, list[Change]] = {}
    for change in changes:
        by_line.setdefault(lines.index(change.begin), []).append(change)
    for index, found in sorted(by_line.items()):
        start, line = lines.starts[index], lines.whole[index]
        here = [replace(one, begin=one.begin - start, end=one.end - start) for one in found]
        notes = tuple(dict.fromkeys(one.note for one in here if one.note))
        yield Place(index + 1, line, apply(line, here), notes, any(one.text is None for one in here))


def _unread(path: Path, note: str) -> Script:
    return Script(path, "", (Place(1, "", "", (note,), must_act=True),))


def _other_text_has_mark(content: bytes) -> bool:
    """Return whether a text in another encoding holds an old call; a file with a zero byte is one only in UTF-16."""
    for encoding in ("utf-16-le", "utf-16-be"):
        if any(mark.encode(encoding) in content for mark in _MARKS):
            return True
    return b"\0" not in content and any(mark.encode() in content for mark in _MARKS)


def _large_text_has_mark(path: Path) -> bool:
    with path.open("rb") as file:
        before = b""
        while chunk := file.read(1024 * 1024):
            if b"\0" in chunk:
                return False
            if any(mark.encode() in before + chunk for mark in _MARKS):
                return True
            before = chunk[-32:]
    return False

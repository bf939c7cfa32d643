"""Goes through files and folders, and says for each line with an old call what to put in its place."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compat_auth.cli.scripts.change import Change, apply
from compat_auth.cli.scripts.old_logins import old_logins
from compat_auth.cli.scripts.old_paths import old_paths
from compat_auth.errors import ConfigError

MAX_BYTES = 4 * 1024 * 1024
_SKIPPED = frozenset((".git", ".hg", ".svn", ".tox", ".venv", "venv", "node_modules", "__pycache__", ".terraform"))
# A file with one of these calls Airflow's API, so that its logins are for it.
_MARKS = ("api/v1", "api/experimental", "airflow_client", "apache-airflow-client")


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
        lines = self.text.splitlines(keepends=True)
        for place in self.places:
            lines[place.number - 1] = place.after
        return "".join(lines)

    def patch(self) -> str:
        """Return the differences as a patch for `patch -p0`; empty without any."""
        before, after = self.text.splitlines(keepends=True), self.patched.splitlines(keepends=True)
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
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        content = path.read_bytes()
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror})") from None
    if "\0" in text or not any(mark in text for mark in _MARKS):
        return None
    places = tuple(
        place for number, line in enumerate(text.splitlines(keepends=True), start=1) if (place := _look(number, line))
    )
    return Script(path, text, places) if places else None


def _look(number: int, line: str) -> Place | None:
    changes: list[Change] = [*old_paths(line), *old_logins(line)]
    if not changes:
        return None
    notes = tuple(dict.fromkeys(change.note for change in changes if change.note))
    return Place(number, line, apply(line, changes), notes, any(change.text is None for change in changes))

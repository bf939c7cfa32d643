"""A file that holds secrets: only its owner can read it, and it is written as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Generator
from pathlib import Path

from compat_auth.errors import KeyFileError

_OTHERS = 0o077


def refuse_exposed(path: Path, status: os.stat_result, *, holds: str, made_by: str) -> None:
    """Check that the file is a regular file that we own and that nobody else may read or write.

    Args:
        path: For messages.
        status: Of the opened file: a name can be pointed elsewhere between two looks.
        holds: The secrets that others must not read.
        made_by: The command or setting that makes such a file.

    Raises:
        KeyFileError: It is not; says the next step.
    """
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{path}: not a regular file; name a file made by: {made_by}")
    if status.st_uid != os.geteuid():
        raise KeyFileError(
            f"{path}: belongs to user {status.st_uid}, not to {os.geteuid()}; run: chown {os.geteuid()} {path}"
        )
    if status.st_mode & _OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        raise KeyFileError(f"{path}: mode {mode:04o} lets others at {holds}; run: chmod 600 {path}")


@contextlib.contextmanager
def written_aside(path: Path, content: bytes) -> Generator[Path]:
    """Yield the name of a file with that content, to link or move to its place; both are then synced to disk.

    Raises:
        KeyFileError: The folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        # 0600 from the first moment: a chmod afterwards would leave a gap.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield temporary
        _sync_folder(path.parent)
    except OSError as exc:
        raise KeyFileError(f"{path}: cannot be written ({exc.strerror}); make its folder writable") from exc
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

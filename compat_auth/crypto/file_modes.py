"""Files that we believe: nobody but their owner may change them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from compat_auth.errors import ConfigError

_WRITABLE = stat.S_IWGRP | stat.S_IWOTH


def refuse_writable(path: Path, status: os.stat_result) -> None:
    """Return when only its owner may write to the file.

    Who can write to a file that says whom to let in can let themselves in. Who can read it is not judged here: a mounted
    secret of Kubernetes is readable for everybody in its container.

    Args:
        path: For messages.
        status: Of the opened file: a link's own mode says nothing, and a name can be pointed elsewhere between two looks.

    Raises:
        ConfigError: Others may write to it; says the next step.
    """
    # A pipe, as of `--config <(…)`, has a mode that says nothing.
    if stat.S_ISREG(status.st_mode) and status.st_mode & _WRITABLE:
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError(f"{path}: mode {mode:04o} lets others change it, and so let themselves in; chmod go-w {path}")


def read_unwritable(path: Path) -> str:
    """Return the text of a file in UTF-8, without its byte order mark, to which only its owner may write.

    Raises:
        ConfigError: Others may write to it.
        OSError, UnicodeDecodeError: It cannot be read.
    """
    with path.open(encoding="utf-8-sig") as file:
        refuse_writable(path, os.fstat(file.fileno()))
        return file.read()


def refuse_writable_at(path: Path) -> None:
    """Return when only its owner may write to what is at the path, or nothing is there.

    Raises:
        ConfigError: Others may write to it.
    """
    try:
        status = path.stat()
    except OSError:
        return  # what reads it says so, and better
    refuse_writable(path, status)

"""Checks the modes of files that we trust: only their owner may change them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from compat_auth.errors import ConfigError

_WRITABLE = stat.S_IWGRP | stat.S_IWOTH


def refuse_writable(path: Path, status: os.stat_result) -> None:
    """Check that only its owner may write to the file.

    An attacker who can write to a file of users can log in as any of them. Read permission is not checked here: a
    mounted secret of Kubernetes is readable for everybody in its container.

    Args:
        path: For messages.
        status: Of the opened file: a link's own mode says nothing, and a name can be pointed elsewhere between two looks.

    Raises:
        ConfigError: Others may write to it; says the next step.
    """
    # A pipe, as of `--config <(…)`, has a mode that says nothing.
    if stat.S_ISREG(status.st_mode) and status.st_mode & _WRITABLE:
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError(f"{path}: mode {mode:04o} lets others change it and log in as any user; chmod go-w {path}")


def read_unwritable(path: Path) -> str:
    """Return the text of a UTF-8 file that only its owner may write to, without its byte order mark.

    Raises:
        ConfigError: Others may write to it.
        OSError, UnicodeDecodeError: It cannot be read.
    """
    with path.open(encoding="utf-8-sig") as file:
        refuse_writable(path, os.fstat(file.fileno()))
        return file.read()


def refuse_writable_at(path: Path) -> None:
    """Check that only its owner may write to the file at the path, or that there is none.

    Raises:
        ConfigError: Others may write to it.
    """
    try:
        status = path.stat()
    except OSError:
        return  # what reads it says so, and better
    refuse_writable(path, status)

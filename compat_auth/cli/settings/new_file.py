"""Writes a configuration file that may have secrets in it: for its owner alone, at once or not at all."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from compat_auth.config import DEFAULT_FILE
from compat_auth.config.loading import parse_settings, read_toml
from compat_auth.errors import ConfigError


def require_free(path: Path, *, replaces: bool) -> None:
    """Check that there is no file, unless it may be replaced.

    Raises:
        ConfigError: There is one.
    """
    if path.exists() and not replaces:
        raise ConfigError(f"--output: {path}: exists; name another file, or add --force to replace it")


def write_new(path: Path, text: str, *, replaces: bool) -> None:
    """Write the file at once or not at all, for its owner alone.

    Raises:
        ConfigError: It is not a configuration, or cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        parse_settings(read_toml(beside), origin=str(path))
        if replaces:
            beside.replace(path)
        else:
            os.link(beside, path)
    except FileExistsError:
        raise ConfigError(f"--output: {path}: exists; name another file, or add --force to replace it") from None
    except OSError as exc:
        raise ConfigError(f"--output: {path}: cannot be written ({exc.strerror}); name another file") from None
    finally:
        beside.unlink(missing_ok=True)


def introduce(path: Path) -> None:
    """Print the next commands for a file that was written."""
    named = "" if str(path) == DEFAULT_FILE else f" --config {shlex.quote(str(path))}"
    click.echo(f"Written: {path}. Next:\n\n  compat-auth check{named}\n  compat-auth serve{named}")

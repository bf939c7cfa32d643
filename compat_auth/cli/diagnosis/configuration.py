"""Reads the configuration for `check` and `doctor`: the settings, or each error in them."""

from __future__ import annotations

import os
from pathlib import Path

from compat_auth.cli.diagnosis.finding import Finding
from compat_auth.config import DEFAULT_FILE, ENV_PREFIX, Settings, find_file, load_settings, overriding_variables
from compat_auth.errors import ConfigError


def read_configuration(config_path: str | None) -> tuple[Settings | None, tuple[Finding, ...]]:
    """Return the settings, None if they are wrong, and the findings about them.

    Args:
        config_path: The file of `--config`, or None.
    """
    path = find_file(config_path, os.environ)
    variables = sorted(name for name in os.environ if name.startswith(ENV_PREFIX) and name != f"{ENV_PREFIX}CONFIG")
    if path is None and not variables:
        text = (
            f"configuration: no file: {Path(DEFAULT_FILE).absolute()} does not exist, and neither --config nor "
            f"${ENV_PREFIX}CONFIG names another; create it, change to its folder, or pass --config FILE"
        )
        return None, (Finding("configuration", text, ConfigError.exit_code),)
    try:
        settings = load_settings(config_path)
    except ConfigError as error:
        return None, tuple(Finding("configuration", line, error.exit_code) for line in str(error).splitlines())
    return settings, (Finding("configuration", detail=_sources(path, variables)),)


def _sources(path: str | None, variables: list[str]) -> str:
    parts = [str(Path(path).absolute()) if path else "no file"]
    if variables:
        parts.append(f"{', '.join(f'${name}' for name in variables)}")
    text = " and ".join(parts)
    overriding = overriding_variables(path, os.environ) if path else []
    return text + (f"; {', '.join(overriding)}" if overriding else "")

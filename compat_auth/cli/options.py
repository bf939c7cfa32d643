"""What several commands share: the configuration option, and the log."""

from __future__ import annotations

import logging
import os
import sys

import click

from compat_auth.audit.losses import LogHandler

config_option = click.option(
    "--config", "config_path", metavar="FILE", help="TOML file; default $COMPAT_AUTH_CONFIG, else ./compat_auth.toml."
)


def start_logging(level: str = "INFO") -> None:
    """Send our log to standard error, one line an event; $COMPAT_AUTH_LOG_LEVEL changes the level."""
    chosen = os.environ.get("COMPAT_AUTH_LOG_LEVEL", level).upper()
    handler = LogHandler(sys.stderr)
    logging.basicConfig(level=chosen, format="%(asctime)s %(levelname)s %(name)s %(message)s", handlers=[handler])

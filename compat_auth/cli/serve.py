"""`compat-auth serve`: the gateway."""

from __future__ import annotations

import logging
import os
import sys

import click

from compat_auth.app import create_app
from compat_auth.config import Settings, load_settings
from compat_auth.errors import ConfigError
from compat_auth.server import bind_socket, serve_workers

config_option = click.option(
    "--config", "config_path", metavar="FILE", help="TOML file; default $COMPAT_AUTH_CONFIG, else ./compat_auth.toml."
)


@click.command()
@config_option
@click.option("--bind", metavar="HOST:PORT", help="Address to listen on; default [serve] bind.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes; default [serve] workers.")
@click.option("--reload", is_flag=True, help="Start again when the configuration file changes (for development).")
def serve(config_path: str | None, bind: str | None, workers: int | None, reload: bool) -> None:
    """Serve the gateway in front of the upstream."""
    start_logging()
    settings = adjusted(load_settings(config_path), bind, workers)
    if not settings.upstream.url:
        raise ConfigError("upstream.url: not set; name the API behind the gateway, such as http://127.0.0.1:8080")
    listener = bind_socket(settings.serve.bind)
    host, port = listener.getsockname()[:2]
    click.echo(f"compat-auth: http://{host}:{port} -> {settings.upstream.url} ({', '.join(settings.auth_backends)})", err=True)
    del reload
    sys.exit(serve_workers(lambda: create_app(settings), listener, settings.serve.workers))


def adjusted(settings: Settings, bind: str | None, workers: int | None) -> Settings:
    """Return the settings with what the command line says."""
    changed = {key: value for key, value in (("bind", bind), ("workers", workers)) if value is not None}
    return settings.model_copy(update={"serve": settings.serve.model_copy(update=changed)})


def start_logging() -> None:
    """Send our log to standard error, one line an event."""
    level = os.environ.get("COMPAT_AUTH_LOG_LEVEL", "INFO").upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)

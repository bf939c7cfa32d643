"""`compat-auth serve`: the gateway."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path

import click
import uvicorn
from uvicorn.supervisors import ChangeReload

from compat_auth.app import create_app
from compat_auth.cli.context import config_option, start_logging
from compat_auth.config import DEFAULT_FILE, ENV_PREFIX, Settings, load_settings
from compat_auth.config.upstream_url import read_address
from compat_auth.errors import BackendUnavailable
from compat_auth.gateway.forward_auth.access import access_of
from compat_auth.gateway.server.server import bind_socket, serve_workers, uvicorn_config
from compat_auth.gateway.server.worker import UNUSED_SIGNALS
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.store.migration import require_known_tables

logger = logging.getLogger(__name__)


@click.command()
@config_option
@click.option("--bind", metavar="HOST:PORT", help="Address to listen on; default [serve] bind.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes; default [serve] workers.")
@click.option("--reload", is_flag=True, help="Restart when the configuration changes (for development).")
def serve(config_path: str | None, bind: str | None, workers: int | None, reload: bool) -> None:
    """Serve the gateway in front of the upstream."""
    start_logging()
    for number in UNUSED_SIGNALS:
        # The default action of these signals would end the service.
        signal.signal(number, _ignore)
    settings = _adjusted(load_settings(config_path), bind, workers)
    if reload and settings.serve.workers > 1:
        raise click.UsageError("--reload serves with one process; remove --workers")
    with contextlib.ExitStack() as stack:
        settings, front = _with_front_listener(settings, stack)
        app = create_app(settings)
        _require_known_tables(settings)
        listener = stack.enter_context(bind_socket(settings.serve.bind))
        listeners = [listener, *front]
        host, port = listener.getsockname()[:2]
        chain = ", ".join(settings.auth_backends)
        # A log that cannot be written does not stop the start: lost entries are counted.
        with contextlib.suppress(OSError):
            if front:
                click.echo(f"compat-auth: forward-auth at http://{settings.forward_auth.bind}", err=True)
            click.echo(f"compat-auth: http://{host}:{port} -> {settings.upstream.url} ({chain})", err=True)
        if reload:
            _serve_reloading(config_path, listeners)
        else:
            is_proxy = TrustedProxies(settings.trusted_proxies).covers
            sys.exit(serve_workers(app, listeners, settings.serve, is_proxy=is_proxy))


def _ignore(number: int, _frame: object) -> None:
    click.echo(f"compat-auth: {signal.Signals(number).name} ignored", err=True)


def _require_known_tables(settings: Settings) -> None:
    """Check that this version knows the tables; an unavailable database may come back while we serve.

    Raises:
        ConfigError: The tables belong to a newer version.
    """
    try:
        require_known_tables(settings.database_url.get_secret_value())
    except BackendUnavailable as error:
        logger.warning("%s; until it is available, requests that need it get 503", error)


def _with_front_listener(settings: Settings, stack: contextlib.ExitStack) -> tuple[Settings, list[socket.socket]]:
    """Return the settings with forward-auth's real address, and its listener if it has its own."""
    section = settings.forward_auth
    if not section.bind:
        return settings, []
    access_of(settings)
    listener = stack.enter_context(bind_socket(section.bind, "forward_auth.bind"))
    bind = f"{section.bind.rpartition(':')[0]}:{listener.getsockname()[1]}"
    return settings.model_copy(update={"forward_auth": section.model_copy(update={"bind": bind})}), [listener]


def _serve_reloading(config_path: str | None, listeners: list[socket.socket]) -> None:
    path = Path(config_path or os.environ.get(f"{ENV_PREFIX}CONFIG") or DEFAULT_FILE)
    # uvicorn restarts the worker in a process of its own, which loads the settings itself.
    os.environ[f"{ENV_PREFIX}CONFIG"] = str(path.resolve())
    config = uvicorn_config("compat_auth.app:create_app")
    config.factory = True
    config.reload_dirs = [path.resolve().parent]
    config.reload_includes = [path.name]
    ChangeReload(config, uvicorn.Server(config).run, listeners).run()


def _adjusted(settings: Settings, bind: str | None, workers: int | None) -> Settings:
    """Return the settings with the options of the command line."""
    read_address(settings.upstream.url)
    changed = {key: value for key, value in (("bind", bind), ("workers", workers)) if value is not None}
    return settings.model_copy(update={"serve": settings.serve.model_copy(update=changed)})

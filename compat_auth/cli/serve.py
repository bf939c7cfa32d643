"""`compat-auth serve`: the gateway."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
import uvicorn
from uvicorn.supervisors import ChangeReload

from compat_auth.app import Gateway
from compat_auth.audit.accidents import log_accidents
from compat_auth.cli.context import config_option, shape_log, start_logging
from compat_auth.cli.diagnosis.simplest_setup import find_setup
from compat_auth.cli.front.nginx import Front, prepare_nginx
from compat_auth.cli.proxy_config.nginx import LaneKind
from compat_auth.composition.telemetry import Metrics
from compat_auth.config import DEFAULT_FILE, ENV_PREFIX, Settings, load_settings
from compat_auth.config.loading import find_file
from compat_auth.config.upstream_url import read_address
from compat_auth.errors import BackendUnavailable
from compat_auth.gateway.fast.protocol_choice import protocol_for
from compat_auth.gateway.forward_auth.access import access_of
from compat_auth.gateway.server.open_files import forbid_core_dumps
from compat_auth.gateway.server.server import ServedMetrics, bind_socket, serve_workers, uvicorn_config
from compat_auth.gateway.server.tls import ServerTls
from compat_auth.gateway.server.worker import UNUSED_SIGNALS
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.store.migration import require_known_tables

logger = logging.getLogger(__name__)


@click.command()
@config_option
@click.option(
    "--airflow-url",
    metavar="URL",
    help="Without a file: serve this Airflow 3, which checks user names and passwords itself.",
)
@click.option("--bind", metavar="HOST:PORT", help="Address to listen on; default [serve] bind.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes; default [serve] workers.")
@click.option("--tls-cert", metavar="FILE", help="PEM file with the server's certificate; default [serve] tls_cert.")
@click.option("--tls-key", metavar="FILE", help="PEM file with its key; default [serve] tls_key.")
@click.option(
    "--front",
    type=click.Choice(["nginx"]),
    help="Start this front proxy, too: it listens on --bind, and the gateway behind it where only it can connect.",
)
@click.option("--server-name", metavar="NAME", default="", help="--front: host name of the site; default any.")
@click.option(
    "--lane",
    type=click.Choice(["auto", "lua", "ask", "off"]),
    help="--front: how requests go straight to the upstream, as for proxy-config; default auto.",
)
@click.option("--reload", is_flag=True, help="Restart when the configuration changes (for development).")
def serve(
    config_path: str | None,
    airflow_url: str | None,
    bind: str | None,
    workers: int | None,
    tls_cert: str | None,
    tls_key: str | None,
    front: str | None,
    server_name: str,
    lane: LaneKind | None,
    *,
    reload: bool,
) -> None:
    """Serve the gateway in front of the upstream."""
    _require_front(front, reload=reload, server_name=server_name, lane=lane)
    start_logging()
    for number in UNUSED_SIGNALS:
        # The default action of these signals would end the service.
        signal.signal(number, _ignore)
    with contextlib.ExitStack() as stack:
        if airflow_url is None:
            settings = load_settings(config_path)
        else:
            settings = _simplest(airflow_url, config_path, stack, reload=reload)
        shape_log(settings.log.format)
        said = {"bind": bind, "workers": workers, "tls_cert": tls_cert, "tls_key": tls_key}
        settings = _adjusted(settings, said)
        shows_curl = airflow_url is not None
        nginx = None
        if front is not None:
            nginx = prepare_nginx(settings, stack, server_name=server_name, lane=lane or "auto")
        _serve(settings, config_path, stack, nginx, reload=reload, shows_curl=shows_curl)


def _require_front(front: str | None, *, reload: bool, **options: str | None) -> None:
    """Raise where an option has no meaning with, or without, a front proxy."""
    if front is not None and reload:
        raise click.UsageError("--reload serves without a front proxy; remove --front")
    for name, value in options.items():
        if front is None and value:
            raise click.UsageError(f"--{name.replace('_', '-')} is for --front; add --front nginx, or remove it")


def _serve(
    settings: Settings,
    config_path: str | None,
    stack: contextlib.ExitStack,
    nginx: Front | None,
    *,
    reload: bool,
    shows_curl: bool,
) -> None:
    if reload and settings.serve.workers > 1:
        raise click.UsageError("--reload serves with one process; remove --workers")
    tls = ServerTls.from_settings(settings) if nginx is None else None
    if reload and tls is not None:
        raise click.UsageError("--reload serves plain HTTP; remove [serve] tls_cert and tls_key")
    settings, front = _with_front_listener(settings, stack)
    app = Gateway(settings, lane_secret="" if nginx is None else nginx.lane_secret)
    _require_known_tables(settings)
    if nginx is None:
        listener = stack.enter_context(bind_socket(settings.serve.bind))
        host, port = listener.getsockname()[:2]
    else:
        listener, (host, port) = nginx.listener, nginx.address
    listeners = [listener, *front]
    chain, scheme = ", ".join(settings.auth_backends), "https" if settings.serve.tls_cert else "http"
    # A log that cannot be written does not stop the start: lost entries are counted.
    with contextlib.suppress(OSError):
        if front:
            click.echo(f"compat-auth: forward-auth at {scheme}://{settings.forward_auth.bind}", err=True)
        click.echo(f"compat-auth: {scheme}://{host}:{port} -> {settings.upstream.url} ({chain})", err=True)
        if nginx is not None:
            click.echo(f"compat-auth: nginx in front, its files in {nginx.command.folder}; {nginx.way}", err=True)
        if shows_curl:
            click.echo(f"compat-auth: try: curl -u USER {scheme}://{_callable(host)}:{port}/api/v2/dags", err=True)
    log_accidents()
    forbid_core_dumps()
    if reload:
        _serve_reloading(config_path, listeners)
    else:
        metrics = _served_metrics(app.metrics, settings, stack)
        is_proxy = TrustedProxies(settings.trusted_proxies).covers
        protocol = protocol_for(app.fast_paths)
        command = None if nginx is None else nginx.command
        sys.exit(
            serve_workers(
                app,
                listeners,
                settings.serve,
                is_proxy=is_proxy,
                tls=tls,
                protocol=protocol,
                metrics=metrics,
                front=command,
            )
        )


def _simplest(url: str, config_path: str | None, stack: contextlib.ExitStack, *, reload: bool) -> Settings:
    """Return the settings for an Airflow of which only the URL is given.

    Raises:
        ConfigError, UpstreamTimeout, UpstreamUnreachable: See `find_setup`.
    """
    if reload:
        raise click.UsageError("--reload is for a configuration file, and --airflow-url reads none; remove one of them")
    file = find_file(config_path, os.environ)
    if file is not None:
        raise click.UsageError(
            f"--airflow-url serves without a file, and there is {file}; remove --airflow-url, or remove the file and "
            f"--config or ${ENV_PREFIX}CONFIG"
        )
    # Revocations last as long as the gateway: what is kept in a file needs a setting that says where.
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="compat-auth-"))
    setup = find_setup(url, f"sqlite:///{folder}/compat_auth.db", os.environ)
    with contextlib.suppress(OSError):
        click.echo(f"compat-auth: {setup.summary}", err=True)
    return setup.settings


def _callable(host: str) -> str:
    """Return the address by which a client on this machine reaches the gateway."""
    named = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # no address to listen on
    return f"[{named}]" if ":" in named else named


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


def _served_metrics(metrics: Metrics | None, settings: Settings, stack: contextlib.ExitStack) -> ServedMetrics | None:
    """Return the metrics of all workers with their listener; None where they are off."""
    if metrics is None:
        return None
    listener = stack.enter_context(bind_socket(settings.metrics.bind, "metrics.bind"))
    host, port = listener.getsockname()[:2]
    with contextlib.suppress(OSError):
        click.echo(f"compat-auth: metrics at http://{_callable(host)}:{port}/metrics", err=True)
    return ServedMetrics(metrics.process, metrics.surroundings, listener)


def _serve_reloading(config_path: str | None, listeners: list[socket.socket]) -> None:
    path = Path(config_path or os.environ.get(f"{ENV_PREFIX}CONFIG") or DEFAULT_FILE)
    # uvicorn restarts the worker in a process of its own, which loads the settings itself.
    os.environ[f"{ENV_PREFIX}CONFIG"] = str(path.resolve())
    config = uvicorn_config("compat_auth.app:create_app")
    config.factory = True
    config.reload_dirs = [path.resolve().parent]
    config.reload_includes = [path.name]
    ChangeReload(config, uvicorn.Server(config).run, listeners).run()


def _adjusted(settings: Settings, said: Mapping[str, str | int | None]) -> Settings:
    """Return the settings with the options of the command line."""
    read_address(settings.upstream.url)
    changed = {key: value for key, value in said.items() if value is not None}
    return settings.model_copy(update={"serve": settings.serve.model_copy(update=changed)})

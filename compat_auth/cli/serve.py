"""`compat-auth serve`: the gateway."""

from __future__ import annotations

import contextlib
import functools
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

from compat_auth.audit.accidents import log_accidents
from compat_auth.cli.context import config_option, shape_log, start_logging
from compat_auth.cli.diagnosis.simplest_setup import find_setup
from compat_auth.cli.front.nginx import Front, prepare_nginx
from compat_auth.cli.proxy_config.nginx import LaneKind
from compat_auth.cli.serving.configuration import Configuration, read_and_watch
from compat_auth.cli.serving.listeners import Listeners, open_listeners, passed_sockets
from compat_auth.config import DEFAULT_FILE, ENV_PREFIX, Settings, load_settings
from compat_auth.config.loading import find_file
from compat_auth.config.upstream_url import read_address
from compat_auth.errors import ConfigError
from compat_auth.gateway.server.open_files import forbid_core_dumps
from compat_auth.gateway.server.server import serve_workers, uvicorn_config
from compat_auth.gateway.service.forking import UNUSED_SIGNALS

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
        file = find_file(config_path, os.environ)
        if airflow_url is None:
            read = functools.partial(_read, file)
        else:
            read = functools.partial(_same, _simplest(airflow_url, config_path, stack, reload=reload))
        said = {"bind": bind, "workers": workers, "tls_cert": tls_cert, "tls_key": tls_key}
        settings, watch = read_and_watch(lambda: _adjusted(read(), said), file)
        shape_log(settings.log.format)
        passed = passed_sockets()
        nginx = None
        if front is not None:
            nginx = prepare_nginx(settings, stack, server_name=server_name, lane=lane or "auto")
        listeners = open_listeners(settings, stack, passed, None if nginx is None else (nginx.listener, nginx.address))
        configuration = Configuration(
            lambda: _adjusted(read(), said), settings, watch, listeners, config=file, nginx=nginx, warn=logger.warning
        )
        _serve(settings, configuration, listeners, nginx, file, reload=reload, shows_curl=airflow_url is not None)


def _read(file: str | None) -> Settings:
    """Return the settings in the file of the start, even if it has gone: the defaults are not what it said.

    Raises:
        ConfigError: They cannot be read, or there is a file that was not there at the start.
    """
    if file is None and Path(DEFAULT_FILE).exists():
        raise ConfigError(f"{DEFAULT_FILE}: was not there when the service started; restart the service to use it")
    return load_settings(file)


def _same(settings: Settings) -> Settings:
    return settings


def _require_front(front: str | None, *, reload: bool, **options: str | None) -> None:
    """Raise where an option has no meaning with, or without, a front proxy."""
    if front is not None and reload:
        raise click.UsageError("--reload serves without a front proxy; remove --front")
    for name, value in options.items():
        if front is None and value:
            raise click.UsageError(f"--{name.replace('_', '-')} is for --front; add --front nginx, or remove it")


def _serve(
    settings: Settings,
    configuration: Configuration,
    listeners: Listeners,
    nginx: Front | None,
    file: str | None,
    *,
    reload: bool,
    shows_curl: bool,
) -> None:
    if reload and settings.serve.workers > 1:
        raise click.UsageError("--reload serves with one process; remove --workers")
    if reload and settings.serve.tls_cert:
        raise click.UsageError("--reload serves plain HTTP; remove [serve] tls_cert and tls_key")
    served = configuration.build_first()
    # A log that cannot be written does not stop the start: lost entries are counted.
    with contextlib.suppress(OSError):
        _show(settings, listeners, nginx, shows_curl=shows_curl)
    log_accidents()
    forbid_core_dumps()
    if reload:
        _serve_reloading(file, listeners.of_workers)
    else:
        status = serve_workers(
            served,
            listeners.of_workers,
            check=configuration.check,
            build=configuration.build,
            front=None if nginx is None else nginx.command,
            kept=listeners.passed,
        )
        sys.exit(status)


def _show(settings: Settings, listeners: Listeners, nginx: Front | None, *, shows_curl: bool) -> None:
    """Say where it listens."""
    (host, port), scheme = listeners.address, "https" if settings.serve.tls_cert else "http"
    chain = ", ".join(settings.auth_backends)
    if listeners.forward_auth is not None:
        click.echo(f"compat-auth: forward-auth at {scheme}://{listeners.forward_auth[1]}", err=True)
    click.echo(f"compat-auth: {scheme}://{host}:{port} -> {settings.upstream.url} ({chain})", err=True)
    if listeners.passed:
        click.echo(f"compat-auth: {len(listeners.passed)} listener(s) from the service manager", err=True)
    if nginx is not None:
        click.echo(f"compat-auth: nginx in front, its files in {nginx.command.folder}; {nginx.way}", err=True)
    if shows_curl:
        click.echo(f"compat-auth: try: curl -u USER {scheme}://{_callable(host)}:{port}/api/v2/dags", err=True)
    if listeners.metrics is not None:
        metrics_host, metrics_port = listeners.metrics.getsockname()[:2]
        click.echo(f"compat-auth: metrics at http://{_callable(metrics_host)}:{metrics_port}/metrics", err=True)


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


def _serve_reloading(file: str | None, listeners: list[socket.socket]) -> None:
    path = Path(file or DEFAULT_FILE)
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

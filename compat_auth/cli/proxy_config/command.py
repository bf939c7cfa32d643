"""`compat-auth proxy-config`: write a whole configuration of a front proxy."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from compat_auth.cli.context import config_option
from compat_auth.cli.proxy_config.apache import apache_config
from compat_auth.cli.proxy_config.caddy import caddy_config
from compat_auth.cli.proxy_config.checking import require_valid
from compat_auth.cli.proxy_config.envoy import envoy_config
from compat_auth.cli.proxy_config.haproxy.configuration import haproxy_config
from compat_auth.cli.proxy_config.nginx import LaneKind, modules_folder, nginx_config
from compat_auth.cli.proxy_config.site import Options, Site
from compat_auth.cli.proxy_config.traefik import traefik_config
from compat_auth.config import load_settings
from compat_auth.errors import ConfigError

Files = Mapping[str, str]
"""Text by the name of the file; the first is the one that the proxy is started with."""
# Such a file may hold the secret of forward-auth.
_MODE = 0o600

_OTHERS: Mapping[str, Callable[[Site], Files]] = {
    "envoy": envoy_config,
    "traefik": traefik_config,
    "caddy": caddy_config,
    "apache": apache_config,
}


@click.command("proxy-config")
@click.argument("proxy", type=click.Choice(["nginx", "haproxy", *_OTHERS]))
@config_option
@click.option(
    "--listen", metavar="[HOST]:PORT", default="", help="Address for clients; default :443, or :80 without TLS."
)
@click.option("--server-name", metavar="NAME", default="", help="Host name of the site; default any.")
@click.option(
    "--gateway",
    "gateways",
    metavar="HOST:PORT",
    multiple=True,
    help="A gateway; may be repeated. Default [serve] bind.",
)
@click.option(
    "--upstream",
    "upstreams",
    metavar="HOST:PORT",
    multiple=True,
    help="An upstream; may be repeated. Default [upstream] url.",
)
@click.option("--base-path", metavar="PATH", help="Path of the site's URL; must be that of the gateway.")
@click.option("--tls-cert", metavar="FILE", default="", help="PEM file with the certificate and its chain.")
@click.option("--tls-key", metavar="FILE", default="", help="PEM file with its key.")
@click.option(
    "--lane",
    type=click.Choice(["auto", "lua", "ask", "off"]),
    default="auto",
    show_default=True,
    help="nginx, HAProxy: how requests go straight to the upstream. lua: the gateway's answer counts for less than a second. "
    "ask: each request asks; nginx alone. off: all go through the gateway. auto: off with HAProxy. With nginx it is lua where "
    "the module is installed, else off.",
)
@click.option("--nginx-modules", metavar="FOLDER", help="nginx: folder of its modules.")
@click.option("--user", metavar="NAME", default="", help="Account of the proxy's workers; default the proxy's own.")
@click.option(
    "--folder", metavar="FOLDER", default="", help="For process id, logs and temporary files; default the proxy's own."
)
@click.option(
    "--output",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="File, or folder for several files; default stdout.",
)
@click.option("--check", is_flag=True, help="Also run the proxy's own check of the syntax.")
@click.option("--program", metavar="PATH", default="", help="The proxy's program, for --check; default found in PATH.")
def proxy_config(
    proxy: str,
    config_path: str | None,
    gateways: tuple[str, ...],
    upstreams: tuple[str, ...],
    lane: LaneKind,
    nginx_modules: str | None,
    output: Path | None,
    program: str,
    *,
    check: bool,
    **options: str,
) -> None:
    """Write a whole configuration of a front proxy for this site.

    It removes the headers by which a caller could pretend to be somebody else, and sends to the gateway what the gateway
    has to answer. The output depends only on the settings, on the options, and for nginx on the modules of this machine.
    """
    site = Site.read(load_settings(config_path), Options(gateways=gateways, upstreams=upstreams, **options))
    if proxy == "nginx":
        files: Files = {"nginx.conf": nginx_config(site, lane, nginx_modules or modules_folder())}
    elif proxy == "haproxy":
        files = haproxy_config(site, lane)
    else:
        files = _OTHERS[proxy](site)
    if output is not None:
        started = _write(files, output)
    elif len(files) > 1:
        raise ConfigError(f"--output: {proxy} needs {len(files)} files ({', '.join(files)}); name a folder for them")
    else:
        click.echo(next(iter(files.values())), nl=False)
        started = None
    if check:
        _check(proxy, files, started, program)


def _check(proxy: str, files: Files, started: Path | None, program: str) -> None:
    if started is not None:
        require_valid(proxy, started.resolve(), program)
    else:
        with tempfile.TemporaryDirectory(prefix="compat-auth-") as folder:
            require_valid(proxy, _write(files, Path(folder)), program)
    click.echo(f"compat-auth: {proxy} accepts the configuration", err=True)


def _write(files: Files, output: Path) -> Path:
    """Write the files, and return the first.

    Raises:
        ConfigError: They cannot be written.
    """
    if len(files) > 1 and output.is_file():
        raise ConfigError(
            f"--output: {output} is a file, and {len(files)} are written ({', '.join(files)}); name a folder"
        )
    is_folder = len(files) > 1 or output.is_dir()
    folder = output if is_folder else output.parent
    needed = Path(next(iter(files))).suffix
    if needed == ".yaml" and not is_folder and output.suffix != needed:
        raise ConfigError(f"--output: {output}: Envoy reads only files whose names end with {needed}; rename it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / name if is_folder else output for name in files]
        for path, text in zip(paths, files.values(), strict=True):
            _write_private(path, text)
    except OSError as error:
        raise ConfigError(f"--output: {output}: {error.strerror}; name a place where you may write") from None
    return paths[0]


def _write_private(path: Path, text: str) -> None:
    # Beside it first: a proxy that reloads meanwhile sees the old file or the new one.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), _MODE)
            file.write(text)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise

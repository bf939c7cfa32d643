"""`compat-auth demo`: a gateway and an upstream, on this machine only."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from compat_auth.app import create_app
from compat_auth.cli.context import start_logging
from compat_auth.cli.demo.upstream import (
    BackgroundServer,
    DemoUser,
    Upstream,
    curl_lines,
    jwks_url,
    make_token,
    write_demo,
)
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.gateway.server.server import bind_socket, serve_here

_PORT = 8088
_CURL_TIMEOUT_S = 30


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Default 8088, or a free port if 8088 is in use; 0 means a free port."
)
@click.option("--check", is_flag=True, help="Run the printed commands; exit 0 if all of them work, else 1.")
def demo(port: int | None, check: bool) -> None:
    """Serve a gateway in front of an embedded upstream that accepts only JWTs, with users for this run only."""
    start_logging("WARNING")
    upstream = Upstream()
    with (
        tempfile.TemporaryDirectory(prefix="compat-auth-demo-") as folder,
        _bind(port) as listener,
        bind_socket("127.0.0.1:0") as upstream_listener,
    ):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        upstream_url = f"http://127.0.0.1:{upstream_listener.getsockname()[1]}"
        upstream.jwks_url = jwks_url(url)
        settings, users = write_demo(Path(folder), upstream_url)
        lines = curl_lines(users, make_token(settings, users[0]), url)
        app = create_app(settings)
        with BackgroundServer(upstream, upstream_listener):
            if check:
                with BackgroundServer(app, listener):
                    status = _run(lines)
            else:
                _introduce(url, upstream_url, lines, users[0])
                status = serve_here(app, listener)
    if not check:
        click.echo("\nThe demo has ended, and its files are deleted.")
    sys.exit(status)


def _bind(port: int | None) -> socket.socket:
    if port is not None:
        return bind_socket(f"127.0.0.1:{port}")
    try:
        return bind_socket(f"127.0.0.1:{_PORT}")
    except ConfigError:
        # The user did not choose this port.
        return bind_socket("127.0.0.1:0")


def _introduce(url: str, upstream_url: str, lines: list[str], user: DemoUser) -> None:
    click.echo(
        f"The gateway listens on {url}, in front of an API on {upstream_url} that accepts only the gateway's JWT."
    )
    click.echo(f"In a browser: {url}/compat-auth/ ({user.name} / {user.password})")
    click.echo(f"What the API receives, live: {url}/\n")
    click.echo("Old clients log in as before; copy and paste:\n")
    for line in lines:
        click.echo(line)
    click.echo(f"\nA wrong password gets 401, and so does the API without the gateway ({upstream_url}/api/whoami).")
    click.echo("Ctrl-C ends it.")


def _run(lines: list[str]) -> int:
    if shutil.which("curl") is None:
        raise BackendUnavailable("demo --check runs the printed commands, and curl is not installed: install curl")
    failed = 0
    for line in lines:
        command = [*shlex.split(line), "--silent", "--show-error", "--fail"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=_CURL_TIMEOUT_S, check=False)  # noqa: S603  # the command is ours
        failed += result.returncode != 0
        click.echo(f"{'ok  ' if result.returncode == 0 else 'FAIL'} {line}")
        if result.returncode:
            click.echo(result.stderr or result.stdout, err=True)
    return 1 if failed else 0

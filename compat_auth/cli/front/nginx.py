"""Prepares nginx for `compat-auth serve --front nginx`: its configuration, its own check, and the command that starts it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from compat_auth.cli.proxy_config.checking import find_program, require_valid
from compat_auth.cli.proxy_config.nginx import LaneKind, modules_folder, nginx_config
from compat_auth.cli.proxy_config.site import Options, Private, Site
from compat_auth.client_certificates import can_see_certificates
from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.gateway.server.front_process import FrontCommand
from compat_auth.gateway.server.server import bind_private, bind_socket
from compat_auth.gateway.server.tls import require_usable

_CONFIG = "nginx.conf"
_INSTALL = (
    "--front nginx: the program nginx is neither in PATH nor in /usr/sbin; install it (Debian, Ubuntu: apt-get install "
    "nginx-light libnginx-mod-http-lua; Fedora: dnf install nginx; macOS: brew install nginx)"
)


@dataclass(frozen=True, slots=True)
class Front:
    """nginx, ready to be started.

    Attributes:
        command: How it is started.
        listener: The gateway's own, where only nginx can connect.
        address: Host and port for clients.
        lane_secret: What nginx sends with questions about credentials.
        way: Which way requests take, in a few words.
        program: nginx.
        server_name: Host name of the site; "": any.
        lane: Which requests go straight to the upstream.
    """

    command: FrontCommand
    listener: socket.socket
    address: tuple[str, int]
    lane_secret: str = field(repr=False)
    way: str = ""
    program: str = ""
    server_name: str = ""
    lane: LaneKind = "auto"


def prepare_nginx(
    settings: Settings, stack: contextlib.ExitStack, *, server_name: str = "", lane: LaneKind = "auto"
) -> Front:
    """Write nginx's configuration to a folder that nobody else may enter, and have nginx check it.

    Args:
        settings: The settings; `[serve] bind`, `tls_cert` and `tls_key` are nginx's.
        stack: Removes the folder when it is closed.
        server_name: Host name of the site; "": any.
        lane: Which requests go straight to the upstream; see `nginx_config`.

    Raises:
        ConfigError: The settings need clients' own connections, or nginx refuses the configuration.
        AddressTaken: Another program listens on the address.
        BackendUnavailable: nginx is missing.
    """
    _refuse_what_needs_connections(settings)
    program = find_program("nginx")
    if program is None:
        raise BackendUnavailable(_INSTALL)
    serve = settings.serve
    certificate = _certificate(serve.tls_cert, serve.tls_key)
    host, port = _free_address(serve.bind)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compat-auth-", ignore_cleanup_errors=True)))
    listener = stack.enter_context(bind_private(folder / "gateway.sock"))
    secret = settings.forward_auth.secret.get_secret_value() or secrets.token_hex(32)
    front = Front(
        FrontCommand(
            (program, "-e", "stderr", "-c", str(folder / _CONFIG), "-g", "daemon off;"), folder, folder / "nginx.pid"
        ),
        listener, (host, port), secret, "", program, server_name, lane,
    )  # fmt: skip
    text = _text(front, settings, certificate)
    config = folder / _CONFIG
    _write(config, text)
    require_valid("nginx", config, program)
    # The check has made it, too, and it is to say that nginx accepts connections.
    front.command.pid_file.unlink(missing_ok=True)
    front.command.renewed(certificate)
    way = "most requests go straight to the upstream" if "access_by_lua" in text else "every request passes the gateway"
    return replace(front, way=way)


def renew_nginx(front: Front, settings: Settings) -> Callable[[], None]:
    """Have nginx check its configuration for other settings, and return what makes it use them.

    Args:
        front: As it was prepared; listener, address and secret stay.
        settings: The other settings.

    Raises:
        ConfigError: The settings need clients' own connections, or nginx refuses the configuration.
    """
    _refuse_what_needs_connections(settings)
    certificate = _certificate(settings.serve.tls_cert, settings.serve.tls_key)
    text = _text(front, settings, certificate)
    folder = front.command.folder
    config, candidate = folder / _CONFIG, folder / f"{_CONFIG}.{os.getpid()}"
    try:
        _write(candidate, text)
        require_valid("nginx", candidate, front.program)
    finally:
        candidate.unlink(missing_ok=True)

    def use() -> None:
        if config.read_text(encoding="utf-8") == text:
            return
        _write(candidate, text)
        candidate.replace(config)
        front.command.renewed(certificate)

    return use


def _refuse_what_needs_connections(settings: Settings) -> None:
    """Raise where a backend looks at the client's own connection, which ends at nginx.

    Raises:
        ConfigError: One does.
    """
    proxy = "the address of the proxy that names the caller"
    if any("remote_user" in name for name in settings.auth_backends):
        name, what = "[remote_user]", proxy
    elif settings.airflow2_modules.remote_user_header:
        name, what = "[airflow2_modules] remote_user_header", proxy
    elif any(table.header for table in settings.oidc.issuers):
        name, what = "[[oidc.issuers]] header", proxy
    elif can_see_certificates(settings):
        name, what = "[client_certificate]", "the certificate that a client shows"
    elif settings.forward_auth.bind and settings.serve.tls_cert:
        raise ConfigError(
            "--front nginx: [forward_auth] bind would speak plain HTTP, and TLS without --front; remove it, since this nginx "
            "does not need it"
        )
    else:
        return
    raise ConfigError(
        f"--front nginx: {name} needs {what}, and nginx would stand in between; omit --front, and put your own proxy in "
        "front with compat-auth proxy-config"
    )


def _certificate(cert: str, key: str) -> tuple[Path, ...]:
    if not cert and not key:
        return ()
    if not cert or not key:
        missing = "tls_key" if cert else "tls_cert"
        raise ConfigError(f"serve.{missing}: missing; tls_cert and tls_key belong together")
    # Links stay links: what renews a certificate may point them to other files.
    files = (Path(os.path.abspath(cert)), Path(os.path.abspath(key)))  # noqa: PTH100
    require_usable(*files)
    return files


def _text(front: Front, settings: Settings, certificate: tuple[Path, ...]) -> str:
    """Return nginx's configuration."""
    folder, (host, port) = front.command.folder, front.address
    # By their own names in the folder: nginx's configuration cannot hold every path.
    links = tuple(_link(path, folder, kind) for path, kind in zip(certificate, ("cert", "key"), strict=False))
    options = Options(
        listen=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        server_name=front.server_name,
        tls_cert=str(links[0]) if links else "",
        tls_key=str(links[1]) if links else "",
        # Without it, workers of a nginx that root starts become an account that may not enter the folder.
        user="root" if os.geteuid() == 0 else "",
        folder=str(folder),
    )
    private = Private(str(folder / "gateway.sock"), front.lane_secret, tuple(settings.trusted_proxies))
    return nginx_config(Site.read(settings, options, private), front.lane, modules_folder())


def _write(config: Path, text: str) -> None:
    config.touch(mode=0o600, exist_ok=False)
    config.write_text(text, encoding="utf-8")


def _link(path: Path, folder: Path, kind: str) -> Path:
    """Return a link to a file; the same for the same file, and another one for another."""
    link = folder / f"{kind}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.pem"
    if not link.is_symlink():
        link.symlink_to(path)
    return link


def _free_address(bind: str) -> tuple[str, int]:
    """Return host and port, a free one for 0.

    Raises:
        ConfigError, AddressTaken: See `bind_socket`.
    """
    with bind_socket(bind) as probe:
        return probe.getsockname()[0], probe.getsockname()[1]

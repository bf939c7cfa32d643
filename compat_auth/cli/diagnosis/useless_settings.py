"""Finds settings that are each valid but useless together, without a connection to the upstream."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from compat_auth.backend import Backend
from compat_auth.config import Settings
from compat_auth.config.upstream_url import read_address
from compat_auth.errors import AddressTaken, ConfigError
from compat_auth.gateway.server.server import bind_socket
from compat_auth.gateway.server.tls import ServerTls
from compat_auth.net.http_call import HttpPeer, NoAnswer
from compat_auth.tokens.strategies import brings_no_password

# These directories know users, but not their roles.
_WITHOUT_ROLES = frozenset({"htpasswd", "pam", "kinit", "upstream"})
_WAIT_S = 2.0


def passwordless_backends(settings: Settings, backends: tuple[Backend, ...]) -> Iterator[str]:
    """Yield an error for each backend without passwords, if the strategy needs them."""
    if settings.token.strategy != "exchange":
        return
    for backend in backends:
        if brings_no_password(backend):
            yield (
                f"auth_backends: {backend.name} brings no password, and token.strategy exchange needs one, so that every login "
                "with it gets 403; set token.strategy to shared_secret or key_pair, or remove it from auth_backends"
            )


def unused_task_rules(settings: Settings) -> str:
    """Return why no task could use its rule, or ""."""
    if not settings.airflow_task.rules or any(
        name.rpartition(".")[2] == "airflow_task" for name in settings.auth_backends
    ):
        return ""
    return "airflow_task.rules: the backend that they are for is not in auth_backends; add airflow_task there, or remove them"


def missing_roles(settings: Settings) -> str:
    """Return why no user would have a role in Airflow's SimpleAuthManager, or ""."""
    if settings.upstream.profile != "airflow-simple" or settings.token.strategy == "exchange":
        return ""
    requested = {*settings.basic_auth.directories, *settings.lookup.directories}
    has_database = bool(settings.airflow_db.url.get_secret_value())
    has_groups = "ldap" in requested and settings.ldap.roles
    others = requested - _WITHOUT_ROLES - {"ldap"}
    if settings.upstream.roles or has_database or has_groups or others or set(settings.auth_backends) & {"oidc"}:
        return ""
    return (
        "upstream.roles: empty, and no directory knows roles, so nobody has one in Airflow, which rejects every token; "
        'set them, such as roles = { alice = "ADMIN", "*" = "VIEWER" }'
    )


def own_address(settings: Settings) -> str:
    """Return why the upstream is the gateway itself, or ""."""
    url = read_address(settings.upstream.url)
    port = url.port or (443 if url.scheme == "https" else 80)
    for setting, bind in (("serve.bind", settings.serve.bind), ("forward_auth.bind", settings.forward_auth.bind)):
        host, _, own_port = bind.rpartition(":")
        if own_port != str(port) or not _addresses(url.hostname or "") & _served(
            host.strip("[]") or "127.0.0.1", url.hostname
        ):
            continue
        return (
            f"upstream.url: {settings.upstream.url} is {setting} itself, so that the gateway would call itself; write "
            f"Airflow's address, or give {setting} another port"
        )
    return ""


def listening(settings: Settings) -> str:
    """Return the state of the address that `serve` listens on.

    Raises:
        AddressTaken: A program other than our gateway uses it.
        ConfigError: It is malformed, or this machine does not have it.
    """
    bind = settings.serve.bind
    tls = ServerTls.from_settings(settings)
    try:
        bind_socket(bind).close()
    except AddressTaken:
        if is_serving(settings):
            return f"{bind}, where our gateway already runs"
        raise
    except ConfigError as error:
        # The service may have permissions that the operator who runs this check does not have.
        if "Permission denied" not in str(error):
            raise
    return bind if tls is None else f"{bind}, with TLS"


def is_serving(settings: Settings) -> bool:
    """Return whether our gateway answers at the address that `serve` listens on."""
    host, _, port = settings.serve.bind.rpartition(":")
    host = host.strip("[]")
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
    if not port.isdigit():
        return False
    tls = ssl.create_default_context() if settings.serve.tls_cert else None
    if tls is not None:
        # Whether it is ours is asked, and nothing is sent there; the name in its certificate is not this address.
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    peer = HttpPeer(host, int(port), tls, _WAIT_S, _WAIT_S, max_body_bytes=4096)
    try:
        return peer.ask("GET", f"{settings.prefix}live", None, {}).status == 200
    except NoAnswer:
        return False


def store_folder(settings: Settings) -> str:
    """Return why the file of the database cannot be created or written, or ""."""
    try:
        url = make_url(settings.database_url.get_secret_value())
    except (ArgumentError, ValueError):
        return ""  # opening it gives a better message
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return ""
    file = Path(url.database)
    if file.is_dir():
        return f"database_url: {file} is a folder; set it to a file in it, such as sqlite:///{file.absolute()}/compat_auth.db"
    if not file.parent.is_dir():
        return f"database_url: the folder {file.parent} does not exist; create it: mkdir -p {file.parent}"
    for path in (file.parent, file):
        if path.exists() and not os.access(path, os.W_OK):
            return f"database_url: {path} cannot be written by this user; chown or chmod it, or run as its owner"
    return ""


def wide_networks(settings: Settings) -> Iterator[str]:
    """Yield an error for each entry of the lists of proxies that covers more addresses than it seems to."""
    named = [
        ("trusted_proxies", settings.trusted_proxies),
        ("remote_user.proxies", settings.remote_user.proxies),
        ("client_certificate.proxies", settings.client_certificate.proxies),
    ]
    for where, text in ((where, text) for where, networks in named for text in networks):
        network = ipaddress.ip_network(text, strict=False)
        address = text.partition("/")[0]
        if str(network.network_address) != str(ipaddress.ip_address(address)):
            yield (
                f"{where}: {text} is an address within {network}, and all of {network} would be trusted; write "
                f"{address}/{network.max_prefixlen} for that one proxy, or {network}"
            )


def _addresses(host: str) -> set[str]:
    with suppress(OSError):
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    return set()


def _served(host: str, requested: str | None) -> set[str]:
    """Return the addresses that a listener serves and that may include the requested one."""
    if host not in ("0.0.0.0", "::"):  # noqa: S104  # compared, not bound
        return _addresses(host)
    return {address for address in _addresses(requested or "") if _is_of_this_machine(address)}


def _is_of_this_machine(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((address, 0))
    except OSError:
        return False
    return True

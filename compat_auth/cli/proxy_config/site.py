"""The parts of a site that a front proxy has to know, from its settings and the options of the command."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from compat_auth.cli.proxy_config.lane_plan import Address, LanePlan, plan_lane, why_no_lane
from compat_auth.composition.rules import identity_headers
from compat_auth.config import Settings
from compat_auth.config.upstream_url import read_address
from compat_auth.errors import ConfigError
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.headers import api_key_name
from compat_auth.http.root_path import RootPath

_SERVER_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\Z")
# A configuration file has its own quotes, blanks and variables.
_FILE = re.compile(r"[A-Za-z0-9_./+@,=-]+\Z")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command.

    Attributes:
        listen: Address for clients; "": port 443 with a certificate, else 80.
        server_name: Host name of the site; "": any.
        gateways: Addresses of the gateway; none: `[serve] bind`.
        upstreams: Addresses of the upstream; none: that of `[upstream] url`.
        base_path: Path of the site's URL; None: the gateway's.
        tls_cert: PEM file.
        tls_key: PEM file.
        user: Account of the proxy's workers; "": the proxy's own.
        folder: For the proxy's process id, logs and temporary files; "": the proxy's own.
    """

    listen: str = ""
    server_name: str = ""
    gateways: Sequence[str] = ()
    upstreams: Sequence[str] = ()
    base_path: str | None = None
    tls_cert: str = ""
    tls_key: str = ""
    user: str = ""
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Private:
    """The way from a front proxy that `serve` starts to its gateway.

    Attributes:
        socket: Path of the Unix socket on which the gateway listens.
        secret: To send with questions about credentials.
        behind: Networks of other proxies in front of it, from `trusted_proxies`; the gateway decides what it believes of their headers.
    """

    socket: str
    secret: str = field(repr=False)
    behind: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Site:
    """The parts of a site that a front proxy has to know.

    Attributes:
        listen: Address for clients; an empty host: every address.
        server_name: Host name of the site; "": any.
        gateways: Addresses of the gateway.
        upstreams: Addresses of the upstream.
        prefix: Path of the gateway's own pages, with both slashes.
        root: Path of the site's URL; "": none.
        tls_cert: PEM file; "": no TLS.
        tls_key: PEM file.
        user: See `Options`.
        folder: See `Options`.
        believed: Names of headers that backends of the site read, in lower case.
        api_key: Header for a personal token, in lower case; "": none.
        idle_s: Seconds for which a connection to the upstream is kept.
        lane: The requests that may go straight to the upstream; None: none may.
        no_lane: Why none may.
        private: See `Private`; None: the proxy is started by others.
    """

    listen: Address
    server_name: str
    gateways: tuple[Address, ...]
    upstreams: tuple[Address, ...]
    prefix: str
    root: str
    tls_cert: str
    tls_key: str
    user: str
    folder: str
    believed: frozenset[str]
    api_key: str
    idle_s: float
    lane: LanePlan | None
    no_lane: str
    private: Private | None = None

    @property
    def health(self) -> str:
        """Path at which the proxy asks a gateway whether it may send requests there.

        A gateway that stops says so at `ready`, and the others get the requests. A single one gets every request, also
        while the upstream is down: its answers say what is wrong.
        """
        return f"{self.prefix}{'ready' if len(self.gateways) > 1 else 'live'}"

    @property
    def scheme(self) -> str:
        """The scheme of the site's URL."""
        return "https" if self.tls_cert else "http"

    @classmethod
    def read(cls, settings: Settings, options: Options, private: Private | None = None) -> Site:
        """Return the site.

        Args:
            settings: The settings.
            options: See `Options`.
            private: See `Private`.

        Raises:
            ConfigError: No safe configuration can be written for it; says what to change.
        """
        _require_plain(options)
        listen = Address.parse(options.listen or (":443" if options.tls_cert else ":80"), "--listen")
        gateways = _gateways(settings, options.gateways) if private is None else (Address.of_socket(private.socket),)
        if listen.port in [gateway.port for gateway in gateways if gateway.is_loopback] and not options.gateways:
            raise ConfigError(f"--listen: port {listen.port} is the gateway's own, [serve] bind; choose another")
        url = read_address(settings.upstream.url)
        upstreams = tuple(Address.parse(text, "--upstream") for text in options.upstreams)
        if not upstreams and url.scheme == "http":
            host = f"[{url.hostname}]" if ":" in str(url.hostname) else str(url.hostname)
            upstreams = (Address.parse(f"{host}:{url.port or 80}", "upstream.url"),)
        root = _root(settings, options.base_path)
        no_lane = why_no_lane(settings, root, gateways, has_upstreams=bool(upstreams))
        return cls(
            listen=listen,
            server_name=options.server_name,
            gateways=gateways,
            upstreams=upstreams,
            prefix=settings.prefix,
            root=root,
            tls_cert=options.tls_cert,
            tls_key=options.tls_key,
            user=options.user,
            folder=options.folder,
            believed=frozenset(name.decode("ascii") for name in identity_headers(settings)),
            api_key=api_key_name(settings.personal_tokens.header).decode("ascii"),
            idle_s=settings.upstream.keepalive_s,
            lane=None if no_lane else plan_lane(settings, root, gateways, "" if private is None else private.secret),
            no_lane=no_lane,
            private=private,
        )


def _require_plain(options: Options) -> None:
    if bool(options.tls_cert) != bool(options.tls_key):
        raise ConfigError("--tls-cert, --tls-key: one without the other; pass both, or none for plain HTTP")
    if options.server_name and not _SERVER_NAME.match(options.server_name):
        raise ConfigError(f"--server-name: {options.server_name!r} is not a host name; pass one, without a port")
    if options.user and not re.match(r"[a-z_][a-z0-9_-]*\Z", options.user):
        raise ConfigError(f"--user: {options.user!r} is not the name of an account; pass one")
    for name, value in (("tls-cert", options.tls_cert), ("tls-key", options.tls_key), ("folder", options.folder)):
        if value and (not _FILE.match(value) or not value.startswith("/")):
            raise ConfigError(f"--{name}: {value!r}: needs a whole path of letters, digits and ._+@,=-; move the file")


def _gateways(settings: Settings, named: Sequence[str]) -> tuple[Address, ...]:
    if settings.serve.tls_cert and not named:
        raise ConfigError(
            "serve.tls_cert: the proxy speaks plain HTTP to the gateway; remove tls_cert and tls_key there, and give the "
            "certificate to the proxy with --tls-cert and --tls-key"
        )
    where = "--gateway" if named else "serve.bind"
    gateways = tuple(Address.parse(text, where).reachable for text in named or [settings.serve.bind])
    example = 'name the proxy, such as trusted_proxies = ["127.0.0.1/32"]'
    if not settings.trusted_proxies:
        raise ConfigError(f"trusted_proxies: empty, so the gateway would take the proxy for every client; {example}")
    own = ("127.0.0.1", "::1")
    if all(gateway.is_loopback for gateway in gateways) and not any(
        map(TrustedProxies(settings.trusted_proxies).covers, own)
    ):
        raise ConfigError(f"trusted_proxies: does not have the proxy, which asks from this machine; {example}")
    return gateways


def _root(settings: Settings, wanted: str | None) -> str:
    root = RootPath.from_settings(settings).path
    if wanted is not None and wanted.rstrip("/") != root:
        raise ConfigError(
            f"--base-path: {wanted!r}, and the gateway's is {root or '/'!r}; set [serve] root_path to the path of the "
            "site's URL, or omit the option"
        )
    return root

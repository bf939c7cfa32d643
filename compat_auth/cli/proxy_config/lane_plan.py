"""The requests that may go straight to the upstream, once the gateway has said so about their credential."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from compat_auth.api.oauth.token_endpoint import PATHS
from compat_auth.composition.rules import HEALTH, translates_v1
from compat_auth.config import Settings
from compat_auth.errors import ConfigError
from compat_auth.gateway.forward_auth.access import access_of
from compat_auth.gateway.forward_auth.lane import LANE_PAGE
from compat_auth.http.paths import MAX_PATH_BYTES, PLAIN_PATH, Prefixes

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]*):(?P<port>[0-9]{1,5})\Z")
_ANY = frozenset(("0.0.0.0", "[::]", ""))  # noqa: S104  # compared, not listened on
_API = "/api/v2/"
# What no proxy's configuration takes for syntax.
_PREFIX = re.compile(r"/(?:[A-Za-z0-9_.~-]+/)*\Z")
SCHEME = r"^(?:Basic|Bearer) [A-Za-z0-9._~+/-]+=*$"
"""Regular expression (PCRE) of the Authorization values about which a front proxy asks, in upper or lower case."""
HOST = r"^(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$"
"""Regular expression (PCRE) of the Host values that can stand in a question."""
_SECRET = re.compile(r"[A-Za-z0-9_.~+/=-]*\Z")


@dataclass(frozen=True, slots=True)
class Address:
    """A host, with brackets around IPv6, and a port; or a Unix socket, "unix:/path", whose port is 0."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, where: str) -> Address:
        """Return the address that a text spells; without a host it means every address of this machine.

        Raises:
            ConfigError: It is none.
        """
        found = _ADDRESS.match(text)
        if found is None or not 0 < int(found["port"]) < 65536:
            raise ConfigError(f"{where}: {text!r} is not HOST:PORT; write one, such as 127.0.0.1:8080")
        return cls(found["host"], int(found["port"]))

    @classmethod
    def of_socket(cls, path: str) -> Address:
        """Return the address of a Unix socket."""
        return cls(f"unix:{path}", 0)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host

    @property
    def is_socket(self) -> bool:
        """Whether it is a Unix socket."""
        return not self.port

    @property
    def reachable(self) -> Address:
        """The address by which a program on this machine connects to one that listens there."""
        if self.host == "localhost":
            return Address("127.0.0.1", self.port)
        if self.host not in _ANY:
            return self
        return Address("[::1]" if self.host == "[::]" else "127.0.0.1", self.port)

    @property
    def is_number(self) -> bool:
        """Whether the host is an address, and not a name; a Unix socket has no name to look up."""
        if self.is_socket:
            return True
        try:
            ipaddress.ip_address(self.host.strip("[]"))
        except ValueError:
            return False
        return True

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost" or self.is_socket:
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class LanePlan:
    """The requests that may go straight to the upstream once the gateway has said so about their credential.

    Attributes:
        replicas: Where to ask; any of them knows the answer, or sends the request through a gateway.
        page: What to ask there.
        secret: To send along; "": none.
        target: Regular expression (PCRE) of the request targets; all others go through the gateway.
    """

    replicas: tuple[Address, ...]
    page: str
    secret: str = field(repr=False)
    target: str = field()

    @property
    def name(self) -> str:
        """The host of a replica that is a name, which Lua cannot look up; "" where all are addresses."""
        return next((address.host for address in self.replicas if not address.is_number), "")


def why_no_lane(settings: Settings, root: str, gateways: Sequence[Address], *, has_upstreams: bool) -> str:
    """Return why no request may go straight to the upstream, and what would change that; "" if some may."""
    is_ours = gateways[0].is_socket
    bind = "" if is_ours else settings.forward_auth.bind
    is_far = bool(bind) and not gateways[0].is_loopback and Address.parse(bind, "forward_auth.bind").is_loopback
    reasons = (
        (not is_ours and access_of(settings) is None, "forward-auth is off; set [forward_auth] bind to turn it on"),
        (
            is_far,
            f"[forward_auth] bind {bind} cannot be reached from another machine; bind it elsewhere, with a secret",
        ),
        (bool(settings.require), "[[require]] depends on the path"),
        (bool(settings.do_as), "[[do_as]] depends on the request"),
        (not has_upstreams, "[upstream] url is https, and the gateway checks its certificate"),
        (root != urlsplit(settings.upstream.url).path.rstrip("/"), "[upstream] url does not have the path of the site"),
        (not _open_prefixes(settings), f"[upstream] protect covers no such requests, as {_API} would"),
    )
    return next((reason for is_so, reason in reasons if is_so), "")


def _open_prefixes(settings: Settings) -> list[str]:
    if settings.upstream.profile == "generic":
        return [prefix for prefix in settings.upstream.protect if _PREFIX.match(prefix)]
    return [_API] if Prefixes(settings.upstream.protect).cover(_API.encode()) else []


def plan_lane(settings: Settings, root: str, gateways: Sequence[Address], secret: str = "") -> LanePlan:
    """Return the requests that may go straight to the upstream.

    Args:
        settings: The settings.
        root: Path of the site's URL; "": none.
        gateways: Addresses of the gateway.
        secret: To send with questions; "": that of forward-auth, if it has one.

    Raises:
        ConfigError: The secret of forward-auth cannot stand in a configuration.
    """
    section = settings.forward_auth
    secret = secret or section.secret.get_secret_value()
    if not _SECRET.match(secret):
        raise ConfigError(
            "forward_auth.secret: has characters with a meaning in configurations of proxies; "
            "make one with: openssl rand -hex 32"
        )
    bind = Address.parse(section.bind, "forward_auth.bind").reachable if section.bind else None
    return LanePlan(
        replicas=tuple(dict.fromkeys(_asked(gateway, bind, gateways) for gateway in gateways)),
        page=f"{settings.prefix}{LANE_PAGE}",
        secret=secret,
        target=_target(_open_prefixes(settings), _closed_paths(settings), root),
    )


def _asked(gateway: Address, bind: Address | None, gateways: Sequence[Address]) -> Address:
    """Return where a gateway is asked: on its own address, or on that of forward-auth, which has one port everywhere."""
    if bind is None or gateway.is_socket:
        return gateway
    # The setting names the address of one replica. The others have the same port.
    is_one_of_several = gateway.host != bind.host and any(bind.host == other.host for other in gateways)
    if not gateway.is_loopback and (bind.is_loopback or is_one_of_several):
        return Address(gateway.host, bind.port)
    return bind


def _closed_paths(settings: Settings) -> Iterable[str]:
    """Yield the prefixes of what the gateway answers itself, or forwards in a special way."""
    yield settings.prefix
    yield "/.well-known/"
    yield from PATHS
    yield from sorted(path.decode("ascii") for path in HEALTH)
    yield from sorted(path.decode("utf-8") for path in settings.upstream.logouts())
    # Airflow's own login pages, which need no decision.
    yield "/api/v2/auth/"
    if translates_v1(settings):
        yield "/api/v1/"


def _target(prefixes: Sequence[str], closed: Iterable[str], root: str) -> str:
    """Return the expression of request targets that every parser reads alike."""
    opened = "|".join(re.escape(f"{root}{prefix}") for prefix in sorted(set(prefixes)))
    # A path in another form is no plain target.
    plain = [path.rstrip("/") for path in dict.fromkeys(closed) if re.fullmatch(PLAIN_PATH, path)]
    barred = "|".join(re.escape(f"{root}{path}") for path in plain)
    query = r"(?:\?[\x21\x22\x24-\x7e]*)?"
    return rf"^(?=[^?]{{1,{MAX_PATH_BYTES}}}(?:\?|$))(?=(?:{opened}))(?!(?:{barred})(?:[/?]|$)){PLAIN_PATH}{query}$"

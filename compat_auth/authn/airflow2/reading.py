"""How the answers of a module are read, and where its `request.remote_user` comes from: `[airflow2_modules]`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from compat_auth.config import Settings
from compat_auth.errors import ConfigError
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.identity_headers import tells_identity
from compat_auth.outcome import MODULE_PEER

_HEADER = "airflow2_modules.remote_user_header"
_PROXIES = "airflow2_modules.remote_user_proxies"
# They say how long a message is and what becomes of it, or log somebody in.
_NEVER_SENT = frozenset(
    ("set-cookie", "location", "content-length", "transfer-encoding", "connection", "content-encoding")
)


@dataclass(frozen=True, slots=True)
class RemoteUser:
    """Where the WSGI variable REMOTE_USER comes from, behind our gate.

    Attributes:
        variable: That of the proxy's header; "": modules see no remote user.
        proxies: Those that log users in.
    """

    variable: str = ""
    proxies: TrustedProxies = field(default_factory=lambda: TrustedProxies(()))

    @classmethod
    def from_settings(cls, settings: Settings) -> RemoteUser:
        """Return the remote user that `[airflow2_modules]` describes.

        Raises:
            ConfigError: The header is one that every caller can send, or no proxy is named.
        """
        header, proxies = settings.airflow2_modules.remote_user_header, settings.airflow2_modules.remote_user_proxies
        if not header:
            return cls()
        if not tells_identity(header.lower().encode()):
            raise ConfigError(
                f"{_HEADER}: {header}: callers may send it; have the proxy set X-Remote-User, and write that here"
            )
        if not proxies:
            raise ConfigError(f"{_PROXIES}: empty; name the proxies that log users in and set {header}")
        return cls("HTTP_" + header.upper().replace("-", "_"), TrustedProxies(proxies))

    def put_into(self, environ: dict[str, Any]) -> None:
        """Set or remove REMOTE_USER in the environment of a module; outside of a gate it is the server's, and stays."""
        if MODULE_PEER not in environ:
            return
        environ.pop("REMOTE_USER", None)
        user = environ.get(self.variable) if self.variable else None
        if user and self.proxies.names_trusted(str(environ[MODULE_PEER])):
            environ["REMOTE_USER"] = user


@dataclass(frozen=True, slots=True)
class Reading:
    """How a module's answers are read.

    Attributes:
        accident_refuses: An exception of the module is a refusal, unless a network failed.
        user_when_unnamed: The account of a success that names no user; "": such a success is 403.
        answer_headers: More headers of a success that reach the client, in lower case.
        remote_user: Where `request.remote_user` comes from.
        is_tried: The module is tried with no credential and with wrong ones when it starts, and must refuse them.
    """

    accident_refuses: bool = False
    user_when_unnamed: str = ""
    answer_headers: frozenset[str] = frozenset()
    remote_user: RemoteUser = field(default_factory=RemoteUser)
    is_tried: bool = False

    @classmethod
    def from_settings(cls, name: str, settings: Settings) -> Reading:
        """Return how `[airflow2_modules]` describes a module, by its name in `auth_backends`.

        Raises:
            ConfigError: See `RemoteUser.from_settings`.
        """
        modules = settings.airflow2_modules
        return cls(
            name in modules.accident,
            modules.user_when_unnamed.get(name, ""),
            frozenset(header.lower() for header in modules.answer_headers) - _NEVER_SENT,
            RemoteUser.from_settings(settings),
            is_tried=True,
        )


def missing_settings(stand_ins: list[str], settings: Settings) -> list[str]:
    """Return the settings that are missing and that a module may need, for `compat-auth check`.

    Args:
        stand_ins: The names for which the module has stand-ins.
        settings: Of the process.
    """
    ends = {name.rpartition(".")[2] for name in stand_ins}
    modules, has_database = settings.airflow2_modules, bool(settings.airflow_db.url.get_secret_value())
    missing: list[str] = []
    if ends & {"Variable", "Connection", "BaseHook"} and not modules.read_as:
        missing.append("it may read Variables or Connections: set [airflow2_modules] read_as")
    if ends & {"create_session", "provide_session", "Session"} and not has_database:
        missing.append("it may read Airflow's database: set [airflow_db] url")
    if ends & {"conf", "get"} and not modules.airflow_cfg:
        missing.append(
            "it reads airflow.cfg, of which only the environment is known: set [airflow2_modules] airflow_cfg"
        )
    return missing

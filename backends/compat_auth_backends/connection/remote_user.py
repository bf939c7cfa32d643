"""The name of the caller in a header of a front proxy, which has no signature: believed from named proxies alone.

A client that can send requests from the proxy's address, or whose header the proxy forwards as it came, can have any
name. So `[remote_user] proxies` has no default, and a value that could be two names is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import ClassVar

from compat_auth.airflow2 import airflow2_contract
from compat_auth.backend import Backend, CredentialKind
from compat_auth.config import RemoteUserSettings, Settings
from compat_auth.credentials import Absent, Credential
from compat_auth.errors import ConfigError, NoSuchUser
from compat_auth.facts import answers_without_flask
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth.peer import request_peer
from compat_auth.users import UserLookup

CLIENT_AUTH = None
# Printable ASCII without a comma, by which servers join two headers; no blank at an end.
_NAME = re.compile(r"[!-+\--~](?:[ -+\--~]{0,254}[!-+\--~])?")
# What Apache httpd and others write where nobody has logged in.
_NOBODY = frozenset(("", "-", "(null)"))


class RemoteUserBackend(Backend):
    """Takes the caller's name from the configured header of the configured proxies.

    Args:
        settings: Of the backend; `proxies` must not be empty.
        lookup: Completes whom the proxy names.

    Raises:
        ConfigError: No proxy is named.
    """

    name = "remote_user"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Absent})
    needs: ClassVar[tuple[str, ...]] = ("[remote_user] proxies",)
    depends_on_credential_only: ClassVar[bool] = False
    reads_peer: ClassVar[bool] = True
    skips_silent_peers: ClassVar[bool] = True

    def __init__(self, settings: RemoteUserSettings, lookup: UserLookup) -> None:
        if not settings.proxies:
            raise ConfigError(
                "remote_user.proxies: empty, so nobody could come in; name the proxies that set "
                f'{settings.header}, such as proxies = ["10.0.0.5/32"]'
            )
        self._settings = settings
        self._lookup = lookup

    @classmethod
    def from_settings(cls, settings: Settings) -> RemoteUserBackend:
        """Return the backend of `[remote_user]`.

        Raises:
            ConfigError: No proxy is named, or one that is not in trusted_proxies.
        """
        require_trusted(settings.remote_user.proxies, "remote_user.proxies", settings)
        return cls(settings.remote_user, UserLookup.from_settings(settings))

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept whom the header of a named proxy names; skip any other request.

        Raises:
            BackendUnavailable: The directory could not be asked.
        """
        if not isinstance(credential, Absent):
            return Skip()
        peer, header = request_peer(), self._settings.header
        if not peer.is_in(self._settings.proxies) or (peer.in_forward_auth and not self._settings.forward_auth):
            return Skip()
        values = peer.values(header)
        if not values or (len(values) == 1 and values[0].strip() in _NOBODY):
            return Skip()
        if len(values) > 1:
            return Reject(f"{header}: it came {len(values)} times, so one is the client's; let the proxy overwrite it")
        (name,) = values
        if _NAME.fullmatch(name) is None:
            return Reject(f"{header}: not one plain ASCII name of at most 256 characters")
        return self._admit(name)

    def answers_without_flask(self) -> bool:
        """Return whether no directory of the look-up reads Flask's request."""
        return answers_without_flask(self._lookup)

    def probe(self) -> str:
        """Return whose word counts.

        Raises:
            ConfigError: The network is so wide that clients are in it.
        """
        return f"{self._settings.header} of {', '.join(self._settings.proxies)}"

    def _admit(self, name: str) -> Outcome:
        is_email = self._settings.email
        if is_email != ("@" in name) and is_email:
            return Reject(f"{self._settings.header}: not an e-mail address")
        email = name if is_email else ""
        try:
            identity = self._lookup.complete(Identity(name, self.name, subject=name, email=email))
        except NoSuchUser as error:
            return Reject(str(error), status=error.status, vouched=True)
        # Directories find users by their e-mail addresses, too, and a proxy may let people choose their names.
        if not is_email and identity.username.casefold() != name.casefold():
            return Reject(
                f"remote_user: {name!r} is {identity.username!r}'s e-mail address, not a user name; set email = true "
                "where the proxy sends addresses",
                status=403,
            )
        return Accept(identity)


def require_trusted(networks: Sequence[str], where: str, settings: Settings) -> None:
    """Check that each network is inside one of trusted_proxies.

    Raises:
        ConfigError: One is not.
    """
    trusted = [ipaddress.ip_network(network, strict=False) for network in settings.trusted_proxies]
    for text in networks:
        network = ipaddress.ip_network(text, strict=False)
        if not any(_is_inside(network, other) for other in trusted):
            raise ConfigError(f"{where}: {text}: not inside trusted_proxies; name the proxy there, too")


def _is_inside(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network, other: ipaddress.IPv4Network | ipaddress.IPv6Network
) -> bool:
    if isinstance(network, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return network.subnet_of(other)
    if isinstance(network, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network):
        return network.subnet_of(other)
    return False


init_app, requires_authentication = airflow2_contract("remote_user", RemoteUserBackend)

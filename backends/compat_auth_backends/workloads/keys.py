"""Where the keys of a platform are: its discovery document, a URL, a file, or the API of the cluster in which this runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from compat_auth.config import OidcIssuerSettings, WorkloadSettings
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.files import read_unwritable, refuse_writable_at
from compat_auth.openid import Endpoint, EndpointAnswer, JwksCache
from compat_auth_backends.openid.discovery import Discovery

IN_CLUSTER = "kubernetes"
# What Kubernetes mounts into each pod: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
POD_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CLUSTER_KEYS = "/openid/v1/jwks"
# Their discovery documents name keys on another host, which is believed only where it is named.
_GOOGLE, _GOOGLE_KEYS = "https://accounts.google.com", "https://www.googleapis.com/oauth2/v3/certs"
_ENTRA_V1, _ENTRA_KEYS = "https://sts.windows.net/", "https://login.microsoftonline.com/{}/discovery/keys"
_FILE_TTL = {"cache-control": "max-age=60"}
_MAX_TOKEN_CHARS = 16 * 1024


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where the keys of one issuer are, as its rules say it."""

    jwks: str = ""
    ca_file: str = ""
    token_file: str = ""


@dataclass(frozen=True, slots=True)
class _KeyFile:
    """A file with a JWKS; a change is noticed within a minute."""

    path: Path

    @property
    def url(self) -> str:
        return str(self.path)

    def get(self, headers: Mapping[str, str] | None = None) -> EndpointAnswer:
        del headers
        try:
            return EndpointAnswer(200, _FILE_TTL, read_unwritable(self.path).encode())
        except (OSError, UnicodeDecodeError) as exc:
            raise BackendUnavailable(f"{self.path}: cannot be read ({type(exc).__name__})") from None
        except ConfigError as error:
            raise BackendUnavailable(str(error)) from None


@dataclass(frozen=True, slots=True)
class _GuardedEndpoint:
    """A URL that answers only who shows a token, which is read for each question: a pod's own is replaced every hour."""

    endpoint: Endpoint
    token_file: Path

    @property
    def url(self) -> str:
        return self.endpoint.url

    def get(self, headers: Mapping[str, str] | None = None) -> EndpointAnswer:
        try:
            token = self.token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise BackendUnavailable(f"{self.token_file}: cannot be read ({type(exc).__name__})") from None
        if not token.isprintable() or not 0 < len(token) <= _MAX_TOKEN_CHARS:
            raise BackendUnavailable(f"{self.token_file}: holds no token")
        return self.endpoint.get({**(headers or {}), "Authorization": f"Bearer {token}"})


def key_place(tables: Iterable[tuple[str, WorkloadSettings]]) -> KeyPlace:
    """Return where the keys of an issuer are.

    Args:
        tables: Its rules, each with what to call it in an error.

    Raises:
        ConfigError: Two rules disagree.
    """
    found = KeyPlace()
    for where, table in tables:
        said = KeyPlace(table.jwks, table.ca_file, table.token_file)
        if said in (KeyPlace(), found):
            continue
        if found != KeyPlace():
            raise ConfigError(
                f"{where}: another jwks, ca_file or token_file than an earlier rule of {table.issuer}; say it in one rule, "
                "it holds for all of them"
            )
        found = said
    return found


def open_keys(issuer: str, place: KeyPlace, *, where: str) -> JwksCache:
    """Return the keys of an issuer; nothing is fetched yet.

    Args:
        issuer: `iss`.
        place: Where they are.
        where: What to call it in an error, such as `workloads[0]`.

    Raises:
        ConfigError: They cannot be there.
    """
    jwks, ca_file, token_file = place.jwks, place.ca_file, place.token_file
    if jwks == IN_CLUSTER:
        host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
        if not host:
            raise ConfigError(
                f"{where}.jwks: kubernetes: this is no pod ($KUBERNETES_SERVICE_HOST is not set); set jwks to the URL or a "
                f"file of the cluster's keys: kubectl get --raw {_CLUSTER_KEYS}"
            )
        port = os.environ.get("KUBERNETES_SERVICE_PORT_HTTPS", "443")
        jwks = f"https://{f'[{host}]' if ':' in host else host}:{port}{_CLUSTER_KEYS}"
        ca_file, token_file = ca_file or str(POD_FOLDER / "ca.crt"), token_file or str(POD_FOLDER / "token")
    if jwks.startswith("/"):
        if ca_file or token_file:
            raise ConfigError(f"{where}.jwks: a file needs neither ca_file nor token_file; remove them")
        refuse_writable_at(Path(jwks))
        file = _KeyFile(Path(jwks))
        return JwksCache(lambda: file)
    if token_file and not jwks.startswith("https://"):
        raise ConfigError(f"{where}.token_file: the token is shown to one https URL only; set jwks to it")
    jwks = jwks or _elsewhere(issuer)
    if jwks:
        endpoint = Endpoint.parse(jwks, where=f"{where}.jwks", ca_file=ca_file)
        source = _GuardedEndpoint(endpoint, Path(token_file)) if token_file else endpoint
        return JwksCache(lambda: source)
    # The discovery of OpenID issuers, with what it needs to know.
    discovery = Discovery(OidcIssuerSettings(issuer=issuer, ca_file=ca_file), where)
    return JwksCache(lambda: discovery.endpoint("jwks_uri"))


def _elsewhere(issuer: str) -> str:
    """Return where the keys of an issuer are whose discovery document names another host; "" for any other."""
    if issuer.startswith(_ENTRA_V1):
        return _ENTRA_KEYS.format(issuer.removeprefix(_ENTRA_V1).strip("/"))
    return _GOOGLE_KEYS if issuer == _GOOGLE else ""

"""Checks an upstream for `compat-auth check`: the connection, TLS, the login, and the version of Airflow."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime

from compat_auth.config import Settings
from compat_auth.config.upstream_url import api_path_in, read_address
from compat_auth.crypto.strict_json import parse_object
from compat_auth.errors import CompatAuthError, ConfigError, UpstreamTimeout, UpstreamUnreachable
from compat_auth.net.http_call import HttpAnswer, HttpPeer, NoAnswer
from compat_auth.net.tls import unverified_tls
from compat_auth.tokens.upstream_login import UpstreamLogin

# An operator waits for the command; a server that needs longer to return its version is useless anyway.
LONGEST_WAIT_S = 10.0
_MAX_BODY_BYTES = 262_144
_VERSION_PATH = "/api/v2/version"
_OLD_VERSION_PATH = "/api/v1/version"
_LOGIN_PATH = "/auth/token"
_PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class UpstreamProbe:
    """Sends requests to one upstream. Each request takes at most `LONGEST_WAIT_S`.

    Attributes:
        url: The configured URL, without a slash at its end.
        path: Path of the base URL, without a slash at its end.
        peer: The HTTP client.
    """

    url: str
    path: str
    peer: HttpPeer = field(repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> UpstreamProbe:
        """Return the probe of `[upstream]`.

        Raises:
            ConfigError: The URL is invalid, or the CA file cannot be read.
        """
        upstream = settings.upstream
        url = read_address(upstream.url)
        peer = replace(
            UpstreamLogin.from_settings(settings).peer,
            connect_timeout_s=min(upstream.connect_timeout_s, LONGEST_WAIT_S),
            answer_timeout_s=min(upstream.timeout_s, LONGEST_WAIT_S),
            max_body_bytes=_MAX_BODY_BYTES,
        )
        return cls(upstream.url.rstrip("/"), url.path.rstrip("/"), peer)

    def connect(self) -> None:
        """Raise unless a connection works, and over https the TLS handshake.

        Raises:
            ConfigError: The name does not exist, the certificate is not trusted, or the port speaks plain HTTP.
            UpstreamUnreachable: Nothing answers there now.
        """
        peer = self.peer
        try:
            with self._open() as plain:
                if peer.tls is None:
                    return
                with peer.tls.wrap_socket(plain, server_hostname=peer.host):
                    return
        except (socket.gaierror, UnicodeError) as exc:
            # UnicodeError: a label is empty or too long (RFC 1035 2.3.4).
            raise self._unresolved(exc) from None
        except ssl.SSLCertVerificationError as exc:
            raise ConfigError(
                f"upstream.verify: the certificate of {self.url} is not trusted ({exc.verify_message}); set upstream.verify "
                "to the PEM file of its authority, and use the certificate's host name in upstream.url"
            ) from None
        except (ssl.SSLError, ConnectionError) as exc:
            raise self._without_tls(exc) from None
        except TimeoutError:
            raise UpstreamUnreachable(
                f"upstream.url: {self.url} gives no answer within {peer.connect_timeout_s:g} s; check host, port and "
                "firewall, and start it if it does not run"
            ) from None
        except OSError as exc:
            raise self._unreachable(exc.strerror or type(exc).__name__) from None

    def ask(self, method: str, path: str, *, token: str = "", body: bytes | None = None) -> HttpAnswer:
        """Return the upstream's answer to a request below its base URL.

        Raises:
            ConfigError: The port speaks TLS, and the URL says `http`.
            UpstreamTimeout, UpstreamUnreachable: There was no complete answer.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            return self.peer.ask(method, self.path + path, body, headers)
        except NoAnswer as exc:
            if self.peer.tls is None and self._speaks_tls():
                raise self._wants_tls() from None
            if "slowly" in str(exc) or "TimeoutError" in str(exc):
                raise UpstreamTimeout(
                    f"upstream.url: {self.url} accepts a connection, but gives no answer to {method} {path} within "
                    f"{self.peer.answer_timeout_s:g} s; check that an HTTP server listens on this port, and look at its log"
                ) from None
            raise UpstreamUnreachable(
                f"upstream.url: {self.url} accepts a connection, but {method} {path} {exc}; check that an HTTP server "
                "listens on this port, and look at its log"
            ) from None

    def version(self) -> str:
        """Return the version of the upstream's Airflow 3.

        Raises:
            ConfigError: It is Airflow 2 or another program, or the path is wrong; the message says what to set.
            UpstreamTimeout, UpstreamUnreachable: There was no complete answer.
        """
        answer = self.ask("GET", _VERSION_PATH)
        version = _version_in(answer)
        if version.startswith("3."):
            return version
        if version:
            raise ConfigError(f"upstream.url: {self.url} is Airflow {version}; the gateway needs Airflow 3 behind it")
        raise self._no_airflow(answer)

    def require_login(self) -> None:
        """Raise unless the upstream has a login with passwords; this sends no real password.

        Raises:
            ConfigError: Its auth manager has no such login.
            UpstreamTimeout, UpstreamUnreachable: There was no complete answer.
        """
        status = self.ask("POST", _LOGIN_PATH, body=b"{}").status
        if status in (404, 405, 501):
            raise ConfigError(
                f"token.strategy: exchange needs POST {_LOGIN_PATH} of the upstream, which answers {status}: its auth "
                "manager accepts no passwords; set token.strategy to shared_secret or key_pair, or use another auth manager"
            )

    def clock_difference_s(self) -> float:
        """Return by how many seconds our clock is ahead of the upstream's; 0 if the upstream sends no Date.

        Raises:
            ConfigError, UpstreamTimeout, UpstreamUnreachable: See `ask`.
        """
        before = time.time()
        date = self.ask("GET", _VERSION_PATH).headers.get("date", "")
        try:
            theirs = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return 0.0
        # RFC 9110 6.6.1: whole seconds, at some time between request and answer.
        return before - theirs - 1 if before > theirs + 1 else min(0.0, time.time() - theirs)

    def _open(self) -> socket.socket:
        peer = self.peer
        return socket.create_connection((peer.host, peer.port), timeout=peer.connect_timeout_s)

    def _speaks_tls(self) -> bool:
        # We send nothing over it: this only tests for TLS.
        context = unverified_tls()
        try:
            with self._open() as plain, context.wrap_socket(plain, server_hostname=self.peer.host):
                return True
        except OSError:
            return False

    def _speaks_http(self) -> bool:
        plain = replace(self.peer, tls=None)
        try:
            plain.ask("GET", self.path + _VERSION_PATH, None, {})
        except NoAnswer:
            return False
        return True

    def _without_tls(self, exc: OSError) -> CompatAuthError:
        if isinstance(exc, ConnectionRefusedError):
            return self._unreachable("connection refused")
        if self.peer.tls is not None and self._speaks_http():
            plain = self.url.replace("https://", "http://", 1)
            return ConfigError(f"upstream.url: {self.url} speaks plain HTTP, not TLS; write {plain}")
        return UpstreamUnreachable(
            f"upstream.url: {self.url} aborts the TLS handshake ({getattr(exc, 'reason', '') or type(exc).__name__}); "
            "check that this port speaks TLS 1.2 or later"
        )

    def _wants_tls(self) -> ConfigError:
        secure = self.url.replace("http://", "https://", 1)
        return ConfigError(
            f"upstream.url: {self.url} speaks TLS, not plain HTTP; write {secure}, "
            "and set upstream.verify if its certificate is from your own authority"
        )

    def _unresolved(self, exc: socket.gaierror | UnicodeError) -> CompatAuthError:
        code, why = (exc.errno, exc.strerror) if isinstance(exc, socket.gaierror) else (None, "not a host name")
        kind = UpstreamUnreachable if code == socket.EAI_AGAIN else ConfigError
        return kind(
            f"upstream.url: the name {self.peer.host!r} cannot be resolved ({why}); correct the host, or check "
            f"that this machine's DNS knows it: getent hosts {self.peer.host}"
        )

    def _unreachable(self, why: str) -> UpstreamUnreachable:
        origin = self.url.removesuffix(self.path)
        return UpstreamUnreachable(
            f"upstream.url: {origin} does not accept connections; start it, or correct host and port ({why})"
        )

    def _no_airflow(self, answer: HttpAnswer) -> CompatAuthError:
        if path := api_path_in(read_address(self.url)):
            base = self.url.removesuffix(path)
            return ConfigError(f"upstream.url: {path} is a path inside Airflow, not part of its base URL; write {base}")
        if answer.status in (301, 302, 303, 307, 308):
            return ConfigError(
                f"upstream.url: {self.url} redirects its API to {_place(answer.headers.get('location', ''))}; write the "
                "address at which Airflow itself answers"
            )
        if answer.status == 400 and self.peer.tls is None and self._speaks_tls():
            return self._wants_tls()
        if answer.status >= 500:
            return UpstreamUnreachable(
                f"upstream.url: {self.url} answers {answer.status} to GET {_VERSION_PATH}; check that Airflow's API "
                "server runs behind it, and look at its log"
            )
        return self._another_program(answer)

    def _another_program(self, answer: HttpAnswer) -> ConfigError:
        old = _version_in(self.ask("GET", _OLD_VERSION_PATH))
        if old:
            return ConfigError(
                f"upstream.url: {self.url} is Airflow {old}, which has no /api/v2; set it to an Airflow 3 API server, or let "
                "the clients call this one directly"
            )
        if answer.status == 401 and answer.headers.get("content-type", "").startswith(_PROBLEM):
            return ConfigError(
                f"upstream.url: {self.url} asks for a login for the version, which Airflow 3 does not: it looks like compat_auth "
                "itself, or another gateway; write the address of Airflow's API server"
            )
        return ConfigError(
            f"upstream.url: {self.url} is not Airflow 3: GET {_VERSION_PATH} answers {answer.status} without a version; "
            "write the base URL of Airflow's API server, with the path of its [api] base_url if it has one, "
            'or set upstream.profile = "generic"'
        )


def _version_in(answer: HttpAnswer) -> str:
    if answer.status != 200:
        return ""
    try:
        version = parse_object(answer.body).get("version")
    except ValueError:
        return ""
    return version if isinstance(version, str) and version.isprintable() and len(version) < 64 else ""


def _place(location: str) -> str:
    """Return where a redirect leads, without the query, which may hold a secret."""
    place = location.partition("?")[0][:200]
    return place if place.isprintable() and "@" not in place and place else "elsewhere"

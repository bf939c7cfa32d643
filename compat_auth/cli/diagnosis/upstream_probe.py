"""What `compat-auth check` asks an upstream: whether it is there, what it speaks, and which Airflow it is."""

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
from compat_auth.tokens.upstream_login import UpstreamLogin

# An operator waits for the command: a server that takes longer for its version serves nobody.
LONGEST_WAIT_S = 10.0
_MAX_BODY_BYTES = 262_144
_VERSION_PATH = "/api/v2/version"
_OLD_VERSION_PATH = "/api/v1/version"
_LOGIN_PATH = "/auth/token"
_PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class UpstreamProbe:
    """Asks one upstream. Every question has an end within `LONGEST_WAIT_S`.

    Attributes:
        url: As configured, without a slash at its end.
        path: Path of the base URL, without a slash at its end.
        peer: Asks over HTTP.
    """

    url: str
    path: str
    peer: HttpPeer = field(repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> UpstreamProbe:
        """Return the probe of `[upstream]`.

        Raises:
            ConfigError: The URL is none, or the CA file cannot be read.
        """
        upstream = settings.upstream
        url = read_address(upstream.url)
        login = UpstreamLogin.from_settings(settings)
        peer = HttpPeer(
            login.host,
            login.port,
            login.tls,
            min(upstream.connect_timeout_s, LONGEST_WAIT_S),
            min(upstream.timeout_s, LONGEST_WAIT_S),
            max_body_bytes=_MAX_BODY_BYTES,
        )
        return cls(upstream.url.rstrip("/"), url.path.rstrip("/"), peer)

    def connect(self) -> None:
        """Return when a connection can be made, and over https the handshake.

        Raises:
            ConfigError: The name does not exist, the certificate is refused, or the port speaks plain HTTP.
            UpstreamUnreachable: Nobody answers there at present.
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
                f"upstream.verify: the certificate of {self.url} is refused ({exc.verify_message}); set upstream.verify "
                "to the PEM file of its authority, and name the upstream in upstream.url as its certificate does"
            ) from None
        except (ssl.SSLError, ConnectionError) as exc:
            raise self._without_tls(exc) from None
        except TimeoutError:
            raise UpstreamUnreachable(
                f"upstream.url: {self.url} gives no answer within {peer.connect_timeout_s:g} s; check host, port and "
                "firewall, and that it is started"
            ) from None
        except OSError as exc:
            raise self._unreachable(exc.strerror or type(exc).__name__) from None

    def ask(self, method: str, path: str, *, token: str = "", body: bytes | None = None) -> HttpAnswer:
        """Return what the upstream answers below its base URL.

        Raises:
            ConfigError: The port speaks TLS, and `http` was asked for.
            UpstreamTimeout, UpstreamUnreachable: There was no whole answer.
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
        """Return which Airflow 3 answers.

        Raises:
            ConfigError: It is another program, Airflow 2, or the path is wrong; says what to write.
            UpstreamTimeout, UpstreamUnreachable: There was no whole answer.
        """
        answer = self.ask("GET", _VERSION_PATH)
        version = _version_in(answer)
        if version.startswith("3."):
            return version
        if version:
            raise ConfigError(f"upstream.url: {self.url} is Airflow {version}; the gateway needs Airflow 3 behind it")
        raise self._no_airflow(answer)

    def require_login(self) -> None:
        """Return when the upstream has a login that takes passwords; nobody's password is tried.

        Raises:
            ConfigError: Its auth manager has none.
            UpstreamTimeout, UpstreamUnreachable: There was no whole answer.
        """
        status = self.ask("POST", _LOGIN_PATH, body=b"{}").status
        if status in (404, 405, 501):
            raise ConfigError(
                f"token.strategy: exchange needs POST {_LOGIN_PATH} of the upstream, which answers {status}: its auth "
                "manager takes no passwords; set token.strategy to shared_secret or key_pair, or use another auth manager"
            )

    def clock_difference_s(self) -> float:
        """Return by how many seconds our clock is ahead of the upstream's; 0 where the upstream does not say.

        Raises:
            ConfigError, UpstreamTimeout, UpstreamUnreachable: See `ask`.
        """
        before = time.time()
        date = self.ask("GET", _VERSION_PATH).headers.get("date", "")
        try:
            theirs = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return 0.0
        # RFC 9110 6.6.1: whole seconds, of some moment between question and answer.
        return before - theirs - 1 if before > theirs + 1 else min(0.0, time.time() - theirs)

    def _open(self) -> socket.socket:
        peer = self.peer
        return socket.create_connection((peer.host, peer.port), timeout=peer.connect_timeout_s)

    def _speaks_tls(self) -> bool:
        context = ssl.create_default_context()
        # Nothing is sent over it: only whether there is TLS at all is asked.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
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
            f"upstream.url: {self.url} ends the TLS handshake ({getattr(exc, 'reason', '') or type(exc).__name__}); "
            "check that this port speaks TLS 1.2 or later"
        )

    def _wants_tls(self) -> ConfigError:
        secure = self.url.replace("http://", "https://", 1)
        return ConfigError(
            f"upstream.url: {self.url} speaks TLS, not plain HTTP; write {secure}, "
            "and set upstream.verify where the authority of its certificate is your own"
        )

    def _unresolved(self, exc: socket.gaierror | UnicodeError) -> CompatAuthError:
        code, why = (exc.errno, exc.strerror) if isinstance(exc, socket.gaierror) else (None, "not a host name")
        kind = UpstreamUnreachable if code == socket.EAI_AGAIN else ConfigError
        return kind(
            f"upstream.url: the name {self.peer.host!r} cannot be resolved ({why}); correct the host, or see "
            f"that this machine's DNS knows it: getent hosts {self.peer.host}"
        )

    def _unreachable(self, why: str) -> UpstreamUnreachable:
        origin = self.url.removesuffix(self.path)
        return UpstreamUnreachable(
            f"upstream.url: {origin} does not accept connections; is it started? If so, correct host and port ({why})"
        )

    def _no_airflow(self, answer: HttpAnswer) -> CompatAuthError:
        if path := api_path_in(read_address(self.url)):
            base = self.url.removesuffix(path)
            return ConfigError(f"upstream.url: {path} is a path of Airflow's own, not of its address; write {base}")
        if answer.status in (301, 302, 303, 307, 308):
            return ConfigError(
                f"upstream.url: {self.url} redirects its API to {_place(answer.headers.get('location', ''))}; write the "
                "address at which Airflow itself answers"
            )
        if answer.status == 400 and self.peer.tls is None and self._speaks_tls():
            return self._wants_tls()
        if answer.status >= 500:
            return UpstreamUnreachable(
                f"upstream.url: {self.url} answers {answer.status} to GET {_VERSION_PATH}; is Airflow's API server "
                "started behind it? Look at its log"
            )
        return self._another_program(answer)

    def _another_program(self, answer: HttpAnswer) -> ConfigError:
        old = _version_in(self.ask("GET", _OLD_VERSION_PATH))
        if old:
            return ConfigError(
                f"upstream.url: {self.url} is Airflow {old}, which has no /api/v2; name an Airflow 3 API server, or let "
                "the clients call this one directly"
            )
        if answer.status == 401 and answer.headers.get("content-type", "").startswith(_PROBLEM):
            return ConfigError(
                f"upstream.url: {self.url} asks for a login where Airflow 3 tells its version: it looks like compat_auth "
                "itself, or another gateway; write the address of Airflow's API server"
            )
        return ConfigError(
            f"upstream.url: {self.url} is no Airflow 3: GET {_VERSION_PATH} answers {answer.status}, and no version; "
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
    """Return where a redirect leads, without what may be a secret in its query."""
    place = location.partition("?")[0][:200]
    return place if place.isprintable() and "@" not in place and place else "elsewhere"

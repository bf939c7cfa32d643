"""The upstream's own login: a password in, the upstream's token out."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from compat_auth.concurrency.clock import unix_now
from compat_auth.config import Settings
from compat_auth.config.upstream_url import read_address
from compat_auth.crypto.strict_json import parse_object
from compat_auth.errors import BackendUnavailable
from compat_auth.identity import Token
from compat_auth.net.http_call import HttpPeer, NoAnswer
from compat_auth.net.tls import unverified_tls, verified_tls
from compat_auth.tokens.jose.unverified_claims import nested_ends, read_claimed

MAX_LIST_BYTES = 8 * 1024 * 1024
MAX_ANSWER_BYTES = 65_536
# Of a token that the upstream alone judges. Keycloak's manager puts two more tokens into its own, each with all roles.
MAX_UPSTREAM_TOKEN_BYTES = 32_768
# Where the upstream's token does not say when it ends.
ASSUMED_LIFETIME_S = 300
_ABSURD_LIFETIME_S = 366 * 86_400
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z")
_CREATED = 201
_FORBIDDEN = 403
_LOGIN_PATH = "/auth/token"
NO_PASSWORDS = (
    "its auth manager takes no passwords there (AwsAuthManager takes none at all), or it is no Airflow 3; "
    "set [token] strategy to shared_secret or key_pair"
)
_LOGOUT_PATH = "/api/v2/auth/logout"
# Every user of Airflow 3 may see it, and nobody else.
_USERS_PATH = "/ui/auth/menus"
# Airflow: 401 wrong password; 400 (FAB) and 422 (simple) a pair it cannot even consider.
_REFUSALS = frozenset({400, 401, 422})
# Nothing answers POST there.
_NO_LOGIN = frozenset({404, 405})


@dataclass(frozen=True, slots=True)
class UpstreamLogin:
    """A client of `POST {upstream}/auth/token`. Any thread may call; a call has a connection of its own.

    No redirect is followed and no proxy is used: a password goes to the configured host or nowhere.
    """

    host: str
    port: int
    path: str
    tls: ssl.SSLContext | None = field(repr=False)
    connect_timeout_s: float
    timeout_s: float
    now: Callable[[], int] = unix_now

    @classmethod
    def from_settings(cls, settings: Settings) -> UpstreamLogin:
        """Return the client for `[upstream] url`.

        Raises:
            ConfigError: The URL is missing or not one, or the CA file cannot be read.
        """
        upstream = settings.upstream
        url = read_address(upstream.url)
        return cls(
            url.hostname or "",
            url.port or (443 if url.scheme == "https" else 80),
            url.path.rstrip("/") + _LOGIN_PATH,
            _tls(upstream.verify) if url.scheme == "https" else None,
            upstream.connect_timeout_s,
            upstream.timeout_s,
        )

    @property
    def peer(self) -> HttpPeer:
        """The upstream's server."""
        return HttpPeer(
            self.host, self.port, self.tls, self.connect_timeout_s, self.timeout_s, max_body_bytes=MAX_ANSWER_BYTES
        )

    def log_in(self, username: str, password: str) -> Token | None:
        """Return the upstream's token for the pair; None when the upstream refuses it.

        Raises:
            BackendUnavailable: The upstream gave no usable answer.
        """
        status, answer = self._post(json.dumps({"username": username, "password": password}).encode())
        if status in _REFUSALS or (status == _FORBIDDEN and _is_word_of_airflow(answer)):
            return None
        if status in _NO_LOGIN:
            raise self._unavailable(f"answered {status} to a login: {NO_PASSWORDS}")
        if status != _CREATED:
            raise self._unavailable(f"answered {status} to a login, where 201 or 401 was expected")
        return self._read_token(answer)

    def takes_passwords(self) -> bool:
        """Return whether the upstream has a login for passwords at all; nobody's password is tried.

        Raises:
            BackendUnavailable: The upstream gave no usable answer.
        """
        status, _ = self._post(b"{}")
        return status not in _NO_LOGIN

    def log_out(self, token: str) -> None:
        """Have Airflow write down that a token of its is revoked (3.2 and later do, in `revoked_token`).

        Raises:
            BackendUnavailable: Airflow gave no usable answer.
        """
        # It becomes a header: nothing but a JWT may get there, and nothing else is Airflow's.
        if len(token) > MAX_UPSTREAM_TOKEN_BYTES or not _JWT.match(token):
            return
        path = self.path.removesuffix(_LOGIN_PATH) + _LOGOUT_PATH
        status, _ = self._ask("GET", path, None, {"Authorization": f"Bearer {token}"})
        # A redirect to its login page; and what it does not take for a token need not be revoked.
        if not 200 <= status < 400 and status not in _REFUSALS and status != _FORBIDDEN:
            raise self._unavailable(f"answered {status} to a logout")

    def accepts(self, token: str) -> bool:
        """Return whether Airflow answers a request with this token.

        Raises:
            BackendUnavailable: Airflow gave no usable answer.
        """
        if len(token) > MAX_UPSTREAM_TOKEN_BYTES or not _JWT.match(token):
            return False
        status, _ = self.get(_USERS_PATH, token)
        if status >= 500:
            raise self._unavailable(f"answered {status} to a question about a token")
        return 200 <= status < 300

    def get(self, path: str, token: str) -> tuple[int, bytes]:
        """Return the status and the body of the upstream's answer to a request with a token.

        Args:
            path: Path and query, at the upstream.
            token: Our own JWT for a user of the upstream.

        Raises:
            BackendUnavailable: There was no answer, or one that is too long or too slow.
        """
        peer = replace(self.peer, max_body_bytes=MAX_LIST_BYTES)
        whole = self.path.removesuffix(_LOGIN_PATH) + path
        try:
            answer = peer.ask("GET", whole, None, {"Authorization": f"Bearer {token}"})
        except NoAnswer as exc:
            raise self._unavailable(str(exc)) from None
        return answer.status, answer.body

    def add(self, path: str, content: Mapping[str, object], token: str) -> int:
        """Have the upstream add an object in the name of whom the token speaks for; return the status of its answer.

        Args:
            path: Where, at the upstream.
            content: The object.
            token: Our JWT.

        Raises:
            BackendUnavailable: There was no answer, or one that is too long or too slow.
        """
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        status, _ = self._ask("POST", self.path.removesuffix(_LOGIN_PATH) + path, json.dumps(content).encode(), headers)
        return status

    def call(self, method: str, path: str, content: Mapping[str, object] | None, token: str) -> tuple[int, bytes]:
        """Return status and body of the upstream's answer to a request in the name of whom the token speaks for.

        Args:
            method: HTTP method.
            path: Where, at the upstream, with the query.
            content: JSON object to send; None: no body.
            token: A JWT that we signed.

        Raises:
            BackendUnavailable: There was no answer, or one that is too long or too slow.
        """
        headers = {"Authorization": f"Bearer {token}"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        body = None if content is None else json.dumps(content).encode()
        return self._ask(method, self.path.removesuffix(_LOGIN_PATH) + path, body, headers)

    def _post(self, body: bytes) -> tuple[int, bytes]:
        return self._ask("POST", self.path, body, {"Content-Type": "application/json"})

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            answer = self.peer.ask(method, path, body, headers)
        except NoAnswer as exc:
            raise self._unavailable(str(exc)) from None
        return answer.status, answer.body

    def _read_token(self, answer: bytes) -> Token:
        try:
            value = parse_object(answer).get("access_token")
        except ValueError:
            raise self._unavailable("answered a login with something other than a JSON object") from None
        # It becomes a header: nothing but a JWT may get there.
        if not isinstance(value, str) or len(value) > MAX_UPSTREAM_TOKEN_BYTES or not _JWT.match(value):
            raise self._unavailable("answered a login without an access_token that is a JWT")
        return Token(value, self._expiry(value))

    def _expiry(self, value: str) -> int:
        now = self.now()
        claimed = read_claimed(value)
        # The token is the upstream's to judge; only how long we keep it follows from this.
        ends = (claimed.expires if claimed is not None else None, *nested_ends(value))
        return min(_believable(end, now) for end in ends)

    def _unavailable(self, what: str) -> BackendUnavailable:
        return BackendUnavailable(f"upstream {self.host}:{self.port}{self.path}: {what}; see [upstream] url")


def _believable(end: int | None, now: int) -> int:
    return end if end is not None and now < end <= now + _ABSURD_LIFETIME_S else now + ASSUMED_LIFETIME_S


def _is_word_of_airflow(answer: bytes) -> bool:
    """Return whether an answer is the upstream's own: a firewall in front of it says 403 in HTML."""
    try:
        return isinstance(parse_object(answer).get("detail"), str)
    except ValueError:
        return False


def _tls(verify: bool | str) -> ssl.SSLContext:
    return unverified_tls() if verify is False else verified_tls("" if verify is True else verify, "[upstream] verify")

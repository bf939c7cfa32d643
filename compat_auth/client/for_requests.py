"""Authentication for the library requests: `requests.get(url, auth=RequestsAuth(…))`."""

from __future__ import annotations

import functools
from typing import Any, cast

from compat_auth.client.credential import Credential
from compat_auth.client.errors import LoginUnavailable
from compat_auth.client.login import LoginAnswer, LoginRequest
from compat_auth.client.origin import Origin, make_origin
from compat_auth.client.token_source import LOGIN_TIMEOUT_S, TokenSource
from compat_auth.errors import ConfigError

try:
    import requests
    from requests.auth import AuthBase
    from urllib3.util import parse_url
except ModuleNotFoundError as exc:
    raise ConfigError(
        "requests is not installed; install compat_auth with its extra 'client' (README: Install)"
    ) from exc

__all__ = ["RequestsAuth"]


class RequestsAuth(AuthBase):
    """Sends a valid token with every request to one server, and with none to any other.

    One object serves all threads and sessions of a program. A request that gets a 401 is sent once more with a new
    token, if its body can be sent again: not one from a generator.

    Args:
        url: The server, such as `https://airflow.example.com`.
        credential: The credential for logins.
        session: Session for logins, such as one with your certificate authority or proxy; by default a new one each
            time.
        allow_http: Allow credential and token to travel to another machine in clear text.

    Raises:
        UnsafeAddress: The URL does not name a single server, or is http to another machine.
    """

    def __init__(
        self, url: str, credential: Credential, *, session: requests.Session | None = None, allow_http: bool = False
    ) -> None:
        send = send_once if session is None else functools.partial(_post, session)
        self._token_source = TokenSource.at(url, credential, send, allow_http=allow_http)

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token to a request for our server; any other request stays unchanged."""
        if _origin(r.url) == self._token_source.origin:
            token = self._token_source.obtain()
            r.headers["Authorization"] = f"Bearer {token}"
            r.hooks["response"].append(functools.partial(self._after, used=token))
        return r

    def _after(self, answer: requests.Response, used: str, **options: Any) -> requests.Response:
        request = answer.request
        if (
            answer.status_code != 401
            # requests runs its hooks after a redirect too, which may lead to another server.
            or _origin(request.url) != self._token_source.origin
            or request.headers.get("Authorization") != f"Bearer {used}"
            or not _can_be_sent_again(request)
        ):
            return answer
        token = self._token_source.renew(used)
        if token is None:
            return answer
        again = request.copy()
        again.headers["Authorization"] = f"Bearer {token}"
        if _position(again) is not None:
            requests.utils.rewind_body(again)
        # Read the body, so that the connection can be used again.
        _ = answer.content
        answer.close()
        second: requests.Response = answer.connection.send(again, **options)
        second.history.append(answer)
        second.request = again
        return second


def send_once(request: LoginRequest) -> LoginAnswer:
    """Send a login request in a new session, to exactly this address.

    Raises:
        LoginUnavailable: No answer came.
    """
    with requests.Session() as session:
        # Plain http stays on this machine, so that no proxy of the environment reads it.
        session.trust_env = request.url.startswith("https:")
        return _post(session, request)


def _post(session: requests.Session, request: LoginRequest) -> LoginAnswer:
    try:
        answer = session.request(
            request.method,
            request.url,
            data=request.body or None,
            headers=dict(request.headers),
            # Without an `auth`, requests would replace our credential with the password of a .netrc.
            auth=_as_it_is,
            allow_redirects=False,
            timeout=LOGIN_TIMEOUT_S,
        )
    except requests.RequestException as exc:
        # Not chained: the error of requests holds the whole request, including the credential.
        raise LoginUnavailable(f"{request.url}: no answer ({type(exc).__name__})") from None
    return LoginAnswer.of(answer.status_code, answer.headers, answer.content)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _origin(url: str | None) -> Origin:
    # As requests itself parses a URL.
    parsed = parse_url(url or "")
    return make_origin(parsed.scheme or "", parsed.host or "", parsed.port)


def _can_be_sent_again(request: requests.PreparedRequest) -> bool:
    # Wider than its annotation: any object that was passed as `data`, such as a generator.
    body = cast("object", request.body)
    return body is None or isinstance(body, (bytes, str)) or _position(request) is not None


def _position(request: requests.PreparedRequest) -> int | None:
    # The file's position when it became the body, to which requests itself rewinds for a redirect.
    position = getattr(request, "_body_position", None)
    return position if isinstance(position, int) else None

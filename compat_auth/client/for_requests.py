"""The token for the library requests: `requests.get(url, auth=RequestsAuth(…))`."""

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
    raise ConfigError("requests is not installed; run: pip install 'compat_auth[client]'") from exc

__all__ = ["RequestsAuth"]


class RequestsAuth(AuthBase):
    """Sends a token that is good for a while with every request to one server, and nothing to any other.

    One object serves all threads and sessions of a program. A request that is answered with 401 is sent once more with
    a new token, if its body can be sent again: not where it comes from a generator.

    Args:
        url: The server, such as `https://airflow.example.com`.
        credential: What to log in with.
        session: Used for logins, for a certificate authority or a proxy of one's own; by default a new one each time.
        allow_http: Let the credential and the token travel in clear text to another machine.

    Raises:
        UnsafeAddress: The URL is not one of a single server, or is http to another machine.
    """

    def __init__(
        self, url: str, credential: Credential, *, session: requests.Session | None = None, allow_http: bool = False
    ) -> None:
        send = send_once if session is None else functools.partial(_post, session)
        self._keeper = TokenSource.at(url, credential, send, allow_http=allow_http)

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token to a request for our server; any other stays as it is."""
        if _origin(r.url) == self._keeper.origin:
            token = self._keeper.obtain()
            r.headers["Authorization"] = f"Bearer {token}"
            r.hooks["response"].append(functools.partial(self._after, used=token))
        return r

    def _after(self, answer: requests.Response, used: str, **options: Any) -> requests.Response:
        request = answer.request
        if (
            answer.status_code != 401
            # requests takes its hooks along to wherever it is redirected.
            or _origin(request.url) != self._keeper.origin
            or request.headers.get("Authorization") != f"Bearer {used}"
            or not _can_be_sent_again(request)
        ):
            return answer
        token = self._keeper.renew(used)
        if token is None:
            return answer
        again = request.copy()
        again.headers["Authorization"] = f"Bearer {token}"
        if _position(again) is not None:
            requests.utils.rewind_body(again)
        # Read to its end, so that its connection can be used again.
        _ = answer.content
        answer.close()
        second: requests.Response = answer.connection.send(again, **options)
        second.history.append(answer)
        second.request = again
        return second


def send_once(request: LoginRequest) -> LoginAnswer:
    """Send a login request in a session of its own, to exactly this address.

    Raises:
        LoginUnavailable: No answer came.
    """
    with requests.Session() as session:
        # Plain http stays on this machine: not for a proxy of the environment to read.
        session.trust_env = request.url.startswith("https:")
        return _post(session, request)


def _post(session: requests.Session, request: LoginRequest) -> LoginAnswer:
    try:
        answer = session.request(
            request.method,
            request.url,
            data=request.body or None,
            headers=dict(request.headers),
            # Without an `auth`, requests would put the password of a .netrc in the place of ours.
            auth=_as_it_is,
            allow_redirects=False,
            timeout=LOGIN_TIMEOUT_S,
        )
    except requests.RequestException as exc:
        # Not chained: the error of requests holds the whole request, credential and all.
        raise LoginUnavailable(f"{request.url}: no answer ({type(exc).__name__})") from None
    return LoginAnswer.of(answer.status_code, answer.headers, answer.content)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _origin(url: str | None) -> Origin:
    # As requests itself takes a URL apart.
    parsed = parse_url(url or "")
    return make_origin(parsed.scheme or "", parsed.host or "", parsed.port)


def _can_be_sent_again(request: requests.PreparedRequest) -> bool:
    # Wider than its annotation: whatever was given as `data`, a generator for instance.
    body = cast("object", request.body)
    return body is None or isinstance(body, (bytes, str)) or _position(request) is not None


def _position(request: requests.PreparedRequest) -> int | None:
    # Where a file was when it became the body: what requests itself rewinds by when it is redirected.
    position = getattr(request, "_body_position", None)
    return position if isinstance(position, int) else None

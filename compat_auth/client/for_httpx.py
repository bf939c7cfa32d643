"""Authentication for the library httpx: `httpx.Client(auth=HttpxAuth(…))`, and the same for `httpx.AsyncClient`."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Generator

from compat_auth.client.credential import Credential
from compat_auth.client.errors import LoginUnavailable
from compat_auth.client.login import LoginAnswer, LoginRequest
from compat_auth.client.origin import make_origin
from compat_auth.client.token_source import LOGIN_TIMEOUT_S, TokenSource
from compat_auth.errors import ConfigError

try:
    import anyio.to_thread
    import httpx
except ModuleNotFoundError as exc:
    raise ConfigError("httpx is not installed; install compat_auth with its extra 'client' (README: Install)") from exc

__all__ = ["HttpxAuth"]


class HttpxAuth(httpx.Auth):
    """Sends a valid token with every request to one server, and with none to any other.

    One object serves all threads, event loops and clients of a program. Logins use a separate client, so that neither
    your event hooks nor your redirects see a credential. A request that gets a 401 is sent once more with a new token,
    if its body can be sent again: not a streamed one.

    Args:
        url: The server, such as `https://airflow.example.com`.
        credential: The credential for logins.
        client: Client for logins, such as one with your certificate authority or proxy; by default a new one each time.
        allow_http: Allow credential and token to travel to another machine in clear text.

    Raises:
        UnsafeAddress: The URL does not name a single server, or is http to another machine.
    """

    def __init__(
        self, url: str, credential: Credential, *, client: httpx.Client | None = None, allow_http: bool = False
    ) -> None:
        send = _send_once if client is None else functools.partial(_post, client)
        self._token_source = TokenSource.at(url, credential, send, allow_http=allow_http)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Yield the request with a token, and once more after a 401."""
        if not self._is_ours(request):
            yield request
            return
        token = self._token_source.obtain()
        answer = yield _with(request, token)
        if self._is_refused(answer, token) and _can_be_sent_again(request):
            renewed = self._token_source.renew(token)
            if renewed is not None:
                yield _with(request, renewed)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Do the same without blocking the event loop: logins run in a thread."""
        if not self._is_ours(request):
            yield request
            return
        kept = self._token_source.peek()
        token = kept if kept is not None else await anyio.to_thread.run_sync(self._token_source.obtain)
        answer = yield _with(request, token)
        if self._is_refused(answer, token) and _can_be_sent_again(request):
            renewed = await anyio.to_thread.run_sync(self._token_source.renew, token)
            if renewed is not None:
                yield _with(request, renewed)

    def _is_ours(self, request: httpx.Request) -> bool:
        return make_origin(request.url.scheme, request.url.host, request.url.port) == self._token_source.origin

    def _is_refused(self, answer: httpx.Response, token: str) -> bool:
        # httpx follows redirects before it shows the answer, which may be another server's.
        return (
            answer.status_code == 401
            and self._is_ours(answer.request)
            and answer.request.headers.get("Authorization") == f"Bearer {token}"
        )


def _send_once(request: LoginRequest) -> LoginAnswer:
    # Plain http stays on this machine, so that no proxy of the environment reads it.
    with httpx.Client(trust_env=request.url.startswith("https:")) as client:
        return _post(client, request)


def _post(client: httpx.Client, request: LoginRequest) -> LoginAnswer:
    try:
        answer = client.request(
            request.method,
            request.url,
            content=request.body or None,
            headers=dict(request.headers),
            auth=httpx.Auth(),
            follow_redirects=False,
            timeout=LOGIN_TIMEOUT_S,
        )
    except httpx.HTTPError as exc:
        # Not chained: httpx's error holds the whole request, including the credential.
        raise LoginUnavailable(f"{request.url}: no answer ({type(exc).__name__})") from None
    return LoginAnswer.of(answer.status_code, answer.headers, answer.content)


def _with(request: httpx.Request, token: str) -> httpx.Request:
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def _can_be_sent_again(request: httpx.Request) -> bool:
    return isinstance(request.stream, httpx.ByteStream)

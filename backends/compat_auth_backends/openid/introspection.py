"""Questions to an issuer about one token: introspection (RFC 7662) and UserInfo (OpenID Connect Core 5.3).

Only a definite yes or no is an answer: a provider that is down, busy or misconfigured never counts as a no.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from compat_auth.errors import BackendUnavailable
from compat_auth.openid import Endpoint, EndpointAnswer, parse_object
from compat_auth_backends.openid.discovery import Discovery

# After a failed connection: nobody else waits for the same time-out meanwhile.
PAUSE_AFTER_ERROR_S = 2.0
# What UserInfo says about the token itself (RFC 6750 section 3.1); 404 or 405 would be about our configuration.
_REFUSED_TOKEN = frozenset({400, 401, 403})


class RemoteChecks:
    """Asks one issuer. Any thread may call; each method returns the claims, or the reason for a definite no.

    Args:
        discovery: Says where to ask.
        authorization: Authorization value of our own client, for introspection.
        now: Clock, in seconds, that never goes back.
    """

    def __init__(self, discovery: Discovery, authorization: str, *, now: Callable[[], float] = time.monotonic) -> None:
        self._discovery = discovery
        self._authorization = authorization
        self._now = now
        self._paused_until = float("-inf")

    def introspect(self, token: str) -> Mapping[str, Any] | str:
        """Return the issuer's answer about a token, or why it refuses it.

        Raises:
            BackendUnavailable: No definite answer.
        """
        endpoint = self._discovery.endpoint("introspection_endpoint")
        form = {"token": token, "token_type_hint": "access_token"}
        answer = self._ask(endpoint, lambda: endpoint.post_form(form, {"Authorization": self._authorization}))
        # RFC 7662 2.2: a token that is not good is still a 200. 401 and 403 are about our own client.
        if answer.status == 400:
            return "introspection: refused as malformed"
        told = _read(endpoint, answer)
        if told.get("active") is not True:
            return "introspection: not active"
        return told

    def ask_userinfo(self, token: str) -> Mapping[str, Any] | str:
        """Return the answer of UserInfo about the bearer of a token, or why it refuses it.

        Raises:
            BackendUnavailable: No definite answer.
        """
        endpoint = self._discovery.endpoint("userinfo_endpoint")
        answer = self._ask(endpoint, lambda: endpoint.get({"Authorization": f"Bearer {token}"}))
        if answer.status in _REFUSED_TOKEN:
            return f"UserInfo: refused with {answer.status}"
        told = _read(endpoint, answer)
        if not isinstance(told.get("sub"), str):
            raise BackendUnavailable(f"{endpoint.url}: tells no sub; is this the UserInfo endpoint?")
        # What UserInfo tells is about the user; only a token has an end.
        return {name: value for name, value in told.items() if name not in ("exp", "nbf", "iat")}

    def _ask(self, endpoint: Endpoint, ask: Callable[[], EndpointAnswer]) -> EndpointAnswer:
        if self._now() < self._paused_until:
            raise BackendUnavailable(f"{endpoint.url}: could not be asked a moment ago")
        try:
            return ask()
        except BackendUnavailable:
            self._paused_until = self._now() + PAUSE_AFTER_ERROR_S
            raise


def _read(endpoint: Endpoint, answer: EndpointAnswer) -> Mapping[str, Any]:
    if answer.status != 200:
        raise BackendUnavailable(f"{endpoint.url}: answered {answer.status}")
    try:
        return parse_object(answer.body)
    except ValueError as exc:
        raise BackendUnavailable(f"{endpoint.url}: not JSON that has one reading: {exc}") from None

"""Whether a request shows a token of the upstream's that has been revoked."""

from __future__ import annotations

import base64
import binascii
import math

from compat_auth.errors import TokenEnded
from compat_auth.http.headers import cookie_values
from compat_auth.http.request import GateRequest
from compat_auth.peer import Peer
from compat_auth.tokens.bound import BoundTokens
from compat_auth.tokens.denylist import Denylist


class RevokedTokens:
    """Asks the denylist about requests; used on the event loop.

    Args:
        denylist: Revoked tokens; None: there are none.
        cookie: The cookie that the upstream takes for an identity; b"" where there is none.
        bound: Recognises tokens that work beside one client certificate alone; None: there are none.
    """

    def __init__(self, denylist: Denylist | None, cookie: bytes, bound: BoundTokens | None = None) -> None:
        self._denylist = denylist
        self._cookie = cookie
        self._bound = bound

    async def require_bearer(self, request: GateRequest) -> bool:
        """Raise if the Bearer of a request is revoked; return whether the upstream's cookie is.

        A token that is bound to another client certificate than the request's counts as revoked.

        Raises:
            TokenEnded: The Bearer is revoked.
            BackendUnavailable: The store could not be asked.
        """
        authorization = request.intake.authorization
        if authorization is None and not request.intake.cookies:
            return False
        authorizations = [] if authorization is None else [authorization]
        bearer, cookie = self._bound_elsewhere(authorizations, request.intake.cookies, request.peer)
        if bearer:
            raise TokenEnded("the token is bound to a client certificate that is not this request's")
        if self._denylist is None:
            return cookie
        bearer, is_revoked = await self._denied(authorizations, request.intake.cookies)
        if bearer:
            raise TokenEnded("the token is no longer valid")
        return cookie or is_revoked

    async def among(self, authorizations: list[bytes], cookies: list[bytes]) -> tuple[bool, bool]:
        """Return whether a Bearer among these values is revoked, and whether the upstream's cookie is.

        A token that is bound to a client certificate counts as revoked: no certificate is seen here.

        Raises:
            BackendUnavailable: The store could not be asked.
        """
        bound = self._bound_elsewhere(authorizations, cookies, Peer())
        denied = await self._denied(authorizations, cookies)
        return bound[0] or denied[0], bound[1] or denied[1]

    def _bound_elsewhere(self, authorizations: list[bytes], cookies: list[bytes], peer: Peer) -> tuple[bool, bool]:
        bound = self._bound
        if bound is None:
            return False, False
        bearers = [bearer for value in authorizations if (bearer := bearer_in(value)) is not None]
        values = cookie_values(cookies, self._cookie) if self._cookie and cookies else []
        return (
            any(bound.refuse(bearer, peer) for bearer in bearers),
            any(bound.refuse_value(value, peer) for value in values),
        )

    async def _denied(self, authorizations: list[bytes], cookies: list[bytes]) -> tuple[bool, bool]:
        denylist = self._denylist
        if denylist is None:
            return False, False
        bearers = [bearer for value in authorizations if (bearer := bearer_in(value)) is not None]
        values = cookie_values(cookies, self._cookie) if self._cookie and cookies else []
        if not bearers and not values:
            return False, False
        if denylist.is_stale:
            await denylist.up_to_date()
        return any(map(denylist.is_revoked, bearers)), any(map(denylist.is_revoked_value, values))

    def good_s(self, authorization: bytes) -> float:
        """Return for how many seconds an Authorization value surely shows no revoked token; never asks the store.

        0 where it shows one, or one that is bound to a certificate, since none is seen here; and where only the store could
        tell.
        """
        denylist, bound = self._denylist, self._bound
        bearer = None if denylist is None and bound is None else bearer_in(authorization)
        if bearer is None:
            return math.inf
        if bound is not None and bound.refuse(bearer, Peer()):
            return 0.0
        if denylist is None:
            return math.inf
        reliable_s = denylist.reliable_s
        return 0.0 if reliable_s <= 0 or denylist.is_revoked(bearer) else reliable_s


def bearer_in(authorization: bytes) -> str | None:
    """Return the Bearer of an Authorization value, or the JWT that is the password of HTTP Basic, as tasks may send it."""
    scheme, _, rest = authorization.strip(b" \t").partition(b" ")
    match scheme.lower():
        case b"bearer":
            # As a framework in Python strips it: of more than blanks.
            return rest.decode("latin-1").strip()
        case b"basic":
            return _jwt_in(rest.strip(b" \t"))
        case _:
            return None


def _jwt_in(pair: bytes) -> str | None:
    try:
        password = base64.b64decode(pair).partition(b":")[2]
    except binascii.Error:
        return None
    return password.decode("latin-1") if password.count(b".") == 2 else None

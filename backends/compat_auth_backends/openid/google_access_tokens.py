"""Google's opaque access tokens (`ya29.…`), which only Google can read: it is asked at its tokeninfo endpoint.

An access token names the client that asked for it, never the service that it is shown to: any service that gets one could
show it here. So a client counts only if the settings name it, and so does a service account.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from compat_auth.config import GoogleOpenIdSettings, Settings
from compat_auth.errors import BackendUnavailable, ConfigError, InvalidToken
from compat_auth.facts import client_address
from compat_auth.openid import (
    Endpoint,
    IntrospectionCache,
    IntrospectionResult,
    IntrospectionStore,
    MemoryIntrospections,
    open_introspections,
    parse_object,
)
from compat_auth.resilience import Tries, network_of, share_of
from compat_auth_backends.openid.claims import is_email_verified, verified_email

PREFIX = "ya29."
# Google's documentation: access tokens have at most 2048 bytes.
_FORM = re.compile(r"ya29\.[0-9A-Za-z_.~+/=-]{1,2043}\Z")
# The unique id of a service account, and `sub` of every account.
_NUMBER = re.compile(r"[0-9]{1,32}\Z")
_SERVICE_ACCOUNT = ".gserviceaccount.com"
_BELIEVED_S = 300
_REFUSED_S = 60
_PAUSE_AFTER_ERROR_S = 2.0
_ENTRIES = 10_000
_WRONG_PER_MINUTE = 100


@dataclass(frozen=True, slots=True)
class AccessTokenClaims:
    """The facts that Google gives about a valid access token.

    Attributes:
        subject: Google's number of the account.
        email: Its verified address; "" where the token does not show it.
        is_service: It is a service account.
        is_named: The settings name this very service account.
        hosted_domain: `hd`; None where Google does not tell, which is the rule.
        expires_at: Seconds since the epoch.
    """

    subject: str
    email: str
    is_service: bool
    is_named: bool
    hosted_domain: object
    expires_at: int


class GoogleAccessTokens:
    """Checks access tokens. Any thread may call.

    Args:
        settings: `[google_openid]`.
        endpoint: Google's tokeninfo.
        store: Where its answers are kept.
        refusals: The tokens that were revoked here.
        wrong_per_minute: Tokens from one address that Google may call wrong in a minute.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        settings: GoogleOpenIdSettings,
        endpoint: Endpoint,
        *,
        store: IntrospectionStore | None = None,
        refusals: IntrospectionStore | None = None,
        wrong_per_minute: int = _WRONG_PER_MINUTE,
        now: Callable[[], float] = time.time,
    ) -> None:
        own = settings.access_token_audience or (*settings.audience, *settings.authorized_parties)
        self._clients = frozenset(own)
        self._service_accounts = frozenset(settings.service_accounts)
        self._subjects = frozenset(settings.subjects)
        self._endpoint = endpoint
        self._answers = IntrospectionCache(
            endpoint.url, store or MemoryIntrospections(_ENTRIES), longest_s=_BELIEVED_S, now=now
        )
        self._refusals = IntrospectionCache(
            f"refused here: {endpoint.url}", refusals or MemoryIntrospections(_ENTRIES), now=now
        )
        self._guesses = Tries(wrong_per_minute, "too many wrong tokens from this address")
        self._lock = threading.Lock()
        self._paused_until = float("-inf")
        self._now = now

    @classmethod
    def from_settings(cls, settings: Settings) -> GoogleAccessTokens | None:
        """Return the checker of access tokens; None if `[google_openid] access_tokens` is off.

        Raises:
            ConfigError: Nothing says whose tokens count, or the endpoint's URL is unusable.
        """
        google = settings.google_openid
        if not google.access_tokens:
            return None
        if "" in google.access_token_audience:
            raise ConfigError("[google_openid] access_token_audience: an empty name; remove it")
        if not (google.access_token_audience or google.audience or google.service_accounts or google.subjects):
            raise ConfigError(
                "[google_openid] access_token_audience: empty, and no service_accounts either, so that no access token "
                "would count; name the OAuth clients that scripts log in with, or the service accounts"
            )
        if "?" in google.tokeninfo_url:
            raise ConfigError("[google_openid] tokeninfo_url: has a query; remove it")
        endpoint = Endpoint.parse(google.tokeninfo_url, where="[google_openid] tokeninfo_url", ca_file=google.ca_file)
        return cls(
            google,
            endpoint,
            store=open_introspections(settings, _ENTRIES),
            refusals=open_introspections(settings, _ENTRIES),
            wrong_per_minute=share_of(_WRONG_PER_MINUTE, settings.serve.workers),
        )

    def check(self, token: str) -> AccessTokenClaims:
        """Return the facts that Google gives about an access token of a client or service account that the settings name.

        Raises:
            InvalidToken: It is not right.
            TooManyRequests: The address has shown too many wrong ones.
            BackendUnavailable: Google could not be asked.
        """
        if not _FORM.match(token):
            raise InvalidToken("not an access token of Google's")
        if reason := self._refusals.why_refused(token):
            raise InvalidToken(reason)
        network = _network()
        result = self._answers.introspect(token, lambda: self._ask(token, network), caller=network)
        if result.claims is None:
            raise InvalidToken(result.reason)
        return self._read(result.claims)

    def refuse(self, token: str, until: float) -> None:
        """Refuse a token that was good until a moment (seconds since the epoch), whatever Google says of it."""
        self._refusals.revoke(token, until=until, reason="logged out here")

    def _ask(self, token: str, network: str) -> IntrospectionResult:
        if not network or self._answers.has_accepted(token):
            return self._tokeninfo(token)
        with self._guesses.one(network) as tried:
            result = self._tokeninfo(token)
            tried.failed = result.claims is None
        return result

    def _tokeninfo(self, token: str) -> IntrospectionResult:
        """Return Google's answer, which is a definite yes or no.

        Raises:
            BackendUnavailable: There was none.
        """
        with self._lock:
            if self._now() < self._paused_until:
                raise BackendUnavailable(f"{self._endpoint.url}: could not be asked a moment ago")
        # The URL in messages stays without the token.
        target = f"{self._endpoint.target}?access_token={quote(token, safe='')}"
        try:
            answer = replace(self._endpoint, target=target).get()
        except BackendUnavailable:
            with self._lock:
                self._paused_until = self._now() + _PAUSE_AFTER_ERROR_S
            raise
        now = self._now()
        if answer.status == 400:
            return IntrospectionResult(now + _REFUSED_S, None, "tokeninfo: refused")
        if answer.status != 200:
            raise BackendUnavailable(f"{self._endpoint.url}: answered {answer.status}")
        try:
            told = dict(parse_object(answer.body))
        except ValueError:
            raise BackendUnavailable(f"{self._endpoint.url}: not JSON that has one reading") from None
        ends = [end for end in (_number(told, "exp"), _in(_number(told, "expires_in"), now)) if end is not None]
        if not ends or min(ends) <= now:
            return IntrospectionResult(now + _REFUSED_S, None, "tokeninfo: expired, or without an end")
        told["exp"] = int(min(ends))
        return IntrospectionResult(min(now + _BELIEVED_S, told["exp"]), told)

    def _read(self, claims: Mapping[str, Any]) -> AccessTokenClaims:
        audience, party = claims.get("aud"), claims.get("azp", claims.get("aud"))
        if not isinstance(audience, str) or not isinstance(party, str):
            raise InvalidToken("aud: missing, or not a text")
        email = ""
        if "email" in claims and is_email_verified(claims):
            email = verified_email(claims)
        # A service account asks for its tokens itself, under its own number.
        is_itself = audience == party and _NUMBER.match(audience) is not None
        is_service = email.lower().endswith(_SERVICE_ACCOUNT) or (not email and is_itself)
        subject = claims.get("sub", audience if is_itself else None)
        if not isinstance(subject, str) or not _NUMBER.match(subject) or (is_itself and subject != audience):
            raise InvalidToken("sub: missing, or not a number of Google's")
        is_named = is_service and is_itself and (email in self._service_accounts or subject in self._subjects)
        if not is_named and not {audience, party} <= self._clients:
            raise InvalidToken("aud: asked for by an application or account that the settings do not name")
        if not email and subject not in self._subjects:
            raise InvalidToken("email: missing or not verified; ask for the scope userinfo.email, or set subjects")
        return AccessTokenClaims(subject, email, is_service, is_named, claims.get("hd"), claims["exp"])


def _number(claims: Mapping[str, Any], name: str) -> int | None:
    """Return a number that Google writes as a text, or as a number; None for anything else."""
    value = claims.get(name)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _in(seconds: int | None, now: float) -> float | None:
    return None if seconds is None else now + seconds


def _network() -> str:
    """Return the network of the caller; "" where nobody calls."""
    client = client_address()
    return network_of(client) if client else ""

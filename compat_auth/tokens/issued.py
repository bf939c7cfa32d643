"""Tokens issued to callers: issue one, recognize it when it comes back, revoke it here and at the upstream.

The store keeps a digest and the owner of each, so that logout, revocation (RFC 7009) and introspection (RFC 7662) find
all JWTs of a user or a session. `UpstreamLogout` also revokes a JWT in Airflow's own list, which Airflow 3.2 and later
have.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.concurrency.clock import unix_now
from compat_auth.credentials import Credential
from compat_auth.errors import BackendUnavailable, CompatAuthError, InvalidToken
from compat_auth.identity import Identity, Token
from compat_auth.store.tables.denylist import DenylistEntry, IssuedToken
from compat_auth.tokens.denylist import Denylist, digest_of, names_of, signed_digest
from compat_auth.tokens.jose.registered_claims import CLOCK_SKEW_S
from compat_auth.tokens.jose.unverified_claims import ClaimedToken, claimed_in, read_claimed, read_payload
from compat_auth.tokens.strategies import Kind, Strategy
from compat_auth.tokens.upstream_login import UpstreamLogin

T = TypeVar("T")
logger = logging.getLogger("compat_auth.given_tokens")

# An upstream's own token is revocable here only if it lives no longer than this.
MAX_LIFETIME_S = 366 * 86400
# The end of a revocation that nobody can name. A database stores it, also with some seconds more.
_UNENDING = 2**62
# "Issued up to now" compares whole seconds, so it would also revoke a token that is issued within the same second.
_NEXT_SECOND_S = 1.1


ReadToken = Callable[[str], Mapping[str, Any] | None]
"""Returns the claims of a JWT that the upstream accepts, or None where that cannot be known; raises InvalidToken for
one that the upstream itself would refuse, and BackendUnavailable."""


class Logout(Protocol):
    """The upstream's own list of revoked tokens."""

    def log_out(self, token: str) -> None:
        """Revoke a token at the upstream.

        Raises:
            BackendUnavailable: The upstream gave no usable answer.
        """
        ...

    def accepts(self, token: str) -> bool:
        """Return whether the upstream accepts a token.

        Raises:
            BackendUnavailable: The upstream gave no usable answer.
        """
        ...

    def revoke_issued(self, issued: IssuedToken) -> None:
        """Revoke, at the upstream, a token that was issued here and not kept, where its `jti` is enough to do so.

        Raises:
            BackendUnavailable: The upstream gave no usable answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class TokenOrigin:
    """The origin of a token that was issued here.

    Attributes:
        username: Its user.
        backends: Those that accepted the credential from which it was made; () where nobody knows.
    """

    username: str
    backends: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnownToken:
    """A JWT that the upstream accepts and that is known here.

    Attributes:
        claims: Its claims.
        username: Its user; "" where only `sub` names the user.
    """

    claims: Mapping[str, Any] = field(repr=False)
    username: str

    @property
    def subject(self) -> str:
        """Its `sub`."""
        return claimed_in(self.claims).sub


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """The tokens issued to callers. Any thread may call; every method may raise BackendUnavailable.

    Attributes:
        strategy: Makes the tokens.
        lookup: Completes identities for the strategy.
        denylist: The denylist.
        read: Reads the upstream's tokens.
        sub_is_username: Whether the upstream's `sub` is the user name.
        login: The upstream's own list of revoked tokens; None where it has none.
        is_signed: Whether a key of the upstream's has signed a token, which need not be valid; None where no such key is
            known here.
        now: Seconds since the epoch.
    """

    strategy: Strategy
    lookup: UserLookup
    denylist: Denylist
    read: ReadToken
    sub_is_username: bool
    login: Logout | None
    is_signed: Callable[[str], bool] | None
    now: Callable[[], int] = unix_now

    def issue(self, identity: Identity, credential: Credential, kind: Kind) -> Token:
        """Return a new token that can be revoked; for errors see also `Strategy.issue`."""
        complete = self.lookup.complete(identity)
        token = self.strategy.issue(complete, credential, kind)
        if self._is_revoked(token.value):
            time.sleep(_NEXT_SECOND_S)
            token = self.strategy.issue(complete, credential, kind)
        self._add(complete, token.value, token.expires_at)
        return token

    def record(self, identity: Identity, token: str) -> None:
        """Record a token that a caller gets although `issue` did not make it; an existing record stays as it is.

        Args:
            identity: Its user, with the credential that it was made from.
            token: The JWT.
        """
        claims = claimed_in(read_payload(token) or {})
        rows, name, *older = self.denylist.rows, *names_of(claims, token)
        if not rows.is_there or rows.find(name) is None or (older and self._find_issued(token) is None):
            expires_at = self.now() + MAX_LIFETIME_S if claims.expires is None else claims.expires
            self._add(self.lookup.complete(identity), token, expires_at)

    def _add(self, complete: Identity, token: str, expires_at: int) -> None:
        claims, digest = claimed_in(read_payload(token) or {}), digest_of(token)
        name, *older = names_of(claims, token)
        # Some algorithms sign one text differently each time: those tokens are one to a revocation, and two to a reader.
        if older and self.denylist.rows.is_there:
            known = self.denylist.rows.find(name)
            if known is not None and known.digest != digest:
                name = older[0]
        self.denylist.rows.add(
            IssuedToken(
                name,
                digest,
                complete.username,
                claims.sub,
                complete.credential_id,
                self.now(),
                expires_at,
                " ".join(filter(None, (complete.backend, complete.login))),
            )
        )

    def find(self, token: str) -> KnownToken | None:
        """Return the content of a JWT that is valid now; None for an invalid one and for anything that is no JWT."""
        try:
            claims = self.read(token)
        except InvalidToken:
            return None
        issued = self._find_issued(token)
        if claims is None and issued is not None and issued.expires > self.now():
            claims = read_payload(token)
        if claims is None or self._is_revoked(token):
            return None
        username = claimed_in(claims).sub if self.sub_is_username else ""
        return KnownToken(claims, issued.username if issued is not None else username)

    def origin_of(self, token: str) -> TokenOrigin | None:
        """Return who got a JWT, and by which backends; None for one that was not issued here.

        Neither signature nor end are checked: only the upstream believes the token, and it checks both.
        """
        if not self.denylist.rows.is_there:
            return None
        claims = read_claimed(token)
        if claims is None:
            return None
        # By its names alone: another spelling of the signature makes another text of the same token.
        found = (self.denylist.rows.find(name) for name in names_of(claims, token))
        issued = next((row for row in found if row is not None), None)
        return None if issued is None else TokenOrigin(issued.username, tuple((issued.backend or "").split()))

    def revoke(self, token: str) -> bool:
        """Revoke a JWT that is known here or that the upstream may accept, and return whether it was either."""
        known = self.find(token)
        claims = claimed_in(known.claims) if known is not None else read_claimed(token)
        # An upstream accepts tokens that `read` refuses, such as one without `kid`. Only a key of its own made them.
        is_signed = claims is not None and known is None and self.is_signed is not None and self.is_signed(token)
        # A token of ours that seems expired is revoked too, because the clock may be wrong.
        if claims is None or not (known is not None or is_signed or self._find_issued(token) is not None):
            return False
        self.denylist.revoke(_entry_of(claims, token))
        return known is not None or is_signed

    def revoke_upstream(self, token: str) -> bool:
        """Revoke a JWT in Airflow, even one that is not known here: Airflow knows its own.

        Where only Airflow can verify its tokens, it is asked first, and a token that it accepts is refused here, too.

        Returns:
            Whether Airflow has said that it accepts the token.
        """
        if self.login is None:
            return False
        claims = read_claimed(token) if self.is_signed is None else None
        accepted = claims is not None and not self._is_revoked(token) and self.login.accepts(token)
        if claims is not None and accepted:
            self.denylist.revoke(_entry_of(claims, token))
        self.login.log_out(token)
        return accepted

    def may_be_valid(self, token: str) -> bool:
        """Return whether a token that is unknown here may be one that the upstream accepts: nobody can say."""
        return self.login is None and self.is_signed is None and read_claimed(token) is not None

    def revoke_text(self, token: str, *, until: int | None) -> None:
        """Revoke a credential that is not a JWT of the upstream: its text is refused from now on.

        Args:
            token: As presented.
            until: Its expiry in seconds since the epoch; None where it is not known.
        """
        end = until if until is not None else self.now() + MAX_LIFETIME_S
        self.denylist.revoke(DenylistEntry("digest", signed_digest(token), min(end, _UNENDING) + CLOCK_SKEW_S))

    def revoke_session(self, *, tokens: Iterable[str], credential_id: str) -> None:
        """Revoke what a session leaves behind: the JWTs in the browser, and those that were made from the session."""
        for token in tokens:
            self.revoke(token)
            if self.login is not None:
                _try_to_revoke(self.login.log_out, token)
        if credential_id and self.denylist.rows.is_there:
            made = self.denylist.rows.revoke_made_from(credential_id, self.now())
            # Most sessions make none, and each announcement makes every process read the store.
            if made:
                self._announce(made)

    def revoke_all(self, identity: Identity) -> None:
        """Revoke every JWT of a user: those that were issued here, and all others by the user's `sub`."""
        now = self.now()
        issued = self.denylist.rows.revoke_issued_to(identity.username, now)
        subjects = {token.subject for token in issued} | self._subjects_of(identity)
        self.denylist.rows.revoke(
            DenylistEntry("sub", subject, now + MAX_LIFETIME_S, now) for subject in subjects if subject
        )
        self._announce(issued)

    def is_of(self, known: KnownToken, identity: Identity) -> bool:
        """Return whether a token belongs to this user."""
        if known.username:
            return known.username == identity.username
        return known.subject in self._subjects_of(identity)

    def _subjects_of(self, identity: Identity) -> set[str]:
        if self.sub_is_username:
            return {identity.username}
        try:
            found = self.lookup.complete(identity).upstream_id
        except CompatAuthError as error:
            if error.status >= 500:
                raise
            found = identity.upstream_id
        return {found} if found else set()

    def _announce(self, issued: Iterable[IssuedToken]) -> None:
        """Announce tokens that the store has just revoked, also to Airflow."""
        self.denylist.announce()
        if self.login is not None:
            # After one failure the others are not tried: each would wait for the same upstream.
            all(_try_to_revoke(self.login.revoke_issued, token) for token in issued)

    def _find_issued(self, token: str) -> IssuedToken | None:
        claims = read_claimed(token)
        if claims is None or not self.denylist.rows.is_there:
            return None
        digest = digest_of(token)
        for name in names_of(claims, token):
            issued = self.denylist.rows.find(name)
            # Anybody can write a jti into a token, but only its holder knows the whole token.
            if issued is not None and hmac.compare_digest(issued.digest, digest):
                return issued
        return None

    def _is_revoked(self, token: str) -> bool:
        if self.denylist.is_stale:
            self.denylist.read()
        return self.denylist.is_revoked(token)


def _try_to_revoke(log_out: Callable[[T], None], token: T) -> bool:
    """Return whether the upstream has revoked the token, or need not."""
    try:
        log_out(token)
    except BackendUnavailable as error:
        # The gateway refuses the token already; a logout must not fail because Airflow is down.
        logger.warning("a token that is revoked here is still valid at the upstream itself: %s", error)
        return False
    return True


def _entry_of(claims: ClaimedToken, token: str) -> DenylistEntry:
    # A verifier may read an `exp` that we cannot, or need none. The upstream's clock may be slow.
    expires = (_UNENDING if claims.expires is None else min(claims.expires, _UNENDING)) + CLOCK_SKEW_S
    name = names_of(claims, token)[0]
    return (
        DenylistEntry("jti", name, expires)
        if name == claims.jti
        else DenylistEntry("digest", signed_digest(token), expires)
    )


@dataclass(frozen=True, slots=True)
class UpstreamLogout:
    """Revokes tokens at Airflow's logout endpoint. Any thread may call.

    Attributes:
        login: Client of the upstream.
        strategy: Made the tokens.
    """

    login: UpstreamLogin
    strategy: Strategy

    def log_out(self, token: str) -> None:
        """Revoke a token; see `Logout`."""
        self.login.log_out(token)

    def accepts(self, token: str) -> bool:
        """Return whether the upstream accepts a token; see `Logout`."""
        return self.login.accepts(token)

    def revoke_issued(self, issued: IssuedToken) -> None:
        """Revoke a token that was issued here and not kept; see `Logout`."""
        copy = self.strategy.copy(issued.subject, issued.jti, issued.expires)
        if copy is not None:
            self.login.log_out(copy)

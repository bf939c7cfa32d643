"""Tokens for callers to keep: given, recognised when they are shown again, and taken back."""

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
from compat_auth.store.schema import JTI_LENGTH
from compat_auth.store.tables.denylist import DenylistEntry, IssuedToken
from compat_auth.tokens.denylist import Denylist, digest_of, signed_digest
from compat_auth.tokens.jose.registered_claims import CLOCK_SKEW_S
from compat_auth.tokens.jose.unverified_claims import ClaimedToken, claimed_in, read_claimed, read_payload
from compat_auth.tokens.strategies import Kind, Strategy
from compat_auth.tokens.upstream_login import UpstreamLogin

T = TypeVar("T")
logger = logging.getLogger("compat_auth.given_tokens")

# The longest life that a token of the upstream's own may have for us to know it.
MAX_LIFETIME_S = 366 * 86400
# "Everything up to now" is told by whole seconds: a token that is made in the same second would be caught by it.
_NEXT_SECOND_S = 1.1


ReadToken = Callable[[str], Mapping[str, Any] | None]
"""Return the claims of a JWT that is good for the upstream, None where that cannot be told; raises InvalidToken for one
that the upstream itself would refuse, and BackendUnavailable."""


class Logout(Protocol):
    """The upstream's own list of what was taken back."""

    def log_out(self, token: str) -> None:
        """Have the upstream write down that a token of its is revoked.

        Raises:
            BackendUnavailable: It gave no usable answer.
        """
        ...

    def log_out_given(self, given: IssuedToken) -> None:
        """Have the upstream write it down of a token that we have given and not kept, where it can be told by its name.

        Raises:
            BackendUnavailable: It gave no usable answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class KnownToken:
    """A JWT that is good for the upstream, and that we know.

    Attributes:
        claims: What it says.
        username: Whose it is; "" where only its `sub` says so.
    """

    claims: Mapping[str, Any] = field(repr=False)
    username: str

    @property
    def subject(self) -> str:
        """Its `sub`."""
        return claimed_in(self.claims).sub


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """Any thread may call; every method may raise BackendUnavailable.

    Attributes:
        strategy: Makes them.
        lookup: Completes identities for it.
        denials: What was taken back.
        read: Reads the upstream's tokens.
        sub_is_username: Whether the upstream calls users by their names.
        login: Who is told what was taken back; None: the upstream has no such list.
        now: Seconds since the epoch.
    """

    strategy: Strategy
    lookup: UserLookup
    denials: Denylist
    read: ReadToken
    sub_is_username: bool
    login: Logout | None
    now: Callable[[], int] = unix_now

    def give(self, identity: Identity, credential: Credential, kind: Kind) -> Token:
        """Return a new token that can be taken back; see `Strategy.issue` for what it raises, too."""
        complete = self.lookup.complete(identity)
        token = self.strategy.issue(complete, credential, kind)
        if self._is_denied(token.value):
            time.sleep(_NEXT_SECOND_S)
            token = self.strategy.issue(complete, credential, kind)
        self._add(complete, token.value, token.expires_at)
        return token

    def write_down(self, identity: Identity, token: str) -> None:
        """Remember a token that leaves our hands and was not made by `give`; one that is known already stays as it is.

        Args:
            identity: Whose it is, with the credential that it was made from.
            token: As it stands.
        """
        claims = claimed_in(read_payload(token) or {})
        if not self.denials.rows.is_there or self.denials.rows.find(_name_of(claims, token)) is None:
            expires_at = self.now() + MAX_LIFETIME_S if claims.expires is None else claims.expires
            self._add(self.lookup.complete(identity), token, expires_at)

    def _add(self, complete: Identity, token: str, expires_at: int) -> None:
        claims = claimed_in(read_payload(token) or {})
        self.denials.rows.add(
            IssuedToken(
                _name_of(claims, token),
                digest_of(token),
                complete.username,
                claims.sub,
                complete.credential_id,
                self.now(),
                expires_at,
            )
        )

    def find(self, token: str) -> KnownToken | None:
        """Return what is known of a JWT that is good now; None for any other, and for what is no JWT."""
        try:
            claims = self.read(token)
        except InvalidToken:
            return None
        given = self._find_given(token)
        if claims is None and given is not None and given.expires > self.now():
            claims = read_payload(token)
        if claims is None or self._is_denied(token):
            return None
        username = claimed_in(claims).sub if self.sub_is_username else ""
        return KnownToken(claims, given.username if given is not None else username)

    def deny(self, token: str) -> bool:
        """Take a JWT back here; return whether it was one that we know: what we do not is none of ours to deny."""
        known = self.find(token)
        claims = claimed_in(known.claims) if known is not None else read_claimed(token)
        # One of ours that seems to be over is denied, too: the clock that says so may be wrong.
        if claims is None or (known is None and self._find_given(token) is None):
            return False
        self.denials.deny(_denial_of(claims, token))
        return known is not None

    def tell(self, token: str) -> None:
        """Have Airflow take a JWT back, also one that we do not know: it knows its own."""
        if self.login is not None:
            self.login.log_out(token)

    def refuse(self, token: str, *, until: int | None) -> None:
        """Take back a credential that is no JWT of the upstream's: its text is refused from now on.

        Args:
            token: As presented.
            until: Its end, in seconds since the epoch; None where it is not known.
        """
        end = until if until is not None else self.now() + MAX_LIFETIME_S
        self.denials.deny(DenylistEntry("digest", signed_digest(token), end + CLOCK_SKEW_S))

    def end(self, *, tokens: Iterable[str], credential_id: str) -> None:
        """Take back what a session leaves behind: JWTs that the browser holds, and those that were made from it."""
        for token in tokens:
            self.deny(token)
            if self.login is not None:
                _tell(self.login.log_out, token)
        if credential_id and self.denials.rows.is_there:
            made = self.denials.rows.deny_made_from(credential_id, self.now())
            # Most make none, and each announcement has every process look at the store.
            if made:
                self._finish(made)

    def revoke_all(self, identity: Identity) -> None:
        """Take back every JWT of a user: those that we have given, and all others by the user's `sub`."""
        now = self.now()
        given = self.denials.rows.deny_given_to(identity.username, now)
        subjects = {token.subject for token in given} | self._subjects_of(identity)
        self.denials.rows.deny(
            DenylistEntry("sub", subject, now + MAX_LIFETIME_S, now) for subject in subjects if subject
        )
        self._finish(given)

    def is_of(self, known: KnownToken, identity: Identity) -> bool:
        """Return whether a token speaks for this very caller."""
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

    def _finish(self, given: Iterable[IssuedToken]) -> None:
        """Let everybody know of tokens that the store denies now, Airflow too."""
        self.denials.announce()
        if self.login is not None:
            # One that does not answer is not waited for again and again.
            all(_tell(self.login.log_out_given, token) for token in given)

    def _find_given(self, token: str) -> IssuedToken | None:
        claims = read_claimed(token)
        if claims is None or not self.denials.rows.is_there:
            return None
        given = self.denials.rows.find(_name_of(claims, token))
        # Anybody can write a jti into a token; only who was given it knows all of it.
        if given is None or not hmac.compare_digest(given.digest, digest_of(token)):
            return None
        return given

    def _is_denied(self, token: str) -> bool:
        if self.denials.is_stale:
            self.denials.read()
        return self.denials.refuses(token)


def _tell(log_out: Callable[[T], None], token: T) -> bool:
    """Return whether the upstream knows now that a token is taken back, or need not know."""
    try:
        log_out(token)
    except BackendUnavailable as error:
        # The gate refuses the token already; a logout must not fail because Airflow is down.
        logger.warning("a token that was taken back here is still good at the upstream itself: %s", error)
        return False
    return True


def _name_of(claims: ClaimedToken, token: str) -> str:
    return claims.jti if 0 < len(claims.jti) <= JTI_LENGTH else digest_of(token).hex()


def _denial_of(claims: ClaimedToken, token: str) -> DenylistEntry:
    # The upstream's clock may be behind ours.
    expires = (unix_now() + MAX_LIFETIME_S if claims.expires is None else claims.expires) + CLOCK_SKEW_S
    name = _name_of(claims, token)
    return (
        DenylistEntry("jti", name, expires)
        if name == claims.jti
        else DenylistEntry("digest", signed_digest(token), expires)
    )


@dataclass(frozen=True, slots=True)
class UpstreamLogout:
    """Any thread may call.

    Attributes:
        login: Where the upstream is.
        strategy: Made the tokens.
    """

    login: UpstreamLogin
    strategy: Strategy

    def log_out(self, token: str) -> None:
        """Have a token revoked; see `given_tokens.Logout`."""
        self.login.log_out(token)

    def log_out_given(self, given: IssuedToken) -> None:
        """Have a token revoked that we have given and not kept; see `given_tokens.Logout`."""
        copy = self.strategy.copy(given.subject, given.jti, given.expires)
        if copy is not None:
            self.login.log_out(copy)

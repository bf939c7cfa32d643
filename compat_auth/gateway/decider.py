"""Decisions: a remembered credential is answered from memory, on the event loop.

On a miss the chain runs on one of a bounded number of threads, once for each credential however many requests wait. For a
check that is short the event loop waits, see `compat_auth.gateway.checks`.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from dataclasses import replace

from flask import Flask

from compat_auth.authn.chain import BodyWanted, Chain
from compat_auth.authn.grant_cache import Remembered
from compat_auth.authn.grants.claimants import Claimants
from compat_auth.authn.revocation_events import revocation_events_of
from compat_auth.authn.users.acting import Acting
from compat_auth.backend import CredentialKind
from compat_auth.concurrency.lanes import Lanes
from compat_auth.credentials import ANY_SPELLING, Absent, Basic, Bearer, Credential, Negotiate, Unrecognised
from compat_auth.crypto.personal_token_format import looks_like_one
from compat_auth.errors import CompatAuthError, NotPermitted
from compat_auth.gateway.chain_runner import ChainRunner, Issuer, record_error
from compat_auth.gateway.checks.brief_checks import BriefChecks
from compat_auth.gateway.checks.credential_checks import CredentialChecks
from compat_auth.gateway.decision import Decision, Granted, Unclaimed
from compat_auth.gateway.revocable_grants import RevocableGrants
from compat_auth.http.request import Presented, Shown
from compat_auth.stages.of_app import stages_of
from compat_auth.tokens.upstream_refusals import RENEWAL_PAUSE_S, UpstreamRefusals

_COOKIES = b"cookies"
_KINDS: tuple[CredentialKind, ...] = (Absent, Basic, Bearer, Negotiate, Unrecognised)


class Decider:
    """Decides for one process; one event loop.

    Args:
        chain: The backends.
        app: The Flask app in which they were initialised; grants that its revocations end are forgotten.
        issuer: Makes the token for an accepted identity, on any thread.
        threads: Backends that work at once.
        max_waiting: Requests that may wait for a thread; beyond: Overloaded.
        timeout_s: Seconds after which a caller no longer waits for the chain.
        cache_entries: Verified credentials to remember.
        acting: Who may act for whom; None: nobody.
        monotonic: Clock, in seconds.

    Attributes:
        chain: The backends.
        app: The Flask app in which they were initialised.
        lanes: The threads of this process, also for other blocking work of its callers.
    """

    def __init__(
        self,
        chain: Chain,
        app: Flask,
        issuer: Issuer,
        *,
        threads: int = 16,
        max_waiting: int = 256,
        timeout_s: float = 30,
        cache_entries: int = 10_000,
        acting: Acting | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.chain = chain
        self.app = app
        self.lanes = Lanes(threads, max_waiting, timeout_s)
        self._monotonic = monotonic
        self._claimants = Claimants(chain.backends, cache_entries, monotonic)
        self._renewed_at: dict[bytes, float] = {}
        self._refused = UpstreamRefusals(monotonic)
        self._runner = ChainRunner(chain, app, issuer, self._refused, acting)
        self._takes = {kind: chain.takes(kind) for kind in _KINDS}
        self._only_cookies_matter = all(backend.needs_cookies for backend in chain.backends if Absent in backend.kinds)
        self._revocations = revocation_events_of(app)
        # Whom a check under way is about is not known yet: who comes after a revocation does not wait for its answer.
        self._flights: dict[bytes, asyncio.Task[Decision]] = {}
        self._verified = RevocableGrants(cache_entries, self._revocations, self._flights.clear, monotonic)
        self._briefs = BriefChecks(chain, issuer, _KINDS, self.lanes.chain.turns, threads)
        self._checks = CredentialChecks(
            chain, self._runner, self.lanes, self._briefs, self._verified, self._flights, _KINDS, threads=threads
        )

    def recall(self, shown: Shown, presented: Callable[[], Presented]) -> Granted | None:
        """Return the grant for a credential that was checked a moment ago, or None."""
        known = self.known(shown, presented)
        return known if isinstance(known, Granted) else None

    def known(self, shown: Shown, presented: Callable[[], Presented]) -> Granted | Unclaimed | None:
        """Return the decision about an explicit credential that was checked a moment ago, or None.

        Unclaimed: it is a Bearer that no backend can claim.
        """
        try:
            digest = self._verified.digest(shown.key())
        except CompatAuthError:
            # What is wrong with it is said where it is decided.
            return None
        remembered = self._verified.find(digest)
        if remembered is None and self._claimants.knows_nobody(digest):
            return Unclaimed(shown.credential(), self._challenges)
        return self._recalled(remembered, presented)

    def recall_cookies(self, cookies: tuple[bytes, ...], presented: Callable[[], Presented]) -> Granted | None:
        """Return the grant for cookies that were checked a moment ago, or None.

        Args:
            cookies: All that the decision may depend on; see `decide`.
            presented: What the request presents, for a check in the background.
        """
        return self._recalled(self._verified.find(self._verified.digest(_COOKIES, *cookies)), presented)

    def _recalled(self, remembered: Remembered[Granted] | None, presented: Callable[[], Presented]) -> Granted | None:
        if remembered is None or remembered.grant.bearer in self._refused:
            return None
        if self._verified.is_stale(remembered):
            remembered.refreshing = True
            self._checks.fly(remembered.grant.digest, presented(), fresh=False)
        return remembered.grant

    def recall_settled(self, shown: Shown) -> Granted | None:
        """Return the grant of `recall`, but None where `recall` would start a check of the credential."""
        try:
            glanced = self.glance(shown)
        except CompatAuthError:
            return None
        return None if glanced is None else glanced[0]

    def recall_settled_cookies(self, cookies: tuple[bytes, ...]) -> Granted | None:
        """Return the grant of `recall_cookies`, but None where `recall_cookies` would start a check of the session."""
        remembered = self._settled(self._verified.digest(_COOKIES, *cookies))
        return None if remembered is None else remembered.grant

    async def decide(self, presented: Presented, cookies: tuple[bytes, ...] = ()) -> Decision:
        """Return the decision for a request.

        Args:
            presented: What it presents.
            cookies: Scheme and cookies of a request without Authorization whose method changes nothing and whose peer
                says nothing: by them the grant is remembered, if it depends on nothing else. () remembers none.

        Raises:
            CompatAuthError: The credential is malformed, a source is unavailable, or too many requests wait.
        """
        credential = self._parsed(presented)
        kind = type(credential)
        if presented.shown.acts_for and not self._takes[kind]:
            # The upstream would take the request for the caller's own.
            raise NotPermitted("X-Do-As: needs a credential that a backend takes")
        if not self._takes[kind] or (kind is Absent and not presented.cookies and self._only_cookies_matter):
            return Unclaimed(credential, self.chain.challenges())
        if kind is Absent:
            digest = self._verified.digest(_COOKIES, *cookies) if cookies else b""
            return await self._checks.ask(presented, credential, digest)
        if presented.shown.acts_for:
            # Whether the caller may depends on its address, too: nobody gets the answer for another.
            return await self._checks.ask(presented, credential, b"")
        digest = self._verified.digest(presented.shown.key())
        if self._is_nobodys(presented, credential):
            self._claimants.remember(digest)
            return Unclaimed(credential, self.chain.challenges())
        return await self._checks.ask(presented, credential, digest)

    async def identify(self, presented: Presented) -> Decision:
        """Return who the caller is, by the Authorization value or else the cookies, without a token for the upstream.

        Raises:
            CompatAuthError: See `decide`.
        """
        credential = self._parsed(presented)
        if isinstance(credential, Absent):
            return await self._checks.ask(presented, credential, b"", for_upstream=False)
        if presented.shown.acts_for and not self._takes[type(credential)]:
            raise NotPermitted("X-Do-As: needs a credential that a backend takes")
        if not self._takes[type(credential)] or self._is_nobodys(presented, credential):
            return Unclaimed(credential, self.chain.challenges())
        if presented.shown.acts_for:
            return await self._checks.ask(presented, credential, b"", for_upstream=False)
        key = presented.shown.key()
        digest = self._verified.digest(b"identity", key)
        known = self._verified.find(self._verified.digest(key)) or self._verified.find(digest)
        if known is not None and not self._verified.is_stale(known):
            return known.grant
        return await self._checks.ask(presented, credential, digest, for_upstream=False)

    def _is_nobodys(self, presented: Presented, credential: Credential) -> bool:
        """Return whether a Bearer is for the upstream to check, because no backend can claim it.

        A caller that acts for a user needs a credential that a backend takes.
        """
        return (
            isinstance(credential, Bearer) and not presented.shown.acts_for and not self._claimants.could_be(credential)
        )

    @functools.cached_property
    def _challenges(self) -> tuple[str, ...]:
        # From its first use: a backend may read its settings as late as in init_app.
        return self.chain.challenges()

    def _parsed(self, presented: Presented) -> Credential:
        """Return the credential; one that cannot be parsed gets its line in the audit log.

        Raises:
            MalformedCredentials, AmbiguousCredentials: It cannot be parsed.
        """
        try:
            return presented.shown.credential()
        except CompatAuthError as error:
            failure = error
        try:
            if self.app.extensions.get(ANY_SPELLING):
                presented.shown.allow_any_spelling()
                return presented.shown.credential()
        except CompatAuthError as error:
            failure = error
        record_error(presented, Absent(), failure)
        raise failure

    async def renew(self, presented: Presented, refused: Granted) -> Granted | None:
        """Return a grant with a token that differs from the one that the upstream has refused, or None."""
        if not refused.digest:
            # Checked for this very request, and some credentials, such as tickets, cannot be shown twice.
            return await self._exchange_token(presented, refused)
        remembered = self._verified.find(refused.digest)
        if remembered is not None and remembered.grant.bearer != refused.bearer:
            return remembered.grant
        now = self._monotonic()
        if refused.digest not in self._flights:
            if now - self._renewed_at.get(refused.digest, -RENEWAL_PAUSE_S) < RENEWAL_PAUSE_S:
                return None
            self._renewed_at = {key: at for key, at in self._renewed_at.items() if now - at < RENEWAL_PAUSE_S}
            self._renewed_at[refused.digest] = now
        try:
            decision = await self._checks.wait(self._checks.fly(refused.digest, presented, fresh=True))
        except BodyWanted:
            # The body has gone on already: nobody can judge it any more.
            return None
        return decision if isinstance(decision, Granted) and decision.bearer != refused.bearer else None

    def forget_token(self, refused: Granted) -> None:
        """Never use the token of a grant again: the upstream has refused it.

        For a request that cannot be sent again; `renew` is for all others. At most every two seconds for one caller.
        """
        self._refused.note(refused.digest or refused.identity.username.encode("utf-8", "surrogatepass"), refused.bearer)

    async def _exchange_token(self, presented: Presented, refused: Granted) -> Granted:
        async with self.lanes.chain.turn(presented.client):
            bearer = await self.lanes.chain.work(lambda: self._runner.renew(presented, refused))
        return replace(refused, bearer=bearer)

    def glance(self, shown: Shown) -> tuple[Granted, float] | None:
        """Return the grant of a checked credential, and for how many seconds it holds; starts no check.

        None also where a check is due: the request itself starts it, in `recall`.

        Raises:
            CompatAuthError: The credential is malformed.
        """
        remembered = self._settled(self._verified.digest(shown.key()))
        return None if remembered is None else (remembered.grant, remembered.ends_at - self._monotonic())

    def _settled(self, digest: bytes) -> Remembered[Granted] | None:
        remembered = self._verified.find(digest)
        if remembered is None or remembered.grant.bearer in self._refused or self._verified.is_stale(remembered):
            return None
        return remembered

    def leaves_to_upstream(self, shown: Shown) -> bool:
        """Return whether a Bearer is for the upstream to check, as far as that is known without a check.

        Raises:
            CompatAuthError: The credential is malformed.
        """
        credential = shown.credential()
        if not isinstance(credential, Bearer) or looks_like_one(credential.token):
            return False
        if not self._takes[Bearer]:
            return True
        # The claims of a JWT are read once, and not for each request.
        digest = self._verified.digest(shown.key())
        if self._claimants.knows_nobody(digest):
            return True
        if self._claimants.could_be(credential):
            return False
        self._claimants.remember(digest)
        return True

    def open(self) -> None:
        """Listen to revocations and changes of stages in this process from now on, not only from its first check."""
        _ = self._revocations.hears_all
        if (stages := stages_of(self.app)) is not None:
            stages.memory.open()

    @property
    def remembered(self) -> int:
        """How many grants are remembered."""
        return len(self._verified)

    def close(self) -> None:
        """Start no more checks, and read no more changes of stages."""
        if (stages := stages_of(self.app)) is not None:
            stages.memory.close()
        self.lanes.close()
        self._briefs.close()

"""Decisions: a remembered credential is answered from memory, on the event loop.

On a miss the chain runs on one of a bounded number of threads, once for each credential however many requests wait. For a
check that is short the event loop waits, see `compat_auth.gateway.checks`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace

from flask import Flask

from compat_auth.authn.chain import BodyWanted, Chain, Course
from compat_auth.authn.grant_cache import Remembered
from compat_auth.authn.grants.claimants import Claimants
from compat_auth.authn.revocation_events import UNHEARD_S, Check, revocation_events_of
from compat_auth.authn.users.acting import Acting
from compat_auth.backend import CredentialKind
from compat_auth.concurrency.brief_work import Job
from compat_auth.concurrency.lanes import Lanes, retrieve_error
from compat_auth.credentials import ANY_SPELLING, Absent, Basic, Bearer, Credential, Negotiate, Unrecognised
from compat_auth.crypto.personal_token_format import looks_like_one
from compat_auth.errors import BackendUnavailable, CompatAuthError, NotPermitted, TooManyRequests
from compat_auth.gateway.chain_runner import ChainRunner, Issuer, record_error
from compat_auth.gateway.checks.brief_checks import BriefChecks
from compat_auth.gateway.decision import Decision, Granted, Unclaimed
from compat_auth.gateway.revocable_grants import RevocableGrants
from compat_auth.http.request import Presented, Shown
from compat_auth.telemetry import counts
from compat_auth.telemetry.tracing import OPTIONS
from compat_auth.tokens.upstream_refusals import RENEWAL_PAUSE_S, UpstreamRefusals

logger = logging.getLogger("compat_auth.decision")

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
        self._flights: dict[bytes, asyncio.Task[Decision]] = {}
        self._claimants = Claimants(chain.backends, cache_entries, monotonic)
        self._renewed_at: dict[bytes, float] = {}
        self._refused = UpstreamRefusals(monotonic)
        self._runner = ChainRunner(chain, app, issuer, self._refused, acting)
        self._takes = {kind: chain.takes(kind) for kind in _KINDS}
        self._only_cookies_matter = all(backend.needs_cookies for backend in chain.backends if Absent in backend.kinds)
        self._briefs = BriefChecks(chain, issuer, _KINDS, self.lanes.chain.turns, threads)
        self._waits_for_one = {kind: chain.waits_for_one(kind) for kind in _KINDS}
        # Threads that wait for their turn at a backend are threads that the others lack.
        self._alone = asyncio.Semaphore(max(1, threads // 2))
        self._alike = {kind: chain.answers_alike(kind) for kind in _KINDS}
        self._revocations = revocation_events_of(app)
        # Whom a check under way is about is not known yet: who comes after a revocation does not wait for its answer.
        self._verified = RevocableGrants(cache_entries, self._revocations, self._flights.clear, monotonic)

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
            self._fly(remembered.grant.digest, presented(), fresh=False)
        return remembered.grant

    def recall_settled(self, shown: Shown) -> Granted | None:
        """Return the grant of `recall`, but None where `recall` would start a check of the credential."""
        try:
            glanced = self.glance(shown)
        except CompatAuthError:
            return None
        return None if glanced is None else glanced[0]

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
            return await self._ask(presented, credential, digest)
        if presented.shown.acts_for:
            # Whether the caller may depends on its address, too: nobody gets the answer for another.
            return await self._ask(presented, credential, b"")
        digest = self._verified.digest(presented.shown.key())
        if self._is_nobodys(presented, credential):
            self._claimants.remember(digest)
            return Unclaimed(credential, self.chain.challenges())
        return await self._ask(presented, credential, digest)

    async def identify(self, presented: Presented) -> Decision:
        """Return who the caller is, by the Authorization value or else the cookies, without a token for the upstream.

        Raises:
            CompatAuthError: See `decide`.
        """
        credential = self._parsed(presented)
        if isinstance(credential, Absent):
            return await self._ask(presented, credential, b"", for_upstream=False)
        if presented.shown.acts_for and not self._takes[type(credential)]:
            raise NotPermitted("X-Do-As: needs a credential that a backend takes")
        if not self._takes[type(credential)] or self._is_nobodys(presented, credential):
            return Unclaimed(credential, self.chain.challenges())
        if presented.shown.acts_for:
            return await self._ask(presented, credential, b"", for_upstream=False)
        key = presented.shown.key()
        digest = self._verified.digest(b"identity", key)
        known = self._verified.find(self._verified.digest(key)) or self._verified.find(digest)
        if known is not None and not self._verified.is_stale(known):
            return known.grant
        return await self._ask(presented, credential, digest, for_upstream=False)

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
            decision = await self._wait(self._fly(refused.digest, presented, fresh=True))
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
        remembered = self._verified.find(self._verified.digest(shown.key()))
        if remembered is None or remembered.grant.bearer in self._refused or self._verified.is_stale(remembered):
            return None
        return remembered.grant, remembered.ends_at - self._monotonic()

    def leaves_to_upstream(self, shown: Shown) -> bool:
        """Return whether a Bearer is for the upstream to check, as far as that is known without a check.

        Raises:
            CompatAuthError: The credential is malformed.
        """
        credential = shown.credential()
        if not isinstance(credential, Bearer) or looks_like_one(credential.token):
            return False
        return not self._takes[Bearer] or not self._claimants.could_be(credential)

    def open(self) -> None:
        """Listen to revocations in this process from now on, not only from its first check."""
        _ = self._revocations.hears_all

    @property
    def remembered(self) -> int:
        """How many grants are remembered."""
        return len(self._verified)

    def close(self) -> None:
        """Start no more checks."""
        self.lanes.close()
        self._briefs.close()

    async def _ask(
        self, presented: Presented, credential: Credential, digest: bytes, *, for_upstream: bool = True
    ) -> Decision:
        """Return the decision about a credential that is not remembered.

        Raises:
            CompatAuthError: See `decide`.
        """
        kind = type(credential)
        # One check for all who show the same credential at the same time; b"": the answer is for this request alone.
        is_shared = self._alike[kind] and bool(digest)
        if not (is_shared and digest in self._flights) and not presented.shown.acts_for and self._briefs.takes(kind):
            begun = self._begin(presented, digest, is_shared=is_shared, for_upstream=for_upstream)
            return await self._wait(begun) if isinstance(begun, asyncio.Task) else begun
        if is_shared:
            return await self._wait(self._fly(digest, presented, fresh=False, for_upstream=for_upstream))
        return await self._check_with_body(presented, credential, digest, for_upstream=for_upstream)

    def _begin(
        self, presented: Presented, digest: bytes, *, is_shared: bool, for_upstream: bool
    ) -> Decision | asyncio.Task[Decision]:
        """Return the decision of a check for which the event loop waits, or the check if it goes on.

        Raises:
            CompatAuthError: See `decide`.
        """
        counts.GRANT_MISSES.value += 1
        began = time.perf_counter()
        check = self._verified.begin()
        concluded: tuple[Decision, float] | None = None
        try:
            with _traced():
                job = self._briefs.start(
                    type(presented.shown.credential()),
                    lambda: self._runner.run(presented, fresh=False, for_upstream=for_upstream),
                )
                if job.is_done:
                    concluded = job.result()
        except BaseException as error:
            # The helper thread catches everything, such as SystemExit, and the job raises it here.
            self._note_end(check, began)
            if is_shared:
                self._settle(digest, error)
            raise
        if concluded is None:
            flight = asyncio.ensure_future(self._end(job, check, began, presented, digest))
            if is_shared:
                self._launch(digest, flight)
            return flight
        self._note_end(check, began)
        decision = self._remembered(presented, digest, check, concluded)
        if is_shared:
            self._settle(digest, decision)
        return decision

    def _note_end(self, check: Check, began: float) -> None:
        counts.DECISION.observe(time.perf_counter() - began)
        self._verified.under_way.discard(check)

    async def _end(
        self, job: Job[tuple[Decision, float]], check: Check, began: float, presented: Presented, digest: bytes
    ) -> Decision:
        try:
            concluded = await job.late()
        finally:
            self._note_end(check, began)
        return self._remembered(presented, digest, check, concluded)

    def _fly(
        self, digest: bytes, presented: Presented, *, fresh: bool, for_upstream: bool = True
    ) -> asyncio.Task[Decision]:
        """Return the check in flight for this credential, started now unless there is one."""
        flight = self._flights.get(digest)
        if flight is None:
            flight = asyncio.ensure_future(self._check(presented, digest, fresh=fresh, for_upstream=for_upstream))
            self._launch(digest, flight)
        return flight

    def _launch(self, digest: bytes, flight: asyncio.Task[Decision]) -> None:
        self._flights[digest] = flight
        flight.add_done_callback(lambda done: self._land(digest, done))

    def _land(self, digest: bytes, flight: asyncio.Task[Decision]) -> None:
        if self._flights.get(digest) is flight:
            del self._flights[digest]
        if flight.cancelled():
            return
        self._settle(digest, flight.exception() or flight.result())

    def _settle(self, digest: bytes, outcome: Decision | BaseException) -> None:
        # A definite refusal ends what is remembered at once; a source that is down leaves it to its own end.
        if _is_refusal(outcome) if isinstance(outcome, BaseException) else not isinstance(outcome, Granted):
            self._verified.forget(digest)
        remembered = self._verified.find(digest)
        if remembered is not None:
            remembered.refreshing = False

    async def _wait(self, flight: asyncio.Task[Decision]) -> Decision:
        flight.add_done_callback(retrieve_error)
        # Shielded: the check belongs to everybody who waits, not to the caller who happened to start it.
        try:
            return await asyncio.wait_for(asyncio.shield(flight), self.lanes.timeout_s)
        except TimeoutError:
            raise BackendUnavailable(f"the chain did not answer within {self.lanes.timeout_s:g} s") from None

    async def _check_with_body(
        self, presented: Presented, credential: Credential, digest: bytes, *, for_upstream: bool = True
    ) -> Decision:
        """Return the decision; the body is read only if a backend that may look at it has to be asked."""
        check = self._check(presented, digest, fresh=False, for_upstream=for_upstream)
        try:
            return await self._wait(asyncio.ensure_future(check))
        except BodyWanted as wanted:
            course = wanted.course
            try:
                # Neither a thread nor a turn waits for a body that comes slowly.
                await _hold_body(presented, wanted.backend)
            except CompatAuthError as error:
                record_error(presented, credential, error)
                raise
        check = self._check(presented, digest, fresh=False, for_upstream=for_upstream, course=course)
        return await self._wait(asyncio.ensure_future(check))

    async def _check(
        self,
        presented: Presented,
        digest: bytes,
        *,
        fresh: bool,
        for_upstream: bool = True,
        course: Course | None = None,
    ) -> Decision:
        alone = self._alone if self._waits_for_one[type(presented.shown.credential())] else contextlib.nullcontext()
        counts.GRANT_MISSES.value += 1
        began = time.perf_counter()
        try:
            async with self.lanes.chain.turn(presented.client), alone:
                with self._verified.check() as check, _traced():
                    work = self._briefs.measured(
                        type(presented.shown.credential()),
                        lambda: self._runner.run(presented, fresh=fresh, for_upstream=for_upstream, course=course),
                    )
                    concluded = await self.lanes.chain.work(work)
        finally:
            counts.DECISION.observe(time.perf_counter() - began)
        return self._remembered(presented, digest, check, concluded)

    def _remembered(
        self, presented: Presented, digest: bytes, check: Check, concluded: tuple[Decision, float]
    ) -> Decision:
        """Return the decision of a check that has ended, once it is remembered if it may be."""
        decision, for_s = concluded
        if isinstance(decision, Granted) and digest:
            # Nobody announces that a user was disabled, or has logged out of Airflow.
            at_most_s = UNHEARD_S if isinstance(presented.shown.credential(), Absent) else math.inf
            for_s = self._verified.rememberable_s(decision.identity, check, for_s, at_most_s=at_most_s)
            if for_s > 0:
                decision = replace(decision, digest=digest)
                identity = decision.identity
                self._verified.remember(
                    digest, decision, for_s, owner=identity.username, credential_id=identity.credential_id
                )
        return decision


async def _hold_body(presented: Presented, backend: str) -> None:
    if presented.hold_body is None:
        logger.warning(
            "backend %s may look at the body, which does not come here: refused; if it looks at none, name it in "
            "[airflow2_modules] ignore_body",
            backend,
        )
        raise NotPermitted("an authentication backend has to see the body, which does not come here")
    await presented.hold_body()


def _traced() -> contextlib.AbstractContextManager[object]:
    tracer = OPTIONS.tracer
    return contextlib.nullcontext() if tracer is None else tracer.decision()


def _is_refusal(error: BaseException) -> bool:
    # Who has to wait was not looked at.
    return isinstance(error, CompatAuthError) and error.status < 500 and not isinstance(error, TooManyRequests)

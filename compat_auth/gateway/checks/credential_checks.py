"""The checks of credentials that are under way: one for all requests that show the same credential at the same time.

A check runs on one of a bounded number of threads; for one that is short the event loop waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Collection
from dataclasses import replace

from compat_auth.authn.chain import BodyWanted, Chain, Course
from compat_auth.authn.revocation_events import UNHEARD_S, Check
from compat_auth.backend import CredentialKind
from compat_auth.concurrency.brief_work import Job
from compat_auth.concurrency.lanes import Lanes, retrieve_error
from compat_auth.credentials import Absent, Credential
from compat_auth.errors import BackendUnavailable, CompatAuthError, NotPermitted, TooManyRequests
from compat_auth.gateway.chain_runner import ChainRunner, record_error
from compat_auth.gateway.checks.brief_checks import BriefChecks
from compat_auth.gateway.decision import Decision, Granted
from compat_auth.gateway.revocable_grants import RevocableGrants
from compat_auth.http.request import Presented
from compat_auth.telemetry import counts
from compat_auth.telemetry.tracing import OPTIONS

logger = logging.getLogger("compat_auth.decision")


class CredentialChecks:
    """Checks credentials, and remembers the grants; for the event loop's thread only.

    Args:
        chain: The backends.
        runner: Asks them, on any thread.
        lanes: The threads.
        briefs: Says for which check the event loop may wait.
        verified: Remembers the grants.
        flights: The shared checks that are under way, by the digest of their credential; a revocation empties it.
        kinds: The kinds of credentials.
        threads: Backends that work at once.
    """

    def __init__(
        self,
        chain: Chain,
        runner: ChainRunner,
        lanes: Lanes,
        briefs: BriefChecks,
        verified: RevocableGrants,
        flights: dict[bytes, asyncio.Task[Decision]],
        kinds: Collection[CredentialKind],
        *,
        threads: int,
    ) -> None:
        self._runner = runner
        self._lanes = lanes
        self._briefs = briefs
        self._verified = verified
        self._flights = flights
        self._waits_for_one = {kind: chain.waits_for_one(kind) for kind in kinds}
        self._alike = {kind: chain.answers_alike(kind) for kind in kinds}
        # Threads that wait for their turn at a backend are threads that the others lack.
        self._alone = asyncio.Semaphore(max(1, threads // 2))

    async def ask(
        self, presented: Presented, credential: Credential, digest: bytes, *, for_upstream: bool = True
    ) -> Decision:
        """Return the decision about a credential that is not remembered.

        Raises:
            CompatAuthError: See `Decider.decide`.
        """
        kind = type(credential)
        # One check for all who show the same credential at the same time; b"": the answer is for this request alone.
        is_shared = self._alike[kind] and bool(digest)
        if not (is_shared and digest in self._flights) and not presented.shown.acts_for and self._briefs.takes(kind):
            begun = self._begin(presented, digest, is_shared=is_shared, for_upstream=for_upstream)
            return await self.wait(begun) if isinstance(begun, asyncio.Task) else begun
        if is_shared:
            return await self.wait(self.fly(digest, presented, fresh=False, for_upstream=for_upstream))
        return await self._check_with_body(presented, credential, digest, for_upstream=for_upstream)

    def _begin(
        self, presented: Presented, digest: bytes, *, is_shared: bool, for_upstream: bool
    ) -> Decision | asyncio.Task[Decision]:
        """Return the decision of a check for which the event loop waits, or the check if it goes on.

        Raises:
            CompatAuthError: See `Decider.decide`.
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

    def fly(
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

    async def wait(self, flight: asyncio.Task[Decision]) -> Decision:
        """Return the decision of a check under way, which goes on when this caller waits no longer.

        Raises:
            BackendUnavailable: It takes longer than a caller waits.
            CompatAuthError: See `Decider.decide`.
        """
        flight.add_done_callback(retrieve_error)
        # Shielded: the check belongs to everybody who waits, not to the caller who happened to start it.
        try:
            return await asyncio.wait_for(asyncio.shield(flight), self._lanes.timeout_s)
        except TimeoutError:
            raise BackendUnavailable(f"the chain did not answer within {self._lanes.timeout_s:g} s") from None

    async def _check_with_body(
        self, presented: Presented, credential: Credential, digest: bytes, *, for_upstream: bool = True
    ) -> Decision:
        """Return the decision; the body is read only if a backend that may look at it has to be asked."""
        check = self._check(presented, digest, fresh=False, for_upstream=for_upstream)
        try:
            return await self.wait(asyncio.ensure_future(check))
        except BodyWanted as wanted:
            course = wanted.course
            try:
                # Neither a thread nor a turn waits for a body that comes slowly.
                await _hold_body(presented, wanted.backend)
            except CompatAuthError as error:
                record_error(presented, credential, error)
                raise
        check = self._check(presented, digest, fresh=False, for_upstream=for_upstream, course=course)
        return await self.wait(asyncio.ensure_future(check))

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
            async with self._lanes.chain.turn(presented.client), alone:
                with self._verified.check() as check, _traced():
                    work = self._briefs.measured(
                        type(presented.shown.credential()),
                        lambda: self._runner.run(presented, fresh=fresh, for_upstream=for_upstream, course=course),
                    )
                    concluded = await self._lanes.chain.work(work)
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

"""The whole flow: presented credential in, decision out.

A warm credential is answered from memory on the event loop. On a miss the chain runs in a bounded pool of threads,
inside a Flask request context of its own, once for each credential however many requests wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from flask import Flask

from compat_auth import audit
from compat_auth.authn.chain import Answer, BodyWanted, Chain, Course
from compat_auth.authn.grant_cache import GrantCache
from compat_auth.authn.revocation_events import HEARD_S, UNHEARD_S, RevocationEvent, revocation_events_of
from compat_auth.backend import CredentialKind
from compat_auth.concurrency.fair_queue import FairQueue
from compat_auth.concurrency.rate_limit import network_of
from compat_auth.credentials import (
    Absent,
    Basic,
    Bearer,
    Credential,
    Negotiate,
    Unrecognised,
    credential_key,
    parse_authorization,
)
from compat_auth.errors import BackendUnavailable, CompatAuthError, NotPermitted, TooManyRequests
from compat_auth.guard import describe
from compat_auth.http.headers import is_header
from compat_auth.http.request import Presented
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Challenge, Reject, Skip
from compat_auth.tokens.upstream_refusals import RENEWAL_PAUSE_S, UpstreamRefusals

logger = logging.getLogger("compat_auth.decision")

T = TypeVar("T")
_KINDS: tuple[CredentialKind, ...] = (Absent, Basic, Bearer, Negotiate, Unrecognised)
# A token must outlive the request that carries it and the clock difference to the upstream.
_TOKEN_MARGIN_S = 10


@dataclass(frozen=True, slots=True)
class Granted:
    """The caller is known: go on with this token.

    Attributes:
        identity: Who it is.
        bearer: The Authorization value for the upstream; b"" where none was asked for.
        headers: Response headers that belong to the success.
        digest: Where the grant is remembered, or b"" when it is not.
        used: Called for each request that goes on by it, or None.
    """

    identity: Identity
    bearer: bytes = field(repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    digest: bytes = b""
    used: Callable[[], None] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """No backend takes what was presented for its kind.

    Attributes:
        credential: What was presented; a Bearer is the upstream's to judge.
        challenges: For a 401.
    """

    credential: Credential
    challenges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The caller is not let in.

    Attributes:
        status: 401 or 403.
        challenges: For a 401.
    """

    status: int
    challenges: tuple[str, ...]


@dataclass(slots=True, eq=False)
class _Check:
    """A check under way: when it began (monotonic seconds), and what has been revoked since."""

    began: float
    heard: list[RevocationEvent | None] = field(default_factory=list["RevocationEvent | None"])


class _Lane:
    """Threads, and whose turn it is for one of them."""

    def __init__(self, name: str, threads: int, max_waiting: int) -> None:
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=f"compat-auth-{name}")
        self.turns = FairQueue(threads, max_waiting)


Decision = Granted | Unclaimed | Refused
Lane = Literal["chain", "aside", "outward"]
Obtain = Callable[[Identity, Credential, Token | None, bool], Token]


class Decider:
    """Decides for one process; one event loop.

    Args:
        chain: The backends.
        app: The Flask app in which they were initialised; what its revocations announce is forgotten.
        obtain: Makes the token for (identity, credential, token that the check yielded, fresh), on any thread.
        threads: Backends at work at once.
        max_waiting: Requests that may wait for a thread; beyond: Overloaded.
        timeout_s: Seconds after which a caller no longer waits for the chain.
        cache_entries: Verified credentials to remember.
        monotonic: Clock, in seconds.

    Attributes:
        chain: The backends.
        app: The Flask app in which they were initialised.
        timeout_s: As given.
    """

    def __init__(
        self,
        chain: Chain,
        app: Flask,
        obtain: Obtain,
        *,
        threads: int = 16,
        max_waiting: int = 256,
        timeout_s: float = 30,
        cache_entries: int = 10_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.chain = chain
        self.app = app
        self._obtain = obtain
        self.timeout_s = timeout_s
        self._lanes = {
            name: _Lane(name, threads_there, max_waiting)
            for name, threads_there in (
                ("chain", threads),
                ("aside", max(2, threads // 2)),
                ("outward", max(2, threads // 4)),
            )
        }
        self._pool, self._turns = self._lanes["chain"].pool, self._lanes["chain"].turns
        self._verified: GrantCache[Granted] = GrantCache(cache_entries, monotonic)
        self._monotonic = monotonic
        self._flights: dict[bytes, asyncio.Task[Decision]] = {}
        self._renewed_at: dict[bytes, float] = {}
        self._refused = UpstreamRefusals(monotonic)
        self._takes = {kind: chain.takes(kind) for kind in _KINDS}
        self._only_cookies_matter = all(backend.needs_cookies for backend in chain.backends if Absent in backend.kinds)
        self._waits_for_one = {kind: chain.waits_for_one(kind) for kind in _KINDS}
        # Threads that wait for their turn at a backend are threads that the others lack.
        self._alone = asyncio.Semaphore(max(1, threads // 2))
        self._alike = {kind: chain.answers_alike(kind) for kind in _KINDS}
        self._under_way: set[_Check] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._revocations = revocation_events_of(app)
        self._revocations.listen(self._hear)

    def recall(self, authorization: bytes, presented: Callable[[], Presented]) -> Granted | None:
        """Return the grant for a credential that was checked a moment ago, or None."""
        try:
            digest = self._verified.digest(credential_key(authorization.decode("ascii")))
        except (CompatAuthError, UnicodeDecodeError):
            # What is wrong with it is said where it is decided.
            return None
        remembered = self._verified.find(digest)
        if remembered is None or remembered.grant.bearer in self._refused:
            return None
        if self._verified.is_stale(remembered):
            remembered.refreshing = True
            self._fly(remembered.grant.digest, presented(), fresh=False)
        return remembered.grant

    async def decide(self, presented: Presented) -> Decision:
        """Return the decision for a request.

        Raises:
            CompatAuthError: The credential is malformed, a source is unavailable, or too much is waiting.
        """
        try:
            credential = parse_authorization(presented.authorization)
        except CompatAuthError as error:
            _record(presented, Absent(), "reject", "", str(error))
            raise
        kind = type(credential)
        if not self._takes[kind] or (kind is Absent and not presented.cookies and self._only_cookies_matter):
            return Unclaimed(credential, self.chain.challenges())
        if presented.authorization is None:
            return await self._check_with_body(presented, credential, b"")
        digest = self._digest_of(presented)
        if self._alike[kind]:
            return await self._wait(self._fly(digest, presented, fresh=False))
        return await self._check_with_body(presented, credential, digest)

    async def identify(self, presented: Presented) -> Decision:
        """Return who the caller is, by the Authorization value or else the cookies, without a token for the upstream.

        Raises:
            CompatAuthError: See `decide`.
        """
        if presented.authorization is None:
            return await self._check_with_body(presented, Absent(), b"", for_upstream=False)
        try:
            key = credential_key(presented.authorization)
        except CompatAuthError as error:
            _record(presented, Absent(), "reject", "", str(error))
            raise
        credential = parse_authorization(presented.authorization)
        if not self._takes[type(credential)]:
            return Unclaimed(credential, self.chain.challenges())
        digest = self._verified.digest(b"identity", key)
        known = self._verified.find(self._verified.digest(key)) or self._verified.find(digest)
        if known is not None and not self._verified.is_stale(known):
            return known.grant
        if self._alike[type(credential)]:
            return await self._wait(self._fly(digest, presented, fresh=False, for_upstream=False))
        return await self._check_with_body(presented, credential, digest, for_upstream=False)

    async def renew(self, presented: Presented, refused: Granted) -> Granted | None:
        """Return a grant with another token than the one that the upstream has refused, or None."""
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
        """Have the token of a grant never used again: the upstream has refused it.

        For a request that cannot be sent again; `renew` is for all others. Every two seconds at most for one caller.
        """
        self._refused.note(refused.digest or refused.identity.username.encode("utf-8", "surrogatepass"), refused.bearer)

    async def run(self, client: str, work: Callable[[], T], *, lane: Lane = "chain") -> T:
        """Do other blocking work of a caller and return what it returns.

        Args:
            client: Address of the caller.
            work: On a thread.
            lane: Whose threads and turns: those of the chain; "aside" for work that anybody can ask for; "outward" for
                such work that waits for another server. None of them can hold up the others.

        Raises:
            Overloaded: Too much is waiting.
            BackendUnavailable: It takes too long.
        """
        place = self._lanes[lane]

        async def wait() -> T:
            async with place.turns.take(network_of(client)):
                context = contextvars.Context()
                return await asyncio.get_running_loop().run_in_executor(place.pool, lambda: context.run(work))

        try:
            # Shielded: the turn is over when the work is, not when its caller has gone.
            return await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(wait())), self.timeout_s)
        except TimeoutError:
            raise BackendUnavailable(f"no answer within {self.timeout_s:g} s") from None

    async def _exchange_token(self, presented: Presented, refused: Granted) -> Granted:
        credential = parse_authorization(presented.authorization)
        async with self._turns.take(network_of(presented.client)):
            token = await asyncio.get_running_loop().run_in_executor(
                self._pool, lambda: self._obtain(refused.identity, credential, None, True)
            )
        return replace(refused, bearer=_bearer_of(token))

    def open(self) -> None:
        """Hear of revocations in this process from now on, not only from its first check."""
        _ = self._revocations.hears_all

    def close(self) -> None:
        """Let nothing new start."""
        for lane in self._lanes.values():
            lane.pool.shutdown(wait=False, cancel_futures=True)

    def _digest_of(self, presented: Presented) -> bytes:
        return self._verified.digest(credential_key(presented.authorization or ""))

    def _fly(
        self, digest: bytes, presented: Presented, *, fresh: bool, for_upstream: bool = True
    ) -> asyncio.Task[Decision]:
        """Return the check in flight for this credential, started now unless there is one."""
        flight = self._flights.get(digest)
        if flight is None:
            flight = asyncio.ensure_future(self._check(presented, digest, fresh=fresh, for_upstream=for_upstream))
            self._flights[digest] = flight
            flight.add_done_callback(lambda done: self._land(digest, done))
        return flight

    def _land(self, digest: bytes, flight: asyncio.Task[Decision]) -> None:
        if self._flights.get(digest) is flight:
            del self._flights[digest]
        if flight.cancelled():
            return
        error = flight.exception()
        # A definite refusal ends what is remembered at once; a source that is down leaves it to its own end.
        if _is_refusal(error) if error is not None else not isinstance(flight.result(), Granted):
            self._verified.forget(digest)
        remembered = self._verified.find(digest)
        if remembered is not None:
            remembered.refreshing = False

    async def _wait(self, flight: asyncio.Task[Decision]) -> Decision:
        # Shielded: the check belongs to everybody who waits, not to the caller who happened to start it.
        try:
            return await asyncio.wait_for(asyncio.shield(flight), self.timeout_s)
        except TimeoutError:
            raise BackendUnavailable(f"the chain did not answer within {self.timeout_s:g} s") from None

    async def _check_with_body(
        self, presented: Presented, credential: Credential, digest: bytes, *, for_upstream: bool = True
    ) -> Decision:
        """Return the decision; the body is read only when a backend is to be asked that may look at it."""
        check = self._check(presented, digest, fresh=False, for_upstream=for_upstream)
        try:
            return await self._wait(asyncio.ensure_future(check))
        except BodyWanted as wanted:
            course = wanted.course
            try:
                # Neither a thread nor a turn waits for a body that comes slowly.
                await _hold_body(presented, wanted.backend)
            except CompatAuthError as error:
                _record(presented, credential, "reject" if error.status < 500 else "unavailable", "", str(error))
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
        self._loop = asyncio.get_running_loop()
        kind = type(parse_authorization(presented.authorization))
        alone = self._alone if self._waits_for_one[kind] else contextlib.nullcontext()
        async with self._turns.take(network_of(presented.client)), alone:
            check = _Check(self._monotonic())
            self._under_way.add(check)
            # A context of its own: what a backend leaves in context variables must not reach another request.
            context = contextvars.Context()
            try:
                decision, for_s = await self._loop.run_in_executor(
                    self._pool, lambda: context.run(self._check_in_thread, presented, fresh, for_upstream, course)
                )
            finally:
                self._under_way.discard(check)
        if isinstance(decision, Granted) and digest:
            for_s = self._rememberable_s(decision.identity, check, for_s)
            if for_s > 0:
                decision = replace(decision, digest=digest)
                self._verified.remember(digest, decision, for_s, owner=decision.identity.username)
        return decision

    def _rememberable_s(self, identity: Identity, check: _Check, for_s: float) -> float:
        if any(_concerns(revocation, identity) for revocation in check.heard):
            return 0
        if not identity.credential_id:
            return for_s
        limit_s = HEARD_S if self._revocations.hears_all else UNHEARD_S
        # Counted from when the check began: what it read may have changed right after.
        return min(for_s, limit_s - (self._monotonic() - check.began))

    def _hear(self, revocation: RevocationEvent | None) -> None:
        """Have a revocation forgotten on the event loop; called from any thread."""
        loop = self._loop
        # Before the first check there is nothing to forget, and after the loop has ended nobody to let in.
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._forget, revocation)

    def _forget(self, revocation: RevocationEvent | None) -> None:
        self._verified.forget_those(lambda granted: _concerns(revocation, granted.identity))
        # Whom a check under way is about is not known yet: who comes from now on does not wait for its answer, and the
        # answer itself is not remembered where the revocation concerns it.
        self._flights.clear()
        for check in self._under_way:
            check.heard.append(revocation)

    def _check_in_thread(
        self, presented: Presented, fresh: bool, for_upstream: bool, course: Course | None
    ) -> tuple[Decision, float]:
        credential = parse_authorization(presented.authorization)
        # An explicit credential beats a cookie: beside one, backends do not even see the cookies.
        with self.app.request_context(presented.environ(isinstance(credential, Absent))):
            try:
                answer = self.chain.ask(credential, course, body_at_hand=presented.body_at_hand())
                decision, for_s = self._conclude(answer, credential, fresh, for_upstream)
            except CompatAuthError as error:
                result = "reject" if error.status < 500 else "unavailable"
                _record(presented, credential, result, "", str(error))
                raise
        result, reason = describe(answer.outcome)
        identity = decision.identity if isinstance(decision, Granted) else None
        names_nobody = isinstance(answer.outcome, Reject) and answer.outcome.names_nobody
        _record(presented, credential, result, answer.backend, reason, identity, names_nobody=names_nobody)
        return decision, for_s

    def _conclude(
        self, answer: Answer, credential: Credential, fresh: bool, for_upstream: bool
    ) -> tuple[Decision, float]:
        match answer.outcome:
            case Accept(identity, headers, reusable_s, yielded, used):
                raw_headers = tuple(_raw_header(answer.backend, name, value) for name, value in headers)
                if not for_upstream:
                    return Granted(identity, b"", raw_headers, used=used), reusable_s if answer.reusable else 0
                token = self._obtain(identity, credential, yielded, fresh)
                if not fresh and _bearer_of(token) in self._refused:
                    token = self._obtain(identity, credential, None, True)
                for_s = min(reusable_s, token.expires_at - _TOKEN_MARGIN_S - time.time()) if answer.reusable else 0
                return Granted(identity, _bearer_of(token), raw_headers, used=used), for_s
            case Reject(_, status):
                return Refused(status, answer.challenges), 0
            case Challenge():
                return Refused(401, answer.challenges), 0
            case Skip():
                return Unclaimed(credential, answer.challenges), 0


async def _hold_body(presented: Presented, backend: str) -> None:
    if presented.hold_body is None:
        logger.warning(
            "backend %s may look at the body, which does not come here: refused; if it looks at none, name it in "
            "[airflow2_modules] ignore_body",
            backend,
        )
        raise NotPermitted("an authentication backend has to see the body, which does not come here")
    await presented.hold_body()


def _bearer_of(token: Token) -> bytes:
    return b"Bearer " + token.value.encode("ascii")


def _raw_header(backend: str, name: str, value: str) -> tuple[bytes, bytes]:
    """Return a backend's response header as it goes on the wire.

    Raises:
        BackendUnavailable: It would be another header, or none.
    """
    raw_name, raw_value = name.lower().encode("ascii", "replace"), value.encode("latin-1", "replace")
    if not name.isascii() or not is_header(raw_name, raw_value):
        raise BackendUnavailable(f"backend {backend}: answered with a response header that cannot be sent")
    return raw_name, raw_value


def _concerns(revocation: RevocationEvent | None, identity: Identity) -> bool:
    # None: some revocation may have been missed. It can only matter to what is believed because they are heard.
    return bool(identity.credential_id) if revocation is None else revocation.concerns(identity)


def _is_refusal(error: BaseException) -> bool:
    # Who has to wait was not looked at.
    return isinstance(error, CompatAuthError) and error.status < 500 and not isinstance(error, TooManyRequests)


def _record(
    presented: Presented,
    credential: Credential,
    result: str,
    backend: str,
    reason: str,
    identity: Identity | None = None,
    *,
    names_nobody: bool = False,
) -> None:
    claimed = credential.username if isinstance(credential, Basic) else ""
    username = identity.username if identity is not None else claimed
    method, path, client = presented.method, presented.path, presented.client
    audit.record(audit.AuditEvent(result, backend, username, reason, method, path, client, names_nobody))

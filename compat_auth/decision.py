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
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from flask import Flask

from compat_auth import audit
from compat_auth.backend import CredentialKind
from compat_auth.chain import Answer, BodyWanted, Chain, Course
from compat_auth.credentials import Absent, Basic, Bearer, Credential, Negotiate, Unrecognised, parse_authorization
from compat_auth.errors import BackendUnavailable, CompatAuthError, NotPermitted, TooManyRequests
from compat_auth.headers import is_header
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Challenge, Reject, Skip
from compat_auth.revocation import HEARD_S, UNHEARD_S, Revocation, revocations_of
from compat_auth.turns import Turns
from compat_auth.verified import VerifiedCredentials

logger = logging.getLogger(__name__)

T = TypeVar("T")
_KINDS: tuple[CredentialKind, ...] = (Absent, Basic, Bearer, Negotiate, Unrecognised)
# A token must outlive the request that carries it and the clock difference to the upstream.
_TOKEN_MARGIN_S = 10
# An upstream that refuses every token must not make us fetch one for every request.
_RENEWAL_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Presented:
    """What of a request a decision may depend on.

    Attributes:
        authorization: The one Authorization value, or None.
        cookies: Whether the request carries cookies that a backend could read.
        method: Request method.
        path: Canonical path, ASCII.
        client: Address of the caller.
        environ: Makes the WSGI environment for the backends; the argument says whether with cookies.
        body_at_hand: The environment has the whole body, or there is none.
        hold_body: Reads the body, so that the environment has it from then on; None: it does not come here.
    """

    authorization: str | None = field(repr=False)
    cookies: bool
    method: str
    path: str
    client: str
    environ: Callable[[bool], dict[str, Any]] = field(repr=False)
    body_at_hand: Callable[[], bool] = field(default=lambda: True, repr=False)
    hold_body: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Granted:
    """The caller is known: go on with this token.

    Attributes:
        identity: Who it is.
        bearer: The Authorization value for the upstream.
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
    heard: list[Revocation | None] = field(default_factory=list["Revocation | None"])


Decision = Granted | Unclaimed | Refused
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
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="compat-auth-chain")
        self._turns = Turns(threads, max_waiting)
        self._verified: VerifiedCredentials[Granted] = VerifiedCredentials(cache_entries, monotonic)
        self._monotonic = monotonic
        self._flights: dict[bytes, asyncio.Task[Decision]] = {}
        self._renewed_at: dict[bytes, float] = {}
        self._takes = {kind: chain.takes(kind) for kind in _KINDS}
        self._only_cookies_matter = all(backend.needs_cookies for backend in chain.backends if Absent in backend.kinds)
        self._waits_for_one = {kind: chain.waits_for_one(kind) for kind in _KINDS}
        # Threads that wait for their turn at a backend are threads that the others lack.
        self._alone = asyncio.Semaphore(max(1, threads // 2))
        self._alike = {kind: chain.answers_alike(kind) for kind in _KINDS}
        self._under_way: set[_Check] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._revocations = revocations_of(app)
        self._revocations.listen(self._hear)

    def recall(self, authorization: bytes, presented: Callable[[], Presented]) -> Granted | None:
        """Return the grant for a credential that was checked a moment ago, or None."""
        remembered = self._verified.find(self._verified.digest(authorization))
        if remembered is None:
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
            if now - self._renewed_at.get(refused.digest, -_RENEWAL_PAUSE_S) < _RENEWAL_PAUSE_S:
                return None
            self._renewed_at = {key: at for key, at in self._renewed_at.items() if now - at < _RENEWAL_PAUSE_S}
            self._renewed_at[refused.digest] = now
        try:
            decision = await self._wait(self._fly(refused.digest, presented, fresh=True))
        except BodyWanted:
            # The body has gone on already: nobody can judge it any more.
            return None
        return decision if isinstance(decision, Granted) and decision.bearer != refused.bearer else None

    async def run(self, client: str, work: Callable[[], T]) -> T:
        """Do other blocking work of a caller in the same threads and turns as the chain, and return what it returns.

        Raises:
            Overloaded: Too much is waiting.
            BackendUnavailable: It takes too long.
        """

        async def wait() -> T:
            async with self._turns.take(client):
                context = contextvars.Context()
                return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: context.run(work))

        try:
            # Shielded: the turn is over when the work is, not when its caller has gone.
            return await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(wait())), self.timeout_s)
        except asyncio.TimeoutError:
            raise BackendUnavailable(f"no answer within {self.timeout_s:g} s") from None

    async def _exchange_token(self, presented: Presented, refused: Granted) -> Granted:
        credential = parse_authorization(presented.authorization)
        async with self._turns.take(presented.client):
            token = await asyncio.get_running_loop().run_in_executor(
                self._pool, lambda: self._obtain(refused.identity, credential, None, True)
            )
        return replace(refused, bearer=b"Bearer " + token.value.encode("ascii"))

    def open(self) -> None:
        """Hear of revocations in this process from now on, not only from its first check."""
        _ = self._revocations.hears_all

    def close(self) -> None:
        """Let nothing new start."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _digest_of(self, presented: Presented) -> bytes:
        return self._verified.digest((presented.authorization or "").encode("ascii"))

    def _fly(self, digest: bytes, presented: Presented, *, fresh: bool) -> asyncio.Task[Decision]:
        """Return the check in flight for this credential, started now unless there is one."""
        flight = self._flights.get(digest)
        if flight is None:
            flight = asyncio.ensure_future(self._check(presented, digest, fresh=fresh))
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
        except asyncio.TimeoutError:
            raise BackendUnavailable(f"the chain did not answer within {self.timeout_s:g} s") from None

    async def _check_with_body(self, presented: Presented, credential: Credential, digest: bytes) -> Decision:
        """Return the decision; the body is read only when a backend is to be asked that may look at it."""
        try:
            return await self._wait(asyncio.ensure_future(self._check(presented, digest, fresh=False)))
        except BodyWanted as wanted:
            course = wanted.course
            try:
                # Neither a thread nor a turn waits for a body that comes slowly.
                await _hold_body(presented, wanted.backend)
            except CompatAuthError as error:
                _record(presented, credential, "reject" if error.status < 500 else "unavailable", "", str(error))
                raise
        return await self._wait(asyncio.ensure_future(self._check(presented, digest, fresh=False, course=course)))

    async def _check(
        self, presented: Presented, digest: bytes, *, fresh: bool, course: Course | None = None
    ) -> Decision:
        self._loop = asyncio.get_running_loop()
        kind = type(parse_authorization(presented.authorization))
        alone = self._alone if self._waits_for_one[kind] else contextlib.nullcontext()
        async with self._turns.take(presented.client), alone:
            check = _Check(self._monotonic())
            self._under_way.add(check)
            # A context of its own: what a backend leaves in context variables must not reach another request.
            context = contextvars.Context()
            try:
                decision, for_s = await self._loop.run_in_executor(
                    self._pool, lambda: context.run(self._check_in_thread, presented, fresh, course)
                )
            finally:
                self._under_way.discard(check)
        if isinstance(decision, Granted) and digest:
            for_s = self._rememberable_s(decision.identity, check, for_s)
            if for_s > 0:
                decision = replace(decision, digest=digest)
                self._verified.remember(digest, decision, for_s)
        return decision

    def _rememberable_s(self, identity: Identity, check: _Check, for_s: float) -> float:
        if any(_concerns(revocation, identity) for revocation in check.heard):
            return 0
        if not identity.credential_id:
            return for_s
        limit_s = HEARD_S if self._revocations.hears_all else UNHEARD_S
        # Counted from when the check began: what it read may have changed right after.
        return min(for_s, limit_s - (self._monotonic() - check.began))

    def _hear(self, revocation: Revocation | None) -> None:
        """Have a revocation forgotten on the event loop; called from any thread."""
        loop = self._loop
        # Before the first check there is nothing to forget, and after the loop has ended nobody to let in.
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._forget, revocation)

    def _forget(self, revocation: Revocation | None) -> None:
        self._verified.forget_those(lambda granted: _concerns(revocation, granted.identity))
        # Whom a check under way is about is not known yet: who comes from now on does not wait for its answer, and the
        # answer itself is not remembered where the revocation concerns it.
        self._flights.clear()
        for check in self._under_way:
            check.heard.append(revocation)

    def _check_in_thread(self, presented: Presented, fresh: bool, course: Course | None) -> tuple[Decision, float]:
        credential = parse_authorization(presented.authorization)
        # An explicit credential beats a cookie: beside one, backends do not even see the cookies.
        with self.app.request_context(presented.environ(isinstance(credential, Absent))):
            try:
                answer = self.chain.ask(credential, course, body_at_hand=presented.body_at_hand())
                decision, for_s = self._conclude(answer, credential, fresh)
            except CompatAuthError as error:
                result = "reject" if error.status < 500 else "unavailable"
                _record(presented, credential, result, "", str(error))
                raise
        identity = decision.identity if isinstance(decision, Granted) else None
        names_nobody = isinstance(answer.outcome, Reject) and answer.outcome.names_nobody
        _record(presented, credential, *_describe(answer), identity, names_nobody=names_nobody)
        return decision, for_s

    def _conclude(self, answer: Answer, credential: Credential, fresh: bool) -> tuple[Decision, float]:
        match answer.outcome:
            case Accept(identity, headers, reusable_s, yielded, used):
                token = self._obtain(identity, credential, yielded, fresh)
                raw_headers = tuple(_raw_header(answer.backend, name, value) for name, value in headers)
                for_s = min(reusable_s, token.expires_at - _TOKEN_MARGIN_S - time.time()) if answer.reusable else 0
                bearer = b"Bearer " + token.value.encode("ascii")
                return Granted(identity, bearer, raw_headers, used=used), for_s
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


def _raw_header(backend: str, name: str, value: str) -> tuple[bytes, bytes]:
    """Return a backend's response header as it goes on the wire.

    Raises:
        BackendUnavailable: It would be another header, or none.
    """
    raw_name, raw_value = name.lower().encode("ascii", "replace"), value.encode("latin-1", "replace")
    if not name.isascii() or not is_header(raw_name, raw_value):
        raise BackendUnavailable(f"backend {backend}: answered with a response header that cannot be sent")
    return raw_name, raw_value


def _concerns(revocation: Revocation | None, identity: Identity) -> bool:
    # None: some revocation may have been missed. It can only matter to what is believed because they are heard.
    return bool(identity.credential_id) if revocation is None else revocation.concerns(identity)


def _is_refusal(error: BaseException) -> bool:
    # Who has to wait was not looked at.
    return isinstance(error, CompatAuthError) and error.status < 500 and not isinstance(error, TooManyRequests)


def _describe(answer: Answer) -> tuple[str, str, str]:
    match answer.outcome:
        case Accept():
            return "accept", answer.backend, ""
        case Reject(reason):
            return "reject", answer.backend, reason
        case Challenge():
            return "challenge", answer.backend, ""
        case Skip():
            return "skip", "", "no backend takes this kind of credential"


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
    audit.record(audit.Verdict(result, backend, username, reason, method, path, client, names_nobody))

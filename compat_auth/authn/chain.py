"""The chain: ask the backends in order; the first one that decides wins.

Mode "strict" keeps the six rules of the contract. Mode "airflow2" continues after a refusal, and words the final
refusal as Airflow 2.11 did (`airflow.api_connexion.security.check_authentication`), but has none of its holes: a
disabled user, or a cookie beside a wrong explicit credential, is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from compat_auth.audit.log import describe_exception
from compat_auth.backend import Backend, CredentialKind
from compat_auth.credentials import Absent, Bearer, Credential, Unrecognised
from compat_auth.errors import BackendUnavailable, CompatAuthError
from compat_auth.facts import answers_without_flask
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Challenge, Outcome, Reject, Skip
from compat_auth.sign_in import SignIn

logger = logging.getLogger("compat_auth.chain")

T = TypeVar("T")
Prepare = Callable[[object], None]
Mode = Literal["strict", "airflow2"]
# The names that Airflow 2 searches the list for; it treats FAB's own name for the same module as another one.
_CORE_SESSION = frozenset(("session", "airflow.api.auth.backend.session"))
# Kinds that several backends share: one that does not know the credential leaves it to the next.
_OF_MANY: frozenset[CredentialKind] = frozenset((Absent, Bearer, Unrecognised))
# Status of an error whose text no caller may see, such as a broken configuration.
_BROKEN = CompatAuthError.status


@dataclass(frozen=True, slots=True)
class Step:
    """The answer of one backend."""

    backend: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """The chain's answer to a request.

    Attributes:
        outcome: The deciding answer; Skip where no backend accepts this kind of credential.
        backend: Name of the backend that decided, or "".
        challenges: `WWW-Authenticate` values for a 401, one for each scheme, in the order of the chain.
        steps: The answers of all backends that were asked, in order.
        reusable: Whether every backend that was asked used only the credential: the same credential gets the same
            answer. Without a credential: whether the answer follows from the cookies and the scheme, as long as the
            peer says nothing and the method changes nothing.
    """

    outcome: Outcome
    backend: str
    challenges: tuple[str, ...]
    steps: tuple[Step, ...]
    reusable: bool = False


@dataclass(slots=True)
class Course:
    """Progress of the chain: the answers of the backends before `at`."""

    at: int = 0
    steps: list[Step] = field(default_factory=list["Step"])
    received: list[tuple[str, ...]] = field(default_factory=list["tuple[str, ...]"])
    refusal: Step | None = None
    reusable: bool = True


class BodyWanted(Exception):
    """The next backend may read the body, and the body is not available.

    Args:
        backend: Its name.
        course: Progress so far, for the call that has the body.
    """

    def __init__(self, backend: str, course: Course) -> None:
        super().__init__(backend)
        self.backend = backend
        self.course = course


@dataclass(frozen=True, slots=True)
class OfferedSignIn:
    """A way to log in, and the backend that offers it."""

    backend: Backend
    way: SignIn


class Chain:
    """The configured backends, in order. Thread-safe: it has no state.

    Args:
        backends: The backends in order, except that those which decide alone come first.
        mode: Style of decisions; see the module.
        reserves: Returns whether an identity's name is reserved, so that its backend may not verify it; None: no name
            is.
    """

    def __init__(
        self,
        backends: tuple[Backend, ...],
        mode: Mode = "strict",
        *,
        reserves: Callable[[Identity], bool] | None = None,
    ) -> None:
        self.backends = backends
        self.reserves = reserves
        self.mode: Mode = mode
        self._asked = tuple(sorted(backends, key=lambda backend: not backend.decides_alone))
        # A cookie is only what the browser happens to have: what the connection itself says goes before it.
        self._asked_without_credential = tuple(sorted(self._asked, key=lambda backend: not backend.reads_peer))

    def takes(self, kind: CredentialKind) -> bool:
        """Return whether any backend accepts a credential of this kind."""
        return any(kind in backend.kinds for backend in self.backends)

    def answers_alike(self, kind: CredentialKind) -> bool:
        """Return whether the same credential always gets the same answer, because no backend uses anything else."""
        return all(backend.depends_on_credential_only for backend in self.backends if kind in backend.kinds)

    def sign_ins(self) -> tuple[OfferedSignIn, ...]:
        """Return the ways to log in that the backends offer, in the order of the chain."""
        return tuple(OfferedSignIn(backend, way) for backend in self.backends for way in backend.sign_ins())

    def reads_bodies(self) -> bool:
        """Return whether any backend may read a request's body."""
        return any(backend.reads_body for backend in self.backends)

    def waits_for_one(self, kind: CredentialKind) -> bool:
        """Return whether this kind of credential may reach a backend that handles one request at a time."""
        for backend in self._asked:
            if kind in backend.kinds:
                if backend.one_at_a_time:
                    return True
                if self._always_decides(backend, kind):
                    return False
        return False

    def answers_without_flask(self, kind: CredentialKind) -> bool:
        """Return whether no backend that this kind of credential may reach needs Flask's request, or its body, or a turn."""
        for backend in self._asked:
            if kind in backend.kinds:
                if backend.reads_body or backend.one_at_a_time or not answers_without_flask(backend):
                    return False
                if self._always_decides(backend, kind):
                    return True
        return True

    def _always_decides(self, backend: Backend, kind: CredentialKind) -> bool:
        """Return whether no later backend gets this kind of credential: this one is for it alone."""
        return self.mode == "strict" and backend.kinds == frozenset((kind,)) and kind not in _OF_MANY

    def ask(
        self,
        credential: Credential,
        course: Course | None = None,
        *,
        body_at_hand: bool = True,
        prepare: Prepare | None = None,
    ) -> Answer:
        """Return the chain's answer, inside a Flask request context or what `prepare` makes.

        Args:
            credential: As presented.
            course: Where to continue; None: at the first backend.
            body_at_hand: Whether Flask's request has the whole body, or the request has none.
            prepare: Called with each backend before it is asked, to make the request visible to it; None: it is.

        Raises:
            BackendUnavailable: A backend could not ask its source. No later, weaker backend is asked instead.
            TooManyRequests: A backend refused to check, because the client guesses. No later backend is asked.
            BodyWanted: A backend may read the body; call again with it.
        """
        course = course or Course()
        asked = self._asked_without_credential if isinstance(credential, Absent) else self._asked
        for at, backend in enumerate(asked[course.at :], course.at):
            course.at = at
            if type(credential) not in backend.kinds:
                continue
            if backend.reads_body and not body_at_hand:
                raise BodyWanted(backend.name, course)
            is_reusable = course.reusable and _accepts_alike(backend, credential)
            course.reusable = course.reusable and _skips_alike(backend, credential)
            outcome = self._ask_one(backend, credential, prepare)
            step = Step(backend.name, outcome)
            course.steps.append(step)
            match outcome:
                case Accept():
                    if backend.reads_peer and isinstance(credential, Absent):
                        return self._agreed(outcome, backend, asked[at + 1 :], course, prepare)
                    return Answer(outcome, backend.name, (), tuple(course.steps), is_reusable)
                case Reject() | Challenge():
                    course.received.append(outcome.challenges if isinstance(outcome, Reject) else ())
                    course.refusal = course.refusal or step
                    alone = backend.decides_alone or (backend.reads_peer and isinstance(credential, Absent))
                    if self.mode == "strict" or alone:
                        break
                case Skip(challenges):
                    course.received.append(challenges)
        return self._refuse(course.refusal, course.steps, course.received)

    def _agreed(
        self,
        accepted: Accept,
        backend: Backend,
        others: tuple[Backend, ...],
        course: Course,
        prepare: Prepare | None,
    ) -> Answer:
        """Return the answer once everybody who reads what the connection says has named the same user, or nobody."""
        for other in others:
            if not other.reads_peer or Absent not in other.kinds:
                continue
            said = self._ask_one(other, Absent(), prepare)
            if isinstance(said, Accept) and said.identity.username != accepted.identity.username:
                said = Reject(f"{backend.name} and {other.name} name two people; one request is for one of them")
            course.steps.append(Step(other.name, said))
            if isinstance(said, Reject):
                return self._refuse(course.steps[-1], course.steps, [said.challenges])
        return Answer(accepted, backend.name, (), tuple(course.steps))

    def may_verify(self, identity: Identity) -> bool:
        """Return whether the name is not a role account's, or the identity is that account.

        Raises:
            BackendUnavailable: The role accounts could not be read.
        """
        return self.reserves is None or not self.reserves(identity)

    def _ask_one(self, backend: Backend, credential: Credential, prepare: Prepare | None) -> Outcome:
        if prepare is not None:
            prepare(backend)
        outcome = contained(backend, lambda: backend.authenticate(credential))
        if isinstance(outcome, Accept) and not self.may_verify(outcome.identity):
            return Reject(f"{outcome.identity.username!r} is a role account: only its personal tokens are accepted")
        return outcome

    def _refuse(self, refusal: Step | None, steps: list[Step], received: list[tuple[str, ...]]) -> Answer:
        challenges = self._challenges_after(steps, received)
        if refusal is None:
            return Answer(Skip(), "", challenges, tuple(steps))
        outcome = refusal.outcome
        match outcome:
            case Challenge(header):
                challenges = _one_for_each_scheme((header, *challenges))
            case Reject(challenges=offered) if self.mode == "strict":
                # RFC 6750 3: a challenge that reports a bad token comes before one that only names the scheme.
                errors = (value for value in offered if ' error="' in value)
                challenges = _one_for_each_scheme((*errors, *challenges))
            case Reject(vouched=False):
                # Airflow 2's chain drops a backend's 403; it sends one itself where a ticket names no user.
                outcome = replace(outcome, status=401)
            case _:
                pass
        return Answer(outcome, refusal.backend, challenges, tuple(steps))

    def challenges(self) -> tuple[str, ...]:
        """Return the challenges of the whole chain, one for each scheme (RFC 9110 section 11.6.1)."""
        return self._challenges_after([], [])

    def _challenges_after(self, steps: list[Step], received: list[tuple[str, ...]]) -> tuple[str, ...]:
        if self.mode == "airflow2":
            was_asked = bool(steps) and steps[-1].backend == self.backends[-1].name
            return self._last_challenge(received[-1] if was_asked else ())
        own = (value for backend in self.backends for value in backend.challenges())
        return _one_for_each_scheme((*own, *(value for values in received for value in values)))

    def _last_challenge(self, received: tuple[str, ...]) -> tuple[str, ...]:
        # Airflow 2 sends the headers of the last backend alone. Unless the list names `session`, it appends it, and
        # `session` sends none. Its Basic challenge has no parameters; that of a third-party module stays unchanged.
        if not any(backend.configured_as in _CORE_SESSION for backend in self.backends):
            return ()
        own = self.backends[-1].challenges()
        return tuple(value.split(" ", 1)[0] for value in own) or received


def _accepts_alike(backend: Backend, credential: Credential) -> bool:
    """Return whether an Accept of the backend follows from what is presented, see `Answer.reusable`."""
    if isinstance(credential, Absent):
        return _says(backend, "depends_on_cookies_only")
    return backend.depends_on_credential_only


def _skips_alike(backend: Backend, credential: Credential) -> bool:
    """Return whether a Skip of the backend follows from what is presented, see `Answer.reusable`."""
    if isinstance(credential, Absent):
        return _says(backend, "skips_silent_peers")
    return backend.depends_on_credential_only


def _says(backend: Backend, flag: str) -> bool:
    """Return whether the backend's own class has the flag; an inherited one speaks of another `authenticate`."""
    return vars(type(backend)).get(flag) is True


def contained(backend: Backend, ask: Callable[[], T]) -> T:
    """Return a backend's answer.

    Raises:
        BackendUnavailable: The backend could not ask its source, or raised an unexpected exception.
    """
    try:
        return ask()
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # also sys.exit(), which must not end a worker
        if isinstance(exc, CompatAuthError) and exc.status != _BROKEN:
            raise
        # A backend may be third-party code: its exception counts as an unavailable source, never as a 500.
        logger.error("backend %s raised; the request is answered 503: %s", backend.name, describe_exception(exc))  # noqa: TRY400  # not its message
        raise BackendUnavailable(f"backend {backend.name}: raised {type(exc).__name__}") from None


def _one_for_each_scheme(challenges: tuple[str, ...]) -> tuple[str, ...]:
    chosen: dict[str, str] = {}
    for challenge in challenges:
        chosen.setdefault(challenge.split(" ", 1)[0].lower(), challenge)
    return tuple(chosen.values())

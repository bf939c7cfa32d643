"""Ask the backends in order; the first that speaks decides.

Mode "strict" keeps the six rules of the contract. Mode "airflow2" goes on after a refusal and words the final refusal
as Airflow 2.11 did (`airflow.api_connexion.security.check_authentication`), but opens none of its holes: a disabled
user, or a cookie beside a wrong explicit credential, stays out.
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
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Challenge, Outcome, Reject, Skip
from compat_auth.sign_in import SignIn

logger = logging.getLogger("compat_auth.chain")

T = TypeVar("T")
Mode = Literal["strict", "airflow2"]
# What Airflow 2 looks for in the list; FAB's own name for the same module is another one to it.
_CORE_SESSION = frozenset(("session", "airflow.api.auth.backend.session"))
# Kinds that several backends share, so that one which does not know the credential leaves it to the next.
_OF_MANY: frozenset[CredentialKind] = frozenset((Absent, Bearer, Unrecognised))
# The status of an error that nobody may show to a caller, such as a broken configuration.
_BROKEN = CompatAuthError.status


@dataclass(frozen=True, slots=True)
class Step:
    """What one backend said."""

    backend: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """What the chain says about a request.

    Attributes:
        outcome: The deciding answer; Skip when no backend took the credential for its kind.
        backend: Name of the backend that decided, or "".
        challenges: `WWW-Authenticate` values for a 401, one for each scheme, in the order of the chain.
        steps: Every backend that was asked, in order.
        reusable: Nobody who was asked looked at anything but the credential: for the same one the answer is the same.
    """

    outcome: Outcome
    backend: str
    challenges: tuple[str, ...]
    steps: tuple[Step, ...]
    reusable: bool = False


@dataclass(slots=True)
class Course:
    """How far the chain has come: what the backends before `at` have said."""

    at: int = 0
    steps: list[Step] = field(default_factory=list["Step"])
    learnt: list[tuple[str, ...]] = field(default_factory=list["tuple[str, ...]"])
    refusal: Step | None = None
    reusable: bool = True


class BodyWanted(Exception):
    """The next backend may look at the body, and the body is not at hand.

    Args:
        backend: Its name.
        course: What to go on with once the body is at hand.
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
    """The configured, ordered backends. Thread-safe: it keeps no state.

    Args:
        backends: In the order in which they are asked, but for those that decide alone: they come first.
        mode: See the module.
        reserves: Whether an identity has a name that its backend may not vouch for; None: all names are free.
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

    def takes(self, kind: CredentialKind) -> bool:
        """Return whether any backend would be asked about a credential of this kind."""
        return any(kind in backend.kinds for backend in self.backends)

    def answers_alike(self, kind: CredentialKind) -> bool:
        """Return whether two requests with the same credential get the same answer: nobody looks at anything else."""
        return all(backend.depends_on_credential_only for backend in self.backends if kind in backend.kinds)

    def sign_ins(self) -> tuple[OfferedSignIn, ...]:
        """Return the ways to log in that the backends offer, in the order of the chain."""
        return tuple(OfferedSignIn(backend, way) for backend in self.backends for way in backend.sign_ins())

    def reads_bodies(self) -> bool:
        """Return whether any backend may look at a request's body."""
        return any(backend.reads_body for backend in self.backends)

    def waits_for_one(self, kind: CredentialKind) -> bool:
        """Return whether a credential of this kind may come to a backend that checks one request at a time."""
        for backend in self._asked:
            if kind in backend.kinds:
                if backend.one_at_a_time:
                    return True
                if self.mode == "strict" and backend.kinds == frozenset((kind,)) and kind not in _OF_MANY:
                    return False  # whose only kind it is has the last word
        return False

    def ask(self, credential: Credential, course: Course | None = None, *, body_at_hand: bool = True) -> Answer:
        """Return the chain's answer, inside a Flask request context.

        Args:
            credential: As presented.
            course: Where to go on; None: from the first.
            body_at_hand: Flask's request has the caller's whole body, or there is none.

        Raises:
            BackendUnavailable: A backend could not ask its source. No later, weaker one is asked instead.
            TooManyRequests: A backend did not ask it, because the caller guesses; nor is a later one.
            BodyWanted: A backend may look at the body; ask again with it.
        """
        course = course or Course()
        for at, backend in enumerate(self._asked[course.at :], course.at):
            course.at = at
            if type(credential) not in backend.kinds:
                continue
            if backend.reads_body and not body_at_hand:
                raise BodyWanted(backend.name, course)
            course.reusable = course.reusable and backend.depends_on_credential_only
            outcome = self._ask_one(backend, credential)
            step = Step(backend.name, outcome)
            course.steps.append(step)
            match outcome:
                case Accept():
                    return Answer(outcome, backend.name, (), tuple(course.steps), course.reusable)
                case Reject() | Challenge():
                    course.learnt.append(outcome.challenges if isinstance(outcome, Reject) else ())
                    course.refusal = course.refusal or step
                    if self.mode == "strict" or backend.decides_alone:
                        break
                case Skip(challenges):
                    course.learnt.append(challenges)
        return self._refuse(course.refusal, course.steps, course.learnt)

    def may_vouch_for(self, identity: Identity) -> bool:
        """Return whether the name is not a role account's, or the identity is that account.

        Raises:
            BackendUnavailable: That could not be asked.
        """
        return self.reserves is None or not self.reserves(identity)

    def _ask_one(self, backend: Backend, credential: Credential) -> Outcome:
        outcome = contained(backend, lambda: backend.authenticate(credential))
        if isinstance(outcome, Accept) and not self.may_vouch_for(outcome.identity):
            return Reject(f"{outcome.identity.username!r} is a role account: only its personal tokens get in")
        return outcome

    def _refuse(self, refusal: Step | None, steps: list[Step], learnt: list[tuple[str, ...]]) -> Answer:
        challenges = self._challenges_after(steps, learnt)
        if refusal is None:
            return Answer(Skip(), "", challenges, tuple(steps))
        outcome = refusal.outcome
        match outcome:
            case Challenge(header):
                challenges = _one_for_each_scheme((header, *challenges))
            case Reject(challenges=told) if self.mode == "strict":
                # RFC 6750 3: what says that the token is bad goes before the invitation to bring one.
                errors = (value for value in told if ' error="' in value)
                challenges = _one_for_each_scheme((*errors, *challenges))
            case Reject(vouched=False):
                # Airflow 2's chain forgets a backend's 403; it answers so itself where a ticket names no user.
                outcome = replace(outcome, status=401)
            case _:
                pass
        return Answer(outcome, refusal.backend, challenges, tuple(steps))

    def challenges(self) -> tuple[str, ...]:
        """Return the challenges of the whole chain, one for each scheme (RFC 9110 section 11.6.1)."""
        return self._challenges_after([], [])

    def _challenges_after(self, steps: list[Step], learnt: list[tuple[str, ...]]) -> tuple[str, ...]:
        if self.mode == "airflow2":
            was_asked = bool(steps) and steps[-1].backend == self.backends[-1].name
            return self._last_challenge(learnt[-1] if was_asked else ())
        own = (value for backend in self.backends for value in backend.challenges())
        return _one_for_each_scheme((*own, *(value for values in learnt for value in values)))

    def _last_challenge(self, learnt: tuple[str, ...]) -> tuple[str, ...]:
        # Airflow 2 sends the headers of the last backend alone. Unless the list names `session`, it appends it, and
        # `session` sends none. Its Basic challenge has no parameters; a module of a third party's is passed as it is.
        if not any(backend.configured_as in _CORE_SESSION for backend in self.backends):
            return ()
        own = self.backends[-1].challenges()
        return tuple(value.split(" ", 1)[0] for value in own) or learnt


def contained(backend: Backend, ask: Callable[[], T]) -> T:
    """Return what a backend answers.

    Raises:
        BackendUnavailable: It could not ask its source, or raised something that it must not.
    """
    try:
        return ask()
    except Exception as exc:
        if isinstance(exc, CompatAuthError) and exc.status != _BROKEN:
            raise
        # A backend may be anybody's code: its accident is a source that could not be asked, never a 500.
        logger.error("backend %s raised; the request is answered 503: %s", backend.name, describe_exception(exc))  # noqa: TRY400  # not its message
        raise BackendUnavailable(f"backend {backend.name}: raised {type(exc).__name__}") from None


def _one_for_each_scheme(challenges: tuple[str, ...]) -> tuple[str, ...]:
    chosen: dict[str, str] = {}
    for challenge in challenges:
        chosen.setdefault(challenge.split(" ", 1)[0].lower(), challenge)
    return tuple(chosen.values())

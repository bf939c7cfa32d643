"""The contract of a backend: two methods of Airflow 2, and one that we add.

A backend checks one kind of credential. It answers in exactly one of four ways (`compat_auth.outcome`), and
raises only `BackendUnavailable` and `TooManyRequests`. Inside `authenticate` Flask's `request` is the caller's request,
unless the backend says that it does not need it (`answers_without_flask`).

One import is enough for a backend: the answers, the credentials, the identity, the settings and the errors are here, too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from compat_auth.config import Settings
from compat_auth.credentials import Absent, Basic, Bearer, Credential, Negotiate, Unrecognised
from compat_auth.errors import BackendUnavailable, ConfigError, TooManyRequests
from compat_auth.guard import View, guard_view, recorded
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Challenge, Outcome, Reject, Skip
from compat_auth.scopes import Scope
from compat_auth.sign_in import Attempt, CredentialSignIn, RedirectSignIn, SignIn

if TYPE_CHECKING:
    from flask import Flask

__all__ = [
    "EVERY_KIND",
    "Absent",
    "Accept",
    "Attempt",
    "Backend",
    "BackendUnavailable",
    "Basic",
    "Bearer",
    "Challenge",
    "ConfigError",
    "Credential",
    "CredentialKind",
    "CredentialSignIn",
    "Identity",
    "Negotiate",
    "Outcome",
    "RedirectSignIn",
    "Reject",
    "Scope",
    "Settings",
    "SignIn",
    "Skip",
    "Token",
    "TooManyRequests",
    "Unrecognised",
]

CredentialKind = type[Absent] | type[Basic] | type[Bearer] | type[Negotiate] | type[Unrecognised]
"""The class of a credential; a backend names in `kinds` those that it is asked about."""

EVERY_KIND: frozenset[CredentialKind] = frozenset((Absent, Basic, Bearer, Negotiate, Unrecognised))
"""For a backend that is asked about every request."""


class Backend(ABC):
    """The base of every native backend.

    Attributes:
        name: The name it goes by, such as `basic_auth`; the registry sets it.
        configured_as: The name that the configuration uses for it, such as one of Airflow's; the registry sets it.
        kinds: The kinds of credential it is asked about; to any other its answer is Skip.
        needs: Settings and packages without which it cannot work, for `compat-auth backends`.
        needs_cookies: Without any cookie in the request its answer is Skip, so that it need not be asked.
        depends_on_credential_only: The answer follows from the credential and this backend's own source, not from
            the rest of the request, so that a later backend's Accept may be reused.
        reads_body: It may look at the request's body: the gate reads the body before it asks, and passes on what was seen.
        depends_on_cookies_only: Its Accept with `reusable_s` to a request without Authorization follows from the cookies, the
            scheme and its own source, for every safe method (RFC 9110 9.2.1). So a gate may reuse it for such requests.
            The flag counts only for the class that says it, not for a subclass.
        skips_silent_peers: It answers Skip where the other end of the connection says nothing (`Peer.speaks`), so that the
            answer of a later backend about cookies may be reused. It counts only for the class that says it.
        one_at_a_time: It checks one request at a time in a process, so that few threads may wait for it.
        reads_peer: It reads what the other end of the connection says (`compat_auth.peer`). Where the request has no
            Authorization it is asked before the backends that read cookies, and its refusal is final.
        decides_alone: It tells its kind of credential by a prefix: wherever it stands in the list it is asked first, so
            that no other sees what is its business, and its refusal is final in every mode.
    """

    name: str = ""
    configured_as: str = ""
    kinds: ClassVar[frozenset[CredentialKind]]
    needs: ClassVar[tuple[str, ...]] = ()
    needs_cookies: ClassVar[bool] = False
    depends_on_credential_only: ClassVar[bool] = True
    decides_alone: ClassVar[bool] = False
    reads_peer: ClassVar[bool] = False
    depends_on_cookies_only: ClassVar[bool] = False
    skips_silent_peers: ClassVar[bool] = False
    reads_body: bool = False
    one_at_a_time: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> Backend:
        """Return the backend as the configuration wants it.

        Raises:
            ConfigError: A setting is missing or wrong.
        """
        del settings
        return cls()

    def init_app(self, app: Flask) -> None:
        """Make the backend ready to answer inside this Flask app; calling it twice is harmless."""
        del app

    @abstractmethod
    def authenticate(self, credential: Credential) -> Outcome:
        """Answer for a credential of one of `kinds`; any thread may call.

        It is called inside a Flask request context, unless `answers_without_flask` says that none is needed.

        Raises:
            BackendUnavailable: The source could not be asked.
            TooManyRequests: The caller has shown too many wrong credentials, so that it was not.
        """

    def answers_without_flask(self) -> bool:
        """Return whether `authenticate` reads the request from `compat_auth.facts.request_facts` alone.

        Then a gate makes no Flask request context for it, which is faster. It must hold for everything that the answer
        uses, such as directories. It counts only for the class that defines it: a subclass that does not define it has
        Flask's request.
        """
        return False

    def may_claim(self, credential: Credential) -> bool:
        """Return whether the answer to a credential of one of `kinds` could differ from a plain Skip; in doubt, true.

        The gate calls it on its event loop, so it must be quick: it compares a prefix or an unverified claim, and asks
        nobody. False must hold for every request and for as long as the process runs: such a Bearer passes to the
        upstream without a question to `authenticate`. It counts only for the class that defines it: a subclass that does
        not define it is always asked.
        """
        del credential
        return True

    def refuse(self, credential: Credential, until: float) -> bool:
        """Refuse a credential that this backend has accepted, whatever its source goes on to say of it.

        Args:
            credential: As presented.
            until: Seconds since the epoch.

        Returns:
            Whether it is refused from now on; False where the backend cannot do that.

        Raises:
            BackendUnavailable: The source could not be asked.
        """
        del credential, until
        return False

    def probe(self) -> str:
        """Ask the source once, for `compat-auth check`, and return what was found; "" where there is nothing to ask.

        Raises:
            BackendUnavailable: The source could not be asked.
            ConfigError: It could, and shows that a setting is wrong.
        """
        return ""

    def challenges(self) -> tuple[str, ...]:
        """Return the `WWW-Authenticate` values that invite this backend's credential; () invites nobody."""
        return ()

    def sign_ins(self) -> tuple[SignIn, ...]:
        """Return the ways to log in that the backend offers on the login page; () offers none."""
        return ()

    def requires_authentication(self, view: View) -> View:
        """Return the view, guarded by this backend alone, as Airflow 2's backends did."""

        def authenticate(credential: Credential) -> Outcome:
            if type(credential) not in self.kinds:
                return Skip()
            return recorded(lambda: (self.authenticate(credential), self.name), credential)

        return guard_view(authenticate, self.challenges, view)

"""Run unmodified auth modules for Airflow 2 as backends.

Airflow 2's contract (`airflow.api_connexion.security.check_authentication`): a module has `init_app(app)` and
`requires_authentication(function)`; the chain called `requires_authentication(Response)()` and treated status 200 as
success. The user was flask-login's `current_user`, else `g.user`.

Where a module's answer is ambiguous, we fail closed: a success counts only if the module has called the function that
it guards and has named an active user. A module that cannot run, or that failed to import a name of Airflow and
continued without it, accepts nobody: requests that reach it get 503.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any, ClassVar, Protocol, cast

import flask
from flask import Flask, Response
from flask_login import LoginManager, current_user
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from compat_auth.audit.log import describe_exception, where_raised
from compat_auth.authn.airflow2.broken import do_not_say, say_once
from compat_auth.authn.airflow2.hooks import Hooks, handled, is_bad_jwt
from compat_auth.authn.airflow2.import_notes import failed_import, stand_ins_of
from compat_auth.authn.airflow2.reading import Reading, missing_settings
from compat_auth.authn.airflow2.stand_ins.host import Host, current_host, set_host
from compat_auth.authn.airflow2.starting import Start, is_of_network
from compat_auth.authn.airflow2.trial import IS_TRIAL, Grants, grants_everybody
from compat_auth.authn.shared import one_per_app
from compat_auth.authn.users.objects import identity_of, is_disabled
from compat_auth.backend import EVERY_KIND, Backend, CredentialKind
from compat_auth.concurrency.one_at_a_time import Turn, alone
from compat_auth.credentials import ANY_SPELLING, Absent, Bearer, Credential
from compat_auth.errors import BackendUnavailable, CompatAuthError, ConfigError
from compat_auth.guard import FLASK_LOGIN_USER, set_flask_login_user
from compat_auth.identity import Identity
from compat_auth.outcome import MODULE_ENVIRON, Accept, Outcome, Reject, Skip

logger = logging.getLogger("compat_auth.legacy")

# Headers that a success may add to the final answer; a module's cookies, redirects and body are dropped.
_SUCCESS_HEADERS = frozenset(("www-authenticate", "authentication-info", "server-authorization"))

_UNNAMED = "accepted the request but named no user"
# Where a module, or flask-login for it, stores the user.
_NAMES_A_USER = ("user", FLASK_LOGIN_USER)


class LegacyModule(Protocol):
    """The functions that Airflow 2 required of an auth backend module."""

    def init_app(self, app: Flask) -> Any:
        """Prepare the module for the app."""
        ...

    def requires_authentication(self, function: Any) -> Any:
        """Return the function with authentication in front."""
        ...


_AS_ALWAYS = Reading()


class LegacyBackend(Backend):
    """An auth module for Airflow 2 as a backend of the chain.

    Args:
        module: The module, or any object with its two functions.
        name: Its dotted name, for messages.
        thread_safe: Several requests may be in it at once.
        reads_body: It may look at the request's body.
        timeout_s: Seconds that a request waits for others to leave it.
        start_timeout_s: Seconds that its `init_app` may take before the program continues without its end.
        imported_as: The module that was imported under watch for it; "" where none was.
        host: What the module finds in the place of Airflow and FAB; None: that of the process.
        reading: How its answers are read.
    """

    kinds: ClassVar[frozenset[CredentialKind]] = EVERY_KIND
    # Nobody knows what an old module reads, so no answer after it may be cached.
    depends_on_credential_only: ClassVar[bool] = False

    def __init__(
        self,
        module: ModuleType | LegacyModule,
        name: str,
        *,
        thread_safe: bool = False,
        reads_body: bool = True,
        timeout_s: float = 30,
        start_timeout_s: float = 20,
        imported_as: str = "",
        host: Host | None = None,
        reading: Reading = _AS_ALWAYS,
    ) -> None:
        for function in ("init_app", "requires_authentication"):
            if not callable(getattr(module, function, None)):
                raise ConfigError(f"auth_backends: {name}: has no {function}(); Airflow 2's contract needs it")
        self._module = cast("LegacyModule", module)
        self.name = name
        self.one_at_a_time = not thread_safe
        self.reads_body = reads_body
        self._timeout_s = timeout_s
        self._imported_as = imported_as
        self._start_timeout_s = start_timeout_s
        self._host = host
        self._reading = reading
        self._success_headers = _SUCCESS_HEADERS | reading.answer_headers
        self._hooks = Hooks()
        self._start: Start | None = None

    def init_app(self, app: Flask, *, quiet: bool = False) -> None:
        """Call the module's own `init_app`, once for each app; a module that cannot start never stops the app."""
        seen: set[str] = one_per_app(app, "compat_auth_legacy", set[str])
        if self.name in seen:
            return
        seen.add(self.name)
        self._furnish(app)
        start = self._start = Start(
            lambda: self._run_init_app(app), self._describe_start, timeout_s=self._start_timeout_s
        )
        start.run()
        if not quiet:
            self._say_problem()

    def _run_init_app(self, app: Flask) -> None:
        with self._turn(), self._hooks.taken_from(app):
            self._module.init_app(app)
        if self._reading.is_tried and (grants := grants_everybody(app, self._try)):
            raise _MoreOpen(grants)

    def _describe_start(self, error: BaseException) -> str:
        if isinstance(error, _MoreOpen):
            return str(error)
        if isinstance(error, CompatAuthError):
            # Of a stand-in, or of the lock: it says what to set.
            return f"init_app() failed: {error}"
        return f"init_app() raised {type(error).__name__} at {where_raised(error)}"

    def _furnish(self, app: Flask) -> None:
        """Give the app what Airflow 2's had and a module looks at, where the app has none of its own."""
        host = self._host or current_host()
        set_host(app, host)
        app.extensions[ANY_SPELLING] = True
        if getattr(app, "appbuilder", None) is None:
            cast("Any", app).appbuilder = host.appbuilder
        cast("dict[str, Any]", app.config).setdefault(
            "AUTH_ROLE_PUBLIC", host.settings.airflow2.auth_role_public or None
        )

    def probe(self) -> str:
        """Start the module in an app of its own; see `Backend.probe`."""
        app = Flask("compat_auth check")
        app.secret_key = "compat_auth check"  # noqa: S105  # signs nothing that leaves here
        cast("Any", LoginManager(app)).user_loader(_no_user)
        self.init_app(app, quiet=True)
        if problem := self._problem():
            do_not_say(problem)
            raise ConfigError(problem)
        threads = "one request at a time" if self.one_at_a_time else "several requests at once"
        told = [f"module for Airflow 2, {threads}, {'may read' if self.reads_body else 'ignores'} bodies"]
        names = stand_ins_of(self._imported_as) if self._imported_as else []
        if names:
            told.append(f"stand-ins for {', '.join(names)}")
        told.extend(missing_settings(names, (self._host or current_host()).settings))
        return "; ".join(told)

    def _problem(self) -> str:
        """Return why the module accepts nobody, and the next step; "" if it runs."""
        if failed := self._imported_as and failed_import(self._imported_as):
            return (
                f"auth_backends: {self.name}: {failed}; install a package with that name, or remove the import: "
                "what an old module does without Airflow cannot be trusted"
            )
        if self._start is not None and (problem := self._start.problem):
            return f"auth_backends: {self.name}: {problem}; correct the module and restart"
        return ""

    def _say_problem(self) -> str:
        problem = self._problem()
        if problem:
            say_once(problem)
        return problem

    def _require_sound(self) -> None:
        if self._say_problem():
            raise BackendUnavailable(f"backend {self.name}: cannot run; compat-auth check says why")

    def _turn(self) -> AbstractContextManager[Turn]:
        return alone(f"backend {self.name}", self._timeout_s) if self.one_at_a_time else nullcontext(Turn())

    def authenticate(self, credential: Credential) -> Outcome:
        """Run the module on the current request; see `Backend.authenticate`."""
        self._require_sound()
        make: Callable[[], dict[str, Any]] | None = flask.request.environ.get(MODULE_ENVIRON)
        with self._turn() as turn:
            if make is None:
                outcome = self._run_here(credential)
            else:
                # In its own request context: the next module must be able to read the body again.
                with flask.current_app.request_context(make()):
                    outcome = self._run_here(credential)
            self._require_sound()
            if isinstance(outcome, Accept):
                turn.keep()
        return outcome

    def _try(self, credential: Credential) -> Grants:
        """Return the answer of the module to a credential of nobody, in the current request context."""
        with self._turn():
            try:
                outcome = self._run_here(credential)
            except CompatAuthError:
                return Grants.NOTHING
        if isinstance(outcome, Accept):
            return Grants.A_NAME
        return Grants.NO_NAME if isinstance(outcome, Reject) and outcome.reason == _UNNAMED else Grants.NOTHING

    def _run_here(self, credential: Credential) -> Outcome:
        self._reading.remote_user.put_into(flask.request.environ)
        session, modified = dict(flask.session), flask.session.modified
        named = {name: flask.g.get(name) for name in _NAMES_A_USER if name in flask.g}
        accepted = False
        try:
            outcome = self._run(credential)
            accepted = isinstance(outcome, Accept)
            return outcome
        finally:
            if not accepted:
                # A user whom a module names before it refuses must not become the user of the next module.
                for name in _NAMES_A_USER:
                    flask.g.pop(name, None)
                for name, user in named.items():
                    setattr(flask.g, name, user)
            if dict(flask.session) != session:
                # login_user() writes to the session; the app's own session must not change, and no cookie may be set.
                flask.session.clear()
                flask.session.update(session)
                flask.session.modified = modified

    def _run(self, credential: Credential) -> Outcome:
        called: list[bool] = []

        def granted(*_args: Any, **_kwargs: Any) -> Response:
            called.append(True)
            return Response()

        if not isinstance(credential, Absent) and (manager := _login_manager()) is not None:
            # An explicit credential has precedence: a module that only asks for the logged-in user must not see the
            # cookie's.
            set_flask_login_user(manager.anonymous_user())
        try:
            response = self._answer(granted)
            user = self._named_user()
        except HTTPException as exc:
            # flask.abort() is an answer, not an error.
            response, user = exc.get_response(flask.request.environ), None
            called.clear()
        except CompatAuthError as exc:
            raise self._unavailable(exc) from exc
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # noqa: BLE001  # also sys.exit(), which must not end a worker
            response, user = self._after_accident(exc), None
            called.clear()
        if called and 200 <= response.status_code < 300:
            return self._accept(user, response)
        return self._refuse(credential, response)

    def _answer(self, granted: Callable[..., Response]) -> BaseResponse:
        response = self._hooks.before()
        if response is None:
            response = flask.make_response(self._module.requires_authentication(granted)())
        return self._hooks.after(response)

    def _unavailable(self, error: CompatAuthError) -> CompatAuthError:
        if isinstance(error, ConfigError):
            # Of a stand-in: it says what to set.
            logger.error("backend %s: %s; the request is answered 503", self.name, error)
            return BackendUnavailable(f"backend {self.name}: {error}")
        return error

    def _after_accident(self, error: BaseException) -> BaseResponse:
        """Return the answer to an exception: that of the handler that a library of the module has registered, or 401.

        Raises:
            BackendUnavailable: Third-party code may raise anything, which counts as unavailable.
        """
        answer = handled(error) if isinstance(error, Exception) else None
        if answer is not None and 400 <= answer.status_code < 500:
            return answer
        if is_bad_jwt(error):
            return Response(status=401)
        if self._reading.accident_refuses and isinstance(error, Exception) and not is_of_network(error):
            logger.info("backend %s raised, which refuses: %s", self.name, describe_exception(error))
            return Response(status=401)
        # Not its message, which may hold the credential. A trial at the start is nobody's request.
        log = logger.debug if flask.request.environ.get(IS_TRIAL) else logger.error
        log("backend %s raised; the request is answered 503: %s", self.name, describe_exception(error))
        raise BackendUnavailable(f"backend {self.name}: raised {type(error).__name__}") from error

    @staticmethod
    def _named_user() -> object:
        if _login_manager() is not None and current_user.is_authenticated:
            return cast("object", current_user)
        return cast("object", flask.g.get("user"))

    def _accept(self, user: object, response: BaseResponse) -> Outcome:
        if user is not None and is_disabled(user):
            return Reject("the user is disabled")
        identity = identity_of(user, backend=self.name)
        if identity is None and user is None and (account := self._reading.user_when_unnamed):
            identity = Identity(account, self.name, subject=account)
        if identity is None:
            return Reject(_UNNAMED, status=403)
        headers = tuple((name, value) for name, value in response.headers if name.lower() in self._success_headers)
        return Accept(identity, headers)

    def _refuse(self, credential: Credential, response: BaseResponse) -> Outcome:
        challenges = tuple(response.headers.getlist("WWW-Authenticate")) if response.status_code == 401 else ()
        if response.status_code >= 500:
            raise BackendUnavailable(f"backend {self.name}: answered {response.status_code}")
        # A module that challenges for Basic and refuses Basic has decided about its own kind. Bearer is shared by many
        # kinds, the upstream's own JWT among them: its refusal decides nothing.
        if isinstance(credential, (Absent, Bearer)):
            return Skip(challenges)
        if any(challenge.split(" ", 1)[0].lower() == credential.scheme.lower() for challenge in challenges):
            return Reject(f"refused with {response.status_code}", challenges=challenges)
        return Skip(challenges)


class _MoreOpen(Exception):
    """The module lets in whom Airflow 2 did not know."""


def _no_user(_user_id: str) -> None:
    return None


def _login_manager() -> Any:
    return getattr(flask.current_app, "login_manager", None)

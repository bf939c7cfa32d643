"""A module for Airflow 2 that cannot run, and what is said about it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar

from compat_auth.authn.airflow2.starting import Start
from compat_auth.backend import EVERY_KIND, Backend, CredentialKind
from compat_auth.credentials import ANY_SPELLING
from compat_auth.errors import BackendUnavailable, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from compat_auth.credentials import Credential
    from compat_auth.outcome import Outcome

logger = logging.getLogger("compat_auth.legacy")

# Problems of modules that were logged or reported by `compat-auth check`: once in a process.
_said: set[str] = set()


class BrokenModule(Backend):
    """An auth module for Airflow 2 that cannot run: requests that reach it get 503, and the chain keeps its order.

    Args:
        name: Its dotted name.
        problem: Why it cannot run, and the next step.
    """

    kinds: ClassVar[frozenset[CredentialKind]] = EVERY_KIND
    depends_on_credential_only: ClassVar[bool] = False

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        self.problem = problem

    def init_app(self, app: Flask) -> None:
        """Log what is wrong."""
        del app
        say_once(self.problem)

    def probe(self) -> str:
        """Raise with what is wrong; see `Backend.probe`."""
        do_not_say(self.problem)
        raise ConfigError(self.problem)

    def authenticate(self, credential: Credential) -> Outcome:
        """Raise BackendUnavailable."""
        del credential
        raise BackendUnavailable(f"backend {self.name}: cannot run; compat-auth check says why")


class DeferredModule(BrokenModule):
    """A module whose import has failed at a network, or takes long: 503 until a later attempt imports it.

    Args:
        name: Its dotted name.
        failure: Why it could not be imported.
        load: Imports it, and returns its backend.
        reads_body: It may look at the request's body.
        one_at_a_time: It handles one request at a time.
    """

    def __init__(
        self,
        name: str,
        failure: BaseException,
        load: Callable[[], Backend],
        *,
        reads_body: bool = True,
        one_at_a_time: bool = True,
    ) -> None:
        super().__init__(name, str(failure))
        self.reads_body = reads_body
        self.one_at_a_time = one_at_a_time
        self._load = load
        self._apps: list[Flask] = []
        self._backend: Backend | None = None
        self._start = Start(self._attempt, str, timeout_s=0)
        self._start.has_failed(failure)

    def init_app(self, app: Flask) -> None:
        """Log what is wrong, and remember the app for later."""
        super().init_app(app)
        self._apps.append(app)
        app.extensions[ANY_SPELLING] = True

    def authenticate(self, credential: Credential) -> Outcome:
        """Ask the module, once it has been imported; see `Backend.authenticate`."""
        _ = self._start.problem  # which tries again when that is due
        if self._backend is None:
            return super().authenticate(credential)
        return self._backend.authenticate(credential)

    def _attempt(self) -> None:
        backend = self._load()
        for app in self._apps:
            backend.init_app(app)
        self._backend = backend
        logger.info("backend %s: its module has been imported now", self.name)


def say_once(problem: str) -> None:
    """Log why a module cannot run, unless that was said in this process."""
    if problem not in _said:
        _said.add(problem)
        logger.error("%s; until then requests that reach it are answered 503; see compat-auth check", problem)


def do_not_say(problem: str) -> None:
    """Do not log it: it is reported in another way."""
    _said.add(problem)

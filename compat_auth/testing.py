"""The requirements of every backend, as tests: subclass `BackendContract`, say how to present a credential, run pytest.

::

    class TestTokens(BackendContract):
        @pytest.fixture
        def backend(self) -> Backend:
            return TokenBackend({"secret": "alice"})

        def good(self) -> Headers:
            return {"Authorization": "Bearer secret"}

        def bad(self) -> dict[str, Headers]:
            return {"wrong": {"Authorization": "Bearer wrong"}}

An Airflow 2 module takes the test as `compat_auth.airflow2.LegacyBackend(module, name)`. A test that does not apply to
a backend is switched off in the line of the class, as in `class TestNobody(BackendContract, accepts=False)`: such a
test is not collected at all. Needs pytest.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, cast

import flask
import pytest
from flask_login import LoginManager  # pyright: ignore[reportMissingTypeStubs]  # flask-login has no stubs

from compat_auth.authn.surroundings import Surroundings
from compat_auth.backend import Backend
from compat_auth.credentials import Absent
from compat_auth.errors import BackendUnavailable, CompatAuthError, RequestRefused
from compat_auth.guard import current_identity, request_credential
from compat_auth.http.asgi import Scope
from compat_auth.http.headers import take_in
from compat_auth.http.request import GateRequest
from compat_auth.outcome import Accept, Challenge, Outcome, Reject, Skip
from compat_auth.peer import Peer

__all__ = ["MALFORMED", "BackendContract", "Headers", "visit"]

Headers = Mapping[str, str]
"""Request headers that present something."""

MALFORMED: dict[str, Headers] = {
    f"{scheme}-{name}": {"Authorization": f"{scheme}{value}"}
    for scheme in ("Basic", "Bearer", "Negotiate", "Digest", "ApiKey", "")
    for name, value in {
        "no-value": "",
        "spaces": "   ",
        "not-base64": " !!!",
        "padding-alone": " ====",
        "one-byte": " QQ==",
        "no-colon": " bm9jb2xvbg==",
        "not-utf-8": " /zr/",
        "nul": " AA==",
        "control-characters": " YTpiAGMK",
        "two-values": " YWxpY2U6eA==, YWxpY2U6eA==",
        "long": " " + "QUFB" * 4000,
        "three-parts": " e30.e30.e30",
    }.items()
}
"""Authorization values that no backend may accept, whatever its kind, by name."""

_FROM_BROWSERS: dict[str, Headers] = {
    "own page": {"Sec-Fetch-Site": "same-origin", "Origin": "http://gateway.example"},
    "foreign page": {"Sec-Fetch-Site": "cross-site", "Origin": "http://elsewhere.example"},
    "old browser": {"Origin": "http://gateway.example:80", "User-Agent": "old"},
    "handshake": {"Origin": "http://elsewhere.example", "Upgrade": "WebSocket"},
}
_THREADS = 6
_ROUNDS = 4
_RANDOM_TOKENS = 50


class BackendContract:
    """The suite. Override `backend` and the methods that present something; each test then holds for your backend.

    Attributes:
        username: Whom `good` names.
    """

    username = "alice"

    def __init_subclass__(cls, *, accepts: bool = True, has_source: bool = False, counts_work: bool = False) -> None:
        """Leave out what does not apply.

        Args:
            accepts: False for a backend that accepts nobody.
            has_source: The backend asks something that can be down, and `break_source` is overridden.
            counts_work: `count_work` is overridden.
        """
        super().__init_subclass__()
        left_out = {"accepts": accepts, "has_source": has_source, "counts_work": counts_work}
        for name, test in vars(BackendContract).items():
            wanted = getattr(test, "only_where", None)
            if wanted is not None:
                setattr(cls, name, test if left_out[wanted] else None)

    @pytest.fixture
    def backend(self) -> Backend:
        """Return the backend under test, not yet initialised in any app."""
        raise NotImplementedError("override the fixture `backend`")

    @pytest.fixture
    def app(self, backend: Backend) -> flask.Flask:
        """Return a Flask app in which the backend alone guards a view."""
        return self.guarded_app(backend)

    def good(self) -> Headers:
        """Return headers that are accepted as `username`, new ones for each call where a credential is good once."""
        raise NotImplementedError("override good()")

    def bad(self) -> Mapping[str, Headers]:
        """Return headers that look right and must be refused, by name: the wrong secret, an unknown and a disabled user."""
        raise NotImplementedError("override bad()")

    def make_app(self) -> flask.Flask:
        """Return a Flask app without the backend; override it where the backend leans on something in the app."""
        app = flask.Flask("contract")
        cast("Any", LoginManager(app)).user_loader(_no_user)
        return app

    def break_source(self) -> AbstractContextManager[None]:
        """Return a context in which the source that the backend asks is down."""
        raise NotImplementedError("override break_source(), or leave out has_source")

    def count_work(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """Return a list that grows by one with each costly operation, such as a password hash, and names its cost."""
        raise NotImplementedError("override count_work(), or leave out counts_work")

    def guarded_app(self, backend: Backend) -> flask.Flask:
        """Return an app whose `/` answers with the name of the current identity, once the backend lets a caller in."""
        app = self.make_app()
        backend.init_app(app)
        app.add_url_rule("/", "guarded", backend.requires_authentication(_name_caller))
        return app

    @staticmethod
    def ask(backend: Backend, app: flask.Flask, headers: Headers) -> Outcome:
        """Return the backend's answer to a request with these headers; a malformed one is refused by our parser."""
        # As the test client has it, and every server.
        with app.test_request_context("/", headers=dict(headers), environ_base={"REMOTE_ADDR": "127.0.0.1"}):
            try:
                credential = request_credential()
            except RequestRefused as error:
                return Reject(str(error))
            return backend.authenticate(credential) if type(credential) in backend.kinds else Skip()

    def test_nothing_presented_is_not_accepted(self, backend: Backend, app: flask.Flask) -> None:
        """Without any credential the answer is Skip, so that the next backend is asked."""
        outcome = self.ask(backend, app, {})

        assert isinstance(outcome, (Skip, Reject))

    def test_without_a_credential_the_next_backend_is_asked(self, backend: Backend, app: flask.Flask) -> None:
        """Only what is presented can be bad."""
        outcome = self.ask(backend, app, {})

        assert isinstance(outcome, Skip)

    @pytest.mark.parametrize("headers", [pytest.param(value, id=name) for name, value in MALFORMED.items()])
    def test_a_malformed_credential_is_refused(self, backend: Backend, app: flask.Flask, headers: Headers) -> None:
        """Malformed is bad or not our kind, and never an accident."""
        outcome = self.ask(backend, app, headers)
        answer = visit(app, headers)

        assert isinstance(outcome, (Reject, Skip))
        assert answer.status_code in {400, 401, 403}

    @pytest.mark.parametrize("scheme", ["Basic", "Bearer", "Negotiate"])
    def test_random_bytes_are_refused(self, backend: Backend, app: flask.Flask, scheme: str) -> None:
        """Whatever the bytes, the answer is an answer."""
        chance = random.Random(4559)  # noqa: S311  # the same bytes in each run

        outcomes = {
            type(self.ask(backend, app, {"Authorization": f"{scheme} {_base64(chance.randbytes(size))}"}))
            for size in range(1, _RANDOM_TOKENS)
        }

        assert outcomes <= {Reject, Skip}

    def test_a_bad_credential_is_refused(self, backend: Backend, app: flask.Flask) -> None:
        """Wrong secrets, unknown and disabled users stay out, in the chain and in a view."""
        for name, headers in self.bad().items():
            outcome = self.ask(backend, app, headers)

            assert isinstance(outcome, (Reject, Skip, Challenge)), name

    def test_a_refusal_is_401_or_403_and_leaves_nothing_behind(self, app: flask.Flask) -> None:
        """No cookie, no redirect, no word of what was presented; and nobody is current."""
        presented: dict[str, Headers] = {"nothing": {}, **self.bad()}

        for name, headers in presented.items():
            answer = visit(app, headers)

            assert answer.status_code in {401, 403}, name
            assert answer.content_type == "application/problem+json", name
            assert not {"Set-Cookie", "Location"} & set(answer.headers.keys()), name
            assert not any(_is_repeated(value, answer) for value in headers.values()), name

    def test_a_401_carries_the_challenges(self, backend: Backend, app: flask.Flask) -> None:
        """A client that waits for an invitation gets it (RFC 9110 section 15.5.2)."""
        answer = visit(app, {})

        assert answer.status_code == 401
        assert set(backend.challenges()) <= set(answer.headers.getlist("WWW-Authenticate"))

    def test_a_good_credential_is_accepted(self, backend: Backend, app: flask.Flask) -> None:
        """The identity names the user, and the backend that vouches."""
        outcome = self.ask(backend, app, self.good())

        assert isinstance(outcome, Accept)
        assert outcome.identity.username == self.username
        assert outcome.identity.backend == backend.name

    def test_it_answers_a_gate_as_it_answers_flask(self, backend: Backend, app: flask.Flask) -> None:
        """A gate makes no Flask request for a backend that `answers_without_flask`; its answers are the same."""
        # Made twice: some credentials are good for one question only, also to be refused.
        sets: list[dict[str, Headers]] = [
            {"nothing": {}, **self.bad(), **MALFORMED, **_FROM_BROWSERS} for _ in range(2)
        ]

        for name in sets[0]:
            native = _ask_at_gate(backend, app, sets[0][name], "POST", with_facts=True)
            by_flask = _ask_at_gate(backend, app, sets[1][name], "POST", with_facts=False)

            assert native == by_flask, name

    def test_it_accepts_at_a_gate_whom_it_accepts_in_flask(self, backend: Backend, app: flask.Flask) -> None:
        """The same identity, with the same response headers."""
        answers = [
            _ask_at_gate(backend, app, {**self.good(), **more}, method, with_facts=with_facts)
            for method in ("GET", "POST")
            for more in (dict[str, str](), *_FROM_BROWSERS.values())
            for with_facts in (True, False)
        ]

        assert answers[0][0] == "accept"
        assert answers[::2] == answers[1::2]

    def test_what_it_does_not_claim_it_skips(self, backend: Backend, app: flask.Flask) -> None:
        """`may_claim` is false only for a credential that gets a plain Skip."""
        presented: dict[str, Headers] = {"good": self.good(), **self.bad(), **MALFORMED}
        for name, headers in presented.items():
            with app.test_request_context("/", headers=dict(headers)):
                try:
                    credential = request_credential()
                except RequestRefused:
                    continue
                claims = type(credential) in backend.kinds and backend.may_claim(credential)

            assert claims or self.ask(backend, app, headers) == Skip(), name

    def test_a_guarded_view_sees_the_identity(self, app: flask.Flask) -> None:
        """`requires_authentication` works by itself, as in Airflow 2; no session is begun."""
        answer = visit(app, self.good())

        assert (answer.status_code, answer.text) == (200, self.username)
        assert "Set-Cookie" not in answer.headers

    def test_init_app_may_be_called_twice(self, backend: Backend, app: flask.Flask) -> None:
        """A second call changes nothing."""
        backend.init_app(app)

        assert visit(app, self.good()).status_code == 200

    def test_two_apps_of_one_process_do_not_meet(self, backend: Backend, app: flask.Flask) -> None:
        """A backend keeps nothing in the process that belongs to an app."""
        other = self.guarded_app(backend)

        answers = [visit(one, self.good()) for one in (app, other, app)]
        refused = [visit(one, {}) for one in (app, other)]

        assert [answer.text for answer in answers] == [self.username] * 3
        assert {answer.status_code for answer in refused} <= {401, 403}

    def test_threads_do_not_meet(self, app: flask.Flask) -> None:
        """Good and bad credentials at once: each gets its own decision."""
        bad = list(self.bad().values())
        presented = [self.good() for _ in range(_THREADS * _ROUNDS)]
        mixed = [one for number, good in enumerate(presented) for one in (good, bad[number % len(bad)])]

        def name_in_answer(headers: Headers) -> str:
            answer = visit(app, headers)
            return str(answer.text) if answer.status_code == 200 else ""

        with ThreadPoolExecutor(_THREADS) as threads:
            names = list(threads.map(name_in_answer, mixed))

        assert names == [self.username, ""] * len(presented)

    def test_a_source_that_is_down_is_503_and_comes_back(self, backend: Backend, app: flask.Flask) -> None:
        """Meanwhile nobody is accepted, no answer calls the credential wrong, and no restart is needed."""
        with self.break_source():
            with pytest.raises(BackendUnavailable):
                self.ask(backend, app, self.good())
            answer = visit(app, self.good())
        mended = visit(app, self.good())

        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
        assert mended.status_code == 200

    def test_whoever_is_refused_costs_the_same(
        self, backend: Backend, app: flask.Flask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An attacker with a stopwatch does not learn who exists."""
        work = self.count_work(monkeypatch)
        spent: dict[str, list[Any]] = {}

        for name, headers in self.bad().items():
            del work[:]
            self.ask(backend, app, headers)
            spent[name] = list(work)

        assert all(spent.values()), spent
        assert len({str(costs) for costs in spent.values()}) == 1, spent


def _only_where(condition: str, *tests: str) -> None:
    for name in tests:
        vars(BackendContract)[name].only_where = condition


_only_where(
    "accepts",
    "test_what_it_does_not_claim_it_skips",
    "test_without_a_credential_the_next_backend_is_asked",
    "test_a_401_carries_the_challenges",
    "test_a_good_credential_is_accepted",
    "test_it_accepts_at_a_gate_whom_it_accepts_in_flask",
    "test_a_guarded_view_sees_the_identity",
    "test_init_app_may_be_called_twice",
    "test_two_apps_of_one_process_do_not_meet",
    "test_threads_do_not_meet",
)
_only_where("has_source", "test_a_source_that_is_down_is_503_and_comes_back")
_only_where("counts_work", "test_whoever_is_refused_costs_the_same")


def visit(app: flask.Flask, headers: Headers) -> Any:
    """Return the answer to a request for the guarded view of `guarded_app`."""
    # With a cookie jar, the test client would drop the Cookie header.
    return app.test_client(use_cookies=False).get("/", headers=dict(headers))


def _ask_at_gate(
    backend: Backend, app: flask.Flask, headers: Headers, method: str, *, with_facts: bool
) -> tuple[object, ...]:
    """Return a summary of the backend's answer at a gate, where two good credentials of one user have the same summary."""
    raw = [(name.lower().encode(), value.encode("utf-8")) for name, value in headers.items()]
    scope: Scope = {"type": "http", "headers": [(b"host", b"gateway.example"), *raw]}
    try:
        peer = Peer("127.0.0.1", tuple((name.lower(), value) for name, value in headers.items()))
        request = GateRequest(scope, take_in(scope["headers"]), method, b"/", b"", "127.0.0.1", peer=peer)
        presented = request.presented()
        credential = presented.shown.credential()
    except RequestRefused as error:
        return ("malformed", str(error))
    if type(credential) not in backend.kinds:
        return ("skip",)
    with_cookies = isinstance(credential, Absent)
    facts = request.facts(app, with_cookies) if with_facts else None
    with Surroundings(app, facts, lambda: presented.environ(with_cookies)) as surroundings:
        surroundings.provide_for(backend)
        try:
            outcome = backend.authenticate(credential)
        except CompatAuthError as error:
            return ("error", type(error).__name__)
    if isinstance(outcome, Reject):
        # The reason may name the credential.
        return (replace(outcome, reason=""),)
    if not isinstance(outcome, Accept):
        return (outcome,)
    identity = replace(outcome.identity, expires_at=None, credential_id="")
    return ("accept", identity, [name for name, _ in outcome.headers], outcome.reusable_s > 0, outcome.token is None)


def _no_user(_user_id: str) -> None:
    return None


def _name_caller() -> str:
    return current_identity.username


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _is_repeated(value: str, answer: Any) -> bool:
    secret = value.rpartition(" ")[2]
    return len(secret) > 8 and (secret in answer.text or secret in str(answer.headers))  # a shorter one is a mere word

"""Replays a request through the chain and reports each backend's outcome, without secrets."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from compat_auth.airflow.v1.driver import Request
from compat_auth.airflow.v1.dry_run import preview
from compat_auth.airflow_api.paths import V1
from compat_auth.airflow_api.permission import uncovered
from compat_auth.authn.chain import Answer, Chain
from compat_auth.backend import Backend
from compat_auth.cli.diagnosis.connection import Connection
from compat_auth.composition.decider import create_flask_app
from compat_auth.composition.rules import gate_rules, protected_paths, translates_v1
from compat_auth.composition.tokens import build_issuer
from compat_auth.config import Settings
from compat_auth.credentials import Absent, Basic, Credential, parse_authorization, single_authorization
from compat_auth.errors import BadRequest, CompatAuthError
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.headers import RawHeaders, take_in
from compat_auth.http.paths import MergedPath, Prefixes, canonical_query, read_path
from compat_auth.http.request import GateRequest
from compat_auth.outcome import Accept, Challenge, Outcome, Reject, Skip
from compat_auth.tokens.strategies import build_strategy


@dataclass(frozen=True, slots=True)
class Replay:
    """A request to replay.

    Attributes:
        method: Upper case.
        target: Path and query, as in a request line.
        headers: Name and value pairs; a missing Host is added.
        body: The body, for translated operations and modules of Airflow 2.
        connection: The other end of the connection.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    connection: Connection = Connection()  # noqa: RUF009  # nothing changes in it

    def take_in(self, settings: Settings) -> GateRequest:
        """Return the request as the middleware would parse it.

        Args:
            settings: Of the gateway.

        Raises:
            MergedPath: The middleware would answer 308.
            CompatAuthError: The middleware would reject the request as malformed.
        """
        rules = gate_rules(settings)
        sent = (*self.headers, *self.connection.headers(settings))
        raw: RawHeaders = [(name.lower().encode("ascii"), value.encode("utf-8")) for name, value in sent]
        if not any(name == b"host" for name, _ in raw):
            raw.append((b"host", b"localhost"))
        path, _, query = self.target.encode("utf-8").partition(b"?")
        intake = take_in(raw, api_key=rules.api_key, named=rules.identity_headers)
        scope = {"type": "http", "method": self.method, "scheme": "http", **self.connection.scope(settings)}
        trusted = TrustedProxies(settings.trusted_proxies)
        request = GateRequest(
            scope,
            intake,
            self.method,
            read_path(path, rules.rests),
            canonical_query(query),
            trusted.client(scope, intake.forward),
            body=self.body,
        )
        request.peer = self.connection.peer(settings, scope, intake)
        if trusted.covers(self.connection.address):
            request.identity_headers = intake.identity
        return request


def explain(settings: Settings, replay: Replay) -> Iterator[str]:
    """Yield lines about the request's journey: intake, credential, each backend, decision, token.

    Raises:
        ConfigError: The chain cannot be built.
    """
    app = create_flask_app(settings)
    chain: Chain = app.extensions["compat_auth"].chain
    try:
        request = replay.take_in(settings)
        raw = request.intake.authorization
        credential = parse_authorization(single_authorization([raw] if raw is not None else []))
    except MergedPath as merged:
        yield f"intake: 308 to {merged.path.decode('ascii')}, for every caller"
        return
    except CompatAuthError as error:
        yield f"intake: refused with {error.status}: {error}"
        return
    yield f"path: {request.path.decode('ascii')}"
    yield from replay.connection.described(settings, request.intake)
    protected = protected_paths(settings)
    if not Prefixes(protected).cover(request.path):
        yield f"decision: passes unchanged; not below {', '.join(protected)}"
        return
    yield f"credential: {_masked(credential)}"
    outcomes: dict[str, Outcome] = {}
    with app.request_context(request.presented().environ(isinstance(credential, Absent))):
        try:
            answer = chain.ask(credential)
        except CompatAuthError as error:
            yield f"decision: {error.status}: {error}"
            return
        outcomes = {step.backend: step.outcome for step in answer.steps}
        for backend in chain.backends:
            yield f"backend {backend.name}: {_result(backend, credential, outcomes)}"
        needed = _uncovered(answer, request, replay.body)
        if needed is not None:
            needs = f"; it needs {needed}" if needed else ""
            yield f"decision: 403: the credential's scopes do not cover this request{needs}"
            return
        yield from _decision(settings, answer, credential, chain)
        if _goes_on(answer, credential):
            yield from _translation(settings, request, replay)
        elif isinstance(credential, Absent):
            # The list of calls needs no login.
            yield from (f"with a credential, {line}" for line in _translation(settings, request, replay))


def _masked(credential: Credential) -> str:
    match credential:
        case Absent():
            return "none"
        case Basic(username):
            return f"Basic, user name {username!r}, password hidden"
        case _:
            return f"{credential.scheme}, hidden"


def _result(backend: Backend, credential: Credential, outcomes: dict[str, Outcome]) -> str:
    match outcomes.get(backend.name):
        case Accept(identity):
            return f"accepts {identity.username!r}"
        case Reject(reason, status):
            return f"rejects with {status}: {reason}"
        case Challenge():
            return "wants a further leg"
        case Skip() if backend.reads_peer and isinstance(credential, Absent):
            return "skips: the connection says nothing that it believes"
        case Skip():
            return "skips: not its kind"
        case None:
            kind = type(credential).__name__
            return (
                "not asked: an earlier backend has decided"
                if type(credential) in backend.kinds
                else f"not asked: does not accept {kind}"
            )


def _decision(settings: Settings, answer: Answer, credential: Credential, chain: Chain) -> Iterator[str]:
    match answer.outcome:
        case Accept(identity, token=yielded):
            try:
                token = build_issuer(settings, build_strategy(settings)).obtain(identity, credential, yielded)
            except CompatAuthError as error:
                yield f"decision: {error.status}: {error}"
                return
            yield f"decision: forwarded as {identity.username!r}"
            yield f"token: {settings.token.strategy}, claims {_claims(token.value)}"
        case Reject(_, status):
            yield f"decision: {status}"
        case Challenge():
            yield "decision: 401"
        case Skip():
            if credential.scheme == "Bearer":
                yield "decision: passes unchanged; the upstream checks its own Bearer token"
            else:
                yield f"decision: 401, challenges: {', '.join(chain.challenges()) or 'none'}"


def _uncovered(answer: Answer, request: GateRequest, body: bytes) -> str | None:
    """Return the scopes that a limited credential lacks for the request; None if it lacks none."""
    match answer.outcome:
        case Accept(identity) if identity.scopes is not None:
            return uncovered(identity.scopes, [request.method], request.path.decode("ascii"), body)
        case _:
            return None


def _goes_on(answer: Answer, credential: Credential) -> bool:
    return isinstance(answer.outcome, Accept) or (isinstance(answer.outcome, Skip) and credential.scheme == "Bearer")


def _translation(settings: Settings, request: GateRequest, replay: Replay) -> Iterator[str]:
    path = request.path.decode("ascii")
    if not translates_v1(settings) or not path.startswith(f"{V1}/"):
        return
    given = {name.lower(): value for name, value in replay.headers}
    content_type = given.get("content-type", "application/json")
    outcomes = Request(
        request.method,
        path.removeprefix(V1),
        request.query.decode("ascii"),
        replay.body,
        content_type,
        given.get("accept", ""),
    )
    yield from preview(outcomes)


def _claims(token: str) -> str:
    """Return the claims of a token; only its signature is secret."""
    payload = token.split(".")[1]
    try:
        return json.dumps(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
    except ValueError:
        raise BadRequest("the upstream's token is not a JWT") from None

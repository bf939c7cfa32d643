"""Scopes and requirements where they are enforced: in views, and at the gate."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask

from compat_auth.airflow_api.permission import uncovered
from compat_auth.airflow_api.reach import MAX_BODY_BYTES
from compat_auth.extension import CompatAuth, current_identity, require, requires_authentication
from compat_auth.gateway.authorization import PathRequirement
from compat_auth.gateway.middleware import Gate
from compat_auth.http.asgi import Receive, Scope, Send, read_body, respond
from compat_auth.http.paths import Prefixes
from compat_auth.identity import Identity
from compat_auth.outcome import Accept
from compat_auth.requirements import Requirements
from compat_auth.scopes import parse_scope, parse_scopes
from support.stand_ins import GOOD, Behind, call, http_scope, make_decider, make_gate, rules, scripted

ANA = Identity("alice", "first", roles=("Viewer",), groups=("ops",))


def limited(*scopes: str) -> Identity:
    return Identity("alice", "first", scopes=tuple(parse_scope(scope) for scope in scopes))


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Callable[[Identity], Flask]:
    """An app whose chain takes everybody for one identity."""

    def make(identity: Identity) -> Flask:
        backend = scripted("first", Accept(identity), invites=('Basic realm="x"',))
        monkeypatch.setattr("compat_auth.extension.load_chain", lambda _settings: (backend,))
        app = Flask("third party")
        app.config["COMPAT_AUTH"] = {"upstream": {"url": "http://127.0.0.1:1"}}
        CompatAuth(app)

        @require(all_of=["group:ops"], any_of=["role:Admin", "role:Viewer"])
        def sync_view() -> str:
            return f"sync {current_identity.username}"

        @require(any_of=["role:Admin"])
        async def async_view() -> str:
            return "async"

        @requires_authentication
        async def open_async_view() -> str:
            return f"open {current_identity.username}"

        app.add_url_rule("/sync", view_func=sync_view, methods=["GET", "POST"])
        app.add_url_rule("/async", view_func=async_view)
        app.add_url_rule("/open", view_func=open_async_view)

        @requires_authentication
        def keyed_view(key: str) -> str:
            return f"key {key}"

        app.add_url_rule("/keys/<path:key>", view_func=keyed_view)
        return app

    return make


def test_a_view_runs_for_who_meets_its_requirements(app: Callable[[Identity], Flask]) -> None:
    client = app(ANA).test_client()

    assert client.get("/sync", headers={"Authorization": GOOD}).text == "sync alice"
    assert client.get("/open", headers={"Authorization": GOOD}).text == "open alice"


def test_a_view_is_403_for_who_is_known_but_lacks_what_it_requires(app: Callable[[Identity], Flask]) -> None:
    client = app(ANA).test_client()

    response = client.get("/async", headers={"Authorization": GOOD})

    assert response.status_code == 403
    assert response.content_type == "application/problem+json"
    assert "WWW-Authenticate" not in response.headers


def test_a_view_is_401_for_nobody_whatever_it_requires(app: Callable[[Identity], Flask]) -> None:
    response = app(ANA).test_client().get("/async")

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Basic realm="x"'


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/open", 200), ("HEAD", "/open", 200), ("GET", "/sync", 403)]
)
def test_a_limited_credential_reaches_only_the_views_of_its_scopes(
    app: Callable[[Identity], Flask], method: str, path: str, status: int
) -> None:
    client = app(limited("GET /open")).test_client()

    assert client.open(path, method=method, headers={"Authorization": GOOD}).status_code == status


def gate_for(identity: Identity, behind: Behind, *requirements: PathRequirement) -> Gate:
    backend = scripted("first", Accept(identity, reusable_s=60))
    return make_gate(behind, make_decider(backend), gate_rules=replace(rules(), requirements=requirements))


def request(path: str, method: str = "GET", authorization: str | None = GOOD, *more: tuple[bytes, bytes]) -> Scope:
    headers = [(b"authorization", authorization.encode())] if authorization else []
    return http_scope(path.encode(), [*headers, *more], method=method)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/a", 200),
        ("HEAD", "/api/a", 200),
        ("GET", "/api/a/", 200),
        ("GET", "/api/%61", 200),
        ("POST", "/api/a", 403),
        ("GET", "/api/a/1", 403),
        ("GET", "/api/a%2F1", 403),
        ("GET", "/api/b", 403),
    ],
)
async def test_the_gate_holds_a_limited_credential_to_its_scopes_warm_and_cold(
    method: str, path: str, status: int
) -> None:
    behind = Behind()
    gate = gate_for(limited("GET /api/a"), behind)

    cold = await call(gate, request(path, method))
    warm = await call(gate, request(path, method))

    assert (cold.status, warm.status) == (status, status)


async def test_a_method_override_does_not_widen_a_scope() -> None:
    behind = Behind()
    gate = gate_for(limited("POST /api/a"), behind)

    sent = await call(gate, request("/api/a", "POST", GOOD, (b"x-http-method-override", b"DELETE")))

    assert sent.status == 200
    assert behind.values(b"x-http-method-override") == []


@pytest.mark.parametrize(
    ("path", "method", "authorization", "status"),
    [
        pytest.param("/api/secret", "GET", GOOD, 403, id="known-without-the-role"),
        pytest.param("/api/secret%2Fx", "GET", GOOD, 403, id="an-encoded-slash-is-no-way-around"),
        pytest.param("/API/secret", "GET", GOOD, 403, id="nor-is-upper-case"),
        pytest.param("/api/secret", "POST", GOOD, 200, id="another-method"),
        pytest.param("/api/other", "GET", GOOD, 200, id="another-path"),
        pytest.param("/api/secret", "GET", None, 401, id="nobody"),
        pytest.param("/api/secret", "GET", "Bearer of-the-upstream", 403, id="only-the-upstream-knows-who"),
        pytest.param("/api/other", "GET", "Bearer of-the-upstream", 200, id="the-upstreams-own-elsewhere"),
    ],
)
async def test_a_path_asks_for_what_its_rule_requires(
    path: str, method: str, authorization: str | None, status: int
) -> None:
    rule = PathRequirement(Prefixes(["/api/secret"]), frozenset({"GET"}), Requirements(any_of=("role:Admin",)))
    gate = gate_for(ANA, Behind(), rule)

    sent = await call(gate, request(path, method, authorization))

    assert sent.status == status


HR = Requirements(any_of=("role:HR",))
OF_X = PathRequirement(Prefixes(["/api/v2/dags/x"]), frozenset(), HR)
WRITES_OF_X = PathRequirement(Prefixes(["/api/v2/dags/x/dagRuns"]), frozenset({"POST", "PATCH"}), HR)
DELETES_OF_X = PathRequirement(Prefixes(["/api/v2/dags/x/"]), frozenset({"DELETE"}), HR)
READS_OF_X = PathRequirement(Prefixes(["/api/v2/dags/x"]), frozenset({"GET"}), HR)
OF_X_BELOW = PathRequirement(Prefixes(["/api/team/api/v2/dags/x"]), frozenset(), HR)
OF_PROD = PathRequirement(Prefixes(["/api/v2/connections/prod"]), frozenset(), HR)


def bulk(action: str, *entities: object) -> bytes:
    return json.dumps({"actions": [{"action": action, "entities": entities}]}).encode()


@pytest.mark.parametrize(
    ("rule", "method", "path", "body"),
    [
        pytest.param(OF_X, "GET", "/api/v2/dags", b"", id="list"),
        pytest.param(OF_X, "GET", "/api/v2/dags/~/dagRuns", b"", id="runs-of-all"),
        pytest.param(OF_X, "GET", "/api/v2/dags/%7E/dagRuns", b"", id="runs-of-all-with-an-escape"),
        pytest.param(OF_X, "GET", "/api/v2%2Fdags", b"", id="an-encoded-slash"),
        pytest.param(OF_X, "GET", "/api%2Fv2/dags%2F~%2FdagRuns", b"", id="encoded-slashes"),
        pytest.param(OF_X, "PATCH", "/api%2Fv2/dags/a/dagRuns", bulk("update", {"dag_id": "x"}), id="bulk-so-spelled"),
        pytest.param(OF_X, "GET", "/api/v2/dagSources/x", b"", id="source"),
        pytest.param(OF_X, "GET", "/api/v2/dagSources/X", b"", id="source-in-upper-case"),
        pytest.param(OF_X, "POST", "/api/v2/backfills", b'{"dag_id": "x"}', id="backfill"),
        pytest.param(OF_X, "POST", "/api/v2/backfills", b'{"dag_id": "x "}', id="backfill-with-a-blank"),
        pytest.param(OF_X, "PUT", "/api/v2/backfills/1/cancel", b"", id="backfill-by-number"),
        pytest.param(WRITES_OF_X, "POST", "/api/v2/assets/1/materialize", b"{}", id="materialize"),
        pytest.param(WRITES_OF_X, "POST", "/api/v2/assets/events", b"{}", id="event"),
        pytest.param(WRITES_OF_X, "PATCH", "/api/v2/dags/a/dagRuns", bulk("update", {"dag_id": "x"}), id="bulk"),
        pytest.param(WRITES_OF_X, "PATCH", "/api/v2/dags", b"", id="by-pattern"),
        pytest.param(WRITES_OF_X, "PATCH", "/api/v2/dags/bulk", bulk("update", {"dag_id": "x"}), id="dags-bulk"),
        pytest.param(
            DELETES_OF_X, "PATCH", "/api/v2/dags/a/dagRuns", bulk("delete", {"dag_id": "x"}), id="bulk-delete"
        ),
        pytest.param(DELETES_OF_X, "PATCH", "/api/v2/dags/x/dagRuns", bulk("delete", "r"), id="bulk-delete-by-its-own"),
        pytest.param(READS_OF_X, "HEAD", "/api/v2/dags/x", b"", id="head"),
        pytest.param(READS_OF_X, "POST", "/api/v2/dags/~/dagRuns/list", b"{}", id="read-by-post"),
        pytest.param(READS_OF_X, "GET", "/api/v2/newThings", b"", id="unknown"),
        pytest.param(OF_X_BELOW, "GET", "/api/team/api/v2/dags", b"", id="below-a-path"),
        pytest.param(OF_X_BELOW, "POST", "/api/team/api/v2/backfills", b'{"dag_id": "x"}', id="named-below-a-path"),
        pytest.param(OF_PROD, "GET", "/api/v2/connections", b"", id="connections"),
        pytest.param(OF_PROD, "PATCH", "/api/v2/connections", bulk("delete", "prod"), id="bulk-of-connections"),
        pytest.param(OF_PROD, "POST", "/api/v2/connections/test", b'{"connection_id": "prod"}', id="test-it"),
    ],
)
async def test_a_rule_on_one_object_holds_on_every_way_to_it(
    rule: PathRequirement, method: str, path: str, body: bytes
) -> None:
    behind = Behind()
    gate = gate_for(ANA, behind, rule)
    allowed = gate_for(replace(ANA, roles=("HR",)), behind, rule)

    refused = await call(gate, request(path, method), body)
    met = await call(allowed, request(path, method), body)
    others = await call(gate, request(path, method, "Bearer of-the-upstream"), body)

    assert (refused.status, met.status, others.status) == (403, 200, 403)


@pytest.mark.parametrize(
    ("rule", "method", "path", "body"),
    [
        pytest.param(OF_X, "GET", "/api/v2/dags/a/dagRuns", b"", id="another"),
        pytest.param(OF_X, "POST", "/api/v2/dags/~/dagRuns/list", b'{"dag_ids": ["a"]}', id="a-list-of-others"),
        pytest.param(OF_X, "POST", "/api/v2/backfills", b'{"dag_id": "a"}', id="backfill-of-another"),
        pytest.param(OF_X, "PATCH", "/api/v2/dags/~/dagRuns", bulk("delete", {"dag_id": "a"}), id="bulk-of-others"),
        pytest.param(OF_X, "GET", "/api/v2/connections", b"", id="another-family"),
        pytest.param(OF_X, "GET", "/api/v2/version", b"", id="no-object"),
        pytest.param(OF_X, "OPTIONS", "/api/v2/dags", b"", id="preflight"),
        pytest.param(WRITES_OF_X, "GET", "/api/v2/dags", b"", id="a-read"),
        pytest.param(
            DELETES_OF_X, "PATCH", "/api/v2/dags/x/dagRuns", bulk("update", {"dag_run_id": "r"}), id="no-delete"
        ),
        pytest.param(READS_OF_X, "POST", "/api/v2/backfills", b'{"dag_id": "x"}', id="a-write"),
    ],
)
async def test_a_rule_on_one_object_leaves_the_others_alone(
    rule: PathRequirement, method: str, path: str, body: bytes
) -> None:
    gate = gate_for(ANA, Behind(), rule)

    sent = await call(gate, request(path, method), body)

    assert sent.status == 200


async def test_a_rule_on_one_object_refuses_forward_auth_what_only_the_body_would_tell() -> None:
    backend = scripted("first", Accept(ANA, reusable_s=60))
    ruled = replace(rules(), requirements=(OF_X,))
    gate = make_gate(Behind(), make_decider(backend), gate_rules=ruled, trusted=("192.0.2.1/32",))

    async def status(method: bytes, path: bytes) -> int:
        told = [(b"x-original-uri", path), (b"x-original-method", method), (b"authorization", GOOD.encode())]
        return (await call(gate, http_scope(b"/compat-auth/forward-auth/nginx", told))).status

    in_body = await status(b"POST", b"/api/v2/backfills")
    in_query = await status(b"GET", b"/api/v2/dagStats?dag_ids=x")
    by_path = await status(b"POST", b"/api/v2/dags/a/dagRuns")

    assert (in_body, in_query, by_path) == (403, 403, 200)


@pytest.mark.parametrize("a_backend_reads_it_too", [False, True])
async def test_a_body_that_decides_goes_on_unchanged(a_backend_reads_it_too: bool) -> None:
    seen: list[bytes] = []
    body = bulk("update", {"dag_id": "mine", "dag_run_id": "r"})

    async def upstream(_scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(await read_body(receive, len(body)))
        await respond(send, 200)

    mine = replace(ANA, scopes=parse_scopes(("dags:mine",)))
    backend = scripted("first", Accept(mine), alike=not a_backend_reads_it_too)
    backend.reads_body = a_backend_reads_it_too
    gate = make_gate(upstream, make_decider(backend))
    length = (b"content-length", b"%d" % len(body))

    sent = await call(gate, request("/api/v2/dags/mine/dagRuns", "PATCH", GOOD, length), body)

    assert sent.status == 200
    assert seen == [body]


async def test_a_limited_credential_is_told_which_scope_the_body_needs() -> None:
    behind = Behind()
    gate = gate_for(replace(ANA, scopes=parse_scopes(("dags:mine",))), behind)

    sent = await call(
        gate, request("/api/v2/dags/mine/dagRuns", "PATCH"), bulk("delete", {"dag_id": "other", "dag_run_id": "r"})
    )

    assert sent.status == 403
    assert (
        b'error="insufficient_scope", scope="PATCH:/api/v2/dags/other/dagRuns"'
        in dict(sent.headers)[b"www-authenticate"]
    )
    assert behind.scopes == []


async def test_a_body_that_is_too_long_to_be_read_names_everything() -> None:
    body = bulk("update", {"dag_id": "mine", "dag_run_id": "r", "note": "x" * MAX_BODY_BYTES})
    gate = gate_for(replace(ANA, scopes=parse_scopes(("dags:mine",))), Behind())

    sent = await call(gate, request("/api/v2/dags/mine/dagRuns", "PATCH"), body)

    assert sent.status == 403


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PATCH", b"/api/v2/dags/mine/dagRuns", 403),
        ("POST", b"/api/v2/dags/mine/dagRuns/list", 403),
        ("POST", b"/api/v2/dags/mine/dagRuns", 200),
        ("GET", b"/api/v2/dags/mine/dagRuns", 200),
    ],
)
async def test_forward_auth_refuses_a_limited_credential_what_only_the_body_would_tell(
    method: str, path: bytes, status: int
) -> None:
    backend = scripted("first", Accept(replace(ANA, scopes=parse_scopes(("dags:mine",))), reusable_s=60))
    gate = make_gate(Behind(), make_decider(backend), trusted=("192.0.2.1/32",))
    told = [(b"x-original-uri", path), (b"x-original-method", method.encode()), (b"authorization", GOOD.encode())]

    sent = await call(gate, http_scope(b"/compat-auth/forward-auth/nginx", told))

    assert sent.status == status


@pytest.mark.parametrize(
    ("path", "scope", "covered"),
    [
        ("/api/v2/variables/a/", "GET /api/v2/variables/a", False),
        ("/airflow/api/v2/pools/a/", "GET /airflow/api/v2/pools/a", False),
        ("/api/v2/dags/d/dagRuns/r/taskInstances/t/xcomEntries/k/", "GET /api/v2/dags/d/dagRuns/r/taskInstances/t/xcomEntries/k", False),
        ("/api/v1/variables/a/", "GET /api/v1/variables/a", False),
        ("/api/v2/variables/a/", "GET /api/v2/variables/", True),
        ("/api/v2/variables/", "GET /api/v2/variables", True),
        ("/api/v2/dags/a/", "GET /api/v2/dags/a", True),
    ],
)  # fmt: skip
def test_a_slash_at_the_end_counts_where_airflow_takes_it_for_a_part_of_the_key(
    path: str, scope: str, covered: bool
) -> None:
    needed = uncovered([parse_scope(scope)], ["GET"], path, None)

    assert (needed is None) is covered


def test_the_scope_that_is_named_for_such_a_key_covers_it() -> None:
    needed = uncovered([], ["GET"], "/api/v2/variables/a/", None)

    assert needed == "GET:/api/v2/variables/a%2F"
    assert uncovered([parse_scope("GET /api/v2/variables/a%2F")], ["GET"], "/api/v2/variables/a/", None) is None


@pytest.mark.parametrize(
    ("path", "scope", "status"),
    [
        ("/keys/a", "GET /keys/a", 200),
        ("/keys/a/", "GET /keys/a", 403),
        ("/keys/a/", "GET /keys/a%2F", 200),
        ("/keys/a/", "GET /keys/", 200),
    ],
)
def test_a_view_that_takes_the_rest_of_the_path_sees_the_slash_at_its_end_and_so_does_a_scope(
    app: Callable[[Identity], Flask], path: str, scope: str, status: int
) -> None:
    client = app(limited(scope)).test_client()

    response = client.get(path, headers={"Authorization": "Basic Zm9vOmJhcg=="})

    assert response.status_code == status

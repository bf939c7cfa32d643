"""How the original request is read from what a front proxy says about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compat_auth.errors import BadRequest, InvalidPath, NotImplementedHere
from compat_auth.gateway.authorization import PathRequirement
from compat_auth.gateway.forward_auth.dialects import DIALECTS, host_of, origin_of, original_of, overridden
from compat_auth.gateway.middleware import Gate
from compat_auth.http.asgi import RawHeaders
from compat_auth.http.headers import take_in
from compat_auth.http.paths import AIRFLOW_RESTS, Prefixes
from compat_auth.http.request import GateRequest
from compat_auth.http.root_path import RootPath
from compat_auth.identity import Identity
from compat_auth.outcome import Accept
from compat_auth.peer import Peer
from compat_auth.requirements import Requirements
from compat_auth.scopes import parse_scope
from support.stand_ins import GOOD, Behind, call, http_scope, make_decider, make_gate, rules, scripted

NGINX, TRAEFIK = DIALECTS["nginx"], DIALECTS["traefik"]
HOST = (b"host", b"gateway.example")
TARGET = (b"x-original-uri", b"/api/v2/dags?limit=1")
METHOD = (b"x-original-method", b"get")


def asking(*headers: tuple[bytes, bytes], **changed: Any) -> GateRequest:
    intake = take_in([HOST, *headers])
    return GateRequest({}, intake, "GET", b"/compat-auth/forward-auth/nginx", b"", "192.0.2.1", "https", **changed)


def original(*headers: tuple[bytes, bytes], root: str = "", **changed: Any) -> GateRequest:
    return original_of(NGINX, asking(*headers, **changed), None, RootPath(root))


def test_the_original_request_has_the_method_the_target_and_the_caller_that_the_proxy_names() -> None:
    found = original(TARGET, METHOD, (b"authorization", b"Basic YTpi"))

    assert (found.method, found.path, found.query) == ("GET", b"/api/v2/dags", b"limit=1")
    assert (found.client, found.scheme, found.intake.host) == ("192.0.2.1", "https", b"gateway.example")
    assert found.intake.authorization == b"Basic YTpi"


def test_a_target_without_a_query_has_an_empty_one() -> None:
    assert original((b"x-original-uri", b"/a"), METHOD).query == b""


def test_the_root_of_the_site_is_taken_off_the_path() -> None:
    assert original((b"x-original-uri", b"/air/api/x"), METHOD, root="/air").path == b"/api/x"


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([METHOD], id="no-target"),
        pytest.param([TARGET], id="no-method"),
        pytest.param([TARGET, TARGET, METHOD], id="two-targets"),
        pytest.param([TARGET, METHOD, METHOD], id="two-methods"),
        pytest.param([TARGET, (b"x-original-method", b"")], id="empty-method"),
        pytest.param([TARGET, (b"x-original-method", b"GET2")], id="odd-method"),
        pytest.param([TARGET, (b"x-original-method", "GÉT".encode("latin-1"))], id="not-ascii"),
    ],
)
def test_the_proxy_must_name_one_method_and_one_target(headers: RawHeaders) -> None:
    with pytest.raises(BadRequest, match="exactly one x-original-uri and x-original-method"):
        original(*headers)


@pytest.mark.parametrize("method", [b"TRACE", b"trace", b"CONNECT"])
def test_a_method_that_the_gate_refuses_is_refused_for_a_proxy(method: bytes) -> None:
    with pytest.raises(NotImplementedHere, match=f"method {method.decode().upper()}: not implemented"):
        original(TARGET, (b"x-original-method", method))


def test_what_the_proxy_copies_from_the_client_is_marked() -> None:
    peer = Peer("10.0.0.1", (("X-User", "alice"),))

    found = original(TARGET, METHOD, peer=peer)

    assert found.peer == Peer("10.0.0.1", (("X-User", "alice"),), in_forward_auth=True)


@pytest.mark.parametrize(
    ("method", "headers", "may_have_a_body"),
    [
        pytest.param(b"GET", [], False, id="get"),
        pytest.param(b"HEAD", [], False, id="head"),
        pytest.param(b"OPTIONS", [], False, id="options"),
        pytest.param(b"POST", [], True, id="post"),
        pytest.param(b"DELETE", [], True, id="delete"),
        pytest.param(b"GET", [(b"content-length", b"1")], True, id="get-with-a-length"),
        pytest.param(b"GET", [(b"content-length", b"0")], False, id="get-with-no-length"),
        pytest.param(b"GET", [(b"transfer-encoding", b"chunked")], True, id="get-with-chunks"),
        pytest.param(b"GET", [(b"x-http-method-override", b"PUT")], True, id="get-that-is-a-put"),
        pytest.param(b"GET", [(b"x-http-method-override", b"HEAD")], False, id="get-that-is-a-head"),
    ],
)
def test_a_body_that_stays_at_the_proxy_is_unknown_and_not_empty(
    method: bytes, headers: RawHeaders, may_have_a_body: bool
) -> None:
    found = original(TARGET, (b"x-original-method", method), *headers)

    assert found.body == (None if may_have_a_body else b"")


@pytest.mark.parametrize("name", ["traefik", "caddy"])
def test_the_host_is_the_one_that_the_proxy_names(name: str) -> None:
    dialect = DIALECTS[name]
    request = asking((b"x-forwarded-host", b"airflow.example"))

    assert host_of(dialect, request) == b"airflow.example"
    assert origin_of(dialect, request) == b"https://airflow.example"
    assert host_of(dialect, asking()) == b"gateway.example"


def test_the_original_request_is_for_the_original_host() -> None:
    told = asking(
        (b"x-forwarded-host", b"airflow.example"), (b"x-forwarded-uri", b"/a"), (b"x-forwarded-method", b"GET")
    )

    assert original_of(DIALECTS["traefik"], told, None, RootPath("")).intake.host == b"airflow.example"


def test_slashes_in_a_rest_that_is_data_are_data_in_the_original_request_too() -> None:
    told = asking((b"x-original-uri", b"/api/v2/variables/a//b"), METHOD)

    assert original_of(DIALECTS["nginx"], told, AIRFLOW_RESTS, RootPath("")).path == b"/api/v2/variables/a%2F%2Fb"


def test_nginx_names_the_host_in_its_own_header() -> None:
    request = asking((b"x-forwarded-host", b"forged.example"))

    assert host_of(NGINX, request) == b"gateway.example"


@pytest.mark.parametrize("hosts", [[b"a.example", b"b.example"], [b"a.example, b.example"], [b"a/b"], [b""]])
def test_two_hosts_or_none_are_refused(hosts: list[bytes]) -> None:
    with pytest.raises(BadRequest, match="must send one x-forwarded-host, which is a host"):
        host_of(TRAEFIK, asking(*((b"x-forwarded-host", host) for host in hosts)))


def test_a_host_that_is_missing_is_refused_by_its_name() -> None:
    request = asking()
    request.intake.host = b""

    with pytest.raises(BadRequest, match="must send one Host, which is a host"):
        host_of(NGINX, request)


OVERRIDES = ["x-http-method-override", "x-http-method", "x-method-override"]


@pytest.mark.parametrize("header", OVERRIDES)
def test_a_method_override_is_another_reading_of_the_request(header: str) -> None:
    found = original(TARGET, METHOD, (header.encode(), b" delete "), (header.encode(), b"PUT"))

    assert [reading.method for reading in overridden(found)] == ["DELETE", "PUT"]
    assert {reading.path for reading in overridden(found)} == {b"/api/v2/dags"}


async def status_of(gate: Gate, *headers: tuple[bytes, bytes]) -> int:
    told = [(b"authorization", GOOD.encode()), TARGET, METHOD, *headers]
    return (await call(gate, http_scope(b"/compat-auth/forward-auth/nginx", told, client="10.0.0.1"))).status


@pytest.mark.parametrize("header", OVERRIDES)
async def test_a_limited_credential_needs_a_scope_for_the_overriding_method_too(header: str) -> None:
    limited = Identity("alice", "first", scopes=(parse_scope("GET /api/"), parse_scope("PATCH /api/")))
    gate = make_gate(Behind(), make_decider(scripted("first", Accept(limited))), trusted=["10.0.0.0/8"])

    assert await status_of(gate) == 200
    assert await status_of(gate, (header.encode(), b"patch")) == 200
    assert await status_of(gate, (header.encode(), b"delete")) == 403


@pytest.mark.parametrize("header", OVERRIDES)
async def test_what_a_path_requires_for_the_overriding_method_is_required(header: str) -> None:
    admins = PathRequirement(Prefixes(["/api/"]), frozenset(("DELETE",)), Requirements(("group:admins",)))
    needed = replace(rules(), requirements=(admins,))
    backend = scripted("first", Accept(Identity("alice", "first")))
    gate = make_gate(Behind(), make_decider(backend), gate_rules=needed, trusted=["10.0.0.0/8"])

    assert await status_of(gate) == 200
    assert await status_of(gate, (header.encode(), b"delete")) == 403


async def test_a_public_path_with_a_method_override_is_not_public() -> None:
    public = replace(rules(), public=frozenset((b"/api/v2/dags",)))
    gate = make_gate(
        Behind(),
        make_decider(scripted("first", Accept(Identity("alice", "first")))),
        gate_rules=public,
        trusted=["10.0.0.0/8"],
    )

    async def status(*headers: tuple[bytes, bytes]) -> int:
        scope = http_scope(b"/compat-auth/forward-auth/nginx", [TARGET, METHOD, *headers], client="10.0.0.1")
        return (await call(gate, scope)).status

    assert await status() == 200
    assert await status((b"x-http-method", b"DELETE")) == 401


async def test_a_proxy_that_forwards_no_redirect_gets_an_error_for_a_merged_path() -> None:
    gate = make_gate(
        Behind(), make_decider(scripted("first", Accept(Identity("alice", "first")))), trusted=["10.0.0.0/8"]
    )
    told = [(b"x-original-uri", b"//api/x"), METHOD]

    sent = await call(gate, http_scope(b"/compat-auth/forward-auth/nginx", told, client="10.0.0.1"))

    assert sent.status == InvalidPath.status
    assert b"ask for the path without it" in sent.body

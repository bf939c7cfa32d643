"""The table of what is public, guarded or passed: its lines, its page, and what the gate and forward-auth make of it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from compat_auth.airflow_api.paths import TABLE, guarded_prefixes, treatment_of, whole_paths
from compat_auth.composition.rules import gate_rules, protected_paths
from compat_auth.config import parse_settings
from compat_auth.errors import BackendUnavailable
from compat_auth.gateway.authorization import PathRequirement
from compat_auth.gateway.middleware import Gate
from compat_auth.http.asgi import RawHeaders
from compat_auth.http.paths import Prefixes
from compat_auth.outcome import Reject
from compat_auth.requirements import Requirements
from support.stand_ins import (
    GOOD,
    Behind,
    accepting,
    basic,
    call,
    http_scope,
    make_decider,
    make_gate,
    rules,
    scripted,
)

VERSION, HEALTH = b"/api/v2/version", b"/api/v2/monitor/health"
PUBLIC = pytest.mark.parametrize("path", [VERSION, HEALTH])
OF_AIRFLOW = replace(rules(), public=frozenset((VERSION, HEALTH)))
PAGE = Path(__file__).parents[3] / "docs/explanation/what-passes.md"


@pytest.fixture
def behind() -> Behind:
    return Behind()


@pytest.fixture
def gate(behind: Behind) -> Gate:
    return make_gate(behind, make_decider(accepting()), gate_rules=OF_AIRFLOW)


def test_the_page_has_every_line_of_the_table() -> None:
    lines = re.findall(r"^\| `(/[^`]*)` \| (\w+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert lines == [(rule.path, rule.treatment, rule.reason) for rule in TABLE]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v2/version", "public"),
        ("/api/v2/versions", "guarded"),
        ("/api/v2/dags", "guarded"),
        ("/auth/fab/v1/users", "guarded"),
        ("/auth/token", "token"),
        ("/auth/login/", "passed"),
        ("/dags", "passed"),
    ],
)
def test_the_first_line_that_covers_a_path_holds(path: str, expected: str) -> None:
    assert treatment_of(path) == expected


@pytest.mark.parametrize("profile", ["airflow-fab", "airflow-simple"])
def test_the_gateway_guards_what_the_table_says(profile: str) -> None:
    settings = parse_settings({"upstream": {"url": "http://127.0.0.1:9", "profile": profile}}, origin="test")

    found = gate_rules(settings)

    assert found.public == {VERSION, HEALTH}
    assert found.preflights
    expected = guarded_prefixes() if profile == "airflow-fab" else ["/api/"]
    assert set(expected) <= set(protected_paths(settings))


def test_nothing_of_an_unknown_upstream_is_public() -> None:
    settings = parse_settings({"upstream": {"url": "http://127.0.0.1:9", "profile": "generic"}}, origin="test")

    found = gate_rules(settings)

    assert (found.public, found.to_login, found.preflights) == (frozenset(), frozenset(), False)
    assert "/auth/fab/v1/" not in protected_paths(settings)


def test_a_whole_path_of_the_table_is_no_prefix() -> None:
    assert whole_paths("public", below="/api/") == {VERSION, HEALTH}


@PUBLIC
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_public_path_is_open_without_any_identity(gate: Gate, behind: Behind, path: bytes, method: str) -> None:
    cookies = (b"cookie", b"_token=theirs; ours=1; theme=dark")

    sent = await call(gate, http_scope(path, [cookies], method=method))

    assert sent.status == 200
    assert behind.values(b"cookie") == [b"theme=dark"]
    assert behind.values(b"authorization") == []


@PUBLIC
async def test_a_good_credential_goes_on_as_a_token_on_a_public_path_too(
    gate: Gate, behind: Behind, path: bytes
) -> None:
    await call(gate, http_scope(path, [(b"authorization", GOOD.encode())]))

    assert behind.values(b"authorization") == [b"Bearer token-of-alice-0"]


@PUBLIC
async def test_a_wrong_credential_is_refused_on_a_public_path_too(behind: Behind, path: bytes) -> None:
    gate = make_gate(behind, make_decider(scripted("basic_auth", Reject("wrong"))), gate_rules=OF_AIRFLOW)

    sent = await call(gate, http_scope(path, [(b"authorization", basic("alice", "wrong").encode())]))

    assert (sent.status, behind.scopes) == (401, [])


@PUBLIC
async def test_a_public_path_does_not_wait_for_a_directory_that_is_away(behind: Behind, path: bytes) -> None:
    away = scripted("session", BackendUnavailable("away"))
    gate = make_gate(behind, make_decider(away), gate_rules=OF_AIRFLOW)

    assert (await call(gate, http_scope(path, [(b"cookie", b"ours=1")]))).status == 200


@pytest.mark.parametrize(
    ("path", "method"),
    [
        (VERSION, "POST"),
        (VERSION, "DELETE"),
        (VERSION + b"/", "GET"),
        (VERSION + b"x", "GET"),
        (b"/api/v2/monitor", "GET"),
        (b"/API/v2/version", "GET"),
        (b"/api/v2/versio%6ex", "GET"),
    ],
)
async def test_what_only_looks_like_a_public_path_stays_guarded(
    gate: Gate, behind: Behind, path: bytes, method: str
) -> None:
    sent = await call(gate, http_scope(path, method=method))

    assert (sent.status, behind.scopes) == (401, [])


async def test_a_requirement_closes_a_public_path(behind: Behind) -> None:
    required = PathRequirement(Prefixes(["/api/v2/"]), frozenset(), Requirements(("user:alice",), ()))
    gate = make_gate(behind, make_decider(accepting()), gate_rules=replace(OF_AIRFLOW, requirements=(required,)))

    assert (await call(gate, http_scope(VERSION))).status == 401


@PUBLIC
async def test_a_front_proxy_may_send_a_public_request_on_as_nobody(behind: Behind, path: bytes) -> None:
    gate = make_gate(behind, make_decider(accepting()), gate_rules=OF_AIRFLOW, trusted=["192.0.2.0/24"])
    asked: RawHeaders = [(b"x-original-uri", path), (b"x-original-method", b"GET"), (b"cookie", b"_token=theirs")]

    sent = await call(gate, http_scope(b"/compat-auth/forward-auth/nginx", asked))

    assert sent.status == 200
    assert (sent.values(b"authorization"), sent.values(b"x-compat-auth-cookie")) == ([], [b""])

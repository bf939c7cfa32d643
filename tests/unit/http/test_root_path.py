"""The path below which callers find us: taken off once, in one spelling, for everything that the gate does."""

from __future__ import annotations

from typing import Any

import pytest

from compat_auth.config import Settings, parse_settings
from compat_auth.errors import ConfigError, InvalidPath
from compat_auth.gateway.middleware import Gate
from compat_auth.http.root_path import RootPath
from support.stand_ins import Behind, accepting, basic, call, http_scope, make_decider, make_gate

ALICE = (b"authorization", basic("alice", "secret").encode())


def settings_with(url: str, root_path: str = "", profile: str = "airflow-fab") -> Settings:
    content: dict[str, Any] = {"upstream": {"url": url, "profile": profile}, "serve": {"root_path": root_path}}
    return parse_settings(content, origin="test")


def gate_below(root: str, behind: Behind, trusted: str = "192.0.2.1/32") -> Gate:
    return make_gate(behind, make_decider(accepting()), trusted=[trusted], root=root)


@pytest.mark.parametrize(
    ("url", "root_path", "profile", "expected"),
    [
        ("http://af:8080", "", "airflow-fab", ""),
        ("http://af:8080/", "", "airflow-fab", ""),
        ("http://af:8080/team/airflow/", "", "airflow-simple", "/team/airflow"),
        ("http://af:8080/airflow", "/", "airflow-fab", ""),
        ("http://af:8080", "/airflow/", "airflow-fab", "/airflow"),
        ("http://api:9000/v1", "", "generic", ""),
        ("http://api:9000/v1", "/public", "generic", "/public"),
    ],
)
def test_the_path_is_that_of_airflow_unless_another_is_set(
    url: str, root_path: str, profile: str, expected: str
) -> None:
    assert RootPath.from_settings(settings_with(url, root_path, profile)).path == expected


def test_a_path_with_two_spellings_is_refused_where_it_is_set() -> None:
    with pytest.raises(ConfigError, match=r"serve\.root_path"):
        settings_with("http://af:8080", "/air%20flow")
    with pytest.raises(ConfigError, match=r"upstream\.url: its path"):
        RootPath.from_settings(settings_with("http://af:8080/air%20flow"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/airflow/api/v2/dags", b"/api/v2/dags"),
        (b"/api/v2/dags", b"/api/v2/dags"),
        (b"/airflow", b"/"),
        (b"/airflow/", b"/"),
        (b"/airflows/x", b"/airflows/x"),
    ],
)
def test_the_path_is_taken_off_where_it_is(path: bytes, expected: bytes) -> None:
    assert RootPath("/airflow").strip(path) == expected


@pytest.mark.parametrize(
    "path",
    [
        b"/airflow/airflow/api/v2/pools",
        b"/AIRFLOW/api/v2/pools",
        b"/airflow%2Fapi/v2/pools",
        b"/airflow;x/api/v2/pools",
    ],
)
def test_a_path_that_the_upstream_could_read_as_below_it_once_more_is_refused(path: bytes) -> None:
    with pytest.raises(InvalidPath):
        RootPath("/airflow").strip(path)


@pytest.mark.parametrize("path", [b"/airflow/api/v2/dags", b"/api/v2/dags", b"/%61irflow/api/v2/dags"])
async def test_below_the_path_and_beside_it_a_request_is_guarded_and_goes_on_without_it(path: bytes) -> None:
    behind = Behind()
    gate = gate_below("/airflow", behind)

    accepted = await call(gate, http_scope(path, [ALICE]))
    refused = await call(gate, http_scope(path))

    assert (accepted.status, refused.status) == (200, 401)
    assert [scope["raw_path"] for scope in behind.scopes] == [b"/api/v2/dags"]


@pytest.mark.parametrize("path", [b"/airflow/airflow/api/v2/dags", b"/Airflow/api/v2/dags"])
async def test_no_spelling_of_the_path_leads_around_the_gate(path: bytes) -> None:
    behind = Behind()

    answer = await call(gate_below("/airflow", behind), http_scope(path, [ALICE]))

    assert answer.status == 400
    assert behind.scopes == []


@pytest.mark.parametrize("target", [b"/airflow/api/v2/dags", b"/api/v2/dags"])
async def test_a_front_proxy_may_ask_about_a_request_below_the_path(target: bytes) -> None:
    gate = gate_below("/airflow", Behind())
    about = [(b"x-original-uri", target), (b"x-original-method", b"GET")]

    accepted = await call(gate, http_scope(b"/compat-auth/forward-auth/nginx", [*about, ALICE]))
    refused = await call(gate, http_scope(b"/compat-auth/forward-auth/nginx", about))

    assert (accepted.status, refused.status) == (200, 401)

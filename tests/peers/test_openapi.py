"""The gateway answers as its OpenAPI document says: schemathesis asks every operation, with good values and bad ones."""

from __future__ import annotations

from typing import Any

import bcrypt
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from compat_auth import app as composed
from compat_auth.config import parse_settings
from compat_auth.openapi import describe
from peers.airflows import JWT_SECRET
from peers.echo import EchoUpstream
from peers.gateway import Gateway, StartGateway

pytestmark = pytest.mark.peer

USER = ("alice", "wonderländ")
EXAMPLES, FEW = 40, 5
SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
# A front proxy asks, with headers of its own kind; no client does.
FOR_PROXIES = {f"/compat-auth/forward-auth/{proxy}" for proxy in ("nginx", "caddy", "traefik")}
THE_DOCUMENT = {
    f"/compat-auth/{name}"
    for name in ("openapi.json", "docs", "docs.css", "docs.js", "swagger-ui.css", "swagger-ui.js")
}
# Nothing is asked: the port stands for an upstream that exists.
CONFIGURED = {
    "upstream": {"url": "http://127.0.0.1:9"},
    "auth_backends": ["personal_token", "basic_auth"],
    "basic_auth": {"directories": ["htpasswd"]},
    "htpasswd": {"file": "users"},
    "personal_tokens": {"pepper": "a pepper, so that no file is made for one"},
}
ANSWERED = composed.Gateway(parse_settings(CONFIGURED, origin="test"))._gate.paths
DOCUMENT = describe("/compat-auth/", ANSWERED)


@pytest.fixture(scope="module")
def door(gateway: StartGateway, echo_upstream: EchoUpstream, tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    users = tmp_path_factory.mktemp("users") / "htpasswd"
    users.write_text(f"alice:{bcrypt.hashpw(USER[1].encode(), bcrypt.gensalt(4)).decode()}\n")
    users.chmod(0o600)
    return gateway(
        {
            "auth_backends": ["personal_token", "session", "basic_auth"],
            "basic_auth": {"directories": ["htpasswd"]},
            "htpasswd": {"file": str(users)},
            "session": {"secret": "a secret for nothing but this very test"},
            "upstream": {"url": echo_upstream.url, "profile": "airflow-simple", "roles": {"*": "VIEWER"}},
            "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
            "personal_tokens": {"per_user_limit": 100000},
        }
    )


@pytest.fixture(scope="module")
def schema(door: Gateway) -> Any:
    served = door.get("/compat-auth/openapi.json").json()
    assert served == DOCUMENT
    return schemathesis.openapi.from_dict(served)


def operations() -> list[Any]:
    return [
        pytest.param(path, method, id=f"{method.upper()} {path}")
        for path, item in DOCUMENT["paths"].items()
        for method in item
        if method != "parameters"
    ]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["good", "bad"])
@pytest.mark.parametrize("who", [USER, ("alice", "wrong"), None], ids=["alice", "wrong-password", "nobody"])
@pytest.mark.parametrize(("path", "method"), operations())
def test_every_operation_answers_as_it_says(
    schema: Any, door: Gateway, path: str, method: str, who: tuple[str, str] | None, mode: GenerationMode
) -> None:
    statuses: set[int] = set()
    examples = EXAMPLES if who == USER else FEW

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=SLOW)
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        auth = None if who is None else (who[0].encode(), who[1].encode())
        statuses.add(case.call_and_validate(base_url=door.url, auth=auth, checks=CHECKS).status_code)

    try:
        ask()
    except Unsatisfiable:
        # An operation without parameters and body has no bad values.
        assert mode is GenerationMode.NEGATIVE
        return

    assert statuses != set()


def test_the_document_has_exactly_the_endpoints_that_are_no_pages() -> None:
    described = {path.partition("{")[0] for path in DOCUMENT["paths"]}
    # Airflow 2's old API has a document of its own.
    of_airflow_2 = {path for path in ANSWERED if path.startswith("/api/v1/")} | {"/health"}

    assert described == ANSWERED - FOR_PROXIES - THE_DOCUMENT - of_airflow_2


def test_the_document_leaves_out_what_is_not_answered() -> None:
    document = describe("/compat-auth/", {"/compat-auth/live"})

    assert list(document["paths"]) == ["/compat-auth/live"]

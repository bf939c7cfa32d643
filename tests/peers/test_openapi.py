"""The gateway answers as its OpenAPI document says: schemathesis asks every operation, with good values and bad ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import bcrypt
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from requests.structures import CaseInsensitiveDict
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from compat_auth import app as composed
from compat_auth.api.openapi import describe
from compat_auth.config import parse_settings
from support.leak_reporter import Reporter, publishing
from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway

pytestmark = pytest.mark.peer

USER = ("alice", "wonderländ")
EXAMPLES, FEW = 40, 5
SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
LEAKED = "/compat-auth/api/leaked-tokens"
TOKENS = "/compat-auth/api/personal-tokens"
# It knows the cookie of a login only; and forward-auth is off on this listener.
NEVER_GOOD = ("/compat-auth/session", "/compat-auth/forward-auth/")


def configured(**more: Any) -> dict[str, Any]:
    """Return a configuration with everything that answers under paths of ours."""
    return {
        "auth_backends": ["personal_token", "session", "oidc", "basic_auth"],
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": "users"},
        "oidc": {
            "issuers": [
                {"issuer": "http://127.0.0.1:9", "sign_in": "main", "client_id": "door", "client_secret": "s" * 32}
            ]
        },
        "session": {"secret": "a secret for nothing but this very test"},
        # Nothing is asked: the port stands for an upstream that exists.
        "upstream": {"url": "http://127.0.0.1:9", "profile": "airflow-simple", "roles": {"*": "VIEWER"}},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "personal_tokens": {
            "per_user_limit": 100000,
            "pepper": "a pepper, so that no file is made for one",
            "leak_keys_url": "http://127.0.0.1:9/keys",
        },
        # So that what is asked is answered, not put off.
        "token_endpoint": {"failures_per_minute": 1000, "tokens_per_minute": 1000},
        # The front proxy that asks.
        "trusted_proxies": ["127.0.0.1/32"],
        **more,
    }


ANSWERED = composed.Gateway(parse_settings(configured(), origin="test"))._gate.paths
DOCUMENT = describe("/compat-auth/", ANSWERED)


@pytest.fixture(scope="module")
def reporter() -> Iterator[Reporter]:
    with publishing() as found:
        yield found


@pytest.fixture(scope="module")
def instance(
    gateway: StartGateway, echo_upstream: EchoUpstream, tmp_path_factory: pytest.TempPathFactory, reporter: Reporter
) -> Gateway:
    users = tmp_path_factory.mktemp("users") / "htpasswd"
    users.write_text(f"alice:{bcrypt.hashpw(USER[1].encode(), bcrypt.gensalt(4)).decode()}\n")
    users.chmod(0o600)
    settings = configured(htpasswd={"file": str(users)})
    settings["upstream"] |= {"url": echo_upstream.url}
    settings["personal_tokens"] |= {"leak_keys_url": reporter.url}
    return gateway(settings)


@pytest.fixture(scope="module")
def schema(instance: Gateway) -> Any:
    served = instance.get("/compat-auth/openapi.json").json()
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
    schema: Any,
    instance: Gateway,
    reporter: Reporter,
    path: str,
    method: str,
    who: tuple[str, str] | None,
    mode: GenerationMode,
) -> None:
    statuses: set[int] = set()
    made = instance.post(TOKENS, json={"name": str(uuid4())}, auth=(USER[0], USER[1].encode()))
    examples = EXAMPLES if who == USER else FEW

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=SLOW)
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        auth = None if who is None else (who[0].encode(), who[1].encode())
        if path == LEAKED and who == USER:
            case.headers = CaseInsensitiveDict({**case.headers, **signed(case, instance, reporter)})
        if "{id}" in path and mode is GenerationMode.POSITIVE:
            # By chance nobody hits upon a token that there is.
            case.path_parameters = {"id": made.json()["id"]}
        statuses.add(case.call_and_validate(base_url=instance.url, auth=auth, checks=CHECKS).status_code)

    try:
        ask()
    except Unsatisfiable:
        # An operation without parameters and body has no bad values.
        assert mode is GenerationMode.NEGATIVE
        return

    assert statuses != set()
    if who == USER and mode is GenerationMode.POSITIVE and not path.startswith(NEVER_GOOD):
        assert min(statuses) < 300, f"nothing but {sorted(statuses)}: what the document calls good is never taken"


def signed(case: Case[Any], instance: Gateway, reporter: Reporter) -> dict[str, str]:
    """Return the headers of a report whose body is the case's."""
    body = requests.Request(**case.as_transport_kwargs(base_url=instance.url)).prepare().body or b""
    headers = reporter.headers(body if isinstance(body, bytes) else body.encode())
    return {name: value for name, value in headers.items() if name != "Content-Type"}


def undocumented() -> list[str]:
    described = {path.partition("{")[0] for path in DOCUMENT["paths"]}
    # Airflow 2's old API has a document of its own.
    return sorted(path for path in ANSWERED - described if not path.startswith("/api/v1/") and path not in OF_AIRFLOW_2)


OF_AIRFLOW_2 = {"/health", "/api/v1/ui", "/api/v1/ui/"}
# What a page loads, and where one sends a browser on to.
OF_PAGES = {"text/html", "text/css", "text/javascript"}


def test_the_document_has_nothing_that_is_not_answered() -> None:
    assert {path.partition("{")[0] for path in DOCUMENT["paths"]} - ANSWERED == set()


@pytest.mark.parametrize("path", undocumented())
def test_what_the_document_leaves_out_is_a_page(instance: Gateway, path: str) -> None:
    answer = instance.get(path, allow_redirects=False)

    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    assert kind in OF_PAGES, f"{path} answers {answer.status_code} {kind}: describe it in compat_auth/openapi.py"


def test_a_token_is_given_as_described_to_a_form_and_to_an_exchange(instance: Gateway, schema: Any) -> None:
    responses = schema["/auth/token"]["POST"].definition.raw["responses"]
    by_password = instance.post(
        "/auth/token", data={"grant_type": "password", "username": USER[0], "password": USER[1]}
    )
    made = instance.post(TOKENS, json={"name": "exchanged"}, auth=(USER[0], USER[1].encode()))
    exchanged = instance.post(
        "/auth/token",
        data={
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": made.json()["token"],
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        },
    )

    schemas = DOCUMENT["components"]["schemas"]
    assert by_password.status_code == 201
    assert by_password.json().keys() == responses["201"]["content"]["application/json"]["schema"]["properties"].keys()
    assert exchanged.status_code == 200
    assert exchanged.json().keys() == schemas["ExchangedToken"]["properties"].keys()


def test_the_document_leaves_out_what_is_not_answered() -> None:
    document = describe("/compat-auth/", {"/compat-auth/live"})

    assert list(document["paths"]) == ["/compat-auth/live"]

"""A program at `/auth/token` with a secret or an assertion, under attack: confused kinds, two credentials, other names."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any
from urllib.parse import urlencode

import pytest

from compat_auth.api.oauth.client_grants import CLIENT_ASSERTION, CLIENT_CREDENTIALS, JWT_BEARER
from compat_auth.api.oauth.token_endpoint import PATHS, TokenEndpoint
from compat_auth.api.oauth.token_request import ACCESS_TOKEN, EXCHANGE_GRANT, ID_TOKEN, JWT
from compat_auth.composition.gate import GateParts
from compat_auth.credentials import Bearer, Credential
from compat_auth.crypto.personal_token_format import make_text
from compat_auth.gateway.middleware import Gate, Page
from compat_auth.http.asgi import RawHeaders
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Reject, Skip
from compat_auth.scopes import parse_scopes
from compat_auth.web.throttling import TokenAttempts
from support.stand_ins import Behind, Sent, basic, call, http_scope, make_decider, make_gate, scripted
from support.stub_issuer import sign

FORM: RawHeaders = [(b"content-type", b"application/x-www-form-urlencoded")]
END = 4_000_000_000
WHOLE, LIMITED, PERSONS = (make_text().value for _ in range(3))
JOB, LIMITED_JOB, ACCESS, UNKNOWN = (
    sign({"iss": "i", "sub": name}) for name in ("job", "limited", "access", "unknown")
)
TRIGGER = parse_scopes(("trigger",))
BEARERS = {
    WHOLE: Identity("etl-robot", "personal_token", role_account=True),
    LIMITED: Identity("etl robot+1", "personal_token", scopes=TRIGGER, role_account=True, expires_at=END),
    PERSONS: Identity("alice", "personal_token"),
    JOB: Identity("etl-robot", "workload", subject="job", scopes=parse_scopes(("all",)), expires_at=END),
    LIMITED_JOB: Identity("etl-robot", "workload", subject="limited", scopes=TRIGGER, expires_at=END),
    ACCESS: Identity("alice", "oidc", subject="access"),
}
ASSERTION = {"client_assertion_type": CLIENT_ASSERTION}


class World:
    """A gate with the token endpoint, over backends that know alice's password and some bearers."""

    def __init__(self, **limits: int) -> None:
        self.issued: list[Identity] = []
        passwords = scripted("basic_auth", Accept(Identity("alice", "basic_auth")), invites=('Basic realm="Airflow"',))
        bearers = scripted("tokens", self._judge, takes=frozenset({Bearer}), invites=("Bearer",))
        attempts = TokenAttempts(limits.get("failures", 20), 100)

        def pages(parts: GateParts) -> dict[str, Page]:
            endpoint = TokenEndpoint(
                parts.endpoint(), self._issue, attempts, "apache-airflow", 400, words_of_airflow=False
            )
            return dict.fromkeys(PATHS, endpoint)

        self.gate: Gate = make_gate(Behind(), make_decider(passwords, bearers), pages=pages)

    def _judge(self, credential: Credential) -> Accept | Reject | Skip:
        found = BEARERS.get(getattr(credential, "token", ""))
        return Accept(found) if found else Reject("wrong")

    def _issue(self, identity: Identity, credential: Credential, kind: Any) -> Token:
        self.issued.append(identity)
        return Token(f"jwt-{len(self.issued)}", END)

    async def post(self, form: dict[str, str], headers: RawHeaders | None = None) -> Sent:
        scope = http_scope(b"/auth/token", [*FORM, *(headers or [])], method="POST")
        return await call(self.gate, scope, urlencode(form).encode())

    async def client(self, authorization: str = "", **form: str) -> Sent:
        headers = [(b"authorization", authorization.encode())] if authorization else []
        return await self.post({"grant_type": CLIENT_CREDENTIALS, **form}, headers)


@pytest.fixture
def world() -> World:
    return World()


def content(sent: Sent) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sent.body)
    return found


def encoded(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


async def test_a_secret_in_the_form_or_in_the_header_gets_a_jwt(world: World) -> None:
    answers = [
        await world.client(client_id="etl-robot", client_secret=WHOLE),
        await world.client(basic("etl-robot", WHOLE)),
        await world.client(basic("etl-robot", WHOLE), client_id="etl-robot", scope="all"),
    ]

    assert [sent.status for sent in answers] == [200, 200, 200]
    found = content(answers[0])
    assert found.pop("expires_in") > 0
    assert found == {"access_token": "jwt-1", "token_type": "Bearer", "scope": "all"}
    assert answers[0].values(b"cache-control") == [b"no-store"]


@pytest.mark.parametrize("name", ["etl robot+1", "etl+robot%2B1", "etl%20robot%2B1"])
async def test_a_client_id_may_be_encoded_in_the_header_as_rfc_6749_says_or_not(world: World, name: str) -> None:
    sent = await world.client(encoded(name, LIMITED))

    assert sent.status == 200


async def test_a_limited_secret_comes_back_with_its_limits(world: World) -> None:
    sent = await world.client(client_id="etl robot+1", client_secret=LIMITED)

    found = content(sent)
    assert (sent.status, found["access_token"], world.issued) == (200, LIMITED, [])
    assert found["scope"].split()[0] == "POST:/api/v2/dags/{dag_id}/dagRuns"
    assert found["expires_in"] <= 3600


@pytest.mark.parametrize(
    ("form", "token"),
    [
        ({"grant_type": JWT_BEARER, "assertion": JOB}, "jwt-1"),
        ({"grant_type": JWT_BEARER, "assertion": LIMITED_JOB}, LIMITED_JOB),
        ({"grant_type": CLIENT_CREDENTIALS, **ASSERTION, "client_assertion": JOB}, "jwt-1"),
        ({"grant_type": CLIENT_CREDENTIALS, **ASSERTION, "client_assertion": JOB, "client_id": "job"}, "jwt-1"),
        ({"grant_type": CLIENT_CREDENTIALS, **ASSERTION, "client_assertion": JOB, "client_id": "etl-robot"}, "jwt-1"),
        ({"grant_type": EXCHANGE_GRANT, "subject_token": JOB, "subject_token_type": JWT}, "jwt-1"),
        ({"grant_type": EXCHANGE_GRANT, "subject_token": JOB, "subject_token_type": ID_TOKEN}, "jwt-1"),
        ({"grant_type": EXCHANGE_GRANT, "subject_token": LIMITED_JOB, "subject_token_type": ACCESS_TOKEN}, LIMITED_JOB),
    ],
)
async def test_a_workloads_token_is_taken_by_each_grant(world: World, form: dict[str, str], token: str) -> None:
    sent = await world.post(form)

    assert (sent.status, content(sent)["access_token"]) == (200, token)
    assert (content(sent)["scope"] == "all") is (token == "jwt-1")


async def test_an_assertion_may_be_shown_again_while_it_lives(world: World) -> None:
    form = {"grant_type": JWT_BEARER, "assertion": sign({"iss": "i", "sub": "job", "jti": "once"})}
    BEARERS[form["assertion"]] = BEARERS[JOB]

    answers = [await world.post(form) for _ in range(2)]

    assert [sent.status for sent in answers] == [200, 200]
    assert world.issued[0].expires_at == world.issued[1].expires_at == END


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        pytest.param({"client_id": "other", "client_secret": WHOLE}, 401, "invalid_client", id="another-name"),
        pytest.param({"client_id": "ETL-ROBOT", "client_secret": WHOLE}, 401, "invalid_client", id="case"),
        pytest.param({"client_secret": WHOLE}, 400, "invalid_request", id="no-name"),
        pytest.param({"client_id": "", "client_secret": WHOLE}, 400, "invalid_request", id="empty-name"),
        pytest.param({"client_id": "etl-robot", "client_secret": ""}, 401, "invalid_client", id="empty-secret"),
        pytest.param({"client_id": "etl-robot"}, 401, "invalid_client", id="no-secret"),
        pytest.param({"client_id": "alice", "client_secret": "wonder"}, 401, "invalid_client", id="password"),
        pytest.param({"client_id": "etl-robot", "client_secret": JOB}, 401, "invalid_client", id="assertion-as-secret"),
        pytest.param({"client_id": "etl-robot", "client_secret": f"{WHOLE} "}, 401, "invalid_client", id="blank"),
        pytest.param(
            {"client_id": "etl-robot", "client_secret": make_text().value}, 401, "invalid_client", id="unknown"
        ),
        pytest.param({**ASSERTION, "client_assertion": UNKNOWN}, 401, "invalid_client", id="unknown-assertion"),
        pytest.param({**ASSERTION, "client_assertion": ACCESS}, 401, "invalid_client", id="access-token-as-assertion"),
        pytest.param({**ASSERTION, "client_assertion": WHOLE}, 400, "invalid_request", id="secret-as-assertion"),
        pytest.param({**ASSERTION, "client_assertion": "a.b.c"}, 400, "invalid_request", id="no-jwt"),
        pytest.param(
            {**ASSERTION, "client_assertion": JOB, "client_id": "x"}, 401, "invalid_client", id="another-client"
        ),
        pytest.param({"client_assertion": JOB}, 400, "invalid_request", id="no-type"),
        pytest.param({**ASSERTION}, 400, "invalid_request", id="type-alone"),
        pytest.param(
            {
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
                "client_assertion": JOB,
            },
            400,
            "invalid_request",
            id="saml",
        ),
        pytest.param(
            {**ASSERTION, "client_assertion": JOB, "client_id": "etl-robot", "client_secret": WHOLE},
            400,
            "invalid_request",
            id="two",
        ),
        pytest.param(
            {"client_id": "etl-robot", "client_secret": WHOLE, "scope": "admin"}, 400, "invalid_scope", id="scope"
        ),
        pytest.param(
            {"client_id": "etl robot+1", "client_secret": LIMITED, "scope": "all"}, 400, "invalid_scope", id="widened"
        ),
        pytest.param(
            {"client_id": "etl-robot", "client_secret": WHOLE, "audience": "urn:airflow.apache.org:task"},
            400,
            "invalid_target",
            id="audience",
        ),
        pytest.param({"grant_type": JWT_BEARER}, 400, "invalid_request", id="no-assertion"),
        pytest.param({"grant_type": JWT_BEARER, "assertion": UNKNOWN}, 400, "invalid_grant", id="unknown-grant"),
        pytest.param({"grant_type": JWT_BEARER, "assertion": ACCESS}, 400, "invalid_grant", id="access-token-as-grant"),
        pytest.param({"grant_type": JWT_BEARER, "assertion": WHOLE}, 400, "invalid_request", id="secret-as-grant"),
        pytest.param({"grant_type": JWT_BEARER, "client_assertion": JOB}, 400, "invalid_request", id="wrong-parameter"),
        pytest.param(
            {"grant_type": JWT_BEARER, "assertion": JOB, "client_id": "other"},
            401,
            "invalid_client",
            id="another-clients-grant",
        ),
        pytest.param({"assertion": JOB, "client_id": "etl-robot"}, 400, "invalid_request", id="wrong-grant"),
    ],
)
async def test_what_is_wrong_gets_oauths_error_and_no_token(
    world: World, form: dict[str, str], status: int, code: str
) -> None:
    sent = await world.post({"grant_type": CLIENT_CREDENTIALS, **form})

    assert (sent.status, content(sent)["error"]) == (status, code)
    assert world.issued == []
    assert not any(secret.encode() in sent.body for secret in (WHOLE, LIMITED, JOB))


@pytest.mark.parametrize(
    ("authorization", "form", "status"),
    [
        pytest.param(basic("etl-robot", WHOLE), {"client_id": "etl-robot", "client_secret": WHOLE}, 400, id="twice"),
        pytest.param(basic("etl-robot", WHOLE), {**ASSERTION, "client_assertion": JOB}, 400, id="header-and-assertion"),
        pytest.param(basic("etl-robot", WHOLE), {"client_id": "other"}, 400, id="two-names"),
        pytest.param(basic("other", WHOLE), {}, 401, id="another-name"),
        pytest.param(basic("alice", "wonder"), {}, 401, id="a-persons-password"),
        pytest.param(f"Bearer {WHOLE}", {}, 401, id="bearer"),
        pytest.param("Basic !!!", {}, 401, id="malformed"),
        pytest.param(basic("x", PERSONS), {}, 401, id="a-persons-token-under-another-name"),
    ],
)
async def test_a_header_that_is_not_the_clients_gets_no_token(
    world: World, authorization: str, form: dict[str, str], status: int
) -> None:
    sent = await world.client(authorization, **form)

    assert sent.status == status
    assert world.issued == []
    assert (status == 401) is (sent.values(b"www-authenticate") == [b'Basic realm="token endpoint"'])


@pytest.mark.parametrize("name", ["client_id", "client_secret", "client_assertion", "client_assertion_type", "scope"])
async def test_a_parameter_that_is_there_twice_is_refused(world: World, name: str) -> None:
    body = urlencode({"grant_type": CLIENT_CREDENTIALS, "client_id": "etl-robot", "client_secret": WHOLE})

    sent = await call(world.gate, http_scope(b"/auth/token", FORM, method="POST"), f"{body}&{name}=a&{name}=b".encode())

    assert sent.status == 400
    assert world.issued == []


async def test_guesses_are_counted_and_other_addresses_are_not_affected() -> None:
    world = World(failures=3)

    answers = [await world.client(client_id="etl-robot", client_secret=make_text().value) for _ in range(5)]

    assert [sent.status for sent in answers] == [401, 401, 401, 429, 429]


async def test_another_sites_page_gets_nothing(world: World) -> None:
    form = {"grant_type": CLIENT_CREDENTIALS, "client_id": "etl-robot", "client_secret": WHOLE}

    sent = await world.post(form, [(b"sec-fetch-site", b"cross-site")])

    assert sent.status == 403
    assert world.issued == []


async def test_the_audit_log_says_what_was_given_and_holds_no_token(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="compat_auth.audit")

    await world.client(client_id="etl robot+1", client_secret=LIMITED)

    line = json.loads(caplog.records[-1].getMessage())
    assert (line["result"], line["username"]) == ("issue", "etl robot+1")
    assert LIMITED not in caplog.text

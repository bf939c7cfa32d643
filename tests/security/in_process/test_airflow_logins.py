"""`/auth/token` inside Airflow with a body: our answers where a backend takes the login, Airflow's own where none does."""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import urlencode

import pytest

from compat_auth.api.oauth.token_endpoint import PATHS, TokenEndpoint
from compat_auth.composition.gate import GateParts
from compat_auth.credentials import Basic, Bearer, Credential
from compat_auth.gateway.middleware import Gate, Page
from compat_auth.http.asgi import RawHeaders, read_body
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Reject
from compat_auth.web.throttling import TokenAttempts
from support.stand_ins import Sent, basic, call, http_scope, make_decider, make_gate, scripted

FORM: RawHeaders = [(b"content-type", b"application/x-www-form-urlencoded")]
JSON: RawHeaders = [(b"content-type", b"application/json")]
PERSONAL = "cat_pat_" + "a" * 12 + "b" * 40


class Airflow:
    """Airflow's own `/auth/token`: knows anna, reads JSON alone, and fails as FabAuthManager does at what is no text."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[bytes, bytes], bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = await read_body(receive, 100_000)
        headers = dict(scope["headers"])
        self.seen.append((headers, body))
        status, content = self._answer(headers, body)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(content).encode()})

    def _answer(self, headers: dict[bytes, bytes], body: bytes) -> tuple[int, object]:
        if headers.get(b"content-type") != b"application/json":
            return 422, {"detail": "JSON only"}
        found = json.loads(body)
        assert all(isinstance(value, str) for value in found.values())
        if found.get("grant_type") == "client_credentials":
            right = found.get("client_secret") == "robot"
            return (201, {"access_token": "of-the-robot"}) if right else (403, {"detail": "Forbidden"})
        if not found.get("username") or not found.get("password"):
            return 400, {"detail": "Username and password must be provided"}
        if (found["username"], found["password"]) in (("anna", "airflow"), ("a:b", "airflow")):
            return 201, {"access_token": "of-airflow"}
        return 401, {"detail": "Invalid credentials"}


class World:
    """The pages inside Airflow or in front of it, with one backend that knows alice, or with none that takes passwords."""

    def __init__(
        self, backend: str = "basic_auth", *, inside: bool = True, asks_manager: bool = False, failures: int = 20
    ) -> None:
        self.airflow = Airflow()
        self.asked: list[Credential] = []
        takes = frozenset({Bearer}) if backend == "oidc" else frozenset({Basic})
        decider = make_decider(scripted(backend, self._judge, takes=takes, invites=('Basic realm="Airflow"',)))
        attempts = TokenAttempts(failures, 100)

        def pages(parts: GateParts) -> dict[str, Page]:
            instance = TokenEndpoint(
                parts.endpoint(),
                lambda *_: Token("ours", 4_000_000_000),
                attempts,
                "apache-airflow",
                400,
                words_of_airflow=False,
                logins_are_upstreams=inside,
                asks_manager=asks_manager,
            )
            return dict.fromkeys(PATHS, instance)

        self.gate: Gate = make_gate(self.airflow, decider, pages=pages)

    def _judge(self, credential: Credential) -> Accept | Reject:
        self.asked.append(credential)
        if credential == Basic("alice", "wonder"):
            return Accept(Identity("alice", "basic_auth"))
        return Reject("wrong")

    async def ask(self, body: bytes, headers: RawHeaders, path: bytes = b"/auth/token") -> Sent:
        return await call(self.gate, http_scope(path, headers, method="POST"), body)

    async def log_in(self, username: str, password: str, *more: tuple[bytes, bytes]) -> Sent:
        return await self.ask(json.dumps({"username": username, "password": password}).encode(), [*JSON, *more])


def token_in(sent: Sent) -> str:
    return str(json.loads(sent.body)["access_token"])


@pytest.mark.parametrize("path", [b"/auth/token", b"/auth/token/cli"])
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param(JSON, b'{"username": "alice", "password": "wonder"}', id="json"),
        pytest.param(FORM, b"username=alice&password=wonder", id="form"),
        pytest.param(FORM, b"grant_type=password&username=alice&password=wonder&scope=", id="swagger"),
        pytest.param([(b"authorization", basic("alice", "wonder").encode())], b"", id="header"),
    ],
)
async def test_a_login_that_a_backend_of_ours_takes_gets_our_answer(
    path: bytes, headers: RawHeaders, body: bytes
) -> None:
    world = World()

    sent = await world.ask(body, headers, path)

    assert (sent.status, token_in(sent)) == (201, "ours")
    assert sent.values(b"cache-control") == [b"no-store"]
    assert world.airflow.seen == []


@pytest.mark.parametrize("backend", ["basic_auth", "oidc"])
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param(JSON, b'{"username": "anna", "password": "airflow"}', id="json"),
        pytest.param(FORM, b"username=anna&password=airflow", id="form"),
        pytest.param(FORM, b"grant_type=password&username=anna&password=airflow", id="swagger"),
        pytest.param(
            [*JSON, (b"authorization", b"Bearer of.anna.ended")],
            b'{"username": "anna", "password": "airflow"}',
            id="beside-a-token-that-has-ended",
        ),
        pytest.param(
            [*JSON, (b"sec-fetch-site", b"cross-site"), (b"origin", b"https://app.example")],
            b'{"username": "anna", "password": "airflow"}',
            id="a-script-that-cors-settings-let-in",
        ),
        pytest.param(JSON, b'{"username": "a:b", "password": "airflow"}', id="a-name-that-basic-cannot-carry"),
    ],
)
async def test_a_login_that_no_backend_of_ours_takes_is_airflow_s_own(
    backend: str, headers: RawHeaders, body: bytes
) -> None:
    world = World(backend)

    sent = await world.ask(body, headers)

    assert (sent.status, token_in(sent)) == (201, "of-airflow")
    ((seen, _),) = world.airflow.seen
    assert b"Basic" not in seen.get(b"authorization", b"")


async def test_whom_airflow_s_manager_has_refused_as_a_directory_is_not_asked_about_twice() -> None:
    world = World(asks_manager=True)

    sent = await world.log_in("anna", "wrong")

    assert sent.status == 401
    assert sent.values(b"www-authenticate") == [b'Basic realm="Airflow"']
    assert len(world.asked) == 1
    assert world.airflow.seen == []


@pytest.mark.parametrize("backend", ["basic_auth", "oidc"])
async def test_airflow_never_sees_a_personal_token(backend: str) -> None:
    world = World(backend)

    answers = [
        await world.log_in("anna", PERSONAL),
        await world.log_in(PERSONAL, "x"),
        await world.log_in("a:b", PERSONAL),
    ]

    assert {sent.status for sent in answers} == {401}
    assert world.airflow.seen == []


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        pytest.param(JSON, b'{"username": 5, "password": "x"}', 400, id="number-for-a-name"),
        pytest.param(JSON, b'{"username": "anna", "password": 5}', 400, id="number-for-a-password"),
        pytest.param(JSON, b'{"username": ["anna"], "password": "x"}', 400, id="list"),
        pytest.param(JSON, b"5", 400, id="number"),
        pytest.param(JSON, b'"text"', 400, id="text"),
        pytest.param(JSON, b"[]", 400, id="array"),
        pytest.param(JSON, b"{", 400, id="broken"),
        pytest.param(JSON, b'{"username": "anna", "username": "alice", "password": "x"}', 400, id="two-names"),
        pytest.param(FORM, b"username=anna&username=alice&password=x", 400, id="two-names-in-a-form"),
        pytest.param(FORM, b"grant_type=authorization_code", 400, id="unknown-grant-in-a-form"),
        pytest.param([*FORM, (b"sec-fetch-site", b"cross-site")], b"username=anna&password=x", 403, id="foreign-form"),
    ],
)
async def test_a_body_that_airflow_would_fail_at_is_refused_here(headers: RawHeaders, body: bytes, status: int) -> None:
    world = World()

    sent = await world.ask(body, headers)

    assert sent.status == status
    assert world.airflow.seen == []


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param(JSON, b'{"username": "anna"}', id="half"),
        pytest.param(JSON, b'{"username": "anna", "password": null}', id="null"),
        pytest.param(JSON, b'{"otp": "123"}', id="what-a-manager-of-the-site-s-own-may-read"),
        pytest.param([(b"content-type", b"text/plain")], b"x", id="another-media-type"),
    ],
)
async def test_a_body_that_is_no_login_is_airflow_s_to_answer(headers: RawHeaders, body: bytes) -> None:
    world = World()
    world.airflow._answer = lambda *_: (418, {})  # type: ignore[method-assign]

    sent = await world.ask(body, headers)

    assert sent.status == 418
    assert [seen for _, seen in world.airflow.seen] == [body]


@pytest.mark.parametrize("backend", ["basic_auth", "oidc"])
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "in-front"])
async def test_nobody_guesses_without_end_whoever_judges(backend: str, inside: bool) -> None:
    world = World(backend, inside=inside, failures=3)

    statuses = [(await world.log_in("anna", f"guess{number}")).status for number in range(5)]
    right = await world.log_in("anna", "airflow")

    assert statuses == [401, 401, 401, 429, 429]
    assert right.status == 429
    assert len(world.airflow.seen) == (3 if inside else 0)


async def test_who_logs_in_at_airflow_s_own_is_no_guesser() -> None:
    world = World(failures=3)

    statuses = {(await world.log_in("anna", "airflow")).status for _ in range(6)}

    assert statuses == {201}


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "in-front"])
async def test_a_grant_that_only_the_upstream_speaks_is_answered_by_it(inside: bool) -> None:
    world = World(inside=inside)
    body = json.dumps({"grant_type": "client_credentials", "client_id": "r", "client_secret": "robot"}).encode()

    sent = await world.ask(body, JSON)

    assert (sent.status, token_in(sent)) == (201, "of-the-robot")
    assert [seen for _, seen in world.airflow.seen] == [body]


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "in-front"])
async def test_nobody_guesses_at_the_secret_of_a_client_without_end(inside: bool) -> None:
    world = World(inside=inside, failures=3)
    body = json.dumps({"grant_type": "client_credentials", "client_id": "r", "client_secret": "x"}).encode()

    statuses = [(await world.ask(body, JSON)).status for _ in range(5)]

    assert statuses == [403, 403, 403, 429, 429]


async def test_a_credential_in_the_header_wins_over_a_grant_that_we_do_not_speak() -> None:
    world = World(inside=False)
    body = json.dumps({"grant_type": "client_credentials", "client_id": "r", "client_secret": "robot"}).encode()

    sent = await world.ask(body, [*JSON, (b"authorization", basic("alice", "wonder").encode())])

    assert (sent.status, token_in(sent)) == (201, "ours")
    assert world.airflow.seen == []


@pytest.mark.parametrize(
    ("body", "result", "username"),
    [
        pytest.param({"username": "anna", "password": "airflow"}, "issue", "anna", id="right"),
        pytest.param({"username": "anna", "password": "hunter2"}, "reject", "anna", id="wrong"),
        pytest.param({"grant_type": "client_credentials", "client_secret": "hunter2"}, "reject", "", id="client"),
    ],
)
async def test_what_airflow_itself_decides_is_in_the_audit_log(
    caplog: pytest.LogCaptureFixture, body: dict[str, str], result: str, username: str
) -> None:
    caplog.set_level(logging.INFO, logger="compat_auth.audit")
    world = World("oidc")

    await world.ask(
        urlencode(body).encode() if "username" in body else json.dumps(body).encode(),
        FORM if "username" in body else JSON,
    )

    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "compat_auth.audit"]
    (line,) = [line for line in lines if line.get("backend") == "upstream"]
    assert (line["result"], line["path"]) == (result, "/auth/token")
    assert username in (line["username"], "") or line["username"].startswith(username[:1])
    assert "hunter2" not in json.dumps(lines)

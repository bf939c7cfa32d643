"""`/api/v1` as an ASGI application: what reaches the application behind, and what never does."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from compat_auth.airflow.v1.problems import V1Problem
from compat_auth.airflow.v1.translation import MAX_BODY_BYTES, MAX_CONTAINERS, V1Translation
from compat_auth.airflow.v1.upstream_calls import MAX_ANSWER_BYTES, Room
from compat_auth.errors import NotPermitted, UpstreamUnreachable
from compat_auth.gateway.forwarding import AUTHORIZE, INTAKE
from compat_auth.http.asgi import Message, RawHeaders, Receive, Scope, Send
from compat_auth.http.headers import Intake
from compat_auth.http.request import GateRequest

JSON_BODY: RawHeaders = [(b"content-type", b"application/json")]
PLAIN = {"pools": [], "total_entries": 0}


class Behind:
    """The application behind: answers every call alike, and keeps what it was asked."""

    def __init__(self, document: object = PLAIN, status: int = 200) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self._answer = json.dumps(document).encode()
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.bodies.append((await receive())["body"])
        headers = [(b"set-cookie", b"_token=secret"), (b"x-internal", b"yes"), (b"server", b"uvicorn")]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        half = len(self._answer) // 2
        await send({"type": "http.response.body", "body": self._answer[:half], "more_body": True})
        await send({"type": "http.response.body", "body": self._answer[half:]})


def permit(_method: str, _path: bytes, _body: bytes) -> None:
    """Let every call through."""


class Heard:
    """What the client heard."""

    def __init__(self, messages: list[Message]) -> None:
        self.status: int = messages[0]["status"]
        self.headers: RawHeaders = messages[0]["headers"]
        self.body = b"".join(message["body"] for message in messages[1:])

    def header(self, name: bytes) -> bytes | None:
        return dict(self.headers).get(name)


def ask(
    application: V1Translation,
    path: str,
    method: str = "GET",
    *,
    query: bytes = b"",
    body: bytes = b"",
    headers: RawHeaders | None = None,
    demand: Any = permit,
    messages: list[Message] | None = None,
    intake: GateRequest | None = None,
) -> Heard:
    messages = [] if messages is None else messages
    parts = [body[at : at + 65536] for at in range(0, len(body), 65536)] or [b""]

    async def receive() -> Message:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Message) -> None:
        messages.append(message)

    scope: Scope = {
        "type": "http",
        "method": method,
        "raw_path": path.encode(),
        "path": path,
        "query_string": query,
        "headers": headers or [(b"host", b"h"), (b"authorization", b"Bearer caller")],
        "extensions": {AUTHORIZE: demand} if intake is None else {AUTHORIZE: demand, INTAKE: intake},
    }
    asyncio.run(application(scope, receive, send))
    return Heard(messages)


def test_a_call_goes_out_as_the_caller() -> None:
    behind = Behind()

    heard = ask(V1Translation(behind), "/api/v1/pools", query=b"limit=7")

    assert heard.status == 200
    assert json.loads(heard.body) == PLAIN
    assert behind.scopes[0]["raw_path"] == b"/api/v2/pools"
    assert behind.scopes[0]["query_string"] == b"limit=7&order_by=id"
    assert (b"authorization", b"Bearer caller") in behind.scopes[0]["headers"]


def test_nothing_of_the_upstream_s_headers_reaches_the_client() -> None:
    heard = ask(V1Translation(Behind()), "/api/v1/pools")

    assert {name for name, _ in heard.headers} == {b"content-type", b"content-length", b"deprecation", b"link"}


def test_what_describes_the_client_s_body_is_not_said_of_the_call() -> None:
    behind = Behind()
    described = [
        (b"host", b"h"),
        (b"content-length", b"3"),
        (b"transfer-encoding", b"chunked"),
        (b"accept-encoding", b"gzip"),
        (b"referer", b"http://ui/"),
        (b"if-none-match", b"x"),
        (b"x-request-id", b"7"),
    ]

    ask(V1Translation(behind), "/api/v1/pools", headers=described)

    names = [name for name, _ in behind.scopes[0]["headers"]]
    assert names == [b"host", b"x-request-id", b"accept", b"accept-encoding"]
    assert (b"accept-encoding", b"identity") in behind.scopes[0]["headers"]


def test_an_operation_s_answer_names_its_successor_and_an_operator_can_switch_that_off() -> None:
    loud = ask(V1Translation(Behind()), "/api/v1/pools")
    silent = ask(V1Translation(Behind(), says_deprecated=False), "/api/v1/pools")

    assert loud.header(b"link") == b'</api/v2/pools>; rel="successor-version"'
    assert loud.header(b"deprecation") == b"@1745280000"
    assert silent.header(b"link") is None
    assert silent.header(b"deprecation") is None


def test_without_a_decision_about_the_caller_only_what_is_public_is_answered() -> None:
    behind = Behind({"version": "3.3.2", "git_version": None})

    closed = ask(V1Translation(behind), "/api/v1/pools", demand=None)
    asked_before = len(behind.scopes)
    public = ask(V1Translation(behind), "/api/v1/version", demand=None)

    assert closed.status == 401
    assert asked_before == 0
    assert public.status == 200


@pytest.mark.parametrize(
    "body", [b"x" * (MAX_BODY_BYTES + 1), b"[" + b"[]," * 1000 + b"1]"], ids=["large", "malformed"]
)
def test_a_body_of_somebody_about_whom_nothing_was_decided_is_not_read(body: bytes) -> None:
    headers = [(b"host", b"h"), (b"content-type", b"application/json")]

    heard = ask(V1Translation(Behind()), "/api/v1/pools", "POST", body=body, headers=headers, demand=None)

    assert heard.status == 401


def test_a_requirement_on_a_path_of_3_x_stops_a_call_before_it_is_made() -> None:
    behind = Behind()

    def demand(method: str, path: bytes, _body: bytes) -> None:
        if (method, path) == ("GET", b"/api/v2/pools"):
            raise NotPermitted

    with pytest.raises(NotPermitted):
        ask(V1Translation(behind), "/api/v1/pools", demand=demand)

    assert behind.scopes == []


def test_a_body_beyond_the_bound_is_refused_unread() -> None:
    behind = Behind()
    headers = [(b"host", b"h"), (b"content-type", b"application/json")]

    heard = ask(V1Translation(behind), "/api/v1/pools", "POST", body=b" " * (MAX_BODY_BYTES + 1), headers=headers)

    assert heard.status == 413
    assert behind.scopes == []


def test_a_body_that_takes_long_to_parse_is_refused() -> None:
    behind = Behind()
    headers = [(b"host", b"h"), (b"content-type", b"application/json")]
    body = b'{"conf":{"a":[%s]}}' % b",".join([b"[]"] * (MAX_CONTAINERS + 1))

    heard = ask(V1Translation(behind), "/api/v1/dags/etl/dagRuns", "POST", body=body, headers=headers)

    assert heard.status == 413
    assert behind.scopes == []


def test_an_upstream_that_is_down_is_502_in_the_shape_of_2_11() -> None:
    async def down(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise UpstreamUnreachable("upstream: refused at 10.0.0.1:8080")

    heard = ask(V1Translation(down), "/api/v1/pools")

    assert heard.status == 502
    assert heard.header(b"content-type") == b"application/problem+json"
    assert b"10.0.0.1" not in heard.body


def test_half_an_answer_is_none() -> None:
    async def breaks_off(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"pools": []', "more_body": True})

    heard = ask(V1Translation(breaks_off), "/api/v1/pools")

    assert heard.status == 502


def test_a_document_of_another_shape_than_promised_is_502_and_not_quoted() -> None:
    heard = ask(V1Translation(Behind({"secret": "s3cr3t"})), "/api/v1/pools")

    assert heard.status == 502
    assert b"s3cr3t" not in heard.body


class Answering(Behind):
    """Answers with a text that no JSON library of ours has written."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self._answer = answer


@pytest.mark.parametrize("number", [b"1e400", b"-1e999", b"NaN", b"Infinity", b"-Infinity"])
def test_a_number_that_json_does_not_know_never_reaches_the_client(number: bytes) -> None:
    behind = Answering(b'{"key": "k", "value": {"a": %s}}' % number)

    heard = ask(V1Translation(behind), "/api/v1/variables/k")

    assert heard.status == 502
    assert b"Infinity" not in heard.body


@pytest.mark.parametrize("number", [b"1e400", b"-1e999", b"NaN", b"Infinity", b"9" * 5000])
@pytest.mark.parametrize("field", [b'{"a": %s}', b'[[{"a": [1, %s]}]]'])
def test_a_number_that_json_does_not_know_is_400_and_goes_nowhere(number: bytes, field: bytes) -> None:
    behind, body = Behind(), b'{"conf": {"deep": ' + field % number + b"}}"

    heard = ask(V1Translation(behind), "/api/v1/dags/d/dagRuns", "POST", body=body, headers=JSON_BODY)

    assert heard.status == 400
    assert behind.scopes == []


def test_large_and_small_numbers_go_on_as_they_are() -> None:
    behind, conf = Behind({"detail": "x"}), {"a": 10**40, "b": 1e308, "c": 5e-324, "d": "Infinity NaN", "e": -(2**63)}
    body = json.dumps({"conf": conf}).encode()

    ask(V1Translation(behind), "/api/v1/dags/d/dagRuns", "POST", body=body, headers=JSON_BODY)

    assert [json.loads(sent)["conf"] for sent in behind.bodies if sent] == [conf]


def test_the_words_for_such_numbers_may_stand_in_a_text() -> None:
    heard = ask(V1Translation(Behind({"key": "k", "value": "NaN or Infinity"})), "/api/v1/variables/k")

    assert (heard.status, json.loads(heard.body)["value"]) == (200, "NaN or Infinity")


@pytest.mark.parametrize("extra", ["[" * 100_000, '{"a": 1e400}', '{"a": NaN}'])
def test_an_extra_that_is_no_json_object_is_400(extra: str) -> None:
    body = json.dumps({"connection_id": "c", "conn_type": "http", "extra": extra}).encode()

    heard = ask(V1Translation(Behind()), "/api/v1/connections", "POST", body=body, headers=JSON_BODY)

    assert heard.status == 400


def test_answers_that_are_held_have_room_for_all_of_them_together() -> None:
    large = {"key": "k", "value": "x" * 600}
    room = Room(1000)
    application = V1Translation(Behind(large), room=room)
    with room.share() as other:
        other.take(500)
        refused = ask(application, "/api/v1/variables/k")

    answered = ask(application, "/api/v1/variables/k")

    assert (refused.status, refused.header(b"retry-after")) == (503, b"1")
    assert (answered.status, room.held) == (200, 0)


def test_who_reads_large_answers_slowly_leaves_room_for_an_answer_of_the_largest_size_to_others() -> None:
    room = Room()
    with room.share("2001:db8::1") as first, room.share("2001:db8::2") as second, room.share("192.0.2.1") as other:
        first.take(MAX_ANSWER_BYTES)

        with pytest.raises(V1Problem, match="too many large answers"):
            second.take(1)
        other.take(MAX_ANSWER_BYTES)
    again = room.held

    assert again == 0


def test_the_caller_of_an_answer_that_is_held_is_the_client_of_the_request() -> None:
    room = Room()
    client = GateRequest({}, Intake([], b"a", None, [], {}), "GET", b"/", b"", "192.0.2.1")
    application = V1Translation(Behind({"key": "k", "value": "x"}), room=room)
    with room.share("192.0.2.1") as same:
        same.take(MAX_ANSWER_BYTES)

        refused = ask(application, "/api/v1/variables/k", intake=client)
        answered = ask(application, "/api/v1/variables/k", intake=replace(client, client="192.0.2.2"))

    assert (refused.status, answered.status) == (503, 200)


def test_room_is_given_back_when_the_upstream_fails_or_the_client_has_gone() -> None:
    room = Room()

    async def breaking(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        raise UpstreamUnreachable("gone")

    heard = ask(V1Translation(breaking, room=room), "/api/v1/variables/k")

    assert (heard.status, room.held) == (502, 0)


def test_an_error_of_the_upstream_s_own_is_not_quoted() -> None:
    heard = ask(V1Translation(Behind({"detail": "SELECT password FROM"}, 500)), "/api/v1/pools")

    assert heard.status == 500
    assert b"SELECT" not in heard.body


def test_head_gets_the_length_of_what_get_would_get() -> None:
    got = ask(V1Translation(Behind()), "/api/v1/pools")

    heard = ask(V1Translation(Behind()), "/api/v1/pools", "HEAD")

    assert heard.status == 200
    assert heard.body == b""
    assert heard.header(b"content-length") == got.header(b"content-length")


def test_options_names_the_methods_without_a_call() -> None:
    behind = Behind()

    heard = ask(V1Translation(behind), "/api/v1/pools", "OPTIONS")

    assert heard.status == 200
    assert heard.header(b"allow") == b"GET, HEAD, OPTIONS, POST"
    assert behind.scopes == []


def test_health_at_the_root_is_that_of_the_api() -> None:
    behind = Behind({"metadatabase": {"status": "healthy"}, "scheduler": {"status": "healthy"}})

    heard = ask(V1Translation(behind), "/health", demand=None)

    assert heard.status == 200
    assert behind.scopes[0]["raw_path"] == b"/api/v2/monitor/health"
    assert json.loads(heard.body)["dag_processor"] == {"status": None, "latest_dag_processor_heartbeat": None}


def test_everything_else_is_handed_on_untouched() -> None:
    behind = Behind()

    ask(V1Translation(behind), "/api/v10/pools")
    ask(V1Translation(behind), "/API/v1/pools")

    assert [scope["raw_path"] for scope in behind.scopes] == [b"/api/v10/pools", b"/API/v1/pools"]


def test_an_encoded_slash_in_a_name_stays_encoded() -> None:
    behind = Behind({"name": "a/b", "slots": 1})

    ask(V1Translation(behind), "/api/v1/pools/a%2Fb")

    assert behind.scopes[0]["raw_path"] == b"/api/v2/pools/a%2Fb"


class Script:
    """An application that answers each call by a function of its own, in order."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.lines: list[str] = []

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.lines.append(f"{scope['method']} {scope['raw_path'].decode()}")
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, document = answer
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(document).encode()})


def test_an_upstream_that_dies_between_two_calls_is_told_and_a_retry_completes_the_rest() -> None:
    conflict, run = (409, {"detail": "running"}), (200, {"dag_run_id": "r"})
    behind = Script(conflict, run, UpstreamUnreachable("gone"), (204, None))
    application = V1Translation(behind)

    cut = ask(application, "/api/v1/dags/d/dagRuns/r", "DELETE")
    again = ask(application, "/api/v1/dags/d/dagRuns/r", "DELETE")

    assert cut.status == 502
    assert json.loads(cut.body)["detail"] == (
        "Done: set the run's state to failed. Not known whether done: delete the run. Send the request again to complete it."
    )
    assert again.status == 204
    assert behind.lines == [
        "DELETE /api/v2/dags/d/dagRuns/r",
        "PATCH /api/v2/dags/d/dagRuns/r",
        "DELETE /api/v2/dags/d/dagRuns/r",
        "DELETE /api/v2/dags/d/dagRuns/r",
    ]


def test_a_log_reaches_the_client_line_by_line_as_it_is_written() -> None:
    heard_meanwhile: list[bytes] = []
    messages: list[Message] = []

    async def behind(scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if b"/logs/" not in scope["raw_path"]:
            await send({"type": "http.response.body", "body": b'{"hostname": "vm"}'})
            return
        for number in range(3):
            line = json.dumps({"event": f"line {number}"}).encode() + b"\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})
            heard_meanwhile.append(messages[-1]["body"])
        await send({"type": "http.response.body", "body": b""})

    heard = ask(V1Translation(behind), "/api/v1/dags/d/dagRuns/r/taskInstances/t/logs/1", messages=messages)

    assert heard_meanwhile == [b"vm\nline 0\n", b"line 1\n", b"line 2\n"]
    assert heard.header(b"content-type") == b"text/plain"
    assert heard.header(b"content-length") is None
    assert heard.body == b"vm\nline 0\nline 1\nline 2\n"


def test_a_log_that_breaks_off_does_not_look_whole() -> None:
    messages: list[Message] = []

    async def behind(scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if b"/logs/" not in scope["raw_path"]:
            await send({"type": "http.response.body", "body": b'{"hostname": "vm"}'})
            return
        await send({"type": "http.response.body", "body": b'{"event": "one"}\n', "more_body": True})
        raise UpstreamUnreachable("gone")

    ask(V1Translation(behind), "/api/v1/dags/d/dagRuns/r/taskInstances/t/logs/1", messages=messages)

    assert messages[-1]["more_body"] is True

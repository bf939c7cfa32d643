"""One id for each request: at the upstream, in the answer, in the audit log and the access log, by every way."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from compat_auth.cli import commands
from support.security.gateway import Answer, Gateway, basic, parse_answers, running_gateway, write_config
from support.security.upstream import recording_upstream

MADE = re.compile(rb"[0-9a-f]{32}\Z")
SECRET = b"a-secret-of-the-front-proxy-alone-0123456789"
KEY = "a-key-of-the-audit-log-and-nobody-else"
HEAD = b"GET /api/x HTTP/1.1\r\nHost: gateway\r\n"


def configuration(folder: Path, trusted: str, log_format: str) -> str:
    return "\n".join(
        (
            f"trusted_proxies = {trusted}",
            f'database_url = "sqlite:///{folder}/store.db"',
            f'log = {{format = "{log_format}", access = true}}',
            f'audit = {{file = "{folder}/audit.log", chain_key = "{KEY}"}}',
            # Without a trusted proxy, nobody may ask.
            *([] if trusted == "[]" else [f'forward_auth = {{secret = "{SECRET.decode()}"}}']),
        )
    )


@pytest.fixture(scope="module", params=["json", "text"])
def trusting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    yield from served(tmp_path_factory.mktemp("trusting"), '["127.0.0.1"]', str(request.param))


@pytest.fixture(scope="module")
def distrusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    yield from served(tmp_path_factory.mktemp("distrusting"), "[]", "json")


def served(folder: Path, trusted: str, log_format: str) -> Generator[Gateway]:
    with recording_upstream() as upstream:
        config = write_config(folder, f"http://127.0.0.1:{upstream.port}", configuration(folder, trusted, log_format))
        with running_gateway(config, upstream) as gateway:
            yield gateway


def ask(gateway: Gateway, *lines: bytes, head: bytes = HEAD) -> Answer:
    with gateway.connect() as client:
        client.sendall(head + b"".join(line + b"\r\n" for line in lines) + b"\r\n")
        received = b""
        while not parse_answers(received):
            part = client.recv(65536)
            assert part, received
            received += part
    return parse_answers(received)[0]


def ids(answer: Answer) -> list[bytes]:
    return [value for name, value in answer.headers if name == b"x-request-id"]


def lines_with(gateway: Gateway, request_id: bytes) -> list[dict[str, Any]]:
    """Return the events of a request in the log, waiting for the last one: it is written behind the answer."""
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + 10
    while not any(event["event"] == "request" for event in found):
        assert time.monotonic() < deadline, gateway.log.read_text()
        lines = [line for line in gateway.log.read_text().splitlines() if request_id.decode() in line]
        found = [json.loads(line[line.index("{") :]) for line in lines if '"event": ' in line]
        time.sleep(0.05)
    return found


AUTHORIZATION = b"Authorization: " + basic()
CHECKED, WARM = "checked", "warm"


@pytest.mark.parametrize("way", [CHECKED, WARM])
def test_a_trusted_proxys_id_is_everywhere(way: str, trusting: Gateway) -> None:
    number = {CHECKED: 1, WARM: 2}[way]
    own = f"of-the-proxy-{number}-{time.monotonic_ns()}".encode()
    authorization = b"Authorization: " + (basic("user7") if way == CHECKED else basic())
    if way == WARM:
        ask(trusting, authorization)
    trusting.upstream.take()

    answer = ask(trusting, authorization, b"X-Request-Id: " + own)

    assert (answer.status, ids(answer)) == (200, [own])
    assert [arrived.values(b"x-request-id") for arrived in trusting.upstream.take()] == [[own]]
    events = lines_with(trusting, own)
    access = events[-1]
    username = "user7" if way == CHECKED else "alice"
    assert (access["status"], access["backend"], access["username"], access["bytes"]) == (
        200,
        "basic_auth",
        username,
        5,
    )
    assert (access["method"], access["path"]) == ("GET", "/api/x")


@pytest.mark.parametrize("way", [CHECKED, WARM])
def test_an_unknown_clients_id_is_replaced_everywhere(way: str, distrusting: Gateway) -> None:
    if way == WARM:
        ask(distrusting, AUTHORIZATION)
    distrusting.upstream.take()

    answer = ask(distrusting, AUTHORIZATION, b"X-Request-Id: forged", b"X_Request_Id: forged")

    (made,) = ids(answer)
    assert MADE.match(made)
    (arrived,) = distrusting.upstream.take()
    assert arrived.values(b"x-request-id") == [made]
    assert b"forged" not in arrived.head
    assert lines_with(distrusting, made)
    assert "forged" not in distrusting.log.read_text()


REFUSED: dict[str, tuple[bytes, tuple[bytes, ...], int]] = {
    "wrong-password": (HEAD, (b"Authorization: " + basic("alice", "wrong"),), 401),
    "no-credential": (HEAD, (), 401),
    "two-credentials": (HEAD, (AUTHORIZATION, AUTHORIZATION), 400),
    "double-slash": (HEAD.replace(b"/api/x", b"/api//x"), (AUTHORIZATION,), 308),
    "dot-segment": (HEAD.replace(b"/api/x", b"/api/../x"), (AUTHORIZATION,), 400),
    "own-page": (HEAD.replace(b"/api/x", b"/compat-auth/live"), (), 200),
    "no-page": (HEAD.replace(b"/api/x", b"/compat-auth/nothing"), (), 404),
    "unprotected": (HEAD.replace(b"/api/x", b"/static/x"), (), 200),
    "forward-auth": (
        HEAD.replace(b"/api/x", b"/compat-auth/forward-auth/nginx"),
        (
            AUTHORIZATION,
            b"X-Compat-Auth-Proxy-Secret: " + SECRET,
            b"X-Original-URI: /api/x",
            b"X-Original-Method: GET",
        ),
        200,
    ),
    "lane": (
        HEAD.replace(b"/api/x", b"/compat-auth/forward-auth/lane"),
        (AUTHORIZATION, b"X-Compat-Auth-Proxy-Secret: " + SECRET),
        200,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_every_answer_has_the_id_of_its_line_in_the_access_log(name: str, trusting: Gateway) -> None:
    head, lines, status = REFUSED[name]
    ask(trusting, AUTHORIZATION)
    own = f"{name}-{time.monotonic_ns()}".encode()

    answer = ask(trusting, *lines, b"X-Request-Id: " + own, head=head)

    assert (answer.status, ids(answer)) == (status, [own])
    assert lines_with(trusting, own)[-1]["status"] == status


@pytest.mark.parametrize("value", [b'a"b', b"x" * 129, b"a b", b"eyJhbGciOiJIUzI1NiJ9.e30.c2ln", b"\xff"])
def test_a_malformed_id_of_a_trusted_proxy_is_replaced(value: bytes, trusting: Gateway) -> None:
    answer = ask(trusting, AUTHORIZATION, b"X-Request-Id: " + value)

    assert [bool(MADE.match(found)) for found in ids(answer)] == [True]
    assert value.decode("latin-1") not in trusting.log.read_text()


def verified(gateway: Gateway, file: Path) -> str:
    """Return what `compat-auth audit verify` prints."""
    from click.testing import CliRunner  # noqa: PLC0415  # only here

    result = CliRunner().invoke(
        commands, ["audit", "verify", "--config", str(gateway.log.parent / "compat_auth.toml"), str(file)]
    )
    return f"{result.exit_code} {result.output}"


@pytest.mark.parametrize("name", ["log", "audit.log"])
def test_the_audit_log_of_a_real_process_verifies(name: str, trusting: Gateway) -> None:
    ask(trusting, b"Authorization: " + basic("user9", "wrong"))

    holds = verified(trusting, trusting.log.parent / name)

    assert re.match(r"0 [1-9]\d* events in 1 chains hold\n\Z", holds), holds


def test_an_event_that_somebody_changed_is_named(trusting: Gateway, tmp_path: Path) -> None:
    ask(trusting, b"Authorization: " + basic("user8", "wrong"))
    lines = (trusting.log.parent / "audit.log").read_text().splitlines(keepends=True)
    copy = tmp_path / "audit.log"
    changed: Callable[[str], str] = lambda line: line.replace('"user8"', '"user5"')  # noqa: E731
    copy.write_text("".join(map(changed, lines)))

    said = verified(trusting, copy)

    first = next(number for number, line in enumerate(lines, start=1) if '"user8"' in line)
    assert said.startswith(f"1 {copy}:{first}: its hash is wrong")


def test_only_the_owner_may_read_the_audit_file(trusting: Gateway) -> None:
    assert (trusting.log.parent / "audit.log").stat().st_mode & 0o777 == 0o600


def test_an_audit_file_that_was_moved_away_is_opened_anew(distrusting: Gateway) -> None:
    file = distrusting.log.parent / "audit.log"
    ask(distrusting, b"Authorization: " + basic("user1", "wrong"))
    file.rename(file.with_suffix(".1"))

    ask(distrusting, b"Authorization: " + basic("user2", "wrong"))

    assert "user2" in file.read_text()
    assert "user2" not in file.with_suffix(".1").read_text()

"""The lane in a real HAProxy: what goes straight to the upstream, and what an attacker would try."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from compat_auth.cli import commands
from support.certificates import Authority
from support.peers.asking import ALICE, ask, ask_on, connect, new_token, subject
from support.peers.generated import Front, Site, basic, program_of, running_site, seen_headers, start
from support.peers.process import Process, free_port

pytestmark = pytest.mark.peer


@contextmanager
def started(site: Site, folder: Path, *options: str) -> Generator[Front]:
    front = start("haproxy-lua", site, folder, *options)
    try:
        yield front
    finally:
        front.process.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("haproxy")


@pytest.fixture(scope="module")
def front(site: Site, folder: Path) -> Iterator[Front]:
    with started(site, folder) as running:
        yield running


def warm(front: Front, *credential: tuple[str, str]) -> None:
    """Send requests until one has gone straight to the upstream."""
    for _ in range(20):
        front.site.seen.clear()
        assert ask(front.url, "/api/x", *(credential or [ALICE])).status == 200
        if not front.site.seen:
            return
    pytest.fail("no request went straight to the upstream")


def test_an_ordinary_request_goes_straight(front: Front) -> None:
    warm(front)

    answers = [
        ask(front.url, "/api/x", ALICE),
        ask(front.url, "/api/x?a=b", ALICE, ("Connection", "keep-alive")),
        ask(front.url, "/api/x", ALICE, method="HEAD"),
        ask(front.url, "/api/x", ALICE, method="POST", body=b"x" * 16384),
        ask(front.url, "/api/x", ALICE, method="DELETE", body=b""),
    ]

    assert [answer.status for answer in answers] == [200] * 5
    assert front.site.seen == []


@pytest.mark.parametrize(
    ("method", "target", "headers", "body"),
    [
        pytest.param("GET", "/api/x", [("Cookie", "theme=dark")], None, id="cookie"),
        pytest.param("GET", "/api/x", [("Connection", "Authorization")], None, id="connection"),
        pytest.param("GET", "/api/x", [("Connection", "close, X-Request-Id")], None, id="connection-list"),
        pytest.param("GET", "/api/x", [("TE", "trailers")], None, id="te"),
        pytest.param("GET", "/api/x", [("Trailer", "X-A")], None, id="trailer"),
        pytest.param("GET", "/api/x", [("X-API-Key", "cat_pat_x")], None, id="api-key"),
        pytest.param("GET", "/api/x", [], b"a=b", id="get-with-body"),
        pytest.param("POST", "/api/x", [("Origin", "https://a.example")], b"a=b", id="origin"),
        pytest.param("POST", "/api/x", [("Sec-Fetch-Site", "cross-site")], b"a=b", id="fetch"),
        pytest.param("POST", "/api/x", [], b"x" * 16385, id="large-body"),
        pytest.param("POST", "/api/x", [("If-None-Match", "x" * 33000)], b"a=b", id="large-head"),
        pytest.param("DELETE", "/api/x", [], None, id="no-length"),
        pytest.param("OPTIONS", "/api/x", [], None, id="options"),
        pytest.param("PROPFIND", "/api/x", [], None, id="another-method"),
        pytest.param("GET", "/open", [], None, id="unprotected"),
        pytest.param("GET", "http://airflow.example/api/x", [], None, id="absolute"),
        pytest.param("GET", "/api/a%2Fb", [], None, id="encoded"),
        pytest.param("GET", "/compat-auth/whoami", [], None, id="our-page"),
    ],
)
def test_everything_else_goes_the_whole_way(
    front: Front, method: str, target: str, headers: list[tuple[str, str]], body: bytes | None
) -> None:
    warm(front)

    ask(front.url, target, ALICE, *headers, method=method, body=body)

    assert len(front.site.seen) == 1


def refuse(front: Front, *credential: tuple[str, str]) -> None:
    """Let the upstream refuse the token with which a credential goes straight."""
    answer = ask(front.url, "/api/x", *credential)
    front.site.upstream.refused.add(seen_headers(answer.seen)["authorization"])


@pytest.mark.parametrize(
    ("method", "size", "header"), [("GET", 0, 50_000), ("POST", 16384, 0), ("PUT", 16384, 30_000), ("PATCH", 1, 0)]
)
def test_a_request_whose_token_is_refused_is_answered_with_a_new_one(
    front: Front, method: str, size: int, header: int
) -> None:
    token, _ = new_token(front.site)
    warm(front, ("Authorization", token))
    refuse(front, ("Authorization", token))
    more = [("If-None-Match", "x" * header)] if header else []
    body = b"x" * size if method != "GET" else None

    answers = [ask(front.url, "/api/x", ("Authorization", token), *more, method=method, body=body) for _ in range(3)]

    assert [(answer.status, answer.seen["size"], subject(answer)) for answer in answers] == [(200, size, "alice")] * 3


def test_what_the_gateway_gets_again_is_the_callers_own_credential_and_address(front: Front) -> None:
    token, _ = new_token(front.site)
    warm(front, ("Authorization", token))
    refuse(front, ("Authorization", token))

    answer = ask(front.url, "/api/x", ("Authorization", token), ("X-Forwarded-For", "203.0.113.9"))

    assert set(seen_headers(answer.seen)["x-forwarded-for"].split(", ")) == {"127.0.0.1"}
    assert not [name for name in seen_headers(answer.seen) if name.startswith("x-compat-auth")]


def test_a_revoked_credential_whose_token_is_refused_gets_the_gateways_refusal(front: Front) -> None:
    token, token_id = new_token(front.site)
    warm(front, ("Authorization", token))
    refuse(front, ("Authorization", token))
    url = front.site.url
    assert ask(url, f"/compat-auth/api/personal-tokens/{token_id}", ALICE, method="DELETE").status == 204

    answer, own = (ask(where, "/api/x", ("Authorization", token)) for where in (front.url, url))

    assert (answer.status, own.status) == (401, 401)
    assert answer.values("www-authenticate") == own.values("www-authenticate") != []
    assert answer.body == own.body


def test_a_credential_that_is_revoked_while_its_body_arrives_does_not_reach_the_upstream(front: Front) -> None:
    token, token_id = new_token(front.site)
    warm(front, ("Authorization", token))
    head = (
        f"POST /api/x HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
    )
    address = urlsplit(front.url)

    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as connection:
        connection.sendall(head.encode() + b"a=")
        time.sleep(0.2)
        ask(front.site.url, f"/compat-auth/api/personal-tokens/{token_id}", ALICE, method="DELETE")
        time.sleep(1)
        front.site.upstream.calls = 0
        connection.sendall(b"b")
        received = read_all(connection)

    assert received.startswith(b"HTTP/1.1 401 ")
    assert front.site.upstream.calls == 0


def test_haproxys_own_check_accepts_all_three_files(site: Site, tmp_path: Path) -> None:
    command = [
        "proxy-config",
        "haproxy",
        "--lane",
        "lua",
        "--config",
        str(site.config),
        "--output",
        str(tmp_path / "new"),
    ]

    done = CliRunner().invoke(commands, [*command, "--check", "--program", program_of("haproxy")])

    assert (done.exit_code, done.exception) == (0, None)


def test_the_upstreams_own_403_reaches_the_client_once_the_gateway_has_tried(front: Front) -> None:
    warm(front)

    answer = ask(front.url, "/api/denied", ALICE)

    assert (answer.status, answer.body) == (403, b"of the upstream")


def hidden_listener(front: Front) -> bytes:
    """Return the address of the listener for refused requests, in the abstract namespace."""
    (name,) = {word for word in front.text.split() if word.startswith("abns@")}
    return (b"\0" + name.removeprefix("abns@").encode()).ljust(108, b"\0")


def proxy_header(unique_id: bytes) -> bytes:
    """Return a header of the PROXY protocol, version 2, with a unique id."""
    addresses = socket.inet_aton("127.0.0.1") * 2 + struct.pack("!HH", 1, 2)
    value = struct.pack("!BH", 5, len(unique_id)) + unique_id
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x21, 0x11, len(addresses + value)) + addresses + value


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="no-header"),
        pytest.param(proxy_header(b"0" * 64), id="invented-digest"),
        pytest.param(proxy_header(b""), id="empty-digest"),
        pytest.param(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", id="no-digest"),
    ],
)
def test_a_program_on_the_machine_gets_nothing_at_the_listener_for_refused_requests(front: Front, said: bytes) -> None:
    warm(front)
    bearer = seen_headers(ask(front.url, "/api/x", ALICE).seen)["authorization"]
    front.site.seen.clear()
    request = (
        f"GET /api/x HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\nRemote-User: bob\r\nConnection: close\r\n\r\n"
    )

    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(hidden_listener(front))
        connection.sendall(said + request.encode())
        received = read_all(connection)

    assert received == b"" or received.startswith(b"HTTP/1.1 503 ")
    assert front.site.seen == []


def read_all(connection: socket.socket) -> bytes:
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def test_the_header_of_the_proxy_protocol_is_no_clients_to_send(front: Front) -> None:
    address = urlsplit(front.url)

    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as connection:
        connection.sendall(proxy_header(b"0" * 64) + b"GET /api/x HTTP/1.1\r\nHost: x\r\n\r\n")
        received = read_all(connection)

    assert received == b"" or received.startswith(b"HTTP/1.1 400 ")


def test_no_file_has_a_credential_or_a_token(front: Front, folder: Path) -> None:
    token, _ = new_token(front.site)
    warm(front)
    warm(front, ("Authorization", token))
    bearers = [
        seen_headers(ask(front.url, "/api/x", shown).seen)["authorization"]
        for shown in (ALICE, ("Authorization", token))
    ]
    secrets = [value.partition(" ")[2].encode() for value in (ALICE[1], token, *bearers)]

    texts = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert {"haproxy.cfg", "compat_auth_lane.lua", "compat_auth_lane.map"} <= texts.keys()
    assert [name for name, text in texts.items() if any(secret in text for secret in secrets)] == []


@pytest.mark.parametrize(
    "value",
    [ALICE[1].lower().replace("basic", "Basic"), f"{ALICE[1]}=", ALICE[1][:-2], f"Bearer {ALICE[1][6:]}", basic("bob")],
    ids=["lower-case", "longer", "shorter", "another-scheme", "another-user"],
)
def test_a_credential_never_gets_the_answer_about_another(front: Front, value: str) -> None:
    warm(front)

    answers = [ask(url, "/api/x", ("Authorization", value)) for url in (front.url, front.url, front.site.url)]

    got = {(a.status, seen_headers(a.seen)["authorization"] if a.status == 200 else "") for a in answers}
    assert len(got) == 1


def test_requests_are_spread_over_the_upstreams_and_one_that_is_down_costs_a_detour(site: Site, tmp_path: Path) -> None:
    behind = urlsplit(
        next(line for line in site.config.read_text().splitlines() if line.startswith("url")).split('"')[1]
    )
    options = ["--upstream", f"{behind.hostname}:{behind.port}", "--upstream", f"127.0.0.1:{free_port()}"]

    with started(site, tmp_path, *options) as front:
        warm(front)
        site.seen.clear()
        answers = [ask(front.url, "/api/x", ALICE, method="POST", body=b"a=b") for _ in range(40)]

    assert {(answer.status, answer.seen["size"]) for answer in answers} == {(200, 3)}
    assert 5 < len(site.seen) < 35


def test_a_reload_loses_no_request_and_the_lane_goes_on(site: Site, tmp_path: Path) -> None:
    with started(site, tmp_path) as front, closing(connect(front.url)) as connection:
        warm(front)
        again = Process("haproxy", tmp_path / "log-again")
        command = [program_of("haproxy"), "-db", "-f", str(tmp_path / "haproxy.cfg"), "-sf", str(front.process.pid)]
        again.start(command, env={"PATH": os.defpath}, is_ready=lambda: front.process.pid is None, timeout_s=20)
        try:
            answers = [ask(front.url, "/api/x", ALICE) for _ in range(3)]
            warm(front)
            token, _ = new_token(site)
            warm(front, ("Authorization", token))
            refuse(front, ("Authorization", token))
            answers.append(ask(front.url, "/api/x", ("Authorization", token)))
        finally:
            again.stop()
        del connection

    assert [answer.status for answer in answers] == [200] * 4


def test_over_http_2_a_body_without_a_length_goes_the_whole_way(site: Site, tmp_path: Path) -> None:
    authority = Authority("CN=Servers CA")
    certificate, key = authority.issue("CN=localhost").write(tmp_path, "site")
    certificate.write_text(certificate.read_text() + key.read_text())
    command = ["curl", "-ksS", "--http2", "-H", f"Authorization: {ALICE[1]}", "-o", os.devnull, "-w", "%{http_code} "]

    with started(site, tmp_path, "--tls-cert", str(certificate), "--tls-key", str(key)) as front:

        def send(*more: str) -> tuple[str, int]:
            url = f"{front.url}/api/x"
            subprocess.run([*command, url, url], check=True, capture_output=True, timeout=30)
            site.seen.clear()
            done = subprocess.run([*command, *more, url], check=True, capture_output=True, input=b"a=b", timeout=30)
            return done.stdout.decode().strip(), len(site.seen)

        got = [send("-X", "GET", "-T", "-"), send("-X", "POST", "-T", "-"), send("-X", "POST", "-d", "a=b")]

    assert got == [("200", 1), ("200", 1), ("200", 0)]


def test_an_answer_is_never_used_for_longer_than_a_second(front: Front) -> None:
    token, _ = new_token(front.site)
    used_after: list[float] = []
    warm(front, ("Authorization", token))
    with closing(connect(front.url)) as connection:
        for _ in range(3):
            front.site.asked.clear()
            began = time.monotonic()
            while time.monotonic() - began < 1.2:
                asked = len(front.site.asked)
                assert ask_on(connection, "/api/x", ("Authorization", token)).status == 200
                if asked == len(front.site.asked) == 0:
                    used_after.append(time.monotonic() - began)

    assert max(used_after) < 1

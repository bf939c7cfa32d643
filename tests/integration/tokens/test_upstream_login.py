from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.tokens.jose.jwt import shared_secret, sign
from compat_auth.tokens.upstream_login import UpstreamLogin
from support.serving import served

SECRET = "x" * 64


def jwt_of(**claims: Any) -> str:
    return sign({"sub": "1"} | claims, shared_secret(SECRET))


@dataclass
class Upstream:
    """A small real upstream: answers a login as it is told to, and remembers what it was asked."""

    url: str = ""
    status: int = 201
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    logout_status: int = 500
    seen: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list[tuple[str, str, dict[str, str], Any]])


@pytest.fixture
def upstream() -> Generator[Upstream]:
    told = Upstream(body=json.dumps({"access_token": jwt_of(exp=int(time.time()) + 1000)}).encode())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            told.seen.append((self.command, self.path, dict(self.headers), json.loads(sent)))
            self.send_response(told.status)
            for name, value in ({"Content-Length": str(len(told.body))} | told.headers).items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(told.body)

        def do_GET(self) -> None:
            told.seen.append((self.command, self.path, dict(self.headers), None))
            if told.logout_status >= 500:
                self.send_error(told.logout_status)
                return
            self.send_response(told.logout_status)
            # Whoever followed it would show the token there.
            self.send_header("Location", "/auth/login")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with served(Handler) as url:
        told.url = url
        yield told


@contextlib.contextmanager
def raw_upstream(talk: Callable[[socket.socket], None]) -> Generator[str]:
    """Listen for one connection and talk on it, as no HTTP library would."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            talk(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread.join()
    listener.close()


def login(url: str, **upstream: Any) -> UpstreamLogin:
    return UpstreamLogin.from_settings(Settings.model_validate({"upstream": {"url": url} | upstream}))


def test_the_right_password_gives_the_upstreams_token_and_its_end(upstream: Upstream) -> None:
    end = int(time.time()) + 1000

    token = login(upstream.url).log_in("jürgen", 'pä"ß\\')

    assert token is not None
    assert token.value == json.loads(upstream.body)["access_token"]
    assert abs(token.expires_at - end) <= 5
    command, path, headers, sent = upstream.seen[0]
    assert (command, path, sent) == ("POST", "/auth/token", {"username": "jürgen", "password": 'pä"ß\\'})
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("status", [400, 401, 422])
def test_a_pair_that_the_upstream_refuses_gives_no_token(upstream: Upstream, status: int) -> None:
    upstream.status = status

    token = login(upstream.url).log_in("anna", "wrong")

    assert token is None


def test_keycloaks_manager_calls_a_wrong_password_forbidden(upstream: Upstream) -> None:
    upstream.status = 403
    upstream.body = b'{"detail": "Invalid credentials"}'

    token = login(upstream.url).log_in("anna", "wrong")

    assert token is None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>Blocked by the firewall</html>", id="html"),
        pytest.param(b"", id="empty"),
        pytest.param(b'{"message": "rate limit"}', id="another-servers-json"),
        pytest.param(b'{"detail": ["x"]}', id="no-text"),
    ],
)
def test_a_403_in_other_words_than_airflows_says_nothing_about_the_password(upstream: Upstream, body: bytes) -> None:
    upstream.status, upstream.body = 403, body

    with pytest.raises(BackendUnavailable, match="answered 403"):
        login(upstream.url).log_in("anna", "hunter2")


@pytest.mark.parametrize("status", [404, 405])
def test_an_auth_manager_without_passwords_is_named_as_the_cause(upstream: Upstream, status: int) -> None:
    upstream.status = status

    with pytest.raises(BackendUnavailable, match=r"takes no passwords there \(AwsAuthManager.*\[token\] strategy"):
        login(upstream.url).log_in("anna", "hunter2")


@pytest.mark.parametrize(("status", "expected"), [(400, True), (422, True), (401, True), (404, False), (405, False)])
def test_a_login_for_passwords_is_found_without_trying_one(upstream: Upstream, status: int, expected: bool) -> None:
    upstream.status = status

    found = login(upstream.url).takes_passwords()

    assert found is expected
    assert upstream.seen[0][3] == {}


def test_a_token_that_carries_others_may_be_larger_than_what_we_verify(upstream: Upstream) -> None:
    carried = "x" * 20_000
    upstream.body = json.dumps({"access_token": jwt_of(access_token=carried)}).encode()

    token = login(upstream.url).log_in("anna", "right")

    assert token is not None
    assert len(token.value) > 20_000


@pytest.mark.parametrize("name", ["access_token", "refresh_token"])
def test_a_token_ends_with_the_first_of_those_that_it_carries(upstream: Upstream, name: str) -> None:
    now = int(time.time())
    carried = jwt_of(exp=now + 40)
    upstream.body = json.dumps({"access_token": jwt_of(exp=now + 3600, **{name: carried})}).encode()

    token = login(upstream.url).log_in("anna", "right")

    assert token is not None
    assert abs(token.expires_at - now - 40) <= 5


@pytest.mark.parametrize(
    "carried",
    [
        pytest.param("opaque", id="no-jwt"),
        pytest.param(7, id="number"),
        pytest.param(None, id="null"),
        pytest.param(["a.b.c"], id="list"),
        pytest.param("a.b.c", id="not-json"),
        pytest.param(jwt_of(), id="without-end"),
        pytest.param(jwt_of(exp="soon"), id="end-in-words"),
    ],
)
def test_what_is_carried_and_has_no_end_shortens_nothing(upstream: Upstream, carried: object) -> None:
    now = int(time.time())
    upstream.body = json.dumps({"access_token": jwt_of(exp=now + 3600, access_token=carried)}).encode()

    token = login(upstream.url).log_in("anna", "right")

    assert token is not None
    assert abs(token.expires_at - now - 3600) <= 5


def test_a_large_token_of_airflows_can_be_taken_back(upstream: Upstream) -> None:
    upstream.logout_status = 307
    token = jwt_of(access_token="x" * 20_000)

    login(upstream.url).log_out(token)

    assert upstream.seen[0][2]["Authorization"] == f"Bearer {token}"


@pytest.mark.parametrize("status", [200, 202, 204, 301, 302, 307, 403, 404, 405, 429, 500, 502, 503])
def test_any_other_answer_lets_nobody_in(upstream: Upstream, status: int) -> None:
    upstream.status = status
    upstream.headers = {"Location": f"{upstream.url}/auth/token/elsewhere"}

    with pytest.raises(BackendUnavailable):
        login(upstream.url).log_in("anna", "hunter2")

    assert len(upstream.seen) == 1


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>hunter2</html>", id="html"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"{}", id="no-token"),
        pytest.param(b'{"access_token": null}', id="null"),
        pytest.param(b'{"access_token": ["a.b.c"]}', id="token-list"),
        pytest.param(b'{"access_token": "hunter2"}', id="no-jwt"),
        pytest.param(b'{"access_token": "a.b.c\\r\\nX-User: admin"}', id="header-injection"),
        pytest.param(b'{"access_token": "a.b.c\\n"}', id="line-end"),
        pytest.param(b'{"access_token": "a.b.c", "access_token": "d.e.f"}', id="two-tokens"),
        pytest.param(b'{"access_token": "a.b.' + b"c" * 33_000 + b'"}', id="token-too-long"),
        pytest.param(b'{"access_token": "a.b.c"}' + b" " * 65_536, id="answer-too-long"),
        pytest.param(b"[" * 60_000, id="nested-to-the-stack"),
    ],
)
def test_an_answer_that_holds_no_usable_token_lets_nobody_in_and_is_not_quoted(upstream: Upstream, body: bytes) -> None:
    upstream.body = body

    with pytest.raises(BackendUnavailable) as failure:
        login(upstream.url).log_in("anna", "hunter2")

    assert "hunter2" not in str(failure.value)
    assert failure.value.__cause__ is None


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({}, id="absent"),
        pytest.param({"exp": 1}, id="past"),
        pytest.param({"exp": 2**52}, id="absurd"),
        pytest.param({"exp": "9999999999"}, id="text"),
        pytest.param({"exp": True}, id="true"),
    ],
)
def test_a_token_whose_end_cannot_be_believed_is_kept_for_five_minutes(
    upstream: Upstream, claims: dict[str, Any]
) -> None:
    upstream.body = json.dumps({"access_token": jwt_of(**claims)}).encode()

    token = login(upstream.url).log_in("anna", "right")

    assert token is not None
    assert abs(token.expires_at - time.time() - 300) <= 5


def test_a_token_that_is_not_json_inside_is_passed_on_for_the_upstream_to_judge(upstream: Upstream) -> None:
    upstream.body = b'{"access_token": "a.b.c"}'

    token = login(upstream.url).log_in("anna", "right")

    assert token is not None
    assert token.value == "a.b.c"


def test_a_path_prefix_of_the_upstream_is_kept(upstream: Upstream) -> None:
    login(f"{upstream.url}/airflow/").log_in("anna", "right")

    assert upstream.seen[0][1] == "/airflow/auth/token"


def test_a_proxy_in_the_environment_never_sees_a_password(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    token = login(upstream.url).log_in("anna", "right")

    assert token is not None


def test_an_upstream_that_is_down_lets_nobody_in() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(BackendUnavailable, match=r"ConnectionRefusedError.*\[upstream\] url"):
        login(f"http://127.0.0.1:{port}").log_in("anna", "hunter2")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="closed-without-a-word"),
        pytest.param(b"hunter2\r\n\r\n", id="not-http"),
        pytest.param(b"HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{", id="ends-early"),
        pytest.param(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="bad-chunk"),
        pytest.param(b"HTTP/1.1 201 Created\r\n" + b"X: y\r\n" * 200 + b"\r\n{}", id="too-many-headers"),
        pytest.param(b"HTTP/1.1 201 Created\r\nX: " + b"y" * 70_000 + b"\r\n\r\n{}", id="header-too-long"),
    ],
)
def test_a_broken_answer_lets_nobody_in(answer: bytes) -> None:
    with (
        raw_upstream(lambda connection: connection.sendall(answer)) as url,
        pytest.raises(BackendUnavailable) as failure,
    ):
        login(url).log_in("anna", "hunter2")

    assert "hunter2" not in str(failure.value)


def test_a_silent_upstream_is_given_up_after_the_time_limit() -> None:
    done = threading.Event()

    with raw_upstream(lambda _: (done.wait(5), None)[1]) as url:
        started = time.monotonic()
        with pytest.raises(BackendUnavailable, match="TimeoutError"):
            login(url, timeout_s=0.2).log_in("anna", "hunter2")
        waited = time.monotonic() - started
        done.set()

    assert waited < 2


def test_an_answer_that_drips_is_given_up_after_the_time_limit() -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 201 Created\r\n\r\n")
        for _ in range(100):
            connection.sendall(b" ")
            time.sleep(0.05)

    with raw_upstream(drip) as url:
        started = time.monotonic()
        with pytest.raises(BackendUnavailable, match="too slowly"):
            login(url, timeout_s=0.2, connect_timeout_s=0.2).log_in("anna", "hunter2")
        waited = time.monotonic() - started

    assert waited < 2


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8080",
        "ftp://host",
        "file:///etc/passwd",
        "http://",
        "http://host:port",
        "http://user:password@host",
        "http://host/?x=1",
        "http://host/#x",
        "http://host/a b",
        "http://host/\r\nX: y",
        "http://h\u00f6st/",
    ],
)
def test_what_is_no_plain_url_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError, match=r"upstream\.url"):
        login(url)


def test_a_missing_ca_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[upstream\] verify"):
        login("https://host", verify=str(tmp_path / "none.pem"))


@pytest.mark.parametrize(("verify", "checked"), [(True, True), (False, False)])
def test_the_certificate_is_checked_unless_that_is_turned_off(verify: bool, checked: bool) -> None:
    context = login("https://host", verify=verify).tls

    assert context is not None
    assert context.check_hostname is checked
    assert (context.verify_mode.name == "CERT_REQUIRED") is checked


@pytest.mark.parametrize("status", [200, 307, 401, 403])
def test_airflow_is_told_of_a_token_that_was_taken_back(upstream: Upstream, status: int) -> None:
    upstream.logout_status = status
    token = jwt_of(exp=int(time.time()) + 1000)

    login(f"{upstream.url}/base").log_out(token)

    ((command, path, headers, _),) = upstream.seen
    assert (command, path, headers["Authorization"]) == ("GET", "/base/api/v2/auth/logout", f"Bearer {token}")


@pytest.mark.parametrize("status", [500, 503])
def test_an_airflow_that_cannot_take_it_back_is_no_success(upstream: Upstream, status: int) -> None:
    upstream.logout_status = status

    with pytest.raises(BackendUnavailable, match=f"answered {status} to a logout"):
        login(upstream.url).log_out(jwt_of(exp=int(time.time()) + 1000))

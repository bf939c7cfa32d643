"""`compat-auth serve --front nginx`: one command, one nginx in front, and the answers of `serve` without it."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import jwt
import psutil
import pytest
from click.testing import CliRunner

from compat_auth.cli import commands
from compat_auth.cli.demo.upstream import BackgroundServer
from compat_auth.cli.proxy_config import checking
from compat_auth.cli.proxy_config.removal import single_names
from compat_auth.errors import AddressTaken, BackendUnavailable, ConfigError
from compat_auth.gateway.server.server import bind_socket
from support.certificates import Authority, Issued
from support.peers.front_site import Answer, FrontSite, ask, serving, write_settings
from support.peers.gateway import COMMAND, clean_environment
from support.peers.generated import Upstream, basic
from support.peers.process import free_port

pytestmark = pytest.mark.peer

ALICE = ("Authorization", basic("alice"))
BOB = ("Authorization", basic("bob"))
CA = Authority()
FIRST, SECOND = CA.issue("CN=first"), CA.issue("CN=second")


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with bind_socket(f"127.0.0.1:{free_port()}") as listener, BackgroundServer(Upstream(), listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module")
def site(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontSite]:
    """A site that no test ends."""
    with serving(tmp_path_factory.mktemp("front"), upstream) as running:
        yield running


@pytest.fixture(scope="module")
def plain(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontSite]:
    """The same without nginx."""
    with serving(tmp_path_factory.mktemp("plain"), upstream, front="") as running:
        yield running


def subject(answer: Answer) -> str:
    token = answer.seen["headers"]["authorization"].removeprefix("Bearer ")
    return str(jwt.decode(token, options={"verify_signature": False})["sub"])


def warm(site: FrontSite, *headers: tuple[str, str]) -> None:
    # Each worker remembers for itself.
    for _ in range(8):
        assert ask(site.url, "/api/x", *headers).status == 200


def new_token(site: FrontSite, *scopes: str) -> tuple[tuple[str, str], str]:
    body = b'{"name": "token %d", "scopes": [%b]}' % (
        time.time_ns(),
        b", ".join(b'"%b"' % one.encode() for one in scopes),
    )
    made = ask(
        site.url,
        "/compat-auth/api/personal-tokens",
        ALICE,
        ("Content-Type", "application/json"),
        method="POST",
        body=body,
    )
    assert made.status == 201, made.body
    said = made.json()
    return ("Authorization", f"Bearer {said['token']}"), str(said["id"])


VERDICTS: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "a-password": ("GET", "/api/x?a=b%2Fc", [ALICE]),
    "a-password-for-head": ("HEAD", "/api/x", [ALICE]),
    "nothing": ("GET", "/api/x", []),
    "a-wrong-password": ("GET", "/api/x", [("Authorization", basic("alice", "wrong"))]),
    "an-unknown-token": ("GET", "/api/x", [("Authorization", "Bearer cat_pat_x")]),
    "a-malformed-credential": ("GET", "/api/x", [("Authorization", "Basic ???")]),
    "two-credentials": ("GET", "/api/x", [ALICE, ("X-API-Key", "cat_pat_x")]),
    "dot-segments": ("GET", "/api/../x", [ALICE]),
    "encoded-twice": ("GET", "/api/%252e%252e/x", [ALICE]),
    "slashes-twice": ("GET", "//api//x", [ALICE]),
    "no-such-page": ("GET", "/compat-auth/nothing", [ALICE]),
    "who-am-i": ("GET", "/compat-auth/whoami", [ALICE]),
    "the-lane": ("GET", "/compat-auth/forward-auth/lane", [ALICE]),
    "forward-auth": ("GET", "/compat-auth/forward-auth/nginx", [ALICE, ("X-Original-Uri", "/api/x")]),
    "a-refusal-of-the-upstream": ("GET", "/api/denied", [ALICE]),
    "an-error-of-the-upstream": ("GET", "/api/broken", [ALICE]),
    "an-open-path": ("GET", "/open", []),
    "a-token-for-a-password": (
        "POST",
        "/auth/token",
        [("Authorization", basic("alice", "wrong")), ("Content-Length", "0")],
    ),
    "another-sites-form": (
        "POST",
        "/api/x",
        [ALICE, ("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example"), ("Content-Length", "0")],
    ),
}


@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("name", VERDICTS)
def test_each_answer_is_that_of_serve_without_a_front_proxy(
    site: FrontSite, plain: FrontSite, name: str, is_warm: bool
) -> None:
    method, target, headers = VERDICTS[name]
    if is_warm:
        warm(site, ALICE)

    answer, own = (ask(one.url, target, *headers, method=method, host="airflow.example") for one in (site, plain))

    names = ("www-authenticate", "content-type", "location", "retry-after", "cache-control", "set-cookie")
    compared = [(a.status, {header: sorted(a.values(header)) for header in names}) for a in (answer, own)]
    assert compared[0] == compared[1]
    assert answer.status == 200 or answer.body == own.body


def test_the_upstream_gets_what_it_gets_without_a_front_proxy(site: FrontSite, plain: FrontSite) -> None:
    warm(site, ALICE)

    seen = [ask(one.url, "/api/x", ALICE, host="airflow.example").seen["headers"] for one in (site, plain)]

    for headers in seen:
        headers.pop("authorization")
        # The gateway's own number of a request, which those that go straight to the upstream do not have.
        headers.pop("x-request-id", None)
    assert seen[0] == seen[1]
    assert seen[0]["x-forwarded-for"] == "127.0.0.1"


def test_a_token_with_scopes_is_held_to_them(site: FrontSite) -> None:
    limited, _ = new_token(site, "GET /api/x")
    warm(site, limited)

    answers = [ask(site.url, target, limited, method=method).status for method, target in (
        ("GET", "/api/x"), ("GET", "/api/y"), ("DELETE", "/api/x")
    )]  # fmt: skip

    assert answers == [200, 403, 403]


def test_no_header_of_a_caller_makes_somebody_else_of_it(site: FrontSite) -> None:
    names = [
        *single_names(),
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "Remote_User",
        "X_Forwarded_For",
    ]
    warm(site, ALICE)
    arrived: list[str] = []

    for start in range(0, len(names), 20):
        sent = [(name, "forged-value") for name in names[start : start + 20]]
        answer = ask(site.url, "/api/x", ALICE, *sent)
        assert (answer.status, subject(answer)) == (200, "alice")
        arrived += [name for name, value in answer.seen["headers"].items() if "forged-value" in value]

    assert arrived == []


def test_nobody_but_nginx_reaches_the_gateway(site: FrontSite) -> None:
    port = int(site.url.rpartition(":")[2])

    listening = {
        connection.laddr.port
        for process in (site.command, *site.family)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (site.private, *site.private.iterdir())}

    assert listening == {port}
    assert modes[site.private.name] == "0o700"
    assert (modes["gateway.sock"], modes["nginx.conf"]) == ("0o600", "0o600")
    assert site.private.stat().st_uid == os.geteuid()


def test_a_client_cannot_ask_about_credentials_whatever_it_sends(site: FrontSite) -> None:
    warm(site, ALICE)
    secret = ("X-Compat-Auth-Proxy-Secret", "0" * 64)
    targets = ["/compat-auth/forward-auth/lane", "/compat-auth/forward-auth/lane?a", "/compat-auth/forward-auth/%6cane"]

    answers = [ask(site.url, target, ALICE, *more) for target in targets for more in ((), (secret,), (secret, secret))]

    assert {answer.status for answer in answers} == {404}
    assert not any(answer.values("authorization") for answer in answers)


def answered_while_frozen(site: FrontSite, workers: list[psutil.Process]) -> Answer | None:
    """Return an answer that came while the gateway's workers could do nothing; None if there was none."""
    ask(site.url, "/api/x", ALICE)
    for worker in workers:
        worker.suspend()
    try:
        return ask(site.url, "/api/x", ALICE, timeout_s=0.4)
    except TimeoutError:
        return None
    finally:
        for worker in workers:
            worker.resume()


def test_warm_requests_go_straight_to_the_upstream(site: FrontSite) -> None:
    warm(site, ALICE)
    workers = site.workers()

    # An answer of the gateway lasts for less than a second, which a busy machine may need for something else.
    answers = (answered_while_frozen(site, workers) for _ in range(20))
    answer = next(filter(None, answers), None)

    assert answer is not None
    assert (answer.status, subject(answer)) == (200, "alice")
    assert "most requests go straight to the upstream" in site.log


def test_a_revoked_token_is_refused_within_a_second(site: FrontSite) -> None:
    late: list[tuple[float, int]] = []
    for _ in range(5):
        token, token_id = new_token(site, "all")
        warm(site, token)
        revoked = ask(site.url, f"/compat-auth/api/personal-tokens/{token_id}", ALICE, method="DELETE")
        revoked_at = time.monotonic()

        while (asked_at := time.monotonic() - revoked_at) < 1.5:
            status = ask(site.url, "/api/x", token).status
            if status != 401 and asked_at > 1:
                late.append((round(asked_at, 3), status))

        assert revoked.status == 204

    assert late == []


def test_nothing_secret_is_in_the_log(site: FrontSite) -> None:
    token, _ = new_token(site, "all")
    for headers in ([ALICE], [token], [("Authorization", basic("alice", "wrong"))], [("Cookie", "a=\x01"), token]):
        ask(site.url, "/api/x", *headers)

    log = site.log

    assert token[1].removeprefix("Bearer ") not in log
    assert ALICE[1].removeprefix("Basic ") not in log
    for process in (site.keeper(), *site.nginx()[1]):
        assert not any("secret" in part.lower() for part in process.cmdline())


def test_a_health_check_of_http_1_0_needs_no_host(site: FrontSite) -> None:
    with socket.create_connection(("127.0.0.1", int(site.url.rpartition(":")[2])), 10) as client:
        client.sendall(b"OPTIONS / HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b'{"status":"ready"}')


Start = Callable[..., FrontSite]


@pytest.fixture
def start(upstream: str, tmp_path: Path) -> Iterator[Start]:
    """Start a site that the test may end."""
    running: list[Any] = []

    def begin(*options: str, **more: Any) -> FrontSite:
        context = serving(tmp_path, more.pop("upstream", upstream), *options, **more)
        running.append(context)
        return context.__enter__()  # ended below

    yield begin
    for context in running:
        context.__exit__(None, None, None)


class Asking(threading.Thread):
    """Asks on a thread."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__()
        self.arguments, self.options = arguments, options
        self.answer: Answer | None = None
        self.start()
        time.sleep(0.4)

    def run(self) -> None:
        with suppress(OSError):
            self.answer = ask(*self.arguments, **self.options)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_under_way_is_answered_before_all_ends(start: Start, number: signal.Signals) -> None:
    site = start()
    asking = [Asking(site.url, "/api/lines", ALICE), Asking(site.url, "/api/lines", BOB)]

    site.signal(number)
    status = site.status()
    for one in asking:
        one.join()

    assert [one.answer and (one.answer.status, one.answer.body) for one in asking] == [(200, b"0\n1\n2\n")] * 2
    assert status == 0
    assert site.leftovers() == []
    assert "Traceback" not in site.log


def test_a_stop_is_announced_before_connections_are_refused(start: Start) -> None:
    site = start(serve={"drain_s": 1.5})

    site.signal(signal.SIGTERM)
    time.sleep(0.7)
    ready, answer = ask(site.url, "/compat-auth/ready"), ask(site.url, "/api/x", ALICE)

    assert (ready.status, answer.status) == (503, 200)
    assert site.status() == 0
    with pytest.raises(ConnectionRefusedError):
        ask(site.url, "/api/x", ALICE)


def test_a_second_signal_ends_requests_that_wait(start: Start) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as silent:
        site = start(upstream=f"http://127.0.0.1:{silent.getsockname()[1]}")
        asking = Asking(site.url, "/api/x", ALICE)
        silent.settimeout(30)
        while not (pending := silent.accept()[0]).recv(1):
            # A look whether the upstream is there.
            pending.close()
        site.signal(signal.SIGTERM)
        until = time.monotonic() + 10
        while "the next signal ends" not in site.log and time.monotonic() < until:
            time.sleep(0.1)

        site.signal(signal.SIGTERM)
        status = site.status(9)
        asking.join()
        pending.close()

    assert (asking.answer and asking.answer.status, status) == (503, 0)
    assert site.leftovers() == []


@pytest.mark.parametrize(
    ("victim", "number"),
    [("nginx", signal.SIGKILL), ("nginx", signal.SIGTERM), ("keeper", signal.SIGKILL)],
    ids=["nginx-killed", "nginx-ended", "keeper-killed"],
)
def test_the_end_of_nginx_ends_the_command_and_says_so(start: Start, victim: str, number: signal.Signals) -> None:
    site = start()
    process = site.nginx()[0] if victim == "nginx" else site.keeper()

    process.send_signal(number)
    status = site.status()

    assert status == 69
    assert "nginx has ended, so this gateway ends, too" in site.log
    assert site.leftovers() == []


def test_a_killed_command_leaves_no_process_and_no_folder(start: Start) -> None:
    site = start()

    site.signal(signal.SIGKILL)
    site.status()

    assert site.leftovers() == []


@pytest.mark.parametrize("whose", ["nginx", "gateway"])
def test_a_worker_that_ends_is_replaced(start: Start, whose: str) -> None:
    site = start()
    victims = site.nginx()[1] if whose == "nginx" else site.workers()
    for victim in victims:
        victim.kill()

    statuses: list[int | str] = []
    until = time.monotonic() + 60
    while time.monotonic() < until and statuses[-3:] != [200] * 3:
        try:
            statuses.append(ask(site.url, "/api/x", ALICE, timeout_s=5).status)
        except OSError:
            statuses.append("closed")
        time.sleep(0.1)

    assert statuses[-3:] == [200] * 3
    assert site.status(0) is None
    # One that lives can answer before the last one is replaced.
    replaced = site.nginx()[1] if whose == "nginx" else site.workers()
    while time.monotonic() < until and len(replaced) < len(victims):
        time.sleep(0.1)
        replaced = site.nginx()[1] if whose == "nginx" else site.workers()
    assert len(replaced) == len(victims)
    assert set(replaced).isdisjoint(victims)


def shown_by(site: FrontSite) -> str:
    """Return the PEM of the certificate that a new connection gets."""
    return ssl.get_server_certificate(("127.0.0.1", int(site.url.rpartition(":")[2])))


def replace_pair(folder: Path, pair: Issued, *, key_of: Issued | None = None) -> None:
    cert, key = (key_of or pair).write(folder, "next")
    cert.write_text(pair.pem)
    key.replace(folder / "own.key")
    cert.replace(folder / "own.pem")


def tls_of(folder: Path) -> dict[str, str]:
    cert, key = FIRST.write(folder, "own")
    return {"tls_cert": str(cert), "tls_key": str(key)}


def until_shown(site: FrontSite, pair: Issued, within_s: float = 8) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        # Several connections: several workers.
        if {shown_by(site).strip() for _ in range(8)} == {pair.pem.strip()}:
            return True
        time.sleep(0.2)
    return False


FRONTS = pytest.mark.parametrize("front", ["nginx", ""], ids=["nginx", "plain"])


@FRONTS
def test_a_new_certificate_is_shown_without_a_restart(start: Start, tmp_path: Path, front: str) -> None:
    folder = tmp_path / "with a blank"
    folder.mkdir()
    site = start(front=front, serve=tls_of(folder))
    first = until_shown(site, FIRST)
    before = site.family

    replace_pair(folder, SECOND)
    second = until_shown(site, SECOND)
    answer = ask(site.url, "/api/x", ALICE)

    assert (first, second) == (True, True)
    assert (answer.status, answer.seen["headers"]["x-forwarded-proto"]) == (200, "https")
    assert site.command.children()[0] == before[0]


@FRONTS
def test_a_pair_that_does_not_fit_keeps_the_old_one_and_says_so(start: Start, tmp_path: Path, front: str) -> None:
    site = start(front=front, serve=tls_of(tmp_path))

    replace_pair(tmp_path, SECOND, key_of=FIRST)
    time.sleep(1.5)
    site.signal(signal.SIGHUP)
    time.sleep(1.5)
    kept = until_shown(site, FIRST)
    replace_pair(tmp_path, SECOND)

    assert kept
    assert "cannot be used" in site.log
    assert "the certificate before it stays in use" in site.log
    assert until_shown(site, SECOND)


@FRONTS
def test_sighup_reads_the_certificate_again_and_ends_nothing(start: Start, tmp_path: Path, front: str) -> None:
    site = start(front=front, serve=tls_of(tmp_path))
    asking = Asking(site.url, "/api/lines", ALICE)

    site.signal(signal.SIGHUP)
    asking.join()
    until = time.monotonic() + 8
    said = "nginx reads its files again" if front else "read again"
    while site.log.count(said) < (1 if front else 2) and time.monotonic() < until:
        time.sleep(0.1)

    assert asking.answer is not None
    assert asking.answer.body == b"0\n1\n2\n"
    # Every worker.
    assert site.log.count(said) == (1 if front else 2)
    assert "ignored" not in site.log
    assert ask(site.url, "/api/x", ALICE).status == 200


@FRONTS
def test_old_versions_of_tls_are_refused(start: Start, tmp_path: Path, front: str) -> None:
    site = start(front=front, serve=tls_of(tmp_path))
    address = site.url.removeprefix("https://")

    done = {
        version: subprocess.run(
            ["openssl", "s_client", "-connect", address, f"-{version}", "-cipher", "ALL:@SECLEVEL=0"]
            if version != "tls1_3"
            else ["openssl", "s_client", "-connect", address, "-tls1_3"],
            input=b"", capture_output=True, check=False, timeout=20,
        ).returncode
        for version in ("tls1", "tls1_1", "tls1_2", "tls1_3")
    }  # fmt: skip

    assert {version for version, code in done.items() if code == 0} == {"tls1_2", "tls1_3"}


def test_only_the_named_host_is_served(start: Start) -> None:
    site = start("--server-name", "airflow.example", host="airflow.example")

    answers = [ask(site.url, "/api/x", ALICE, host=host).status for host in ("airflow.example", "other.example")]

    assert answers == [200, 404]


@pytest.mark.parametrize("lane", ["ask", "off"])
def test_without_lua_it_serves_as_well(start: Start, lane: str) -> None:
    site = start("--lane", lane)
    warm(site, ALICE)

    answers = [ask(site.url, "/api/x", *headers) for headers in ([ALICE], [BOB], [])]

    assert [answer.status for answer in answers] == [200, 200, 401]
    assert [subject(answer) for answer in answers[:2]] == ["alice", "bob"]


def test_what_a_trusted_proxy_says_is_believed_as_without_nginx(start: Start) -> None:
    site = start(trusted_proxies=["127.0.0.1/32"])
    said = [("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "site.example")]

    seen = ask(site.url, "/api/x", ALICE, *said).seen["headers"]
    alone = ask(site.url, "/api/x", ALICE).seen["headers"]

    assert seen["x-forwarded-for"] == "198.51.100.7, 127.0.0.1"
    assert (seen["x-forwarded-proto"], seen["x-forwarded-host"]) == ("https", "site.example")
    assert (alone["x-forwarded-for"], alone["x-forwarded-proto"]) == ("127.0.0.1", "http")


def run(folder: Path, *options: str, **settings: Any) -> Any:
    config = write_settings(folder, "http://127.0.0.1:9", **settings)
    return CliRunner().invoke(commands, ["serve", "--config", str(config), "--front", "nginx", *options])


def test_without_nginx_the_error_names_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))

    done = run(tmp_path)

    assert isinstance(done.exception, BackendUnavailable)
    assert "apt-get install nginx-light libnginx-mod-http-lua" in str(done.exception)
    assert "dnf install nginx" in str(done.exception)
    assert "brew install nginx" in str(done.exception)


def test_an_address_that_is_taken_is_named(tmp_path: Path) -> None:
    with bind_socket(f"127.0.0.1:{free_port()}") as taken:
        done = run(tmp_path, "--bind", f"127.0.0.1:{taken.getsockname()[1]}")

    assert isinstance(done.exception, AddressTaken)
    assert "choose another address" in str(done.exception)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"auth_backends": ["remote_user"], "remote_user": {"proxies": ["127.0.0.1/32"]}}, "remote_user"),
        ({"serve": {"tls_cert": "/nowhere.pem"}}, "tls_key: missing"),
        ({"serve": {"tls_cert": "/nowhere.pem", "tls_key": "/nowhere.key"}}, "no such file"),
    ],
    ids=["remote-user", "half-a-pair", "no-pair"],
)
def test_what_cannot_work_behind_nginx_stops_the_start(tmp_path: Path, settings: dict[str, Any], problem: str) -> None:
    done = run(tmp_path, **settings)

    assert isinstance(done.exception, ConfigError)
    assert problem in str(done.exception)


@pytest.mark.parametrize(
    "options",
    [["--server-name", "a.example"], ["--lane", "off"], ["--front", "nginx", "--reload"]],
    ids=["server-name", "lane", "reload"],
)
def test_options_that_do_not_go_together_are_refused(tmp_path: Path, options: list[str]) -> None:
    config = write_settings(tmp_path, "http://127.0.0.1:9")

    done = subprocess.run(
        [COMMAND, "serve", "--config", str(config), *options],
        env=clean_environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 2
    assert "remove" in done.stderr

"""requests, httpx and asynchronous httpx, each over real sockets: the token goes to one server only."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from compat_auth.client import BearerToken, Password
from compat_auth.client.for_httpx import HttpxAuth
from compat_auth.client.for_requests import RequestsAuth
from compat_auth.client.token_source import TOO_YOUNG_TO_RENEW_S, TokenSource
from compat_auth.errors import LoginRefused, LoginUnavailable, UnsafeAddress
from support.token_server import Answer, Got, TokenServer, serving

PASSWORD = "correct horse bättery"
ALICE = Password("alice", PASSWORD)
WAYS = ["requests", "httpx", "httpx-async"]


class Client:
    """One way to send requests with the token, redirects followed."""

    def __init__(self, way: str, url: str, credential: Any = ALICE, **options: Any) -> None:
        self._way = way
        self.auth: Any = (RequestsAuth if way == "requests" else HttpxAuth)(url, credential, **options)

    def send(self, method: str, url: str, **options: Any) -> Any:
        """Send one request and return the answer of the library."""
        if self._way == "requests":
            if "content" in options:
                options["data"] = options.pop("content")
            return requests.request(method, url, auth=self.auth, timeout=10, **options)
        if self._way == "httpx":
            with httpx.Client(auth=self.auth, follow_redirects=True) as client:
                return client.request(method, url, **options)
        return asyncio.run(self._send(method, url, **options))

    async def _send(self, method: str, url: str, **options: Any) -> httpx.Response:
        async with httpx.AsyncClient(auth=self.auth, follow_redirects=True) as client:
            return await client.request(method, url, **options)

    def get(self, url: str) -> Any:
        """Send a GET."""
        return self.send("GET", url)

    def age(self) -> None:
        """Let the kept token be older than it is."""
        keeper: TokenSource = self.auth._token_source
        keeper._now = lambda: time.time() + TOO_YOUNG_TO_RENEW_S


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with serving() as state:
        yield state


@pytest.fixture
def elsewhere() -> Iterator[TokenServer]:
    with serving() as state:
        yield state


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(way: str, server: TokenServer) -> Client:
    return Client(way, server.url)


def seen_by(server: TokenServer) -> str:
    return repr([(got.path, got.headers, got.body) for got in (*server.logins, *server.requests)])


def redirect_to(url: str, status: int) -> Any:
    return lambda _got: Answer(status, {"Location": url})


def test_the_token_is_got_once_and_sent_with_each_request(client: Client, server: TokenServer) -> None:
    answers = [client.get(f"{server.url}/api/{number}") for number in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len(server.logins) == 1
    assert json.loads(server.logins[0].body) == {"username": "alice", "password": PASSWORD}
    assert {got.headers["authorization"] for got in server.requests} == {f"Bearer {server.issued[0]}"}


@pytest.mark.parametrize("credential", [BearerToken("cat_pat_of_mine"), Password("alice", "cat_pat_of_mine")])
def test_a_personal_token_is_sent_with_each_request_and_exchanged_for_nothing(
    way: str, credential: BearerToken | Password, server: TokenServer
) -> None:
    server.personal = {"cat_pat_of_mine": "alice"}
    client = Client(way, server.url, credential)

    answers = [client.get(f"{server.url}/api/{number}") for number in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert server.logins == []
    assert {got.headers["authorization"] for got in server.requests} == {"Bearer cat_pat_of_mine"}


def test_a_personal_token_that_is_refused_comes_back_as_the_401(way: str, server: TokenServer) -> None:
    client = Client(way, server.url, BearerToken("cat_pat_of_nobody"))

    answers = [client.get(f"{server.url}/api/{number}") for number in range(2)]

    assert [answer.status_code for answer in answers] == [401, 401]
    assert (len(server.requests), server.logins) == (2, [])


def test_another_server_gets_no_personal_token(way: str, server: TokenServer, elsewhere: TokenServer) -> None:
    client = Client(way, server.url, BearerToken("cat_pat_of_mine"))

    client.get(f"{elsewhere.url}/api")

    assert "cat_pat" not in seen_by(elsewhere)


def test_another_server_gets_neither_login_nor_token(
    client: Client, server: TokenServer, elsewhere: TokenServer
) -> None:
    client.get(f"{server.url}/api")

    answer = client.get(f"{elsewhere.url}/api")

    assert answer.status_code == 401
    assert elsewhere.logins == []
    assert "authorization" not in elsewhere.requests[0].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_the_token_nowhere_else(
    client: Client, server: TokenServer, elsewhere: TokenServer, status: int
) -> None:
    server.on_request = redirect_to(f"{elsewhere.url}/trap", status)

    answer = client.get(f"{server.url}/api")

    assert answer.status_code == 401
    assert [got.path for got in elsewhere.requests] == ["/trap"]
    assert server.issued[0] not in seen_by(elsewhere)
    assert elsewhere.logins == []


def test_a_redirect_to_another_name_of_the_same_machine_takes_the_token_nowhere(
    client: Client, server: TokenServer
) -> None:
    other_name = server.url.replace("127.0.0.1", "localhost")
    server.on_request = lambda got: Answer(302, {"Location": f"{other_name}/b"}) if got.path == "/a" else None

    client.get(f"{server.url}/a")

    assert [("authorization" in got.headers, got.path) for got in server.requests] == [(True, "/a"), (False, "/b")]


def test_a_redirect_within_the_server_keeps_the_token(client: Client, server: TokenServer) -> None:
    server.on_request = lambda got: Answer(302, {"Location": "/b"}) if got.path == "/a" else None

    answer = client.get(f"{server.url}/a")

    assert answer.status_code == 200
    assert [got.path for got in server.requests] == ["/a", "/b"]


def test_a_401_of_another_server_after_a_redirect_renews_nothing(
    client: Client, server: TokenServer, elsewhere: TokenServer
) -> None:
    client.get(f"{server.url}/api")
    client.age()
    server.on_request = redirect_to(f"{elsewhere.url}/trap", 302)

    client.get(f"{server.url}/api")

    assert len(server.logins) == 1
    assert len(elsewhere.requests) == 1
    assert "authorization" not in elsewhere.requests[0].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_login_follows_no_redirect(client: Client, server: TokenServer, elsewhere: TokenServer, status: int) -> None:
    server.on_login = redirect_to(f"{elsewhere.url}/auth/token", status)

    with pytest.raises(LoginUnavailable, match="redirect"):
        client.get(f"{server.url}/api")

    assert (elsewhere.logins, elsewhere.requests) == ([], [])


def test_a_login_within_the_server_follows_no_redirect_either(client: Client, server: TokenServer) -> None:
    server.on_login = redirect_to("/other", 307)

    with pytest.raises(LoginUnavailable, match="redirect"):
        client.get(f"{server.url}/api")

    assert server.requests == []


def test_a_token_that_is_refused_is_renewed_once_and_the_request_sent_again(
    client: Client, server: TokenServer
) -> None:
    client.get(f"{server.url}/api")
    client.age()
    server.revoke_all()

    answer = client.send("POST", f"{server.url}/api", content=b"the body")

    assert answer.status_code == 200
    assert len(server.logins) == 2
    assert [(got.method, got.body) for got in server.requests[1:]] == [("POST", b"the body")] * 2


def test_a_401_that_no_token_helps_against_ends_after_one_more_try(client: Client, server: TokenServer) -> None:
    client.get(f"{server.url}/api")
    client.age()
    server.on_request = lambda _got: Answer(401)

    answer = client.get(f"{server.url}/api")

    assert answer.status_code == 401
    assert (len(server.logins), len(server.requests)) == (2, 3)


def test_an_api_that_answers_401_to_a_good_token_is_not_a_login_each_time(client: Client, server: TokenServer) -> None:
    server.on_request = lambda _got: Answer(401)

    statuses = {client.get(f"{server.url}/api").status_code for _ in range(5)}

    assert statuses == {401}
    assert (len(server.logins), len(server.requests)) == (1, 5)


def test_a_body_that_can_be_read_once_is_not_sent_twice(client: Client, way: str, server: TokenServer) -> None:
    client.get(f"{server.url}/api")
    client.age()
    server.revoke_all()

    async def slowly() -> Any:
        yield b"once"

    content: Any = slowly() if way == "httpx-async" else iter([b"once"])
    answer = client.send("POST", f"{server.url}/api", content=content)

    assert answer.status_code == 401
    assert [got.body for got in server.requests[1:]] == [b"once"]


def test_a_file_is_rewound_to_where_it_was(server: TokenServer) -> None:
    client = Client("requests", server.url)
    client.get(f"{server.url}/api")
    client.age()
    server.revoke_all()
    file = io.BytesIO(b"head and body")
    file.seek(9)

    answer = client.send("POST", f"{server.url}/api", content=file)

    assert answer.status_code == 200
    assert [got.body for got in server.requests[1:]] == [b"body", b"body"]


def test_a_short_token_is_renewed_before_it_ends(client: Client, server: TokenServer) -> None:
    server.lifetime_s = 1
    client.get(f"{server.url}/api")
    time.sleep(1)

    answer = client.get(f"{server.url}/api")

    assert answer.status_code == 200
    assert (len(server.logins), len(server.requests)) == (2, 2)


@pytest.mark.parametrize("threads", [16])
def test_threads_that_begin_together_log_in_once(client: Client, server: TokenServer, threads: int) -> None:
    server.login_takes_s = 0.2
    together = threading.Barrier(threads, timeout=60)

    def ask() -> int:
        together.wait()
        return int(client.get(f"{server.url}/api").status_code)

    with ThreadPoolExecutor(threads) as pool:
        statuses = [call.result() for call in [pool.submit(ask) for _ in range(threads)]]

    assert statuses == [200] * threads
    assert len(server.logins) == 1


def test_tasks_of_one_event_loop_log_in_once_and_do_not_hold_it_up(server: TokenServer) -> None:
    auth = HttpxAuth(server.url, ALICE)
    server.login_takes_s = 0.3
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    async def ask_all() -> list[int]:
        heart = asyncio.create_task(beat())
        # Sixty connections at once are more than a busy machine accepts within the library's five seconds.
        async with httpx.AsyncClient(auth=auth, timeout=60) as client:
            answers = await asyncio.gather(*(client.get(f"{server.url}/api") for _ in range(60)))
        heart.cancel()
        return [answer.status_code for answer in answers]

    statuses = asyncio.run(ask_all())

    assert statuses == [200] * 60
    assert len(server.logins) == 1
    assert beats > 10


def test_a_wrong_password_is_asked_about_once_and_stands_in_no_message(client: Client, server: TokenServer) -> None:
    server.on_login = lambda got: Answer(401, body=got.body)
    texts: list[str] = []

    for _ in range(3):
        with pytest.raises(LoginRefused) as refusal:
            client.get(f"{server.url}/api")
        texts.append("".join(traceback.format_exception(refusal.value)))

    assert len(server.logins) == 1
    assert server.requests == []
    assert "bättery" not in "".join(texts)


def test_no_answer_is_an_error_that_does_not_carry_the_credential(way: str) -> None:
    with serving() as gone:
        client = Client(way, gone.url)

    with pytest.raises(LoginUnavailable, match="no answer") as failure:
        client.get(f"{gone.url}/api")

    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__
    assert PASSWORD not in repr(vars(failure.value))


def test_clear_text_to_another_machine_has_to_be_wanted(way: str) -> None:
    with pytest.raises(UnsafeAddress):
        Client(way, "http://gw.example.com")

    assert Client(way, "http://gw.example.com", allow_http=True) is not None


def test_a_password_of_a_netrc_does_not_take_the_place_of_ours(
    client: Client, server: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login mallory password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    client.get(f"{server.url}/api")

    assert "authorization" not in server.logins[0].headers


def test_a_proxy_of_the_environment_does_not_get_a_login_that_stays_on_this_machine(
    client: Client, server: TokenServer, elsewhere: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, elsewhere.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    token = client.auth._token_source.obtain()

    assert token == server.issued[0]
    assert seen_by(elsewhere) == "[]"


def test_hooks_and_cookies_of_the_client_stay_out_of_the_login(server: TokenServer) -> None:
    seen: list[str] = []
    auth = HttpxAuth(server.url, ALICE)
    server.on_login = lambda got: None
    hooks: Any = {"request": [lambda request: seen.append(str(request.url))], "response": []}

    with httpx.Client(auth=auth, event_hooks=hooks, cookies={"session": "mine"}) as client:
        client.get(f"{server.url}/api")

    assert seen == [f"{server.url}/api"]
    assert "cookie" not in server.logins[0].headers


def test_a_token_that_an_ahead_clock_calls_new_is_kept_by_the_server_s_clock(
    client: Client, server: TokenServer
) -> None:
    server.clock_ahead_s = -86400
    client.get(f"{server.url}/api")

    client.get(f"{server.url}/api")

    assert len(server.logins) == 1


def test_the_lists_of_the_stand_in_tell_a_leak(elsewhere: TokenServer) -> None:
    requests.post(f"{elsewhere.url}/auth/token", data=PASSWORD.encode(), timeout=10)

    assert "correct horse" in seen_by(elsewhere)
    assert isinstance(elsewhere.logins[0], Got)

"""`compat-auth login`, `curl` and `logout`, with the system's real curl and a server over real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import keyring
import keyring.backends.chainer
import keyring.backends.fail
import keyring.backends.null
import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from compat_auth.client import saved_logins
from compat_auth.client.saved_logins import SavedLogin, SavedLogins, Secret
from compat_auth.errors import (
    CurlLineRefused,
    KeyFileError,
    LoginRefused,
    LoginUnavailable,
    NoKeyring,
    NotLoggedIn,
    UnsafeAddress,
)
from support.token_server import Answer, TokenServer, serving

PASSWORD = "correct horse bättery"
COMMAND = str(Path(sys.executable).with_name("compat-auth"))


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with serving() as state:
        yield state


@pytest.fixture
def elsewhere() -> Iterator[TokenServer]:
    with serving() as state:
        yield state


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(commands, list(arguments), input=stdin)


def log_in(server: TokenServer, *options: str, secret: str = PASSWORD) -> Result:
    return run("login", server.url, *options, "--secret-stdin", stdin=secret + "\n")


@pytest.fixture
def logged_in(server: TokenServer, config_home: Path) -> TokenServer:
    assert log_in(server, "--user", "alice", "--keep-in", "file").exit_code == 0
    return server


def curl(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the command as a person does: click's runner cannot see what curl itself prints."""
    return subprocess.run(
        [COMMAND, "curl", "-sS", *arguments], input=stdin, capture_output=True, check=False, timeout=60
    )


def test_a_login_is_kept_in_the_keyring_and_nowhere_else(
    server: TokenServer, config_home: Path, system_keyring: Any
) -> None:
    result = log_in(server, "--user", "alice")

    (secret,) = system_keyring.secrets.values()
    file = (config_home / "logins.json").read_text()
    assert (result.exit_code, result.output) == (0, f"logged in at {server.url}; saved in the system keyring\n")
    assert json.loads(secret)["credential"] == PASSWORD
    assert json.loads(secret)["token"] == server.issued[0]
    assert [hidden for hidden in (PASSWORD, "horse", server.issued[0]) if hidden in file + result.output] == []


def test_a_login_in_a_file_is_for_its_owner_alone(logged_in: TokenServer, config_home: Path) -> None:
    file = config_home / "logins.json"

    assert file.stat().st_mode & 0o777 == 0o600
    assert config_home.stat().st_mode & 0o777 == 0o700
    assert PASSWORD in json.loads(json.loads(file.read_text())[0]["secret"])["credential"]


def test_a_token_logs_in_as_a_bearer(server: TokenServer, config_home: Path) -> None:
    result = log_in(server, "--token", "--keep-in", "file", secret="an-access-token")

    assert result.exit_code == 0
    assert server.logins[0].headers["authorization"] == "Bearer an-access-token"


@pytest.mark.parametrize("options", [("--token",), ("--user", "alice")])
def test_a_personal_token_is_sent_as_it_is_and_exchanged_for_nothing(
    server: TokenServer, config_home: Path, options: tuple[str, ...]
) -> None:
    server.personal = {"cat_pat_of_mine": "alice"}

    result = log_in(server, *options, "--keep-in", "file", secret="cat_pat_of_mine")
    answer = curl("/api")

    (question,) = server.questions
    assert (result.exit_code, answer.returncode, server.logins) == (0, 0, [])
    assert (question.method, question.headers["authorization"]) == ("GET", "Bearer cat_pat_of_mine")
    assert [got.headers["authorization"] for got in server.requests] == ["Bearer cat_pat_of_mine"]


def test_a_personal_token_that_does_not_work_is_not_kept(server: TokenServer, config_home: Path) -> None:
    result = log_in(server, "--token", "--keep-in", "file", secret="cat_pat_of_nobody")

    assert isinstance(result.exception, LoginRefused)
    assert "cat_pat" not in str(result.exception)
    assert not config_home.exists()


def test_a_wrong_password_keeps_nothing(server: TokenServer, config_home: Path) -> None:
    server.on_login = lambda _got: Answer(401)

    result = log_in(server, "--user", "alice", "--keep-in", "file")

    assert isinstance(result.exception, LoginRefused)
    assert not config_home.exists()


def made(kind: Any) -> Any:
    # The library's classes have no annotations.
    return kind()


class Plaintext(keyring.backends.null.Keyring):
    """As in keyrings.alt."""


class Chain(keyring.backends.chainer.ChainerBackend):
    backends: ClassVar[Any] = [made(Plaintext)]


Plaintext.__name__ = "PlaintextKeyring"


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param(made(keyring.backends.fail.Keyring), id="none"),
        pytest.param(made(keyring.backends.null.Keyring), id="null"),
        pytest.param(made(Plaintext), id="plain-text"),
        pytest.param(made(Chain), id="plain-text-in-a-chain"),
    ],
)
def test_without_a_keyring_that_keeps_secrets_nothing_is_written_and_the_choice_is_named(
    backend: Any, server: TokenServer, config_home: Path
) -> None:
    before = keyring.get_keyring()
    keyring.set_keyring(backend)

    try:
        result = log_in(server, "--user", "alice")
    finally:
        keyring.set_keyring(before)

    assert isinstance(result.exception, NoKeyring)
    assert "--keep-in file" in str(result.exception)
    assert result.exception.exit_code == 69
    assert not config_home.exists()


@pytest.mark.parametrize("url", ["http://gw.example.com", "https://alice:secret@gw.example.com", "gw.example.com"])
def test_an_address_that_does_not_protect_the_password_is_refused_before_it_is_asked_for(url: str) -> None:
    result = run("login", url, "--user", "alice", "--secret-stdin", stdin=PASSWORD)

    assert isinstance(result.exception, UnsafeAddress)
    assert "secret" not in str(result.exception)


@pytest.mark.parametrize("options", [["--token", "--kerberos"], ["--user", "a", "--token"]])
def test_one_way_to_log_in_is_enough(server: TokenServer, options: list[str]) -> None:
    assert run("login", server.url, *options).exit_code == 2


def test_without_a_terminal_the_other_way_to_ask_is_named(server: TokenServer) -> None:
    result = run("login", server.url, "--user", "alice")

    assert result.exit_code == 2
    assert "--secret-stdin" in result.output


def test_curl_sends_the_token_with_a_path_alone(logged_in: TokenServer) -> None:
    done = curl("-d", "@-", "/api/v2/dags?limit=1", stdin=b"the body")

    (got,) = logged_in.requests
    assert (done.returncode, done.stdout) == (0, b"{}")
    assert got.headers["authorization"] == f"Bearer {logged_in.issued[0]}"
    assert (got.method, got.path, got.body) == ("POST", "/api/v2/dags?limit=1", b"the body")
    assert len(logged_in.logins) == 1


def test_curl_sends_the_token_to_whole_urls_and_ends_as_curl_does(logged_in: TokenServer) -> None:
    logged_in.on_request = lambda _got: Answer(404)

    done = curl("--fail", f"{logged_in.url}/a")

    assert done.returncode == 22
    assert logged_in.requests[0].path == "/a"


def test_the_token_is_in_no_argument_and_no_environment(logged_in: TokenServer) -> None:
    token = logged_in.issued[0].encode()
    seen: list[bytes] = []

    def look(_got: object) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            # Some end while we look.
            with contextlib.suppress(OSError):
                seen.append((process / "cmdline").read_bytes() + (process / "environ").read_bytes())

    logged_in.on_request = look

    done = curl("/api")

    assert done.returncode == 0
    assert any(b"curl\0-q\0--config\0/dev/fd/" in process for process in seen)
    assert not any(token in process for process in seen)


def test_a_redirect_does_not_take_the_token_elsewhere(logged_in: TokenServer, elsewhere: TokenServer) -> None:
    logged_in.on_request = lambda _got: Answer(302, {"Location": f"{elsewhere.url}/trap"})

    curl("-L", "/api")

    assert [got.path for got in elsewhere.requests] == ["/trap"]
    assert "authorization" not in elsewhere.requests[0].headers


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["{other}/trap"], id="another-server"),
        pytest.param(["/api", "{other}/trap"], id="a-second-url"),
        pytest.param(["/api", "--url", "{other}/trap"], id="by-option"),
        pytest.param(["/api", "-sX", "GET", "{other}/trap"], id="behind-a-value"),
        pytest.param(["//{host}/trap"], id="path-that-is-a-host"),
        pytest.param(["/@{host}/trap", "-K", "x"], id="config"),
        pytest.param(["-L", "--location-trusted", "/api"], id="location-trusted"),
    ],
)
def test_another_server_never_sees_the_token(
    arguments: list[str], logged_in: TokenServer, elsewhere: TokenServer
) -> None:
    host = elsewhere.url.removeprefix("http://")

    curl(*(argument.format(other=elsewhere.url, host=host) for argument in arguments))

    assert elsewhere.requests == []


def test_a_curlrc_is_not_read(logged_in: TokenServer, elsewhere: TokenServer, tmp_path: Path) -> None:
    (tmp_path / ".curlrc").write_text(f'url = "{elsewhere.url}/trap"\nlocation-trusted\n')
    environ = {**os.environ, "HOME": str(tmp_path), "CURL_HOME": str(tmp_path)}

    done = subprocess.run([COMMAND, "curl", "-sS", "/api"], env=environ, capture_output=True, check=False, timeout=60)

    assert (done.returncode, elsewhere.requests) == (0, [])


def test_a_proxy_of_the_environment_sees_nothing_that_stays_on_this_machine(
    logged_in: TokenServer, elsewhere: TokenServer
) -> None:
    environ = {**os.environ, "http_proxy": elsewhere.url, "all_proxy": elsewhere.url, "no_proxy": ""}

    done = subprocess.run([COMMAND, "curl", "-sS", "/api"], env=environ, capture_output=True, check=False, timeout=60)

    assert (done.returncode, elsewhere.requests) == (0, [])


def test_a_token_that_ends_is_renewed_by_the_kept_secret(server: TokenServer, config_home: Path) -> None:
    server.lifetime_s = 1
    log_in(server, "--user", "alice", "--keep-in", "file")
    time.sleep(1)
    server.lifetime_s = 3600

    first, second = curl("/a"), curl("/b")

    assert (first.returncode, second.returncode) == (0, 0)
    assert len(server.logins) == 2
    assert {got.headers["authorization"] for got in server.requests} == {f"Bearer {server.issued[1]}"}


def test_logout_forgets_the_secret(server: TokenServer, config_home: Path, system_keyring: Any) -> None:
    log_in(server, "--user", "alice")

    result = run("logout")

    assert result.output == f"logged out at {server.url}\n"
    assert system_keyring.secrets == {}
    assert SavedLogins().all() == ()
    assert isinstance(run("curl", "/api").exception, NotLoggedIn)


def test_logout_takes_the_jwt_back_at_the_server_and_no_password_goes_there(logged_in: TokenServer) -> None:
    result = run("logout")

    (sent,) = logged_in.revocations
    assert (result.exit_code, logged_in.revoked) == (0, {logged_in.issued[0]})
    assert (sent.method, sent.headers.get("authorization")) == ("POST", None)
    assert b"horse" not in sent.body


@pytest.mark.parametrize(("options", "revoked"), [((), False), (("--revoke-credential",), True)])
def test_a_personal_token_is_taken_back_only_where_that_is_asked_for(
    server: TokenServer, config_home: Path, options: tuple[str, ...], revoked: bool
) -> None:
    server.personal = {"cat_pat_of_mine": "alice"}
    log_in(server, "--token", "--keep-in", "file", secret="cat_pat_of_mine")

    run("logout", *options)

    assert ("cat_pat_of_mine" in server.revoked) is revoked


@pytest.mark.parametrize(("options", "revoked"), [((), False), (("--revoke-credential",), True)])
def test_an_access_token_is_taken_back_only_where_that_is_asked_for_and_its_jwt_always(
    server: TokenServer, config_home: Path, options: tuple[str, ...], revoked: bool
) -> None:
    log_in(server, "--token", "--keep-in", "file", secret="an-access-token")

    run("logout", *options)

    assert ("an-access-token" in server.revoked) is revoked
    assert server.issued[0] in server.revoked


def test_no_option_sends_a_password_to_be_taken_back(logged_in: TokenServer) -> None:
    run("logout", "--revoke-credential")

    assert [got for got in logged_in.revocations if b"horse" in got.body] == []


@pytest.mark.parametrize("status", [302, 404, 405, 429, 500])
def test_where_the_server_takes_nothing_back_that_is_said_and_all_is_forgotten_here(
    logged_in: TokenServer, status: int
) -> None:
    logged_in.on_revocation = lambda _got: Answer(status, {"Location": "/elsewhere"})

    result = run("logout")

    assert isinstance(result.exception, LoginUnavailable)
    assert result.exception.exit_code == 69
    assert "not revoked" in str(result.exception)
    assert logged_in.issued[0] not in str(result.exception)
    assert SavedLogins().all() == ()


def test_where_no_server_answers_that_is_said_and_all_is_forgotten_here(config_home: Path) -> None:
    with serving() as gone:
        log_in(gone, "--user", "alice", "--keep-in", "file")

    result = run("logout")

    assert isinstance(result.exception, LoginUnavailable)
    assert "no answer" in str(result.exception)
    assert SavedLogins().all() == ()


def test_a_login_whose_secret_is_gone_is_forgotten(server: TokenServer, config_home: Path, system_keyring: Any) -> None:
    log_in(server, "--user", "alice")
    system_keyring.secrets.clear()

    result = run("logout")

    assert (result.exit_code, server.revocations, SavedLogins().all()) == (0, [], ())


def test_two_logins_have_to_be_told_apart(
    server: TokenServer, elsewhere: TokenServer, config_home: Path, system_keyring: Any
) -> None:
    log_in(server, "--user", "alice")
    log_in(elsewhere, "--user", "alice")

    ambiguous = run("logout")
    named = run("logout", server.url)

    assert isinstance(ambiguous.exception, NotLoggedIn)
    assert (named.exit_code, [login.server for login in SavedLogins().all()]) == (0, [elsewhere.url])


def test_a_second_login_at_a_server_takes_the_place_of_the_first(server: TokenServer, config_home: Path) -> None:
    log_in(server, "--user", "alice", "--keep-in", "file")
    log_in(server, "--token", "--keep-in", "file", secret="another")

    (kept,) = SavedLogins().all()

    assert (kept.kind, SavedLogins().secret_of(kept).credential) == ("token", "another")


def test_a_file_that_others_may_read_is_not_used(logged_in: TokenServer, config_home: Path) -> None:
    (config_home / "logins.json").chmod(0o644)

    result = run("curl", "/api")

    assert isinstance(result.exception, KeyFileError)
    assert logged_in.requests == []


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"server": "x", "other": 1}]', "null"])
def test_a_broken_file_is_named(content: str, config_home: Path) -> None:
    config_home.mkdir(parents=True)
    (config_home / "logins.json").write_text(content)
    (config_home / "logins.json").chmod(0o600)

    with pytest.raises(KeyFileError, match="log in again"):
        SavedLogins().all()


def test_a_link_in_the_place_of_the_file_is_not_followed(config_home: Path, tmp_path: Path) -> None:
    config_home.mkdir(parents=True)
    (config_home / "logins.json").symlink_to(tmp_path / "other")
    (tmp_path / "other").write_text("[]")

    with pytest.raises(KeyFileError):
        SavedLogins().all()


def test_a_secret_that_the_keyring_lost_asks_for_a_login(config_home: Path, system_keyring: Any) -> None:
    kept = SavedLogin("https://gw.example.com", saved_logins.TOKEN)
    SavedLogins().save(kept, Secret("mine"))
    system_keyring.secrets.clear()

    with pytest.raises(NotLoggedIn, match="compat-auth login"):
        SavedLogins().secret_of(kept)


def test_no_url_and_an_unknown_option_are_wrong_usage(logged_in: TokenServer) -> None:
    results = [run("curl", "-sS"), run("curl", "--unheard-of", "/a")]

    assert [type(result.exception) for result in results] == [CurlLineRefused, CurlLineRefused]
    assert CurlLineRefused.exit_code == 2
    assert logged_in.requests == []

"""The plugin in live Airflow 3.3: an old line in the configuration, and old clients come in."""

import socket
import subprocess
import time
from urllib.parse import urlsplit

import pytest
import requests

from support.peers import seed
from support.peers.airflows import Airflow3
from support.peers.fab import added_user, changed_user, log_in_to_ui
from support.peers.gateway import call, curl
from support.peers.plugin import BASIC_AUTH, StartPlugged

pytestmark = pytest.mark.peer

SESSION = "airflow.providers.fab.auth_manager.api.auth.backend.session"
BASIC_CHALLENGE = 'Basic realm="Airflow", charset="UTF-8"'
ADMIN = ("admin", "admin")
VIEWER = ("viewer", "viewer")


@pytest.fixture(scope="module")
def fab(plugged_airflow: StartPlugged) -> Airflow3:
    return plugged_airflow(seed.FAB, AIRFLOW__FAB__AUTH_BACKENDS=f"{BASIC_AUTH},{SESSION}")


@pytest.fixture(scope="module")
def simple(plugged_airflow: StartPlugged) -> Airflow3:
    return plugged_airflow(seed.SIMPLE, AIRFLOW__API__AUTH_BACKENDS="airflow.api.auth.backend.basic_auth")


@pytest.fixture(params=["fab", "simple"])
def airflow(request: pytest.FixtureRequest) -> Airflow3:
    found: Airflow3 = request.getfixturevalue(request.param)
    return found


def get(airflow: Airflow3, path: str, **options: object) -> requests.Response:
    return call("GET", airflow.url + path, **options)


def token_of(airflow: Airflow3, name: str) -> str:
    answer = call("POST", f"{airflow.url}/auth/token", json={"username": name, "password": name})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["access_token"])


def test_curl_reads_the_dags_with_a_password(airflow: Airflow3) -> None:
    answer = curl("--user", "admin:admin", f"{airflow.url}/api/v2/dags")

    assert answer.status == 200
    assert {dag["dag_id"] for dag in answer.json()["dags"]} == {"tiny", "tiny_daily"}


def test_a_wrong_password_is_refused_with_challenges(airflow: Airflow3) -> None:
    answer = curl("--user", "admin:wrong", f"{airflow.url}/api/v2/dags")

    assert answer.status == 401
    assert answer.all("WWW-Authenticate") == [BASIC_CHALLENGE]


def test_no_credential_gets_airflow_s_own_refusal_and_our_challenges(airflow: Airflow3) -> None:
    answer = curl(f"{airflow.url}/api/v2/dags")

    assert answer.status == 401
    assert answer.json() == {"detail": "Not authenticated"}
    assert answer.all("WWW-Authenticate") == [BASIC_CHALLENGE]


def test_a_page_s_script_gets_no_challenge_which_the_browser_would_answer_with_a_dialog(fab: Airflow3) -> None:
    answer = get(fab, "/api/v2/dags", headers={"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"})

    assert answer.status_code == 401
    assert "WWW-Authenticate" not in answer.headers


def test_what_airflow_shows_to_everybody_it_goes_on_showing(airflow: Airflow3) -> None:
    assert get(airflow, "/api/v2/version").status_code == 200
    assert get(airflow, "/api/v2/monitor/health").json()["metadatabase"]["status"] == "healthy"


def test_airflow_s_own_token_is_airflow_s_to_judge(airflow: Airflow3) -> None:
    good = get(airflow, "/api/v2/dags", headers={"Authorization": f"Bearer {token_of(airflow, 'viewer')}"})
    bad = get(airflow, "/api/v2/dags", headers={"Authorization": "Bearer not.a.token"})

    assert good.status_code == 200
    assert (bad.status_code, bad.json()) == (403, {"detail": "Invalid JWT token"})


def test_airflow_decides_what_a_user_may_do(airflow: Airflow3) -> None:
    forbidden = get(airflow, "/api/v2/connections", auth=VIEWER)
    allowed = get(airflow, "/api/v2/connections", auth=ADMIN)

    assert (forbidden.status_code, forbidden.json()) == (403, {"detail": "Forbidden"})
    assert allowed.status_code == 200


def test_whoami_names_the_user_and_the_backend(airflow: Airflow3) -> None:
    answer = get(airflow, "/compat-auth/whoami", auth=VIEWER)

    assert answer.status_code == 200
    assert (answer.json()["username"], answer.json()["backend"]) == ("viewer", "basic_auth")
    assert answer.json()["directory"] == "auth_manager"


def test_a_post_with_a_body_arrives_whole(airflow: Airflow3) -> None:
    value = "ü" * 70_000
    created = call("POST", f"{airflow.url}/api/v2/variables", auth=ADMIN, json={"key": "large", "value": value})

    found = get(airflow, "/api/v2/variables/large", auth=ADMIN)

    assert created.status_code == 201, created.text
    assert found.json()["value"] == value


def test_a_disabled_user_stays_out(fab: Airflow3) -> None:
    assert get(fab, "/api/v2/dags", auth=("disabled", "disabled")).status_code == 401


def test_names_and_passwords_beyond_ascii_come_in_and_an_e_mail_address_will_do(fab: Airflow3) -> None:
    name, password = "jürgen".encode(), "pässwörd".encode()

    assert get(fab, "/api/v2/dags", auth=(name, password)).status_code == 200
    assert get(fab, "/compat-auth/whoami", auth=("admin@example.com", "admin")).json()["username"] == "admin"


def test_a_user_added_a_moment_ago_comes_in_and_one_deactivated_stays_out(fab: Airflow3) -> None:
    with added_user(fab, "late", "secret", "late@example.com"):
        with changed_user(fab, "late", active=0):
            before = get(fab, "/api/v2/dags", auth=("late", "secret"))
        after = get(fab, "/api/v2/dags", auth=("late", "secret"))

    assert (before.status_code, after.status_code) == (401, 200)


@pytest.mark.parametrize("path", ["/api/v2/connections", "/api/v2/variables"])
def test_a_credential_is_who_the_request_is_from_whatever_cookie_comes_with_it(airflow: Airflow3, path: str) -> None:
    admin = {"_token": token_of(airflow, "admin")}

    with_cookie_alone = get(airflow, path, cookies=admin)
    with_both = get(airflow, path, cookies=admin, auth=VIEWER)
    with_wrong_password = get(airflow, path, cookies=admin, auth=("viewer", "wrong"))

    assert with_cookie_alone.status_code == 200
    assert with_both.status_code == 403
    assert with_wrong_password.status_code == 401


def test_the_ui_s_login_works_as_before(fab: Airflow3) -> None:
    cookies = log_in_to_ui(f"{fab.url}/auth/login/", "viewer", "viewer")

    me = get(fab, "/ui/auth/me", cookies=cookies)
    dags = get(fab, "/api/v2/dags", cookies=cookies)

    assert me.json()["username"] == "viewer"
    assert dags.status_code == 200
    assert "WWW-Authenticate" not in dags.headers


def test_the_cookie_of_airflow_s_ui_session_reads_as_it_did_in_airflow_2(fab: Airflow3) -> None:
    cookies = log_in_to_ui(f"{fab.url}/auth/login/", "viewer", "viewer")

    answer = get(fab, "/compat-auth/whoami", cookies={"session": cookies["session"]})

    assert answer.status_code == 200, answer.text
    assert (answer.json()["username"], answer.json()["backend"]) == ("viewer", "session")


def test_the_users_of_fab_s_own_api_can_be_read_with_a_password_again(fab: Airflow3) -> None:
    allowed = get(fab, "/auth/fab/v1/users", auth=ADMIN)
    forbidden = get(fab, "/auth/fab/v1/users", auth=VIEWER)

    assert allowed.status_code == 200, allowed.text
    assert forbidden.status_code == 403


def test_the_task_api_takes_no_identity_from_us(airflow: Airflow3) -> None:
    answer = get(airflow, "/execution/variables/anything", auth=ADMIN)

    assert answer.status_code in (401, 403)
    assert "WWW-Authenticate" not in answer.headers


def test_the_command_line_of_airflow_works_with_the_plugin(fab: Airflow3) -> None:
    command = [str(fab.python), "-m", "airflow", "plugins", "--output", "json"]

    done = subprocess.run(command, env=fab.env(), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert '"compat_auth"' in done.stdout


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        pytest.param(
            {"AIRFLOW__COMPAT_AUTH__AUTH_BACKENDS": "basic_auht"}, "did you mean 'basic_auth'", id="no-such-backend"
        ),
        pytest.param({"AIRFLOW__COMPAT_AUTH__ENABLED": "perhaps"}, "neither True nor False", id="neither-on-nor-off"),
    ],
)
def test_an_api_server_with_a_wrong_setting_does_not_start_and_says_why(
    fab: Airflow3, env: dict[str, str], complaint: str
) -> None:
    command = [str(fab.python), "-m", "airflow", "api-server", "--port", "0", "--workers", "1"]

    done = subprocess.run(command, env={**fab.env(), **env}, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 3, done.stdout + done.stderr
    assert complaint in done.stdout + done.stderr
    assert "Application startup failed. Exiting." in done.stdout + done.stderr


@pytest.mark.parametrize("header", ["Cookie", "Accept"])
@pytest.mark.parametrize("path", ["/api/v2/dags", "/compat-auth/whoami", "/compat-auth/account"])
def test_blanks_in_a_header_do_not_hold_up_airflow(fab: Airflow3, path: str, header: str) -> None:
    host, port = urlsplit(fab.url).hostname, urlsplit(fab.url).port
    raw = f'GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}: a={" " * 58_000}"\r\n\r\n'
    began = time.monotonic()

    with socket.create_connection((host, port), timeout=60) as connection:
        connection.sendall(raw.encode())
        answer = connection.recv(64)

    assert answer.startswith(b"HTTP/1.1 ")
    assert time.monotonic() - began < 6  # it took 20 s to 30 s


def first_answer(airflow: Airflow3, *parts: bytes) -> bytes:
    """Return all that comes until the server ends the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", airflow.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        while data := connection.recv(65536):
            received += data
    return received


def test_a_request_whose_body_airflows_server_drops_is_told_what_to_change(fab: Airflow3) -> None:
    head = (
        b"POST /api/v1/dags/tiny/dagRuns HTTP/1.1\r\nHost: airflow\r\nAuthorization: Basic YWRtaW46YWRtaW4=\r\n"
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    )

    received = first_answer(fab, head + b"{}")

    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1)" in received


def test_a_refused_client_that_waits_to_send_its_body_is_asked_for_it(fab: Airflow3) -> None:
    head = b"POST /compat-auth/whoami HTTP/1.1\r\nHost: airflow\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"

    with socket.create_connection(("127.0.0.1", fab.port), timeout=20) as connection:
        connection.sendall(head + b"\r\n")
        interim = connection.recv(25)
        connection.sendall(b"{}")
        answer = connection.recv(15)

    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer == b"HTTP/1.1 401 Un"

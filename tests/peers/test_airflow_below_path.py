"""A gateway in front of an Airflow below a path: the path in `[upstream] url` is the only setting."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from support.peers import seed
from support.peers.airflows import Airflow3
from support.peers.gateway import COMMAND, StartGateway, call, clean_environment, toml

pytestmark = pytest.mark.peer

ROOT = "/team/airflow"
ADMIN = ("admin", "admin")
SECRET = "s" * 40
CHECK_S = 60


def settings(url: str, **changed: Any) -> dict[str, Any]:
    return {
        "auth_backends": ["session", "basic_auth"],
        "upstream": {"url": url, "profile": "airflow-simple"},
        "token": {"strategy": "exchange"},
        "session": {"secret": SECRET},
        **changed,
    }


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow3]:
    running = Airflow3(seed.SIMPLE, tmp_path_factory.mktemp("airflow_below_path"))
    running.restart(AIRFLOW__API__BASE_URL=f"{running.url}{ROOT}")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def url(airflow: Airflow3, gateway: StartGateway) -> str:
    return gateway(settings(f"{airflow.url}{ROOT}")).url


def get(url: str, **options: Any) -> requests.Response:
    return call("GET", url, **options)


@pytest.mark.parametrize("root", [ROOT, ""], ids=["below", "beside"])
@pytest.mark.parametrize("path", ["/api/v2/dags", "/api/v1/dags"])
def test_both_apis_are_answered_below_the_path_and_where_a_proxy_has_taken_it_off(
    url: str, root: str, path: str
) -> None:
    accepted = get(f"{url}{root}{path}", auth=ADMIN)
    wrong = get(f"{url}{root}{path}", auth=("admin", "wrong"))

    assert (accepted.status_code, wrong.status_code) == (200, 401)
    assert "tiny" in {dag["dag_id"] for dag in accepted.json()["dags"]}


@pytest.mark.parametrize("root", [ROOT, ""], ids=["below", "beside"])
def test_the_token_endpoint_gives_tokens_that_airflow_takes_below_the_path(
    airflow: Airflow3, url: str, root: str
) -> None:
    given = call("POST", f"{url}{root}/auth/token", auth=ADMIN)

    bearer = {"Authorization": f"Bearer {given.json()['access_token']}"}
    assert given.status_code == 201
    assert get(f"{airflow.url}{ROOT}/api/v2/dags", headers=bearer).status_code == 200


@pytest.mark.parametrize("path", [f"{ROOT}{ROOT}/api/v2/dags", "/Team/Airflow/api/v2/dags"])
def test_another_spelling_of_the_path_is_refused(url: str, path: str) -> None:
    assert get(f"{url}{path}", auth=ADMIN).status_code == 400


def test_airflows_own_pages_come_below_the_path(url: str) -> None:
    page = get(f"{url}{ROOT}/")

    assert page.status_code == 200
    assert f'<base href="{ROOT}/"' in page.text


@pytest.mark.parametrize("root", [ROOT, ""], ids=["below", "beside"])
def test_our_pages_lead_to_addresses_below_the_path(url: str, root: str) -> None:
    sent_away = get(f"{url}{root}/compat-auth/sessions", allow_redirects=False, headers={"Accept": "text/html"})
    who = get(f"{url}{root}/compat-auth/whoami", auth=ADMIN)

    assert sent_away.headers["Location"].startswith(f"{ROOT}/compat-auth/login?next={ROOT}/compat-auth/")
    assert who.json()["username"] == "admin"


def test_a_login_gives_the_browser_airflows_cookie_for_the_path(url: str) -> None:
    with requests.Session() as browser:
        page = browser.get(f"{url}{ROOT}/compat-auth/login", timeout=CHECK_S).text
        token = page.partition('name="token" value="')[2].partition('"')[0]
        form = {"token": token, "username": "admin", "password": "admin", "next": f"{ROOT}/home"}

        done = browser.post(f"{url}{ROOT}/compat-auth/login", data=form, allow_redirects=False, timeout=CHECK_S)

        paths = {cookie.name: cookie.path for cookie in browser.cookies}
        assert done.status_code == 303
        assert paths == {"_token": f"{ROOT}/", "compat_auth_session": "/"}
        assert browser.get(f"{url}{ROOT}/ui/auth/me", timeout=CHECK_S).json()["username"] == "admin"


@pytest.mark.parametrize("wrong", ["", "/airflow", "/team"])
def test_check_says_which_path_airflow_is_below(airflow: Airflow3, tmp_path: Path, wrong: str) -> None:
    code, output = check(settings(f"{airflow.url}{wrong}", database_url=f"sqlite:///{tmp_path}/s.db"), tmp_path)

    assert code == 78
    assert f"set upstream.url = '{airflow.url}{ROOT}'" in output


def test_check_says_where_callers_find_us(airflow: Airflow3, tmp_path: Path) -> None:
    code, output = check(settings(f"{airflow.url}{ROOT}/", database_url=f"sqlite:///{tmp_path}/s.db"), tmp_path)

    assert code == 0, output
    assert f"clients reach us below {ROOT}/ and without it" in output


def check(content: dict[str, Any], folder: Path) -> tuple[int, str]:
    config = folder / "compat_auth.toml"
    config.write_text(toml(content))
    done = subprocess.run(
        [COMMAND, "check", "--config", str(config)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=CHECK_S,
    )
    return done.returncode, done.stdout + done.stderr

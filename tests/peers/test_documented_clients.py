"""The scripts of "Call the API from a script", as they stand there, in front of a live Airflow 3.3: each kind of login."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from support.peers.airflows import JWT_SECRET, Airflow3
from support.peers.fab import added_user
from support.peers.gateway import COMMAND, StartGateway, call, clean_environment, run_compat_auth, toml
from support.peers.kerberos import Kdc
from support.peers.kerberos_client import Tickets
from support.peers.openid_provider import OpenIdProvider
from support.token_server import Answer, serving

pytestmark = pytest.mark.peer

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "from-a-script.md"
PRINT = "\nprint(sorted(dag['dag_id'] for dag in dags['dags']))\n"


def scripts_below(heading: str) -> list[str]:
    """Return the Python of one section of the page."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@dataclass(frozen=True, slots=True)
class GatewayUnderTest:
    """A gateway that knows every kind of login, and where a script finds its secrets."""

    url: str
    environments: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def instance(
    airflow_fab: Airflow3,
    gateway: StartGateway,
    kdc: Kdc,
    google: OpenIdProvider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GatewayUnderTest]:
    folder = tmp_path_factory.mktemp("clients")
    settings = {
        "auth_backends": ["basic_auth", "kerberos", "google_openid", "personal_token"],
        "database_url": f"sqlite:///{folder / 'store.db'}",
        "upstream": {"url": airflow_fab.url},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "basic_auth": {"directories": ["airflow_db"]},
        "airflow_db": {"url": airflow_fab.database_url},
        "kerberos": {"keytab": str(kdc.keytab("HTTP/localhost")), "replay_cache": str(kdc.folder / "replays-clients")},
        "google_openid": {"audience": ["web-RS256"], "jwks_url": google.jwks_url},
    }
    config = folder / "compat_auth.toml"
    config.write_text(toml(settings), encoding="utf-8")
    started = gateway(settings, kdc.env)
    with added_user(airflow_fab, "alice", "pässwörd", "alice@example.org"), serving() as accounts:
        # Google's place for service accounts: it is asked by google-auth itself.
        accounts.on_request = lambda _got: Answer(
            200, {"Content-Type": "application/json"}, json.dumps({"id_token": google.id_token("alice")}).encode()
        )
        made = run_compat_auth("tokens", "create", "--user", "alice", "--name", "script", "--config", str(config))
        environments = {
            "Password": {"AIRFLOW_PASSWORD": "pässwörd"},
            "AIRFLOW_TOKEN": {"AIRFLOW_TOKEN": made.strip()},
            "Kerberos": Tickets(kdc).environ("jürgen"),
            "google": {"GOOGLE_APPLICATION_CREDENTIALS": str(service_account(folder, f"{accounts.url}/token"))},
        }
        yield GatewayUnderTest(started.url.replace("127.0.0.1", "localhost"), environments)


def service_account(folder: Path, token_uri: str) -> Path:
    """Return the file of a service account, as Google gives it out."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    content = {
        "type": "service_account",
        "client_email": "script@project.example.com",
        "private_key_id": "1",
        "private_key": key.decode(),
        "token_uri": token_uri,
    }
    path = folder / "service-account.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_the_page_shows_four_kinds_of_login_and_two_libraries() -> None:
    assert len(scripts_below("Choose a credential")) == 4
    assert [len(scripts_below(library)) for library in ("requests", "httpx")] == [1, 1]


@pytest.mark.parametrize("library", ["requests", "httpx"])
@pytest.mark.parametrize("kind", ["Password", "AIRFLOW_TOKEN", "Kerberos", "google"])
def test_a_script_of_the_page_reads_the_dags(instance: GatewayUnderTest, kind: str, library: str) -> None:
    (login,) = (script for script in scripts_below("Choose a credential") if kind in script)
    (use,) = scripts_below(library)
    script = (login + use).replace("https://airflow.example.com", instance.url) + PRINT

    done = run(script, instance.environments[kind])

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "['tiny', 'tiny_daily']\n"


def test_airflow_itself_refuses_a_jwt_that_a_logout_has_taken_back(
    instance: GatewayUnderTest, airflow_fab: Airflow3, tmp_path: Path
) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    login = shell("login", instance.url, "--user", "alice", "--secret-stdin", "--keep-in", "file", environment=home)
    (kept,) = json.loads((tmp_path / "compat_auth" / "logins.json").read_text())
    headers = {"Authorization": f"Bearer {json.loads(kept['secret'])['token']}"}
    before = [call("GET", f"{url}/api/v2/dags", headers=headers).status_code for url in (instance.url, airflow_fab.url)]

    logout = shell("logout", environment=home)

    assert (login.returncode, logout.returncode) == (0, 0), login.stderr + logout.stderr
    assert before == [200, 200]
    after = [call("GET", f"{url}/api/v2/dags", headers=headers).status_code for url in (instance.url, airflow_fab.url)]
    assert after == [401, 403]


def shell(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        env={**clean_environment(), **environment},
        input="pässwörd\n",
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )


def run(script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COMPAT_AUTH_", "KRB5"))}
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**kept, **environment},
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )

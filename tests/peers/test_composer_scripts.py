"""Cloud Composer's scripts as the page shows them: google-auth's `AuthorizedSession` in a process of its own.

Google's token endpoint and tokeninfo are stand-ins on loopback with the documented members; library, key, and gateway are real.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway, clean_environment
from support.stub_issuer import Answer, StubIssuer, running_issuer

pytestmark = pytest.mark.peer

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "composer.md").read_text(encoding="utf-8")
KEY = rsa.generate_private_key(65537, 2048)
ROBOT, NUMBER = "robot@project.iam.gserviceaccount.com", "112233445566778899001"
OTHER, OTHER_NUMBER = "other@project.iam.gserviceaccount.com", "112233445566778899002"
# Of the assertion, whatever token_uri the key's file names.
TOKEN_AUDIENCE = "https://oauth2.googleapis.com/token"
# What the script has sent and got, for the test.
TELLS = """
import json, sys
sys.stdout.write(json.dumps({"status": dags.status_code, "sub": dags.json().get("sub"), "token": credentials.token}))
"""


class Google:
    """The stand-in for Google: who asks with a key for a token gets one, and tokeninfo knows it until it is revoked."""

    def __init__(self, stub: StubIssuer) -> None:
        self.stub = stub
        self.asked_with: list[dict[str, Any]] = []
        stub.says["/token"] = self._give

    @property
    def questions(self) -> int:
        """How often tokeninfo was asked."""
        return sum(count for path, count in self.stub.asked.items() if path.startswith("/tokeninfo"))

    def _give(self, form: Mapping[str, str]) -> Answer:
        claims = jwt.decode(form["assertion"], KEY.public_key(), ["RS256"], audience=TOKEN_AUDIENCE)
        self.asked_with.append(claims)
        token = f"ya29.c.{len(self.asked_with)}-{time.time_ns()}"
        number = {ROBOT: NUMBER, OTHER: OTHER_NUMBER}[claims["iss"]]
        told = {"azp": number, "aud": number, "sub": number, "scope": claims["scope"], "access_type": "online"}
        told |= {"exp": str(int(time.time()) + 3599), "expires_in": "3599"}
        if "userinfo.email" in claims["scope"]:
            told |= {"email": claims["iss"], "email_verified": "true"}
        self.stub.says[f"/tokeninfo?access_token={quote(token, safe='')}"] = Answer(told)
        return Answer({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})


@pytest.fixture(scope="module")
def asked() -> Iterator[Google]:
    with running_issuer() as stub:
        yield Google(stub)


@pytest.fixture
def google(asked: Google) -> Google:
    """Return the stand-in, before its first request."""
    asked.asked_with.clear()
    asked.stub.asked.clear()
    return asked


@pytest.fixture(scope="module")
def serve(
    gateway: StartGateway, asked: Google, echo_upstream: EchoUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Gateway:
    """Start the gateway of the page, with a mapping for Airflow's database."""
    users = tmp_path_factory.mktemp("users") / "users.toml"
    users.write_text("".join(f'[[user]]\nusername = "{name}"\n' for name in (ROBOT, OTHER)))
    users.chmod(0o600)
    settings = tomllib.loads(block("toml"))
    del settings["airflow_db"]
    settings["google_openid"]["tokeninfo_url"] = f"{asked.stub.url}/tokeninfo"
    settings["upstream"] = {"url": echo_upstream.url, "profile": "generic"}
    settings["token"]["secret"] = JWT_SECRET
    return gateway({**settings, "lookup": {"directories": ["mapping"]}, "mapping": {"file": str(users)}})


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def run(serve: Gateway, google: Google, folder: Path, more: str = "", account: str = ROBOT) -> dict[str, Any]:
    """Run the script of the page with a service account's key, and return what it got."""
    key = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    content = {"type": "service_account", "project_id": "project", "private_key_id": "k", "private_key": key}
    content |= {"client_email": account, "client_id": NUMBER, "token_uri": f"{google.stub.url}/token"}
    file = folder / "key.json"
    file.write_text(json.dumps(content))
    script = block("python").replace("https://airflow.example.com", serve.url)
    environ = {**clean_environment(), "GOOGLE_APPLICATION_CREDENTIALS": str(file), "NO_PROXY": "*"}
    done = subprocess.run(
        [sys.executable, "-c", script + more + TELLS], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_script_of_the_page_gets_in_as_its_service_account(serve: Gateway, google: Google, tmp_path: Path) -> None:
    found = run(serve, google, tmp_path)

    assert (found["status"], found["sub"]) == (200, ROBOT)
    assert found["token"].startswith("ya29.")
    assert google.asked_with[0]["iss"] == ROBOT


def test_google_is_asked_once_about_a_token_that_is_used_again(serve: Gateway, google: Google, tmp_path: Path) -> None:
    again = f"for _ in range(3):\n    dags = session.get('{serve.url}/api/v2/dags')\n"

    found = run(serve, google, tmp_path, again)

    assert (found["status"], google.questions, len(google.asked_with)) == (200, 1, 1)


def test_a_token_that_google_no_longer_knows_is_fetched_anew_by_the_session(
    serve: Gateway, google: Google, tmp_path: Path
) -> None:
    # A 401 makes the session ask for another token and send the request again.
    stale = f"credentials.token = 'ya29.unknown'\ndags = session.get('{serve.url}/api/v2/dags')\n"
    google.stub.says["/tokeninfo?access_token=ya29.unknown"] = Answer({"error": "invalid_token"}, status=400)

    found = run(serve, google, tmp_path, stale)

    assert (found["status"], len(google.asked_with)) == (200, 2)


@pytest.mark.parametrize(
    ("more", "account"),
    [
        pytest.param("", OTHER, id="an-account-that-nobody-named"),
        pytest.param(
            "credentials = credentials.with_scopes(['https://www.googleapis.com/auth/cloud-platform'])\n"
            "dags = AuthorizedSession(credentials).get(dags.url)\n",
            ROBOT,
            id="without-the-scope-that-shows-the-address",
        ),
    ],
)
def test_another_account_and_a_token_without_an_address_stay_outside(
    serve: Gateway, google: Google, tmp_path: Path, more: str, account: str
) -> None:
    assert run(serve, google, tmp_path, more, account)["status"] == 401


def test_the_token_stands_in_no_log(serve: Gateway, google: Google, tmp_path: Path) -> None:
    found = run(serve, google, tmp_path)

    assert found["token"] not in serve.process.log.read_text(encoding="utf-8")

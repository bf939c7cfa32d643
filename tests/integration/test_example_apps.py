"""The apps of docs/examples, each served as a site would serve it and asked by the clients that people have."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import bcrypt
import jwt
import pytest
import requests
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from compat_auth.errors import ConfigError
from compat_auth_backends import basic_auth, google_openid, session
from support.serving import served_by_wsgi
from support.stub_issuer import RSA_KEY, Answer, StubIssuer, jwk, running_issuer

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def load(name: str, **replaced: str) -> Any:
    """Return the app of an example, with some words of its source replaced."""
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    for old, new in replaced.items():
        assert f'"{old}"' in source
        source = source.replace(f'"{old}"', new, 1)
    found: dict[str, Any] = {"__name__": name}
    exec(compile(source, f"{name}.py", "exec"), found)  # noqa: S102  # our own example
    return found["app"]


def curl(*arguments: str) -> tuple[int, str]:
    command = ["curl", "--silent", "--noproxy", "*", "--write-out", "\n%{http_code}", *arguments]
    body, _, status = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout.rpartition(b"\n")
    return int(status), body.decode()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["session_app", "basic_auth_app", "kerberos_app", "google_openid_app"])
def test_each_example_of_one_backend_has_ten_lines_of_code_at_most(name: str) -> None:
    lines = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()

    imports = [line for line in lines if line.startswith(("from ", "import "))]
    assert len([line for line in lines if line]) - len(imports) <= 10


def test_basic_auth_alone_lets_curl_in_with_the_password(folder: Path) -> None:
    hashed = bcrypt.hashpw(b"wonder", bcrypt.gensalt(4)).decode()
    (folder / "users.htpasswd").write_text(f"alice:{hashed}\n", encoding="utf-8")

    with served_by_wsgi(load("basic_auth_app")) as url:
        answers = [curl("-u", "alice:wonder", url), curl("-u", "alice:wrong", url), curl(url)]

    assert answers[0] == (200, "alice")
    assert [status for status, _ in answers[1:]] == [401, 401]


def test_session_alone_lets_in_whom_flask_login_knows() -> None:
    with served_by_wsgi(load("session_app")) as url, requests.Session() as browser:
        before = browser.get(url, timeout=10)
        browser.post(f"{url}/login", timeout=10)
        after = browser.get(url, timeout=10)

    assert (before.status_code, after.status_code, after.text) == (401, 200, "alice")


@pytest.fixture
def google() -> Generator[StubIssuer]:
    """A stub of Google: it publishes keys, and gives a service account ID tokens."""
    with running_issuer() as stub:
        stub.keys[:] = [jwk(RSA_KEY.public_key(), "rsa", alg="RS256")]

        def give(form: Any) -> Answer:
            asked = jwt.decode(form["assertion"], options={"verify_signature": False})
            now = int(time.time())
            claims = {
                "iss": "https://accounts.google.com",
                "aud": asked["target_audience"],
                "azp": "1001",
                "sub": "1001",
                "email": "alice@example.org",
                "email_verified": True,
                "hd": "example.org",
                "iat": now,
                "exp": now + 3600,
            }
            return Answer({"id_token": jwt.encode(claims, RSA_KEY, "RS256", {"kid": "rsa"})})

        stub.says["/token"] = give
        yield stub


def test_google_openid_alone_lets_in_the_client_session_of_its_own_module(
    google: StubIssuer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    key = {
        "type": "service_account",
        "client_email": "bot@x.example",
        "private_key": pem,
        "token_uri": f"{google.url}/token",
    }
    (folder / "key.json").write_text(json.dumps({**key, "private_key_id": "k", "client_id": "1"}), encoding="utf-8")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(folder / "key.json"))
    monkeypatch.setenv("COMPAT_AUTH_GOOGLE_OPENID__AUDIENCE", "1001")
    app = load(
        "google_openid_app",
        **{"my-app": '"1001"', "hosted_domains": f'"jwks_url": "{google.url}/jwks", "hosted_domains"'},
    )

    with served_by_wsgi(app) as url, google_openid.create_client_session() as client:
        good = client.get(url, timeout=10)
        bad = requests.get(url, headers={"Authorization": "Bearer a.b.c"}, timeout=10)

    assert (good.status_code, good.text) == (200, "alice@example.org")
    assert bad.status_code == 401


def test_a_client_without_an_audience_or_a_key_is_told_which(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="audience: missing"):
        google_openid.create_client_session()
    monkeypatch.setenv("COMPAT_AUTH_GOOGLE_OPENID__AUDIENCE", "web")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")

    with pytest.raises(ConfigError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        google_openid.create_client_session()


def test_the_others_have_what_airflow_2_s_client_asks_for() -> None:
    assert (session.CLIENT_AUTH, basic_auth.CLIENT_AUTH, google_openid.CLIENT_AUTH) == (None, None, None)

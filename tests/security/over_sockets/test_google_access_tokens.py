"""Google's opaque access tokens: tokeninfo is a stand-in on loopback that has the documented members."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest

from compat_auth.authn.registry import AIRFLOW_NAMES
from compat_auth.config import Settings, parse_settings
from compat_auth.credentials import Bearer
from compat_auth.errors import BackendUnavailable, ConfigError, TooManyRequests
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth_backends.google_openid import GoogleOpenIdBackend
from support.stub_issuer import Answer, StubIssuer, running_issuer

TOKEN = "ya29.a0AfH6SMB-x_y.z"
CLIENT = "32555940559.apps.googleusercontent.com"
ROBOT = "112233445566778899001"
ROBOT_EMAIL = "robot@project.iam.gserviceaccount.com"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # The look-up by a mapping is by name alone.
    names = {"alice@example.com": "true", ROBOT_EMAIL: "true", "robot": "true", "gone@example.com": "false"}
    users = "".join(
        f'[[user]]\nusername = "{name}"\nroles = ["Op"]\nactive = {active}\n' for name, active in names.items()
    )
    (tmp_path / "users.toml").write_text(users)
    (tmp_path / "users.toml").chmod(0o600)
    return tmp_path


@pytest.fixture
def google() -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        yield stub


def settings_of(google: StubIssuer, **changed: Any) -> Settings:
    section = {"access_tokens": True, "access_token_audience": [CLIENT], **changed}
    content = {
        "google_openid": {"tokeninfo_url": f"{google.url}/tokeninfo", "jwks_url": f"{google.url}/jwks", **section},
        "lookup": {"directories": ["mapping"]},
        "mapping": {"file": "users.toml"},
    }
    return parse_settings(content, origin="test")


def says(google: StubIssuer, token: str = TOKEN, *, status: int = 200, **changed: Any) -> None:
    """Have tokeninfo answer as Google does for a person's token; None takes a member away."""
    answer = {
        "azp": CLIENT,
        "aud": CLIENT,
        "sub": "1001",
        "scope": "openid https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/cloud-platform",
        "exp": str(int(time.time()) + 3000),
        "expires_in": "3000",
        "email": "alice@example.com",
        "email_verified": "true",
        "access_type": "online",
    }
    body = {name: value for name, value in {**answer, **changed}.items() if value is not None}
    google.says[f"/tokeninfo?access_token={token}"] = Answer(body, status=status)


def service_account(**changed: Any) -> dict[str, Any]:
    return {"azp": ROBOT, "aud": ROBOT, "sub": ROBOT, "email": ROBOT_EMAIL, **changed}


def judged(settings: Settings, token: str = TOKEN, backend: GoogleOpenIdBackend | None = None) -> Outcome:
    return (backend or GoogleOpenIdBackend.from_settings(settings)).authenticate(Bearer(token))


def test_a_person_comes_in_by_a_token_of_a_named_client(google: StubIssuer) -> None:
    says(google)

    outcome = judged(settings_of(google))

    assert isinstance(outcome, Accept)
    assert (outcome.identity.username, outcome.identity.subject) == ("alice@example.com", "1001")
    assert outcome.reusable_s <= 300


@pytest.mark.parametrize("named", [{"service_accounts": [ROBOT_EMAIL]}, {"subjects": {ROBOT: "robot"}}])
def test_a_service_account_comes_in_by_its_own_name(google: StubIssuer, named: dict[str, Any]) -> None:
    says(google, **service_account())

    outcome = judged(settings_of(google, **named, hosted_domains=["example.com"]))

    assert isinstance(outcome, Accept)
    assert outcome.identity.username in ("robot", ROBOT_EMAIL)


def test_a_service_account_without_an_address_comes_in_by_its_number(google: StubIssuer) -> None:
    says(google, azp=ROBOT, aud=ROBOT, sub=None, email=None, email_verified=None)

    outcome = judged(settings_of(google, subjects={ROBOT: "robot"}))

    assert isinstance(outcome, Accept)
    assert outcome.identity.username == "robot"


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"aud": "another.apps.googleusercontent.com"}, id="client of another project"),
        pytest.param({"azp": "another.apps.googleusercontent.com"}, id="asked for by another client"),
        pytest.param({"aud": None, "azp": None}, id="no client"),
        pytest.param({"aud": [CLIENT]}, id="list"),
        pytest.param({"aud": CLIENT.upper()}, id="upper case"),
        pytest.param(service_account(), id="service account that nobody named"),
        pytest.param(service_account(azp=CLIENT), id="service account by another's number"),
        pytest.param({"email_verified": "false"}, id="not verified"),
        pytest.param({"email_verified": None}, id="not said to be verified"),
        pytest.param({"email": None}, id="no address"),
        pytest.param({"email": "alice@exämple.com"}, id="not ASCII"),
        pytest.param({"sub": None}, id="no subject"),
        pytest.param({"sub": "alice"}, id="subject is no number"),
        pytest.param({"expires_in": "0"}, id="over"),
        pytest.param({"exp": "1"}, id="over long ago"),
        pytest.param({"exp": None, "expires_in": None}, id="no end"),
        pytest.param({"exp": "soon", "expires_in": True}, id="no moment"),
        pytest.param({"email": "gone@example.com"}, id="disabled"),
        pytest.param({"email": "nobody@example.com"}, id="unknown"),
        pytest.param({"status": 400}, id="wrong"),
    ],
)
def test_what_google_says_of_another_lets_nobody_in(google: StubIssuer, changed: dict[str, Any]) -> None:
    says(google, **changed)

    outcome = judged(settings_of(google))

    assert isinstance(outcome, Reject)


def test_a_person_without_a_domain_is_not_of_hosted_domains(google: StubIssuer) -> None:
    says(google)

    outcome = judged(settings_of(google, hosted_domains=["example.com"]))

    assert isinstance(outcome, Reject)
    assert outcome.status == 403


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503, 302])
def test_no_answer_of_google_is_no_yes_and_no_no(google: StubIssuer, status: int) -> None:
    says(google, status=status)

    with pytest.raises(BackendUnavailable) as raised:
        judged(settings_of(google))

    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize("body", [b"", b"[]", b"yes", b'{"aud": "a", "aud": "b"}'])
def test_an_answer_with_no_reading_is_unavailable(google: StubIssuer, body: bytes) -> None:
    google.says[f"/tokeninfo?access_token={TOKEN}"] = Answer(body)

    with pytest.raises(BackendUnavailable):
        judged(settings_of(google))


def test_google_that_is_away_is_unavailable_and_the_log_has_no_token(
    google: StubIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(google, tokeninfo_url="http://127.0.0.1:9/tokeninfo")

    with caplog.at_level(logging.DEBUG), pytest.raises(BackendUnavailable) as raised:
        judged(settings)

    assert TOKEN not in caplog.text + str(raised.value)


def test_google_is_asked_once_for_a_good_and_for_a_bad_token(google: StubIssuer) -> None:
    backend = GoogleOpenIdBackend.from_settings(settings_of(google))
    says(google)
    says(google, "ya29.bad", status=400)

    for _ in range(3):
        backend.authenticate(Bearer(TOKEN))
        backend.authenticate(Bearer("ya29.bad"))

    assert set(google.asked.values()) == {1}


@pytest.mark.parametrize("token", ["ya29.", "ya29.a&access_token=b", "ya29.a b", "ya29." + "a" * 5000, "ya29.\u00e4"])
def test_what_cannot_be_a_token_is_asked_of_nobody(google: StubIssuer, token: str) -> None:
    outcome = judged(settings_of(google), token)

    assert isinstance(outcome, Reject)
    assert not google.asked


def test_guesses_from_one_address_are_throttled(google: StubIssuer) -> None:
    backend = GoogleOpenIdBackend.from_settings(settings_of(google))
    with flask.Flask("test").test_request_context(environ_base={"REMOTE_ADDR": "192.0.2.1"}):
        for number in range(100):
            says(google, f"ya29.{number}", status=400)
            backend.authenticate(Bearer(f"ya29.{number}"))

        with pytest.raises(TooManyRequests):
            backend.authenticate(Bearer("ya29.one-more"))


def test_a_token_that_was_taken_back_here_stays_refused(google: StubIssuer) -> None:
    says(google)
    backend = GoogleOpenIdBackend.from_settings(settings_of(google))

    was_good = backend.refuse(Bearer(TOKEN), time.time() + 600)

    assert was_good
    assert isinstance(backend.authenticate(Bearer(TOKEN)), Reject)
    assert not backend.refuse(Bearer("ya29.unheard-of" + " "), time.time() + 600)


def test_they_are_off_unless_switched_on(google: StubIssuer) -> None:
    says(google)

    outcome = judged(settings_of(google, access_tokens=False, audience=[CLIENT]))

    assert isinstance(outcome, Skip)
    assert not google.asked


def test_without_an_audience_no_id_token_counts(google: StubIssuer) -> None:
    outcome = judged(settings_of(google), "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2FjY291bnRzLmdvb2dsZS5jb20ifQ.AA")

    assert isinstance(outcome, Skip)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"access_token_audience": []}, "no access token would count"),
        ({"access_token_audience": [CLIENT, ""]}, "an empty name"),
        ({"tokeninfo_url": "http://elsewhere.example/tokeninfo"}, "must be https"),
        ({"tokeninfo_url": "https://elsewhere.example/tokeninfo?a=b"}, "has a query"),
    ],
)
def test_settings_that_would_be_too_open_stop_the_start(
    google: StubIssuer, changed: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        GoogleOpenIdBackend.from_settings(settings_of(google, **changed))


def test_composers_name_means_this_backend() -> None:
    assert AIRFLOW_NAMES["airflow.composer.api.backend.composer_auth"] == "google_openid"

"""The google_openid backend: its settings, its module, and its verdicts beside those of Google's own library."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flask
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from google.oauth2 import id_token as google_id_token

from compat_auth.authn.registry import load_chain
from compat_auth.config import Settings, parse_settings
from compat_auth.credentials import Basic, Bearer
from compat_auth.errors import ConfigError
from compat_auth.guard import current_identity
from compat_auth.outcome import Accept, Outcome, Skip
from compat_auth_backends import google_openid
from compat_auth_backends.google_openid import GoogleOpenIdBackend
from support.stub_issuer import EC_KEY, OTHER_RSA_KEY, RSA_KEY, StubIssuer, jwk, running_issuer, sign

ISS = "https://accounts.google.com"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be where the database of no other test is."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def issuer() -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        yield stub


def settings_of(issuer: StubIssuer | None = None, **google: Any) -> Settings:
    jwks = {"jwks_url": f"{issuer.url}/jwks"} if issuer is not None else {}
    return parse_settings({"google_openid": {**jwks, **google}}, origin="test")


@dataclass(frozen=True, slots=True)
class In:
    """A moment, so many seconds from when the test runs."""

    seconds: int


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {
        "iss": ISS,
        "aud": "web",
        "azp": "web",
        "sub": "1001",
        "email": "alice@example.org",
        "email_verified": True,
        "hd": "example.org",
        "iat": now,
        "exp": now + 3600,
    }
    moments = {name: now + value.seconds for name, value in changed.items() if isinstance(value, In)}
    return {name: value for name, value in {**good, **changed, **moments}.items() if value is not None}


@pytest.mark.parametrize(
    ("google", "problem"),
    [
        pytest.param({"hosted_domains": "example.org"}, "audience: missing", id="no-audience"),
        pytest.param({"audience": ["web", ""], "hosted_domains": "x.org"}, "audience: missing or empty", id="empty"),
        pytest.param({"audience": "web"}, "anybody with a Google account", id="everybody"),
        pytest.param({"audience": "web", "hosted_domains": [""]}, "an empty name", id="empty-domain"),
        pytest.param(
            {"audience": "web", "hosted_domains": "x.org", "jwks_url": "http://x.org/"},
            "must be https",
            id="plain-http",
        ),
    ],
)
def test_settings_that_would_let_the_wrong_people_in_are_a_configuration_error(
    google: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        GoogleOpenIdBackend.from_settings(settings_of(**google))


CREATING = {
    "google_openid": {"audience": "web", "hosted_domains": "x.org", "create_role": "Viewer", "create_as": "admin"},
    "airflow_db": {"url": "sqlite:////nowhere/airflow.db"},
    "upstream": {"url": "http://127.0.0.1:1", "profile": "airflow-fab"},
    "token": {"strategy": "shared_secret", "secret": "x" * 64},
}


@pytest.mark.parametrize(
    ("section", "changed", "problem"),
    [
        pytest.param("google_openid", {"hosted_domains": []}, "anybody with a Google account", id="no-domain"),
        pytest.param("google_openid", {"create_as": ""}, "nobody to create users", id="no-administrator"),
        pytest.param("google_openid", {"create_role": ""}, "create_as: nothing without", id="no-role"),
        pytest.param("airflow_db", {"url": ""}, "would not be found", id="no-database"),
        pytest.param("lookup", {"directories": ["mapping"]}, "would not be found", id="looked-up-elsewhere"),
        pytest.param("upstream", {"profile": "generic"}, "only with .*airflow-fab", id="another-upstream"),
        pytest.param("token", {"strategy": "exchange"}, "shared_secret or key_pair", id="no-minting"),
        pytest.param("token", {"strategy": "in_process"}, "shared_secret or key_pair", id="inside-airflow"),
    ],
)
def test_creating_users_is_refused_where_it_cannot_work_or_would_let_strangers_in(
    tmp_path: Path, section: str, changed: dict[str, Any], problem: str
) -> None:
    (tmp_path / "users.toml").write_text("")
    content: dict[str, Any] = {**CREATING, "mapping": {"file": str(tmp_path / "users.toml")}}
    content[section] = {**content.get(section, {}), **changed}

    with pytest.raises(ConfigError, match=problem):
        GoogleOpenIdBackend.from_settings(parse_settings(content, origin="test"))


def test_creating_users_is_configured_with_a_role_and_an_administrator() -> None:
    backend = GoogleOpenIdBackend.from_settings(parse_settings(CREATING, origin="test"))

    assert backend.name == "google_openid"


def test_airflows_own_name_for_it_loads_it() -> None:
    settings = parse_settings(
        {
            "auth_backends": "airflow.providers.google.common.auth_backend.google_openid",
            "google_openid": {"audience": "web", "hosted_domains": "example.org"},
        },
        origin="test",
    )

    assert [type(backend) for backend in load_chain(settings)] == [GoogleOpenIdBackend]


def test_another_credential_is_not_its_kind() -> None:
    backend = GoogleOpenIdBackend.from_settings(settings_of(audience="web", hosted_domains="example.org"))

    assert backend.authenticate(Basic("a", "b")) == Skip()


@pytest.mark.parametrize("iss", ["accounts.google.com", "https://accounts.google.com"])
def test_both_names_of_google_are_believed_and_the_identity_ends_with_the_token(issuer: StubIssuer, iss: str) -> None:
    backend = GoogleOpenIdBackend.from_settings(settings_of(issuer, audience="web", hosted_domains="Example.org"))
    content = claims(iss=iss, exp=int(time.time()) + 100)

    outcome = backend.authenticate(Bearer(sign(content, typ="JWT")))

    assert isinstance(outcome, Accept)
    assert (outcome.identity.username, outcome.identity.subject) == ("alice@example.org", "1001")
    assert outcome.identity.expires_at == content["exp"]
    assert 90 < outcome.reusable_s <= 100


def test_the_module_keeps_airflow_2s_contract(issuer: StubIssuer) -> None:
    app = flask.Flask("airflow")
    app.config["COMPAT_AUTH"] = settings_of(issuer, audience="web", hosted_domains="example.org")
    google_openid.init_app(app)
    google_openid.init_app(app)

    @app.get("/")
    @google_openid.requires_authentication
    def view() -> str:
        return current_identity.username

    client = app.test_client()
    good = client.get("/", headers={"Authorization": f"Bearer {sign(claims(), typ='JWT')}"})
    malformed = client.get("/", headers={"Authorization": "Bearer a.b.c"})
    absent = client.get("/")

    assert (good.status_code, good.text) == (200, "alice@example.org")
    assert (malformed.status_code, absent.status_code) == (401, 401)
    assert absent.headers["WWW-Authenticate"] == 'Bearer realm="Airflow"'
    assert google_openid.CLIENT_AUTH is None


# --- beside google-auth ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Certs:
    """What google-auth wants of an HTTP response."""

    status: int
    headers: Mapping[str, str]
    data: bytes


def certificate() -> str:
    """Return the issuer's key as Google publishes it for its own library: in an X.509 certificate."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(RSA_KEY.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(RSA_KEY, SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


CERTIFICATES = json.dumps({"rsa": certificate()}).encode()


def google_auth_accepts(token: str, audience: list[str]) -> bool:
    """Return the verdict of Google's own library, as Airflow 2's backend went by it."""

    def request(url: str, method: str = "GET", **_: Any) -> Certs:
        return Certs(200, {"content-type": "application/json"}, CERTIFICATES)

    verify: Callable[..., Mapping[str, Any]] = google_id_token.verify_oauth2_token
    try:
        verify(token, request, audience)
    except Exception:  # noqa: BLE001  # it raises GoogleAuthError, ValueError, KeyError, TypeError …: all are a no
        return False
    return True


def we_accept(token: str, issuer: StubIssuer, audience: list[str]) -> bool:
    # Without a look-up: the comparison is about tokens, not about users.
    settings = settings_of(issuer, audience=audience, hosted_domains=["example.org"])
    outcome: Outcome = GoogleOpenIdBackend.from_settings(settings).authenticate(Bearer(token))
    return isinstance(outcome, Accept)


SAME = [
    pytest.param({}, {}, True, id="good"),
    pytest.param({"iss": "accounts.google.com"}, {}, True, id="google-by-its-short-name"),
    pytest.param({"azp": None}, {}, True, id="no-azp"),
    pytest.param({"extra": {"a": [1]}}, {}, True, id="more-claims"),
    pytest.param({}, {"typ": None}, True, id="no-type"),
    pytest.param({"aud": "second"}, {}, True, id="second-of-our-audiences"),
    pytest.param({"iss": "https://evil.example"}, {}, False, id="another-issuer"),
    pytest.param({"iss": None}, {}, False, id="no-issuer"),
    pytest.param({"aud": "other"}, {}, False, id="another-audience"),
    pytest.param({"aud": None}, {}, False, id="no-audience"),
    pytest.param({"exp": In(-3600)}, {}, False, id="expired"),
    pytest.param({"exp": None}, {}, False, id="no-end"),
    pytest.param({"iat": None}, {}, False, id="no-iat"),
    pytest.param({"iat": In(600), "exp": In(4200)}, {}, False, id="from-the-future"),
    pytest.param({}, {"key": OTHER_RSA_KEY}, False, id="another-key"),
    pytest.param({}, {"kid": "unknown"}, False, id="unknown-key-id"),
    pytest.param({}, {"key": EC_KEY, "alg": "ES256"}, False, id="another-algorithm"),
]


@pytest.mark.parametrize(("changed", "signing", "verdict"), SAME)
def test_google_auth_and_we_say_the_same(
    issuer: StubIssuer, changed: Mapping[str, Any], signing: Mapping[str, Any], verdict: bool
) -> None:
    issuer.keys = [jwk(RSA_KEY.public_key(), "rsa")]
    token = sign(claims(**changed), **{"typ": "JWT", **signing})

    verdicts = (google_auth_accepts(token, ["web", "second"]), we_accept(token, issuer, ["web", "second"]))

    assert verdicts == (verdict, verdict)


# Every known difference: (google-auth, we), and why.
DIFFERENT = [
    pytest.param({"iat": In(-3600), "exp": In(-10)}, {}, (False, True), id="ended-10-s-ago-but-clocks-differ"),
    pytest.param({"iat": In(20)}, {}, (False, True), id="issued-in-20-s-but-clocks-differ"),
    pytest.param({"email_verified": False}, {}, (True, False), id="an-address-that-nobody-verified"),
    pytest.param({"email_verified": "true"}, {}, (True, False), id="a-text-is-not-true"),
    pytest.param({"email": None}, {}, (True, False), id="no-address-to-look-up"),
    pytest.param({"hd": None}, {}, (True, False), id="hosted-domain-is-ours-to-check"),
    pytest.param({"hd": "other.org"}, {}, (True, False), id="another-hosted-domain"),
    pytest.param({"azp": "other"}, {}, (True, False), id="asked-for-by-another-application"),
    pytest.param({"sub": ""}, {}, (True, False), id="an-account-without-a-name"),
    pytest.param({"exp": In(10**6)}, {}, (True, False), id="lives-for-eleven-days"),
    pytest.param({"nbf": In(3000)}, {}, (True, False), id="not-yet-valid"),
    pytest.param({}, {"crit": ["x"]}, (True, False), id="an-extension-that-nobody-understands"),
    pytest.param({}, {"jku": "https://evil.example"}, (True, False), id="a-key-of-the-senders-choice"),
    pytest.param({}, {"typ": "at+jwt"}, (True, False), id="another-kind-of-token"),
    pytest.param({"aud": ["web", "other"]}, {}, (False, True), id="a-list-is-an-audience-too"),
]


@pytest.mark.parametrize(("changed", "signing", "verdicts"), DIFFERENT)
def test_where_google_auth_and_we_differ_it_is_known_why(
    issuer: StubIssuer, changed: Mapping[str, Any], signing: Mapping[str, Any], verdicts: tuple[bool, bool]
) -> None:
    issuer.keys = [jwk(RSA_KEY.public_key(), "rsa")]
    token = sign(claims(**changed), **{"typ": "JWT", **signing})

    assert (google_auth_accepts(token, ["web"]), we_accept(token, issuer, ["web"])) == verdicts

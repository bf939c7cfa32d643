"""Signed identity headers: an issuer of ours that signs the claims which each front door documents.

Google IAP ("Securing your app with signed headers"), Cloudflare Access ("Validate JWTs"), AWS Application Load Balancer
("Authenticate users"), Pomerium ("JWT verification") and Azure App Service ("Work with OAuth tokens").
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import flask
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from compat_auth.config import parse_settings
from compat_auth.credentials import Absent, Bearer
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth_backends.oidc import OidcBackend
from support.from_now import FromNow, written
from support.stub_issuer import EC_KEY, RSA_KEY, Answer, StubIssuer, jwk, running_issuer, sign

OTHER_EC_KEY = ec.generate_private_key(ec.SECP256R1())
KID = "0f3ba6c4-7a3a-4a1b-9d8f-3a0a2f6d1c11"
SIGNER = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/airflow/50dc6c495c0c9188"
PROXY = "10.0.0.5"
NOW = FromNow(0)

IAP: dict[str, Any] = {
    "iss": "https://cloud.google.com/iap",
    "aud": "/projects/123/global/backendServices/456",
    "sub": "accounts.google.com:118133858486581853996",
    "email": "alice@example.org",
    "hd": "example.org",
    "iat": NOW,
    "exp": FromNow(600),
}
ACCESS: dict[str, Any] = {
    "iss": "https://team.cloudflareaccess.com",
    "aud": ["32eafc7626e737969862da36a7d2b54bc8cb1b9be7bf7d8c6e5b1e4d5a9d1f6c"],
    "sub": "7335d417-61da-459d-899c-0a01c76a2f94",
    "email": "alice@example.org",
    "type": "app",
    "identity_nonce": "6ei69kawdKzMIAPF",
    "country": "DE",
    "iat": NOW,
    "nbf": NOW,
    "exp": FromNow(86_400),
}
POMERIUM: dict[str, Any] = {
    "iss": "airflow.example.org",
    "aud": "airflow.example.org",
    "sub": "user-id-of-alice",
    "user": "user-id-of-alice",
    "email": "alice@example.org",
    "groups": ["admins"],
    "jti": "54fab1b0-4d1a-4d3f-8f5c-24f3a0d5a1f1",
    "iat": NOW,
    "exp": FromNow(300),
}
AZURE: dict[str, Any] = {
    "iss": "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
    "aud": "6cb04018-a3f5-46a7-b995-940c78f5aef3",
    "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
    "oid": "00000000-0000-0000-66f3-3332eca7ea81",
    "tid": "9188040d-6c67-4c5b-b112-36a304b66dad",
    "preferred_username": "alice",
    "nonce": "123523",
    "at_hash": "x",
    "ver": "2.0",
    "iat": NOW,
    "nbf": NOW,
    "exp": FromNow(3600),
}
BY_EMAIL = {"username_claim": "email", "proxy_verifies_email": True}
# What each is configured with, what it signs, and how.
FRONTS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "iap": (
        {"header": "X-Goog-IAP-JWT-Assertion", **BY_EMAIL},
        IAP,
        {"alg": "ES256", "key": EC_KEY, "kid": "ec", "typ": "JWT"},
    ),
    "access": ({"header": "Cf-Access-Jwt-Assertion", **BY_EMAIL}, ACCESS, {"typ": "JWT"}),
    "pomerium": (
        {"header": "X-Pomerium-Jwt-Assertion", **BY_EMAIL},
        POMERIUM,
        {"alg": "ES256", "key": EC_KEY, "kid": "ec", "typ": None},
    ),
    "azure": ({"header": "X-MS-TOKEN-AAD-ID-TOKEN", "username_claim": "preferred_username"}, AZURE, {"typ": "JWT"}),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which account has which name is kept in a file there."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def issuer() -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        yield stub


def backend_of(*tables: Mapping[str, Any], trusted: list[str] | None = None) -> OidcBackend:
    proxies = [f"{PROXY}/32"] if trusted is None else trusted
    settings = {"oidc": {"issuers": list(tables)}, "trusted_proxies": proxies, "upstream": {"profile": "generic"}}
    return OidcBackend.from_settings(parse_settings(settings, origin="test"))


def ask(backend: OidcBackend, headers: list[tuple[str, str]], *, client: str = PROXY) -> Outcome:
    environ = {"REMOTE_ADDR": client}
    with flask.Flask("test").test_request_context("/", headers=headers, environ_base=environ):
        return backend.authenticate(Absent())


def table_of(issuer: StubIssuer, front: str) -> dict[str, Any]:
    settings, claims, _ = FRONTS[front]
    aud = claims["aud"]
    return {
        "issuer": claims["iss"],
        "audience": aud if isinstance(aud, list) else [aud],
        "jwks_url": f"{issuer.url}/jwks",
        **settings,
    }


def signed(front: str, **changed: Any) -> str:
    _, claims, how = FRONTS[front]
    return sign({name: value for name, value in {**claims, **changed}.items() if value is not None}, **how)


every_front = pytest.mark.parametrize("front", FRONTS)


@every_front
def test_a_signed_header_of_a_trusted_proxy_names_the_caller(issuer: StubIssuer, front: str) -> None:
    table = table_of(issuer, front)

    token = signed(front)

    outcome = ask(backend_of(table), [(table["header"], token)])

    assert isinstance(outcome, Accept)
    assert outcome.identity.username == ("alice" if front == "azure" else "alice@example.org")
    assert outcome.identity.subject == FRONTS[front][1]["sub"]
    assert outcome.identity.expires_at == jwt.decode(token, options={"verify_signature": False})["exp"]


@every_front
@pytest.mark.parametrize("client", ["192.0.2.1", "10.0.0.6", ""])
def test_the_same_header_of_anybody_else_is_dropped(issuer: StubIssuer, front: str, client: str) -> None:
    table = table_of(issuer, front)

    outcome = ask(backend_of(table), [(table["header"], signed(front))], client=client)

    assert outcome == Skip()
    assert issuer.asked["/jwks"] == 0


@every_front
@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"exp": FromNow(-60)},
        {"exp": None},
        {"sub": ""},
        {"nbf": FromNow(600)},
        {"exp": FromNow(90 * 86_400)},
    ],
    # The same in every process, whatever the second.
    ids=["iss", "no-iss", "aud", "no-aud", "expired", "no-exp", "no-sub", "not-yet", "too-long"],
)
def test_any_other_claim_is_refused(issuer: StubIssuer, front: str, changed: dict[str, Any]) -> None:
    table = table_of(issuer, front)

    outcome = ask(backend_of(table), [(table["header"], signed(front, **changed))])

    assert isinstance(outcome, Reject)
    assert issuer.asked["/jwks"] == 0


@every_front
def test_what_nobody_has_signed_is_refused_and_makes_us_ask_no_more_than_twice(issuer: StubIssuer, front: str) -> None:
    table, (_, claims, how) = table_of(issuer, front), FRONTS[front]
    backend = backend_of(table)
    forged = [sign(claims, **{**how, "kid": f"unknown-{number}"}) for number in range(20)]
    forged.append(sign(claims, alg="ES256", key=OTHER_EC_KEY, kid="ec", typ="JWT"))
    unsigned = signed(front).rpartition(".")[0] + "."

    outcomes = [ask(backend, [(table["header"], token)]) for token in [*forged, unsigned, "x", ""]]

    assert {type(outcome) for outcome in outcomes} == {Reject}
    assert issuer.asked["/jwks"] <= 2


@every_front
def test_a_header_that_came_twice_is_refused(issuer: StubIssuer, front: str) -> None:
    table = table_of(issuer, front)
    backend = backend_of(table)

    outcome = ask(backend, [(table["header"], f"{signed(front)},{signed(front)}")])

    assert isinstance(outcome, Reject)


@every_front
def test_the_same_jwt_as_a_bearer_is_nobodys(issuer: StubIssuer, front: str) -> None:
    assert backend_of(table_of(issuer, front)).authenticate(Bearer(signed(front))) == Skip()


def test_two_headers_that_name_two_people_are_refused(issuer: StubIssuer) -> None:
    tables = [table_of(issuer, "iap"), table_of(issuer, "access")]
    backend = backend_of(*tables)

    def both(second: str) -> Outcome:
        token = signed("access", email=second, sub=f"of {second}")
        return ask(backend, [(tables[0]["header"], signed("iap")), (tables[1]["header"], token)])

    assert isinstance(both("alice@example.org"), Accept)
    assert isinstance(both("bob@example.org"), Reject)


@pytest.mark.parametrize(
    "claims", [{"email_verified": False}, {"email_verified": "false"}, {"email": "a,b@example.org"}]
)
def test_an_address_that_is_not_verified_stays_so(issuer: StubIssuer, claims: dict[str, Any]) -> None:
    table = table_of(issuer, "iap")

    assert isinstance(ask(backend_of(table), [(table["header"], signed("iap", **claims))]), Reject)


def test_an_address_counts_only_where_the_settings_say_that_the_proxy_verifies_it(issuer: StubIssuer) -> None:
    table: dict[str, Any] = {**table_of(issuer, "iap"), "proxy_verifies_email": False}

    assert isinstance(ask(backend_of(table), [(table["header"], signed("iap"))]), Reject)


def test_an_issuer_whose_keys_cannot_be_had_is_503(issuer: StubIssuer) -> None:
    issuer.says["/jwks"] = Answer(status=500)
    table = table_of(issuer, "iap")

    with pytest.raises(BackendUnavailable):
        ask(backend_of(table), [(table["header"], signed("iap"))])


@pytest.mark.parametrize(
    ("changed", "trusted", "problem"),
    [
        ({}, [], "trusted_proxies is empty"),
        ({"header": "Authorization"}, None, r"issuers\.0\.header .*: Authorization means something else"),
        ({"introspection": True, "client_id": "c", "client_secret": "s"}, None, "introspection: not for a table"),
        ({"sign_in": "google", "client_id": "c"}, None, "sign_in: not for a table with header"),
        ({"header": "", "signer": SIGNER}, None, "signer: only for a table with header|belong together"),
        ({"header": "", "proxy_verifies_email": True}, None, "only for a table with header"),
        ({"signer": SIGNER}, None, "belong together"),
        ({"jwks_url": "https://a.example/{kid}"}, None, "belong together"),
        ({"jwks_url": "https://{kid}.example/{kid}", "signer": SIGNER}, None, "last segment"),
        ({"jwks_url": "http://a.example/{kid}", "signer": SIGNER}, None, "must be https"),
        ({"audience": []}, None, "audience: missing"),
    ],
)
def test_settings_that_do_not_fit_together_stop_the_start(
    issuer: StubIssuer, changed: dict[str, Any], trusted: list[str] | None, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        backend_of({**table_of(issuer, "iap"), **changed}, trusted=trusted)


def test_a_header_belongs_to_one_table(issuer: StubIssuer) -> None:
    table = table_of(issuer, "iap")

    with pytest.raises(ConfigError, match=r"issuers\[1\]\.header: .*join the two"):
        backend_of(table, {**table, "issuer": "https://b.example"})


# AWS


def balanced(
    *,
    header: Mapping[str, Any] | None = None,
    key: ec.EllipticCurvePrivateKey = EC_KEY,
    padding: bool = True,
    **changed: Any,
) -> str:
    """Return what a load balancer sends: base64url with padding, which is signed, too."""
    head = {"typ": "JWT", "kid": KID, "alg": "ES256", "iss": "https://idp.example", "client": "web", "signer": SIGNER}
    claims = {
        "sub": "alice",
        "name": "Alice",
        "email": "alice@example.org",
        "exp": FromNow(120),
        "iss": "https://idp.example",
    }
    parts = ({**head, "exp": FromNow(120), **(header or {})}, {**claims, **changed})

    def encode(content: bytes) -> str:
        text = base64.urlsafe_b64encode(content).decode()
        return text if padding else text.rstrip("=")

    kept = ({name: value for name, value in part.items() if value is not None} for part in parts)
    text = ".".join(encode(json.dumps(part, default=written).encode()) for part in kept)
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(SHA256())))
    return f"{text}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@pytest.fixture
def balancer(issuer: StubIssuer) -> dict[str, Any]:
    pem = EC_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    issuer.says[f"/{KID}"] = Answer(pem)
    return {
        "issuer": "https://idp.example",
        "audience": ["web"],
        "header": "X-Amzn-Oidc-Data",
        "jwks_url": f"{issuer.url}/{{kid}}",
        "signer": SIGNER,
    }


@pytest.mark.parametrize("padding", [True, False])
def test_what_our_load_balancer_has_signed_names_the_caller(
    issuer: StubIssuer, balancer: dict[str, Any], padding: bool
) -> None:
    backend = backend_of(balancer)

    outcomes = [ask(backend, [(balancer["header"], balanced(padding=padding))]) for _ in range(3)]

    assert [outcome.identity.username for outcome in outcomes if isinstance(outcome, Accept)] == ["alice"] * 3
    assert issuer.asked[f"/{KID}"] == 1
    assert backend.probe() == "https://idp.example: each key is asked for by its id"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: balanced(header={"signer": SIGNER.replace("airflow", "evil")}), id="another balancer's"),
        pytest.param(
            lambda: balanced(header={"signer": SIGNER.replace("123456789012", "999")}), id="another account's"
        ),
        pytest.param(lambda: balanced(header={"signer": None}), id="nobody's"),
        pytest.param(lambda: balanced(header={"client": "other"}), id="another client's"),
        pytest.param(lambda: balanced(header={"iss": "https://evil.example"}), id="another issuer's"),
        pytest.param(lambda: balanced(iss="https://evil.example"), id="two issuers"),
        pytest.param(lambda: balanced(header={"alg": "HS256"}), id="another algorithm"),
        pytest.param(lambda: balanced(header={"alg": "none"}), id="no algorithm"),
        pytest.param(lambda: balanced(header={"kid": "../../evil"}), id="a path for a key"),
        pytest.param(lambda: balanced(header={"kid": None}), id="no key"),
        pytest.param(lambda: balanced(header={"exp": FromNow(-60)}), id="ended by its header"),
        pytest.param(lambda: balanced(exp=FromNow(-60)), id="ended by its claims"),
        pytest.param(lambda: balanced(exp=None, header={"exp": None}), id="without end"),
        pytest.param(lambda: balanced(exp=True), id="an end that is none"),
        pytest.param(lambda: balanced(exp=FromNow(9 * 10**8), header={"exp": None}), id="for ever"),
        pytest.param(lambda: balanced(key=OTHER_EC_KEY), id="another key's"),
        pytest.param(lambda: balanced(sub=None), id="of nobody"),
        pytest.param(lambda: balanced()[:-10] + "AAAAAAAA==", id="cut and filled"),
        pytest.param(lambda: balanced().rpartition(".")[0] + ".", id="unsigned"),
        pytest.param(lambda: f"{balanced()}, {balanced()}", id="twice"),
        pytest.param(lambda: "x" * 20_000, id="long"),
        pytest.param(lambda: "a.b.c", id="no JSON"),
        pytest.param(lambda: sign(IAP, alg="ES256", key=EC_KEY, kid=KID), id="another JWT"),
    ],
)
def test_what_our_load_balancer_has_not_signed_is_refused(balancer: dict[str, Any], make: Callable[[], str]) -> None:
    assert isinstance(ask(backend_of(balancer), [(balancer["header"], make())]), Reject)


@pytest.mark.parametrize(
    "body",
    [
        b"no PEM",
        RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        json.dumps({"keys": [jwk(EC_KEY.public_key(), "ec")]}).encode(),
    ],
)
def test_a_key_that_is_none_is_503(issuer: StubIssuer, balancer: dict[str, Any], body: bytes) -> None:
    issuer.says[f"/{KID}"] = Answer(body)

    with pytest.raises(BackendUnavailable):
        ask(backend_of(balancer), [(balancer["header"], balanced())])


def test_unknown_keys_are_asked_for_a_few_times_a_minute_and_leave_the_known_one_alone(
    issuer: StubIssuer, balancer: dict[str, Any]
) -> None:
    backend = backend_of(balancer)
    assert isinstance(ask(backend, [(balancer["header"], balanced())]), Accept)
    refused = 0

    for number in range(50):
        token = balanced(header={"kid": f"{KID[:-2]}{number:02x}"})
        try:
            refused += isinstance(ask(backend, [(balancer["header"], token)]), Reject)
        except BackendUnavailable:
            refused += 1

    assert refused == 50 - (KID[-2:] in [f"{number:02x}" for number in range(50)])
    assert sum(issuer.asked.values()) <= 7
    assert isinstance(ask(backend, [(balancer["header"], balanced())]), Accept)

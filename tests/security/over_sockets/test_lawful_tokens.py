"""What real issuers write is believed, and next to each such thing: what an attacker would make of it is not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from jwt.algorithms import RSAAlgorithm
from jwt.utils import base64url_encode

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.config import OidcIssuerSettings
from compat_auth.credentials import Bearer
from compat_auth.directory import DirectoryUser
from compat_auth.outcome import Accept, Outcome, Reject
from compat_auth_backends.oidc import OidcBackend
from compat_auth_backends.openid.issuer import Issuer
from support.from_now import FromNow
from support.stub_issuer import (
    AUDIENCE,
    EC_KEY,
    ED_KEY,
    OTHER_RSA_KEY,
    RSA_KEY,
    Answer,
    StubIssuer,
    jwk,
    running_issuer,
    sign,
)

HOUR_S = 3600
Ask = Callable[..., Outcome]


class Users:
    """One user, found by name or by e-mail address."""

    name = "airflow_db"

    def find(self, username: str) -> DirectoryUser | None:
        alice = DirectoryUser("alice", upstream_id="1")
        return alice if username in ("alice", "alice@example.org") else None


@pytest.fixture
def issuer() -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        yield stub


@pytest.fixture
def ask(issuer: StubIssuer) -> Ask:
    """Ask the oidc backend about a token; the same backend within a test, for the same settings."""
    backends: dict[str, OidcBackend] = {}

    def answer(token: str, **changed: Any) -> Outcome:
        settings = {"issuer": issuer.url, "audience": [AUDIENCE], **changed}
        key = json.dumps(settings, sort_keys=True)
        if key not in backends:
            table = OidcIssuerSettings.model_validate(settings)
            backends[key] = OidcBackend((Issuer(table, "oidc.issuers[0]"),), UserLookup((Users(),), needs_key=True))
        return backends[key].authenticate(Bearer(token))

    return answer


def signed_as_it_is(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """Return a token by the RSA key; what PyJWT would refuse to sign is in it, too."""
    signed = b".".join(base64url_encode(json.dumps(part).encode()) for part in (header, claims))
    return b".".join((signed, base64url_encode(RSAAlgorithm(RSAAlgorithm.SHA256).sign(signed, RSA_KEY)))).decode()


# --- the header ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [{"x5t": "rsa"}, {"x5t#S256": "rsa"}, {"x5t": "rsa", "x5t#S256": "rsa"}])
def test_a_thumbprint_of_the_certificate_is_allowed(issuer: StubIssuer, ask: Ask, header: Mapping[str, Any]) -> None:
    outcome = ask(issuer.token(header=header))

    assert isinstance(outcome, Accept)


@pytest.mark.parametrize("name", ["x5t", "x5t#S256", "x5t#s256"])
def test_a_thumbprint_chooses_no_key(issuer: StubIssuer, ask: Ask, name: str) -> None:
    issuer.keys = [jwk(RSA_KEY.public_key(), "rsa"), jwk(OTHER_RSA_KEY.public_key(), "other", **{name: "print"})]

    chosen = ask(sign(issuer.claims(), key=OTHER_RSA_KEY, **{name: "print"}))
    only = ask(sign(issuer.claims(), kid=None, **{name: "print"}))

    assert isinstance(chosen, Reject)
    assert isinstance(only, Reject)


@pytest.mark.parametrize("name", ["jku", "jwk", "x5u", "x5c", "crit", "zip"])
def test_a_header_that_brings_a_key_or_a_rule_stays_refused(issuer: StubIssuer, ask: Ask, name: str) -> None:
    outcome = ask(issuer.token(header={name: ["x"], "x5t": "print"}))

    assert isinstance(outcome, Reject)
    assert issuer.asked["/jwks"] == 0


@pytest.mark.parametrize("typ", ["at+jwt", "at+JWT", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])
def test_a_type_is_compared_as_a_media_type(issuer: StubIssuer, ask: Ask, typ: str) -> None:
    outcome = ask(issuer.token(header={"typ": typ}), types=["at+jwt"])

    assert isinstance(outcome, Accept)


@pytest.mark.parametrize("typ", ["jwt", "Jwt", "JWT", "application/jwt"])
def test_so_is_the_type_of_a_jwt_where_the_setting_has_it(issuer: StubIssuer, ask: Ask, typ: str) -> None:
    outcome = ask(issuer.token(header={"typ": typ}), types=["JWT"])

    assert isinstance(outcome, Accept)


@pytest.mark.parametrize(
    "typ",
    [
        "JWT", "jwt", "id_token+jwt", "logout+jwt", "at+jwt ", " at+jwt", "at+jwt\n", "at+jwt;q=1", "text/at+jwt",
        "application/application/at+jwt", "/at+jwt", "application/", "at+\u017fwt", "", None, ["at+jwt"], {"at+jwt": 1},
    ],
)  # fmt: skip
def test_another_type_is_another_type_in_any_case(issuer: StubIssuer, ask: Ask, typ: Any) -> None:
    outcome = ask(issuer.token(header={"typ": typ}))

    assert isinstance(outcome, Reject)


def test_letters_that_only_look_alike_in_lower_case_are_another_type(issuer: StubIssuer, ask: Ask) -> None:
    outcome = ask(issuer.token(header={"typ": "\u212a+jwt"}), types=["k+jwt"])

    assert isinstance(outcome, Reject)


# --- the keys --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kid", ["rsa", None])
def test_a_token_without_a_kid_is_believed_where_the_issuer_has_one_key(
    issuer: StubIssuer, ask: Ask, kid: str | None
) -> None:
    issuer.keys = [jwk(RSA_KEY.public_key(), "rsa", kid=kid), jwk(OTHER_RSA_KEY.public_key(), "enc", use="enc")]

    outcome = ask(sign(issuer.claims(), kid=None))

    assert isinstance(outcome, Accept)


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([jwk(RSA_KEY.public_key(), "a"), jwk(OTHER_RSA_KEY.public_key(), "b")], id="two"),
        pytest.param([jwk(RSA_KEY.public_key(), "a"), jwk(EC_KEY.public_key(), "b")], id="two-kinds"),
        pytest.param([jwk(OTHER_RSA_KEY.public_key(), "a")], id="another"),
        pytest.param([jwk(EC_KEY.public_key(), "a")], id="another-kind"),
        pytest.param([], id="none"),
    ],
)
def test_a_token_without_a_kid_is_refused_where_that_names_no_key(
    issuer: StubIssuer, ask: Ask, keys: list[Any]
) -> None:
    issuer.keys = keys

    outcome = ask(sign(issuer.claims(), kid=None))

    assert isinstance(outcome, Reject)


@pytest.mark.parametrize("kid", ["", 0, False, ["rsa"], {"rsa": 1}])
def test_a_kid_that_is_no_text_is_not_a_missing_one(issuer: StubIssuer, ask: Ask, kid: Any) -> None:
    issuer.keys = [jwk(RSA_KEY.public_key(), "rsa")]

    outcome = ask(signed_as_it_is({"alg": "RS256", "typ": "at+jwt", "kid": kid}, issuer.claims()))

    assert isinstance(outcome, Reject)


def test_forged_tokens_without_a_kid_do_not_reach_the_issuer_each_time(issuer: StubIssuer, ask: Ask) -> None:
    issuer.keys = [jwk(RSA_KEY.public_key(), "rsa")]

    outcomes = [ask(sign(issuer.claims(jti=str(number)), key=OTHER_RSA_KEY, kid=None)) for number in range(5)]

    assert all(isinstance(outcome, Reject) for outcome in outcomes)
    assert issuer.asked["/jwks"] <= 2


@pytest.mark.parametrize("member", ["alg", "use", "key_ops"])
def test_a_member_of_a_key_that_is_null_counts_as_missing(issuer: StubIssuer, ask: Ask, member: str) -> None:
    issuer.keys = [{**jwk(RSA_KEY.public_key(), "rsa"), member: None}]

    outcome = ask(issuer.token())

    assert isinstance(outcome, Accept)


@pytest.mark.parametrize("alg", ["", "none", "HS256", "ES256", 5, ["RS256"], {"RS256": 1}, False])
def test_a_key_whose_algorithm_is_no_algorithm_of_its_own_is_not_used(issuer: StubIssuer, ask: Ask, alg: Any) -> None:
    issuer.keys = [jwk(RSA_KEY.public_key(), "rsa", alg=alg), jwk(EC_KEY.public_key(), "ec")]

    outcome = ask(issuer.token())

    assert isinstance(outcome, Reject)


@pytest.mark.parametrize("alg", ["PS256", "RS512"])
def test_a_key_that_names_no_algorithm_is_still_for_one_only(issuer: StubIssuer, ask: Ask, alg: str) -> None:
    issuer.keys = [jwk(RSA_KEY.public_key(), "rsa", alg=None)]

    outcome = ask(sign(issuer.claims(), alg=alg))

    assert isinstance(outcome, Reject)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("signing", [{"key": EC_KEY, "alg": "ES256"}, {}, {"key": OTHER_RSA_KEY}])
def test_of_several_keys_with_one_kid_the_one_that_signed_is_found(
    issuer: StubIssuer, ask: Ask, signing: Mapping[str, Any], *, turned: bool
) -> None:
    keys = [jwk(key.public_key(), "rsa") for key in (EC_KEY, RSA_KEY, OTHER_RSA_KEY)]
    issuer.keys = keys[::-1] if turned else keys

    outcome = ask(sign(issuer.claims(), **signing))

    assert isinstance(outcome, Accept)


def test_of_several_keys_with_one_kid_none_verifies_what_none_has_signed(issuer: StubIssuer, ask: Ask) -> None:
    issuer.keys = [
        jwk(EC_KEY.public_key(), "rsa"),
        jwk(RSA_KEY.public_key(), "rsa"),
        {"kty": "oct", "kid": "rsa", "k": "eA"},
    ]

    outcomes = [
        ask(sign(issuer.claims(), key=OTHER_RSA_KEY)),
        ask(sign(issuer.claims(), alg="PS256")),
        ask(sign(issuer.claims(), key=ED_KEY, alg="EdDSA")),
    ]

    assert all(isinstance(outcome, Reject) for outcome in outcomes)


# --- the claims ------------------------------------------------------------------------------------------------------


def test_dates_may_have_a_fraction_and_end_no_later_by_it(issuer: StubIssuer, ask: Ask) -> None:
    now = time.time()

    outcome = ask(issuer.token(iat=now - 1.25, nbf=now - 1.25, exp=int(now) + 600.75))

    assert isinstance(outcome, Accept)
    assert outcome.identity.expires_at == int(now) + 600


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"exp": time.time() - 60.5}, id="expired"),
        pytest.param({"exp": 0.5}, id="the-epoch"),
        pytest.param({"exp": -1.5}, id="before-the-epoch"),
        pytest.param({"exp": 1e300}, id="never"),
        pytest.param({"exp": float("inf")}, id="infinity"),
        pytest.param({"exp": float("nan")}, id="not-a-number"),
        pytest.param({"exp": True}, id="true"),
        pytest.param({"exp": FromNow(60.0, str)}, id="a-text"),
        pytest.param({"exp": FromNow(60.0, lambda at: [at])}, id="a-list"),
        pytest.param({"nbf": FromNow(600.5)}, id="not-yet"),
        pytest.param({"iat": FromNow(600.5)}, id="from-the-future"),
        pytest.param({"nbf": float("nan")}, id="not-yet-a-number"),
        pytest.param({"iat": False}, id="issued-at-false"),
    ],
)
def test_a_fraction_opens_nothing_else(issuer: StubIssuer, ask: Ask, changed: Mapping[str, Any]) -> None:
    outcome = ask(issuer.token(**changed))

    assert not isinstance(outcome, Accept)


@pytest.mark.parametrize("lifetime_s", [24 * HOUR_S, 24 * HOUR_S + 5, 28 * HOUR_S])
def test_a_token_of_continuous_access_evaluation_lives_for_28_hours(
    issuer: StubIssuer, ask: Ask, lifetime_s: int
) -> None:
    now = int(time.time())

    outcome = ask(issuer.token(iat=now - 5, exp=now - 5 + lifetime_s))

    assert isinstance(outcome, Accept)


@pytest.mark.parametrize("iat", [True, False])
def test_the_longest_lifetime_is_a_setting(issuer: StubIssuer, ask: Ask, *, iat: bool) -> None:
    now = int(time.time())
    token = issuer.token(iat=now if iat else None, exp=now + 48 * HOUR_S)

    assert isinstance(ask(token), Reject)
    assert isinstance(ask(token, max_lifetime_s=48 * HOUR_S), Accept)
    assert isinstance(ask(token, max_lifetime_s=47 * HOUR_S), Reject)


@pytest.mark.parametrize("claim", ["client_id", "azp", "appid", "cid"])
def test_a_client_is_known_by_what_its_issuer_calls_it(issuer: StubIssuer, ask: Ask, claim: str) -> None:
    ours: dict[str, Any] = {"client_id": None, claim: "web"}
    theirs: dict[str, Any] = {"client_id": None, claim: "other"}

    assert isinstance(ask(issuer.token(**ours), clients=["web"]), Accept)
    assert isinstance(ask(issuer.token(**theirs), clients=["web"]), Reject)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"client_id": "other", "azp": "web", "appid": "web", "cid": "web"}, id="client_id-first"),
        pytest.param({"client_id": None, "azp": "other", "appid": "web", "cid": "web"}, id="then-azp"),
        pytest.param({"client_id": None, "appid": "other", "cid": "web"}, id="then-appid"),
        pytest.param({"client_id": None, "appid": ["web"]}, id="in-a-list"),
        pytest.param({"client_id": None, "cid": {"web": 1}}, id="in-an-object"),
        pytest.param({"client_id": None, "appid": ""}, id="empty"),
        pytest.param({"client_id": None, "appidacr": "web", "app_displayname": "web"}, id="a-display-name"),
        pytest.param({"client_id": None}, id="none"),
    ],
)
def test_a_weaker_claim_never_speaks_for_another_client(
    issuer: StubIssuer, ask: Ask, changed: Mapping[str, Any]
) -> None:
    outcome = ask(issuer.token(**changed), clients=["web"])

    assert isinstance(outcome, Reject)


def test_a_verified_address_in_words_is_believed_as_a_name_and_as_an_address(issuer: StubIssuer, ask: Ask) -> None:
    token = issuer.token(email="alice@example.org", email_verified="true")

    by_subject, by_address = ask(token), ask(token, username_claim="email")

    assert isinstance(by_subject, Accept)
    assert isinstance(by_address, Accept)
    assert by_subject.identity.email == "alice@example.org"


def test_an_introspection_answer_may_have_fractions_and_other_names(issuer: StubIssuer, ask: Ask) -> None:
    settings = {"introspection": True, "client_id": "c", "client_secret": "s", "clients": ["web"]}
    end = int(time.time()) + 60
    good = {"active": True, "sub": "alice", "aud": AUDIENCE, "cid": "web", "exp": end + 0.75, "nbf": end - 90.5}
    answers = {"good": good, "old": {**good, "exp": end - 90.5}, "true": {**good, "exp": True}}
    issuer.says["/introspect"] = lambda form: Answer(answers[form["token"]])

    outcomes = {token: ask(token, **settings) for token in answers}

    accepted = outcomes["good"]
    assert isinstance(accepted, Accept)
    assert accepted.identity.expires_at == end
    assert not isinstance(outcomes["old"], Accept)
    assert not isinstance(outcomes["true"], Accept)


def test_a_token_as_entra_v1_issues_it_is_believed(issuer: StubIssuer, ask: Ask) -> None:
    issuer.keys = [
        jwk(RSA_KEY.public_key(), "print", alg=None, x5t="print", x5c=["MIID"]),
        jwk(OTHER_RSA_KEY.public_key(), "next", alg=None, x5t="next", x5c=["MIID"]),
    ]
    now = int(time.time())
    claims = issuer.claims(
        client_id=None, appid="web", appidacr="1", ver="1.0", oid="1", tid="2", scp="user_impersonation",
        iat=now - 300, nbf=now - 300, exp=now + 27 * HOUR_S,
    )  # fmt: skip

    outcome = ask(sign(claims, kid="print", x5t="print", typ="JWT"), types=["JWT"], clients=["web"])

    assert isinstance(outcome, Accept)

"""The oidc backend: what may be configured, for how long a yes counts, and the module as Airflow 2 would use it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest

from compat_auth.authn.chain import Chain, Mode
from compat_auth.backend import CredentialKind
from compat_auth.cli.diagnosis.checks import examine
from compat_auth.config import Settings, load_settings, parse_settings
from compat_auth.credentials import Basic, Bearer
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.guard import current_identity
from compat_auth.outcome import Accept, Reject, Skip
from compat_auth_backends import oidc
from compat_auth_backends.oidc import OidcBackend
from compat_auth_backends.openid.issuer import Issuer
from support.stand_ins import Clock, scripted
from support.stub_issuer import AUDIENCE, Answer, StubIssuer, running_issuer

INTROSPECTION = {"introspection": True, "client_id": "gateway", "client_secret": "secret"}


@pytest.fixture
def issuer() -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        yield stub


def settings_of(*issuers: dict[str, Any], **sections: Any) -> Settings:
    return parse_settings({"oidc": {"issuers": list(issuers)}, **sections}, origin="test")


def of(issuer: StubIssuer, **changed: Any) -> dict[str, Any]:
    return {"issuer": issuer.url, "audience": AUDIENCE, **changed}


@pytest.mark.parametrize(
    ("issuers", "problem"),
    [
        pytest.param([], "empty; name one", id="none"),
        pytest.param([{"issuer": "https://a.example"}], r"issuers\[0\].audience: missing", id="no-audience"),
        pytest.param([{"issuer": "https://a.example", "audience": ["x", ""]}], "an empty name", id="empty-audience"),
        pytest.param(
            [{"issuer": "https://a.example", "audience": "x"}] * 2, r"issuers\[1\]: .* is there twice", id="twice"
        ),
        pytest.param([{"issuer": "http://a.example", "audience": "x"}], "must be https", id="plain-http"),
        pytest.param([{"issuer": "a", "audience": "x"}], r"issuers\[0\].issuer", id="no-url-to-discover-at"),
        pytest.param(
            [{"issuer": "https://a.example", "audience": "x", "jwks_url": "http://a.example/"}],
            r"issuers\[0\].jwks_url: must be https",
            id="plain-jwks",
        ),
        pytest.param(
            [{"issuer": "https://a.example", "audience": "x", "introspection": True}], "client_id", id="no-client"
        ),
        pytest.param(
            [{"issuer": "https://a.example", "audience": "x", "introspection": True, "client_id": "c"}],
            "client_secret: missing",
            id="no-secret",
        ),
        pytest.param(
            [{"issuer": "https://a.example", "audience": "x", "userinfo": True, "scope": "read"}],
            "UserInfo does not tell it",
            id="scope-that-nobody-tells",
        ),
        pytest.param(
            [{"issuer": "https://a.example", "audience": "x", "liveness": True}],
            "needs userinfo",
            id="liveness-of-what",
        ),
        pytest.param(
            [
                {"issuer": "https://a.example", "audience": "x", "userinfo": True},
                {"issuer": "https://b.example", "audience": "x", "userinfo": True},
            ],
            "their tokens look alike",
            id="two-without-prefix",
        ),
        pytest.param(
            [{"issuer": "https://a.example", "audience": "x", **INTROSPECTION, "client_secret_file": "/nowhere"}],
            "remove one",
            id="two-secrets",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_a_configuration_error(
    issuers: list[dict[str, Any]], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        OidcBackend.from_settings(settings_of(*issuers))


def test_a_misspelt_key_of_an_issuer_gets_a_hint() -> None:
    with pytest.raises(ConfigError, match=r"oidc.issuers.0.audiense .*did you mean 'audience'"):
        settings_of({"issuer": "https://a.example", "audiense": "x"})


def test_issuers_can_be_set_in_the_environment_as_json(tmp_path: Path) -> None:
    settings = load_settings(environ={"COMPAT_AUTH_OIDC__ISSUERS": '[{"issuer": "https://a.example"}]'})

    assert [table.issuer for table in settings.oidc.issuers] == ["https://a.example"]


def test_a_broken_list_in_the_environment_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="JSON list"):
        load_settings(environ={"COMPAT_AUTH_OIDC__ISSUERS": "https://a.example"})


def test_the_secret_may_come_from_a_file(issuer: StubIssuer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s\n")
    issuer.says["/introspect"] = Answer({"active": True, "sub": "alice", "aud": AUDIENCE})
    table = {**INTROSPECTION, "client_secret": "", "client_secret_file": str(tmp_path / "secret")}

    OidcBackend.from_settings(settings_of(of(issuer, **table))).authenticate(Bearer("opaque"))

    assert issuer.received[-1]["authorization"] == "Basic Z2F0ZXdheTpz"


def test_another_credential_is_not_its_kind(issuer: StubIssuer) -> None:
    assert OidcBackend.from_settings(settings_of(of(issuer))).authenticate(Basic("a", "b")) == Skip()


def test_a_signed_token_becomes_an_identity_that_ends_with_it(issuer: StubIssuer) -> None:
    claims = issuer.claims(email="a@example.org", email_verified=True)
    outcome = OidcBackend.from_settings(settings_of(of(issuer))).authenticate(Bearer(issuer.token(**claims)))

    assert isinstance(outcome, Accept)
    identity = outcome.identity
    assert (identity.username, identity.subject, identity.email) == ("alice", "alice", "a@example.org")
    assert identity.expires_at == claims["exp"]
    assert outcome.reusable_s == 60


@pytest.mark.parametrize(("amr", "mfa"), [(["pwd", "mfa"], True), (["pwd"], False), ("mfa", False), (None, False)])
def test_the_issuer_says_whether_several_factors_were_used(issuer: StubIssuer, amr: object, mfa: bool) -> None:
    outcome = OidcBackend.from_settings(settings_of(of(issuer))).authenticate(Bearer(issuer.token(amr=amr)))

    assert isinstance(outcome, Accept)
    assert outcome.identity.mfa is mfa


def test_an_answer_counts_for_ten_minutes_and_a_reuse_never_longer(issuer: StubIssuer) -> None:
    clock = Clock()
    clock.time = time.time()
    issuer.says["/introspect"] = Answer({"active": True, "sub": "alice", "aud": AUDIENCE})
    table = settings_of(of(issuer, **INTROSPECTION)).oidc.issuers[0]
    checker = Issuer(table, "test", now=clock)

    first = checker.check_opaque("opaque")
    clock.time += 599
    second = checker.check_opaque("opaque")
    clock.time += 1
    checker.check_opaque("opaque")

    assert first.believed_until == second.believed_until == clock.time
    assert issuer.asked["/introspect"] == 2


def test_an_answer_never_outlives_the_token(issuer: StubIssuer) -> None:
    clock = Clock()
    clock.time = float(int(time.time()))
    exp = int(clock.time) + 30
    issuer.says["/introspect"] = Answer({"active": True, "sub": "alice", "aud": AUDIENCE, "exp": exp})
    checker = Issuer(settings_of(of(issuer, **INTROSPECTION)).oidc.issuers[0], "test", now=clock)

    vouched = checker.check_opaque("opaque")

    assert (vouched.expires_at, vouched.believed_until) == (exp, exp)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param(Answer(status=404), "answered 404", id="not-there"),
        pytest.param(Answer(b"<html>"), "not JSON", id="html"),
        pytest.param(None, "set jwks_url", id="keys-over-plain-http"),
    ],
)
def test_a_discovery_that_cannot_be_used_is_unavailable(
    issuer: StubIssuer, answer: Answer | None, problem: str
) -> None:
    issuer.document["jwks_uri"] = "http://login.example.org/jwks"
    if answer is not None:
        issuer.says["/.well-known/openid-configuration"] = answer
    backend = OidcBackend.from_settings(settings_of(of(issuer)))

    with pytest.raises(BackendUnavailable, match=problem):
        backend.authenticate(Bearer(issuer.token()))


def test_an_issuer_whose_endpoints_are_configured_need_not_be_a_url(issuer: StubIssuer) -> None:
    table = {**of(issuer, jwks_url=f"{issuer.url}/jwks"), "issuer": "our own issuer"}

    outcome = OidcBackend.from_settings(settings_of(table)).authenticate(Bearer(issuer.token(iss="our own issuer")))

    assert isinstance(outcome, Accept)
    assert issuer.asked["/.well-known/openid-configuration"] == 0


def test_several_issuers_are_told_apart_by_name_and_prefix() -> None:
    with running_issuer() as one, running_issuer() as two:
        two.says["/introspect"] = Answer({"active": True, "sub": "two", "aud": AUDIENCE})
        one.says["/introspect"] = Answer({"active": True, "sub": "one", "aud": AUDIENCE})
        backend = OidcBackend.from_settings(
            settings_of(of(one, **INTROSPECTION), of(two, opaque_prefix="two-", **INTROSPECTION))
        )
        tokens = [one.token(sub="signed-one"), two.token(sub="signed-two"), "two-x", "other"]

        outcomes = [backend.authenticate(Bearer(token)) for token in tokens]

        accepted = [outcome.identity.username for outcome in outcomes if isinstance(outcome, Accept)]
        # The stubs share a signing key, so that only the name can tell them apart.
        assert accepted == ["signed-one", "signed-two", "two", "one"]
        assert (one.asked["/introspect"], two.asked["/introspect"]) == (1, 1)


def test_a_provider_that_is_down_is_asked_once_and_then_has_a_pause(issuer: StubIssuer) -> None:
    table = of(issuer, **INTROSPECTION) | {"introspection": "http://127.0.0.1:9/introspect"}
    backend = OidcBackend.from_settings(settings_of(table))

    with pytest.raises(BackendUnavailable, match="ConnectionRefusedError"):
        backend.authenticate(Bearer("one"))
    with pytest.raises(BackendUnavailable, match="a moment ago"):
        backend.authenticate(Bearer("two"))


def test_check_tells_how_many_keys_an_issuer_publishes(issuer: StubIssuer) -> None:
    findings = {finding.what: finding for finding in examine(chain_of(issuer))}

    assert findings["backend oidc"].detail == f"{issuer.url} publishes 2 keys"


@pytest.mark.parametrize(
    ("keys", "document", "problem"),
    [
        pytest.param([], {}, "no key for any of RS256", id="no-keys"),
        pytest.param(None, {}, "no list of keys", id="no-jwks"),
        pytest.param([], {"introspection_endpoint": None}, "set introspection to its URL", id="no-endpoint"),
        pytest.param([], {"issuer": "https://other.example"}, "an issuer that is not", id="another-issuer"),
    ],
)
def test_check_tells_what_is_wrong_with_an_issuer(
    issuer: StubIssuer, keys: list[object] | None, document: dict[str, Any], problem: str
) -> None:
    issuer.says["/jwks"] = Answer({"keys": keys})
    issuer.document.update(document)

    findings = {finding.what: finding for finding in examine(chain_of(issuer))}

    assert problem in findings["backend oidc"].problem
    assert findings["backend oidc"].exit_code == 69


def chain_of(issuer: StubIssuer) -> Settings:
    """Return the settings of a chain that believes the issuer, before an upstream that is not there."""
    return settings_of(of(issuer, **INTROSPECTION), auth_backends=["oidc"], upstream={"url": "http://127.0.0.1:9"})


def test_a_refusal_says_invalid_token_and_an_invitation_does_not(issuer: StubIssuer) -> None:
    backend = OidcBackend.from_settings(settings_of(of(issuer), basic_auth={"realm": "Lab"}))

    outcome = backend.authenticate(Bearer(issuer.token(aud="other")))

    assert isinstance(outcome, Reject)
    assert outcome.challenges == ('Bearer realm="Lab", error="invalid_token"',)
    assert backend.challenges() == ('Bearer realm="Lab"',)


@pytest.mark.parametrize("mode", ["strict", "airflow2"])
def test_what_says_that_a_token_is_bad_goes_before_another_backends_invitation(issuer: StubIssuer, mode: Mode) -> None:
    takes_bearer: frozenset[CredentialKind] = frozenset({Bearer})
    first = scripted("first", Skip(), takes=takes_bearer, invites=("Bearer",))
    backend = OidcBackend.from_settings(settings_of(of(issuer)))

    answer = Chain((first, backend), mode).ask(Bearer(issuer.token(aud="other")))

    # Airflow 2 sends no challenge unless its list ends otherwise; see the chain.
    assert answer.challenges == (('Bearer realm="Airflow", error="invalid_token"',) if mode == "strict" else ())


def test_the_module_keeps_airflow_2s_contract(issuer: StubIssuer) -> None:
    app = flask.Flask("airflow")
    app.config["COMPAT_AUTH"] = {"oidc": {"issuers": [of(issuer)]}}
    oidc.init_app(app)
    oidc.init_app(app)

    @app.get("/")
    @oidc.requires_authentication
    def view() -> str:
        return current_identity.username

    client = app.test_client()
    good = client.get("/", headers={"Authorization": f"Bearer {issuer.token()}"})
    bad = client.get("/", headers={"Authorization": f"Bearer {issuer.token(aud='other')}"})

    assert (good.status_code, good.text) == (200, "alice")
    assert (bad.status_code, bad.headers["WWW-Authenticate"]) == (
        401,
        'Bearer realm="Airflow", error="invalid_token"',
    )
    assert oidc.CLIENT_AUTH is None

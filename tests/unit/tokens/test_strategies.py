from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from compat_auth.backend import Backend
from compat_auth.config import Settings
from compat_auth.credentials import Absent, Basic, Bearer, Unrecognised
from compat_auth.errors import BackendUnavailable, ConfigError, KeyFileError, NotAuthenticated, NotPermitted
from compat_auth.identity import Identity, Token
from compat_auth.tokens.cache import TokenCache
from compat_auth.tokens.claims import ClaimProfile
from compat_auth.tokens.jose.jwk import SigningKey
from compat_auth.tokens.jose.jwt import shared_secret, shared_secret_verifier, verify
from compat_auth.tokens.jose.unverified_claims import read_payload
from compat_auth.tokens.keys.keys import KeyRing, create_keys
from compat_auth.tokens.strategies import (
    Exchange,
    Kind,
    Minted,
    Strategy,
    brings_no_password,
    build_strategy,
    open_key_ring,
    public_keys,
    require_unbound,
)
from compat_auth.tokens.upstream_login import UpstreamLogin

NOW = 1_800_000_000
SECRET = "0123456789abcdef" * 4
ANNA = Identity("anna", "basic_auth", upstream_id="7")
BASIC = Basic("anna", "right")


class Clock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.moment = NOW

    def __call__(self) -> int:
        return self.moment


class Login:
    """The upstream's login, counting; each token is another."""

    def __init__(self, clock: Clock, lifetime_s: int = 1000) -> None:
        self.clock = clock
        self.lifetime_s = lifetime_s
        self.calls: list[tuple[str, str]] = []
        self.answer: Callable[[], Token | None] = self.next_token

    def next_token(self) -> Token:
        return Token(f"a.b.{len(self.calls)}", self.clock.moment + self.lifetime_s)

    def log_in(self, username: str, password: str) -> Token | None:
        self.calls.append((username, password))
        return self.answer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def login(clock: Clock) -> Login:
    return Login(clock)


@pytest.fixture
def exchange(login: Login, clock: Clock) -> Exchange:
    return Exchange(cast("UpstreamLogin", login), TokenCache(100, clock), b"k" * 32)


def settings(**token: Any) -> Settings:
    return Settings.model_validate({"upstream": {"url": "http://127.0.0.1:1"}, "token": token})


# exchange


def test_an_exchanged_token_is_kept_for_the_same_caller(exchange: Exchange, login: Login) -> None:
    first = exchange.obtain(ANNA, BASIC, fresh=False)
    second = exchange.obtain(ANNA, BASIC, fresh=False)

    assert first is second
    assert login.calls == [("anna", "right")]


@pytest.mark.parametrize(
    ("identity", "credential"),
    [
        pytest.param(ANNA, Basic("anna", "other"), id="another-password"),
        pytest.param(ANNA, Basic("annar", "ight"), id="another-split-of-the-pair"),
        pytest.param(replace(ANNA, username="berta"), BASIC, id="another-user"),
        pytest.param(replace(ANNA, roles=("Admin",)), BASIC, id="another-role"),
    ],
)
def test_a_kept_token_is_nobody_elses(exchange: Exchange, login: Login, identity: Identity, credential: Basic) -> None:
    kept = exchange.obtain(ANNA, BASIC, fresh=False)

    other = exchange.obtain(identity, credential, fresh=False)

    assert other is not kept
    assert len(login.calls) == 2


def test_a_refused_token_is_replaced(exchange: Exchange) -> None:
    refused = exchange.obtain(ANNA, BASIC, fresh=False)

    fresh = exchange.obtain(ANNA, BASIC, fresh=True)

    assert fresh is not refused
    assert exchange.obtain(ANNA, BASIC, fresh=False) is fresh


@pytest.mark.parametrize(("lifetime_s", "margin_s"), [(1000, 60), (100, 10)])
def test_a_token_is_renewed_shortly_before_its_end(
    exchange: Exchange, login: Login, clock: Clock, lifetime_s: int, margin_s: int
) -> None:
    login.lifetime_s = lifetime_s
    first = exchange.obtain(ANNA, BASIC, fresh=False)
    clock.moment = NOW + lifetime_s - margin_s - 1
    before = exchange.obtain(ANNA, BASIC, fresh=False)

    clock.moment += 1
    after = exchange.obtain(ANNA, BASIC, fresh=False)

    assert before is first
    assert after is not first


def test_a_password_that_the_upstream_refuses_gets_no_token(exchange: Exchange, login: Login) -> None:
    login.answer = lambda: None

    with pytest.raises(NotAuthenticated) as refusal:
        exchange.obtain(ANNA, BASIC, fresh=False)

    assert "right" not in str(refusal.value)


@pytest.mark.parametrize("credential", [Absent(), Bearer("t")])
def test_an_exchange_needs_a_password(exchange: Exchange, credential: Absent | Bearer) -> None:
    with pytest.raises(NotPermitted, match="key_pair"):
        exchange.obtain(ANNA, credential, fresh=False)


def test_a_failure_is_not_kept(exchange: Exchange, login: Login) -> None:
    def fail() -> Token:
        raise BackendUnavailable("down")

    login.answer = fail
    with pytest.raises(BackendUnavailable):
        exchange.obtain(ANNA, BASIC, fresh=False)

    login.answer = login.next_token

    assert exchange.obtain(ANNA, BASIC, fresh=False).value == "a.b.2"


def test_a_refused_token_does_not_come_back_when_no_other_can_be_had(exchange: Exchange, login: Login) -> None:
    exchange.obtain(ANNA, BASIC, fresh=False)
    login.answer = lambda: None
    with pytest.raises(NotAuthenticated):
        exchange.obtain(ANNA, BASIC, fresh=True)

    with pytest.raises(NotAuthenticated):
        exchange.obtain(ANNA, BASIC, fresh=False)


@pytest.mark.parametrize("outcome", ["token", "failure"])
def test_callers_at_the_same_time_share_one_login(exchange: Exchange, login: Login, outcome: str) -> None:
    gate = threading.Event()
    got: list[object] = []

    def slow() -> Token:
        gate.wait(5)
        if outcome == "failure":
            raise BackendUnavailable("down")
        return login.next_token()

    def obtain() -> None:
        try:
            got.append(exchange.obtain(ANNA, BASIC, fresh=False))
        except BackendUnavailable as exc:
            got.append(exc)

    login.answer = slow
    threads = [threading.Thread(target=obtain) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()

    assert len(got) == 8
    # A thread that came after a failure may have asked again; after a token nobody may.
    assert outcome == "failure" or (len(login.calls) == 1 and len(set(map(id, got))) == 1)


def test_no_more_tokens_are_kept_than_configured(login: Login, clock: Clock) -> None:
    exchange = Exchange(cast("UpstreamLogin", login), TokenCache(2, clock), b"k" * 32)
    for name in ("a", "b", "c", "a"):
        exchange.obtain(ANNA, Basic(name, "x"), fresh=False)

    assert [name for name, _ in login.calls] == ["a", "b", "c", "a"]


def test_a_strategy_shows_no_secret_in_its_repr() -> None:
    exchange = build_strategy(settings())
    assert isinstance(exchange, Exchange)

    shown = repr(exchange)

    assert repr(exchange.digest_key) not in shown


# minted


def test_a_shared_secret_mints_what_the_upstream_verifies(clock: Clock) -> None:
    strategy = build_strategy(settings(strategy="shared_secret", secret=SECRET), now=clock)

    token = strategy.obtain(ANNA, Absent(), fresh=False)

    keys = {"not-used": shared_secret_verifier(SECRET)}
    claims = verify(token.value, keys, audience="apache-airflow", issuer=None, now=NOW)
    assert (claims["sub"], claims["exp"], token.expires_at) == ("7", NOW + 600, NOW + 600)


def test_a_key_pair_mints_what_the_published_keys_verify(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "keys.json"
    create_keys(file, algorithm="EdDSA", now=NOW)
    strategy = build_strategy(settings(strategy="key_pair", key_file=str(file), issuer="us"), now=clock)

    token = strategy.obtain(ANNA, Absent(), fresh=False)

    keys = KeyRing(file, now=clock).verifying_keys()
    assert verify(token.value, keys, audience="apache-airflow", issuer="us", now=NOW)["sub"] == "7"


def test_a_minted_token_is_reused_until_shortly_before_its_end(clock: Clock) -> None:
    strategy = build_strategy(settings(strategy="shared_secret", secret=SECRET), now=clock)
    first = strategy.obtain(ANNA, Absent(), fresh=False)
    clock.moment = NOW + 539
    before = strategy.obtain(ANNA, Bearer("another"), fresh=False)

    clock.moment = NOW + 540
    after = strategy.obtain(ANNA, Absent(), fresh=False)

    assert before is first
    assert after.expires_at == NOW + 1140


@pytest.mark.parametrize(
    "other",
    [
        replace(ANNA, upstream_id="8"),
        replace(ANNA, username="berta"),
        replace(ANNA, expires_at=NOW + 60),
        replace(ANNA, backend="kerberos"),
    ],
)
def test_a_minted_token_is_nobody_elses(clock: Clock, other: Identity) -> None:
    strategy = build_strategy(settings(strategy="shared_secret", secret=SECRET), now=clock)
    first = strategy.obtain(ANNA, Absent(), fresh=False)

    second = strategy.obtain(other, Absent(), fresh=False)

    assert second.value != first.value


def test_a_refused_minted_token_is_replaced(clock: Clock) -> None:
    strategy = build_strategy(settings(strategy="shared_secret", secret=SECRET), now=clock)
    refused = strategy.obtain(ANNA, Absent(), fresh=False)

    fresh = strategy.obtain(ANNA, Absent(), fresh=True)

    assert fresh.value != refused.value


def test_what_an_older_key_has_signed_is_not_reused(clock: Clock) -> None:
    keys = [SigningKey("new", "HS512", SECRET.encode()), replace(shared_secret(SECRET), kid="old")]
    strategy = Minted(keys.pop, ClaimProfile("airflow-fab", "a", "", 600), TokenCache(10, clock), clock)
    old = strategy.obtain(ANNA, Absent(), fresh=False)

    new = strategy.obtain(ANNA, Absent(), fresh=False)

    assert new.value != old.value


@pytest.mark.parametrize(("kind", "ttl_s"), [("token", 86400), ("cli", 3600)])
def test_an_issued_token_is_the_callers_alone_and_lives_as_long_as_airflows(
    clock: Clock, kind: Kind, ttl_s: int
) -> None:
    strategy = build_strategy(settings(strategy="shared_secret", secret=SECRET), now=clock)
    kept = strategy.obtain(ANNA, Absent(), fresh=False)

    first, second = (strategy.issue(ANNA, Absent(), kind) for _ in range(2))

    assert len({kept.value, first.value, second.value}) == 3
    assert first.expires_at == NOW + ttl_s
    assert strategy.obtain(ANNA, Absent(), fresh=False) is kept


def test_an_issued_token_ends_with_its_credential(clock: Clock) -> None:
    strategy = build_strategy(settings(strategy="shared_secret", secret=SECRET), now=clock)

    token = strategy.issue(replace(ANNA, expires_at=NOW + 90), Absent(), "token")

    assert token.expires_at == NOW + 90


def test_an_issued_token_of_the_upstream_is_from_a_login_of_its_own(exchange: Exchange, login: Login) -> None:
    kept = exchange.obtain(ANNA, BASIC, fresh=False)

    issued = exchange.issue(ANNA, BASIC, "token")

    assert issued != kept
    assert len(login.calls) == 2


def test_the_upstreams_token_that_would_outlive_the_credential_is_not_given(exchange: Exchange) -> None:
    with pytest.raises(NotPermitted, match="outlive"):
        exchange.issue(replace(ANNA, expires_at=NOW + 999), BASIC, "token")


def test_the_upstream_is_asked_for_a_password_only(exchange: Exchange) -> None:
    with pytest.raises(NotPermitted, match="needs a password"):
        exchange.issue(ANNA, Bearer("ticket"), "token")


def test_a_token_for_the_command_line_is_asked_for_at_its_own_door(exchange: Exchange) -> None:
    asked: list[str] = []

    class Recording(UpstreamLogin):
        def log_in(self, username: str, password: str) -> Token | None:
            del username, password
            asked.append(self.path)
            return Token("a.b.c", NOW + 3600)

    login = Recording("127.0.0.1", 1, "/base/auth/token", None, 1, 1)

    replace(exchange, login=login).issue(ANNA, BASIC, "cli")

    assert asked == ["/base/auth/token/cli"]


# What cannot work is said at the start


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        pytest.param({"strategy": "shared_secret"}, r"\[token\] secret: missing", id="no-secret"),
        pytest.param({"strategy": "shared_secret", "secret": "short"}, r"\[token\] secret: 5 bytes", id="short-secret"),
        pytest.param(
            {"strategy": "shared_secret", "secret": SECRET, "algorithm": "EdDSA"}, "algorithm", id="secret-for-eddsa"
        ),
        pytest.param({"strategy": "key_pair"}, r"\[token\] key_file: missing", id="no-key-file"),
        pytest.param({"strategy": "key_pair", "key_file": "/none/k.json"}, "keys create", id="key-file-not-there"),
        pytest.param(
            {"strategy": "key_pair", "key_file": "k.json", "algorithm": "HS512"}, "algorithm", id="key-for-hs512"
        ),
        pytest.param(
            {"strategy": "exchange", "audience": "urn:airflow.apache.org:task"}, "audience", id="execution-audience"
        ),
    ],
)
def test_a_strategy_that_cannot_work_is_a_configuration_error(token: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as refusal:
        build_strategy(settings(**token))

    assert SECRET not in str(refusal.value)


def test_an_exchange_without_an_upstream_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"upstream\.url"):
        build_strategy(Settings.model_validate({}))


def test_a_key_of_another_algorithm_is_a_configuration_error(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    create_keys(file, algorithm="EdDSA", now=NOW)

    with pytest.raises(ConfigError, match="RS256, but the key"):
        open_key_ring(settings(strategy="key_pair", key_file=str(file), algorithm="RS256"), now=lambda: NOW)


def test_an_exposed_key_file_is_a_configuration_error(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    create_keys(file, algorithm="EdDSA", now=NOW)
    file.chmod(0o644)

    with pytest.raises(KeyFileError, match="chmod 600"):
        build_strategy(settings(strategy="key_pair", key_file=str(file)))


@pytest.mark.parametrize(("issuer", "named"), [("us", {"iss": "us"}), ("", dict[str, str]())])
def test_a_copy_of_a_token_has_its_name_its_user_and_its_end(clock: Clock, issuer: str, named: dict[str, str]) -> None:
    strategy = build_strategy(settings(strategy="shared_secret", secret=SECRET, issuer=issuer), now=clock)

    copy = strategy.copy("7", "a" * 32, NOW + 60)

    assert copy is not None
    assert read_payload(copy) == {
        "sub": "7",
        "jti": "a" * 32,
        "exp": NOW + 60,
        "iat": NOW,
        "nbf": NOW,
        "aud": "apache-airflow",
        **named,
    }


def test_the_upstreams_own_token_cannot_be_copied(exchange: Exchange) -> None:
    strategy: Strategy = exchange

    assert strategy.copy("7", "a", NOW) is None


def test_a_token_of_the_upstream_is_not_given_for_one_that_is_bound_to_a_certificate() -> None:
    require_unbound(ANNA)

    with pytest.raises(NotPermitted, match="bound to a client certificate"):
        require_unbound(replace(ANNA, certificate="x" * 43))


class Taking:
    """A backend by what it accepts and believes."""

    def __init__(self, *kinds: type[object], decides_alone: bool = False, reads_peer: bool = False) -> None:
        self.kinds = frozenset(kinds)
        self.decides_alone = decides_alone
        self.reads_peer = reads_peer


@pytest.mark.parametrize(
    ("backend", "without"),
    [
        (Taking(Basic), False),
        (Taking(Basic, Bearer), False),
        (Taking(Absent), False),
        (Taking(Unrecognised), False),
        (Taking(Bearer), True),
        (Taking(), True),
        (Taking(Basic, decides_alone=True), True),
        (Taking(Absent, reads_peer=True), True),
    ],
)
def test_a_backend_that_takes_no_password_is_known(backend: Taking, without: bool) -> None:
    assert brings_no_password(cast("Backend", backend)) == without


def test_the_strategy_in_process_is_for_airflow_alone() -> None:
    with pytest.raises(ConfigError, match="in_process works inside Airflow only"):
        build_strategy(settings(strategy="in_process"))


def test_the_keys_of_a_key_pair_are_published_beside_those_that_are_trusted(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
    for file in (ours, theirs):
        create_keys(file, algorithm="EdDSA", now=NOW - 10**8)  # before today: the keys that are published are today's
    trusted = tmp_path / "jwks.json"
    trusted.write_bytes(json.dumps({"keys": KeyRing(str(theirs)).public_jwks()}).encode())

    of_pair = settings(strategy="key_pair", key_file=str(ours), trusted_jwks=[str(trusted)])
    published = json.loads(public_keys(of_pair)())
    alone = json.loads(public_keys(settings(trusted_jwks=[str(trusted)]))())

    kids = [KeyRing(str(file)).signing_key().kid for file in (ours, theirs)]
    assert sorted(key["kid"] for key in published["keys"]) == sorted(kids)
    assert [key["kid"] for key in alone["keys"]] == kids[1:]
    assert not any("d" in key for key in published["keys"])


def test_keys_that_cannot_be_trusted_are_an_error_before_the_first_question(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such key file"):
        public_keys(settings(strategy="key_pair", key_file=str(tmp_path / "none.json")))
    with pytest.raises(ConfigError, match="jwks"):
        public_keys(settings(trusted_jwks=[str(tmp_path / "none.json")]))

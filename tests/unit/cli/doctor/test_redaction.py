"""No secret remains in a text, known or not, however it is written."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from compat_auth.cli.doctor.known_secrets import secrets_of
from compat_auth.cli.doctor.redaction import HIDDEN, Redaction, masked, masked_strictly
from compat_auth.config import parse_settings

SECRET = 'canary "secret"/pässwörd+9'
UNKNOWN = "Zk3canaryQ8v1Lx7Tt5Rr2Nn9"
JWT = "eyJhbGciOiJIUzUxMiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ"
SETTINGS = {
    "database_url": "postgresql+psycopg://gate:canary-db%21pass@db.example:5432/gate",
    "redis_url": "rediss://:canary/redis@pass@redis.example:6379/0",
    "redis_secret": "canary-redis-secret-0123456789abcdef",
    "airflow_db": {"url": "mysql+pymysql://af:canary-airflow@db.example/af?password=canary-query"},
    "session": {"secrets": ["canary-session-new-0123456789abcdef", "canary-session-old-0123456789abcdef"]},
    "token": {"strategy": "shared_secret", "secret": "canary-token-secret"},
    "ldap": {"url": ["ldaps://ldap.example"], "base": "dc=x", "bind_dn": "cn=s", "bind_password": "canary-bind"},
    "oidc": {"issuers": [{"issuer": "https://id.example", "audience": ["a"], "client_secret": "canary-client"}]},
    "personal_tokens": {"notice_url": "https://hooks.example/x?sig=canary-hook", "pepper": "canary-pepper-0123456789"},
    "backends": {"acme": {"url": "https://acme.example", "shared": "canary-backend", "list": ["canary-in-list"]}},
}


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(SECRET, id="plain"),
        pytest.param(quote(SECRET, safe=""), id="percent"),
        pytest.param(base64.b64encode(SECRET.encode()).decode(), id="base64"),
        pytest.param(SECRET.encode().hex(), id="hex"),
        pytest.param(SECRET.replace('"', '\\"'), id="json"),
    ],
)
def test_a_known_secret_is_removed_in_each_form(written: str) -> None:
    redaction = Redaction(iter([SECRET]))

    cleaned = redaction.clean(f"before {written} after")

    assert written not in cleaned
    assert cleaned.startswith("before ")
    assert not redaction.remains_in(cleaned.encode())


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(f"Authorization: Basic {UNKNOWN}", id="basic"),
        pytest.param(f'"authorization": "Bearer {UNKNOWN}"', id="bearer-in-json"),
        pytest.param(f"refused Negotiate {UNKNOWN}==", id="negotiate"),
        pytest.param(f"Cookie: session={UNKNOWN}; _token={UNKNOWN}", id="cookie"),
        pytest.param(f"Set-Cookie: compat_auth={UNKNOWN}; HttpOnly", id="set-cookie"),
        pytest.param(f"X-Amz-Security-Token: {UNKNOWN}", id="x-token"),
        pytest.param(f"a JWT {JWT} in a line", id="jwt"),
        pytest.param(f"postgresql://gate:{UNKNOWN}@db/gate", id="url"),
        pytest.param(f"GET /login?code={UNKNOWN}&state={UNKNOWN}", id="query"),
        pytest.param(f"password = {UNKNOWN}", id="password"),
        pytest.param(f"client_secret='{UNKNOWN}'", id="client-secret"),
        pytest.param(f"token created cat_pat_{UNKNOWN}", id="personal-token"),
        pytest.param(f"key {UNKNOWN}{UNKNOWN}", id="opaque"),
        pytest.param(f"-----BEGIN PRIVATE KEY-----\n{UNKNOWN}\n-----END PRIVATE KEY-----", id="pem"),
        pytest.param(f"-----BEGIN EC PRIVATE KEY-----\n{UNKNOWN}", id="cut-off-pem"),
    ],
)
def test_what_looks_like_a_secret_is_removed_from_a_log(line: str) -> None:
    cleaned = Redaction(iter([])).clean_log(f"12:00 INFO start\n{line}\n")

    assert UNKNOWN not in cleaned
    assert "signature" not in cleaned
    assert "c2lnbmF0dXJl" not in cleaned
    assert cleaned.startswith("12:00 INFO start\n")


def test_a_line_of_the_audit_log_stays_readable() -> None:
    line = (
        '{"event": "verdict", "result": "reject", "backend": "basic_auth", "username": "alice", "path": '
        '"/api/v2/dags/example/dagRuns/scheduled__2026-11-30T00:00:00+00:00"}'
    )

    assert Redaction(iter([])).clean_log(line) == line


def test_settings_are_shown_with_hosts_and_without_secrets() -> None:
    settings = parse_settings(SETTINGS, origin="test")

    shown = masked(settings)

    assert "canary" not in repr(shown)
    assert "db.example:5432/gate" in repr(shown)
    assert "redis.example:6379" in repr(shown)
    assert isinstance(shown, dict)
    assert shown["token"]["secret"] == HIDDEN
    assert shown["session"]["secret"] == ""


def test_every_secret_of_the_settings_is_known() -> None:
    settings = parse_settings(SETTINGS, origin="test")

    known = set(secrets_of(settings, {}, {"MY_PASSWORD": "canary-environment"}, ""))

    assert {
        "canary-db%21pass", "canary-db!pass", "canary/redis@pass", "canary-airflow", "canary-query", "canary-bind",
        "canary-client", "canary-backend", "canary-in-list", "canary-environment", "canary-token-secret",
    } <= known  # fmt: skip


def test_data_of_unknown_meaning_keeps_its_shape_and_no_text() -> None:
    shown = masked_strictly({"upstrem": {"url": "canary", "on": True, "list": ["canary", 7]}})

    assert shown == {"upstrem": {"url": HIDDEN, "on": True, "list": [HIDDEN, HIDDEN]}}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("COMPAT_AUTH_PERSONAL_TOKENS__ENABLED", "enabled", id="section"),
        pytest.param("COMPAT_AUTH_TOKEN__TTL_S", "3600", id="seconds"),
        pytest.param("TOKENIZERS_PARALLELISM", "false", id="false"),
        pytest.param("AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_RECYCLE", "1800", id="number"),
        pytest.param("PWD", "/srv/compat-auth", id="folder"),
        pytest.param("OLDPWD", "/srv/compat-auth", id="old-folder"),
    ],
)
def test_an_ordinary_variable_is_no_secret(name: str, text: str) -> None:
    assert set(secrets_of(None, {}, {name: text}, "")) == set()


@pytest.mark.parametrize(
    ("name", "text", "secret"),
    [
        pytest.param("COMPAT_AUTH_TOKEN__SECRET", "canary", "canary", id="setting"),
        pytest.param("COMPAT_AUTH_REDIS_SECRET", "canary", "canary", id="no-section"),
        pytest.param("COMPAT_AUTH_BACKENDS__ACME__SHARED", "canary", "canary", id="backend"),
        pytest.param("COMPAT_AUTH_SESSION__SECRETS", "one,canary", "canary", id="list"),
        pytest.param("COMPAT_AUTH_OIDC__ISSUERS", '[{"client_secret": "canary"}]', "canary", id="json"),
        pytest.param("AIRFLOW_CONN_MY__DB", "canary", "canary", id="connection"),
        pytest.param("AIRFLOW__SECRETS__BACKEND_KWARGS", "canary", "canary", id="section-of-airflow"),
        pytest.param("MY_PASSWORD", "12345678", "12345678", id="digits"),
        pytest.param("COMPAT_AUTH_DATABASE_URL", "postgresql://u:p@ss/w0rd@pg/d", "p@ss/w0rd", id="url"),
        pytest.param("BROKER", "redis://:one@a,redis://:canary@b", "canary", id="second-url"),
        pytest.param("HTTP_PROXY", "http://u:can%40ary@proxy:3128", "can@ary", id="encoded"),
    ],
)
def test_a_secret_of_the_environment_is_known(name: str, text: str, secret: str) -> None:
    assert secret in set(secrets_of(None, {}, {name: text}, ""))


def test_a_url_in_a_wrong_file_is_known() -> None:
    assert "p@ss/w0rd" in set(secrets_of(None, {"database_url": "postgresql://u:p@ss/w0rd@pg/d"}, {}, ""))


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:p@ss/w0rd@pg/d", "redis://:w0rd/@x@pg", "amqp://u:w0rd:@@pg", "https://w0rd@pg/", "a://x@w0rd@pg"],
)
def test_a_password_in_a_url_is_removed_to_the_last_at(url: str) -> None:
    cleaned = Redaction(iter([])).clean_log(f"cannot ask {url} at noon\n")

    assert "w0rd" not in cleaned
    assert "@pg" in cleaned
    assert cleaned.endswith(" at noon\n")


@pytest.mark.parametrize("secret", ["hidden", "(hid", "idde", "8080"])
def test_a_secret_that_is_a_common_text_is_removed_and_is_no_mistake(secret: str) -> None:
    redaction = Redaction(iter([secret, "another"]))

    cleaned = str(redaction.clean_data({"what": f"{secret} another", "port": 8080, "ok": True}))

    assert not redaction.remains_in(cleaned.encode())

"""`compat-auth doctor` with real peers: ten set-ups that are each wrong in one respect, and a right one."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from compat_auth.cli import commands
from compat_auth.store.database import Database
from compat_auth.store.migration import downgrade, upgrade
from support.peers.airflows import JWT_SECRET, Airflow3
from support.peers.authority import Authority
from support.peers.echo import EchoUpstream
from support.peers.gateway import StartGateway, toml
from support.peers.kerberos import Kdc, program
from support.peers.postgres import Postgres
from support.peers.proxies import StartProxy
from support.peers.redis_server import PASSWORD, RedisServer
from support.peers.slapd import GROUPS, PEOPLE, SERVICE, SERVICE_PASSWORD, Slapd
from support.serving import served
from support.stub_airflow import SECRET as STUBS_SECRET
from support.stub_airflow import StubAirflow

pytestmark = pytest.mark.peer

OTHER_SECRET = "another-secret-of-more-than-sixty-four-bytes-0123456789abcdef0123456789abcdef"
SHARED = "what-the-replicas-share-0123456789abcdef0123456789"
FAKETIME_S = 1200
ALICES = "a-long-enough-password"

Found = list[dict[str, Any]]
Doctor = Callable[..., tuple[int, Found]]


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    """Run `doctor --json` with a configuration that only its owner can read; return exit status and results."""

    def run(settings: Mapping[str, Any], *arguments: str) -> tuple[int, Found]:
        (tmp_path / "c.toml").write_text(toml(settings), encoding="utf-8")
        (tmp_path / "c.toml").chmod(0o600)
        result = CliRunner().invoke(commands, ["doctor", "--json", "--config", str(tmp_path / "c.toml"), *arguments])
        for secret in (OTHER_SECRET, JWT_SECRET, STUBS_SECRET, SHARED, SERVICE_PASSWORD, PASSWORD):
            assert secret not in result.output
        return result.exit_code, json.loads(result.stdout)

    return run


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A password file with alice in it."""
    path = tmp_path / "users"
    command = ["users", "add", "alice", "--file", str(path), "--password-stdin"]
    assert CliRunner().invoke(commands, command, input=f"{ALICES}\n").exit_code == 0
    return path


class Simple(StubAirflow):
    """Answers as Airflow with SimpleAuthManager does."""

    manager = "simple"


@pytest.fixture
def right(users: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The smallest right set-up; its upstream answers the questions of a check as Airflow does."""
    with served(Simple) as url:
        yield {
            "auth_backends": ["basic_auth"],
            "database_url": f"sqlite:///{tmp_path}/store.db",
            "serve": {"bind": "127.0.0.1:0"},
            "basic_auth": {"directories": ["htpasswd"]},
            "htpasswd": {"file": str(users)},
            "upstream": {"url": url, "profile": "airflow-simple", "roles": {"*": "VIEWER"}},
            "token": {"strategy": "shared_secret", "secret": STUBS_SECRET},
        }


@pytest.fixture
def with_airflow(right: dict[str, Any], airflow_simple: Airflow3) -> dict[str, Any]:
    """The same in front of a real Airflow."""
    right["upstream"]["url"] = airflow_simple.url
    right["token"]["secret"] = airflow_simple.jwt_secret
    return right


def ldap_of(server: Slapd, **changed: Any) -> dict[str, Any]:
    return {
        "url": [server.tls_url],
        "ca_file": str(server.ca_file),
        "bind_dn": SERVICE,
        "bind_password": SERVICE_PASSWORD,
        "base": PEOPLE,
        "group_base": GROUPS,
        "group_filter": "(member={dn})",
        "roles": {f"cn=admins,{GROUPS}": "Admin"},
        **changed,
    }


def wrong_in(found: Found) -> Found:
    return [result for result in found if result["status"] in ("failure", "warning")]


def the_only_failure(status: int, found: Found) -> dict[str, Any]:
    failures = [result for result in found if not result["ok"]]
    assert status == 78
    assert len(failures) == 1, failures
    assert all(failures[0][key] for key in ("id", "what", "where", "next"))
    return failures[0]


@pytest.fixture(scope="module")
def keytab(kdc: Kdc) -> Path:
    path = kdc.keytab("HTTP/localhost")
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def migrated(postgres: Postgres) -> str:
    database = Database(postgres.url)
    with database.write() as connection:
        upgrade(connection)
    database.close()
    return postgres.url


def test_a_right_setup_of_every_peer_has_no_failure_and_no_warning(
    doctor: Doctor,
    with_airflow: dict[str, Any],
    kdc: Kdc,
    keytab: Path,
    slapd: Slapd,
    redis_server: RedisServer,
    migrated: str,
) -> None:
    settings = with_airflow | {
        "auth_backends": ["kerberos", "basic_auth"],
        "kerberos": {"keytab": str(keytab), "replay_cache": str(kdc.folder / "replays")},
        "basic_auth": {"directories": ["htpasswd", "ldap"]},
        "lookup": {"directories": ["htpasswd", "ldap"]},
        "ldap": ldap_of(slapd),
        "redis_url": redis_server.url,
        "redis_secret": SHARED,
        "database_url": migrated,
    }

    status, found = doctor(settings)

    assert (wrong_in(found), status) == ([], 0)
    told = {(result["id"], result["status"]) for result in found}
    for asked in ("kerberos KDC", "clock KDC", "redis round trip", "clock Redis", "clock database", "database schema"):
        assert (asked, "ok") in told
    assert any(result["where"] == "ldap.user_filter" and "users" in result["what"] for result in found)
    assert any(result["where"] == slapd.tls_url and "valid until" in result["what"] for result in found)


def test_a_keytab_older_than_the_kdcs_key_is_found(doctor: Doctor, right: dict[str, Any], kdc: Kdc) -> None:
    old = kdc.keytab("HTTP/rotating")
    old.chmod(0o600)
    kdc.keytab("HTTP/rotating")
    kerberos = {"keytab": str(old), "replay_cache": str(kdc.folder / "replays")}

    status, found = doctor(right | {"auth_backends": ["kerberos", "basic_auth"], "kerberos": kerberos})

    failure = the_only_failure(status, found)
    assert failure["id"] == "kerberos KDC"
    assert "kvno 2" in failure["what"]
    assert str(old) in failure["where"]
    assert "ktadd" in failure["next"]


class LateKdc(Kdc):
    """A KDC whose clock is behind."""

    @property
    def admin_env(self) -> dict[str, str]:
        if not (self.folder / "stash").exists():
            return super().admin_env
        library = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))))
        return super().admin_env | {"LD_PRELOAD": str(library), "FAKETIME": f"-{FAKETIME_S}s"}


@pytest.fixture
def late_kdc(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kdc]:
    program("faketime")
    server = LateKdc()
    server.start()
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    yield server
    server.remove()


def test_a_clock_that_differs_from_the_kdcs_is_found(doctor: Doctor, right: dict[str, Any], late_kdc: Kdc) -> None:
    keytab = late_kdc.keytab("HTTP/localhost")
    keytab.chmod(0o600)
    kerberos = {"keytab": str(keytab), "replay_cache": str(late_kdc.folder / "replays")}

    status, found = doctor(right | {"auth_backends": ["kerberos", "basic_auth"], "kerberos": kerberos})

    failure = the_only_failure(status, found)
    assert failure["id"] == "clock KDC"
    assert "s ahead of it" in failure["what"]
    assert "NTP" in failure["next"]


def test_a_wrong_bind_password_of_ldap_is_found(doctor: Doctor, right: dict[str, Any], slapd: Slapd) -> None:
    ldap = ldap_of(slapd, bind_password="wrong-bind-password")

    status, found = doctor(right | {"basic_auth": {"directories": ["htpasswd", "ldap"]}, "ldap": ldap})

    failure = the_only_failure(status, found)
    assert failure["id"] == "directory ldap"
    assert "refused bind_dn" in failure["what"]
    assert "wrong-bind-password" not in json.dumps(found)


@pytest.fixture
def expired_slapd(authority: Authority, tmp_path: Path) -> Iterator[Slapd]:
    signed = authority.sign("expired", valid=-dt.timedelta(hours=1))
    (tmp_path / "slapd").mkdir()
    server = Slapd(tmp_path / "slapd", authority, signed)
    server.start()
    yield server
    server.stop()


def test_an_expired_certificate_of_ldap_is_found(doctor: Doctor, right: dict[str, Any], expired_slapd: Slapd) -> None:
    directories = {"directories": ["htpasswd", "ldap"]}

    status, found = doctor(right | {"basic_auth": directories, "ldap": ldap_of(expired_slapd)})

    failure = the_only_failure(status, found)
    assert failure["id"] == "directory ldap"
    assert "certificate has expired" in failure["what"]


def test_a_filter_of_ldap_that_finds_nobody_is_found(doctor: Doctor, right: dict[str, Any], slapd: Slapd) -> None:
    ldap = ldap_of(slapd, user_filter="(sAMAccountName={username})")

    status, found = doctor(right | {"basic_auth": {"directories": ["htpasswd", "ldap"]}, "ldap": ldap})

    failure = the_only_failure(status, found)
    assert failure["where"] == "ldap.user_filter"
    assert "finds nobody" in failure["what"]


def test_a_group_filter_of_ldap_that_finds_no_group_is_found(
    doctor: Doctor, right: dict[str, Any], slapd: Slapd
) -> None:
    ldap = ldap_of(slapd, group_filter="(uniqueMember={dn})")

    status, found = doctor(right | {"basic_auth": {"directories": ["htpasswd", "ldap"]}, "ldap": ldap})

    assert the_only_failure(status, found)["where"] == "ldap.group_filter"


def test_another_secret_than_airflows_is_found(doctor: Doctor, with_airflow: dict[str, Any], tmp_path: Path) -> None:
    cfg = tmp_path / "airflow.cfg"
    cfg.write_text(f"[api_auth]\njwt_secret = {JWT_SECRET}\n")
    cfg.chmod(0o600)
    with_airflow["token"]["secret"] = OTHER_SECRET

    status, found = doctor(with_airflow, "--airflow-cfg", str(cfg))

    failure = the_only_failure(status, found)
    assert failure["where"] == "token.secret"
    assert "jwt_secret" in failure["next"]


def test_another_audience_than_airflows_is_found(doctor: Doctor, with_airflow: dict[str, Any], tmp_path: Path) -> None:
    cfg = tmp_path / "airflow.cfg"
    cfg.write_text(f"[api_auth]\njwt_secret = {JWT_SECRET}\n")
    cfg.chmod(0o600)
    with_airflow["token"]["audience"] = "other"

    status, found = doctor(with_airflow, "--airflow-cfg", str(cfg))

    failure = the_only_failure(status, found)
    assert failure["where"] == "token.audience"
    assert "'other'" in failure["what"]


class OtherIssuer(BaseHTTPRequestHandler):
    """Its discovery document describes another issuer."""

    def do_GET(self) -> None:
        body = b'{"issuer": "https://other.example", "jwks_uri": "https://other.example/jwks"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_keys_of_another_issuer_are_found(doctor: Doctor, right: dict[str, Any]) -> None:
    with served(OtherIssuer) as url:
        oidc = {"issuers": [{"issuer": url, "audience": ["api"]}]}

        status, found = doctor(right | {"auth_backends": ["oidc", "basic_auth"], "oidc": oidc})

    failure = the_only_failure(status, found)
    assert failure["id"] == "backend oidc"
    assert "describes an issuer that is not" in failure["what"]


def test_tables_of_an_older_version_are_found(doctor: Doctor, right: dict[str, Any], postgres: Postgres) -> None:
    postgres.run_tool(
        "createdb",
        "-h",
        "127.0.0.1",
        "-p",
        str(postgres.url.rpartition(":")[2].partition("/")[0]),
        "-U",
        "postgres",
        "older",
    )
    url = postgres.url.rpartition("/")[0] + "/older"
    database = Database(url)
    with database.write() as connection:
        upgrade(connection)
        downgrade(connection, "0002")
    database.close()

    status, found = doctor(right | {"database_url": url})

    failure = the_only_failure(status, found)
    assert failure["id"] == "database schema"
    assert "revision 0002" in failure["what"]
    assert "compat-auth db upgrade" in failure["next"]


def test_a_key_file_that_others_can_read_is_found(doctor: Doctor, right: dict[str, Any], tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    assert CliRunner().invoke(commands, ["keys", "create", "--file", str(keys)]).exit_code == 0
    keys.chmod(0o644)
    right["token"] = {"strategy": "key_pair", "key_file": str(keys)}

    status, found = doctor(right)

    failure = the_only_failure(status, found)
    assert "mode 0644" in failure["what"]
    assert f"chmod 600 {keys}" in failure["next"]


def test_a_wrong_password_of_redis_is_found(doctor: Doctor, right: dict[str, Any], redis_server: RedisServer) -> None:
    url = redis_server.url.replace(redis_server.url.partition("@")[0], "redis://:wrong-redis-password")

    status, found = doctor(right | {"redis_url": url, "redis_secret": SHARED})

    failure = the_only_failure(status, found)
    assert failure["id"] == "redis_url"
    assert "password" in failure["next"]
    assert "wrong-redis-password" not in json.dumps(found)


@pytest.fixture
def behind(users: Path, gateway: StartGateway, echo_upstream: EchoUpstream) -> str:
    """A gateway that believes a proxy's Remote-User."""
    return gateway(
        {
            "auth_backends": ["remote_user", "basic_auth"],
            "trusted_proxies": ["127.0.0.1/32"],
            "remote_user": {"proxies": ["127.0.0.1/32"], "header": "Remote-User"},
            "basic_auth": {"directories": ["htpasswd"]},
            "htpasswd": {"file": str(users)},
            "upstream": {"url": echo_upstream.url, "profile": "airflow-simple", "roles": {"*": "VIEWER"}},
            "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        }
    ).url


def test_a_proxy_that_lets_remote_user_through_is_found(nginx: StartProxy, behind: str) -> None:
    url = nginx(f"location / {{ proxy_pass {behind}; }}")

    result = CliRunner().invoke(commands, ["doctor", "--json", "--probe", url])

    failure = the_only_failure(result.exit_code, json.loads(result.stdout))
    assert failure["id"] == "probe"
    assert "Remote-User of a client reaches the gateway" in failure["what"]
    assert "proxy_set_header Remote-User" in failure["next"]
    assert "only" in result.stderr


def test_a_proxy_that_removes_remote_user_has_nothing_wrong(nginx: StartProxy, behind: str) -> None:
    url = nginx(f'location / {{ proxy_set_header Remote-User ""; proxy_pass {behind}; }}')

    result = CliRunner().invoke(commands, ["doctor", "--json", "--probe", url])

    found = json.loads(result.stdout)
    assert (wrong_in(found), result.exit_code) == ([], 0)
    assert "nothing got through" in found[-1]["what"]


def test_a_proxy_that_asks_the_upstream_itself_for_other_spellings_is_found(
    nginx: StartProxy, behind: str, echo_upstream: EchoUpstream
) -> None:
    url = nginx(
        f'location / {{ proxy_set_header Remote-User ""; proxy_pass {behind}; }}\n'
        f"location ~* \\.css$ {{ proxy_pass {echo_upstream.url}; }}"
    )

    result = CliRunner().invoke(commands, ["doctor", "--json", "--probe", url])

    failures = [found for found in json.loads(result.stdout) if not found["ok"]]
    assert result.exit_code == 78
    assert failures
    assert all(".css" in found["what"] for found in failures)

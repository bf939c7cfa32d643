"""`compat-auth explain` with headers of front proxies and client certificates: who believes them, or why nobody does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from compat_auth.client_certificates import thumbprint_of
from support.certificates import Authority
from support.peers.gateway import toml
from support.stub_issuer import RSA_KEY, jwk, running_issuer, sign

CA = Authority()
OF_ETL, STRANGERS = CA.issue(), Authority("CN=Others").issue()
PROXY, OTHER = "10.0.0.5", "10.0.0.9"
FORWARDED_USER = "X-Forwarded-User: alice"


def write(folder: Path, **changed: Any) -> Path:
    """Write a configuration with the users alice and etl, and a backend for each kind of connection."""
    users = folder / "users.toml"
    users.write_text("".join(f'[[user]]\nusername = "{name}"\n' for name in ("alice", "etl")))
    users.chmod(0o600)
    account = {"subject": "CN=etl,OU=Robots,O=Example", "user": "etl"}
    certificates = {"ca_file": str(CA.write(folder / "ca.pem")), "accounts": [account]}
    certificates |= {"proxies": [f"{PROXY}/32"], "forwarded": "nginx", **changed.pop("client_certificate", {})}
    content = {
        "auth_backends": ["remote_user", "client_certificate", "personal_token"],
        "trusted_proxies": ["10.0.0.0/24"],
        "database_url": f"sqlite:///{folder / 'store.db'}",
        "remote_user": {"proxies": [f"{PROXY}/32"]},
        "client_certificate": certificates,
        "lookup": {"directories": ["mapping"]},
        "mapping": {"file": str(users)},
        "upstream": {"profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": "t" * 64},
        **changed,
    }
    config = folder / "compat_auth.toml"
    config.write_text(toml(content))
    return config


def run(config: Path, *options: str) -> Result:
    arguments = ["explain", "--config", str(config), *options, "GET", "/api/v2/dags"]
    return CliRunner().invoke(commands, arguments, catch_exceptions=False)


def lines_of(config: Path, *options: str) -> list[str]:
    result = run(config, *options)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def with_certificate(folder: Path, certificate: Any = OF_ETL) -> tuple[str, str]:
    return "--certificate", str(certificate.write(folder, "client")[0])


def test_a_header_that_is_believed_is_said_to_be_read(tmp_path: Path) -> None:
    lines = lines_of(write(tmp_path), "--from", PROXY, "-H", FORWARDED_USER)

    assert f"connection: from {PROXY}, a trusted proxy" in lines
    assert "header x-forwarded-user: read by remote_user" in lines
    assert "backend remote_user: accepts 'alice'" in lines
    assert "decision: forwarded as 'alice'" in lines


@pytest.mark.parametrize(
    ("address", "header", "said"),
    [
        pytest.param(
            OTHER, FORWARDED_USER, f"not believed by remote_user: {OTHER} is not in remote_user.proxies", id="not-named"
        ),
        pytest.param("192.0.2.1", FORWARDED_USER, "dropped: 192.0.2.1 is not in trusted_proxies", id="not-trusted"),
        pytest.param(
            PROXY, "X-Goog-IAP-JWT-Assertion: hush", "dropped: no backend of auth_backends reads it", id="unread"
        ),
        pytest.param(
            OTHER, "X-SSL-Client-Cert: hush", f"not believed by client_certificate: {OTHER}", id="certificate"
        ),
    ],
)
def test_a_header_that_is_not_believed_is_said_to_be_dropped_and_why(
    tmp_path: Path, address: str, header: str, said: str
) -> None:
    lines = lines_of(write(tmp_path), "--from", address, "-H", header)

    name = header.partition(":")[0].lower()
    assert [line for line in lines if line.startswith(f"header {name}: {said}")] != []
    assert "backend remote_user: skips: the connection says nothing that it believes" in lines
    assert any(line.startswith("decision: 401") for line in lines)
    assert "hush" not in "\n".join(lines)


def test_without_an_address_it_is_this_machines(tmp_path: Path) -> None:
    lines = lines_of(write(tmp_path), "-H", FORWARDED_USER)

    assert "connection: from 127.0.0.1, not in trusted_proxies" in lines


def test_a_request_without_either_is_explained_as_before(tmp_path: Path) -> None:
    lines = lines_of(write(tmp_path))

    assert not any(line.startswith(("connection", "header", "certificate")) for line in lines)


@pytest.mark.parametrize("kind", ["nginx", "haproxy", "envoy", "traefik"])
def test_a_certificate_is_forwarded_as_the_named_proxy_does_it(tmp_path: Path, kind: str) -> None:
    config = write(tmp_path, client_certificate={"forwarded": kind})

    lines = lines_of(config, "--from", PROXY, *with_certificate(tmp_path))

    assert f"certificate: CN=etl,OU=Robots,O=Example, x5t#S256 {thumbprint_of(OF_ETL.der)}" in lines
    assert "backend client_certificate: accepts 'etl'" in lines
    assert any(line.endswith(": read by client_certificate") for line in lines)


def test_a_proxy_that_forwards_only_the_subject_is_replayed_too(tmp_path: Path) -> None:
    config = write(tmp_path, client_certificate={"forwarded": "subject", "believe_proxies": True})

    lines = lines_of(config, "--from", PROXY, *with_certificate(tmp_path))

    assert "backend client_certificate: accepts 'etl'" in lines


def test_a_certificate_that_is_shown_in_tls_counts_where_clients_are_asked_for_one(tmp_path: Path) -> None:
    served = write(tmp_path, serve={"tls_cert": "server.pem", "tls_key": "server.key"})

    lines = lines_of(served, "--from", "192.0.2.1", *with_certificate(tmp_path))

    assert "certificate: shown in TLS" in lines
    assert "decision: forwarded as 'etl'" in lines


@pytest.mark.parametrize(
    ("changed", "address", "said"),
    [
        pytest.param({}, "192.0.2.1", "certificate: clients are not asked for one; set [serve] tls_cert", id="no-tls"),
        pytest.param({}, OTHER, "certificate: not looked at: in TLS a trusted proxy shows its own", id="of-a-proxy"),
        pytest.param(
            {"auth_backends": ["remote_user"]},
            PROXY,
            "certificate: not looked at; add client_certificate",
            id="no-backend",
        ),
    ],
)
def test_a_certificate_that_is_not_seen_is_said_to_be_and_why(
    tmp_path: Path, changed: dict[str, Any], address: str, said: str
) -> None:
    lines = lines_of(write(tmp_path, **changed), "--from", address, *with_certificate(tmp_path))

    assert [line for line in lines if line.startswith(said)] != []
    assert any(line.startswith("decision: 401") for line in lines)


def test_a_certificate_of_another_authority_is_refused_with_the_reason(tmp_path: Path) -> None:
    lines = lines_of(write(tmp_path), "--from", PROXY, *with_certificate(tmp_path, STRANGERS))

    assert any(line.startswith("backend client_certificate: rejects with 401: client_certificate: ") for line in lines)
    assert "decision: 401" in lines


def test_a_bound_token_is_refused_with_the_reason(tmp_path: Path) -> None:
    config, shown = write(tmp_path), with_certificate(tmp_path)
    made = ["tokens", "create", "--config", str(config), "--user", "alice", "--name", "n", *shown]
    token = CliRunner().invoke(commands, made, catch_exceptions=False).stdout.strip()
    bearer = ("-H", f"Authorization: Bearer {token}")

    without, beside = lines_of(config, *bearer), lines_of(config, *bearer, "--from", PROXY, *shown)

    assert any("bound to a client certificate, and that of this request cannot be seen" in line for line in without)
    assert "decision: forwarded as 'alice'" in beside
    assert json.loads(beside[-1].partition("claims ")[2])["cnf"] == {"x5t#S256": thumbprint_of(OF_ETL.der)}
    assert token not in "\n".join((*without, *beside))


def test_a_signed_header_is_explained_without_its_content(tmp_path: Path) -> None:
    with running_issuer() as issuer:
        issuer.keys = [jwk(RSA_KEY.public_key(), "rsa")]
        table = {
            "issuer": issuer.url,
            "audience": "api",
            "header": "X-Test-Assertion",
            "jwks_url": f"{issuer.url}/jwks",
        }
        config = write(tmp_path, auth_backends=["oidc"], oidc={"issuers": [table]})
        good, bad = (sign(issuer.claims(aud=aud), typ="JWT") for aud in ("api", "another"))
        said = [lines_of(config, "--from", PROXY, "-H", f"X-Test-Assertion: {token}") for token in (good, bad)]

    assert "header x-test-assertion: read by oidc" in said[0]
    assert "backend oidc: accepts 'alice'" in said[0]
    assert any(line.startswith("backend oidc: rejects with 401: oidc: x-test-assertion") for line in said[1])
    assert good.rpartition(".")[2] not in str(said)


@pytest.mark.parametrize("address", ["proxy", "10.0.0.0/24", "10.0.0.5:80", ""])
def test_what_is_no_address_is_wrong_usage(tmp_path: Path, address: str) -> None:
    assert run(write(tmp_path), "--from", address).exit_code == 2

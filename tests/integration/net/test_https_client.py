"""Which URLs of an identity provider may be asked, and how."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.net.https_client import Endpoint
from support.stub_issuer import Answer, StubIssuer, running_issuer


@pytest.fixture
def issuer() -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        yield stub


@dataclass(frozen=True, slots=True)
class TlsServer:
    """A server with a certificate that it has signed itself."""

    port: int
    ca_file: str


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[TlsServer]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "server.pem").write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    (tmp_path / "ca.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    with running_issuer(context) as stub:
        stub.says["/x"] = Answer(b"over tls")
        yield TlsServer(int(stub.url.rpartition(":")[2]), str(tmp_path / "ca.pem"))


def test_a_certificate_of_the_named_authority_is_believed(tls_server: TlsServer) -> None:
    url = f"https://localhost:{tls_server.port}/x"

    assert Endpoint.parse(url, where="here", ca_file=tls_server.ca_file).get().body == b"over tls"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_any_other_certificate_is_unavailable(tls_server: TlsServer, host: str) -> None:
    url = f"https://{host}:{tls_server.port}/x"
    # At localhost the authority is unknown; at the address it is known, but the name is another.
    ca_file = tls_server.ca_file if host == "127.0.0.1" else ""

    with pytest.raises(BackendUnavailable, match="SSLCertVerificationError"):
        Endpoint.parse(url, where="here", ca_file=ca_file).get()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "login.example.org",
        "http://login.example.org/jwks",
        "http://127.0.0.1.example.org/",
        "http://[::ffff:8.8.8.8]/",
        "ftp://127.0.0.1/",
        "https://",
        "https://user@login.example.org/",
        "https://login.example.org/#x",
        "https://login.example.org:x/",
        "https://login.example.org/a b",
        "https://login.example.org/\r\nHost: x",
        "https://löwe.example.org/",
        "file:///etc/passwd",
    ],
)
def test_a_url_that_is_not_safe_to_ask_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError, match="here"):
        Endpoint.parse(url, where="here")


@pytest.mark.parametrize(
    ("url", "origin", "target"),
    [
        ("https://login.example.org", ("https", "login.example.org", 443), "/"),
        ("https://login.example.org:8443/a?b=c", ("https", "login.example.org", 8443), "/a?b=c"),
        ("http://127.0.0.1:8080/x", ("http", "127.0.0.1", 8080), "/x"),
        ("http://localhost", ("http", "localhost", 80), "/"),
        ("http://[::1]:1/", ("http", "::1", 1), "/"),
    ],
)
def test_https_and_loopback_may_be_asked(url: str, origin: tuple[str, str, int], target: str) -> None:
    endpoint = Endpoint.parse(url, where="here")

    assert (endpoint.origin, endpoint.target) == (origin, target)


def test_a_missing_ca_file_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="no CA file"):
        Endpoint.parse("https://login.example.org", where="here", ca_file="/nowhere/ca.pem")


def test_a_form_is_posted_and_its_answer_is_whole(issuer: StubIssuer) -> None:
    issuer.says["/form"] = Answer(b"yes", status=201, headers={"X-Header": "x"})

    answer = Endpoint.parse(f"{issuer.url}/form", where="here").post_form({"a": "b c&d", "ä": "ß"})

    assert (answer.status, answer.headers["x-header"], answer.body) == (201, "x", b"yes")
    assert issuer.received == [{"a": "b c&d", "ä": "ß", "authorization": ""}]


def test_a_proxy_of_the_environment_is_not_used(issuer: StubIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer.says["/x"] = Answer(b"direct")
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert Endpoint.parse(f"{issuer.url}/x", where="here").get().body == b"direct"


def test_nobody_listening_is_unavailable() -> None:
    with pytest.raises(BackendUnavailable, match="ConnectionRefusedError"):
        Endpoint.parse("http://127.0.0.1:9/", where="here").get()

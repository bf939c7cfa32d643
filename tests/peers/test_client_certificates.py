"""Certificates that openssl has made, shown by curl to `serve` itself and to the documented nginx and HAProxy."""

from __future__ import annotations

import base64
import json
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway, run_compat_auth
from support.peers.process import Process, free_port
from support.peers.proxies import start_haproxy, start_nginx

pytestmark = pytest.mark.peer

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "client-certificates.md").read_text(encoding="utf-8")
SPIFFE = "spiffe://example.org/ns/etl/sa/airflow"
WHOAMI = "/compat-auth/whoami"
# For so long a good credential is not checked again; see UNHEARD_S in compat_auth.authn.revocation_events.
REMEMBERED_S = 1.5
# The smallest configuration of `openssl ca`, which makes revocation lists.
CA_CONFIG = """
[ca]
default_ca = ours
[ours]
database = {folder}/index.txt
crlnumber = {folder}/crlnumber
default_md = sha256
default_crl_days = {days}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
"""


class Certificates:
    """What openssl makes in a folder: an authority, a server, clients, revocation lists."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "index.txt").write_text("")
        (folder / "crlnumber").write_text("01\n")
        self._run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/O=Example/CN=Clients CA",
                  "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
        self.sign("server", "/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth")
        # HAProxy wants both in one file.
        both = (folder / "server.pem").read_text() + (folder / "server.key").read_text()
        (folder / "both.pem").write_text(both)

    def sign(self, name: str, subject: str, extensions: str = "extendedKeyUsage=clientAuth", *, by: str = "ca") -> None:
        """Make a key and a certificate, NAME.key and NAME.pem."""
        (self.folder / "extensions").write_text(extensions)
        self._run("req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", f"{name}.key", "-out", "request")
        self._run("x509", "-req", "-in", "request", "-days", "1", "-CA", f"{by}.pem", "-CAkey", f"{by}.key",
                  "-CAcreateserial", "-extfile", "extensions", "-out", f"{name}.pem")  # fmt: skip

    def revoke(self, *names: str, days: int = 1) -> str:
        """Return a revocation list with these certificates."""
        (self.folder / "ca.cnf").write_text(CA_CONFIG.format(folder=self.folder, days=days))
        for name in names:
            self._run("ca", "-config", "ca.cnf", "-revoke", f"{name}.pem")
        self._run("ca", "-config", "ca.cnf", "-gencrl", "-out", "made.crl")
        return (self.folder / "made.crl").read_text()

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def _run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    certificates.sign("etl", "/O=Example/OU=Robots/CN=etl")
    certificates.sign("pod", "/O=Example/CN=pod", f"extendedKeyUsage=clientAuth\nsubjectAltName=URI:{SPIFFE}")
    certificates.sign("alice", "/O=Example/OU=People/CN=alice", "extendedKeyUsage=clientAuth")
    certificates.sign("plain", "/O=Example/OU=People/CN=plain", "basicConstraints=CA:FALSE")
    certificates.sign("web", "/O=Example/OU=People/CN=web", "extendedKeyUsage=serverAuth")
    certificates.sign("below", "/O=Example/OU=People/CN=below", "extendedKeyUsage=clientAuth", by="alice")
    certificates.sign("stranger", "/O=Example/OU=Other/CN=stranger")
    certificates.sign("gone", "/O=Example/OU=People/CN=gone")
    other = Certificates(tmp_path_factory.mktemp("other"))
    other.sign("etl", "/O=Example/OU=Robots/CN=etl")
    for kind in ("pem", "key"):
        shutil.copy(other.path(f"etl.{kind}"), certificates.path(f"foreign.{kind}"))
    certificates.folder.joinpath("clients.crl").write_text(certificates.revoke("gone"))
    return certificates


def settings(made: Certificates, upstream: EchoUpstream, **changed: Any) -> dict[str, Any]:
    accounts = [
        {"uri": SPIFFE, "user": "pods", "scopes": ["GET /api/v2/dags"]},
        {"subject": "CN=*,OU=People,O=Example", "user": "{1}"},
        {"subject": "CN=etl,OU=Robots,O=Example", "user": "etl"},
    ]
    section = {"ca_file": made.path("ca.pem"), "crl_file": made.path("clients.crl"), "accounts": accounts}
    section.update(changed.pop("client_certificate", {}))
    return {
        "auth_backends": ["client_certificate"],
        "upstream": {"url": upstream.url, "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "client_certificate": section,
        **changed,
    }


def curl(made: Certificates, url: str, client: str = "", *options: str) -> tuple[int, Any]:
    """Return status and JSON of an answer; status 0 where there was none."""
    shown = ["--cert", made.path(f"{client}.pem"), "--key", made.path(f"{client}.key")] if client else []
    command = [
        "curl",
        "-s",
        "--max-time",
        "20",
        "--cacert",
        made.path("ca.pem"),
        "-w",
        "\n%{http_code}",
        *shown,
        *options,
    ]
    answer = subprocess.run([*command, url], capture_output=True, text=True, check=False).stdout
    body, _, status = answer.rpartition("\n")
    return int(status), json.loads(body) if body.startswith("{") else {}


@pytest.fixture
def served(made: Certificates, gateway: StartGateway, echo_upstream: EchoUpstream) -> Gateway:
    tls = {"tls_cert": made.path("server.pem"), "tls_key": made.path("server.key")}
    return gateway(settings(made, echo_upstream, serve=tls))


@pytest.fixture(params=["nginx", "haproxy"])
def front(
    request: pytest.FixtureRequest,
    made: Certificates,
    gateway: StartGateway,
    echo_upstream: EchoUpstream,
    tmp_path: Path,
) -> Iterator[str]:
    """The URL of a proxy that is configured as the page says."""
    kind = str(request.param)
    ours = gateway(
        settings(
            made,
            echo_upstream,
            trusted_proxies=["127.0.0.1/32"],
            client_certificate={"proxies": ["127.0.0.1/32"], "forwarded": kind},
        )
    )
    url, process = start_front(kind, ours, made, tmp_path)
    yield url
    process.stop()


def start_front(kind: str, ours: Gateway, made: Certificates, folder: Path) -> tuple[str, Process]:
    """Start the proxy in front of a gateway, as the page configures it."""
    port = free_port()
    language = {"nginx": "nginx", "haproxy": "text"}[kind]
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    site = found[1].replace("127.0.0.1:8088", ours.url.removeprefix("http://"))
    if kind == "nginx":
        site = site.replace("listen 443", f"listen 127.0.0.1:{port}").replace(
            "/etc/nginx/clients-ca.pem", made.path("ca.pem")
        )
        process, _ = start_nginx(folder, "", site.replace("/etc/nginx", str(made.folder)))
    else:
        site = site.replace("frontend front", "frontend tls").replace("bind :443", f"bind 127.0.0.1:{port}")
        site = site.replace("/etc/haproxy/clients-ca.pem", made.path("ca.pem"))
        site = site.replace("/etc/haproxy/server.pem", made.path("both.pem"))
        process, _ = start_haproxy(folder, f"  server nobody 127.0.0.1:9\n{site}")
    return f"https://localhost:{port}", process


GOOD = [("etl", "etl", None), ("pod", "pods", ["GET /api/v2/dags"]), ("alice", "alice", None), ("plain", "plain", None)]


@pytest.mark.parametrize(("client", "user", "scopes"), GOOD)
def test_serve_itself_knows_a_client_by_its_certificate(
    made: Certificates, served: Gateway, client: str, user: str, scopes: list[str] | None
) -> None:
    status, said = curl(made, served.url + WHOAMI, client)

    assert (status, said["username"], said["backend"], said["scopes"]) == (200, user, "client_certificate", scopes)


@pytest.mark.parametrize(
    ("client", "status"), [("", 401), ("stranger", 401), ("gone", 401), ("foreign", 0), ("web", 0), ("below", 0)]
)
def test_serve_itself_lets_in_no_other_certificate(
    made: Certificates, served: Gateway, client: str, status: int
) -> None:
    assert curl(made, served.url + WHOAMI, client)[0] == status


def test_serve_itself_sends_the_user_and_the_limits_on(made: Certificates, served: Gateway) -> None:
    etl = curl(made, f"{served.url}/api/v2/dags", "etl")
    pod = [curl(made, f"{served.url}/api/v2/{name}", "pod")[0] for name in ("dags", "variables")]
    forged = curl(made, f"{served.url}/api/v2/dags", "", "-H", f"X-SSL-Client-Cert: {made.path('etl.pem')}")[0]

    assert (etl[0], etl[1]["sub"]) == (200, "etl")
    assert pod == [200, 403]
    assert forged == 401


def test_a_revocation_and_the_end_of_the_list_count_at_once(
    made: Certificates, gateway: StartGateway, echo_upstream: EchoUpstream, tmp_path: Path
) -> None:
    crl = tmp_path / "crl.pem"
    crl.write_text(made.revoke())
    tls = {"tls_cert": made.path("server.pem"), "tls_key": made.path("server.key")}
    url = gateway(settings(made, echo_upstream, serve=tls, client_certificate={"crl_file": str(crl)})).url + WHOAMI

    before = curl(made, url, "alice")[0]
    crl.write_text(made.revoke("alice"))
    revoked = curl(made, url, "alice")[0]
    crl.write_text("")
    empty = curl(made, url, "etl")[0]

    assert (before, revoked, empty) == (200, 401, 503)


def test_a_new_server_certificate_counts_without_a_restart(
    made: Certificates, gateway: StartGateway, echo_upstream: EchoUpstream, tmp_path: Path
) -> None:
    for kind in ("pem", "key"):
        shutil.copy(made.path(f"server.{kind}"), tmp_path / f"own.{kind}")
    tls = {"tls_cert": str(tmp_path / "own.pem"), "tls_key": str(tmp_path / "own.key")}
    url = gateway(settings(made, echo_upstream, serve=tls)).url + "/compat-auth/live"
    made.sign("newer", "/CN=newer", "subjectAltName=DNS:newer.example,IP:127.0.0.1")

    def shown() -> str:
        answer = subprocess.run(
            ["curl", "-sv", "--cacert", made.path("ca.pem"), url], capture_output=True, text=True, check=False
        )
        return answer.stderr

    before = "CN=newer" in shown()
    for kind in ("key", "pem"):
        shutil.copy(made.path(f"newer.{kind}"), tmp_path / f"own.{kind}")
    deadline = time.monotonic() + 20
    while "CN=newer" not in shown() and time.monotonic() < deadline:
        time.sleep(0.2)

    assert (before, "CN=newer" in shown()) == (False, True)


@pytest.mark.parametrize(("client", "user", "scopes"), GOOD)
def test_behind_the_documented_proxy_a_client_is_known_by_its_certificate(
    made: Certificates, front: str, client: str, user: str, scopes: list[str] | None
) -> None:
    status, said = curl(made, front + WHOAMI, client)

    assert (status, said.get("username"), said.get("scopes")) == (200, user, scopes)


@pytest.mark.parametrize("client", ["", "stranger", "gone", "foreign", "web", "below"])
def test_behind_the_documented_proxy_no_other_certificate_gets_in(made: Certificates, front: str, client: str) -> None:
    # nginx itself answers 400 for what is not the authority's; HAProxy ends the handshake.
    assert curl(made, front + WHOAMI, client)[0] in {0, 400, 401}


@pytest.mark.parametrize("name", ["X-SSL-Client-Cert", "x-ssl-client-cert", "X_SSL_Client_Cert", "X-SSL_Client-Cert"])
@pytest.mark.parametrize("client", ["", "stranger"])
def test_behind_the_documented_proxy_a_client_cannot_write_a_certificate_itself(
    made: Certificates, front: str, client: str, name: str
) -> None:
    der = subprocess.run(
        ["openssl", "x509", "-in", made.path("etl.pem"), "-outform", "DER"], capture_output=True, check=True
    ).stdout
    pem = Path(made.path("etl.pem")).read_text(encoding="ascii")
    values = (base64.b64encode(der).decode(), quote(pem, safe=""))

    statuses = {curl(made, front + WHOAMI, client, "-H", f"{name}: {value}")[0] for value in values}

    assert statuses <= {400, 401}


def token_for_etl(
    made: Certificates, gateway: StartGateway, upstream: EchoUpstream, **changed: Any
) -> tuple[Gateway, str]:
    """Return a gateway that takes personal tokens alone, and a token that the command has bound to a certificate."""
    users = made.folder / "users"
    users.write_text("alice:$2b$04$" + "a" * 53 + "\n")
    users.chmod(0o600)
    content = settings(made, upstream, **changed)
    content |= {"basic_auth": {"directories": ["htpasswd"]}, "htpasswd": {"file": str(users)}}
    content["client_certificate"].pop("accounts")
    ours = gateway({**content, "auth_backends": ["personal_token"]})
    config = str(ours.process.log.parent / "compat_auth.toml")
    name = secrets.token_hex(4)
    made_by = ("--user", "alice", "--name", name, "--certificate", made.path("etl.pem"), "--config", config)
    return ours, run_compat_auth("tokens", "create", *made_by).strip()


# The owner's first, so that the answer is remembered.
ORDER = ("etl", "", "alice", "etl")


def test_serve_itself_takes_a_bound_token_beside_its_certificate_alone(
    made: Certificates, gateway: StartGateway, echo_upstream: EchoUpstream
) -> None:
    tls = {"tls_cert": made.path("server.pem"), "tls_key": made.path("server.key")}
    ours, token = token_for_etl(made, gateway, echo_upstream, serve=tls)

    found = [curl(made, ours.url + WHOAMI, name, "-H", f"Authorization: Bearer {token}") for name in ORDER]

    assert [status for status, _ in found] == [200, 401, 401, 200]
    assert list(found[0][1]["cnf"]) == ["x5t#S256"]


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_behind_the_documented_proxy_a_bound_token_works_beside_its_certificate_alone(
    made: Certificates, gateway: StartGateway, echo_upstream: EchoUpstream, tmp_path: Path, kind: str
) -> None:
    named = {"proxies": ["127.0.0.1/32"], "forwarded": kind}
    ours, token = token_for_etl(
        made, gateway, echo_upstream, trusted_proxies=["127.0.0.1/32"], client_certificate=named
    )
    url, process = start_front(kind, ours, made, tmp_path)

    found = [curl(made, url + WHOAMI, name, "-H", f"Authorization: Bearer {token}")[0] for name in ORDER]
    process.stop()

    assert found == [200, 401, 401, 200]


def test_a_bound_token_ends_with_its_certificate(
    made: Certificates, gateway: StartGateway, echo_upstream: EchoUpstream, tmp_path: Path
) -> None:
    crl = tmp_path / "crl.pem"
    crl.write_text(made.revoke())
    tls = {"tls_cert": made.path("server.pem"), "tls_key": made.path("server.key")}
    section = {"crl_file": str(crl)}
    ours, token = token_for_etl(made, gateway, echo_upstream, serve=tls, client_certificate=section)

    def shown() -> int:
        return curl(made, ours.url + WHOAMI, "etl", "-H", f"Authorization: Bearer {token}")[0]

    before = shown()
    crl.write_text("")
    time.sleep(REMEMBERED_S)
    after = shown()

    assert (before, after) == (200, 503)

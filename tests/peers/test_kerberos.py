"""Kerberos with a real KDC, real clients and a real peer: in a small Flask app, and in a gateway in front of an upstream."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bcrypt
import flask
import pytest
import requests
import requests_gssapi
import requests_kerberos
from requests_kerberos.exceptions import MutualAuthenticationError
from werkzeug.serving import BaseWSGIServer, make_server

from compat_auth.config import parse_settings
from compat_auth.credentials import Negotiate
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.guard import current_identity
from compat_auth.outcome import Accept, Reject
from compat_auth_backends import kerberos
from compat_auth_backends.kerberos import KerberosBackend
from compat_auth_backends.kerberos_acceptor import Acceptor, TokenRefused
from support.peers.airflows import JWT_SECRET
from support.peers.apache import Apache
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway, call
from support.peers.kerberos import OTHER_REALM, REALM, Kdc
from support.peers.kerberos_client import KRB5, NTLM, NTLM_IN_SPNEGO, Tickets, gss, negotiate
from support.stand_ins import basic

pytestmark = pytest.mark.peer

USERS = ("alice", "jürgen", "admin")
CURL_S = 30


@pytest.fixture(autouse=True)
def request_at_hand() -> Iterator[None]:
    """A backend is asked inside a request; where a test asks one by itself, this is it."""
    with flask.Flask("test").test_request_context():
        yield


@pytest.fixture(scope="session")
def tickets(kdc: Kdc) -> Tickets:
    return Tickets(kdc)


@pytest.fixture(scope="session")
def keytab(kdc: Kdc) -> Path:
    kdc.keytab("HTTP/other")
    return kdc.keytab("HTTP/localhost", "airflow/localhost", "host/localhost")


@pytest.fixture(scope="session")
def htpasswd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    known = bcrypt.hashpw(b"local-password", bcrypt.gensalt(4)).decode()
    file = tmp_path_factory.mktemp("users") / "htpasswd"
    file.write_text("".join(f"{name}:{known}\n" for name in USERS) + f"disabled:!{known}\n", encoding="utf-8")
    file.chmod(0o600)
    return file


Settings = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def settings(keytab: Path, htpasswd: Path, kdc: Kdc) -> Settings:
    def make(**changed: Any) -> dict[str, Any]:
        return {
            "auth_backends": ["kerberos", "basic_auth"],
            "kerberos": {"keytab": str(keytab), "replay_cache": str(kdc.folder / "replays"), **changed},
            "basic_auth": {"directories": ["htpasswd"]},
            "htpasswd": {"file": str(htpasswd)},
            "lookup": {"directories": ["htpasswd"]},
        }

    return make


@pytest.fixture(scope="module")
def flask_app(settings: Settings, tickets: Tickets) -> Iterator[str]:
    """The ten lines that a site writes, with Airflow 2's contract."""
    app = flask.Flask("ten-lines")
    app.config["COMPAT_AUTH"] = settings()
    kerberos.init_app(app)

    @app.get("/")
    @kerberos.requires_authentication
    def index() -> dict[str, str]:
        return {"sub": current_identity.username, "subject": current_identity.subject}

    server: BaseWSGIServer = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def instance(settings: Settings, echo_upstream: EchoUpstream, gateway: StartGateway, kdc: Kdc) -> Gateway:
    """Two workers in front of an upstream that believes only a JWT."""
    upstream = {"url": echo_upstream.url, "profile": "airflow-simple", "roles": {"*": "VIEWER"}}
    token = {"strategy": "shared_secret", "secret": JWT_SECRET}
    return gateway({**settings(), "upstream": upstream, "token": token, "serve": {"workers": 2}}, kdc.env)


@pytest.fixture(params=["flask", "gateway"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "flask":
        return f"{request.getfixturevalue('flask_app')}/"
    gateway: Gateway = request.getfixturevalue("instance")
    return f"{gateway.url.replace('127.0.0.1', 'localhost')}/api/v2/x"


def client_environ(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


def get(url: str, headers: dict[str, str]) -> requests.Response:
    return call("GET", url, headers=headers)


# RFC 4178 section 4.2.2: the tag of negTokenResp, its negState, and its supportedMech, Kerberos 5.
NEG_TOKEN_RESP = b"\xa1"
ACCEPT_COMPLETED = b"\xa0\x03\x0a\x01\x00\xa1\x0b\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"
# RFC 4121 section 4.1: the id of KRB_AP_REP, and its tag.
AP_REP = b"\x02\x00\x6f"


def reply_of(answer: requests.Response) -> bytes:
    scheme, _, token = answer.headers["WWW-Authenticate"].partition(" ")
    assert scheme == "Negotiate"
    return base64.b64decode(token, validate=True)


@pytest.mark.parametrize("user", ["alice", "jürgen"])
@pytest.mark.parametrize("options", [["--negotiate"], ["--anyauth"]], ids=["at-once", "when-asked"])
def test_curl_comes_in_with_a_ticket(url: str, tickets: Tickets, user: str, options: list[str]) -> None:
    command = ["curl", "--silent", "--fail", "--noproxy", "*", *options, "--user", ":", url]

    done = subprocess.run(
        command, env={**os.environ, **tickets.environ(user)}, capture_output=True, check=True, timeout=CURL_S
    )

    assert json.loads(done.stdout)["sub"] == user


def test_curl_without_a_ticket_stays_out(url: str, kdc: Kdc) -> None:
    command = ["curl", "--silent", "--noproxy", "*", "--negotiate", "--user", ":", "--write-out", "%{http_code}", url]

    done = subprocess.run(
        command,
        env={**os.environ, **kdc.env, "KRB5CCNAME": f"FILE:{kdc.folder}/nothing"},
        capture_output=True, check=False, timeout=CURL_S,
    )  # fmt: skip

    assert done.stdout.endswith(b"401")


def test_requests_kerberos_is_sure_of_the_server(url: str, tickets: Tickets, monkeypatch: pytest.MonkeyPatch) -> None:
    client_environ(monkeypatch, tickets.environ("alice"))
    auth = requests_kerberos.HTTPKerberosAuth(mutual_authentication=requests_kerberos.REQUIRED)

    answer = call("GET", url, auth=auth)

    assert (answer.status_code, answer.json()["sub"]) == (200, "alice")
    assert [earlier.status_code for earlier in answer.history] == [401]


@pytest.mark.parametrize("at_once", [False, True])
def test_requests_gssapi_is_sure_of_the_server(
    url: str, tickets: Tickets, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    client_environ(monkeypatch, tickets.environ("jürgen"))
    auth = requests_gssapi.HTTPSPNEGOAuth(mutual_authentication=requests_gssapi.REQUIRED, opportunistic_auth=at_once)

    answer = call("GET", url, auth=auth)

    assert (answer.status_code, answer.json()["sub"]) == (200, "jürgen")
    assert len(answer.history) == (0 if at_once else 1)


def test_the_client_session_of_the_module_is_sure_of_the_server(
    url: str, tickets: Tickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_environ(monkeypatch, tickets.environ("alice"))

    with kerberos.create_client_session() as session:
        session.trust_env = False
        answer = session.get(url, timeout=CURL_S)

    assert answer.json()["sub"] == "alice"


def test_the_module_has_what_airflow_2_s_client_asks_for() -> None:
    auth = kerberos.CLIENT_AUTH

    assert isinstance(auth, requests_kerberos.HTTPKerberosAuth)
    assert auth.mutual_authentication == requests_kerberos.REQUIRED
    with pytest.raises(AttributeError, match="NOTHING"):
        _ = kerberos.NOTHING


def test_a_client_without_its_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "requests_kerberos", None)

    with pytest.raises(ConfigError, match="with its extra 'kerberos-client'"):
        kerberos.create_client_session()


def test_a_server_does_not_import_what_only_a_client_needs() -> None:
    program = (
        "import sys, compat_auth_backends.kerberos; print([n for n in sys.modules if 'requests' in n or n == 'krb5'])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


class Liar(BaseHTTPRequestHandler):
    """Takes every token and proves nothing."""

    reply = ""

    def do_GET(self) -> None:
        known = "Authorization" in self.headers
        self.send_response(200 if known else 401)
        if not known or self.reply:
            self.send_header("WWW-Authenticate", f"Negotiate {self.reply}".strip() if known else "Negotiate")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *_arguments: Any) -> None:  # noqa: A002  # the base class's name
        pass


@pytest.mark.parametrize("reply", ["", base64.b64encode(b"no token").decode()], ids=["nothing", "nonsense"])
def test_a_server_that_lies_is_found_out_by_the_same_client(
    tickets: Tickets, monkeypatch: pytest.MonkeyPatch, reply: str
) -> None:
    client_environ(monkeypatch, tickets.environ("alice"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneLiar", (Liar,), {"reply": reply}))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    with kerberos.create_client_session() as session:
        session.trust_env = False
        with pytest.raises(MutualAuthenticationError):
            session.get(f"http://localhost:{server.server_port}/", timeout=CURL_S)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("mech", [None, KRB5], ids=["spnego", "bare-krb5"])
def test_a_token_is_answered_with_one_that_proves_who_we_are(url: str, tickets: Tickets, mech: Any) -> None:
    token = tickets.token("alice") if mech is None else tickets.token("alice", mech=mech)

    answer = get(url, negotiate(token))

    assert (answer.status_code, answer.json()["sub"]) == (200, "alice")
    assert len(reply_of(answer)) > 100


def test_the_scheme_is_read_without_case(url: str, tickets: Tickets) -> None:
    header = negotiate(tickets.token("alice"))["Authorization"].replace("Negotiate", "nEGOTIATE")

    answer = get(url, {"Authorization": header})

    assert answer.status_code == 200


def test_a_token_is_good_once_whichever_worker_is_asked(url: str, tickets: Tickets) -> None:
    header = negotiate(tickets.token("alice"))

    first = get(url, header)
    # A connection each: the kernel gives them to both workers.
    again = {get(url, header).status_code for _ in range(20)}

    assert first.status_code == 200
    assert again == {401}


def test_a_token_is_good_once_when_it_comes_many_times_at_once(url: str, tickets: Tickets) -> None:
    header = negotiate(tickets.token("alice"))
    statuses: list[int] = []
    start = threading.Barrier(8, timeout=60)

    def present() -> None:
        start.wait()
        statuses.append(get(url, header).status_code)

    threads = [threading.Thread(target=present) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200] + [401] * 7


# By name: how the token is made, and the status that it deserves. Airflow 2's own answers are beside those that differ.
TOKENS: dict[str, tuple[Callable[[Tickets], dict[str, str]], int]] = {
    "good": (lambda tickets: negotiate(tickets.token("alice")), 200),
    "user not in the directory": (lambda tickets: negotiate(tickets.token("unknown")), 403),
    "disabled user": (lambda tickets: negotiate(tickets.token("disabled")), 403),  # Airflow 2: 200
    "another instance of a user": (lambda tickets: negotiate(tickets.token("alice/admin")), 403),
    "another scheme": (
        lambda tickets: {"Authorization": negotiate(tickets.token("alice"))["Authorization"].replace("Neg", "Foo")},
        401,  # Airflow 2: 200
    ),
    "for a service that is not ours": (lambda tickets: negotiate(tickets.token("alice", "host@localhost")), 401),
    "for a key that is not ours": (lambda tickets: negotiate(tickets.token("alice", "HTTP@other")), 401),
    "NTLM": (lambda tickets: negotiate(NTLM), 401),
    "NTLM in SPNEGO": (lambda tickets: negotiate(NTLM_IN_SPNEGO), 401),
    "garbage": (lambda tickets: negotiate(os.urandom(600)), 401),
    "garbage of 40 kB": (lambda tickets: negotiate(os.urandom(40_000)), 401),
    "cut off": (lambda tickets: negotiate(tickets.token("alice")[:-40]), 401),
    "one bit off": (lambda tickets: negotiate(flipped(tickets.token("alice"))), 401),
    "no token": (lambda tickets: {"Authorization": "Negotiate"}, 401),
    "empty token": (lambda tickets: {"Authorization": "Negotiate ="}, 401),
    "an answer instead of a token": (lambda tickets: negotiate(b"\xa1\x14\x30\x12\xa0\x03\x0a\x01\x01"), 401),
    "bearer": (lambda tickets: {"Authorization": "Bearer a.b.c"}, 401),
    "nothing": (lambda tickets: {}, 401),
}


@pytest.mark.parametrize("row", TOKENS)
def test_a_token_gets_what_it_deserves(url: str, tickets: Tickets, row: str) -> None:
    make, status = TOKENS[row]
    header = make(tickets)

    answer = get(url, header)

    # Beyond what a header section may hold: the gate does not even look. A foreign Bearer is the upstream's to judge.
    allowed = {status, 431} if row == "garbage of 40 kB" else {status, 403} if row == "bearer" else {status}
    assert answer.status_code in allowed


def test_a_401_of_the_gateway_offers_tickets_and_passwords(instance: Gateway) -> None:
    answer = get(f"{instance.url}/api/v2/x", {})

    assert answer.status_code == 401
    offered = answer.raw.headers.getlist("WWW-Authenticate")
    assert offered == ["Negotiate", 'Basic realm="Airflow", charset="UTF-8"']


def test_a_password_still_comes_in_beside_tickets(instance: Gateway) -> None:
    answer = get(f"{instance.url}/api/v2/x", {"Authorization": basic("alice", "local-password")})

    assert answer.json()["sub"] == "alice"


def test_who_a_token_is_for_and_until_when_is_in_the_identity(flask_app: str, tickets: Tickets) -> None:
    answer = get(flask_app, negotiate(tickets.token("jürgen")))

    assert answer.json() == {"sub": "jürgen", "subject": f"jürgen@{REALM}"}


def test_a_stopped_kdc_does_not_keep_tickets_out(url: str, tickets: Tickets, kdc: Kdc) -> None:
    made = [negotiate(tickets.token("alice")) for _ in range(3)]

    kdc.stop()
    statuses = [get(url, header).status_code for header in made]
    kdc.start()

    assert statuses == [200] * 3


@pytest.fixture(scope="module")
def apache(kdc: Kdc, keytab: Path) -> Iterator[Apache]:
    server = Apache(kdc, keytab)
    server.start()
    yield server
    server.remove()


# What Apache cannot know, because it asks no directory; and it answers for every key in its keytab.
APACHE_LETS_IN = {
    "user not in the directory", "disabled user", "another instance of a user", "for a service that is not ours",
}  # fmt: skip


@pytest.mark.parametrize("row", [row for row in TOKENS if row != "garbage of 40 kB"])
def test_apache_judges_the_same_tokens_alike(apache: Apache, flask_app: str, tickets: Tickets, row: str) -> None:
    header = TOKENS[row][0](tickets)

    theirs = get(f"{apache.url}/krb/", header)
    ours = get(flask_app, header)

    assert theirs.status_code == (200 if row in APACHE_LETS_IN else ours.status_code)


def test_apache_names_the_same_principal(apache: Apache, flask_app: str, tickets: Tickets) -> None:
    header = negotiate(tickets.token("alice"))

    theirs = get(f"{apache.url}/krb/", header)
    ours = get(flask_app, header)

    assert theirs.headers["X-Remote-User"] == ours.json()["subject"] == f"alice@{REALM}"
    for reply in (reply_of(theirs), reply_of(ours)):
        assert reply[:1] == NEG_TOKEN_RESP
        assert ACCEPT_COMPLETED in reply
        assert AP_REP in reply
    # DER writes a number without its leading zero bytes: `cusec` has up to three, `seq-number` up to four (RFC 4120 5.5.2).
    assert abs(len(reply_of(theirs)) - len(reply_of(ours))) <= 7


@pytest.mark.parametrize("row", TOKENS)
def test_mode_airflow2_lets_in_whom_airflow_2_should_have_let_in(
    settings: Settings, echo_upstream: EchoUpstream, gateway: StartGateway, kdc: Kdc, tickets: Tickets, row: str
) -> None:
    upstream = {"url": echo_upstream.url, "profile": "airflow-simple", "roles": {"*": "VIEWER"}}
    token = {"strategy": "shared_secret", "secret": JWT_SECRET}
    make, status = TOKENS[row]
    backends = "airflow.providers.fab.auth_manager.api.auth.backend.kerberos_auth"
    both = f"{backends},airflow.providers.fab.auth_manager.api.auth.backend.basic_auth"
    shared = {**settings(), "mode": "airflow2", "upstream": upstream, "token": token}
    header = [make(tickets) for _ in range(2)]

    answers = [
        get(f"{gateway({**shared, 'auth_backends': names}, kdc.env).url}/api/v2/x", one)
        for names, one in zip((backends, both), header, strict=True)
    ]

    allowed = {status, 431} if row == "garbage of 40 kB" else {status, 403} if row == "bearer" else {status}
    assert {answer.status_code for answer in answers} <= allowed
    # As in Airflow 2, where `session` comes last and sends no challenge.
    assert not any("WWW-Authenticate" in answer.headers for answer in answers if answer.status_code == 401)


def backend_with(settings: Settings, **changed: Any) -> KerberosBackend:
    return KerberosBackend.from_settings(parse_settings(settings(**changed), origin="test"))


def test_airflow_2_s_service_is_taken_once_it_is_named(settings: Settings, tickets: Tickets) -> None:
    both = backend_with(settings, service="HTTP,airflow")

    outcomes = [
        both.authenticate(Negotiate(tickets.token("alice", f"{service}@localhost")))
        for service in ("HTTP", "airflow", "host")
    ]

    assert [type(outcome) for outcome in outcomes] == [Accept, Accept, Reject]


@pytest.mark.parametrize(
    ("mapping", "username"),
    [
        pytest.param("strip_realm", "alice", id="strip-realm"),
        pytest.param("full", f"alice@{REALM}", id="full"),
        pytest.param("auth_to_local", "alice", id="auth-to-local"),
        pytest.param(r"(.*)/admin@LAB\.TEST=admin;(.*)@LAB\.TEST=x-\1", "x-alice", id="rules"),
    ],
)
def test_a_principal_becomes_a_user_as_configured(
    settings: Settings, tickets: Tickets, mapping: str, username: str
) -> None:
    content: dict[str, Any] = {**settings(name_mapping=mapping), "lookup": {"directories": []}}
    backend = KerberosBackend.from_settings(parse_settings(content, origin="test"))

    outcome = backend.authenticate(Negotiate(tickets.token("alice")))

    assert isinstance(outcome, Accept)
    assert outcome.identity.username == username
    assert outcome.reusable_s == 0
    assert outcome.identity.expires_at is not None
    assert outcome.identity.expires_at > time.time() + 3000


def test_auth_to_local_does_not_take_an_instance_for_the_user(settings: Settings, tickets: Tickets) -> None:
    backend = backend_with(settings, name_mapping="auth_to_local")

    outcome = backend.authenticate(Negotiate(tickets.token("alice/admin")))

    assert isinstance(outcome, Reject)
    assert outcome.status == 403


@pytest.fixture(scope="module")
def other_realm(kdc: Kdc) -> Iterator[Kdc]:
    """A realm whose users our KDC gives tickets to."""
    other = Kdc(OTHER_REALM, trusted=kdc)
    other.start()
    kdc.trust(other)
    yield other
    other.remove()


@pytest.mark.parametrize(
    ("realms", "accepted"), [([], False), ([REALM], False), ([OTHER_REALM], True)], ids=["default", "ours", "theirs"]
)
def test_a_user_of_a_trusted_realm_is_not_our_user_of_that_name(
    settings: Settings, other_realm: Kdc, realms: list[str], accepted: bool
) -> None:
    backend = backend_with(settings, realms=realms)
    with pytest.MonkeyPatch.context() as patch:
        client_environ(patch, other_realm.env)
        token = Tickets(other_realm).token("alice")

    outcome = backend.authenticate(Negotiate(token))

    assert isinstance(outcome, Accept) is accepted
    assert accepted or (isinstance(outcome, Reject) and outcome.status == 401)


def rotating(kdc: Kdc, tmp_path: Path) -> tuple[Path, Acceptor]:
    keytab = kdc.keytab("HTTP/rotating")
    return keytab, Acceptor(keytab, ("HTTP",), replay_cache=tmp_path / "replays")


def test_keys_that_are_added_to_the_file_count_at_once(kdc: Kdc, tmp_path: Path) -> None:
    keytab, acceptor = rotating(kdc, tmp_path)
    old = Tickets(kdc)
    old.token("alice", "HTTP@rotating")

    kdc.add_keys(keytab, "HTTP/rotating")

    assert acceptor.accept(old.token("alice", "HTTP@rotating")).principal == f"alice@{REALM}"
    assert acceptor.accept(Tickets(kdc).token("alice", "HTTP@rotating")).principal == f"alice@{REALM}"


def test_a_file_that_takes_the_old_one_s_place_ends_the_old_keys(kdc: Kdc, tmp_path: Path) -> None:
    keytab, acceptor = rotating(kdc, tmp_path)
    old = Tickets(kdc)
    old.token("alice", "HTTP@rotating")

    kdc.keytab("HTTP/rotating").rename(keytab)

    with pytest.raises(TokenRefused, match=r"(?i)key"):
        acceptor.accept(old.token("alice", "HTTP@rotating"))
    assert acceptor.accept(Tickets(kdc).token("alice", "HTTP@rotating")).principal == f"alice@{REALM}"


def test_a_service_that_may_lack_a_key_counts_as_soon_as_it_has_one(kdc: Kdc, tmp_path: Path) -> None:
    keytab = kdc.keytab("airflow/late")
    acceptor = Acceptor(keytab, (), if_keyed=("HTTP", "airflow"), replay_cache=tmp_path / "replays")
    kdc.keytab("HTTP/late")

    with pytest.raises(TokenRefused):
        acceptor.accept(Tickets(kdc).token("alice", "HTTP@late"))
    kdc.add_keys(keytab, "HTTP/late")

    assert acceptor.accept(Tickets(kdc).token("alice", "HTTP@late")).service == "HTTP/late"
    assert acceptor.accept(Tickets(kdc).token("alice", "airflow@late")).service == "airflow/late"


def test_a_keytab_without_a_key_for_any_service_is_refused(kdc: Kdc) -> None:
    with pytest.raises(ConfigError, match="no usable key for service 'HTTP'"):
        Acceptor(kdc.keytab("ldap/late"), (), if_keyed=("HTTP", "airflow"))


@pytest.mark.parametrize("content", [None, b"", b"garbage" * 100], ids=["gone", "empty", "garbage"])
def test_a_file_that_is_no_keytab_refuses_nobody_and_accepts_nobody(
    kdc: Kdc, tmp_path: Path, content: bytes | None
) -> None:
    keytab, acceptor = rotating(kdc, tmp_path)
    tickets = Tickets(kdc)
    good = keytab.read_bytes()

    keytab.unlink()
    if content is not None:
        keytab.write_bytes(content)
    with pytest.raises(BackendUnavailable, match=str(keytab)):
        acceptor.accept(tickets.token("alice", "HTTP@rotating"))
    keytab.write_bytes(good)

    assert acceptor.accept(tickets.token("alice", "HTTP@rotating")).principal == f"alice@{REALM}"


def test_a_replay_cache_that_cannot_be_used_refuses_nobody_and_accepts_nobody(
    kdc: Kdc, keytab: Path, tickets: Tickets, tmp_path: Path
) -> None:
    acceptor = Acceptor(keytab, ("HTTP",), replay_cache=tmp_path / "replays")
    (tmp_path / "replays").mkdir()

    with pytest.raises(BackendUnavailable, match="replay cache"):
        acceptor.accept(tickets.token("alice"))


def test_a_replay_cache_on_a_full_disk_refuses_nobody_and_accepts_nobody(
    kdc: Kdc, keytab: Path, tickets: Tickets, tmp_path: Path
) -> None:
    acceptor = Acceptor(keytab, ("HTTP",), replay_cache=tmp_path / "replays")
    # Each write to it ends with ENOSPC, as on a full disk.
    (tmp_path / "replays").symlink_to("/dev/full")

    with pytest.raises(BackendUnavailable, match=r"replay cache.*No space left"):
        acceptor.accept(tickets.token("alice"))
    (tmp_path / "replays").unlink()

    assert acceptor.accept(tickets.token("alice")).principal == f"alice@{REALM}"


def test_nothing_in_the_environment_lets_a_token_be_used_twice(
    keytab: Path, tickets: Tickets, monkeypatch: pytest.MonkeyPatch, kdc: Kdc
) -> None:
    monkeypatch.setenv("KRB5RCACHENAME", "none:")
    monkeypatch.setenv("KRB5RCACHEDIR", str(kdc.folder))
    acceptor = Acceptor(keytab, ("HTTP",))
    token = tickets.token("alice")

    acceptor.accept(token)

    with pytest.raises(TokenRefused, match="replay"):
        acceptor.accept(token)


def test_the_environment_stays_as_it_was(settings: Settings, tickets: Tickets) -> None:
    before = dict(os.environ)

    backend_with(settings).authenticate(Negotiate(tickets.token("alice")))

    assert dict(os.environ) == before


@pytest.mark.parametrize("bindings", [b"tls-server-end-point:" + bytes(32), b"tls-unique:abc"])
def test_channel_bindings_are_not_asked_for_and_do_no_harm(keytab: Path, tickets: Tickets, bindings: bytes) -> None:
    acceptor = Acceptor(keytab, ("HTTP",))

    ticket = acceptor.accept(tickets.token("alice", bindings=gss.ChannelBindings(application_data=bindings)))

    assert ticket.principal == f"alice@{REALM}"


@pytest.mark.parametrize(
    ("lifetime", "reason"), [("2s", "expired|skew"), ("1h", "skew")], ids=["expired", "clock-differs"]
)
def test_a_token_from_another_time_is_refused(
    kdc: Kdc, keytab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lifetime: str, reason: str
) -> None:
    config = tmp_path / "krb5.conf"
    config.write_text((kdc.folder / "krb5.conf").read_text().replace("[libdefaults]", "[libdefaults]\n  clockskew = 1"))
    monkeypatch.setenv("KRB5_CONFIG", str(config))
    acceptor = Acceptor(keytab, ("HTTP",))
    cache = kdc.kinit("alice", "-l", lifetime)["KRB5CCNAME"]
    token = Tickets(kdc, {"alice": cache}).token("alice")

    time.sleep(4)

    with pytest.raises(TokenRefused, match=f"(?i){reason}"):
        acceptor.accept(token)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble(path: Path) -> None:
    path.write_bytes(b"no keytab")


def show(path: Path) -> None:
    path.chmod(0o644)


def lend(path: Path) -> None:
    path.chmod(0o620)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(Path.unlink, "cannot be read .*ktadd -k", id="gone"),
        pytest.param(empty, "no usable key for service 'HTTP'", id="empty"),
        pytest.param(garble, "no usable key for service 'HTTP'", id="garbage"),
        pytest.param(show, "others may read .*chmod", id="readable-by-all"),
        pytest.param(lend, "others may read .*chmod", id="writable-by-the-group"),
    ],
)
def test_a_keytab_that_cannot_work_stops_the_start(
    keytab: Path, settings: Settings, tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copy(keytab, copy)
    spoil(copy)

    with pytest.raises(ConfigError, match=f"(?s){message}"):
        backend_with(settings, keytab=str(copy))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"keytab": ""}, "kerberos.keytab: empty", id="no-keytab"),
        pytest.param({"service": "HTTP,ldap"}, "no usable key for service 'ldap'", id="no-key-for-a-service"),
        pytest.param({"service": "HTTP/localhost"}, "without host", id="service-with-host"),
        pytest.param({"service": ""}, "name services", id="no-service"),
        pytest.param({"name_mapping": "strip"}, "not of the form", id="no-such-mapping"),
        pytest.param({"name_mapping": ""}, "name_mapping: empty", id="no-mapping"),
        pytest.param({"realms": "A,B"}, "one user of alice@A and alice@B", id="ambiguous"),
        pytest.param({"replay_cache": "/nowhere/replays"}, "replay_cache", id="no-folder-for-replays"),
    ],
)
def test_settings_that_cannot_work_stop_the_start(settings: Settings, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        backend_with(settings, **changed)


def flipped(token: bytes) -> bytes:
    """Return the token with its last bit turned round."""
    return token[:-1] + bytes([token[-1] ^ 1])

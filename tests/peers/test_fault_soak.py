"""Three replicas live through every fault that their peers and they themselves can have.

Each fault comes once. `FAULT_SOAK_S=1200 ./test tests/peers/test_fault_soak.py` goes on for as many seconds, over and over
again.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from peers.test_login_fab import log_in
from peers.test_restarts import airflow_database
from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway
from support.peers.kerberos import Kdc
from support.peers.kerberos_client import Tickets, negotiate
from support.peers.openid_provider import AUDIENCE, GATEWAY_CLIENT, GATEWAY_SECRET, OpenIdProvider, resource
from support.peers.postgres import Postgres
from support.peers.process import Process
from support.peers.proxies import start_nginx
from support.peers.redis_server import RedisServer
from support.peers.slapd import USERS, Slapd
from support.peers.soak_site import FAULTS, ROLLING, SERVICE, Replica, SoakSite, new_database, write_htpasswd
from support.stand_ins import basic

pytestmark = pytest.mark.peer

LASTS_S: Final = float(os.environ.get("FAULT_SOAK_S", "0"))
CALM_S: Final = 1.5
RECOVERY_S: Final = 20.0
ANSWER_S: Final = 40.0
PAUSE_S: Final = 0.03
PASSWORDS: Final = {"tom": "tom's pässwörd", "una": "una's password"}
MAPPING: Final = "".join(
    f'[[user]]\nusername = "{name}"\n' for name in ("alice", "bob", "jürgen", "kim", "lena", "tom", "una")
)


@dataclass(slots=True)
class Caller:
    """Asks again and again through the front proxy until it is stopped.

    Attributes:
        name: For messages.
        user: Who the upstream must believe it is.
        method: Of its requests.
        present: Makes its headers.
        answers: Its answers: when they ended, and the status; 0 when there was none.
        mistaken: Answers with somebody else's identity.
    """

    name: str
    user: str
    method: str
    present: Callable[[], Mapping[str, str]]
    answers: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    mistaken: list[object] = field(default_factory=list[object])

    def run(self, port: int, stopped: threading.Event) -> None:
        """Ask until stopped."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
        while not stopped.wait(PAUSE_S):
            try:
                body = b'{"a": 1}' if self.method == "POST" else None
                connection.request(self.method, "/api/v2/whose", body, dict(self.present()))
                answer = connection.getresponse()
                content: Any = answer.read()
                status = answer.status
            except (OSError, http.client.HTTPException):
                connection.close()
                self.answers.append((time.monotonic(), 0))
                continue
            self.answers.append((time.monotonic(), status))
            if status == 200 and json.loads(content)["sub"] != self.user:
                self.mistaken.append(content)
        connection.close()

    def statuses(self, began: float, ended: float) -> Counter[int]:
        """Return how often each status came between two moments."""
        return Counter(status for moment, status in self.answers if began <= moment <= ended)


@pytest.fixture(scope="module")
def site(
    echo_upstream: EchoUpstream,
    kdc: Kdc,
    slapd: Slapd,
    oidc_provider: OpenIdProvider,
    postgres: Postgres,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SoakSite]:
    folder = tmp_path_factory.mktemp("soak")
    (folder / "users.toml").write_text(MAPPING, encoding="utf-8")
    (folder / "users.toml").chmod(0o600)
    write_htpasswd(folder / "htpasswd", PASSWORDS)
    kdc.add_user("kim", "kim-pässwörd")
    keytab, store = kdc.keytab(SERVICE), new_database(postgres)
    settings = settings_of(folder, echo_upstream, slapd, oidc_provider, redis_server)
    settings["kerberos"] = {"keytab": str(keytab), "replay_cache": str(folder / "replays")}
    settings["database_url"] = postgres.url.rpartition("/")[0] + "/" + store
    settings["airflow_db"] = {"url": airflow_database(postgres)}
    replicas = [Replica(folder, number, settings, kdc.env) for number in range(3)]
    for replica in replicas:
        replica.start()
    nginx, url = start_nginx(folder, FRONT, UPSTREAM % tuple(replica.port for replica in replicas))
    tokens = {
        "opaque": oidc_provider.access_token("alice", resource=resource("opaque")),
        "signed": oidc_provider.access_token("alice", resource=resource("jwt")),
        "url": url,
    }
    yield SoakSite(
        replicas, nginx, echo_upstream, kdc, slapd, oidc_provider, postgres, redis_server,
        keytab, folder / "htpasswd", store, tokens,
    )  # fmt: skip
    nginx.stop()
    for replica in replicas:
        replica.process.stop()


FRONT: Final = """
location / {
  proxy_pass http://gateways;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_read_timeout 30s;
  proxy_connect_timeout 2s;
  proxy_next_upstream error;
}
"""
UPSTREAM: Final = """
upstream gateways {
  server 127.0.0.1:%d fail_timeout=1s;
  server 127.0.0.1:%d fail_timeout=1s;
  server 127.0.0.1:%d fail_timeout=1s;
  keepalive 16;
  keepalive_timeout 30s;
}
"""


def settings_of(
    folder: Path, echo: EchoUpstream, slapd: Slapd, provider: OpenIdProvider, redis: RedisServer
) -> dict[str, Any]:
    """Return what all replicas have in common, but for the stores and Kerberos."""
    ldap = slapd.settings()
    issuer = {
        "issuer": provider.issuer, "audience": AUDIENCE, "scope": "read", "username_claim": "preferred_username",
        "introspection": True, "client_id": GATEWAY_CLIENT, "client_secret": GATEWAY_SECRET,
    }  # fmt: skip
    return {
        "auth_backends": ["session", "basic_auth", "kerberos", "oidc", "personal_token"],
        "redis_url": redis.url,
        "trusted_proxies": ["127.0.0.1/32"],
        "upstream": {"url": echo.url, "profile": "generic", "protect": ["/api/"], "timeout_s": 10},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "session": {"secret": "a secret for nothing but this very soak"},
        "personal_tokens": {"pepper": "a pepper for nothing but this very soak"},
        "basic_auth": {"directories": ["htpasswd", "airflow_db", "ldap"], "cache_ttl_s": 2},
        "htpasswd": {"file": str(folder / "htpasswd")},
        "ldap": {
            "url": slapd.url, "ca_file": str(slapd.ca_file), "bind_dn": ldap.bind_dn,
            "bind_password": ldap.bind_password.get_secret_value(), "base": ldap.base, "timeout_s": 3,
        },
        "lookup": {"directories": ["mapping"]},
        "mapping": {"file": str(folder / "users.toml")},
        "oidc": {"cache_ttl_s": 1, "issuers": [issuer]},
    }  # fmt: skip


@pytest.fixture(scope="module")
def callers(site: SoakSite) -> list[Caller]:
    tickets = Tickets(site.kdc)
    tickets.token("jürgen")
    with requests.Session() as browser:
        browser.trust_env = False
        instance = Gateway(f"http://127.0.0.1:{site.replicas[0].port}", Process("", Path()))
        assert log_in(instance, browser, "lena", "lena-pässwörd").status_code == 303
        cookie = f"compat_auth_session={browser.cookies['compat_auth_session']}"
    made = requests.post(
        site.tokens["url"] + "/compat-auth/api/personal-tokens",
        json={"name": "soak"}, headers={"Authorization": basic("una", PASSWORDS["una"])}, timeout=ANSWER_S,
    )  # fmt: skip
    assert made.status_code == 201, made.text
    personal = made.json()["token"]

    def password(name: str, word: str) -> Callable[[], Mapping[str, str]]:
        return lambda: {"Authorization": basic(name, word)}

    def bearer(kind: str) -> Callable[[], Mapping[str, str]]:
        return lambda: {"Authorization": f"Bearer {site.tokens[kind]}"}

    return [
        Caller("password in a file", "tom", "GET", password("tom", PASSWORDS["tom"])),
        Caller("a POST with a password in a file", "tom", "POST", password("tom", PASSWORDS["tom"])),
        Caller("another POST", "una", "POST", password("una", PASSWORDS["una"])),
        Caller("password in the database", "lena", "GET", password("lena", "lena-pässwörd")),
        Caller("password in LDAP", "bob", "GET", password("bob", USERS["bob"])),
        Caller("ticket", "jürgen", "GET", lambda: negotiate(tickets.token("jürgen"))),
        Caller("opaque token", "alice", "GET", bearer("opaque")),
        Caller("signed token", "alice", "GET", bearer("signed")),
        Caller("session", "lena", "GET", lambda: {"Cookie": cookie}),
        Caller("personal token", "una", "GET", lambda: {"Authorization": f"Bearer {personal}"}),
    ]


@dataclass(slots=True)
class Report:
    """What the soak has seen.

    Attributes:
        began, ended: By the monotonic clock.
        faults: Which fault lasted from when to when.
        not_healed: Who was still refused long after a fault.
    """

    began: float = 0
    ended: float = 0
    faults: list[tuple[str, float, float]] = field(default_factory=list[tuple[str, float, float]])
    not_healed: list[str] = field(default_factory=list[str])


@pytest.fixture(scope="module")
def report(site: SoakSite, callers: Sequence[Caller]) -> Report:
    found, stopped = Report(began=time.monotonic()), threading.Event()
    port = int(site.tokens["url"].rpartition(":")[2])
    threads = [threading.Thread(target=caller.run, args=(port, stopped), name=caller.name) for caller in callers]
    for thread in threads:
        thread.start()
    try:
        for rounds in itertools.count(1):
            for name, fault in FAULTS.items():
                time.sleep(CALM_S)
                began = time.monotonic()
                fault(site)
                found.faults.append((name, began, time.monotonic()))
                found.not_healed += [f"{name}: {who}" for who in wait_until_healed(callers)]
                say(f"soak: {time.monotonic() - found.began:.0f} s, {name}: {total(callers, began)}")
                if 0 < LASTS_S < time.monotonic() - found.began:
                    break
            if time.monotonic() - found.began > LASTS_S:
                say(f"soak: {rounds} rounds, {len(found.faults)} faults, {total(callers, 0)}")
                break
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
        found.ended = time.monotonic()
    return found


def total(callers: Sequence[Caller], since: float) -> dict[int, int]:
    counted: Counter[int] = Counter()
    for caller in callers:
        counted += caller.statuses(since, float("inf"))
    return dict(counted)


def wait_until_healed(callers: Sequence[Caller]) -> list[str]:
    """Return whose last answers were not all good after the longest time that a recovery may take."""
    began = time.monotonic()
    waiting: list[str] = []
    while time.monotonic() - began < RECOVERY_S:
        time.sleep(0.2)
        waiting = [
            caller.name
            for caller in callers
            if [status for moment, status in caller.answers[-4:] if moment > began] != [200] * 4
        ]
        if not waiting:
            return []
    return waiting


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


def test_nobody_is_ever_taken_for_somebody_else(report: Report, callers: Sequence[Caller]) -> None:
    assert report.faults

    mistaken = {caller.name: caller.mistaken for caller in callers if caller.mistaken}

    assert mistaken == {}


def test_no_answer_is_an_internal_error(report: Report, callers: Sequence[Caller], site: SoakSite) -> None:
    broken = {
        (name, caller.name): caller.statuses(began, ended + RECOVERY_S)[500]
        for name, began, ended in report.faults
        for caller in callers
        if caller.statuses(began, ended + RECOVERY_S)[500]
    }

    assert broken == {}
    assert "Traceback" not in "".join(r.process.log.read_text(errors="replace") for r in site.replicas)


def test_everybody_is_let_in_again_after_each_fault(report: Report) -> None:
    assert report.faults

    assert report.not_healed == []


def test_no_post_is_lost_while_the_replicas_are_restarted_in_turn(report: Report, callers: Sequence[Caller]) -> None:
    (posts,) = [[caller for caller in callers if caller.method == "POST"]]

    lost = [
        (caller.name, caller.statuses(began, ended))
        for name, began, ended in report.faults
        for caller in posts
        if name == ROLLING and set(caller.statuses(began, ended)) != {200}
    ]

    assert lost == []


def test_those_who_need_no_other_than_a_file_are_let_in_throughout_every_fault_of_a_peer(
    report: Report, callers: Sequence[Caller]
) -> None:
    peers = ("KDC", "slapd", "provider", "database", "Redis", "store's tables")
    simple = next(caller for caller in callers if caller.name == "password in a file")

    refused = {
        name: simple.statuses(began, ended)
        for name, began, ended in report.faults
        if any(peer in name for peer in peers) and set(simple.statuses(began, ended)) - {200}
    }

    assert refused == {}

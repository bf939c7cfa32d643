"""KDC, slapd, OpenID provider, database and Redis are stopped and started again under load, one after the other.

One gateway, eight clients at once, each with a credential of another kind. Who needs the peer that is away is told to
come again (503 with Retry-After), and is let in once it is back, without a restart of ours; nobody else notices.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
import requests
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from werkzeug.security import generate_password_hash

from peers.test_login_fab import log_in
from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway
from support.peers.kerberos import Kdc
from support.peers.kerberos_client import Tickets, negotiate
from support.peers.mixed_load import Client, Seen, asking
from support.peers.openid_provider import AUDIENCE, GATEWAY_CLIENT, GATEWAY_SECRET, OpenIdProvider, resource
from support.peers.postgres import Postgres
from support.peers.redis_server import RedisServer
from support.peers.slapd import USERS, Slapd
from support.stand_ins import basic

pytestmark = pytest.mark.peer

CALM_S: Final = 2.0
DOWN_S: Final = 2.0
RECOVERY_S: Final = 15.0
# Longer than any answer that does not wait for a peer that is away takes on a busy machine.
UNHINDERED_S: Final = 5.0
KIM: Final = "kim-pässwörd"
LENA: Final = "lena-pässwörd"
MAPPING: Final = "".join(f'[[user]]\nusername = "{name}"\n' for name in ("alice", "bob", "jürgen", "kim", "lena"))
_TABLES: Final = (
    "CREATE TABLE ab_user (id SERIAL PRIMARY KEY, username TEXT, email TEXT, password TEXT, active BOOLEAN)",
    "CREATE TABLE ab_role (id SERIAL PRIMARY KEY, name TEXT)",
    "CREATE TABLE ab_user_role (id SERIAL PRIMARY KEY, user_id INTEGER, role_id INTEGER)",
)


@dataclass(frozen=True, slots=True)
class Site:
    """The gateway, and the peers by name."""

    gateway: Gateway
    peers: Mapping[str, Any]
    clients: tuple[Client, ...]
    tokens: dict[str, str]

    @property
    def port(self) -> int:
        return int(self.gateway.url.rpartition(":")[2])


def airflow_database(postgres: Postgres) -> str:
    """Make a database with Airflow's user tables and one user, whose hash costs next to nothing; return its URL."""
    name = f"restarts_{uuid.uuid4().hex}"
    engine = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    url = make_url(postgres.url).set(database=name)
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in _TABLES:
            connection.execute(text(statement))
        connection.execute(
            text(
                "INSERT INTO ab_user (username, email, password, active) VALUES ('lena', 'l@example.org', :hash, true)"
            ),
            {"hash": generate_password_hash(LENA, "pbkdf2:sha256:1")},
        )
    engine.dispose()
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def site(
    gateway: StartGateway,
    echo_upstream: EchoUpstream,
    kdc: Kdc,
    slapd: Slapd,
    oidc_provider: OpenIdProvider,
    postgres: Postgres,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Site:
    folder = tmp_path_factory.mktemp("restarts")
    (folder / "users.toml").write_text(MAPPING, encoding="utf-8")
    (folder / "users.toml").chmod(0o600)
    kdc.add_user("kim", KIM)
    database_url = airflow_database(postgres)
    ldap = slapd.settings()
    started = gateway(
        {
            "auth_backends": ["session", "basic_auth", "kerberos", "oidc"],
            "database_url": database_url,
            "redis_url": redis_server.url,
            "upstream": {"url": echo_upstream.url, "profile": "generic", "protect": ["/api/"]},
            "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
            "session": {"secret": "a secret for nothing but this very test"},
            # The first that knows a user decides; each that comes after one that is away is not asked.
            "basic_auth": {"directories": ["airflow_db", "ldap", "kinit"], "cache_ttl_s": 0},
            "airflow_db": {"url": database_url},
            "ldap": {
                "url": slapd.url, "ca_file": str(slapd.ca_file), "bind_dn": ldap.bind_dn,
                "bind_password": ldap.bind_password.get_secret_value(), "base": ldap.base, "timeout_s": 3,
            },
            "kerberos": {"keytab": str(kdc.keytab("HTTP/localhost")), "replay_cache": str(folder / "replays")},
            "lookup": {"directories": ["mapping"]},
            "mapping": {"file": str(folder / "users.toml")},
            "oidc": {
                "cache_ttl_s": 1,
                "issuers": [
                    {
                        "issuer": oidc_provider.issuer, "audience": AUDIENCE, "scope": "read",
                        "username_claim": "preferred_username", "introspection": True,
                        "client_id": GATEWAY_CLIENT, "client_secret": GATEWAY_SECRET,
                    }
                ],
            },
            "serve": {"workers": 2},
        },
        kdc.env,
    )  # fmt: skip
    tickets = Tickets(kdc)
    # The ticket for the service is in the cache from now on: a client that has it needs no KDC.
    tickets.token("jürgen")
    tokens = {
        "opaque": oidc_provider.access_token("alice", resource=resource("opaque")),
        "signed": oidc_provider.access_token("alice", resource=resource("jwt")),
    }
    with requests.Session() as browser:
        browser.trust_env = False
        assert log_in(started, browser, "lena", LENA).status_code == 303
        cookie = f"compat_auth_session={browser.cookies['compat_auth_session']}"

    def bearer(kind: str) -> Callable[[], Mapping[str, str]]:
        return lambda: {"Authorization": f"Bearer {tokens[kind]}"}

    def password(name: str, word: str) -> Callable[[], Mapping[str, str]]:
        return lambda: {"Authorization": basic(name, word)}

    clients = (
        Client("password in the database", "lena", ["database"], password("lena", LENA)),
        Client("password in LDAP", "bob", ["database", "slapd"], password("bob", USERS["bob"])),
        Client("Kerberos password", "kim", ["database", "slapd", "KDC"], password("kim", KIM)),
        Client("ticket", "jürgen", [], lambda: negotiate(tickets.token("jürgen"))),
        # Its name is not the account's own number: which account the user belongs to stands in the database.
        Client("opaque token", "alice", ["OpenID provider", "database"], bearer("opaque")),
        Client("signed token", "alice", [], bearer("signed")),
        Client("session", "lena", ["database"], lambda: {"Cookie": cookie}),
        Client("another ticket", "alice", [], lambda: negotiate(tickets.token("alice"))),
    )
    peers = {
        "KDC": kdc, "slapd": slapd, "OpenID provider": oidc_provider, "database": postgres, "Redis": redis_server,
    }  # fmt: skip
    return Site(started, peers, clients, tokens)


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """When a peer was away, by the monotonic clock.

    Attributes:
        began: Before it was stopped.
        back: When it took connections again.
        ended: When the next thing happened to any peer.
    """

    began: float
    back: float
    ended: float


@pytest.fixture(scope="module")
def outages(site: Site) -> dict[str, CircuitBreaker]:
    """Stop and start every peer in turn while all clients ask, and return when each was away."""
    found: dict[str, CircuitBreaker] = {}
    with asking(site.clients, site.port):
        time.sleep(CALM_S)
        for name, peer in site.peers.items():
            began = time.monotonic()
            peer.stop()
            time.sleep(DOWN_S)
            peer.start()
            back = time.monotonic()
            if name == "OpenID provider":
                # It keeps its tokens in memory, so its client must get a new one.
                site.tokens["opaque"] = peer.access_token("alice", resource=resource("opaque"))
            wait_until_all_are_let_in(site.clients)
            time.sleep(CALM_S)
            found[name] = CircuitBreaker(began, back, time.monotonic())
    return found


def wait_until_all_are_let_in(clients: tuple[Client, ...]) -> None:
    """Return once the last three answers to every client are good, or when that takes too long."""
    began = time.monotonic()
    while time.monotonic() - began < RECOVERY_S:
        time.sleep(0.1)
        if all(seen.status == 200 and seen.began > began for client in clients for seen in client.seen[-3:]):
            return


PEERS: Final = ("KDC", "slapd", "OpenID provider", "database", "Redis")
every_peer = pytest.mark.parametrize("peer", PEERS)


def summary(seen: list[Seen]) -> Counter[int]:
    return Counter(one.status for one in seen)


def test_while_all_is_well_everybody_is_let_in_as_who_they_are(site: Site, outages: dict[str, CircuitBreaker]) -> None:
    first = min(outage.began for outage in outages.values())

    calm = {client.name: client.during(0, first - 0.1) for client in site.clients}

    assert {name: set(summary(seen)) for name, seen in calm.items()} == {client.name: {200} for client in site.clients}
    for client in site.clients:
        assert {one.user for one in client.seen if one.status == 200} == {client.user}


@every_peer
def test_who_needs_no_peer_that_is_away_notices_nothing(
    site: Site, outages: dict[str, CircuitBreaker], peer: str
) -> None:
    outage = outages[peer]
    others = [client for client in site.clients if peer not in client.needs]

    failures = {
        client.name: [one for one in client.during(outage.began, outage.ended) if one.status != 200]
        for client in others
    }
    slowest_s = max(one.ended - one.began for client in others for one in client.during(outage.began, outage.ended))

    assert failures == {client.name: [] for client in others}
    assert all(len(client.during(outage.began, outage.back)) > 1 for client in others)
    assert slowest_s < UNHINDERED_S


@every_peer
def test_who_needs_it_is_told_to_come_again_and_is_let_in_when_it_is_back(
    site: Site, outages: dict[str, CircuitBreaker], peer: str
) -> None:
    outage = outages[peer]
    # A provider that has forgotten its tokens says so, until its client has got a new one.
    judged = {200, 503, 401} if peer == "OpenID provider" else {200, 503}

    for client in site.clients:
        if peer not in client.needs:
            continue
        meanwhile = client.during(outage.began, outage.ended)
        refused = [one for one in meanwhile if one.status == 503]
        assert set(summary(meanwhile)) <= judged, (client.name, summary(meanwhile))
        assert refused, (client.name, summary(meanwhile))
        assert all(one.retry_after.isdigit() and int(one.retry_after) > 0 for one in refused), client.name
        assert not any(one.user for one in refused), client.name
        settled = client.during(outage.ended - 1, outage.ended)
        assert set(summary(settled)) == {200}, (client.name, summary(settled))
        healed = next(one for one in meanwhile if one.status == 200 and one.began > max(r.ended for r in refused))
        assert healed.ended - outage.back < RECOVERY_S, client.name

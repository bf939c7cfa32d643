"""The site: every peer, three replicas with PostgreSQL and Redis, and nginx with the lane in front of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from werkzeug.security import generate_password_hash

from soak.slow_link import SlowLink
from support.peers.airflows import JWT_SECRET
from support.peers.authority import Authority
from support.peers.echo import EchoUpstream
from support.peers.gateway import COMMAND
from support.peers.kerberos import Kdc
from support.peers.openid_provider import AUDIENCE, GATEWAY_CLIENT, GATEWAY_SECRET, OpenIdProvider
from support.peers.postgres import Postgres
from support.peers.process import Process, answers_http, free_port
from support.peers.redis_server import RedisServer
from support.peers.slapd import Slapd
from support.peers.soak_site import SERVICE, Replica, new_database, write_htpasswd

REPLICAS: Final = 3
SMALL_DISK_MIB: Final = 16
FILE_USERS: Final = {"tom": "tom's pässwörd", "una": "una's password", "vera": "vera's password"}
LENA: Final = "lena-pässwörd"
KIM: Final = "kim-pässwörd"
KNOWN: Final = ("alice", "bob", "jürgen", "kim", "lena", "tom", "una", "vera")
START_S: Final = 30
_TABLES: Final = (
    "CREATE TABLE ab_user (id SERIAL PRIMARY KEY, username TEXT, email TEXT, password TEXT, active BOOLEAN)",
    "CREATE TABLE ab_role (id SERIAL PRIMARY KEY, name TEXT)",
    "CREATE TABLE ab_user_role (id SERIAL PRIMARY KEY, user_id INTEGER, role_id INTEGER)",
)


class PatientReplica(Replica):
    """A replica that may start slowly, because an hour may have a minute in which the machine does other work."""

    start_s = 240


class SoakUpstream(EchoUpstream):
    """The echoing upstream; it cuts answers while the file `cuts` exists."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "upstream.log")
        self.cuts = folder / "cuts"

    def start(self) -> None:
        """Start it and return once it answers."""
        script = str(Path(__file__).with_name("upstream.py"))
        self.process.start(
            [sys.executable, script, self.url.rpartition(":")[2], JWT_SECRET, str(self.cuts)],
            env=os.environ,
            is_ready=lambda: answers_http(self.url),
            timeout_s=START_S,
        )


@dataclass(slots=True)
class Place:
    """Everything that runs.

    Attributes:
        folder: For all files.
        replicas: The gateways. The first keeps its log on the small disk, the second has a clock that can be moved, and
            nothing but the whole machine ever ends the third.
        small_disk: A file system of `SMALL_DISK_MIB`, or a folder where that needs rights that we lack.
        has_small_disk: Whether it is a file system of its own.
        clock: File that moves the second replica's clock (libfaketime).
        nginx: The front.
        port: Where the front listens.
        upstream, kdc, slapd, provider, postgres, redis: The peers.
        to_kdc, to_slapd: The gateways' way to them.
        keytab, htpasswd: Files of the gateways.
        database: URL of the gateways' database.
    """

    folder: Path
    replicas: list[Replica]
    small_disk: Path
    has_small_disk: bool
    clock: Path
    nginx: Process
    port: int
    upstream: SoakUpstream
    kdc: Kdc
    slapd: Slapd
    provider: OpenIdProvider
    postgres: Postgres
    redis: RedisServer
    to_kdc: SlowLink
    to_slapd: SlowLink
    keytab: Path
    htpasswd: Path
    database: str


@contextmanager
def running_place(folder: Path) -> Generator[Place]:
    """Start all of it in a folder, and end it with the block."""
    with ExitStack() as stack:
        signed = Authority(folder)
        upstream = SoakUpstream(folder)
        kdc, postgres = Kdc(), Postgres()
        stack.callback(kdc.remove)
        stack.callback(postgres.remove)
        redis = RedisServer(_folder(folder / "redis"), signed.sign("redis"))
        slapd = Slapd(_folder(folder / "slapd"), signed, signed.sign("slapd"))
        provider = OpenIdProvider(_folder(folder / "oidc"))
        for start, stop in (
            (kdc.start, kdc.stop),
            (postgres.start, postgres.stop),
            (redis.start, redis.stop),
            (slapd.start, slapd.stop),
            (provider.start, provider.stop),
            (upstream.start, upstream.process.stop),
        ):
            stack.callback(stop)
            start()
        to_kdc, to_slapd = SlowLink(kdc.port), SlowLink(int(slapd.url.rpartition(":")[2]))
        for link in (to_kdc, to_slapd):
            link.start()
            stack.callback(link.stop)
        # The clients of this process use the KDC itself; the gateways a way that can be slow.
        os.environ.update(kdc.env)
        kdc.add_user("kim", KIM)
        small_disk, has_small_disk = _small_disk(folder / "small", stack)
        keytab = kdc.keytab(SERVICE)
        place = Place(
            folder, [], small_disk, has_small_disk, folder / "clock", Process("nginx", folder / "nginx.log"),
            free_port(), upstream, kdc, slapd, provider, postgres, redis, to_kdc, to_slapd, keytab,
            folder / "htpasswd", _databases(postgres),
        )  # fmt: skip
        _write_files(place)
        for number in range(REPLICAS):
            place.replicas.append(_replica(place, number))
        stack.callback(_stop_all, place)
        for replica in place.replicas:
            replica.start()
        _start_nginx(place)
        yield place


def _stop_all(place: Place) -> None:
    place.nginx.stop()
    for replica in place.replicas:
        replica.process.stop()


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _databases(postgres: Postgres) -> str:
    """Make the gateways' database, with Airflow's user tables and one user in it; return its URL."""
    url = make_url(postgres.url).set(database=new_database(postgres))
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in _TABLES:
            connection.execute(text(statement))
        lena = "INSERT INTO ab_user (username, email, password, active) VALUES ('lena', 'l@example.org', :hash, true)"
        connection.execute(text(lena), {"hash": generate_password_hash(LENA, "pbkdf2:sha256:1")})
    engine.dispose()
    return url.render_as_string(hide_password=False)


def _small_disk(path: Path, stack: ExitStack) -> tuple[Path, bool]:
    path.mkdir()
    if os.geteuid() != 0:
        return path, False
    made = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_MIB}m,mode=0700", "soak", str(path)]
    if subprocess.run(made, check=False, capture_output=True).returncode != 0:
        return path, False
    stack.callback(subprocess.run, ["umount", "--lazy", str(path)], check=False)
    return path, True


def _write_files(place: Place) -> None:
    mapping = place.folder / "users.toml"
    mapping.write_text("".join(f'[[user]]\nusername = "{name}"\n' for name in KNOWN), encoding="utf-8")
    mapping.chmod(0o600)
    write_htpasswd(place.htpasswd, FILE_USERS)
    place.clock.write_text("+0\n")
    config = (place.kdc.folder / "krb5.conf").read_text()
    slow = re.sub(rf"127\.0\.0\.1:{place.kdc.port}\b", f"127.0.0.1:{place.to_kdc.port}", config)
    (place.folder / "krb5.conf").write_text(slow)


def _replica(place: Place, number: int) -> Replica:
    folder = place.small_disk if number == 0 else _folder(place.folder / f"replica-{number}")
    environ: dict[str, str] = {"KRB5_CONFIG": str(place.folder / "krb5.conf")}
    if number == 1:
        environ |= faketime(place.clock)
    return PatientReplica(folder, number, _settings(place, folder), environ)


def faketime(clock: Path) -> Mapping[str, str]:
    """Return the environment that lets a file move a program's time of day, and no other clock."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        sys.exit("libfaketime is not installed; run: apt-get install faketime")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def _settings(place: Place, folder: Path) -> dict[str, Any]:
    ldap = place.slapd.settings()
    issuer = {
        "issuer": place.provider.issuer, "audience": AUDIENCE, "scope": "read", "username_claim": "preferred_username",
        "introspection": True, "client_id": GATEWAY_CLIENT, "client_secret": GATEWAY_SECRET,
    }  # fmt: skip
    return {
        "auth_backends": ["session", "basic_auth", "kerberos", "oidc", "personal_token"],
        "database_url": place.database,
        "redis_url": place.redis.url,
        "trusted_proxies": ["127.0.0.1/32"],
        "forward_auth": {"bind": f"127.0.0.1:{free_port()}"},
        "upstream": {"url": place.upstream.url, "profile": "generic", "protect": ["/api/"], "timeout_s": 10},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "token_endpoint": {"failures_per_minute": 100_000, "tokens_per_minute": 100_000},
        "session": {"secret": "a secret for nothing but this very soak"},
        "personal_tokens": {
            "pepper": "a pepper for nothing but this very soak", "failures_per_minute": 100_000, "per_user_limit": 1000,
        },
        "basic_auth": {"directories": ["htpasswd", "airflow_db", "ldap", "kinit"], "cache_ttl_s": 5},
        "airflow_db": {"url": place.database},
        "htpasswd": {"file": str(place.htpasswd)},
        "ldap": {
            "url": f"ldap://127.0.0.1:{place.to_slapd.port}", "ca_file": str(place.slapd.ca_file),
            "bind_dn": ldap.bind_dn, "bind_password": ldap.bind_password.get_secret_value(), "base": ldap.base,
            "timeout_s": 3,
        },
        "kerberos": {"keytab": str(place.keytab), "replay_cache": str(folder / "replays")},
        "lookup": {"directories": ["mapping"]},
        "mapping": {"file": str(place.folder / "users.toml")},
        "oidc": {"cache_ttl_s": 5, "issuers": [issuer]},
        "serve": {"drain_s": 1},
    }  # fmt: skip


def _start_nginx(place: Place) -> None:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        sys.exit("nginx is not installed; run: apt-get install nginx-light libnginx-mod-http-lua")
    folder = _folder(place.folder / "nginx")
    written = folder / "nginx.conf"
    # The first replica's file: the lane asks its listener, and the gateway of the others is named.
    command = [COMMAND, "proxy-config", "nginx", "--config", str(place.small_disk / "replica-0.toml")]
    command += ["--listen", f"127.0.0.1:{place.port}", "--folder", str(folder), "--output", str(written)]
    command += ["--lane", "lua"]
    if os.geteuid() == 0:
        command += ["--user", "root"]
    for replica in place.replicas:
        command += ["--gateway", f"127.0.0.1:{replica.port}"]
    subprocess.run(command, check=True)
    ready: Callable[[], bool] = lambda: answers_http(f"http://127.0.0.1:{place.port}/compat-auth/live")  # noqa: E731
    place.nginx.start(
        [program, "-c", str(written), "-e", str(place.nginx.log), "-g", "daemon off;"],
        env={"PATH": os.defpath},
        is_ready=ready,
        timeout_s=START_S,
    )

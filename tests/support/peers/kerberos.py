"""A real MIT KDC in a folder of its own: nothing under /etc is read or written."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import pytest

from support.peers.process import Process, free_port, run

START_S = 20
REALM: Final = "LAB.TEST"
# Nobody of these has another password than in the test itself.
PASSWORDS: Final = {
    "alice": "alice-pässwörd",
    "jürgen": "jürgen-pässwörd",
    "disabled": "disabled-password",
    "unknown": "unknown-password",
    "alice/admin": "admin-password",
}
OTHER_REALM: Final = "OTHER.TEST"
# Debian keeps servers out of a user's PATH.
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def program(name: str) -> str:
    """Return the path of one of MIT Kerberos' programs; a missing one fails the test."""
    found = shutil.which(name, path=SEARCH_PATH)
    if found is None:
        pytest.fail(
            f"the peer MIT Kerberos is not installed ({name}); run: apt-get install krb5-kdc krb5-admin-server krb5-user",
            pytrace=False,
        )
    return found


class Kdc:
    """One KDC for one realm, on loopback only.

    Attributes:
        realm: Its realm.
        folder: Configuration, database, keytabs, ticket caches; temporary.
        process: The running KDC.
    """

    def __init__(self, realm: str = REALM, *, trusted: "Kdc | None" = None) -> None:
        self.realm = realm
        self.folder = Path(tempfile.mkdtemp(prefix="compat-auth-kdc-"))
        self.port = free_port()
        self.process = Process(f"krb5kdc ({realm})", self.folder / "log")
        self._tickets = 0
        (self.folder / "krb5.conf").write_text(self._client_config(trusted))
        (self.folder / "kdc.conf").write_text(self._server_config())
        (self.folder / "acl").write_text("")
        # A weak random source: the keys are thrown away with the run, and nobody waits for entropy.
        self._run("kdb5_util", "create", "-W", "-s", "-r", realm, "-P", "master")
        for name, password in PASSWORDS.items():
            self.add_user(name, password)

    def start(self) -> None:
        """Start the KDC on the same port and database as before."""
        self.process.start(
            [program("krb5kdc"), "-n", "-r", self.realm, "-P", str(self.folder / "pid")],
            env=self.admin_env, is_ready=self._accepts_connections, timeout_s=START_S,
        )  # fmt: skip

    def stop(self) -> None:
        """Stop the KDC; the database stays."""
        self.process.stop()

    def remove(self) -> None:
        """Stop the KDC and remove all of it."""
        self.stop()
        shutil.rmtree(self.folder)

    @property
    def env(self) -> dict[str, str]:
        """What makes MIT Kerberos, in a client or an acceptor, use this realm."""
        return {"KRB5_CONFIG": str(self.folder / "krb5.conf")}

    @property
    def admin_env(self) -> dict[str, str]:
        """The whole environment of the KDC and of kadmin.local."""
        return {"PATH": SEARCH_PATH, **self.env, "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf")}

    def kadmin(self, *queries: str) -> None:
        """Run kadmin.local once for each query."""
        for query in queries:
            self._run("kadmin.local", "-r", self.realm, "-q", query)

    def trust(self, other: "Kdc") -> None:
        """Let the users of another realm have tickets for the services of this one."""
        for kdc in (self, other):
            kdc.kadmin(f'addprinc -pw "between {self.realm} and {other.realm}" krbtgt/{self.realm}@{other.realm}')

    def add_user(self, name: str, password: str) -> None:
        """Add a user with a password."""
        self.kadmin(f'addprinc -pw "{password}" {name}@{self.realm}')

    def keytab(self, *services: str) -> Path:
        """Return a new keytab with new keys for the services, each made where the KDC does not know it."""
        path = self.folder / f"keytab-{len(list(self.folder.glob('keytab-*')))}"
        for service in services:
            if self._ask(f"getprinc {service}") != 0:
                self.kadmin(f"addprinc -randkey {service}")
        self.add_keys(path, *services)
        return path

    def add_keys(self, keytab: Path, *services: str) -> None:
        """Give the services new keys, and add them to the keytab, as a rotation does."""
        self.kadmin(*(f"ktadd -k {keytab} {service}" for service in services))

    def kinit(self, user: str, *options: str) -> dict[str, str]:
        """Return the whole environment of a client that has a ticket of the user in a cache of its own."""
        self._tickets += 1
        env = {"PATH": SEARCH_PATH, **self.env, "KRB5CCNAME": f"FILE:{self.folder}/ccache-{self._tickets}"}
        subprocess.run(
            [program("kinit"), *options, f"{user}@{self.realm}"],
            env=env, input=PASSWORDS[user].encode() + b"\n", check=True, capture_output=True, timeout=START_S,
        )  # fmt: skip
        return env

    def _ask(self, query: str) -> int:
        # kadmin.local ends with 0 whatever it finds: its output tells.
        command = [program("kadmin.local"), "-r", self.realm, "-q", query]
        asked = subprocess.run(command, env=self.admin_env, capture_output=True, timeout=START_S, check=True)
        return 1 if b"does not exist" in asked.stderr else 0

    def _run(self, name: str, *arguments: str) -> None:
        run([program(name), *arguments], env=self.admin_env, folder=self.folder, log=self.folder / "admin.log")

    def _accepts_connections(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _client_config(self, trusted: "Kdc | None") -> str:
        services = trusted.realm if trusted else self.realm
        realms = "".join(
            # MIT Kerberos wants each of these on a line of its own.
            f"  {kdc.realm} = {{\n    kdc = 127.0.0.1:{kdc.port}\n  }}\n"
            for kdc in (self, trusted)
            if kdc is not None
        )
        return (
            f"[libdefaults]\n  default_realm = {self.realm}\n  dns_lookup_kdc = false\n  dns_lookup_realm = false\n"
            '  dns_canonicalize_hostname = false\n  rdns = false\n  qualify_shortname = ""\n  ticket_lifetime = 1h\n'
            # TCP at once: a UDP packet to a stopped KDC would wait for its time-out.
            "  udp_preference_limit = 1\n"
            f"[realms]\n{realms}"
            f"[domain_realm]\n  localhost = {services}\n  other = {services}\n  rotating = {services}\n"
        )

    def _server_config(self) -> str:
        return (
            f"[kdcdefaults]\n  kdc_listen = 127.0.0.1:{self.port}\n  kdc_tcp_listen = 127.0.0.1:{self.port}\n"
            f"[realms]\n  {self.realm} = {{\n    database_name = {self.folder}/principal\n"
            f"    key_stash_file = {self.folder}/stash\n    acl_file = {self.folder}/acl\n"
            "    max_life = 10h\n    default_principal_flags = +preauth\n"
            "    supported_enctypes = aes256-cts-hmac-sha1-96:normal\n  }\n"
            f"[logging]\n  kdc = FILE:{self.folder}/kdc.log\n  default = FILE:{self.folder}/krb5.log\n"
        )

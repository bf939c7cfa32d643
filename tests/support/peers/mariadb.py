"""A real MariaDB with a data folder of its own."""

import hashlib
import os
import pwd
import shutil
import tempfile
import uuid
from pathlib import Path

import pytest

from support.peers.authority import Signed
from support.peers.process import Process, free_port, run

START_S = 60
SERVER_USER = "mysql"
PASSWORD = "airflow/pass:word@ü"


class MariaDb:
    """One MariaDB server on loopback; user `airflow`, who may do anything, with a password that a URL has to quote.

    Attributes:
        host: Where it listens.
        port: Where it listens.
        socket: Its local socket.
        process: The running server.
    """

    host = "127.0.0.1"

    def __init__(self, signed: Signed) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="compat-auth-mariadb-"))
        self.port = free_port()
        self.socket = self._folder / "socket"
        self.process = Process("MariaDB", self._folder / "log")
        certificate, key = self._folder / "cert.pem", self._folder / "key.pem"
        shutil.copy(signed.certificate, certificate)
        shutil.copy(signed.key, key)
        self._tls = (f"--ssl-cert={certificate}", f"--ssl-key={key}")
        if os.geteuid() == 0:
            owner = pwd.getpwnam(SERVER_USER)
            for path in (self._folder, certificate, key):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        run(
            [_program("mariadb-install-db"), "--no-defaults", f"--datadir={self._data}", "--auth-root-authentication-method=normal",
             "--skip-test-db", *self._as_server_user()],
            env=self._env(), folder=self._folder, log=self._folder / "log",
        )  # fmt: skip
        self._init = self._folder / "init.sql"
        self._init.write_text(
            f"CREATE OR REPLACE USER airflow@'%' IDENTIFIED BY PASSWORD '{_hash()}';\nGRANT ALL ON *.* TO airflow@'%';\n"
            f"CREATE OR REPLACE USER secure@'%' IDENTIFIED BY PASSWORD '{_hash()}' REQUIRE SSL;\nGRANT SELECT ON *.* TO secure@'%';\n",
            encoding="utf-8",
        )
        self._init.chmod(0o644)

    def start(self) -> None:
        """Start the server on the same port and data as before."""
        self.process.start(
            [_program("mariadbd"), "--no-defaults", f"--datadir={self._data}", f"--port={self.port}", f"--bind-address={self.host}",
             f"--socket={self.socket}", f"--pid-file={self._folder / 'pid'}", f"--init-file={self._init}", "--skip-name-resolve",
             "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M", *self._tls, *self._as_server_user()],
            env=self._env(), is_ready=self.socket.exists, timeout_s=START_S,
        )  # fmt: skip

    def stop(self) -> None:
        """Stop the server; the data stays."""
        self.process.stop()

    def remove(self) -> None:
        """Stop the server and remove its data."""
        self.stop()
        shutil.rmtree(self._folder)

    @staticmethod
    def new_name() -> str:
        """Return a name that no database has."""
        return f"airflow_{uuid.uuid4().hex[:8]}"

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _as_server_user(self) -> list[str]:
        # MariaDB refuses to run as root.
        return [f"--user={SERVER_USER}"] if os.geteuid() == 0 else []

    def _env(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(self._folder)}


def _hash() -> str:
    # Written as a hash, because the server reads that file in a character set of its own choice.
    once = hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()
    return f"*{hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()}"


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin:/usr/libexec")
    if found is None:
        pytest.fail("the peer MariaDB is not installed; run: apt-get install mariadb-server", pytrace=False)
    return found

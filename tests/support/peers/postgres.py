"""A real PostgreSQL with a data folder of its own."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from support.peers.process import Process, free_port, run

START_S = 30
SERVER_USER = "postgres"
# The data is thrown away with the run: no need to wait for the disk.
FAST_NOT_SAFE = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")


class Postgres:
    """One PostgreSQL server; superuser `postgres` without a password, on loopback only.

    Attributes:
        url: SQLAlchemy URL of the database `postgres`.
        process: The running server.
    """

    def __init__(self) -> None:
        self._bin = _programs()
        self._folder = Path(tempfile.mkdtemp(prefix="compat-auth-postgres-"))
        self._port = free_port()
        self.url = f"postgresql+psycopg://{SERVER_USER}@127.0.0.1:{self._port}/postgres"
        # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait until every client has gone.
        self.process = Process("PostgreSQL", self._folder / "log", is_stopped_by_interrupt=True)
        if os.geteuid() == 0:
            owner = pwd.getpwnam(SERVER_USER)
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        run(
            self._as_server_user("initdb", "-D", self._data, "-U", SERVER_USER, "-A", "trust", "-E", "UTF8",
                                 "--locale=C.UTF-8", "--no-sync"),
            env=self._env(), folder=self._folder, log=self._folder / "log",
        )  # fmt: skip

    def start(self) -> None:
        """Start the server on the same port and data as before."""
        self.process.start(
            self._as_server_user(
                "postgres", "-D", self._data, "-p", str(self._port), "-c", "listen_addresses=127.0.0.1",
                "-c", f"unix_socket_directories={self._folder}", *FAST_NOT_SAFE,
            ),
            env=self._env(), is_ready=self._accepts_connections, timeout_s=START_S,
        )  # fmt: skip

    def run_tool(self, program: str, *arguments: str) -> None:
        """Run one of the tools for operators, such as pg_dump, to its end."""
        subprocess.run([str(self._bin / program), *arguments], env=self._env(), check=True, capture_output=True)

    def stop(self) -> None:
        """Stop the server at once, whoever is connected; the data stays."""
        self.process.stop()

    def remove(self) -> None:
        """Stop the server and remove its data."""
        self.stop()
        shutil.rmtree(self._folder)

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _as_server_user(self, program: str, *arguments: str) -> list[str]:
        command = [str(self._bin / program), *arguments]
        if os.geteuid() != 0:
            return command
        # PostgreSQL refuses to run as root.
        return ["setpriv", f"--reuid={SERVER_USER}", f"--regid={SERVER_USER}", "--clear-groups", *command]

    def _env(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}

    def _accepts_connections(self) -> bool:
        asked = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        return subprocess.call(asked, env=self._env()) == 0


def _programs() -> Path:
    """Return the folder of the newest server's programs; Debian keeps them out of PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if debian:
        return debian[-1].parent
    found = shutil.which("initdb")
    if found is None:
        pytest.fail("the peer PostgreSQL is not installed; run: apt-get install postgresql", pytrace=False)
    return Path(found).resolve().parent

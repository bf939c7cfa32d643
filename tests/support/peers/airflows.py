"""Real Airflow servers: 3.x with either auth manager, and 2.11 as the reference for behaviour."""

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from support.peers.process import Process, answers_http, free_port
from support.peers.seed import SITE, Kind, base_env, seeded_template

BOOT_S = 300  # 11 to 17 s when the machine is quiet, four times that on two busy cores
JWT_SECRET: Final = "peer-jwt-secret-that-is-long-enough-for-hs512-0123456789abcdef0123456789abcdef"
# Told apart from None, which is a value that Airflow knows.
STOCK: Final = "stock"
AIRFLOW2_BACKENDS: Final = ",".join(
    f"airflow.providers.fab.auth_manager.api.auth.backend.{name}" for name in ("basic_auth", "session")
)


class Airflow(ABC):
    """One Airflow with its own home, database and port; it keeps all three over a restart.

    Attributes:
        url: Without a slash at the end.
        home: Airflow's home folder, temporary.
        database_url: SQLAlchemy URL of the SQLite file.
        process: The running server.
    """

    version_path = "/api/v2/version"

    def __init__(self, kind: Kind, folder: Path, python: Path | None = None) -> None:
        self.kind = kind
        self.python = python or kind.python
        self.home = folder / "home"
        shutil.copytree(seeded_template(kind), self.home)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database_url = f"sqlite:///{self.home}/airflow.db"
        self.process = Process(f"Airflow ({kind.name})", folder / "log")
        self._changes: dict[str, str | None] = {}

    def env(self) -> dict[str, str]:
        """Return the whole environment of the server, and of commands for its home, after the last restart."""
        path = f"{self.python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        env = {**base_env(self.kind, self.home), "PATH": path, **self._env()}
        for name, value in self._changes.items():
            if value is None:
                env.pop(name, None)
            else:
                env[name] = value
        if "PYTHONPATH" in self._changes:
            env["PYTHONPATH"] = os.pathsep.join(filter(None, (env.get("PYTHONPATH"), str(SITE))))
        return env

    def start(self) -> None:
        """Start the server with the settings of the last restart; one that ends while it starts is started once more.

        Every later test of the session asks this server: what only happens on a busy machine must not take them all.
        """
        try:
            self._start()
        except pytest.fail.Exception:
            self._start()

    def _start(self) -> None:
        # A server that was killed leaves them, and the next one looks for the process that has the number by then.
        for pid_file in self.home.glob("*.pid"):
            pid_file.unlink()
        self.process.start(
            [str(self.python), "-m", "airflow", *self._command()],
            env=self.env(),
            is_ready=lambda: answers_http(self.url + self.version_path),
            timeout_s=BOOT_S,
        )

    def stop(self) -> None:
        """Stop the server; the database stays."""
        self.process.stop()

    def _restart(self, changes: Mapping[str, str | None]) -> None:
        self.stop()
        self._changes = dict(changes)
        self.start()

    @abstractmethod
    def _command(self) -> tuple[str, ...]:
        """Return Airflow's arguments that start its server."""

    @abstractmethod
    def _env(self) -> Mapping[str, str]:
        """Return the stock settings beyond those that every home shares."""


class Airflow3(Airflow):
    """Airflow 3.x: the api-server, with a shared JWT secret unless a restart says otherwise.

    Attributes:
        jwt_secret: `[api_auth] jwt_secret`, for HS512.
    """

    jwt_secret = JWT_SECRET

    def restart(self, **env: str | None) -> None:
        """Restart with exactly these deviations from the stock settings; without any, the stock settings.

        Args:
            env: `AIRFLOW__SECTION__KEY` variables; None takes a stock one away.
        """
        self._restart(env)

    @contextmanager
    def changed(self, **env: str | None) -> Generator[None]:
        """Restart with the deviations, and with the stock settings again when the block ends."""
        self.restart(**env)
        try:
            yield
        finally:
            self.restart()

    def _command(self) -> tuple[str, ...]:
        workers = self._changes.get("AIRFLOW__API__WORKERS") or "1"
        return ("api-server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", workers)

    def _env(self) -> Mapping[str, str]:
        return {
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__SECRET_KEY": "peer-secret-key-0123456789abcdef0123456789",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__API_AUTH__JWT_SECRET": self.jwt_secret,
        }


class Airflow2(Airflow):
    """Airflow 2.11: the web server, with basic_auth and session as API backends unless a restart says otherwise."""

    version_path = "/api/v1/version"

    def __init__(self, kind: Kind, folder: Path) -> None:
        super().__init__(kind, folder)
        self._auth_backends = AIRFLOW2_BACKENDS
        self._auth_role_public: str | None = STOCK

    def restart(
        self, *, auth_backends: str = AIRFLOW2_BACKENDS, auth_role_public: str | None = STOCK, **env: str | None
    ) -> None:
        """Restart with exactly these deviations from the stock settings.

        Args:
            auth_backends: `[api] auth_backends`, Airflow's comma list.
            auth_role_public: `AUTH_ROLE_PUBLIC` in webserver_config.py; "stock" leaves it out, which means "Public".
            env: `AIRFLOW__SECTION__KEY` variables; None takes a stock one away.
        """
        self._auth_backends = auth_backends
        self._auth_role_public = auth_role_public
        self._restart(env)

    @contextmanager
    def changed(
        self, *, auth_backends: str = AIRFLOW2_BACKENDS, auth_role_public: str | None = STOCK, **env: str | None
    ) -> Generator[None]:
        """Restart with the deviations, and with the stock settings again when the block ends."""
        self.restart(auth_backends=auth_backends, auth_role_public=auth_role_public, **env)
        try:
            yield
        finally:
            self.restart()

    def start(self) -> None:
        lines = ["from flask_appbuilder.const import AUTH_DB", "AUTH_TYPE = AUTH_DB", "WTF_CSRF_ENABLED = True"]
        if self._auth_role_public != STOCK:
            lines.append(f"AUTH_ROLE_PUBLIC = {self._auth_role_public!r}")
        (self.home / "webserver_config.py").write_text("\n".join([*lines, ""]))
        super().start()

    def _command(self) -> tuple[str, ...]:
        return ("webserver", "--hostname", "127.0.0.1", "--port", str(self.port), "--workers", "1")

    def _env(self) -> Mapping[str, str]:
        return {
            "AIRFLOW__API__AUTH_BACKENDS": self._auth_backends,
            "AIRFLOW__WEBSERVER__SECRET_KEY": "peer-secret-key-0123456789abcdef0123456789",
            "AIRFLOW__WEBSERVER__BASE_URL": self.url,
            "AIRFLOW__WEBSERVER__EXPOSE_CONFIG": "True",
            # Its monitor ends a server whose worker is not there in time: 120 s unless told otherwise.
            "AIRFLOW__WEBSERVER__WEB_SERVER_MASTER_TIMEOUT": str(BOOT_S),
            "AIRFLOW__WEBSERVER__WEB_SERVER_WORKER_TIMEOUT": str(BOOT_S),
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        }

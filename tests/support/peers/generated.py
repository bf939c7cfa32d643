"""A site with its gateway and its upstream, and front proxies that run the configurations that `compat-auth proxy-config` writes."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import threading
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from compat_auth.app import create_app
from compat_auth.cli import commands
from compat_auth.cli.demo.upstream import BackgroundServer
from compat_auth.config import load_settings
from compat_auth.gateway.server.server import bind_socket
from compat_auth.http.asgi import Message, Receive, Scope, Send, respond
from support.peers.place import environment
from support.peers.process import Process, free_port

START_S = 20
USERS = {"alice": "secret", "bob": "other-secret"}
PROXIES = ("nginx-lua", "nginx-ask", "nginx-off", "haproxy", "haproxy-lua", "caddy", "apache", "traefik", "envoy")
WITH_LANE = ("nginx-lua", "nginx-ask", "haproxy-lua")
_SEARCH = os.pathsep.join((os.defpath, "/usr/sbin"))


def basic(name: str, password: str | None = None) -> str:
    """Return the Authorization value of a user."""
    return "Basic " + base64.b64encode(f"{name}:{USERS[name] if password is None else password}".encode()).decode()


class Upstream:
    """Answers with what arrived; what is below some paths is refused, slow or counted.

    Attributes:
        refused: Bearers that it refuses.
        calls: Requests that it has got.
    """

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        self.calls += 1
        headers = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        path: str = scope["path"]
        size = await _read(receive)
        if path == "/api/lines":
            await _stream(send)
        elif path == "/api/elsewhere":
            await respond(send, 200, b"mine", headers=[(b"x-accel-redirect", b"/.compat-auth-lane")])
        elif path == "/api/denied":
            await respond(send, 403, b"of the upstream")
        elif path == "/api/broken":
            await respond(send, 500, b"broken")
        elif dict(headers).get("authorization", "") in self.refused:
            await respond(send, 401, b"ended")
        else:
            seen = {"headers": headers, "method": scope["method"], "size": size}
            target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
            seen["target"] = target.decode()
            await respond(send, 200, json.dumps(seen).encode(), content_type=b"application/json")


async def _read(receive: Receive) -> int:
    size, more = 0, True
    while more:
        message: Message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    return size


async def _stream(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/x-ndjson")]})
    for number in range(3):
        await send({"type": "http.response.body", "body": b"%d\n" % number, "more_body": True})
        await asyncio.sleep(0.5)
    await send({"type": "http.response.body", "body": b""})


@dataclass
class Site:
    """A running site.

    Attributes:
        folder: With `compat_auth.toml`.
        url: Of the gateway.
        upstream: See `Upstream`.
        seen: Paths of the requests that reached the gateway, but for questions whether it lives.
        asked: Paths of the questions about credentials.
    """

    folder: Path
    url: str
    upstream: Upstream
    seen: list[str] = field(default_factory=list[str])
    asked: list[str] = field(default_factory=list[str])

    @property
    def config(self) -> Path:
        return self.folder / "compat_auth.toml"


@contextmanager
def running_site(
    folder: Path, *, secret: str = "", root: str = "", backends: str = '["personal_token", "basic_auth"]'
) -> Generator[Site]:
    """Run an upstream and a gateway, in this process.

    Args:
        folder: For all that they keep.
        secret: Of forward-auth; "": it has a listener of its own.
        root: Path of the site's URL.
        backends: As TOML.
    """
    for name, password in USERS.items():
        add = ["users", "add", name, "--file", str(folder / "users"), "--password-stdin"]
        assert CliRunner().invoke(commands, add, input=f"{password}\n").exit_code == 0
    assert CliRunner().invoke(commands, ["keys", "create", "--file", str(folder / "keys.json")]).exit_code == 0
    with (
        bind_socket(f"127.0.0.1:{free_port()}") as behind,
        bind_socket(f"127.0.0.1:{free_port()}") as ours,
        bind_socket(f"127.0.0.1:{free_port()}") as front,
    ):
        port = ours.getsockname()[1]
        (folder / "compat_auth.toml").write_text(f"""
auth_backends = {backends}
database_url = "sqlite:///{folder}/store.db"
trusted_proxies = ["127.0.0.1/32"]
[serve]
bind = "127.0.0.1:{port}"
root_path = "{root}"
[forward_auth]
{f'secret = "{secret}"' if secret else f'bind = "127.0.0.1:{front.getsockname()[1]}"'}
[upstream]
url = "http://127.0.0.1:{behind.getsockname()[1]}{root}"
profile = "generic"
[token]
strategy = "key_pair"
key_file = "{folder}/keys.json"
[basic_auth]
directories = ["htpasswd"]
[htpasswd]
file = "{folder}/users"
[personal_tokens]
failures_per_minute = 100000
per_user_limit = 1000
""")
        site = Site(folder, f"http://127.0.0.1:{port}", Upstream())
        app = create_app(load_settings(str(site.config)))

        async def counting(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and not scope["path"].endswith(("/live", "/ready")):
                is_question = scope["path"].endswith("/lane")
                (site.asked if is_question else site.seen).append(scope["path"])
            await app(scope, receive, send)

        with BackgroundServer(site.upstream, behind), BackgroundServer(counting, ours, front):
            yield site


@dataclass
class Front:
    """A running front proxy.

    Attributes:
        name: One of PROXIES.
        url: Without a slash at the end.
        site: Behind it.
        process: The proxy.
        text: Its configuration.
    """

    name: str
    url: str
    site: Site
    process: Process
    text: str

    @property
    def has_lane(self) -> bool:
        return self.name in WITH_LANE


def start(name: str, site: Site, folder: Path, *options: str) -> Front:
    """Start a front proxy of a site with its generated configuration."""
    proxy, _, lane = name.partition("-")
    port = free_port()
    written = generate(proxy, site, folder, port, lane, *options)
    is_tls = "--tls-cert" in options
    process = Process(name, folder / "log")
    command, env = _command(proxy, written, folder)
    url = f"https://localhost:{port}" if is_tls else f"http://127.0.0.1:{port}"
    host = options[options.index("--server-name") + 1] if "--server-name" in options else ""
    process.start(command, env=env, is_ready=lambda: _is_serving(url, host), timeout_s=START_S)
    return Front(name, url, site, process, written.read_text())


def _is_serving(url: str, host: str) -> bool:
    """Tell whether the gateway answers through the proxy: some proxies listen before they have read everything."""
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    try:
        request = urllib.request.Request(f"{url}/compat-auth/live", headers={"Host": host} if host else {})
        with urllib.request.urlopen(request, timeout=5, context=unverified) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def generate(proxy: str, site: Site, folder: Path, port: int, lane: str = "", *options: str) -> Path:
    """Write the configuration of a proxy; return the file that it is started with."""
    has_files = proxy == "traefik" or (proxy == "haproxy" and lane == "lua")
    output = folder if has_files else folder / ("envoy.yaml" if proxy == "envoy" else f"{proxy}.conf")
    command = ["proxy-config", proxy, "--config", str(site.config), "--listen", f"127.0.0.1:{port}"]
    command += ["--folder", str(folder), "--output", str(output), *options]
    if lane:
        command += ["--lane", lane]
    # As root, workers would become another user, who may not enter the folder.
    if os.geteuid() == 0 and proxy == "nginx":
        command += ["--user", "root"]
    done = CliRunner().invoke(commands, command)
    assert done.exit_code == 0, (done.output, done.exception)
    return output / ("traefik.yml" if proxy == "traefik" else "haproxy.cfg") if has_files else output


def program_of(proxy: str) -> str:
    """Return the path of a proxy's program; a missing one fails the test."""
    if proxy in ("caddy", "traefik", "envoy"):
        return str(environment(proxy) / "bin" / proxy)
    name = "apache2" if proxy == "apache" else proxy
    for place in _SEARCH.split(os.pathsep):
        if (Path(place) / name).is_file():
            return str(Path(place) / name)
    pytest.fail(f"the peer {name} is not installed; run: apt-get install {name}", pytrace=False)


def _command(proxy: str, written: Path, folder: Path) -> tuple[list[str], Mapping[str, str]]:
    program, file = program_of(proxy), str(written)
    arguments = {
        "nginx": ["-c", file, "-e", str(folder / "log"), "-g", "daemon off;"],
        "haproxy": ["-db", "-f", file],
        "caddy": ["run", "--adapter", "caddyfile", "--config", file],
        "apache": ["-f", file, "-D", "FOREGROUND"],
        "traefik": [f"--configFile={file}"],
        "envoy": ["-c", file, "--disable-hot-restart", "--concurrency", "1"],
    }
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    return [program, *arguments[proxy]], {"PATH": os.defpath, **home}


def seen_headers(answer: Any) -> dict[str, str]:
    """Return the headers that reached the upstream, by name; a repeated one fails the test."""
    found = dict(answer["headers"])
    assert len(found) == len(answer["headers"])
    return found


def together(*works: Any) -> None:
    """Run functions at once, each on a thread; the first failure fails the test."""
    failures: list[BaseException] = []

    def run(work: Any) -> None:
        try:
            work()
        except BaseException as failure:  # noqa: BLE001  # raised again below
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]

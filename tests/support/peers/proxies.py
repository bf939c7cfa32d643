"""Real front proxies, each with a folder, a port and a configuration of its own."""

import os
import shutil
from pathlib import Path
from typing import Protocol

import pytest

from support.peers.place import environment
from support.peers.process import Process, answers_http, free_port

START_S = 20


class StartProxy(Protocol):
    """Starts one more proxy and returns its URL, without a slash at the end."""

    def __call__(self, site: str, *, outside: str = "") -> str:
        """Start the proxy.

        Args:
            site: What stands in the server (nginx) or site (Caddy) block; the port is ours to choose.
            outside: What stands beside that block: nginx's `http`, Caddy's global options.
        """
        ...


def start_nginx(folder: Path, site: str, outside: str) -> tuple[Process, str]:
    """Start an nginx that keeps everything in the folder; return it and its URL."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        pytest.fail("the peer nginx is not installed; run: apt-get install nginx-light", pytrace=False)
    port = free_port()
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # As root, workers would become another user, who may not enter the folder.
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; {user}\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off; {temporary}\n{outside}\n"
        f"server {{ listen 127.0.0.1:{port};\n{site}\n}} }}\n"
    )
    nginx = Process("nginx", folder / "log")
    url = f"http://127.0.0.1:{port}"
    command = [program, "-p", str(folder), "-c", str(config), "-e", str(nginx.log)]
    nginx.start(command, env={"PATH": os.defpath}, is_ready=lambda: answers_http(url), timeout_s=START_S)
    return nginx, url


def start_caddy(folder: Path, site: str, outside: str) -> tuple[Process, str]:
    """Start a Caddy that keeps everything in the folder; return it and its URL."""
    program = environment("caddy") / "bin" / "caddy"
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    config = folder / "Caddyfile"
    config.write_text(
        f"{{\nadmin off\nauto_https off\nstorage file_system {folder}/storage\n{outside}\n}}\n{url} {{\n{site}\n}}\n"
    )
    caddy = Process("Caddy", folder / "log")
    command = [str(program), "run", "--config", str(config), "--adapter", "caddyfile"]
    env = {"PATH": os.defpath, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    caddy.start(command, env=env, is_ready=lambda: answers_http(url), timeout_s=START_S)
    return caddy, url


def start_haproxy(folder: Path, backend: str) -> tuple[Process, str]:
    """Start an HAProxy with one backend, whose lines are given; return it and its URL."""
    program = shutil.which("haproxy", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        pytest.fail("the peer haproxy is not installed; run: apt-get install haproxy", pytrace=False)
    port = free_port()
    config = folder / "haproxy.cfg"
    config.write_text(
        "global\n  log stdout format raw local0\n"
        "defaults\n  mode http\n  log global\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
        f"frontend front\n  bind 127.0.0.1:{port}\n  default_backend behind\n"
        f"backend behind\n{backend}\n"
    )
    haproxy = Process("HAProxy", folder / "log")
    url = f"http://127.0.0.1:{port}"
    command = [program, "-db", "-f", str(config)]
    haproxy.start(command, env={"PATH": os.defpath}, is_ready=lambda: answers_http(url), timeout_s=START_S)
    return haproxy, url

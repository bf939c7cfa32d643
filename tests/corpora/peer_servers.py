"""Other programs that check credentials, each as its own documentation configures it, with the echo behind it."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import bcrypt

from compat_auth import __version__
from corpora.cases import published_keys
from corpora.jose import Facts, make_token, public_jwks, unb64
from corpora.make_jwt import GOOD
from support.peers.generated import Site as GatewaySite
from support.peers.generated import Upstream, program_of, start
from support.peers.kerberos import PASSWORDS, Kdc
from support.peers.place import environment
from support.peers.process import Process, answers_http, free_port
from support.peers.proxies import start_caddy, start_haproxy, start_nginx
from support.security.gateway import running_gateway, write_config
from support.security.upstream import Recorder
from support.serving import served

# Long, so that a busy machine ends no run of an hour.
START_S = 120
USERS = {"alice": "secret", "bob": "other-secret"}
ISSUER, AUDIENCE = "https://us.example", "api"
FRONTS = ("nginx-lua", "haproxy", "caddy", "apache", "traefik", "envoy")
_MODULES = "/usr/lib/apache2/modules"


@dataclass(frozen=True, slots=True)
class Peer:
    """A running server.

    Attributes:
        url: Without a slash at the end.
        version: As it says itself.
        arguments: For the runner.
        corpora: Those that make sense here.
    """

    url: str
    version: str
    arguments: tuple[str, ...] = ()
    corpora: tuple[str, ...] = ("framing", "headers", "paths")


Start = Callable[[Path, str], AbstractContextManager[Peer]]
"""Takes an empty folder and the echo's URL."""
_REMOTE_USER = ("--believes", "x-remote-user")
_OURS = ("--user", "alice:wonder:land", "--other", "user1:secret1", "--host", "gateway")


def version_of(*command: str) -> str:
    """Return the first number with dots in what the command prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_S)
    found = re.search(r"\d+\.\d+(?:\.\d+)?", done.stdout + done.stderr)
    return found[0] if found else "?"


@contextmanager
def gateway(folder: Path, echo_url: str) -> Generator[Peer]:
    """`compat-auth serve`."""
    extra = f'database_url = "sqlite:///{folder}/store.db"'
    config = write_config(folder, echo_url, extra, '["session", "basic_auth"]')
    with running_gateway(
        config, Recorder(), environ={"COMPAT_AUTH_SESSION__SECRET": "s" * 40}, start_s=START_S
    ) as running:
        url = f"http://127.0.0.1:{running.port}"
        corpora = ("framing", "headers", "paths", "redirects")
        yield Peer(url, __version__, (*_OURS, "--login", "/compat-auth/login"), corpora)


@contextmanager
def gateway_with_oidc(folder: Path, echo_url: str) -> Generator[Peer]:
    """`compat-auth serve` with the backend oidc."""
    with _jwks() as jwks_url:
        extra = (
            f'database_url = "sqlite:///{folder}/store.db"\n[[oidc.issuers]]\nissuer = "{ISSUER}"\naudience = ["{AUDIENCE}"]\n'
            f'types = ["JWT"]\nmax_lifetime_s = 3600\njwks_url = "{jwks_url}"'
        )
        config = write_config(folder, echo_url, extra, '["oidc"]')
        with running_gateway(config, Recorder(), start_s=START_S) as running:
            url = f"http://127.0.0.1:{running.port}"
            yield Peer(url, __version__, (*_jwt_arguments(), "--host", "gateway", "--upstream-judges"), ("jwt",))


def before_gateway(proxy: str) -> Start:
    """Return the start of a proxy with the configuration that `compat-auth proxy-config` writes."""

    @contextmanager
    def run(folder: Path, echo_url: str) -> Generator[Peer]:
        (folder / "proxy").mkdir()
        extra = (
            f'database_url = "sqlite:///{folder}/store.db"\ntrusted_proxies = ["127.0.0.1/32"]\n'
            f'[forward_auth]\nbind = "127.0.0.1:{free_port()}"'
        )
        config = write_config(folder, echo_url, extra)
        with running_gateway(config, Recorder(), start_s=START_S) as running:
            # Where the proxy finds it; the gateway itself has read its file.
            with config.open("a") as more:
                more.write(f'[serve]\nbind = "127.0.0.1:{running.port}"\n')
            url = f"http://127.0.0.1:{running.port}"
            front = start(proxy, GatewaySite(folder, url, Upstream()), folder / "proxy")
            try:
                yield Peer(front.url, proxy_version(proxy.partition("-")[0]), _OURS)
            finally:
                front.process.stop()

    return run


def proxy_version(proxy: str) -> str:
    """Return the version of a proxy."""
    options = {
        "nginx": "-v",
        "haproxy": "-v",
        "apache": "-v",
        "caddy": "version",
        "traefik": "version",
        "envoy": "--version",
    }
    return version_of(program_of(proxy), options[proxy])


@contextmanager
def nginx_auth_request(folder: Path, echo_url: str) -> Generator[Peer]:
    """nginx with auth_request to a service that names the user, as its documentation and oauth2-proxy's have it."""

    class Service(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = _user_of(self.headers.get("Authorization", ""))
            self.send_response(200 if name else 401)
            self.send_header("X-User" if name else "WWW-Authenticate", name or 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()

    site = """
location / {{
  auth_request /auth;
  auth_request_set $user $upstream_http_x_user;
  proxy_set_header X-Remote-User $user;
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_pass {echo};
}}
location = /auth {{
  internal;
  proxy_pass {service};
  proxy_pass_request_body off;
  proxy_set_header Content-Length "";
  proxy_set_header X-Original-URI $request_uri;
}}"""
    with served(Service) as service:
        process, url = start_nginx(folder, site.format(echo=echo_url, service=service), "")
        try:
            yield Peer(url, proxy_version("nginx"), _REMOTE_USER)
        finally:
            process.stop()


def _user_of(authorization: str) -> str:
    try:
        name, _, password = base64.b64decode(authorization.partition(" ")[2]).decode().partition(":")
    except ValueError:
        return ""
    return name if USERS.get(name) == password else ""


@contextmanager
def caddy_basic(folder: Path, echo_url: str) -> Generator[Peer]:
    """Caddy with basic_auth."""
    users = "\n".join(f"{name} {_hash(password)}" for name, password in USERS.items())
    site = f"basic_auth {{\n{users}\n}}\nreverse_proxy {echo_url} {{\nheader_up X-Remote-User {{http.auth.user.id}}\n}}"
    process, url = start_caddy(folder, site, "")
    try:
        yield Peer(url, proxy_version("caddy"), _REMOTE_USER)
    finally:
        process.stop()


def _hash(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


@contextmanager
def haproxy_auth(folder: Path, echo_url: str) -> Generator[Peer]:
    """HAProxy with http_auth."""
    backend = (
        "  http-request auth unless { http_auth(known) }\n"
        "  http-request set-header X-Remote-User %[http_auth_user]\n"
        f"  server echo {urlsplit(echo_url).netloc}\n"
        "userlist known\n" + "".join(f"  user {name} insecure-password {word}\n" for name, word in USERS.items())
    )
    process, url = start_haproxy(folder, backend)
    try:
        yield Peer(url, proxy_version("haproxy"), _REMOTE_USER)
    finally:
        process.stop()


@contextmanager
def traefik_basic(folder: Path, echo_url: str) -> Generator[Peer]:
    """Traefik with the middleware basicAuth."""
    port = free_port()
    users = ", ".join(f"'{name}:{_hash(password)}'" for name, password in USERS.items())
    (folder / "rules.yml").write_text(f"""http:
  routers:
    all: {{rule: "PathPrefix(`/`)", service: echo, middlewares: [users], entryPoints: [web]}}
  middlewares:
    users: {{basicAuth: {{users: [{users}], headerField: X-Remote-User}}}}
  services:
    echo: {{loadBalancer: {{servers: [{{url: "{echo_url}"}}]}}}}
""")
    (folder / "traefik.yml").write_text(f"""entryPoints: {{web: {{address: "127.0.0.1:{port}"}}}}
providers: {{file: {{filename: {folder}/rules.yml}}}}
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
""")
    command = [program_of("traefik"), f"--configFile={folder}/traefik.yml"]
    with _running("Traefik", folder, command, f"http://127.0.0.1:{port}") as url:
        # It listens before it has read its rules, and answers 404.
        while _status(url) != 401:
            time.sleep(0.1)
        yield Peer(url, proxy_version("traefik"), _REMOTE_USER)


def _status(url: str) -> int:
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=5) as answer:
            return int(answer.status)
    except HTTPError as answer:
        answer.close()
        return answer.code


@contextmanager
def envoy_jwt(folder: Path, echo_url: str) -> Generator[Peer]:
    """Envoy with jwt_authn, the claim `sub` in a header."""
    port, echo = free_port(), urlsplit(echo_url)
    jwks = public_jwks(published_keys()).replace('"', '\\"')
    (folder / "envoy.yaml").write_text(f"""static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config: {{virtual_hosts: [{{name: all, domains: ["*"], routes: [{{match: {{prefix: "/"}}, route: {{cluster: echo}}}}]}}]}}
          http_filters:
          - name: envoy.filters.http.jwt_authn
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                us:
                  issuer: {ISSUER}
                  audiences: [{AUDIENCE}]
                  forward: true
                  claim_to_headers: [{{header_name: x-remote-user, claim_name: sub}}]
                  local_jwks: {{inline_string: "{jwks}"}}
              rules: [{{match: {{prefix: "/"}}, requires: {{provider_name: us}}}}]
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: echo
    connect_timeout: 5s
    load_assignment:
      cluster_name: echo
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {echo.port}}}}}}}}}]}}]
""")
    command = [program_of("envoy"), "-c", str(folder / "envoy.yaml"), "--disable-hot-restart", "--concurrency", "1"]
    with _running("Envoy", folder, command, f"http://127.0.0.1:{port}") as url:
        arguments = (*_REMOTE_USER, *_jwt_arguments())
        yield Peer(url, proxy_version("envoy"), arguments, ("framing", "headers", "paths", "jwt"))


@contextmanager
def apache_gssapi(folder: Path, echo_url: str) -> Generator[Peer]:
    """Apache with mod_auth_gssapi, which also takes passwords (GssapiBasicAuth) so that one credential serves many requests."""
    kdc = Kdc()
    try:
        kdc.start()
        # Another user runs Apache's workers, who may not enter the KDC's folder.
        keytab = Path(shutil.copy(kdc.keytab("HTTP/localhost"), folder / "keytab"))
        keytab.chmod(0o644)
        config = shutil.copy(kdc.folder / "krb5.conf", folder / "krb5.conf")
        rules = f"""AuthType GSSAPI
AuthName lab
GssapiCredStore keytab:{keytab}
GssapiAllowedMech krb5
GssapiBasicAuth On
GssapiLocalName On
Require valid-user"""
        pair = ("--user", f"unknown:{PASSWORDS['unknown']}", "--other", f"disabled:{PASSWORDS['disabled']}")
        with _apache(folder, echo_url, ("auth_gssapi",), rules, {"KRB5_CONFIG": str(config)}) as url:
            yield Peer(
                url, f"{proxy_version('apache')}, {_package('libapache2-mod-auth-gssapi')}", (*_REMOTE_USER, *pair)
            )
    finally:
        kdc.remove()


@contextmanager
def apache_openidc(folder: Path, echo_url: str) -> Generator[Peer]:
    """Apache with mod_auth_openidc as an OAuth 2.0 resource server."""
    (folder / "rsa.pem").write_bytes(unb64(published_keys()["rsa-pem"]["k"]))
    server = f"OIDCOAuthVerifyCertFiles rsa#{folder}/rsa.pem\nOIDCOAuthRemoteUserClaim sub\nOIDCCryptoPassphrase x\n"
    # mod_auth_openidc does not check audience and issuer by itself: its documentation uses `Require claim`.
    rules = f"""AuthType oauth20
<RequireAll>
Require claim aud:{AUDIENCE}
Require claim iss:{ISSUER}
</RequireAll>"""
    with _apache(folder, echo_url, ("auth_openidc",), rules, {}, server) as url:
        arguments = (*_REMOTE_USER, *_jwt_arguments())
        version = f"{proxy_version('apache')}, {_package('libapache2-mod-auth-openidc')}"
        yield Peer(url, version, arguments, ("framing", "headers", "paths", "jwt"))


def _package(name: str) -> str:
    return f"{name.removeprefix('libapache2-').replace('-', '_')} {version_of('dpkg-query', '-W', name)}"


@contextmanager
def _apache(
    folder: Path, echo_url: str, modules: tuple[str, ...], rules: str, env: dict[str, str], server: str = ""
) -> Generator[str]:
    port = free_port()
    needed = ("mpm_event", "authn_core", "authz_core", "authz_user", "headers", "proxy", "proxy_http", "unixd")
    # Debian builds unixd in.
    found = [name for name in (*needed, *modules) if Path(f"{_MODULES}/mod_{name}.so").is_file()]
    loaded = "".join(f"LoadModule {name}_module {_MODULES}/mod_{name}.so\n" for name in found)
    user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    (folder / "httpd.conf").write_text(f"""ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/pid
ErrorLog {folder}/error.log
Mutex file:{folder} default
{user}{loaded}{server}
ProxyPass / {echo_url}/
<Location />
{rules}
RequestHeader set X-Remote-User expr=%{{REMOTE_USER}}
</Location>
""")
    for path in (folder, *folder.parents):
        if path != Path("/") and path.is_relative_to(tempfile.gettempdir()) and path != Path(tempfile.gettempdir()):
            path.chmod(0o755)
    command = [program_of("apache"), "-d", str(folder), "-f", str(folder / "httpd.conf"), "-D", "FOREGROUND"]
    with _running("Apache", folder, command, f"http://127.0.0.1:{port}", env) as url:
        yield url


@contextmanager
def flask_httpauth(folder: Path, echo_url: str) -> Generator[Peer]:
    """Flask-HTTPAuth's HTTPBasicAuth under gunicorn."""
    port, programs = free_port(), environment("flask-httpauth") / "bin"
    shutil.copy(Path(__file__).with_name("flask_httpauth_app.py"), folder / "application.py")
    command = [
        str(programs / "gunicorn"),
        "-b",
        f"127.0.0.1:{port}",
        "--threads",
        "2",
        "--chdir",
        str(folder),
        "application:app",
    ]
    with _running("gunicorn", folder, command, f"http://127.0.0.1:{port}", {"ECHO_URL": echo_url}) as url:
        version = f"{version_of(str(programs / 'python'), '-c', _VERSION)}, gunicorn {version_of(str(programs / 'gunicorn'), '--version')}"
        yield Peer(url, version, _REMOTE_USER)


_VERSION = "from importlib.metadata import version; print(version('flask-httpauth'))"


@contextmanager
def _running(
    name: str, folder: Path, command: list[str], url: str, env: dict[str, str] | None = None
) -> Generator[str]:
    process = Process(name, folder / "log")
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    environ = {"PATH": os.defpath, **home, **(env or {})}
    process.start(command, env=environ, is_ready=lambda: answers_http(url), timeout_s=START_S)
    try:
        yield url
    finally:
        process.stop()


@contextmanager
def _jwks() -> Generator[str]:
    body = public_jwks(published_keys()).encode()

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with served(Keys) as url:
        yield f"{url}/jwks"


def _jwt_arguments() -> tuple[str, ...]:
    facts = Facts(int(time.time()), ISSUER, AUDIENCE, "alice")
    token = make_token(GOOD, published_keys(), facts)
    return "--credential", f"Bearer {token}", "--issuer", ISSUER, "--audience", AUDIENCE


STARTS: dict[str, Start] = {
    "compat_auth serve": gateway,
    "compat_auth serve, oidc": gateway_with_oidc,
    **{f"{name.partition('-')[0]} + compat_auth": before_gateway(name) for name in FRONTS},
    "nginx, auth_request": nginx_auth_request,
    "HAProxy, http_auth": haproxy_auth,
    "Caddy, basic_auth": caddy_basic,
    "Traefik, basicAuth": traefik_basic,
    "Envoy, jwt_authn": envoy_jwt,
    "Apache, mod_auth_gssapi": apache_gssapi,
    "Apache, mod_auth_openidc": apache_openidc,
    "Flask-HTTPAuth": flask_httpauth,
}
"""How each server of the table is started, by its name there."""

"""What `compat-auth proxy-config` writes, and what it refuses to write."""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from compat_auth.cli.proxy_config import nginx
from compat_auth.cli.proxy_config.removal import OF_REQUESTS, pattern, single_names
from compat_auth.cli.proxy_config.site import Options, Private, Site
from compat_auth.config import parse_settings
from compat_auth.errors import ConfigError
from compat_auth.http.headers import removed_names
from compat_auth.http.identity_headers import names_of_applications, tells_identity

PROXIES = ["nginx", "haproxy", "caddy", "apache", "traefik", "envoy"]
SECRET = "0123456789abcdef0123456789abcdef"
BASE = """
auth_backends = ["basic_auth"]
trusted_proxies = ["127.0.0.1/32"]
[upstream]
url = "http://127.0.0.1:8080"
[basic_auth]
directories = ["upstream"]
"""
FORWARD_AUTH = '[forward_auth]\nbind = "127.0.0.1:9188"\n'
Write = Callable[..., Result]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def run(proxy: str, *options: str, config: str = BASE + FORWARD_AUTH) -> Result:
        file = tmp_path / "compat_auth.toml"
        file.write_text(config)
        return CliRunner().invoke(commands, ["proxy-config", proxy, "--config", str(file), *options])

    return run


def text_of(write: Write, proxy: str, folder: Path, *options: str, config: str = BASE + FORWARD_AUTH) -> str:
    """Return all that is written for a proxy."""
    output = folder / "written"
    output.mkdir(exist_ok=True)
    done = write(proxy, "--output", str(output), *options, config=config)
    assert done.exit_code == 0, done.exception
    return "".join(path.read_text() for path in sorted(output.iterdir()))


@pytest.mark.parametrize("proxy", PROXIES)
def test_the_same_settings_give_the_same_text(write: Write, tmp_path: Path, proxy: str) -> None:
    assert text_of(write, proxy, tmp_path) == text_of(write, proxy, tmp_path)


@pytest.mark.parametrize("proxy", PROXIES)
def test_nothing_is_left_to_fill_in(write: Write, tmp_path: Path, proxy: str) -> None:
    text = text_of(write, proxy, tmp_path, "--server-name", "airflow.example.org")

    assert re.findall(r"@[A-Z_]{2,}@", text) == []


@pytest.mark.parametrize("proxy", PROXIES)
def test_each_name_that_the_gate_removes_is_removed(write: Write, tmp_path: Path, proxy: str) -> None:
    text = text_of(write, proxy, tmp_path).lower()

    own = {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
    missing = [name for name in removed_names() if name not in own and not is_named(name, text, proxy)]

    assert missing == []


def is_named(name: str, text: str, proxy: str) -> bool:
    if name in text:
        return True
    # A family of Caddy's drops it; Traefik sets these itself.
    stems = [line.strip().removeprefix("request_header -").rstrip("*") for line in text.splitlines() if "*" in line]
    return (proxy == "caddy" and name.startswith(tuple(filter(None, stems)))) or (
        proxy == "traefik" and name in ("x-forwarded-port", "x-forwarded-server", "x-real-ip")
    )


# The second name usually is one of applications.
@pytest.mark.parametrize("header", ["X-Our-Own-Person", "X-Login-Hint"])
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_header_that_a_backend_of_the_site_believes_is_removed(
    write: Write, tmp_path: Path, proxy: str, header: str
) -> None:
    believing = BASE.replace('["basic_auth"]', '["remote_user"]', 1) + FORWARD_AUTH
    believing += f'[remote_user]\nproxies = ["127.0.0.1/32"]\nheader = "{header}"\n'
    believed = frozenset((header.lower(),))

    removed, _, kept = text_of(write, proxy, tmp_path, config=believing).lower().partition("local kept")

    assert is_named(header.lower(), removed, proxy)
    # Envoy's list of names that stay comes last, and ends before its function.
    assert header.lower() not in kept.partition("}")[0]
    assert re.match(pattern(believed), header.lower())


@pytest.mark.parametrize("name", OF_REQUESTS)
@pytest.mark.parametrize("proxy", PROXIES)
def test_the_callers_own_name_of_a_request_or_trace_is_removed(
    write: Write, tmp_path: Path, proxy: str, name: str
) -> None:
    removed, _, _ = text_of(write, proxy, tmp_path).lower().partition("local kept")

    assert is_named(name, removed, proxy)
    assert f"$http_{name.replace('-', '_')}" not in removed


def test_the_expression_matches_what_the_gate_removes_and_nothing_else() -> None:
    expression = re.compile(pattern())
    words = [name.lower() for name in single_names()]
    removed = [*removed_names(), *words, *OF_REQUESTS, "x-compat-auth-anything", "x-user-id", "remote-anything"]
    kept = [*names_of_applications(), "accept", "x-users", "x-correlation-id", "host", "cookie", "authorization"]
    kept += ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "xremote-user"]

    assert [name for name in removed if not expression.match(name)] == [
        name for name in removed if name in ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")
    ]
    assert [name for name in kept if expression.match(name)] == []
    assert [name for name in words if not tells_identity(name.encode()) and name not in removed_names()] == [
        "baggage",
        "traceparent",
        "tracestate",
        "x-compat-auth-cookie",
        "x-compat-auth-lasts-ms",
        "x-compat-auth-proxy-secret",
        "x-request-id",
    ]


def lane_of(config: str = BASE + FORWARD_AUTH, **options: str) -> Site:
    return Site.read(parse_settings(tomllib.loads(config), origin="test"), Options(**options))


@pytest.mark.parametrize(
    ("target", "is_open"),
    [
        ("/api/v2/dags", True),
        ("/api/v2/dags?limit=1&order_by=-id", True),
        ("/api/v2/dags/", True),
        ("/api/v2/dags/a:b+c/x", True),
        ("/api/v2", False),
        ("/api/v2x/dags", False),
        ("/API/v2/dags", False),
        ("/api/v1/dags", False),
        ("/api/v2/auth/login", False),
        ("/api/v2/auth/logout", False),
        ("/api/v2/monitor/health", False),
        ("/api/v2/a%2Fb", False),
        ("/api/v2/../v1/x", False),
        ("/api/v2/./x", False),
        ("/api/v2//x", False),
        ("/api/v2/x;y", False),
        ("/api/v2/x#y", False),
        ("/api/v2/x?a#b", False),
        ("/api/v2/x?\xe4", False),
        ("/api/v2/x\ny", False),
        ("/compat-auth/whoami", False),
        ("/auth/token", False),
        ("/ui/api/v2/x", False),
        ("http://x/api/v2/x", False),
        ("/api/v2/" + "x" * 8180, True),
        ("/api/v2/" + "x" * 8190, False),
    ],
)
def test_only_plain_targets_of_the_api_go_straight_to_the_upstream(target: str, is_open: bool) -> None:
    lane = lane_of().lane

    assert lane is not None
    assert (re.match(lane.target, target) is not None and "\n" not in target) == is_open


def test_the_path_of_the_site_is_in_front_of_the_targets() -> None:
    site = lane_of(BASE.replace(":8080", ":8080/airflow") + FORWARD_AUTH)

    assert site.lane is not None
    assert site.root == "/airflow"
    assert re.match(site.lane.target, "/airflow/api/v2/dags")
    assert not re.match(site.lane.target, "/api/v2/dags")
    assert not re.match(site.lane.target, "/airflow/api/v2/auth/login")


@pytest.mark.parametrize(
    ("added", "why"),
    [
        ("", "forward-auth is off"),
        (f'{FORWARD_AUTH}[[require]]\npath = "/api/v2/x"\nall_of = ["role:Admin"]\n', "[[require]]"),
        (f'{FORWARD_AUTH}[serve]\nroot_path = "/elsewhere"\n', "[upstream] url does not have the path"),
    ],
)
def test_a_site_that_cannot_have_the_lane_gets_everything_through_the_gateway_and_the_file_says_why(
    write: Write, tmp_path: Path, added: str, why: str
) -> None:
    text = text_of(write, "nginx", tmp_path, config=BASE + added)

    assert why in text
    assert "compat_auth_upstream" not in text
    assert "lane" not in text.replace("nginx_lane", "")


@pytest.mark.parametrize("kind", ["lua", "ask"])
def test_a_lane_that_cannot_be_is_refused_with_the_next_step(write: Write, kind: str) -> None:
    done = write("nginx", "--lane", kind, config=BASE)

    assert isinstance(done.exception, ConfigError)
    assert "set [forward_auth] bind" in str(done.exception)


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        ("lua", BASE, ["set [forward_auth] bind", "--lane off"]),
        ("ask", BASE + FORWARD_AUTH, ["--lane lua"]),
        (
            "lua",
            BASE + FORWARD_AUTH.replace("127.0.0.1:9188", "gateway.example:9188") + f'secret = "{SECRET}"',
            ["is a name"],
        ),
    ],
    ids=["no-forward-auth", "asks", "host-name"],
)
def test_a_lane_that_haproxy_cannot_have_is_refused_with_the_next_step(
    write: Write, kind: str, config: str, words: list[str]
) -> None:
    done = write("haproxy", "--lane", kind, config=config)

    assert isinstance(done.exception, ConfigError)
    assert [word for word in words if word not in str(done.exception)] == []


@pytest.mark.parametrize("believed", ["", "X-Login-Hint"])
def test_haproxy_removes_what_the_gate_removes_and_keeps_what_the_gate_keeps(
    write: Write, tmp_path: Path, believed: str
) -> None:
    believing = BASE.replace('["basic_auth"]', '["remote_user"]', 1)
    believing += f'[remote_user]\nproxies = ["127.0.0.1/32"]\nheader = "{believed}"\n'
    of_gate = re.compile(pattern(frozenset((believed.lower(),)) if believed else frozenset()))
    likely = [*names_of_applications(), *removed_names(), *(name.lower() for name in single_names())]
    cut = [name[:end] for name in names_of_applications() for end in range(5, len(name) + 1)]
    names = {*likely, *cut, *(f"{name}{end}" for name in cut for end in ("-", "s", "-x"))}
    names |= {"x-user-group-by", "x-request-id", "host", "x-remoteuser", "x-userdnx", "x-amount"}

    text = text_of(write, "haproxy", tmp_path, config=believing if believed else BASE)

    lines = [re.compile(line) for line in re.findall(r"del-header (\S+) -m reg$", text, re.MULTILINE)]
    removed = {name for name in names if any(line.search(name) for line in lines)}
    # HAProxy sets them itself afterwards.
    said = {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
    assert removed - said == {name for name in names if of_gate.match(name)} - said
    assert ("x-login-hint" in removed) == bool(believed)
    assert "x-user-agent" not in removed


def test_without_being_asked_for_haproxy_has_no_lane_and_one_file(write: Write) -> None:
    done = write("haproxy")

    assert done.exit_code == 0
    assert "--lane lua" in done.stdout
    assert "compat_auth_upstream" not in done.stdout


def test_haproxys_lane_says_that_an_answer_counts_for_less_than_a_second(write: Write, tmp_path: Path) -> None:
    text = text_of(write, "haproxy", tmp_path, "--lane", "lua")

    assert "acl compat_auth_live var(txn.compat_auth_left_ms) -m int 1:950\n" in text
    assert "local LONGEST_MS = 950\n" in text


def test_haproxys_lane_has_the_secret_in_the_file_that_asks_and_no_other(write: Write, tmp_path: Path) -> None:
    config = f'{BASE}[forward_auth]\nsecret = "{SECRET}"\n'

    done = write("haproxy", "--lane", "lua", "--output", str(tmp_path / "haproxy"), config=config)

    assert done.exit_code == 0
    files = sorted((tmp_path / "haproxy").iterdir())
    assert [path.name for path in files if SECRET in path.read_text()] == ["compat_auth_lane.lua"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_several_files_are_not_written_into_one(write: Write, tmp_path: Path) -> None:
    (tmp_path / "haproxy.cfg").touch()

    done = write("haproxy", "--lane", "lua", "--output", str(tmp_path / "haproxy.cfg"))

    assert isinstance(done.exception, ConfigError)
    assert "name a folder" in str(done.exception)


def test_without_the_lua_module_everything_goes_through_the_gateway(write: Write, tmp_path: Path) -> None:
    text = text_of(write, "nginx", tmp_path, "--nginx-modules", str(tmp_path))

    assert "libnginx-mod-http-lua" in text
    assert "compat_auth_upstream" not in text


def test_where_each_request_asks_no_answer_is_kept(write: Write, tmp_path: Path) -> None:
    text = text_of(write, "nginx", tmp_path, "--lane", "ask")

    assert "auth_request" in text
    assert "proxy_cache" not in text
    assert "load_module" not in text


def test_where_the_lua_module_is_missing_and_wanted_the_error_says_what_installs_it(
    write: Write, tmp_path: Path
) -> None:
    done = write("nginx", "--lane", "lua", "--nginx-modules", str(tmp_path))

    assert isinstance(done.exception, ConfigError)
    assert "libnginx-mod-http-lua" in str(done.exception)


def test_a_file_with_the_secret_is_for_its_owner_alone(write: Write, tmp_path: Path) -> None:
    secret = f'[forward_auth]\nsecret = "{SECRET}"\n'
    output = tmp_path / "nginx.conf"

    done = write("nginx", "--output", str(output), config=BASE + secret)

    assert done.exit_code == 0
    assert SECRET in output.read_text()
    assert stat.S_IMODE(output.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("options", "config", "words"),
    [
        (["--listen", "nowhere"], BASE, ["--listen", "HOST:PORT"]),
        (["--listen", "127.0.0.1:0"], BASE, ["--listen", "HOST:PORT"]),
        (["--listen", "127.0.0.1:8088"], BASE, ["--listen", "serve"]),
        (["--gateway", "http://x"], BASE, ["--gateway", "HOST:PORT"]),
        (["--upstream", "x"], BASE, ["--upstream", "HOST:PORT"]),
        (["--tls-cert", "/a.pem"], BASE, ["--tls-cert", "--tls-key"]),
        (["--tls-cert", "a.pem", "--tls-key", "/b"], BASE, ["--tls-cert", "whole path"]),
        (["--tls-cert", "/a;b.pem", "--tls-key", "/b"], BASE, ["--tls-cert", "letters"]),
        (["--folder", "/a b"], BASE, ["--folder", "letters"]),
        (["--server-name", "a b; include /etc/passwd"], BASE, ["--server-name", "host name"]),
        (["--user", "root; x"], BASE, ["--user", "account"]),
        (["--base-path", "/x"], BASE, ["--base-path", "root_path"]),
        ([], BASE.replace('["127.0.0.1/32"]', "[]"), ["trusted_proxies", "127.0.0.1/32"]),
        ([], BASE.replace("127.0.0.1/32", "10.0.0.0/8"), ["trusted_proxies", "127.0.0.1/32"]),
        ([], BASE + '[serve]\ntls_cert = "/a"\ntls_key = "/b"\n', ["serve.tls_cert", "--tls-cert"]),
        ([], BASE.replace('url = "http://127.0.0.1:8080"', ""), ["upstream.url"]),
        ([], BASE.replace("127.0.0.1:8080", "a;b:8080"), ["upstream.url", "HOST:PORT"]),
        ([], BASE + '[personal_tokens]\nheader = "X-$Key"\n', ["personal_tokens.header"]),
        ([], BASE + f'[forward_auth]\nsecret = "{SECRET}$host"\n', ["forward_auth.secret", "openssl"]),
    ],
)
@pytest.mark.parametrize("proxy", ["nginx", "caddy"])
def test_what_cannot_be_written_safely_is_an_error_with_place_and_next_step(
    write: Write, proxy: str, options: list[str], config: str, words: list[str]
) -> None:
    done = write(proxy, *options, config=config)

    assert isinstance(done.exception, ConfigError)
    assert [word for word in words if word not in str(done.exception)] == []


def test_two_files_need_a_folder(write: Write) -> None:
    done = write("traefik")

    assert isinstance(done.exception, ConfigError)
    assert "name a folder" in str(done.exception)


def test_a_proxy_that_is_not_known_is_refused(write: Write) -> None:
    assert write("squid").exit_code == 2


def test_envoys_file_needs_its_ending(write: Write, tmp_path: Path) -> None:
    done = write("envoy", "--output", str(tmp_path / "envoy.conf"))

    assert isinstance(done.exception, ConfigError)
    assert ".yaml" in str(done.exception)


def test_several_gateways_are_asked_whether_they_are_ready_and_one_only_whether_it_lives(
    write: Write, tmp_path: Path
) -> None:
    one = text_of(write, "haproxy", tmp_path)
    two = text_of(write, "haproxy", tmp_path, "--gateway", "127.0.0.1:8088", "--gateway", "127.0.0.1:8089")

    assert "/compat-auth/live" in one
    assert "/compat-auth/ready" in two
    assert two.count("server gateway") == 2


def test_a_gateway_that_listens_everywhere_is_asked_on_this_machine(write: Write, tmp_path: Path) -> None:
    text = text_of(write, "caddy", tmp_path, config=BASE + '[serve]\nbind = "0.0.0.0:8088"\n')

    assert "reverse_proxy 127.0.0.1:8088" in text


def test_the_modules_of_nginx_are_looked_for_where_distributions_put_them() -> None:
    assert nginx.modules_folder().endswith("nginx/modules")


@pytest.mark.parametrize(
    ("protect", "is_open"),
    [('["/api/"]', True), ('["/"]', True), ('["/api"]', False), ('["/a]==]b/"]', False), ("['/a\"b/']", False)],
)
def test_only_plain_prefixes_of_a_generic_upstream_are_open(protect: str, is_open: bool) -> None:
    generic = BASE.replace('8080"', f'8080"\nprofile = "generic"\nprotect = {protect}') + FORWARD_AUTH

    assert (lane_of(generic).lane is not None) == is_open


def test_own_pages_stay_the_gateways_where_everything_is_protected() -> None:
    lane = lane_of(BASE.replace('8080"', '8080"\nprofile = "generic"\nprotect = ["/"]') + FORWARD_AUTH).lane

    assert lane is not None
    own = ["/compat-auth/whoami", "/compat-auth", "/auth/token", "/auth/token/cli", "/.well-known/jwks.json", "/health"]
    assert [path for path in own if re.match(lane.target, path)] == []
    assert re.match(lane.target, "/anything")


def test_with_lua_no_answer_can_be_kept_for_ever(write: Write, tmp_path: Path) -> None:
    for name in ("ndk_http_module.so", "ngx_http_lua_module.so"):
        (tmp_path / name).touch()

    text = text_of(write, "nginx", tmp_path, "--lane", "lua", "--nginx-modules", str(tmp_path))

    # 0 is for ever, and so is less than a millisecond.
    assert re.findall(r"lane:set\(.*, (\S+)\)$", text, re.MULTILINE) == ["1"]
    assert "now_s < tonumber(ends_s)" in text


def test_an_nginx_that_serve_starts_writes_no_request_into_the_log() -> None:
    settings = parse_settings(tomllib.loads(BASE), origin="test")
    site = Site.read(settings, Options(folder="/run/x"), Private("/run/x/gateway.sock", SECRET))

    text = nginx.nginx_config(site, "off", "")

    # From "error" down nginx names the line of a request, and its Referer.
    assert re.findall(r"^\s*(?:error|access)_log (.*);$", text, re.MULTILINE) == ["stderr crit", "off"]

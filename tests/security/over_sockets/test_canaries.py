"""Canary secrets of each kind: sent in each place of a request, and seen nowhere afterwards.

Neither in the log, the audit log, the metrics, the spans, the support bundle, nor in an answer. See also
`test_crash_canaries.py`.
"""

from __future__ import annotations

import base64
import http.client
import json
import tarfile
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from compat_auth.cli import commands
from compat_auth.crypto.personal_token_format import make_text
from support.security.gateway import USERS, Gateway, basic, free_port, running_gateway, write_config
from support.security.upstream import recording_upstream

PROXY_SECRET = "canary-of-the-front-proxy-alone-0123456789"
CHAIN_KEY = "canary-key-of-the-audit-log-0123456789"
SESSION_SECRET = "canary-secret-of-the-sessions-0123456789"
PASSWORD = "canary-Pa55word-of-nobody"
PERSONAL_TOKEN = make_text().value
JWT = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImNhbmFyeSJ9.eyJzdWIiOiJjYW5hcnkifQ.Y2FuYXJ5LXNpZ25hdHVyZQ"
OPAQUE = "canary-opaque-bearer-0123456789"
TICKET = base64.b64encode(b"canary-ticket-of-nobody-0123456789").decode()
COOKIE = "canary-value-of-a-session-0123456789"
PAIR = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
GOOD_PAIR = basic().decode().partition(" ")[2]
# Of what is no prefix: the id in a personal token is public, and a JWT's header says nothing.
SECRETS = {
    "front-proxy": PROXY_SECRET,
    "chain-key": CHAIN_KEY,
    "session-secret": SESSION_SECRET,
    "password": PASSWORD,
    "password-in-basic": PAIR,
    "good-password": USERS["alice"],
    "good-password-in-basic": GOOD_PAIR,
    "personal-token": PERSONAL_TOKEN,
    "end-of-personal-token": PERSONAL_TOKEN[-20:],
    "jwt": JWT,
    "signature-of-jwt": JWT.rpartition(".")[2],
    "opaque": OPAQUE,
    "ticket": TICKET,
    "cookie": COOKIE,
}
AUTHORIZATIONS = {
    "wrong-password": f"Basic {PAIR}",
    "good-password": f"Basic {GOOD_PAIR}",
    "basic-without-name": "Basic " + base64.b64encode(f":{PASSWORD}".encode()).decode(),
    "basic-without-colon": "Basic " + base64.b64encode(PASSWORD.encode()).decode(),
    "password-as-name": "Basic " + base64.b64encode(f"{PASSWORD}:x".encode()).decode(),
    "personal-token": f"Bearer {PERSONAL_TOKEN}",
    "personal-token-in-basic": "Basic " + base64.b64encode(f"alice:{PERSONAL_TOKEN}".encode()).decode(),
    "personal-token-as-name": "Basic " + base64.b64encode(f"{PERSONAL_TOKEN}:".encode()).decode(),
    "jwt": f"Bearer {JWT}",
    "opaque": f"Bearer {OPAQUE}",
    "two-tokens": f"Bearer {OPAQUE} {JWT}",
    "ticket": f"Negotiate {TICKET}",
    "unknown-scheme": f"Canary {OPAQUE}",
    "no-scheme": OPAQUE,
}
OTHER_HEADERS = {
    "cookie": ("Cookie", f"compat_auth_session={COOKIE}; session={COOKIE}; _token={JWT}"),
    "api-key": ("X-API-Key", PERSONAL_TOKEN),
    "id-with-token": ("X-Request-Id", PERSONAL_TOKEN),
    "id-with-jwt": ("X-Request-Id", JWT),
    "id-with-password": ("X-Request-Id", PAIR),
    "trace": ("traceparent", OPAQUE),
    "front-proxy": ("X-Compat-Auth-Proxy-Secret", PROXY_SECRET),
    "forwarded-for": ("X-Forwarded-For", OPAQUE),
    "act-for": ("X-Do-As", PASSWORD),
    "origin": ("Origin", "https://elsewhere.example"),
}
PATHS = {
    "query": f"/api/x?token={OPAQUE}&access_token={JWT}&password={PASSWORD}",
    "token-in-path": f"/api/x/{PERSONAL_TOKEN}",
    "jwt-in-path": f"/api/x/{JWT}",
    "own-page": f"/compat-auth/nothing/{JWT}?token={OPAQUE}",
    "double-slash": f"/api//x?token={OPAQUE}",
    "dot-segment": f"/api/../x?token={OPAQUE}",
}
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
BODIES = {
    "login": ("/compat-auth/login", FORM, f"username=alice&password={PASSWORD}"),
    "token": ("/auth/token", JSON, json.dumps({"username": "alice", "password": PASSWORD})),
    "token-without-name": ("/auth/token", JSON, json.dumps({"username": PASSWORD})),
    "token-no-json": ("/auth/token", JSON, f"{{{PASSWORD}"),
    "introspect": ("/compat-auth/introspect", FORM, f"token={JWT}"),
    "introspect-personal": ("/compat-auth/introspect", FORM, f"token={PERSONAL_TOKEN}"),
    "revoke": ("/compat-auth/revoke", FORM, f"token={JWT}"),
    "personal-tokens": ("/compat-auth/api/personal-tokens", JSON, json.dumps({"name": OPAQUE, "days": "x"})),
}
# Writes each span at once: OpenTelemetry finds it by its entry point, as it finds an operator's own.
_SPANS = """
from pathlib import Path
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

class ToFile(SpanExporter):
    def export(self, spans):
        with Path(__file__).with_name("spans").open("a") as file:
            file.writelines(span.to_json() for span in spans)
        return SpanExportResult.SUCCESS

def make():
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ToFile()))
    return provider
"""


def write_span_exporter(folder: Path) -> dict[str, str]:
    """Write a provider of spans, and return the variables by which OpenTelemetry finds it."""
    (folder / "canary_spans.py").write_text(_SPANS)
    (folder / "canary_spans-1.dist-info").mkdir()
    (folder / "canary_spans-1.dist-info" / "METADATA").write_text("Name: canary-spans\nVersion: 1\n")
    (folder / "canary_spans-1.dist-info" / "entry_points.txt").write_text(
        "[opentelemetry_tracer_provider]\ncanary = canary_spans:make\n"
    )
    return {"PYTHONPATH": str(folder), "OTEL_PYTHON_TRACER_PROVIDER": "canary"}


def bundle_of(folder: Path) -> str:
    """Return everything in the support bundle of `doctor`, and what it prints."""
    bundle, config, log = folder / "bundle.tgz", folder / "compat_auth.toml", folder / "log"
    arguments = ["doctor", "--config", str(config), "--bundle", str(bundle), "--log", str(log)]
    result = CliRunner().invoke(commands, arguments)
    with tarfile.open(bundle) as archive:
        files = [archive.extractfile(member) for member in archive.getmembers()]
        texts = [file.read().decode() for file in files if file is not None]
    return "\n".join((result.output, *texts))


@dataclass
class Observed:
    """A gateway with everything on that an operator may see."""

    gateway: Gateway
    metrics_port: int
    answers: list[str]

    def ask(self, method: str, path: str, headers: dict[str, str], body: str | None = None) -> int:
        """Send a request, keep its answer and return its status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=15)
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
            # An answer that passes is the upstream's, and a redirect repeats the caller's own query.
            if answer.status >= 400:
                self.answers.append(f"{answer.getheaders()} {text}")
            return answer.status
        finally:
            connection.close()

    def seen(self) -> dict[str, str]:
        """Return everything that an operator or another caller sees, once the last line is written."""
        time.sleep(0.7)
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=15)
        connection.request("GET", "/metrics")
        metrics = connection.getresponse().read().decode()
        connection.close()
        folder = self.gateway.log.parent
        return {
            "log": self.gateway.log.read_text(errors="replace"),
            "audit file": (folder / "audit.log").read_text(errors="replace"),
            "metrics": metrics,
            "spans": (folder / "spans").read_text() if (folder / "spans").exists() else "",
            "bundle": bundle_of(folder),
            "answers": "\n".join(self.answers),
        }


def serving(folder: Path, log_format: str, event_format: str, *, traces: bool) -> Generator[Observed]:
    port = free_port()
    environ = {"COMPAT_AUTH_LOG_LEVEL": "DEBUG", **write_span_exporter(folder)}
    lines = (
        'trusted_proxies = ["127.0.0.1"]',
        f'database_url = "sqlite:///{folder}/store.db"',
        f'log = {{format = "{log_format}", access = true}}',
        f'audit = {{file = "{folder}/audit.log", chain_key = "{CHAIN_KEY}", format = "{event_format}"}}',
        f"tracing = {{enabled = {str(traces).lower()}}}",
        f'metrics = {{bind = "127.0.0.1:{port}"}}',
        f'session = {{secret = "{SESSION_SECRET}"}}',
        f'forward_auth = {{secret = "{PROXY_SECRET}"}}',
        'personal_tokens = {enabled = true, header = "X-API-Key"}',
    )
    with recording_upstream() as upstream:
        backends = '["session", "basic_auth", "personal_token"]'
        config = write_config(folder, f"http://127.0.0.1:{upstream.port}", "\n".join(lines), backends)
        with running_gateway(config, upstream, environ=environ, start_s=120) as gateway:
            yield Observed(gateway, port, [])


@pytest.fixture(scope="module", params=[("text", "json"), ("json", "cloudevents")], ids=["text", "json"])
def observed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    log_format, event_format = request.param
    # With spans, no request takes a fast path.
    yield from serving(tmp_path_factory.mktemp("canaries"), log_format, event_format, traces=log_format == "json")


@pytest.fixture(scope="module")
def shown(observed: Observed) -> dict[str, str]:
    """Send every canary in every place, and return what is seen then."""
    for value in AUTHORIZATIONS.values():
        for path in ("/api/x", "/auth/token", "/compat-auth/whoami", "/compat-auth/api/personal-tokens"):
            observed.ask("GET" if path != "/auth/token" else "POST", path, {"Authorization": value})
        front = {"X-Compat-Auth-Proxy-Secret": PROXY_SECRET, "X-Original-URI": "/api/x", "X-Original-Method": "GET"}
        for page in ("nginx", "lane"):
            observed.ask("GET", f"/compat-auth/forward-auth/{page}", {"Authorization": value, **front})
    for name, value in OTHER_HEADERS.values():
        for authorization in ({}, {"Authorization": f"Basic {GOOD_PAIR}"}):
            observed.ask("GET", "/api/x", {name: value, **authorization})
            observed.ask("POST", "/api/x", {name: value, **authorization})
    for path in PATHS.values():
        for authorization in ({}, {"Authorization": f"Basic {GOOD_PAIR}"}):
            observed.ask("GET", path, authorization)
    for path, kind, body in BODIES.values():
        for authorization in ({}, {"Authorization": f"Basic {GOOD_PAIR}"}):
            observed.ask("POST", path, {"Content-Type": kind, **authorization}, body)
    return observed.seen()


@pytest.mark.parametrize("place", ["log", "audit file", "metrics", "spans", "bundle", "answers"])
@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_seen(name: str, place: str, shown: dict[str, str]) -> None:
    lines = [line for line in shown[place].splitlines() if SECRETS[name] in line]

    assert lines == []


def test_the_token_for_the_upstream_is_seen_nowhere(observed: Observed, shown: dict[str, str]) -> None:
    tokens = {value for arrived in observed.gateway.upstream.take() for value in arrived.values(b"authorization")}
    ours = [token.decode().rpartition(".")[2] for token in tokens if token.startswith(b"Bearer eyJ")]

    assert ours
    assert not any(token in text for token in ours for text in shown.values())


def test_everything_was_observed(observed: Observed, shown: dict[str, str]) -> None:
    assert '"event": "request"' in shown["log"]
    assert '"result": "reject"' in shown["audit file"]
    assert "compat_auth_decisions_total" in shown["metrics"]
    assert "401" in shown["answers"]
    assert "(hidden)" in shown["bundle"]
    assert '"event": "request"' in shown["bundle"]
    assert ("compat_auth.decision" in shown["spans"]) == ('"logger"' in observed.gateway.log.read_text())

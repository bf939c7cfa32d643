"""What other warm credentials cost beside a warm password: the upstream's own JWT, and a session; and a revocation."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import jwt

from compat_auth.authn.revocation_events import RevocationEvent, RevocationEvents
from compat_auth.authn.session_registry import LiveSessions
from compat_auth.config import load_settings
from compat_auth.gateway.decision import Granted
from compat_auth.gateway.revocable_grants import RevocableGrants
from compat_auth.identity import Identity
from performance import servers
from performance.load import Target, interleave
from performance.table import Row, at_most, cpu, ratios, wrong_in
from performance.warm import expect, expect_token

_SECRET = "0123456789abcdef0123456789abcdef"
_LIST = ("session", "personal_token", "oidc", "google_openid", "basic_auth")
_MORE = (
    f'session = {{ secret = "{_SECRET}" }}\n'
    f'personal_tokens = {{ pepper = "{_SECRET}" }}\n'
    'lookup = { directories = ["airflow_db"] }\n'
    'oidc = { issuers = [{ issuer = "https://id.example.org", audience = "airflow" }] }\n'
    'google_openid = { audience = ["app"], hosted_domains = ["example.org"] }\n'
)
_REMEMBERED = 100_000


def beside_a_password(folder: Path, *, seconds: float, rounds: int) -> list[Row]:
    """Return N1 and N2: a forward-auth answer for the upstream's JWT and for a session, against a warm password."""
    with ExitStack() as stack:
        upstream = stack.enter_context(servers.upstream(folder))
        gate = stack.enter_context(servers.gateway(folder, upstream.port, auth_backends=_LIST, more=_MORE))
        expect_token(gate.port)
        presented = {
            "password": {"Authorization": servers.AUTHORIZATION},
            "jwt": {"Authorization": f"Bearer {_upstreams_token()}"},
            "session": {"Cookie": _session(folder / "gateway.toml")},
        }
        targets = [
            Target(name, servers.FORWARD_AUTH, {**headers, **servers.ASKED}, gate, (gate,))
            for name, headers in presented.items()
        ]
        for target in targets:
            expect(gate.port, target.path, dict(target.headers), 200)
        # One connection: requests that come at once with one credential share one check.
        interleave(targets, connections=1, seconds=1, rounds=1)
        found = interleave(targets, connections=1, seconds=seconds, rounds=rounds)
    return [
        at_most(
            row_id,
            f"forward-auth decision, CPU against a warm password: {what}, with {', '.join(_LIST)} in the list",
            limit,
            ratios(found[name], found["password"], "cpu_us"),
            f"{cpu(found[name])} to {cpu(found['password'])}",
            wrong_in(found[name], found["password"]),
        )
        for row_id, name, what, limit in (
            ("N1", "jwt", "the upstream's own JWT", 1.2),
            ("N2", "session", "a session cookie", 1.3),
        )
    ]


def revocation(_folder: Path, *, seconds: float, rounds: int) -> list[Row]:
    """Return N5: how long the event loop stands still for the revocation of a user, in one process."""
    del seconds
    grants = RevocableGrants(_REMEMBERED, RevocationEvents(), lambda: None)
    for number in range(_REMEMBERED):
        identity = Identity(f"user{number}", "basic_auth", credential_id=f"token:{number}")
        digest = grants.digest(b"%d" % number)
        grants.remember(
            digest, Granted(identity, b""), 600, owner=identity.username, credential_id=identity.credential_id
        )
    stood = [_took_ms(partial(grants.end, RevocationEvent(f"user{number}"))) for number in range(rounds)]
    what = f"revocation of a user with {_REMEMBERED:,} credentials remembered: the event loop stands still"
    return [at_most("N5", what, 0.1, stood, "in process", 0, "ms")]


def _upstreams_token() -> str:
    claims = {"sub": "1", "aud": "apache-airflow", "iat": int(time.time()), "exp": int(time.time()) + 86400}
    return jwt.encode({**claims, "jti": "0" * 32}, "k" * 64, "HS512")


def _session(config: Path) -> str:
    sessions = LiveSessions.from_settings(load_settings(str(config), {}))
    if sessions is None:
        raise RuntimeError(f"{config}: no sessions")
    started = sessions.start(Identity(servers.USERNAME, "basic_auth", directory="airflow_db"))
    return sessions.cookie.header(started, secure=False).partition(";")[0]


def _took_ms(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000

"""Our own small pages."""

from __future__ import annotations

import json

import pytest

from compat_auth.audit.losses import AuditLosses, ProcessLosses
from compat_auth.composition.gate import GateParts
from compat_auth.errors import BackendUnavailable, UpstreamUnreachable
from compat_auth.gateway import health
from compat_auth.gateway.health import JWKS_PATH, jwks_page, live, ready_page, whoami_page
from compat_auth.gateway.middleware import Gate, Page
from compat_auth.identity import Identity
from compat_auth.outcome import Accept
from support.stand_ins import GOOD, Behind, call, http_scope, make_decider, make_gate, scripted

REASON: list[str] = []
ACCEPT = Accept(
    Identity("zoë", "kerberos", directory="ldap", email="z@example.org", roles=("Op",), groups=("g",), expires_at=9),
    (("WWW-Authenticate", "Negotiate oRQw"),),
)


async def why_not() -> None:
    if REASON:
        raise UpstreamUnreachable(REASON[0])


@pytest.fixture(autouse=True)
def losses(monkeypatch: pytest.MonkeyPatch) -> ProcessLosses:
    """No line of the audit log is lost yet, whatever other tests of this process have done."""
    found = ProcessLosses(AuditLosses())
    monkeypatch.setattr(health, "LOSSES", found)
    return found


@pytest.fixture
def gate() -> Gate:
    REASON.clear()

    def pages(parts: GateParts) -> dict[str, Page]:
        return {
            "live": live,
            "ready": ready_page(why_not),
            "whoami": whoami_page(parts.identification, parts.refusals),
            JWKS_PATH: jwks_page(lambda: b'{"keys":[]}'),
        }

    return make_gate(Behind(), make_decider(scripted("kerberos", ACCEPT)), pages=pages)


async def test_life_is_told_to_everybody(gate: Gate) -> None:
    sent = await call(gate, http_scope(b"/compat-auth/live"))

    assert (sent.status, json.loads(sent.body)) == (200, {"status": "live"})
    assert sent.values(b"cache-control") == [b"no-store"]


async def test_readiness_is_200_while_the_upstream_can_be_reached(gate: Gate) -> None:
    sent = await call(gate, http_scope(b"/compat-auth/ready"))

    assert (sent.status, json.loads(sent.body)) == (200, {"status": "ready"})


async def test_readiness_names_the_lines_that_the_audit_log_has_lost(gate: Gate, losses: ProcessLosses) -> None:
    losses.standard_error.count(lambda _line: None)

    sent = await call(gate, http_scope(b"/compat-auth/ready"))

    assert json.loads(sent.body) == {"status": "ready", "audit_lines_lost": 1, "audit_log": "failing"}


async def test_readiness_is_503_with_the_reason_otherwise(gate: Gate) -> None:
    REASON.append("the upstream does not accept connections")

    sent = await call(gate, http_scope(b"/compat-auth/ready"))

    assert sent.status == 503
    assert json.loads(sent.body)["reason"] == REASON[0]


async def test_readiness_is_503_without_the_store_and_says_nothing_about_it() -> None:
    async def away() -> None:
        raise BackendUnavailable("database_url postgresql://db/secret: cannot be asked")

    gate = make_gate(
        Behind(), make_decider(scripted("kerberos", ACCEPT)), pages=lambda _parts: {"ready": ready_page(why_not, away)}
    )
    REASON.clear()

    sent = await call(gate, http_scope(b"/compat-auth/ready"))

    assert (sent.status, json.loads(sent.body)["reason"]) == (503, "the store cannot be used")


async def test_a_known_caller_learns_who_it_is(gate: Gate) -> None:
    sent = await call(gate, http_scope(b"/compat-auth/whoami", [(b"authorization", GOOD.encode())]))

    assert sent.status == 200
    assert json.loads(sent.body) == {
        "username": "zoë",
        "backend": "kerberos",
        "directory": "ldap",
        "email": "z@example.org",
        "roles": ["Op"],
        "groups": ["g"],
        "role_account": False,
        "scopes": None,
        "expires_at": 9,
        "credential_id": "",
    }
    assert sent.values(b"www-authenticate") == [b"Negotiate oRQw"]
    assert sent.values(b"cache-control") == [b"no-store"]


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Bearer theirs")], [(b"cookie", b"_token=theirs")]])
async def test_whoever_is_not_known_to_us_is_401(gate: Gate, headers: list[tuple[bytes, bytes]]) -> None:
    sent = await call(gate, http_scope(b"/compat-auth/whoami", headers))

    assert sent.status == 401


async def test_the_public_keys_may_be_kept_for_a_while(gate: Gate) -> None:
    sent = await call(gate, http_scope(b"/.well-known/jwks.json"))

    assert sent.body == b'{"keys":[]}'
    assert sent.values(b"content-type") == [b"application/jwk-set+json"]
    assert sent.values(b"cache-control") == [b"public, max-age=300"]

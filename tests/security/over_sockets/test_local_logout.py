"""An access token that was taken back here: its issuer goes on saying yes, and nobody comes in by it."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest

from compat_auth.api.oauth.revocation import refuse_credential
from compat_auth.authn.chain import Chain
from compat_auth.authn.revocation_events import RevocationEvent, RevocationEvents
from compat_auth.authn.users.lookup import UserLookup
from compat_auth.config import parse_settings
from compat_auth.credentials import Basic, Bearer, Credential
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Reject
from compat_auth.tokens.introspection_cache import IntrospectionStore, MemoryIntrospections
from compat_auth_backends.oidc import OidcBackend
from compat_auth_backends.openid.issuer import Issuer
from support.stand_ins import ScriptedBackend, accepting
from support.stub_issuer import AUDIENCE, EC_KEY, Answer, StubIssuer, running_issuer, sign

# Of the curve P-256 (SEC 2, 2.4.2).
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
OPAQUE = "opaque-token"


class Replica:
    """One process with the backend, and what it announces."""

    def __init__(self, issuer: StubIssuer, store: IntrospectionStore, **table: Any) -> None:
        content = {"issuer": issuer.url, "audience": AUDIENCE, **table}
        settings = parse_settings({"oidc": {"issuers": [content]}}, origin="test").oidc.issuers[0]
        self.chain = Chain(
            (OidcBackend((Issuer(settings, "test", store=MemoryIntrospections(2), refusals=store),), UserLookup(())),)
        )
        self.revocations = RevocationEvents()
        self.announced: list[RevocationEvent | None] = []
        self.revocations.listen(self.announced.append)

    def accepts(self, token: str) -> Identity | None:
        outcome = self.chain.ask(Bearer(token)).outcome
        return outcome.identity if isinstance(outcome, Accept) else None

    def refuse(self, credential: Credential) -> Identity | None:
        return refuse_credential(self.chain, self.revocations, credential)


@pytest.fixture
def issuer() -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        stub.says["/introspect"] = lambda _: Answer(
            {"active": True, "sub": "zoë", "aud": AUDIENCE, "client_id": "web", "exp": int(time.time()) + 600}
        )
        stub.says["/me"] = Answer({"sub": "zoë"})
        yield stub


INTROSPECTION = {"introspection": True, "client_id": "us", "client_secret": "s", "opaque_prefix": "opaque-"}


@pytest.mark.parametrize("kind", ["jwt", "jwt shown to UserInfo", "opaque"])
def test_a_token_taken_back_is_refused_by_every_replica_that_shares(issuer: StubIssuer, kind: str) -> None:
    table = {"opaque": INTROSPECTION, "jwt": {}}.get(kind, {"userinfo": True, "liveness": True})
    token = OPAQUE if kind == "opaque" else issuer.token(sub="zoë")
    store = MemoryIntrospections(100)
    one, other = Replica(issuer, store, **table), Replica(issuer, store, **table)
    before = one.accepts(token)
    other.accepts(token)

    refused = one.refuse(Bearer(token))

    assert before is not None
    assert refused == before
    assert (one.accepts(token), other.accepts(token)) == (None, None)
    assert one.announced == [RevocationEvent(credential_id=before.credential_id)]
    assert other.accepts(issuer.token(sub="zoë", jti="another") if kind != "opaque" else "opaque-other") is not None


def test_the_other_form_of_an_ecdsa_signature_does_not_make_a_new_token(issuer: StubIssuer) -> None:
    token = sign(issuer.claims(sub="zoë"), key=EC_KEY, alg="ES256", kid="ec")
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    r, s = raw[:32], int.from_bytes(raw[32:], "big")
    twin = f"{signed}.{base64.urlsafe_b64encode(r + (ORDER - s).to_bytes(32, 'big')).rstrip(b'=').decode()}"
    replica = Replica(issuer, MemoryIntrospections(100))
    first, second = replica.accepts(token), replica.accepts(twin)

    replica.refuse(Bearer(token))

    assert first is not None
    assert second is not None
    assert first.credential_id == second.credential_id
    assert replica.accepts(twin) is None


def test_guessed_tokens_do_not_push_out_what_was_taken_back(issuer: StubIssuer) -> None:
    replica = Replica(issuer, MemoryIntrospections(100), **INTROSPECTION)
    replica.refuse(Bearer(OPAQUE))

    issuer.says["/introspect"] = Answer({"active": False})
    for number in range(10):
        replica.accepts(f"opaque-guess-{number}")
    issuer.says["/introspect"] = Answer({"active": True, "sub": "zoë", "aud": AUDIENCE})

    assert replica.accepts(OPAQUE) is None
    assert replica.accepts("opaque-other") is not None


def test_what_is_no_good_token_is_not_taken_back(issuer: StubIssuer) -> None:
    replica = Replica(issuer, MemoryIntrospections(100))

    refused = [replica.refuse(Bearer(token)) for token in (issuer.token(exp=1), issuer.token(aud="x"), "none", "a.b.c")]

    assert refused == [None] * 4
    assert replica.announced == []


class Takes(ScriptedBackend):
    """Accepts every Bearer until it has to refuse it."""

    kinds = frozenset({Bearer})

    def __init__(self, name: str, *, can_refuse: bool = True) -> None:
        self.is_refusing = False
        self.can_refuse = can_refuse
        identity = Identity("zoë", name, credential_id=f"{name}:1")
        super().__init__(name, lambda _: Reject("taken back") if self.is_refusing else Accept(identity), ())

    def refuse(self, credential: Credential, until: float) -> bool:
        del credential, until
        self.is_refusing = self.can_refuse
        return self.can_refuse


def test_each_backend_that_would_accept_a_token_refuses_it() -> None:
    first, second, lasting = Takes("first"), Takes("second"), Takes("lasting", can_refuse=False)
    revocations = RevocationEvents()
    announced: list[RevocationEvent | None] = []
    revocations.listen(announced.append)

    # Airflow 2's chain goes on behind a refusal.
    refused = refuse_credential(Chain((first, second, lasting), "airflow2"), revocations, Bearer("token"))

    assert refused is not None
    assert refused.backend == "first"
    assert (first.is_refusing, second.is_refusing) == (True, True)
    assert announced == [RevocationEvent(credential_id="first:1"), RevocationEvent(credential_id="second:1")]


def test_a_password_is_not_taken_back() -> None:
    revocations = RevocationEvents()

    assert refuse_credential(Chain((accepting(),)), revocations, Basic("alice", "pässwörd")) is None


def test_the_id_of_a_credential_does_not_show_the_token(issuer: StubIssuer) -> None:
    token = issuer.token(sub="zoë")

    identity = Replica(issuer, MemoryIntrospections(100)).accepts(token)

    assert identity is not None
    assert not any(part in identity.credential_id for part in token.split("."))
    assert identity.credential_id.startswith("oidc:")

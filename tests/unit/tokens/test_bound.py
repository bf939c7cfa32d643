"""JWTs with `cnf`: a request without the certificate is refused, whatever else is in the token."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from compat_auth.client_certificates import thumbprint_of
from compat_auth.config import ClientCertificateSettings
from compat_auth.peer import Peer
from compat_auth.tokens.bound import BoundTokens
from compat_auth.tokens.revoked import RevokedTokens
from support.certificates import Authority
from support.stand_ins import Behind, accepting, call, http_scope, make_airflow, make_decider, rules

CA = Authority()
OWN, OTHERS = CA.issue(), CA.issue()
THUMBPRINT = thumbprint_of(OWN.der)
BOUND = {"x5t#S256": THUMBPRINT}
TOKENS = BoundTokens(ClientCertificateSettings(), "apache-airflow")


def token(**claims: Any) -> str:
    return raw(json.dumps({"sub": "1", "aud": "apache-airflow", **claims}))


def raw(payload: str) -> str:
    parts = (b'{"alg":"HS512"}', payload.encode(), b"signature")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize("audience", ["apache-airflow", ["apache-airflow"], ["other", "apache-airflow"]])
def test_a_bound_token_needs_its_certificate(audience: object) -> None:
    bound = token(cnf=BOUND, aud=audience)

    peers = (Peer(certificates=(OWN.der,)), Peer(certificates=(OTHERS.der,)), Peer())

    assert [TOKENS.refuse(bound, peer) for peer in peers] == [False, True, True]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param(None, id="null"),
        pytest.param(5, id="number"),
        pytest.param([THUMBPRINT], id="list"),
        pytest.param(THUMBPRINT + "=", id="padded"),
        pytest.param(THUMBPRINT.lower(), id="lower-case"),
        pytest.param("\ud800", id="half-a-surrogate-pair"),
        pytest.param("\u00e4", id="not-ascii"),
    ],
)
def test_a_binding_that_is_no_thumbprint_is_nobodys(value: object) -> None:
    bound = token(cnf={"x5t#S256": value})

    assert [TOKENS.refuse(bound, peer) for peer in (Peer(), Peer(certificates=(OWN.der,)))] == [True, True]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(token(), id="no-cnf"),
        pytest.param(token(cnf={"jkt": "x"}), id="bound-to-another-kind-of-key"),
        pytest.param(token(cnf="x"), id="no-object"),
        pytest.param(token(cnf=BOUND, aud="another-service"), id="for-others"),
        pytest.param(token(cnf=BOUND, aud=None), id="for-nobody"),
        pytest.param(token(note='"cnf"'), id="the-word-in-a-text"),
        pytest.param(raw("[]"), id="a-list"),
        pytest.param(raw('{"cnf"'), id="not-json"),
        pytest.param("a.b", id="two-parts"),
        pytest.param("x.\u00e4.y", id="not-ascii"),
        pytest.param("cat_pat_x", id="no-jwt"),
        pytest.param("", id="empty"),
    ],
)
def test_any_other_token_is_judged_elsewhere(text: str) -> None:
    assert TOKENS.refuse(text, Peer()) is False


def test_a_header_that_can_be_read_in_two_ways_shows_no_certificate() -> None:
    section = ClientCertificateSettings(proxies=["10.0.0.5/32"], forwarded="nginx")
    shown = ("x-ssl-client-cert", OWN.escaped)
    peers = [Peer("10.0.0.5", (shown,)), Peer("10.0.0.5", (shown, shown)), Peer("10.0.0.9", (shown,))]

    found = [BoundTokens(section, "apache-airflow").refuse(token(cnf=BOUND), peer) for peer in peers]

    assert found == [False, True, True]


@pytest.mark.parametrize(
    "spell",
    [
        pytest.param(str, id="plain"),
        pytest.param('"{}"'.format, id="quoted"),
        pytest.param('"{}'.format, id="quoted-at-the-start"),
        pytest.param(lambda text: '"' + text.replace(".e", r".\145", 1) + '"', id="octal"),
        pytest.param(lambda text: '"' + "\\".join(["", *text]) + '"', id="backslashes"),
        pytest.param(lambda text: text.replace(".e", ".%65", 1), id="percent"),
        pytest.param(lambda text: text.replace(".e", ".%2565", 1), id="percent-twice"),
        pytest.param(lambda text: '"' + text.replace(".e", ".%5C145", 1) + '"', id="octal-in-percent"),
    ],
)
def test_a_cookie_is_bound_however_it_is_spelled(spell: Callable[[str], str]) -> None:
    value = spell(token(cnf=BOUND)).encode()

    found = [TOKENS.refuse_value(value, peer) for peer in (Peer(certificates=(OWN.der,)), Peer())]

    assert found == [False, True]


@pytest.mark.parametrize(
    "value", [token().encode(), b'"a\\054b"', b"%7B%22cnf%22%3A1%7D", b'"', b"", b"\\", b"100%", b"\xe4"]
)
def test_any_other_cookie_is_judged_elsewhere(value: bytes) -> None:
    assert TOKENS.refuse_value(value, Peer()) is False


def test_a_cookie_in_layer_upon_layer_is_refused_at_once() -> None:
    value = b"%" + b"25" * 20_000 + b"41"

    assert TOKENS.refuse_value(value, Peer()) is True


async def test_where_nobody_sees_a_certificate_a_bound_token_counts_as_revoked() -> None:
    revoked = RevokedTokens(None, b"_token", TOKENS)
    bearer, cookie = b"bearer " + token(cnf=BOUND).encode(), b"_token=" + token(cnf=BOUND).encode()

    assert await revoked.among([bearer], []) == (True, False)
    assert await revoked.among([], [cookie]) == (False, True)
    assert await revoked.among([b"Bearer " + token().encode()], [b"_token=x"]) == (False, False)


def test_where_nobody_sees_a_certificate_a_bound_token_is_good_for_no_time() -> None:
    revoked = RevokedTokens(None, b"_token", TOKENS)
    values = [
        b"Bearer " + token(cnf=BOUND).encode(),
        b" bearer  " + token(cnf=BOUND).encode(),
        b"Bearer " + token().encode(),
    ]

    assert [revoked.good_s(value) for value in values] == [0, 0, math.inf]


@pytest.mark.parametrize("path", [b"/api/v2/dags", b"/ui/dags", b"/auth/x", b"/"])
@pytest.mark.parametrize("name", [b"authorization", b"cookie"])
async def test_inside_airflow_a_bound_token_passes_on_no_path(path: bytes, name: bytes) -> None:
    behind = Behind()
    named = rules()
    app = make_airflow(behind, make_decider(accepting()), named, ["/api/"], bound=TOKENS)
    prefix = {b"authorization": b"Bearer ", b"cookie": named.upstream_cookie + b"="}[name]

    # A middleware of Airflow 3.1 has read the cookie before the gate.
    state = {"user": "alice", "user_authenticated_via": "cookie"} if name == b"cookie" else {}

    scope = http_scope(path, [(name, prefix + token(cnf=BOUND).encode())])
    status = (await call(app, {**scope, "state": state})).status

    passed = [header for scope in behind.scopes for header in scope["headers"] if header[0] == name]
    assert passed == []
    assert [scope["state"] for scope in behind.scopes] == [{}] * len(behind.scopes)
    assert status == 401 or name == b"cookie"

"""Ways to be somebody by a header that only a named proxy may send, or by a certificate that is another's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from flask import Flask
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.backend import Backend
from compat_auth.composition.rules import identity_headers
from compat_auth.config import RemoteUserSettings, parse_settings
from compat_auth.credentials import Absent
from compat_auth.errors import ConfigError
from compat_auth.extension import CompatAuth, current_identity, requires_authentication
from compat_auth.gateway.middleware import Gate
from compat_auth.http.asgi import ASGIApp, RawHeaders
from compat_auth.identity import Identity
from compat_auth.outcome import Accept
from compat_auth.peer import FROM_SOCKET, request_peer, tls_extension
from compat_auth_backends.connection.remote_user import RemoteUserBackend
from support.certificates import Authority
from support.stand_ins import (
    GOOD,
    Behind,
    accepting,
    call,
    http_scope,
    make_airflow,
    make_decider,
    make_gate,
    rules,
    scripted,
)

NAMED = "10.0.0.5"
OTHER = "10.0.0.9"
ALICE = (b"x-forwarded-user", b"alice")
COOKIES = (b"cookie", b"_token=of-bob; ours=1; theme=dark")


def remote_user(**changed: Any) -> Backend:
    settings = RemoteUserSettings.model_validate({"proxies": [f"{NAMED}/32"], **changed})
    return RemoteUserBackend(settings, UserLookup(()))


def gate_of(behind: Behind, *backends: Backend, header: bytes = ALICE[0]) -> Gate:
    named = replace(rules(), identity_headers=frozenset({header}))
    chain = backends or (remote_user(),)
    return make_gate(behind, make_decider(*chain), gate_rules=named, trusted=["10.0.0.0/8"])


@pytest.fixture
def behind() -> Behind:
    return Behind()


async def statuses(gate: Gate, headers: RawHeaders, *, client: str = NAMED, **options: Any) -> int:
    return (await call(gate, http_scope(headers=headers, client=client, **options))).status


async def test_the_header_of_a_named_proxy_is_who_the_caller_is_and_goes_no_further(behind: Behind) -> None:
    status = await statuses(gate_of(behind), [ALICE, COOKIES])

    assert status == 200
    assert behind.values(b"authorization") == [b"Bearer token-of-alice-0"]
    assert behind.values(b"cookie") == [b"theme=dark"]
    assert behind.values(ALICE[0]) == []


@pytest.mark.parametrize("client", ["192.0.2.1", OTHER, "::ffff:10.0.0.9", "", "unix:"])
async def test_the_header_of_anybody_else_is_dropped(behind: Behind, client: str) -> None:
    status = await statuses(gate_of(behind), [ALICE], client=client)

    assert (status, behind.scopes) == (401, [])


@pytest.mark.parametrize("hops", [NAMED, f"{NAMED}, {OTHER}", f"192.0.2.1, {NAMED}"])
async def test_the_named_proxy_counts_only_at_the_other_end_of_the_connection(behind: Behind, hops: str) -> None:
    status = await statuses(gate_of(behind), [ALICE, (b"x-forwarded-for", hops.encode())], client=OTHER)

    assert status == 401


@pytest.mark.parametrize("name", [b"x_forwarded_user", b"x-forwarded_user", b"x.forwarded.user"])
@pytest.mark.parametrize("client", [NAMED, OTHER, "192.0.2.1"])
async def test_a_spelling_that_others_fold_into_the_name_is_refused(behind: Behind, name: bytes, client: str) -> None:
    gate = gate_of(behind)

    found = [await statuses(gate, headers, client=client) for headers in ([(name, b"bob")], [ALICE, (name, b"bob")])]

    assert (found, behind.scopes) == ([400, 400], [])


async def test_a_name_of_the_sites_own_is_dropped_and_refused_in_the_same_way(behind: Behind) -> None:
    gate = gate_of(behind, remote_user(header="Caller-Name"), header=b"caller-name")
    name = (b"caller-name", b"alice")

    good = await statuses(gate, [name])
    dropped = await statuses(gate, [name, (b"authorization", b"Bearer theirs")], client="192.0.2.1")
    folded = await statuses(gate, [(b"caller_name", b"bob")], client="192.0.2.1")

    assert (good, dropped, folded) == (200, 200, 400)
    assert [header for scope in behind.scopes for header in scope["headers"] if header[0] == name[0]] == []


@pytest.mark.parametrize(
    "values",
    [
        [b"alice", b"alice"],
        [b"alice", b"bob"],
        [b"", b"bob"],
        [b"alice,bob"],
        [b"alice, bob"],
        [b" alice"],
        [b"al\xc3\xadce"],
        [b"al\xedce"],
        [b"x" * 257],
    ],
)
async def test_what_could_be_two_names_or_another_name_is_refused(behind: Behind, values: list[bytes]) -> None:
    status = await statuses(gate_of(behind), [(ALICE[0], value) for value in values])

    assert (status, behind.scopes) == (401, [])


@pytest.mark.parametrize("value", [b"alice\x00", b"al\x1bice", b"alice\x7f", b"\x0dalice"])
async def test_a_control_character_is_refused(behind: Behind, value: bytes) -> None:
    assert await statuses(gate_of(behind), [(ALICE[0], value)]) == 400


@pytest.mark.parametrize("value", [b"", b"-", b"(null)"])
async def test_what_a_proxy_writes_for_nobody_is_nobody(behind: Behind, value: bytes) -> None:
    assert await statuses(gate_of(behind), [(ALICE[0], value)]) == 401


async def test_an_explicit_credential_beats_the_header(behind: Behind) -> None:
    gate = gate_of(behind, remote_user(), accepting())

    status = await statuses(gate, [(ALICE[0], b"bob"), (b"authorization", GOOD.encode())])

    assert (status, behind.values(b"authorization")) == (200, [b"Bearer token-of-alice-0"])


async def test_a_wrong_explicit_credential_is_not_saved_by_the_header(behind: Behind) -> None:
    gate = gate_of(behind)

    status = await statuses(gate, [ALICE, (b"authorization", GOOD.encode())])

    assert (status, behind.scopes) == (401, [])


async def test_the_header_beats_a_session_of_ours_wherever_it_stands_in_the_chain(behind: Behind) -> None:
    session = scripted("session", Accept(Identity("bob", "session")), takes=frozenset({Absent}))
    gate = gate_of(behind, session, remote_user())

    await statuses(gate, [ALICE, COOKIES])

    assert behind.values(b"authorization") == [b"Bearer token-of-alice-0"]
    assert session.asked == []


async def test_a_refused_header_is_not_saved_by_a_session_of_ours(behind: Behind) -> None:
    session = scripted("session", Accept(Identity("bob", "session")), takes=frozenset({Absent}))
    for mode in ("strict", "airflow2"):
        decider = make_decider(session, remote_user(), mode=mode)
        named = replace(rules(), identity_headers=frozenset({ALICE[0]}))
        gate = make_gate(behind, decider, gate_rules=named, trusted=["10.0.0.0/8"])

        status = await statuses(gate, [(ALICE[0], b"alice,bob"), COOKIES])

        assert (status, behind.scopes) == (401, [])


async def test_two_that_name_two_people_are_refused(behind: Behind) -> None:
    other = scripted("other", Accept(Identity("bob", "other")), takes=frozenset({Absent}))
    type(other).reads_peer = True
    for chain in ((remote_user(), other), (other, remote_user())):
        status = await statuses(gate_of(behind, *chain), [ALICE])

        assert (status, behind.scopes) == (401, [])


async def test_another_sites_page_cannot_use_what_the_browser_brings_by_itself(behind: Behind) -> None:
    foreign = [(b"sec-fetch-site", b"cross-site"), (b"origin", b"https://evil.example")]

    status = await statuses(gate_of(behind), [ALICE, *foreign], method="POST")

    assert (status, behind.scopes) == (403, [])


@pytest.mark.parametrize(("forward_auth", "status"), [(False, 401), (True, 200)])
async def test_forward_auth_believes_the_header_only_where_it_is_told_so(forward_auth: bool, status: int) -> None:
    gate = gate_of(Behind(), remote_user(forward_auth=forward_auth))
    asked = [ALICE, (b"x-original-uri", b"/api/x"), (b"x-original-method", b"GET")]

    sent = await call(gate, http_scope(b"/compat-auth/forward-auth/nginx", asked, client=NAMED))
    stranger = await call(gate, http_scope(b"/compat-auth/forward-auth/nginx", asked, client=OTHER))

    assert sent.status == status
    assert stranger.status == 401


@pytest.mark.parametrize("hops", [NAMED, f"{NAMED}:81", f"192.0.2.1, [{NAMED}]:1", f"{NAMED}, 192.0.2.1"])
async def test_inside_airflow_an_address_that_its_server_has_read_off_a_header_is_nobodys(hops: str) -> None:
    named, behind = replace(rules(), identity_headers=frozenset({ALICE[0]})), Behind()
    gate = make_airflow(behind, make_decider(remote_user()), named, ["/api/"], trusted=["10.0.0.0/8"])

    good = await call(gate, http_scope(headers=[ALICE], client=NAMED))
    forged = await call(gate, http_scope(headers=[ALICE, (b"x-forwarded-for", hops.encode())], client=NAMED))

    assert good.status == 200
    assert [
        scope["headers"]
        for scope in behind.scopes
        if (b"authorization", b"Bearer token-of-alice-0") in scope["headers"]
    ]
    # Airflow judges who has shown nothing.
    assert forged.status == 200
    assert (b"authorization", b"Bearer token-of-alice-0") not in behind.scopes[-1]["headers"]


@pytest.mark.parametrize(
    ("name", "hops"),
    [
        ("x-forwarded-for", NAMED),
        ("x-forwarded-for", f"192.0.2.1, {NAMED}:81"),
        ("x-real-ip", NAMED),
        ("x-client-ip", NAMED),
        ("true-client-ip", NAMED),
        ("forwarded", f"for={NAMED}"),
        ("forwarded", f'proto=https; FOR="{NAMED}:81", for=192.0.2.1'),
        ("forwarded", f"for=192.0.2.1,for={NAMED};by=10.0.0.7"),
    ],
)
async def test_under_another_server_an_address_that_stands_in_a_header_is_nobodys(
    behind: Behind, name: str, hops: str
) -> None:
    scope = http_scope(headers=[ALICE, (name.encode(), hops.encode())], client=NAMED)

    under_another = await call(gate_of(behind), scope)
    under_ours = await call(gate_of(behind), {**scope, "extensions": {FROM_SOCKET: True}})

    assert (under_another.status, under_ours.status) == (401, 200)


@pytest.mark.parametrize("hops", [f"for=192.0.2.1;by={NAMED}", f"for=_hidden, for=192.0.2.1;host={NAMED}"])
async def test_under_another_server_the_proxy_may_name_itself_as_the_proxy(behind: Behind, hops: str) -> None:
    sent = await call(gate_of(behind), http_scope(headers=[ALICE, (b"forwarded", hops.encode())], client=NAMED))

    assert sent.status == 200


@pytest.mark.parametrize("trusted", [[], ["10.0.0.0/8"]])
@pytest.mark.parametrize("hops", ["unix:", "unix:, 192.0.2.9", "unix:, 10.0.0.5"])
async def test_under_another_server_no_header_makes_a_client_our_own_proxy(
    behind: Behind, hops: str, trusted: list[str]
) -> None:
    gate = make_gate(behind, make_decider(accepting()), trusted=trusted)
    # As uvicorn does with FORWARDED_ALLOW_IPS=*.
    server = cast("ASGIApp", ProxyHeadersMiddleware(cast("Any", gate), trusted_hosts="*"))
    headers = [
        (b"x-forwarded-for", hops.encode()),
        (b"x-request-id", b"chosen-by-the-client"),
        (b"x-original-method", b"GET"),
        (b"x-original-url", b"http://gateway.example/api/x"),
    ]

    asked = await call(server, http_scope(b"/compat-auth/forward-auth/nginx", headers))
    sent = await call(server, http_scope(headers=[(b"authorization", GOOD.encode()), *headers]))

    assert (asked.status, sent.status) == (403, 200)
    assert dict(sent.headers)[b"x-request-id"] != b"chosen-by-the-client"


async def test_the_certificate_of_a_proxy_itself_is_not_its_callers(behind: Behind) -> None:
    shown: list[tuple[bytes, ...]] = []

    class Looking(RemoteUserBackend):
        def authenticate(self, credential: Any) -> Any:
            shown.append(request_peer().certificates)
            return super().authenticate(credential)

    backend = Looking(RemoteUserSettings(proxies=[f"{NAMED}/32"]), UserLookup(()))
    certificate = Authority().issue().der
    gate = gate_of(behind, backend)

    for client in (NAMED, "192.0.2.1"):
        await call(gate, {**http_scope(client=client), "extensions": tls_extension(certificate)})

    assert shown == [(), (certificate,)]


def test_without_a_named_proxy_it_does_not_start() -> None:
    settings = parse_settings({"trusted_proxies": ["10.0.0.0/8"]}, origin="test")

    with pytest.raises(ConfigError, match=r"remote_user\.proxies: empty, .*name the proxies"):
        RemoteUserBackend.from_settings(settings)


@pytest.mark.parametrize("trusted", [[], ["10.0.0.4/31", "10.0.0.6/32"], ["10.0.0.5/32", "::/64"]])
def test_a_named_proxy_must_be_a_trusted_one(trusted: list[str]) -> None:
    named = ["10.0.0.4/31", "10.0.0.6/32"] if trusted != ["10.0.0.4/31", "10.0.0.6/32"] else ["10.0.0.4/30"]
    settings = parse_settings({"trusted_proxies": trusted, "remote_user": {"proxies": named}}, origin="test")

    with pytest.raises(ConfigError, match=r"remote_user\.proxies: 10\.0\.0\.4/3[01]: not inside trusted_proxies"):
        RemoteUserBackend.from_settings(settings)


@pytest.mark.parametrize(
    "header", ["Authorization", "Cookie", "Host", "X-Forwarded-For", "X_User", "X User", "X-Compat-Auth-User", "Xé"]
)
def test_a_header_that_means_something_else_cannot_be_chosen(header: str) -> None:
    with pytest.raises(ConfigError, match=r"remote_user\.header"):
        parse_settings({"remote_user": {"header": header}}, origin="test")


def test_every_header_that_is_configured_for_the_chain_is_set_apart() -> None:
    settings = parse_settings(
        {
            "auth_backends": ["remote_user", "client_certificate"],
            "remote_user": {"header": "Caller-Name"},
            "client_certificate": {"forwarded": "subject"},
            "oidc": {"issuers": [{"issuer": "i", "header": "X-Goog-IAP-JWT-Assertion"}]},
        },
        origin="test",
    )

    found = identity_headers(settings)

    assert found == {b"caller-name", b"x-ssl-client-s-dn", b"x-ssl-client-verify", b"x-goog-iap-jwt-assertion"}


def flask_app(folder: Path) -> Flask:
    app = Flask("site")
    settings = {
        "auth_backends": ["remote_user"],
        "database_url": f"sqlite:///{folder}/store.db",
        "trusted_proxies": [f"{NAMED}/32"],
        "remote_user": {"proxies": [f"{NAMED}/32"]},
    }
    app.config["COMPAT_AUTH"] = settings
    CompatAuth(app)

    @app.get("/")
    @requires_authentication
    def whoami() -> str:
        return current_identity.username

    return app


@pytest.mark.parametrize(
    ("client", "user", "status"),
    [(NAMED, "alice", 200), (OTHER, "alice", 401), ("192.0.2.1", "alice", 401), (NAMED, "alice,bob", 401)],
)
def test_a_flask_app_believes_the_named_proxy_alone(tmp_path: Path, client: str, user: str, status: int) -> None:
    answer = (
        flask_app(tmp_path)
        .test_client()
        .get("/", headers={"X-Forwarded-User": user}, environ_base={"REMOTE_ADDR": client})
    )

    assert answer.status_code == status


def test_a_flask_app_behind_proxyfix_goes_by_the_connection_and_not_by_the_header(tmp_path: Path) -> None:
    app = flask_app(tmp_path)
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]  # as Flask's documentation does it
    headers = {"X-Forwarded-User": "alice", "X-Forwarded-For": NAMED}

    forged = app.test_client().get("/", headers=headers, environ_base={"REMOTE_ADDR": "192.0.2.1"})
    good = app.test_client().get(
        "/", headers={**headers, "X-Forwarded-For": "192.0.2.1"}, environ_base={"REMOTE_ADDR": NAMED}
    )

    assert (forged.status_code, good.status_code, good.text) == (401, 200, "alice")

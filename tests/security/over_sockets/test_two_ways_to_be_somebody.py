"""A client certificate beside a personal token in X-API-Key, beside a password, and beside the name of a user to act for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from compat_auth.app import Gateway
from compat_auth.client_certificates import thumbprint_of
from compat_auth.config import Settings
from compat_auth.http.asgi import RawHeaders
from compat_auth.peer import FROM_SOCKET, tls_extension
from support.certificates import Authority, Issued
from support.security.token_gateway import make_token, opened, settings_with_tokens
from support.security.upstream import Recorder
from support.stand_ins import FRONT, basic, call, http_scope

CA = Authority()
OF_BOB, STRANGERS = CA.issue("CN=bob,OU=People,O=Example"), CA.issue("CN=stranger,O=Example")
KEY, DO_AS = b"x-api-key", b"x-do-as"
ALICE = (b"authorization", basic("alice", "wonder").encode())
WHOAMI = b"/compat-auth/whoami"
PROXY = "10.0.0.5"
NGINX = b"x-ssl-client-cert"


def settings_of(folder: Path, upstream: Recorder, **more: Any) -> Settings:
    account = {"subject": "CN=*,OU=People,O=Example", "user": "{1}"}
    section = {"ca_file": str(CA.write(folder / "ca.pem")), "accounts": [account], **more.pop("client_certificate", {})}
    return settings_with_tokens(
        folder,
        upstream.port,
        auth_backends=["client_certificate", "personal_token", "basic_auth"],
        serve={"tls_cert": "server.pem", "tls_key": "server.key"},
        client_certificate=section,
        do_as=[{"callers": ["alice", "bob"], "users": ["alice", "bob"]}],
        **more,
    )


@pytest.fixture
def settings(tmp_path: Path, upstream: Recorder) -> Settings:
    return settings_of(tmp_path, upstream)


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with opened(settings) as gateway:
        yield gateway


async def who(gateway: Gateway, headers: RawHeaders, certificate: Issued | None = None) -> str | int:
    """Return the name of the caller, or the status of the refusal."""
    tls = tls_extension(certificate.der) if certificate is not None else {}
    sent = await call(gateway, {**http_scope(WHOAMI, headers), "extensions": {**tls, FROM_SOCKET: True}})
    return str(json.loads(sent.body)["username"]) if sent.status == 200 else sent.status


def key(token: str) -> tuple[bytes, bytes]:
    return (KEY, token.encode())


async def test_a_token_in_the_header_counts_before_the_certificate(gateway: Gateway, settings: Settings) -> None:
    token = make_token(settings).text

    found = [await who(gateway, headers, OF_BOB) for headers in ([key(token)], [], [key(token)])]

    assert found == ["alice", "bob", "alice"]


async def test_a_wrong_token_is_not_made_good_by_a_certificate(gateway: Gateway, settings: Settings) -> None:
    token = make_token(settings).text

    found = [await who(gateway, [key(text)], OF_BOB) for text in (token[:-1] + "0", token + "0", "cat_pat_")]

    assert set(found) <= {400, 401}


async def test_a_header_without_a_token_leaves_the_certificate_its_word(gateway: Gateway) -> None:
    assert await who(gateway, [(KEY, b"of-the-application")], OF_BOB) == "bob"


@pytest.mark.parametrize("shown", [None, STRANGERS], ids=["none", "strangers"])
async def test_a_token_works_beside_a_certificate_that_is_nobodys(
    gateway: Gateway, settings: Settings, shown: Issued | None
) -> None:
    token = make_token(settings).text

    assert await who(gateway, [key(token)], shown) == "alice"
    assert await who(gateway, [], shown) == 401


async def test_a_bound_token_names_its_owner_and_not_the_certificates(gateway: Gateway, settings: Settings) -> None:
    token = make_token(settings, certificate=thumbprint_of(OF_BOB.der)).text

    found = [await who(gateway, [key(token)], shown) for shown in (OF_BOB, STRANGERS, None, OF_BOB)]

    assert found == ["alice", 401, 401, "alice"]


async def test_a_token_in_the_header_acts_for_others_and_its_certificate_is_checked(
    gateway: Gateway, settings: Settings
) -> None:
    plain = make_token(settings).text
    bound = make_token(settings, name="bound", certificate=thumbprint_of(OF_BOB.der)).text
    for_bob = (DO_AS, b"bob")

    found = [
        await who(gateway, [key(token), for_bob], shown)
        for token, shown in ((plain, None), (plain, STRANGERS), (bound, OF_BOB), (bound, STRANGERS), (bound, None))
    ]

    assert found == ["bob", "bob", "bob", 401, 401]


async def test_a_certificate_alone_acts_for_nobody(gateway: Gateway) -> None:
    found = [await who(gateway, headers, OF_BOB) for headers in ([(DO_AS, b"alice")], [(DO_AS, b"alice"), (KEY, b"x")])]

    assert found == [400, 400]


async def test_beside_a_certificate_the_password_says_who_acts(gateway: Gateway) -> None:
    for_bob = (DO_AS, b"bob")

    found = [await who(gateway, [ALICE, for_bob], shown) for shown in (OF_BOB, STRANGERS, None)]
    without = [await who(gateway, [ALICE], OF_BOB), await who(gateway, [], OF_BOB)]

    assert (found, without) == (["bob", "bob", "bob"], ["alice", "bob"])


async def test_two_tokens_or_a_token_and_a_password_are_refused_beside_a_certificate(
    gateway: Gateway, settings: Settings
) -> None:
    token = make_token(settings).text

    found = [await who(gateway, [key(token), other], OF_BOB) for other in (key(token), ALICE)]

    assert found == [400, 400]


@pytest.mark.parametrize("believed", [False, True])
async def test_forward_auth_asks_the_same_of_each(tmp_path: Path, upstream: Recorder, believed: bool) -> None:
    named = {"proxies": [f"{PROXY}/32"], "forwarded": "nginx", "forward_auth": believed}
    settings = settings_of(
        tmp_path, upstream, trusted_proxies=["10.0.0.0/8"], client_certificate=named, forward_auth=FRONT
    )
    token = make_token(settings, certificate=thumbprint_of(OF_BOB.der)).text
    told = [(b"x-original-uri", b"/api/v2/dags"), (b"x-original-method", b"GET")]
    shown = (NGINX, OF_BOB.escaped.encode())

    async def ask(*headers: tuple[bytes, bytes]) -> int:
        scope = http_scope(b"/compat-auth/forward-auth/nginx", [*told, *headers], client=PROXY)
        return (await call(gateway, scope)).status

    async with opened(settings) as gateway:
        found = [
            await ask(shown),
            await ask(shown, key(token)),
            await ask(shown, key(token), (DO_AS, b"bob")),
            await ask(key(token)),
            await ask(shown, (DO_AS, b"alice")),
        ]

    assert found == ([200, 200, 200, 401, 400] if believed else [401, 401, 401, 401, 400])

"""Kerberos passwords for clients without tickets, checked by a real KDC, a false one, and one that never answers."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.directory import DirectoryUser, PasswordAccepted, UserRefused
from compat_auth.errors import BackendUnavailable, Overloaded
from compat_auth_backends.directories.kinit import KinitDirectory
from compat_auth_backends.kerberos_acceptor import Acceptor
from compat_auth_backends.kerberos_names import Principals, parse_mapping
from support.peers.gateway import StartGateway
from support.peers.kerberos import OTHER_REALM, PASSWORDS, REALM, Kdc
from support.stand_ins import basic

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def keytab(kdc: Kdc) -> Path:
    # The KDC gives tickets for both; the first in the file is not a service that clients may ask for.
    return kdc.keytab("host/kinit", "HTTP/kinit")


def directory_of(keytab: Path, *, realms: tuple[str, ...] = (), timeout_s: float = 10) -> KinitDirectory:
    acceptor = Acceptor(keytab, ("HTTP",), replay_cache=keytab.parent / "kinit-replays")
    principals = Principals(frozenset(realms), parse_mapping("strip_realm"))
    return KinitDirectory(acceptor, principals, UserLookup(()), timeout_s=timeout_s)


@pytest.mark.parametrize("user", ["alice", "jürgen"])
def test_the_right_password_is_accepted(keytab: Path, user: str) -> None:
    accepted = directory_of(keytab).check(user, PASSWORDS[user])

    assert accepted == PasswordAccepted(DirectoryUser(user))


def test_a_name_may_carry_an_allowed_realm(keytab: Path) -> None:
    accepted = directory_of(keytab, realms=(REALM,)).check(f"alice@{REALM}", PASSWORDS["alice"])

    assert accepted == PasswordAccepted(DirectoryUser("alice"))


@pytest.mark.parametrize(
    ("username", "password"),
    [
        pytest.param("alice", "wrong", id="wrong-password"),
        pytest.param("alice", PASSWORDS["jürgen"], id="another-s-password"),
        pytest.param("alice", "", id="no-password"),
        pytest.param("", PASSWORDS["alice"], id="no-name"),
        pytest.param("nobody", "x", id="unknown"),
        pytest.param("ALICE", PASSWORDS["alice"], id="upper-case"),
        pytest.param("alice/admin", PASSWORDS["alice/admin"], id="another-instance"),
        pytest.param(f"alice@{REALM}", PASSWORDS["alice"], id="realm-that-is-not-listed"),
        pytest.param(f"alice@{OTHER_REALM}", PASSWORDS["alice"], id="another-realm"),
        pytest.param(f"alice\\@{REALM}", PASSWORDS["alice"], id="escape"),
        pytest.param("alice\x00x", PASSWORDS["alice"], id="nul"),
        pytest.param("HTTP/kinit", "x", id="service"),
    ],
)
def test_whatever_is_wrong_is_no_user_and_takes_as_long(keytab: Path, username: str, password: str) -> None:
    directory = directory_of(keytab)

    began = time.monotonic()
    accepted = directory.check(username, password)
    took_s = time.monotonic() - began

    assert accepted is None
    assert took_s >= 0.1


@pytest.mark.parametrize(
    "change",
    ["-allow_tix", "-expire yesterday", "-pwexpire yesterday", "+needchange"],
    ids=["locked", "expired", "password-expired", "password-to-be-changed"],
)
def test_a_user_whom_the_kdc_has_disabled_stays_out(kdc: Kdc, keytab: Path, change: str) -> None:
    directory = directory_of(keytab)
    name = f"off{change.strip('-+').replace(' ', '-')}"
    kdc.add_user(name, "password")
    assert directory.check(name, "password") is not None

    kdc.kadmin(f"modprinc {change} {name}")

    assert directory.check(name, "password") is None
    assert isinstance(directory.decide(name, "password"), UserRefused)


def test_a_false_kdc_lets_nobody_in(keytab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    false_kdc = Kdc(REALM)
    false_kdc.start()
    false_kdc.kadmin("cpw -pw chosen-by-the-attacker alice", "addprinc -randkey host/kinit")
    monkeypatch.setenv("KRB5_CONFIG", false_kdc.env["KRB5_CONFIG"])

    with pytest.raises(BackendUnavailable, match="does not fit our keytab"):
        directory_of(keytab).check("alice", "chosen-by-the-attacker")
    false_kdc.remove()


def test_a_stopped_kdc_is_no_verdict_and_no_restart_is_needed(kdc: Kdc, keytab: Path) -> None:
    directory = directory_of(keytab)

    kdc.stop()
    with pytest.raises(BackendUnavailable, match="Cannot contact any KDC"):
        directory.check("alice", PASSWORDS["alice"])
    kdc.start()

    assert directory.check("alice", PASSWORDS["alice"]) is not None


@pytest.fixture
def silent_kdc(kdc: Kdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A KDC that takes every connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        config = tmp_path / "krb5.conf"
        text = (kdc.folder / "krb5.conf").read_text()
        config.write_text(text.replace(f"127.0.0.1:{kdc.port}", f"127.0.0.1:{server.getsockname()[1]}"))
        monkeypatch.setenv("KRB5_CONFIG", str(config))
        yield


def test_a_silent_kdc_keeps_nobody_waiting_for_long(silent_kdc: None, keytab: Path) -> None:
    directory = directory_of(keytab, timeout_s=0.2)
    answers: list[type[Exception]] = []

    began = time.monotonic()
    for _ in range(9):
        with pytest.raises(BackendUnavailable) as refused:
            directory.check("alice", PASSWORDS["alice"])
        answers.append(refused.type)
    took_s = time.monotonic() - began

    # One waits for the KDC; the next ones do not, until a pause is over.
    assert answers == [BackendUnavailable] + [Overloaded] * 8
    assert took_s < 6


def test_nothing_is_left_in_the_environment_or_on_disk(
    keytab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{cache}")
    before = dict(os.environ)

    directory_of(keytab).check("alice", PASSWORDS["alice"])

    assert dict(os.environ) == before
    assert not cache.exists()


def test_curl_s_user_and_password_reach_the_gateway_as_the_user(
    gateway: StartGateway, kdc: Kdc, keytab: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = {
        "auth_backends": ["basic_auth"],
        "upstream": {"url": "http://127.0.0.1:9", "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": "x" * 64},
        "kerberos": {"keytab": str(keytab)},
        "basic_auth": {"directories": ["kinit"]},
    }
    instance = gateway(settings, {**kdc.env, "KRB5RCACHEDIR": str(kdc.folder)})

    right = instance.get("/compat-auth/whoami", headers={"Authorization": basic("jürgen", PASSWORDS["jürgen"])})
    wrong = instance.get("/compat-auth/whoami", headers={"Authorization": basic("jürgen", "wrong")})

    assert (right.status_code, right.json()["username"]) == (200, "jürgen")
    assert wrong.status_code == 401
